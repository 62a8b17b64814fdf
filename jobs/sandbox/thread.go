package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is one OS thread of its own that runs functions one after another.
// Two kernel rules ask for it: a parent-death signal follows the thread that
// forked, not the process; and only a thread that shares its root and working
// directory with no other may enter another mount namespace.
type thread struct {
	work chan func()
	done chan struct{}
	tid  int
}

// newThread starts the thread and runs setup on it first.
func newThread(setup func() error) (*thread, error) {
	t := &thread{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(t.done)
		// Never unlocked: the thread is changed for good and must end with its goroutine.
		runtime.LockOSThread()
		t.tid = unix.Gettid()
		err := setup()
		ready <- err
		if err != nil {
			return
		}
		for f := range t.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return t, nil
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func() error) error {
	res := make(chan error, 1)
	t.work <- func() { res <- f() }
	return <-res
}

// close ends the thread once what it was given is done.
func (t *thread) close() {
	close(t.work)
	<-t.done
}
