package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
)

// lambda is a lambda.json: a course's, question's or element's own HTTP server,
// the environment that it runs in, or, without a command, the environment that
// the Python code runs in.
type lambda struct {
	Runtime     string            `json:"runtime"`
	Command     []string          `json:"command"`
	Environment lambdaEnvironment `json:"environment"`
	Variables   map[string]string `json:"variables"`
	Limits      lambdaLimits      `json:"limits"`

	dir   string // where it lies, relative to the course; "." for the course itself
	fault string // what is wrong with it, for whoever calls it
}

// lambdaEnvironment is the name of an environment, or what it is made of, or, as
// in older files, variables.
type lambdaEnvironment struct {
	root      string // NAME or NAME@DIGEST; "" is the host's own
	variables map[string]string
}

// UnmarshalJSON reads a string or an object.
func (e *lambdaEnvironment) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &e.root)
	}
	if recipe.IsRecipe(b) {
		r, err := recipe.ParseJSON(b)
		if err != nil {
			return err
		}
		e.root = r.Name()
		return nil
	}
	return json.Unmarshal(b, &e.variables)
}

// python says that l only chooses where Python code runs.
func (l *lambda) python() bool {
	return l.fault == "" && len(l.Command) == 0
}

// lambdaLimits are in the units that people write: seconds and MiB.
type lambdaLimits struct {
	Seconds   float64 `json:"seconds"`
	MemoryMiB int64   `json:"memory_mib"`
	Processes int     `json:"processes"`
}

const maxLambdaFile = 64 << 10

// readLambda reads dir/lambda.json below a version's directory. No such file is
// no lambda; a file that is wrong is a lambda with a fault, since it is the
// course's error and not ours.
func readLambda(version *os.File, dir string) (*lambda, error) {
	f, err := openFile(version, path.Join(dir, "lambda.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open lambda.json: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLambdaFile+1))
	if err != nil {
		return nil, fmt.Errorf("read lambda.json: %w", err)
	}
	l := parseLambda(b)
	l.dir = dir
	return l, nil
}

func parseLambda(b []byte) *lambda {
	l := &lambda{}
	if len(b) > maxLambdaFile {
		l.fault = fmt.Sprintf("lambda.json is larger than %d bytes", maxLambdaFile)
		return l
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		l.fault = "lambda.json: " + err.Error()
		return l
	}
	if l.Variables == nil {
		l.Variables = l.Environment.variables
	}
	named := l.Environment.root != "" && (l.Runtime == "" || strings.HasPrefix(l.Runtime, "python"))
	switch {
	case len(l.Command) == 0 && named:
	case len(l.Command) == 0 || l.Command[0] == "":
		l.fault = `lambda.json: "command" must name the program that serves HTTP, as in ["node", "server.js"]`
	case l.Limits.Seconds < 0 || l.Limits.MemoryMiB < 0 || l.Limits.Processes < 0:
		l.fault = "lambda.json: limits must not be negative"
	}
	for _, a := range append(l.Command, l.environ()...) {
		if strings.ContainsRune(a, 0) {
			l.fault = "lambda.json: a NUL character in command or environment"
		}
	}
	for name := range l.Variables {
		if name == "" || strings.ContainsRune(name, '=') || name == socketVariable {
			l.fault = fmt.Sprintf("lambda.json: %q cannot be set in environment", name)
		}
	}
	return l
}

// environ is the lambda's own environment in a stable order.
func (l *lambda) environ() []string {
	env := make([]string, 0, len(l.Variables))
	for k, v := range l.Variables {
		env = append(env, k+"="+v)
	}
	sort.Strings(env)
	return env
}

// narrow applies the lambda's own limits: they can only lower the call's.
func (l *lambda) narrow(to jobs.Limits) jobs.Limits {
	if s := l.Limits.Seconds; s > 0 {
		to.Wall = min(to.Wall, seconds(s))
	}
	if m := l.Limits.MemoryMiB; m > 0 && m < to.Memory>>20 {
		to.Memory = m << 20
	}
	if p := l.Limits.Processes; p > 0 {
		to.Processes = min(to.Processes, p)
	}
	return to
}

// openFile opens a regular file at a relative path below dir, which may not
// leave it, not even by a link.
func openFile(dir *os.File, p string) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), p, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.ENXIO):
		err = unix.ENOENT
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	f := os.NewFile(uintptr(fd), p)
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
