package preview

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// upload serves a file that was handed in with a submission, from
// submitted_answers["_files"], where PrairieLearn's elements put them.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) error {
	id, ok := s.opened("submission", r.PathValue("key"))
	if !ok {
		return refuse(http.StatusNotFound, "no such submission")
	}
	sub, err := s.store.submission(r.Context(), id)
	if err != nil {
		return err
	}
	if sub == nil {
		return refuse(http.StatusNotFound, "no such submission")
	}
	var answers struct {
		Files []struct {
			Name     string `json:"name"`
			Contents string `json:"contents"`
		} `json:"_files"`
	}
	_ = json.Unmarshal(sub.Submitted, &answers) // course code may have made anything of it
	for _, f := range answers.Files {
		if f.Name != r.PathValue("name") {
			continue
		}
		content, err := base64.StdEncoding.DecodeString(f.Contents)
		if err != nil {
			return refuse(http.StatusUnprocessableEntity, "the file %s is not base64", f.Name)
		}
		return sendFile(w, f.Name, content)
	}
	return refuse(http.StatusNotFound, "nothing of the name %s was handed in", r.PathValue("name"))
}

// sealed names a number in a URL so that it cannot be guessed: panels, which
// carry no cookie, ask for it.
func (s *Server) sealed(kind string, id int64) string {
	n := strconv.FormatInt(id, 10)
	return n + "-" + s.token(kind, n)[:22]
}

func (s *Server) opened(kind, key string) (id int64, ok bool) {
	n, _, _ := strings.Cut(key, "-")
	id, err := strconv.ParseInt(n, 10, 64)
	return id, err == nil && hmac.Equal([]byte(key), []byte(s.sealed(kind, id)))
}
