package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const usernsMark = "PRAIRIE_IN_USERNS"

// EnterUserns gives a process without root the capabilities that sandboxes need,
// inside a user namespace of its own: it runs the same command again with user
// and mount namespaces in which the caller is uid 0, forwards signals to it, and
// exits with its code. It returns at once, with nil, where nothing is to be done:
// as root, or when the process already is the inner one.
//
// It must be called before the process starts goroutines that hold resources:
// the outer process only waits.
func EnterUserns() error {
	if unix.Geteuid() == 0 || os.Getenv(usernsMark) != "" {
		return nil
	}
	// The inner process dies with the outer one's starting thread, so that thread
	// must live as long as the process.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), usernsMark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("enter a user namespace: %w (allow unprivileged user namespaces: "+
			"sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; or run as root)", err)
	}
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range sigs {
			// A terminal's ^C reached the inner process already; a second copy
			// would read as the user's second one.
			if s == syscall.SIGINT && isForeground() {
				continue
			}
			_ = cmd.Process.Signal(s)
		}
	}()
	err := cmd.Wait()
	var ee *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &ee) && ee.ExitCode() >= 0:
		os.Exit(ee.ExitCode())
	}
	os.Exit(70)
	return nil
}

func isForeground() bool {
	pgrp, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}
