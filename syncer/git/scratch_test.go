package git

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
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
	kill(t, dead, gone)
	require.Equal(t, []string{gone}, left(), "nothing is left of a process to remove it")

	living := start()
	require.Len(t, left(), 1)
	require.NotEqual(t, gone, left()[0])
	r, err := Open(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, left(), 2, "nothing is taken from a living one")
	require.Equal(t, want, readAll(t, r, "HEAD"))
	require.NoError(t, r.Close())
	require.Len(t, left(), 1)
	kill(t, living, left()[0])
	_, err = Ignored(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, left())
}

// kill returns when nobody holds what the process held: neither it nor a child of it
// that had not become git yet.
func kill(t *testing.T, c *exec.Cmd, dir string) {
	t.Helper()
	require.NoError(t, c.Process.Kill())
	c.Wait()
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
}
