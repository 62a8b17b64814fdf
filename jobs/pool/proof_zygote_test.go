package pool

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// A zygote's hash seed and address layout are those of all its children. It is
// replaced every so many forks, no call notices, and the old ones are gone.
func TestZygotesAreReplaced(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}",
		"questions/q/server.py": `
import ctypes
def generate(data):
    data["params"]["hash"] = str(hash("prairie"))
    data["params"]["address"] = hex(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value)
`,
	}), func(c *Config) { c.Spares = 2 })
	p.python.most = 15
	hashes, addresses := map[string]int{}, map[string]int{}
	for deadline := time.Now().Add(5 * time.Minute); len(hashes) < 4 && time.Now().Before(deadline); {
		r := do(t, p, question("q", "generate"))
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		var d struct {
			Params struct{ Hash, Address string }
		}
		require.NoError(t, json.Unmarshal(r.Data, &d))
		hashes[d.Params.Hash]++
		addresses[d.Params.Address]++
	}
	require.Len(t, hashes, 4)
	require.Len(t, addresses, 4)
	require.Eventually(t, func() bool { return len(zygotes(t)) == 1 }, 30*time.Second, 20*time.Millisecond, "those that were replaced have ended")
}
