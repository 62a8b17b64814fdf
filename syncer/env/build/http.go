package build

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/recipe"
)

// longestWait bounds one long poll.
const longestWait = time.Minute

// Handler is a Service's HTTP face, for gateways:
//
//	POST /v1/environments {owner, recipe}               200 or 202 with an Answer
//	GET  /v1/environments/{id}?owner=O&from=N&wait=MS   200 with a Chunk
//
// allow says whether a secret lets its bearer in; owners are the bearer's word.
// Failures are {"error": {code, message, retryable}}.
func (s *Service) Handler(allow func(secret string) bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/environments", s.ask)
	mux.HandleFunc("GET /v1/environments/{id}", s.read)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !allow(secret) {
			fail(w, http.StatusForbidden, "forbidden", "no token for environments", false)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Service) ask(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Owner  string          `json:"owner"`
		Recipe json.RawMessage `json:"recipe"`
	}
	d := json.NewDecoder(io.LimitReader(r.Body, 2*recipe.MaxBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		fail(w, http.StatusBadRequest, "bad_request", "want {owner, recipe}: "+err.Error(), false)
		return
	}
	rec, err := decode(q.Recipe)
	if err != nil {
		fail(w, http.StatusBadRequest, "bad_request", err.Error(), false)
		return
	}
	a, err := s.Ask(r.Context(), q.Owner, rec)
	switch {
	case errors.Is(err, ErrFull):
		fail(w, http.StatusTooManyRequests, "busy", err.Error(), true)
	case err != nil:
		s.cfg.Log.Error().Err(err).Msg("ask")
		fail(w, http.StatusBadGateway, "failed", "the store does not answer", true)
	case a.ID != "":
		answer(w, http.StatusAccepted, a)
	default:
		answer(w, http.StatusOK, a)
	}
}

func (s *Service) read(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := strconv.Atoi(q.Get("from"))
	if err != nil || from < 0 {
		fail(w, http.StatusBadRequest, "bad_request", "from is the number of a line", false)
		return
	}
	ms, _ := strconv.ParseInt(q.Get("wait"), 10, 64) // no number, no wait
	wait := min(max(time.Duration(min(ms, longestWait.Milliseconds()))*time.Millisecond, 0), longestWait)
	c, err := s.Read(r.Context(), q.Get("owner"), r.PathValue("id"), from, wait)
	if err != nil {
		fail(w, http.StatusNotFound, "run_missing", err.Error(), false)
		return
	}
	answer(w, http.StatusOK, c)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller sees an answer that is cut short
}

func fail(w http.ResponseWriter, status int, code, message string, retryable bool) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": message, "retryable": retryable}})
}
