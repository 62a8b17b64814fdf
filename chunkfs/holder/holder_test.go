package holder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The server under test is this binary: it appends its pid to a file, serves
// when told so, and lives until it is told to make place.
const serverEnv = "HOLDER_TEST_SERVER"

func TestMain(m *testing.M) {
	if path := os.Getenv(serverEnv); path != "" {
		if err := serveForTest(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(7)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func serveForTest(path string) error {
	files, line, err := Join(2)
	if err != nil {
		return err
	}
	var b [4]byte
	if _, err := files[1].ReadAt(b[:], 0); err != nil || string(b[:]) != "kept" {
		return fmt.Errorf("the kept file reads %q, %v", b, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintln(f, os.Getpid())
	if _, err := os.Stat(path + ".broken"); err == nil {
		return errors.New("broken")
	}
	if err := line.Ready(); err != nil {
		return err
	}
	return line.Wait()
}

// start runs a holder over one end of a pipe, whose other end is the mount: a
// closed one makes the device poll as broken, as the end of a mount does.
func start(t *testing.T, path string) (mount *os.File, cancel func(), ready chan struct{}, upgrade chan os.Signal, done chan error) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	kept, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	_, err = kept.WriteString("kept")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ready, upgrade, done = make(chan struct{}), make(chan os.Signal), make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Files: []*os.File{w, kept},
			Command: func() *exec.Cmd {
				c := exec.Command("/proc/self/exe")
				c.Env = append(os.Environ(), serverEnv+"="+path)
				return c
			},
			Ready: func() { close(ready) }, Unmount: func() { r.Close() }, Grace: 50 * time.Millisecond,
			Upgrade: upgrade, Log: zerolog.Nop(),
		})
		w.Close()
		kept.Close()
		r.Close()
	}()
	return r, stop, ready, upgrade, done
}

func pids(path string) []string {
	b, _ := os.ReadFile(path)
	return strings.Fields(string(b))
}

func TestADeadServerIsReplacedUntilTheMountIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pids")
	_, cancel, ready, upgrade, done := start(t, path)
	<-ready
	for i := 1; i < 6; i++ {
		require.Eventually(t, func() bool { return len(pids(path)) == i }, time.Minute, time.Millisecond)
		pid, err := strconv.Atoi(pids(path)[i-1])
		require.NoError(t, err)
		if i%2 == 0 {
			upgrade <- os.Interrupt
			continue
		}
		p, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.NoError(t, p.Kill())
	}
	require.Eventually(t, func() bool { return len(pids(path)) == 6 }, time.Minute, time.Millisecond)
	cancel() // unmounts; the server does not notice, and is killed after its grace
	require.NoError(t, <-done)
	require.Len(t, pids(path), 6)
}

func TestAServerThatBreaksLaterIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pids")
	_, cancel, ready, upgrade, done := start(t, path)
	<-ready
	require.NoError(t, os.WriteFile(path+".broken", nil, 0o600))
	upgrade <- os.Interrupt
	require.Eventually(t, func() bool { return len(pids(path)) >= 4 }, time.Minute, time.Millisecond, "tried again and again")
	require.NoError(t, os.Remove(path+".broken"))
	n := len(pids(path))
	require.Eventually(t, func() bool { return len(pids(path)) > n }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestAServerThatNeverCameUpIsAMistake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pids")
	require.NoError(t, os.WriteFile(path+".broken", nil, 0o600))
	_, cancel, _, _, done := start(t, path)
	defer cancel()
	err := <-done
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.ExitCode())
	require.Len(t, pids(path), 1)
}

// TestAServerThatDiedAtOnceHadServed: when the holder looks, both are there to see.
func TestAServerThatDiedAtOnceHadServed(t *testing.T) {
	for range 50 {
		ready := 0
		h := &holder{cfg: Config{Ready: func() { ready++ }, Log: zerolog.Nop()}}
		s := &server{cmd: &exec.Cmd{Process: &os.Process{}}, done: make(chan struct{}), said: make(chan struct{})}
		close(s.said)
		close(s.done)
		require.Zero(t, h.watch(t.Context(), s, 0))
		require.True(t, h.served, "the mount would end with its first server")
		require.Equal(t, 1, ready)
	}
}

func TestKernelVersions(t *testing.T) {
	for release, want := range map[string]bool{
		"6.9.0": true, "6.9": true, "6.18.44-fc": true, "7.0-rc1": true, "10.2.1": true,
		"6.8.12": false, "5.15.0-91-generic": false, "": false, "six.nine": false, "6": false,
	} {
		require.Equal(t, want, atLeast(release, 6, 9), release)
	}
}
