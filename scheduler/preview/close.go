package preview

import (
	"net/http"
	"net/url"
	"strconv"
)

// setOpen closes a variant, as an assessment's end does, or opens it again. A
// closed one is shown as students then see it, and takes no answers.
func (s *Server) setOpen(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return refuse(http.StatusNotFound, "no such variant")
	}
	if err := s.checkToken(r, "open", r.PathValue("id")); err != nil {
		return err
	}
	defer s.locks.lock(id)()
	v, err := s.store.byID(r.Context(), id)
	if err != nil {
		return err
	}
	if v == nil {
		return refuse(http.StatusNotFound, "no such variant")
	}
	if err := s.store.setClosed(r.Context(), id, r.PostFormValue("action") == "close"); err != nil {
		return err
	}
	http.Redirect(w, r, link(v.QID, url.Values{"variant": {strconv.FormatInt(id, 10)}}), http.StatusSeeOther)
	return nil
}
