package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// programs times a trivial C and a trivial Python program, through the runtime
// and through the same commands in bwrap, in turns.
func (b *bench) programs(ctx context.Context, n int) error {
	sources := []struct{ lang, file, text string }{
		{"c", "main.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n"},
		{"python", "main.py", "print('hello')\n"},
	}
	fmt.Println("\n| program | runtime | bwrap, the same steps | of bwrap | wanted |")
	fmt.Println("|---|---|---|---|---|")
	for _, s := range sources {
		ours := &peer{ready: b.stagesReady, once: func(int) error {
			res, err := b.demand.Run(ctx, &jobs.Program{Runtime: s.lang, Files: []jobs.ProgramFile{{Basename: s.file, Contents: s.text}}})
			if err != nil {
				return err
			}
			if res.Outcome != jobs.OK || res.Stdout != "hello\n" {
				return fmt.Errorf("%s: %+v", s.lang, res)
			}
			return nil
		}}
		theirs := &peer{ready: b.stagesReady, once: func(int) error { return b.inBwrap(s.lang, s.file, s.text) }}
		for i := range n + 2 {
			for _, p := range []*peer{ours, theirs} {
				if err := p.time(i, i >= 2); err != nil {
					return err
				}
			}
		}
		fmt.Printf("| %s | %s | %s | %.2fx | at most 1.15x |\n", s.lang, ms(ours.at(50)), ms(theirs.at(50)), ratio(ours.at(50), theirs.at(50)))
	}
	return nil
}

// stagesReady waits, outside the measured time, until what a program's end set off is done.
func (b *bench) stagesReady() error {
	host := b.hosts[1] // that of b.demand
	for range 300 {
		if host.Ready() == 2 {
			break // before the first program there are none
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// inBwrap does what the runtime does for one program: a fresh directory, the
// file, and each step in a sandbox of its own.
func (b *bench) inBwrap(lang, file, text string) (err error) {
	work, err := os.MkdirTemp(b.dir, "work-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644); err != nil {
		return err
	}
	steps := [][]string{{"/usr/bin/python3", "-B", file}}
	if lang == "c" {
		steps = [][]string{{"/usr/bin/gcc", "-O2", "-Wall", "-o", "/work/.program", file, "-lm"}, {"/work/.program"}}
	}
	var out []byte
	for _, step := range steps {
		argv := append([]string{
			"--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc",
			"--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
			"--bind", work, "/work", "--chdir", "/work", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev",
		}, step...)
		cmd := exec.Command("bwrap", argv...)
		cmd.Env = environment
		if out, err = cmd.Output(); err != nil {
			return fmt.Errorf("bwrap %s: %w", step[0], err)
		}
	}
	if string(out) != "hello\n" {
		return fmt.Errorf("bwrap %s: %q", lang, out)
	}
	return nil
}
