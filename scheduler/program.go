package scheduler

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

const (
	maxFiles = 256
	maxCases = 256
)

// runBody is a program and how eagerly to run it.
type runBody struct {
	jobs.Program
	Hedge       string          `json:"hedge"`       // off, auto (the default) or always
	Environment json.RawMessage `json:"environment"` // in the place of the program's own: a name or a recipe
}

// run runs one program. With hedge "always" two workers run it at once (or two
// sandboxes of the only one) and the first final outcome answers.
func (g *Gateway) run(x *exchange) error {
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	b, err := decodeRun(raw)
	if err != nil {
		return err
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	rt, err := g.runtime(ctx, x, b.Runtime)
	if err != nil {
		return err
	}
	var task string
	if b.Program.Environment, task, err = g.environment(ctx, x, b.Environment); err != nil {
		return err
	}
	if task != "" {
		return x.accepted(task, building)
	}
	b.Runtime, b.ID = runtimeID(rt), x.id
	x.note.name, x.note.method = b.Runtime, b.Mode
	body, err := json.Marshal(b.Program)
	if err != nil {
		return fmt.Errorf("encode program: %w", err)
	}
	leave, err := g.enter(ctx, "programs of "+x.note.token)
	if err != nil {
		return err
	}
	defer leave()
	req := fleet.Request{Path: "/v1/run", Body: body, Header: traceOf(x.r), ID: x.id}
	p := plan{
		key: "run\x00" + b.Runtime, class: "run\x00" + b.Runtime + "\x00" + b.Mode,
		hedge: b.Hedge, only: func(w *fleet.Worker) bool { return offers(w, b.Runtime) },
	}
	won, err := onFleet(ctx, g, p, func(ctx context.Context, w *fleet.Worker) (*jobs.ProgramResult, error) {
		var res jobs.ProgramResult
		if err := w.JSON(ctx, req, &res); err != nil {
			return nil, err
		}
		if res.Outcome == "" || res.Outcome == jobs.Killed { // from outside: not the program's own end
			return nil, &fleet.Error{Worker: w.URL, Status: http.StatusBadGateway}
		}
		return &res, nil
	})
	x.note.trip = trip{worker: won.By, tries: won.Tries, hedged: won.Hedged}
	if err != nil {
		return err
	}
	x.note.outcome = string(won.Value.Outcome)
	won.Value.ID = x.id
	out, err := json.Marshal(won.Value)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	x.send("application/json", out)
	return nil
}

// decodeRun reads and checks a program.
func decodeRun(raw []byte) (*runBody, error) {
	var b runBody
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	set(&b.Mode, "run")
	if b.Mode == "build" {
		b.Mode = "compile"
	}
	set(&b.Hedge, "auto")
	if b.Hedge != "off" && b.Hedge != "auto" && b.Hedge != "always" {
		return nil, refuse(http.StatusBadRequest, "bad_request", "hedge is off, auto or always")
	}
	if err := checkProgram(&b.Program); err != nil {
		return nil, err
	}
	return &b, nil
}

// checkProgram refuses programs whose names, arguments or environment could mean
// more than they say.
func checkProgram(b *jobs.Program) error {
	bad := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, "bad_request", fmt.Sprintf(format, args...))
	}
	if err := checkWord("mode", b.Mode); err != nil {
		return err
	}
	if len(b.Files) == 0 || len(b.Files) > maxFiles || len(b.Cases) > maxCases {
		return bad("%d files and %d cases; 1 to %d files and at most %d cases are taken", len(b.Files), len(b.Cases), maxFiles, maxCases)
	}
	seen := map[string]bool{}
	for i, f := range b.Files {
		if !isBasename(f.Basename) || seen[f.Basename] {
			return bad("files[%d]: basename is not a plain name of its own", i)
		}
		seen[f.Basename] = true
		if f.Encoding == "base64" {
			if _, err := base64.StdEncoding.DecodeString(f.Contents); err != nil {
				return bad("files[%d]: contents is not base64", i)
			}
		} else if f.Encoding != "" && f.Encoding != "utf8" {
			return bad("files[%d]: encoding is utf8 or base64", i)
		}
	}
	if b.Main != "" && !seen[b.Main] {
		return bad("main names none of the files")
	}
	for k, v := range b.Env {
		if !isEnvName(k) || strings.Contains(v, "\x00") {
			return bad("env: %q cannot be set", k)
		}
	}
	for _, a := range slices.Concat(append(slices.Collect(maps.Values(b.Switches)), b.Args)...) {
		if strings.Contains(a, "\x00") || len(a) > 64<<10 {
			return bad("an argument is too long or holds a NUL")
		}
	}
	return nil
}

// isBasename reports whether s names a file in the program's own directory, and
// cannot be taken for an option.
func isBasename(s string) bool {
	return s != "" && len(s) <= 255 && utf8.ValidString(s) && s[0] != '-' && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == '\\' || unicode.IsControl(r) })
}

// isEnvName accepts names that no loader, shell or interpreter takes orders from.
func isEnvName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || isLetter(c) || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	for _, p := range []string{"LD_", "DYLD_", "PYTHON", "NODE_", "BASH", "PERL", "RUBY", "JAVA_", "GCONV_", "MALLOC_", "GLIBC_", "PRAIRIE_", "NOMAD_"} {
		if strings.HasPrefix(s, p) {
			return false
		}
	}
	return s != "" && len(s) <= maxWord && !slices.Contains([]string{"PATH", "HOME", "IFS", "ENV", "SHELL", "TMPDIR"}, s)
}
