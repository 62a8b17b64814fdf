// Package pack decides which of a chunk's small files share a blob.
//
// It guarantees that no pack exceeds the limit, and that borders depend on names
// only: whether a file begins a pack at some depth follows from the hash of its
// own path. A pack that is too full is cut one depth further, which moves no
// other border, so an edit never repacks its neighbours.
package pack

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// File is one small file: its path below the chunk's directory and its size,
// which is less than manifest.OwnSize.
type File struct {
	Path string
	Size int64
}

// depths: at depth k one path in 4^(depths-k) begins a pack, at the last all do.
const depths = 11

// Plan cuts files, which are in the manifest's order, into packs. It returns
// the length of each.
func Plan(files []File) []int {
	var total int64
	for _, f := range files {
		total += f.Size
	}
	if total <= manifest.PackSize {
		if len(files) == 0 {
			return nil
		}
		return []int{len(files)}
	}
	keys := make([]uint64, len(files))
	for i, f := range files {
		sum := blake3.Sum256([]byte(f.Path))
		keys[i] = binary.LittleEndian.Uint64(sum[:])
	}
	var lens []int
	cut(files, keys, total, 1, &lens)
	return lens
}

func cut(files []File, keys []uint64, total int64, depth int, lens *[]int) {
	if total <= manifest.PackSize || len(files) == 1 {
		*lens = append(*lens, len(files))
		return
	}
	mask := uint64(1)<<(2*(depths-depth)) - 1
	start, size := 0, files[0].Size
	for i := 1; i < len(files); i++ {
		if keys[i]&mask == 0 {
			cut(files[start:i], keys[start:i], size, depth+1, lens)
			start, size = i, 0
		}
		size += files[i].Size
	}
	cut(files[start:], keys[start:], size, depth+1, lens)
}
