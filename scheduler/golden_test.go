package scheduler_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

var update = flag.Bool("update", false, "write what the gateway answers into testdata/golden")

// Each file of testdata/golden is one exchange: the request line, headers, an
// empty line and the body; then a line of dashes and the answer in the same form.
func TestGoldenExchanges(t *testing.T) {
	python := printer(t, "1\n", "3.11")
	courses := sample()
	python.Set(func(s *fleettest.State) { s.Courses = courses })
	_, url := gateway(t, scheduler.Config{}, python)
	files, err := filepath.Glob("testdata/golden/*.http")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			asked, want, _ := strings.Cut(string(b), "\n----\n")
			got := play(t, url, asked)
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(asked+"\n----\n"+got), 0o644))
				return
			}
			require.Equal(t, want, got)
		})
	}
}

func play(t *testing.T, url, asked string) string {
	t.Helper()
	head, body, _ := strings.Cut(asked, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	header := []string{"Prairie-Id", "golden"}
	for _, l := range lines[1:] {
		k, v, _ := strings.Cut(l, ": ")
		header = append(header, k, v)
	}
	r := do(t, method, url+path, body, header...)
	var out strings.Builder
	fmt.Fprintf(&out, "%d %s\n", r.status, http.StatusText(r.status))
	for _, k := range []string{"Content-Type", "Prairie-Cache", "Prairie-Id", "Prairie-Version", "Retry-After"} {
		if v := r.header.Get(k); v != "" {
			fmt.Fprintf(&out, "%s: %s\n", k, v)
		}
	}
	return out.String() + "\n" + r.body + "\n"
}
