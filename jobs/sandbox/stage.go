package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The stage is this same program, started again in new namespaces: it builds the
// root, then becomes the zygote's interpreter, or seals itself and becomes the
// program to run. Nothing it reads comes from a course.

const stageArg = "sandbox-stage"

// stageConfig travels to the stage through descriptor 3. The descriptors after
// it are the program's own, from 4 on, in the order that the starter chose.
type stageConfig struct {
	Root     Root     `json:"root"`
	RootDir  string   `json:"root_dir"` // an empty directory to mount on
	Argv     []string `json:"argv"`
	Env      []string `json:"env"`
	Dir      string   `json:"dir"` // working directory inside the root; "/" when empty
	KeepProc bool     `json:"keep_proc"`
	Seal     *seal    `json:"seal,omitempty"` // nil for a zygote, which seals its children

	Tree *treeSeal           `json:"tree,omitempty"` // instead of all but Argv and Env
	born func(pid int) error // called once the process is there, before it does anything
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
	link := os.NewFile(3, "stage")
	err := stage(link)
	fmt.Fprint(link, err) // the worker reads it; see startStage
	os.Exit(1)
}

func stage(link *os.File) error {
	unix.CloseOnExec(3) // its end tells the worker that the program has started
	b, err := io.ReadAll(link)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var c stageConfig
	if err := json.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if c.Tree != nil {
		if err := c.Tree.apply(); err != nil {
			return fmt.Errorf("enter a tree: %w", err)
		}
		return fmt.Errorf("start %s: %w", c.Argv[0], unix.Exec(c.Argv[0], c.Argv, c.Env))
	}
	if err := c.Root.build(c.RootDir, c.KeepProc); err != nil {
		return fmt.Errorf("build the root: %w", err)
	}
	if c.Seal == nil { // a zygote's own scratch; each child covers it with its own
		if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=16m,mode=0700"); err != nil {
			return fmt.Errorf("mount /tmp: %w", err)
		}
	} else {
		if err := c.Seal.apply(); err != nil {
			return fmt.Errorf("seal: %w", err)
		}
	}
	if c.Dir != "" {
		if err := unix.Chdir(c.Dir); err != nil {
			return fmt.Errorf("enter %s: %w", c.Dir, err)
		}
	}
	err = unix.Exec(c.Argv[0], c.Argv, c.Env)
	return fmt.Errorf("start %s: %w", c.Argv[0], err)
}
