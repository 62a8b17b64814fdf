// Package python_test proves the call semantics that course code relies on: it
// runs the shim's own test suite under the interpreter of the product and
// reports each of its cases as a test of its own.
package python_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/test/machine"
)

const interpreter = "/usr/bin/python3"

// outcome is one line of tests/run.py.
type outcome struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome"` // ok, fail or skip
	Detail  string `json:"detail"`
}

func TestSemantics(t *testing.T) {
	if _, err := os.Stat(interpreter); err != nil {
		machine.Skip(t, "find the interpreter: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, "-I", "-W", "error::SyntaxWarning", "tests/run.py")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMPDIR="+t.TempDir()) // nobody else leaves anything there: see test_no_trace
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("run the suite: %v\n%s", err, stderr.Bytes())
	}
	ran := 0
	lines := bufio.NewScanner(&stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var one outcome
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Errorf("read a line of the suite: %v: %q", err, lines.Text())
			continue
		}
		t.Run(one.ID, func(t *testing.T) {
			switch one.Outcome {
			case "ok":
				ran++
			case "skip":
				machine.Skip(t, "%s", one.Detail)
			default:
				ran++
				t.Fatal(one.Detail)
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("read the suite: %v", err)
	}
	if ran == 0 {
		t.Fatalf("no case ran\n%s", stderr.Bytes())
	}
}
