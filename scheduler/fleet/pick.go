package fleet

import (
	"cmp"
	"hash/fnv"
	"io"
	"slices"
)

// loadFactor is how far above the average a worker may be loaded before its keys spill over.
const loadFactor = 1.25

// Order returns every worker, best first: workers that take calls before those
// that do not; among them those with room before the overloaded; then by
// rendezvous hash of key. The caller owns the slice.
//
// A worker has room while it has a free slot, or while its load stays below
// loadFactor times the average. The last part keeps an overloaded fleet even.
func (f *Fleet) Order(key string) []*Worker {
	ws := f.Workers()
	if len(ws) == 1 {
		return []*Worker{ws[0]}
	}
	type ranked struct {
		w     *Worker
		class int
		score uint64
	}
	total, up := int64(0), 0
	for _, w := range ws {
		if w.Up() {
			total, up = total+w.inflight.Load(), up+1
		}
	}
	limit := loadFactor * float64(total+1) / float64(max(up, 1))
	rs := make([]ranked, len(ws))
	for i, w := range ws {
		r := ranked{w: w, score: score(key, w.URL)}
		switch load := w.inflight.Load() + 1; {
		case !w.Up():
			r.class = 2
		case load > int64(w.Status().Slots) && float64(load) > limit:
			r.class = 1
		}
		rs[i] = r
	}
	slices.SortFunc(rs, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(b.score, a.score), cmp.Compare(a.w.URL, b.w.URL))
	})
	out := make([]*Worker, len(rs))
	for i, r := range rs {
		out[i] = r.w
	}
	return out
}

// score is the same in every process. FNV alone leaves the last bytes' influence
// in the low bits; the finalizer (of MurmurHash3) spreads it.
func score(key, worker string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, worker)
	h.Write([]byte{0})
	io.WriteString(h, key)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
