package runs

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/prairielambda/prairielambda/jobs"
)

// maxLine is how much of a line fits one frame.
const maxLine = 64 << 10

// writer turns what a run prints into frames, a line each, as long as there is room.
type writer struct {
	spool   *spool
	room    int64
	dropped bool
	err     error // the first one of the disk

	run  bool   // the step is the program itself
	ref  string // the case that it runs
	rest [2][]byte
}

// Begin implements Watcher.
func (w *writer) Begin(step, ref string, argv []string) {
	w.flush()
	w.run, w.ref = step == "run", ref
	if !w.run {
		w.frame(textFrame(jobs.FrameConsole, ref, commandLine(argv)))
	}
}

// Output implements Watcher.
func (w *writer) Output(stderr bool, piece []byte) {
	i := 0
	if stderr {
		i = 1
	}
	b := append(w.rest[i], piece...)
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if len(line) > maxLine {
			n := maxLine
			for n > maxLine-utf8.UTFMax && !utf8.RuneStart(b[n]) {
				n--
			}
			line, rest, ok = b[:n], b[n:], true
		}
		if !ok {
			break
		}
		w.frame(textFrame(w.kind(stderr), w.ref, string(line)))
		b = rest
	}
	w.rest[i] = append(w.rest[i][:0], b...)
}

// kind: what the tools say is the console's, and only what the program says its own.
func (w *writer) kind(stderr bool) string {
	switch {
	case !w.run:
		return jobs.FrameConsole
	case stderr:
		return jobs.FrameStderr
	}
	return jobs.FrameStdout
}

// flush ends the lines that have no end.
func (w *writer) flush() {
	for i, b := range w.rest {
		if len(b) > 0 {
			w.frame(textFrame(w.kind(i == 1), w.ref, string(b)))
		}
		w.rest[i] = b[:0]
	}
}

// say is a frame of ours, which is there however much was printed.
func (w *writer) say(kind, text string) { w.write(textFrame(kind, "", text)) }

// report is the last frame of a lab or a grading.
func (w *writer) report(kind string, data json.RawMessage) {
	w.write(jobs.RunFrame{Type: kind, Data: data})
}

func (w *writer) frame(f jobs.RunFrame) {
	if w.dropped {
		return
	}
	if w.room -= int64(len(f.Data)) + frameSize; w.room < 0 {
		w.dropped = true
		w.say(jobs.FrameConsole, "what follows was thrown away: no more output is kept")
		return
	}
	w.write(f)
}

// frameSize is about what a frame takes besides its data.
const frameSize = 48

func (w *writer) write(f jobs.RunFrame) {
	if err := w.spool.append(f); err != nil && w.err == nil {
		w.err, w.dropped = err, true
	}
}

func textFrame(kind, ref, text string) jobs.RunFrame {
	b, err := json.Marshal(strings.ToValidUTF8(text, "\uFFFD"))
	if err != nil { // a string: cannot fail
		b = []byte(`""`)
	}
	return jobs.RunFrame{Type: kind, Data: b, Ref: ref}
}

// commandLine shows a command as people type it.
func commandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if i == 0 {
			a = path.Base(a)
		}
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`;&|<>()*?[]#~!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}
