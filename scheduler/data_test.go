package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDataThatNoSandboxNeedSee(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for data, good := range map[string]bool{
		`{}`: true, ` {"variant_seed":null}`: true, `{"variant_seed": 4294967295 }`: true, `{"variant_seed":0,"a":{"variant_seed":"x"}}`: true,
		`{"variant_seed":"x","variant_seed":7}`: true, `{"VARIANT_SEED":"x"}`: true, `{"a":"\"variant_seed\":\"x\""}`: true, deep(499): true,
		``: false, `[]`: false, `null`: false, deep(500): false, `{"variant_seed":4294967296}`: false, `{"variant_seed":-1}`: false,
		`{"variant_seed":1.0}`: false, `{"variant_seed":"7"}`: false, `{"variant_seed":true}`: false, `{"variant_seed":[7]}`: false,
		`{"variant\u005fseed":"x"}`: false, `{"a":1,"variant_seed":{}}`: false,
	} {
		err := checkData(json.RawMessage(data))
		if good {
			require.NoError(t, err, "%.60s", data)
			continue
		}
		require.Equal(t, http.StatusBadRequest, faultOf(err).status, "%.60s", data)
	}
}

// The walk sees what a decoder sees.
func FuzzData(f *testing.F) {
	f.Add([]byte(`{"a":[{"variant_seed":1}],"variant_seed" : 5 ,"b":"\\\",:{"}`))
	f.Add([]byte(`{"variant\u005fseed":{"x":[]}}`))
	f.Add([]byte(`{"":[],"":""}`)) // the text is deeper than what a decoder keeps of it
	f.Fuzz(func(t *testing.T, b []byte) {
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil || m == nil {
			return
		}
		depth, seed := scanData(b)
		require.Equal(t, string(m["variant_seed"]), string(seed), "%s", b)
		require.Equal(t, depthOf(t, b), depth)
	})
}

// depthOf counts what opens and closes, also below a key that comes again.
func depthOf(t *testing.T, b []byte) (depth int) {
	level := 0
	for tokens := json.NewDecoder(bytes.NewReader(b)); ; {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			return depth
		}
		require.NoError(t, err)
		switch token {
		case json.Delim('{'), json.Delim('['):
			level++
			depth = max(depth, level)
		case json.Delim('}'), json.Delim(']'):
			level--
		}
	}
}
