package preview

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed templates/*.html
var templates embed.FS

// static files are embedded as they are; MathJax compressed, as it is sent.
//
//go:embed static
var staticFiles embed.FS

// asset is the URL of a static file, which changes with its content.
func asset(name string) string { return "/static/" + name + "?v=" + digests()[name] }

var digests = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // embedded
	}
	for _, e := range entries {
		b, _ := staticFiles.ReadFile("static/" + e.Name())
		sum := sha256.Sum256(b)
		all[strings.TrimSuffix(e.Name(), ".gz")] = hex.EncodeToString(sum[:6])
	}
	return all
})

// static serves the page's own files; they need no origin, for the frames have none.
func static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	h := w.Header()
	h.Set("Cache-Control", "max-age=31536000, immutable")
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Access-Control-Allow-Origin", "*")
	b, err := staticFiles.ReadFile("static/" + name)
	if err != nil {
		if b, err = staticFiles.ReadFile("static/" + name + ".gz"); err != nil {
			http.NotFound(w, r)
			return
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
		} else if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			b, _ = io.ReadAll(z)
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func parseTemplates() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{"asset": asset, "colour": colour, "short": short, "ms": ms, "percent": percent, "mib": mib}).
		ParseFS(templates, "templates/*.html")
}

// render writes a page at once, or an error: never half a page.
func (s *Server) render(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := s.page.ExecuteTemplate(&b, name, data); err != nil {
		s.cfg.Log.Error().Err(err).Str("template", name).Msg("page failed")
		http.Error(w, "this page failed: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
