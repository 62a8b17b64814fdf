package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The stage is this same program, started again in new namespaces: it builds the
// root, waits to hear what it is to become, then becomes the zygote's interpreter,
// or seals itself and becomes the program to run. Nothing it reads comes from a
// course.

const stageArg = "sandbox-stage"

// stageRoot travels to the stage first, through descriptor 3.
type stageRoot struct {
	Root     *Root  `json:"root"` // nil for a Tree's program, which brings its own
	Dir      string `json:"dir"`  // an empty directory to mount on
	KeepProc bool   `json:"keep_proc"`
}

// stageConfig follows, with the program's descriptors: its three standard ones,
// then what seal says. A zygote has its own from the start.
type stageConfig struct {
	Argv  []string `json:"argv"`
	Env   []string `json:"env"`
	Dir   string   `json:"dir"`   // working directory inside the root; "/" when empty
	Seal  *seal    `json:"seal"`  // nil for a zygote, which seals its children
	Raise bool     `json:"raise"` // it waited as SCHED_IDLE, and comes back from there
	Nice  int32    `json:"nice"`

	Tree *treeSeal `json:"tree,omitempty"` // instead of Seal
}

// Stage is the first thing that the main function of every program that opens a
// Host must call. In a process that Host started it never returns; elsewhere it
// does nothing.
func Stage() {
	if len(os.Args) != 2 || os.Args[1] != stageArg {
		return
	}
	// Credentials, filters and namespaces belong to a thread; exec keeps this one's.
	runtime.LockOSThread()
	err := runStage(stageLink)
	_, _ = unix.Write(stageLink, []byte(err.Error())) // the worker reads it; see stage.become
	os.Exit(1)
}

const stageLink = 3

func runStage(link int) error {
	unix.CloseOnExec(link) // its end tells the worker that the program has started
	var r stageRoot
	if _, err := hear(link, &r); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if r.Root != nil {
		if err := r.Root.build(r.Dir, r.KeepProc); err != nil {
			return fmt.Errorf("build the root: %w", err)
		}
	}
	var c stageConfig
	fds, err := hear(link, &c)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if c.Raise {
		if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: c.Nice}, 0); err != nil {
			return fmt.Errorf("raise its priority: %w", err)
		}
	}
	if err := place(fds); err != nil {
		return fmt.Errorf("place descriptors: %w", err)
	}
	switch {
	case c.Tree != nil:
		err = c.Tree.apply()
	case c.Seal != nil:
		err = c.Seal.apply()
	default: // a zygote's own scratch; each child covers it with its own
		err = unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=16m,mode=0700")
	}
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if c.Dir != "" {
		if err := unix.Chdir(c.Dir); err != nil {
			return fmt.Errorf("enter %s: %w", c.Dir, err)
		}
	}
	err = unix.Exec(c.Argv[0], c.Argv, c.Env)
	return fmt.Errorf("start %s: %w", c.Argv[0], err)
}

// place gives the descriptors that came their numbers: standard ones from 0 on,
// the others from firstFD on. They are few as a rule, and then no number is so high
// that the kernel makes the table larger: with threads, it waits a grace period for that.
func place(fds []int) error {
	for i, fd := range fds { // none may have the number of another
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFD+len(fds))
		if err != nil {
			return err
		}
		unix.Close(fd)
		fds[i] = high
	}
	for i, fd := range fds {
		to, flags := i, 0
		if i > 2 {
			to, flags = firstFD+i-3, unix.O_CLOEXEC
		}
		if err := unix.Dup3(fd, to, flags); err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

// tell sends v, framed as Request frames, and files with it.
func tell(sock int, v any, files []*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(files) > maxSpawnFiles {
		return fmt.Errorf("%d descriptors are more than one message holds", len(files))
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	for b = Request(b); len(b) > 0; {
		n, err := unix.SendmsgN(sock, b, rights, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("send configuration: %w", err)
		default:
			b, rights = b[n:], nil
		}
	}
	return nil
}

// hear reads what tell sent.
func hear(sock int, v any) (fds []int, err error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(4*(maxSpawnFiles+3)))
	n, oobn, _, _, err := unix.Recvmsg(sock, head[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
	if err != nil || n < len(head) {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		got, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return nil, err
		}
		fds = append(fds, got...)
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[:]))
	for at := 0; at < len(b); {
		n, err := unix.Read(sock, b[at:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		default:
			at += n
		}
	}
	return fds, json.Unmarshal(b, v)
}
