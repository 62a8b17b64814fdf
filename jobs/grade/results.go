package grade

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// MaxResults bounds results.json, as PrairieLearn does.
const MaxResults = 1 << 20

// maxDepth is how deeply results may be nested.
const maxDepth = 100

// Results are a results.json that was accepted.
type Results struct {
	Score        float64 // 0 to 1
	Gradable     bool
	FormatErrors []string
	Whole        json.RawMessage // all of it, without NUL characters
}

// ParseResults reads a results.json.
func ParseResults(b []byte) (*Results, error) {
	if len(b) > MaxResults {
		return nil, fmt.Errorf("is larger than %d bytes", MaxResults)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var whole map[string]any
	if err := d.Decode(&whole); err != nil {
		return nil, fmt.Errorf("is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("goes on after its object")
	}
	if whole == nil {
		return nil, errors.New("is no JSON object: null")
	}
	clean, err := tidy(whole, 0)
	if err != nil {
		return nil, err
	}
	whole = clean.(map[string]any)
	r := &Results{Gradable: true}
	if err := r.read(whole); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // pages escape; here it would only grow
	if err := enc.Encode(whole); err != nil {
		return nil, err
	}
	r.Whole = bytes.TrimSpace(out.Bytes())
	return r, nil
}

// tidy replaces NUL characters, which databases do not take, and refuses numbers
// that no reader can hold.
func tidy(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("is nested more than %d levels deep", maxDepth)
	}
	var err error
	switch v := v.(type) {
	case string:
		return plain(v), nil
	case json.Number:
		if f, err := v.Float64(); err != nil || math.IsInf(f, 0) {
			return nil, fmt.Errorf("holds the number %.40s, which is too large", v)
		}
		return v, nil
	case []any:
		for i := range v {
			if v[i], err = tidy(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if m[plain(k)], err = tidy(e, depth+1); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return v, nil
}

func plain(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// read takes what counts and checks the types of what pages show.
func (r *Results) read(m map[string]any) error {
	if v, ok := m["gradable"]; ok {
		if r.Gradable, ok = v.(bool); !ok {
			return errors.New(`"gradable" is neither true nor false`)
		}
	}
	switch v := m["format_errors"].(type) {
	case nil:
	case string:
		r.FormatErrors = []string{v}
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return errors.New(`"format_errors" is neither a string nor a list of strings`)
			}
			r.FormatErrors = append(r.FormatErrors, s)
		}
	default:
		return errors.New(`"format_errors" is neither a string nor a list of strings`)
	}
	if err := r.score(m["score"]); err != nil {
		return err
	}
	if err := shown(m, ""); err != nil {
		return err
	}
	tests, err := list(m, "tests", "")
	if err != nil {
		return err
	}
	for i, t := range tests {
		o, ok := t.(map[string]any)
		if !ok {
			return fmt.Errorf(`"tests"[%d] is no object`, i)
		}
		if err := images(o, fmt.Sprintf(`"tests"[%d].`, i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Results) score(v any) error {
	n, ok := v.(json.Number)
	switch {
	case v == nil && !r.Gradable:
		return nil
	case v == nil:
		return errors.New(`has no "score"`)
	case !ok:
		return errors.New(`"score" is not a number`)
	}
	f, err := n.Float64()
	const rounding = 1e-6 // of sums of points
	if err != nil || f < -rounding || f > 1+rounding {
		return fmt.Errorf(`"score" is %.40s, not from 0 to 1`, n)
	}
	if r.Gradable {
		r.Score = min(max(f, 0), 1)
	}
	return nil
}

func shown(m map[string]any, where string) error {
	for _, key := range []string{"message", "output"} {
		if _, ok := m[key].(string); !ok && m[key] != nil {
			return fmt.Errorf("%s%q is not a string", where, key)
		}
	}
	return images(m, where)
}

// images are {url, label} or just the URL.
func images(m map[string]any, where string) error {
	all, err := list(m, "images", where)
	if err != nil {
		return err
	}
	for i, e := range all {
		url := e
		if o, ok := e.(map[string]any); ok {
			url = o["url"]
		}
		if _, ok := url.(string); !ok {
			return fmt.Errorf("%s\"images\"[%d] has no URL", where, i)
		}
	}
	return nil
}

func list(m map[string]any, key, where string) ([]any, error) {
	v, ok := m[key].([]any)
	if !ok && m[key] != nil {
		return nil, fmt.Errorf("%s%q is not a list", where, key)
	}
	return v, nil
}
