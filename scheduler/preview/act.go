package preview

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// maxForm bounds what a page may post; PrairieLearn's own bound on a submission is 1 MiB a file.
const maxForm = 16 << 20

func link(qid string, query url.Values) string {
	u := url.URL{Path: "/question/" + qid, RawQuery: query.Encode()}
	return u.String()
}

// newVariant leads to a seed that nobody chose.
func (s *Server) newVariant(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	qid := r.PathValue("qid")
	if err := s.checkToken(r, "variant", qid); err != nil {
		return err
	}
	version, _ := s.current()
	q, err := s.at(version, qid)
	if err != nil {
		return err
	}
	v, err := s.ready(r.Context(), q, rand.Uint32N(1_000_000_000))
	if err != nil {
		return err
	}
	http.Redirect(w, r, link(qid, url.Values{"seed": {strconv.FormatUint(uint64(v.Seed), 10)}}), http.StatusSeeOther)
	return nil
}

// submit answers a variant, on the version it was made with.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return refuse(http.StatusNotFound, "no such variant")
	}
	if err := s.checkToken(r, "submit", r.PathValue("id")); err != nil {
		return err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(r.PostFormValue("answers")), &raw); err != nil {
		return refuse(http.StatusBadRequest, "the answers did not arrive; this page needs JavaScript to read them out of the question")
	}
	answers, err := json.Marshal(raw)
	if err != nil {
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
	if v.Broken {
		return refuse(http.StatusConflict, "this variant is broken, so that it takes no answers; fix the question, or try another seed")
	}
	if v.Closed {
		return refuse(http.StatusConflict, "this variant is closed, so that it takes no answers; open it again, or make a new one")
	}
	q, err := s.at(v.Version, v.QID)
	if err != nil {
		return err
	}
	sub, err := q.Submit(r.Context(), v.Variant, answers, r.PostFormValue("action") != "save")
	if err != nil {
		return err
	}
	made, err := s.store.submit(r.Context(), v.ID, sub)
	if err != nil {
		return err
	}
	if r.PostFormValue("action") != "save" && s.gradable(q.Info, sub) {
		s.queue(made)
	}
	http.Redirect(w, r, link(v.QID, url.Values{"variant": {strconv.FormatInt(v.ID, 10)}})+"#score", http.StatusSeeOther)
	return nil
}

// maxSeeds bounds one run of seeds.
const maxSeeds = 1000

// seeds tries many seeds and sends one line of JSON for each as it ends.
func (s *Server) seeds(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	qid := r.PathValue("qid")
	if err := s.checkToken(r, "seeds", qid); err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PostFormValue("n"))
	if err != nil || n < 1 || n > maxSeeds {
		return refuse(http.StatusBadRequest, "want 1 to %d seeds", maxSeeds)
	}
	version, _ := s.current()
	q, err := s.at(version, qid)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	type line struct {
		*question.Trial
		Failed bool   `json:"failed"`
		Error  string `json:"error,omitempty"`
	}
	lines := make(chan line)
	next := make(chan uint32)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for seed := range next {
				t, err := q.Try(r.Context(), seed, question.Cases)
				if err != nil {
					lines <- line{Trial: &question.Trial{Seed: seed}, Failed: true, Error: err.Error()}
					continue
				}
				lines <- line{Trial: t, Failed: t.Fails()}
			}
		})
	}
	go func() {
		for seed := range n {
			if r.Context().Err() != nil {
				break
			}
			next <- uint32(seed + 1)
		}
		close(next)
		wg.Wait()
		close(lines)
	}()
	enc, ctl := json.NewEncoder(w), http.NewResponseController(w)
	for l := range lines { // always to the end: the workers wait for us
		if enc.Encode(l) == nil {
			_ = ctl.Flush()
		}
	}
	return nil
}
