package manifest

import (
	"encoding/binary"
	"slices"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Spec is what Encode writes: a tree in breadth-first order. Entries[0] is the
// root; the children of each directory follow one another, sorted by name, in
// the order of their directories. Offsets in packs are not given, they follow
// from the order.
type Spec struct {
	Kind    Kind
	TreeLen int // length of git tree ids: 0, 20 or 32
	Entries []SpecEntry
	Chunks  []SpecChunk // sorted by (Root, Kind); Chunks[0] is {Rest, 0}
	Blobs   []SpecBlob  // grouped by chunk, in order of first use
}

// SpecEntry is one entry of a Spec.
type SpecEntry struct {
	Entry
	Children int    // of a directory
	Tree     TreeID // of a directory made from git
	Chunk    int
	Blob     int   // of a regular file that is not empty
	Attr     *Attr // of a Tree's entry; nil is the zero Attr
	Link     int   // in a Tree: the first entry that is the same inode, or this one
}

// SpecChunk is one chunk of a Spec.
type SpecChunk struct {
	Kind ChunkKind
	Root int // its directory's entry
}

// SpecBlob is one blob of a Spec.
type SpecBlob struct {
	Kind   Where
	Digest blob.Digest
	Chunk  int
}

// Encode writes the one encoding of s. It refuses what Decode would refuse.
func Encode(s *Spec) (*Manifest, error) {
	b, err := s.Draft()
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

// Draft writes what Encode would, without the proof that Decode accepts it: a
// caller may decode it while it stores it.
func (s *Spec) Draft() ([]byte, error) {
	h, attrs, err := s.header()
	if err != nil {
		return nil, err
	}
	l := h.layout()
	if l.end > blob.MaxSize {
		return nil, errorf("%d bytes for %d entries exceed %d", l.end, h.n, blob.MaxSize)
	}
	b := make([]byte, l.end)
	h.write(b)
	put := func(col, i int, v int) { binary.LittleEndian.PutUint32(b[col+4*i:], uint32(v)) }
	file, dir, name, target := 0, 0, l.names, l.targets
	fill := make([]int, len(s.Blobs)) // bytes of each blob's files so far
	for i := range s.Entries {
		e := &s.Entries[i]
		b[l.types+i] = byte(e.Type)
		if e.Exec {
			b[l.types+i] |= execBit
		}
		b[l.nameLens+i] = byte(len(e.Name))
		name += copy(b[name:], e.Name)
		put(l.entryChunks, i, e.Chunk)
		switch e.Type {
		case Dir:
			put(l.sizes, i, e.Children)
			copy(b[l.trees+h.treeLen*dir:], e.Tree[:h.treeLen])
			dir++
		case Symlink:
			put(l.sizes, i, len(e.Target))
			target += copy(b[target:], e.Target)
		case File:
			put(l.sizes, i, int(e.Size))
			b[l.sizesHigh+i] = byte(e.Size >> 32)
			copy(b[l.fileDigests+32*file:], e.Digest[:])
			if e.Size == 0 {
				put(l.fileBlobs, file, noBlob)
			} else {
				put(l.fileBlobs, file, e.Blob)
				size := int(e.Size)
				switch where(e.Size) {
				case Pack:
					put(l.fileOffs, file, fill[e.Blob])
				case Blocks:
					size = 32 * ((size + BlockSize - 1) / BlockSize)
				}
				fill[e.Blob] += size
			}
			file++
		}
	}
	per := make([]int, len(s.Chunks))
	for k, r := range s.Blobs {
		b[l.blobKinds+k] = byte(r.Kind)
		put(l.blobSizes, k, fill[k])
		copy(b[l.blobDigests+32*k:], r.Digest[:])
		per[r.Chunk]++
	}
	for k, c := range s.Chunks {
		b[l.chunkKinds+k] = byte(c.Kind)
		put(l.chunkRoots, k, c.Root)
		put(l.chunkBlobs, k, per[k])
	}
	if h.kind == Tree {
		attrs.write(b, &l, s)
	}
	return b, nil
}

// header counts, and checks what Encode itself would trip over.
func (s *Spec) header() (h header, attrs attrTable, err error) {
	h = header{kind: s.Kind, treeLen: s.TreeLen, n: len(s.Entries), blobs: len(s.Blobs), chunks: len(s.Chunks)}
	if !slices.Contains([]int{0, 20, 32}, h.treeLen) {
		return h, attrs, errorf("tree ids of %d bytes", h.treeLen)
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if len(e.Name) > 255 {
			return h, attrs, errorf("the name %.40q... has %d bytes, more than 255", e.Name, len(e.Name))
		}
		if e.Size < 0 || e.Size > MaxFile {
			return h, attrs, errorf("%q has %d bytes, more than %d", e.Name, e.Size, int64(MaxFile))
		}
		h.nameBytes += len(e.Name)
		switch e.Type {
		case Dir:
			h.ndirs++
		case File:
			h.files++
			if e.Size > 0 && (e.Blob < 0 || e.Blob >= len(s.Blobs)) {
				return h, attrs, errorf("%q lies in blob %d of %d", e.Name, e.Blob, len(s.Blobs))
			}
		case Symlink:
			h.links++
			h.targetBytes += len(e.Target)
		}
	}
	for _, r := range s.Blobs {
		if r.Chunk < 0 || r.Chunk >= len(s.Chunks) {
			return h, attrs, errorf("a blob of chunk %d of %d", r.Chunk, len(s.Chunks))
		}
	}
	if h.kind == Tree {
		attrs = s.attrTable()
		h.attrs, h.xattr = len(attrs.records), attrs.xattr
	}
	return h, attrs, nil
}
