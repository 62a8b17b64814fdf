package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// TestTheReadmesFiveLines types what the README says, with only the folder and
// the ports replaced.
func TestTheReadmesFiveLines(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(readme), "## Five lines")
	require.True(t, found)
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(section)
	require.NotNil(t, block)
	require.Len(t, strings.Split(strings.TrimSpace(block[1]), "\n"), 5)

	dir, err := os.MkdirTemp("", "prairie-readme-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	// The mount is gone when umount returns; its daemon still takes leave of the store.
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return os.RemoveAll(dir) == nil }, 30*time.Second, 50*time.Millisecond)
	})
	worker, err := stack.FreeAddr()
	require.NoError(t, err)
	gateway, err := stack.FreeAddr()
	require.NoError(t, err)
	lines := strings.NewReplacer(
		"bin/", bin+"/", "/tmp/prairie", dir, "test/course/sample", "../course/sample",
		"127.0.0.1:8081", worker, "127.0.0.1:8080", gateway,
	).Replace(block[1])
	// What a user would do by hand afterwards: end the two daemons, unmount.
	script := "set -e\n" + strings.TrimSuffix(lines, "\n") + " --dump-header " + dir + "/header > " + dir + "/answer\nkill $(jobs -p)\nwait || true\n" +
		bin + "/chunkfs umount " + dir + "/courses\n"
	cmd := exec.Command("bash", "-c", script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	require.NoError(t, err, "%s", out.String())

	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	require.NoError(t, err)
	var data struct {
		Params         map[string]any
		CorrectAnswers map[string]any `json:"correct_answers"`
	}
	require.NoError(t, json.Unmarshal(answer, &data), "%s", answer)
	require.Contains(t, data.Params, "expanded")
	require.Contains(t, data.CorrectAnswers, "derivative")
	header, err := os.ReadFile(filepath.Join(dir, "header"))
	require.NoError(t, err)
	require.Regexp(t, `(?i)prairie-version: [0-9a-f]{40,64}`, string(header))
}
