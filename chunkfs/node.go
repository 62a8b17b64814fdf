package chunkfs

import (
	"encoding/binary"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// A node id says by itself what it stands for, so that a daemon which starts in
// the middle of a mount's life understands every id that the kernel remembers.
//
//	bits 63-62  what          bits 61-0
//	0           fixed         1 the root, 2 the status directory, 4 the environments, slot<<32 | 3 what chunks a version has
//	1           place         slot<<32 | entry: a directory or symlink of one version
//	2           content       f(course, mode, digest): a regular file, in all versions that have it
//	3           status        file<<54 | size<<34 | serial
//
// A slot is a row of State. The slot of a course stands for its directory (entry
// 0), the slot of a version for its root (entry 0), and with entry linkEntry for
// the `current` that points at it. Courses never share content ids: locks, leases
// and the timing of the page cache would cross from one to the other.
const (
	rootNode      uint64 = 1
	statusDirNode uint64 = 2
	chunksEntry          = 3

	tagShift  = 62
	tagPlace  = uint64(1) << tagShift
	tagShared = uint64(2) << tagShift
	tagStatus = uint64(3) << tagShift
	tagMask   = uint64(3) << tagShift

	linkEntry = 1<<32 - 1
)

func placeNode(slot uint32, entry int) uint64 { return tagPlace | uint64(slot)<<32 | uint64(entry) }

func splitPlace(id uint64) (slot uint32, entry int) {
	return uint32(id &^ tagMask >> 32), int(uint32(id))
}

// contentKey identifies a file's content within its course by 126 bits: the
// node id, and a check that tells two contents with one id apart.
func contentKey(course uint64, exec bool, d blob.Digest) (id, check uint64) {
	id = binary.LittleEndian.Uint64(d[:8]) ^ course
	if exec {
		id ^= 0x9e3779b97f4a7c15
	}
	return tagShared | id&^tagMask, binary.LittleEndian.Uint64(d[8:16]) ^ course
}

// courseKey spreads the ids of one course away from those of all others.
func courseKey(course string) uint64 {
	d := blob.Sum([]byte("chunkfs course " + course))
	return binary.LittleEndian.Uint64(d[:8])
}
