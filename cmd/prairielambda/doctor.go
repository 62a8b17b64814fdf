package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/jobs"
)

// finding is one thing that was looked at.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"` // without it nothing runs; otherwise less is kept apart, or slower
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

func doctorCommand() *cli.Command {
	var sf stackFlags
	var asJSON, apparmor bool
	return &cli.Command{
		Name: "doctor", Short: "say what works on this machine, and what to do about the rest",
		Long: `Does what dev does, with a course of one question, and reports each wall of the sandbox, FUSE and
the runtimes. Exit code 1: course code cannot run here.`,
		Flags: func(fs *flag.FlagSet) {
			sf.define(fs)
			fs.BoolVar(&asJSON, "json", false, "print JSON")
			fs.BoolVar(&apparmor, "apparmor", false, "print a profile that lets this program make user namespaces, and do nothing else")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) > 0 {
				return cli.Usagef("doctor takes no arguments")
			}
			if apparmor {
				return printAppArmor(env.Stdout)
			}
			all := append(machine(), sf.trial(ctx, env)...)
			all = append(all, pythons(ctx, sf.python)...)
			if err := printFindings(env.Stdout, all, asJSON); err != nil {
				return err
			}
			for _, f := range all {
				if f.Needed && !f.OK {
					return cli.Silent(cli.ExitFailed)
				}
			}
			return nil
		},
	}
}

// machine looks at what needs no trial.
func machine() []finding {
	var u unix.Utsname
	_ = unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	all := []finding{{Name: "kernel", OK: true, Detail: fmt.Sprintf("Linux %s, user id %d", release, os.Geteuid())}}
	fuse := finding{Name: "FUSE device", Remedy: "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN. Without it dev serves copies of the course"}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err == nil {
		f.Close()
		fuse.OK, fuse.Remedy = true, ""
	} else {
		fuse.Detail = err.Error()
	}
	all = append(all, fuse)
	if os.Geteuid() != 0 {
		helper := finding{Name: "fusermount3", Remedy: "apt install fuse3"}
		if path, err := exec.LookPath("fusermount3"); err == nil {
			helper.OK, helper.Detail, helper.Remedy = true, path, ""
		}
		ns := finding{Name: "unprivileged user namespaces", OK: true}
		if sysctl("user/max_user_namespaces") == "0" {
			ns.OK, ns.Remedy = false, "sysctl user.max_user_namespaces=15000"
		}
		if sysctl("kernel/unprivileged_userns_clone") == "0" {
			ns.OK, ns.Remedy = false, "sysctl kernel.unprivileged_userns_clone=1"
		}
		if sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1" {
			ns.OK, ns.Detail = false, "restricted by AppArmor, as Ubuntu does since 23.10"
			ns.Remedy = "let this program make them: prairielambda doctor --apparmor | sudo tee /etc/apparmor.d/prairielambda && sudo apparmor_parser -r /etc/apparmor.d/prairielambda"
		}
		all = append(all, helper, ns)
	}
	watches := finding{Name: "watching files", OK: true, Detail: sysctl("fs/inotify/max_user_watches") + " directories"}
	if n, err := strconv.Atoi(sysctl("fs/inotify/max_user_watches")); err == nil && n < 8192 {
		watches.OK, watches.Remedy = false, "sysctl fs.inotify.max_user_watches=65536; until then dev looks at large courses twice a second"
	}
	git := finding{Name: "git", Detail: "for courses that are checkouts", Remedy: "apt install git"}
	if path, err := exec.LookPath("git"); err == nil {
		git.OK, git.Detail, git.Remedy = true, path, ""
	}
	return append(all, watches, git)
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// withheld reports whether this is root without root's rights, as in a container.
func withheld() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return os.Geteuid() == 0 && unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0
}

// trial serves a course of one question and calls it.
func (f *stackFlags) trial(ctx context.Context, env *cli.Env) (all []finding) {
	run := finding{Name: "course code runs", Needed: true}
	dir, err := trialCourse()
	if err == nil {
		defer os.RemoveAll(dir)
		defer os.RemoveAll(baseOf(dir))
		var said strings.Builder
		err = openTrial(ctx, env, dir, f, &said, &all)
		run.Detail = strings.TrimSpace(said.String())
	}
	run.OK = err == nil
	if err != nil {
		run.Detail = strings.TrimSpace(err.Error() + "\n" + run.Detail)
		if withheld() {
			run.Remedy = "let the container have its namespaces and mounts: docker run --privileged --cgroupns=private; the least that does is in cmd/prairielambda/README.md"
		} else if os.Geteuid() != 0 && f.tier != "reduced" {
			run.Remedy = "systemd-run --user --scope -p Delegate=yes prairielambda doctor; or --tier reduced, where memory is not bounded as well"
		}
	}
	return append(all, run)
}

func openTrial(ctx context.Context, env *cli.Env, dir string, f *stackFlags, said io.Writer, all *[]finding) error {
	s, version, err := openStack(ctx, stackConfig{dir: dir, tier: f.tier, python: f.python, cgroup: f.cgroup, log: env.Log, stderr: said})
	if err != nil {
		return err
	}
	defer s.close()
	mount := finding{Name: "courses are mounted", OK: !s.tree, Detail: s.why}
	*all = append(*all, mount, finding{Name: "sandbox tier", OK: s.worker.ready.Tier != "reduced", Detail: s.worker.ready.Tier})
	for _, l := range s.worker.ready.Layers {
		w := finding{Name: l.Name, OK: l.On}
		if !l.On {
			w.Remedy = l.Remedy
		}
		*all = append(*all, w)
	}
	res, err := s.Invoke(ctx, &jobs.Invocation{
		Course: s.course, Version: version, Question: "trial", Data: json.RawMessage(`{"variant_seed":1,"params":{}}`),
		Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}},
	})
	if err != nil {
		return err
	}
	if c := res.Calls[0]; c.Outcome != jobs.OK {
		return fmt.Errorf("%s: %s\n%s", c.Outcome, c.Message, c.Traceback)
	}
	return nil
}

// trialCourse writes a course of one question.
func trialCourse() (dir string, err error) {
	tmp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp(tmp, "prairielambda-doctor-"); err != nil {
		return "", err
	}
	q := filepath.Join(dir, "questions", "trial")
	if err = os.MkdirAll(q, 0o755); err != nil {
		return dir, err
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "infoCourse.json"): `{"name": "trial", "title": "Trial"}`,
		filepath.Join(q, "info.json"):         `{"title": "Trial", "type": "v3"}`,
		filepath.Join(q, "server.py"):         "def generate(data):\n    data['params']['works'] = True\n",
	} {
		if err = os.WriteFile(name, []byte(text), 0o644); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// pythons looks at the interpreter and the libraries that courses ask for.
func pythons(ctx context.Context, python string) []finding {
	ask := func(code string) (string, error) {
		out, err := exec.CommandContext(ctx, python, "-I", "-c", code).Output()
		return strings.TrimSpace(string(out)), err
	}
	version, err := ask("import platform; print(platform.python_version())")
	all := []finding{{Name: "python", Needed: true, OK: err == nil, Detail: strings.TrimSpace(python + " " + version)}}
	if err != nil {
		all[0].Remedy = "apt install python3, or name one with --python"
		return all
	}
	for _, lib := range []struct{ module, pkg, use string }{
		{"lxml.html", "python3-lxml", "every element needs it"},
		{"numpy", "python3-numpy", "where courses use it"},
		{"sympy", "python3-sympy", "where courses use it"},
		{"markdown_it", "python3-markdown-it", "for <markdown>"},
	} {
		f := finding{Name: "python: " + lib.module, Needed: lib.module == "lxml.html"}
		if v, err := ask("import importlib; m = importlib.import_module('" + lib.module + "'); print(getattr(m, '__version__', ''))"); err == nil {
			f.OK, f.Detail = true, v
		} else {
			f.Detail, f.Remedy = lib.use, "apt install "+lib.pkg
		}
		all = append(all, f)
	}
	node := finding{Name: "node", Detail: "for courses that bring their own server in it", Remedy: "apt install nodejs"}
	if out, err := exec.CommandContext(ctx, "node", "--version").Output(); err == nil {
		node.OK, node.Detail, node.Remedy = true, strings.TrimSpace(string(out)), ""
	}
	return append(all, node)
}

func printFindings(w io.Writer, all []finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(all)
	}
	for _, f := range all {
		mark := "ok  "
		if !f.OK {
			mark = "less"
			if f.Needed {
				mark = "NO  "
			}
		}
		if _, err := fmt.Fprintf(w, "%s  %-36s %s\n", mark, f.Name, strings.ReplaceAll(f.Detail, "\n", "\n      ")); err != nil {
			return err
		}
		if f.Remedy != "" && !f.OK {
			fmt.Fprintf(w, "      to have it: %s\n", f.Remedy)
		}
	}
	return nil
}
