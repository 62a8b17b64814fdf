package scheduler

import (
	"encoding/json"
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
	f.Fuzz(func(t *testing.T, b []byte) {
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil || m == nil {
			return
		}
		depth, seed := scanData(b)
		require.Equal(t, string(m["variant_seed"]), string(seed), "%s", b)
		var v any
		require.NoError(t, json.Unmarshal(b, &v))
		require.Equal(t, depthOf(v), depth)
	})
}

func depthOf(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n = max(n, depthOf(e))
		}
		return n + 1
	case []any:
		for _, e := range v {
			n = max(n, depthOf(e))
		}
		return n + 1
	}
	return 0
}
