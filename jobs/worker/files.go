package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"path"

	"github.com/prairielambda/prairielambda/jobs"
)

// file serves what a course means browsers to have, and nothing else of it.
func (w *Worker) file(rw http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Prairie-Id")
	course, version, p := r.PathValue("course"), r.PathValue("version"), r.PathValue("path")
	_, cancel, refused := w.admit(r, course, version)
	if refused != nil {
		refused.ID = id
		fail(rw, http.StatusUnauthorized, refused)
		return
	}
	defer cancel()
	f, resolved, err := w.cfg.Courses.ClientFile(course, version, p)
	if errors.Is(err, fs.ErrNotExist) {
		fail(rw, http.StatusNotFound, &jobs.Error{Code: "file_missing", Message: "no client file " + p, ID: id})
		return
	}
	if err != nil {
		w.refuse(rw, r, id, err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		w.refuse(rw, r, id, err)
		return
	}
	// A version never changes, so its name and the path are the content's name.
	sum := sha256.Sum256([]byte(course + "\x00" + resolved + "\x00" + p))
	rw.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	rw.Header().Set("Prairie-Version", resolved)
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(rw, r, path.Base(p), st.ModTime(), f)
}
