// Package build makes what a recipe says: it installs packages into a root
// filesystem, in a sandbox whose network is the configured mirrors.
//
// It guarantees that installers and their scripts reach nothing but files below
// the mirrors' addresses (where a mirror speaks TLS, nothing but its host and
// port), as an unprivileged user of the machine, bounded in time, memory, files,
// processes and output; that nothing they start or mount outlives a step; and that
// what they wrote is somebody's only when every step has succeeded.
//
// It resolves first: Lock names every package with its version, and of Python's
// and npm's the content, too. What was locked once is installed the same later, or not at all.
package build

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Config says where packages come from and how much a build may use. Host is
// required; the zero value of another field means its default, or that there is none.
type Config struct {
	Host *sandbox.Host

	Debian   string // URL of a Debian mirror, as in http://mirror.example/debian
	Suite    string // of a root without a base; stable when empty
	PipIndex string // URL of a simple index
	Wheels   string // a directory of wheels
	NPM      string // URL of an npm registry

	Time     time.Duration // of one step; 15 min when 0
	Memory   int64         // of programs; 2 GiB when 0
	Disk     int64         // of what is added, in memory as well; 4 GiB when 0
	Download int64         // bytes that one step may receive; 4 GiB when 0
	Log      zerolog.Logger
}

// Builder is safe for concurrent use.
type Builder struct {
	cfg     Config
	mirrors []*url.URL
}

// FailedError says that a recipe cannot be built, and why.
type FailedError struct{ Reason string }

func (e *FailedError) Error() string { return e.Reason }

func failed(format string, args ...any) error { return &FailedError{fmt.Sprintf(format, args...)} }

// New checks the configuration.
func New(cfg Config) (*Builder, error) {
	for _, d := range []struct {
		v   *int64
		def int64
	}{{(*int64)(&cfg.Time), int64(15 * time.Minute)}, {&cfg.Memory, 2 << 30}, {&cfg.Disk, 4 << 30}, {&cfg.Download, 4 << 30}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if cfg.Suite == "" {
		cfg.Suite = "stable"
	}
	b := &Builder{cfg: cfg}
	for _, m := range []string{cfg.Debian, cfg.PipIndex, cfg.NPM} {
		if m == "" {
			continue
		}
		u, err := url.Parse(m)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.ContainsAny(m, " \t\n\"[]") {
			return nil, fmt.Errorf("mirror %q is no plain http or https address", m)
		}
		b.mirrors = append(b.mirrors, u)
	}
	return b, nil
}

// step is one program of a build.
type step struct {
	say     string // what it does, for people
	argv    []string
	env     []string
	files   map[string][]byte
	hidden  []string
	network bool
	mounts  bool
	quiet   bool // its standard output is for us
}

// run runs a step to its end and returns its standard output.
func (b *Builder) run(ctx context.Context, t *sandbox.Tree, s step, out func(string)) (stdout []byte, err error) {
	out(s.say)
	lines := &lines{out: out}
	spec := sandbox.TreeSpec{
		Limits: jobs.Limits{
			Wall: b.cfg.Time, CPU: 2 * b.cfg.Time, Memory: b.cfg.Memory + b.cfg.Disk, Processes: 512, Output: maxOutput, Files: b.cfg.Disk / 4,
		},
		Argv: s.argv, Files: s.files, Hidden: s.hidden, Mounts: s.mounts,
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8"}, s.env...),
		Output: func(stderr bool, piece []byte) {
			if stderr || !s.quiet {
				lines.write(piece)
			}
		},
	}
	if s.network {
		stop := func() {}
		defer func() { stop() }()
		p := newProxy(b.mirrors, b.cfg.Download, out)
		spec.Serve = func(ln net.Listener) { stop = p.serve(ln) }
		at := fmt.Sprintf("http://127.0.0.1:%d", sandbox.TreePort)
		spec.Env = append(spec.Env, "http_proxy="+at, "https_proxy="+at, "HTTP_PROXY="+at, "HTTPS_PROXY="+at)
		if b.cfg.Wheels != "" {
			dir, err := os.Open(b.cfg.Wheels)
			if err != nil {
				return nil, fmt.Errorf("open the wheels: %w", err)
			}
			defer dir.Close()
			spec.Show = map[string]*os.File{wheels: dir}
		}
	}
	box, err := t.Run(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	turn := box.Wait(ctx, b.cfg.Time)
	if s.quiet && (!turn.Exited || turn.Status != 0) {
		lines.write(turn.Stdout) // it was not for us
	}
	lines.end()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !turn.Exited || !turn.Status.Exited():
		return nil, failed("%s: it %s", s.say, turn.Message)
	case turn.Status.ExitStatus() != 0:
		return nil, failed("%s: exit code %d; the lines above say why", s.say, turn.Status.ExitStatus())
	}
	return turn.Stdout, nil
}

const (
	maxOutput = 16 << 20
	wheels    = "wheels"
)

// lines cuts output into lines that are told one at a time.
type lines struct {
	out  func(string)
	rest []byte
	told int
}

const (
	maxLine  = 2000
	maxLines = 20_000
)

var noise = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\x{a0}-\x{10ffff}\t]`)

func (l *lines) write(piece []byte) {
	for _, c := range piece {
		if c == '\n' || c == '\r' || len(l.rest) >= maxLine {
			l.end()
		}
		if c != '\n' && c != '\r' {
			l.rest = append(l.rest, c)
		}
	}
}

func (l *lines) end() {
	if s := strings.TrimRight(noise.ReplaceAllString(strings.ToValidUTF8(string(l.rest), "?"), ""), " "); s != "" && l.told < maxLines {
		l.told++
		l.out(s)
	}
	l.rest = l.rest[:0]
}

// find is the first of paths that there is in the root filesystem at lower.
func find(lower string, paths ...string) string {
	for _, p := range paths {
		if sandbox.Within(lower, p) {
			return p
		}
	}
	return ""
}

// Build installs what was locked over the root filesystem at lower, which is
// empty for none. What it does is told to out line by line.
func (b *Builder) Build(ctx context.Context, lower string, l *recipe.Locked, out func(string)) (_ *recipe.Delta, err error) {
	t, err := b.cfg.Host.NewTree(lower, b.cfg.Disk)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	at, steps := ".", b.install
	if lower == "" {
		at, steps = rootName, b.bootstrap
	}
	if err := steps(ctx, t, lower, l, out); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(t.Delta().Fd()), at, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open what was built: %w", err)
	}
	return &recipe.Delta{Dir: os.NewFile(uintptr(fd), "built"), Owner: sandbox.TreeBaseID, Free: t.Close}, nil
}

// install runs the steps that every root filesystem can take.
func (b *Builder) install(ctx context.Context, t *sandbox.Tree, lower string, l *recipe.Locked, out func(string)) error {
	for _, part := range []func(context.Context, *sandbox.Tree, string, *recipe.Locked, func(string)) error{b.debian, b.pip, b.installNPM, b.files} {
		if err := part(ctx, t, lower, l, out); err != nil {
			return err
		}
	}
	return nil
}

// files lays the recipe's own files down, by the hands that are inside.
func (b *Builder) files(ctx context.Context, t *sandbox.Tree, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.Files) == 0 {
		return nil
	}
	sh := find(lower, "/bin/sh", "/usr/bin/sh")
	if sh == "" {
		return failed("the base has no /bin/sh to lay files down with")
	}
	s := step{say: fmt.Sprintf("write %d files", len(l.Files)), files: map[string][]byte{}}
	s.argv = []string{sh, "-ec", `while [ $# -gt 0 ]; do mkdir -p "${2%/*}/"; cat "/build/$1" > "$2"; chmod "$3" "$2"; shift 3; done`, "sh"}
	for p, content := range l.Files {
		mode, name := "644", fmt.Sprintf("f%d", len(s.files))
		if strings.HasPrefix(content, "#!") {
			mode = "755"
		}
		s.files[name] = []byte(content)
		s.argv = append(s.argv, name, filepath.Clean(p), mode)
	}
	_, err := b.run(ctx, t, s, out)
	return err
}
