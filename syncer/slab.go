package syncer

import (
	"sync"
	"sync/atomic"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// slab is room for the contents of files that are read one after another: side by
// side, as a pack wants them. It is used again when the last of them is stored,
// because to touch new memory takes about as long as to hash it.
type slab struct {
	b     [manifest.BlockSize]byte
	users atomic.Int32 // files in it, and slabs while it is being filled
	of    *slabs
}

// slabs are the slabs of one push. What is never freed the garbage collector takes.
type slabs struct {
	spare sync.Pool
	last  *slab // being filled
	used  int   // bytes of it
}

// content is one file's bytes in a slab.
type content struct {
	b []byte
	*slab
}

// room is where a file is read to, until free is called on its slab.
func (s *slabs) room(size int64) content {
	if s.last == nil || s.used+int(size) > len(s.last.b) {
		if s.last != nil {
			s.last.free()
		}
		s.last, _ = s.spare.Get().(*slab)
		if s.last == nil {
			s.last = &slab{of: s}
		}
		s.last.users.Store(1)
		s.used = 0
	}
	from := s.used
	s.used += int(size)
	s.last.users.Add(1)
	return content{s.last.b[from:s.used:len(s.last.b)], s.last}
}

func (s *slab) free() {
	if s.users.Add(-1) == 0 {
		s.of.spare.Put(s)
	}
}
