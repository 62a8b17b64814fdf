package preview

import (
	"bytes"
	"context"
	"crypto/rand"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// A frame is a document of its own, in a sandbox without our origin: what a
// question's HTML and scripts do there reaches this page only as messages.

// framePolicy lets a question run its scripts and load what this server has.
const framePolicy = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads; default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'self'"

// documents keeps the newest rendered frames until they are fetched.
type documents struct {
	mu    sync.Mutex // guards both
	byID  map[string][]byte
	order []string
}

const maxDocuments = 128

func newDocuments() *documents { return &documents{byID: map[string][]byte{}} }

func (d *documents) put(doc []byte) (id string) {
	id = rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[id] = doc
	d.order = append(d.order, id)
	if len(d.order) > maxDocuments {
		delete(d.byID, d.order[0])
		d.order = d.order[1:]
	}
	return id
}

func (d *documents) get(id string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID[id]
}

// document wraps a panel's HTML. Styles and scripts of the question and of the
// course's elements come first, as PrairieLearn has them.
func document(version string, elements []element, info question.Info, content string, form bool) []byte {
	var b bytes.Buffer
	b.WriteString(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
		`<meta name="color-scheme" content="light dark"><title>Question</title><link rel="stylesheet" href="` + asset("frame.css") + `">`)
	base := "/files/" + version + "/"
	styles, scripts := dependencies(elements, info)
	for _, p := range styles {
		b.WriteString(`<link rel="stylesheet" href="` + html.EscapeString(base+p) + `">`)
	}
	b.WriteString(`<script src="` + asset("frame.js") + `"></script>`)
	if strings.Contains(content, `\(`) || strings.Contains(content, `\[`) || strings.Contains(content, "$") || strings.Contains(content, "MathJax") {
		b.WriteString(`<script defer src="` + asset("mathjax.js") + `"></script>`)
	}
	for _, p := range scripts {
		b.WriteString(`<script src="` + html.EscapeString(base+p) + `"></script>`)
	}
	b.WriteString(`</head><body>`)
	if form {
		b.WriteString(`<form class="question-form" name="question-form" autocomplete="off">` + content +
			`<button type="submit" hidden></button></form>`)
	} else {
		b.WriteString(content)
	}
	b.WriteString(`</body></html>`)
	return b.Bytes()
}

// frame serves a rendered panel.
func (s *Server) frame(w http.ResponseWriter, r *http.Request) error {
	doc := s.docs.get(r.PathValue("doc"))
	if doc == nil {
		return refuse(http.StatusGone, "this panel is not kept any more; reload the page")
	}
	w.Header().Set("Content-Security-Policy", framePolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(doc)
	return nil
}

// dynamic serves what the question's file function makes.
func (s *Server) dynamic(w http.ResponseWriter, r *http.Request) error {
	id, ok := s.opened("dynamic", r.PathValue("key"))
	if !ok {
		return refuse(http.StatusNotFound, "no such variant")
	}
	v, err := s.store.byID(r.Context(), id)
	if err != nil {
		return err
	}
	if v == nil || v.Broken {
		return refuse(http.StatusNotFound, "no such variant, or it is broken")
	}
	q, err := s.at(v.Version, v.QID)
	if err != nil {
		return err
	}
	q.Options = s.urls(v)
	name := r.PathValue("name")
	content, step, err := q.File(r.Context(), v.Variant, name, question.View{})
	if err != nil {
		return err
	}
	if step.Failed() {
		return refuse(http.StatusUnprocessableEntity, "%s\n%s", step.Message, step.Trace)
	}
	return sendFile(w, name, content)
}

// sendFile sends a course's own bytes so that they are never a page of ours.
func sendFile(w http.ResponseWriter, name string, content []byte) error {
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = http.DetectContentType(content)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:")
	w.Header().Set("Access-Control-Allow-Origin", "null") // fonts and modules, for the frames
	_, _ = w.Write(content)
	return nil
}

// file serves client files of a version, and the styles and scripts that its
// elements declare.
func (s *Server) file(w http.ResponseWriter, r *http.Request) error {
	version, p := r.PathValue("version"), r.PathValue("p")
	if !validVersion(version) || !fs.ValidPath(p) || !clientFile(p) {
		return refuse(http.StatusNotFound, "%s is no client file", p)
	}
	content, err := fs.ReadFile(s.cfg.Files(version), p)
	if err != nil {
		return refuse(http.StatusNotFound, "there is no file %s", p)
	}
	w.Header().Set("Cache-Control", "max-age=31536000, immutable") // a version never changes
	return sendFile(w, p, content)
}

func validVersion(v string) bool {
	if len(v) != 40 && len(v) != 64 {
		return false
	}
	return strings.Trim(v, "0123456789abcdef") == ""
}

// clientFile knows which parts of a course are for browsers. Elements declare
// styles and scripts outside clientFiles directories; controllers stay inside.
func clientFile(p string) bool {
	parts := strings.Split(p, "/")
	if len(parts) < 2 {
		return false
	}
	switch parts[0] {
	case "clientFilesCourse":
		return true
	case "elements", "elementExtensions":
		return len(parts) > 2 && !slices.Contains([]string{".py", ".json", ".mustache", ".pyc"}, path.Ext(p))
	case "questions":
		return slices.Contains(parts[1:len(parts)-1], "clientFilesQuestion")
	case "courseInstances":
		return slices.ContainsFunc(parts[1:len(parts)-1], func(d string) bool {
			return d == "clientFilesCourseInstance" || d == "clientFilesAssessment"
		})
	}
	return false
}

// urls are the options that tell course code where browsers find things.
func (s *Server) urls(v *variant) map[string]any {
	base := "/files/" + v.Version
	return map[string]any{
		"base_url":                           "/",
		"variant_id":                         strconv.FormatInt(v.ID, 10),
		"client_files_course_url":            base + "/clientFilesCourse",
		"client_files_question_url":          base + "/questions/" + v.QID + "/clientFilesQuestion",
		"client_files_question_dynamic_url":  "/dynamic/" + s.sealed("dynamic", v.ID),
		"course_element_files_url":           base + "/elements",
		"course_element_extension_files_url": base + "/elementExtensions",
		"submission_files_url":               nil,
		"workspace_url":                      nil,
	}
}

// at is a question of a version; its info.json must be there.
func (s *Server) at(version, qid string) (*question.Question, error) {
	if !fs.ValidPath("questions/"+qid) || qid == "." {
		return nil, refuse(http.StatusNotFound, "there is no question %q", qid)
	}
	info, err := s.info(s.cfg.Files(version), "questions/"+qid)
	if err != nil {
		return nil, refuse(http.StatusNotFound, "there is no question %q in this version of the course", qid)
	}
	return &question.Question{Runner: s.cfg.Runner, Course: s.cfg.Course, Version: version, QID: qid, Info: info}, nil
}

// ready returns the variant of a seed on a version, made where it is not kept.
func (s *Server) ready(ctx context.Context, q *question.Question, seed uint32) (*variant, error) {
	v, err := s.store.bySeed(ctx, q.QID, q.Version, seed)
	if err != nil || v != nil {
		return v, err
	}
	made, err := q.Generate(ctx, seed)
	if err != nil {
		return nil, err
	}
	return s.store.keep(ctx, q.QID, q.Version, made)
}
