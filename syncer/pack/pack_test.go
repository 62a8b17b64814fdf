package pack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

func some(r *rand.Rand, n int) []File {
	files := make([]File, n)
	for i := range files {
		files[i] = File{fmt.Sprintf("/d%d/f%d", i/10, i), r.Int64N(20_000)}
	}
	return files
}

// check: the packs cover the files, and none is too full.
func check(t testing.TB, files []File, lens []int) {
	at := 0
	for _, n := range lens {
		var size int64
		for _, f := range files[at : at+n] {
			size += f.Size
		}
		if n == 0 || size > manifest.PackSize {
			t.Fatalf("a pack of %d files and %d bytes", n, size)
		}
		at += n
	}
	if at != len(files) {
		t.Fatalf("%d files packed of %d", at, len(files))
	}
}

// packs are the plan's packs as text, to compare plans, with their sizes.
func packs(files []File, lens []int) map[string]int64 {
	got := map[string]int64{}
	for _, n := range lens {
		var size int64
		for _, f := range files[:n] {
			size += f.Size
		}
		got[fmt.Sprint(files[:n])] = size
		files = files[n:]
	}
	return got
}

func TestPlanCoversEverything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	require.Empty(t, Plan(nil))
	for _, n := range []int{1, 2, 10, 100, 1000, 5000} {
		files := some(r, n)
		check(t, files, Plan(files))
	}
	same := make([]File, 300) // one name, one hash: nothing to cut by
	for i := range same {
		same[i] = File{"/x", 60_000}
	}
	check(t, same[:1], Plan(same[:1]))
}

// TestAnEditStaysNearby edits one file of a plan in every way. The packs that are
// no longer there are its own, what that was cut from, or is now joined with: at
// most two packs' worth of bytes, wherever the file lies.
func TestAnEditStaysNearby(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	files := some(r, 4000)
	before := packs(files, Plan(files))
	for range 200 {
		edited := append([]File(nil), files...)
		i := r.IntN(len(edited))
		switch r.IntN(3) {
		case 0:
			edited[i].Size = r.Int64N(60_000)
		case 1:
			edited = append(edited[:i], edited[i+1:]...)
		case 2:
			edited = append(edited[:i], append([]File{{edited[i].Path + "!", r.Int64N(60_000)}}, edited[i:]...)...)
		}
		lens := Plan(edited)
		check(t, edited, lens)
		after, gone := packs(edited, lens), int64(0)
		for p, size := range before {
			if _, ok := after[p]; !ok {
				gone += size
			}
		}
		require.LessOrEqual(t, gone, int64(2*manifest.PackSize))
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		files := some(rand.New(rand.NewPCG(seed, 0)), int(n%2000))
		check(t, files, Plan(files))
	})
}
