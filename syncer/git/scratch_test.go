package git

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAKilledReaderLeavesNothingForEver kills a process that reads a repository.
// What it left goes with the next reader's start; what a living one uses stays.
func TestAKilledReaderLeavesNothingForEver(t *testing.T) {
	if dir := os.Getenv("READ_UNTIL_KILLED"); dir != "" {
		open(t, dir)
		fmt.Println("open")
		select {}
	}
	dir := repo(t)
	t.Setenv("TMPDIR", t.TempDir())
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
		require.NoError(t, err)
		return names
	}
	start := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestAKilledReaderLeavesNothingForEver$")
		c.Env = append(os.Environ(), "READ_UNTIL_KILLED="+dir)
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "open\n", line)
		return c
	}
	dead := start()
	require.Len(t, left(), 1)
	gone := left()[0]
	require.NoError(t, dead.Process.Kill())
	dead.Wait()
	require.Equal(t, []string{gone}, left(), "nothing is left of a process to remove it")

	living := start()
	for i := 0; i < 5 || len(left()) > 1 && i < 200; i++ { // one may find a lock that is about to go
		r, err := Open(t.Context(), dir)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	require.Len(t, left(), 1)
	require.NotEqual(t, gone, left()[0])
	r, err := Open(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, left(), 2, "nothing is taken from a living one")
	require.Equal(t, want, readAll(t, r, "HEAD"))
	require.NoError(t, r.Close())
	require.Len(t, left(), 1)
	require.NoError(t, living.Process.Kill())
	living.Wait()
	for i := 0; i < 5 || len(left()) > 0 && i < 200; i++ {
		_, err = Ignored(t.Context(), dir)
		require.NoError(t, err)
	}
	require.Empty(t, left())
}
