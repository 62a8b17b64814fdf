package manifest

import (
	"encoding/binary"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Patch says how a version differs from an older one whose tree has the same
// names, types, targets and chunks: in the content of some files.
type Patch struct {
	Chunks []int       // those with a changed file, rising
	Files  []PatchFile // all files of these chunks, in rising order of their entries
	Blobs  []SpecBlob  // all blobs of these chunks, grouped by chunk, in order of first use
	Trees  []PatchTree // directories whose git tree changed
}

// PatchFile is what Encode would be told about a file.
type PatchFile struct {
	Entry  int
	Exec   bool
	Size   int64
	Digest blob.Digest
	Blob   int // index into Blobs, of a file that is not empty
}

// PatchTree is a directory's new tree id.
type PatchTree struct {
	Entry int
	Tree  TreeID
}

// Draft writes what Spec.Draft would for the whole tree, at the cost of a copy:
// it touches only the rows that changed. m must be a Course, and p's numbers
// must be m's.
func (m *Manifest) Draft(p *Patch) ([]byte, error) {
	h := m.header
	firsts := m.shifted(p, &h.blobs)
	l := h.layout()
	if l.end > blob.MaxSize {
		return nil, errorf("%d bytes for %d entries exceed %d", l.end, h.n, blob.MaxSize)
	}
	b := blob.Buffer(l.end)
	h.write(b)
	copy(b[headerSize:l.blobKinds], m.b[headerSize:])
	copy(b[l.chunkKinds:], m.b[m.chunkKinds:])
	m.copyBlobs(b, &l, p, firsts)
	m.shiftFiles(b, p, firsts)
	return b, m.patchRows(b, &l, p, firsts)
}

// shifted is each chunk's first blob in the new version; total becomes their number.
func (m *Manifest) shifted(p *Patch, total *int) []uint32 {
	firsts := make([]uint32, m.chunks)
	at, c, r := 0, 0, 0
	for k := range m.chunks {
		firsts[k] = uint32(at)
		if c == len(p.Chunks) || p.Chunks[c] != k {
			at += int(m.u32(m.chunkBlobs, k))
			continue
		}
		for c++; r < len(p.Blobs) && p.Blobs[r].Chunk == k; r++ {
			at++
		}
	}
	*total = at
	return firsts
}

// copyBlobs fills the blobs' columns but for the sizes of new ones.
func (m *Manifest) copyBlobs(b []byte, l *layout, p *Patch, firsts []uint32) {
	run := func(from, to, at int) { // old blobs from..to, at their new place
		copy(b[l.blobKinds+at:], m.b[m.blobKinds+from:m.blobKinds+to])
		copy(b[l.blobSizes+4*at:], m.b[m.blobSizes+4*from:m.blobSizes+4*to])
		copy(b[l.blobDigests+32*at:], m.b[m.blobDigests+32*from:m.blobDigests+32*to])
	}
	old, at, r := 0, 0, 0
	for _, k := range p.Chunks {
		first, n := m.ChunkBlobs(k)
		run(old, first, at)
		old, at = first+n, int(firsts[k])
		for ; r < len(p.Blobs) && p.Blobs[r].Chunk == k; r++ {
			b[l.blobKinds+at] = byte(p.Blobs[r].Kind)
			copy(b[l.blobDigests+32*at:], p.Blobs[r].Digest[:])
			at++
		}
		binary.LittleEndian.PutUint32(b[l.chunkBlobs+4*k:], uint32(at)-firsts[k])
	}
	run(old, m.blobs, at)
}

// shiftFiles renumbers the blobs of files behind a chunk that got more or fewer.
func (m *Manifest) shiftFiles(b []byte, p *Patch, firsts []uint32) {
	same := true
	for k := range firsts {
		same = same && firsts[k] == m.firsts[k]
	}
	if same {
		return
	}
	f := 0
	for i := range m.n {
		if m.typ(i) != File {
			continue
		}
		if k := m.u32(m.fileBlobs, f); k != noBlob {
			c := m.ChunkOf(i)
			binary.LittleEndian.PutUint32(b[m.fileBlobs+4*f:], k+firsts[c]-m.firsts[c])
		}
		f++
	}
}

// patchRows writes the changed files, the sizes of new blobs, and the tree ids.
// The columns of entries, files and trees are where they were.
func (m *Manifest) patchRows(b []byte, l *layout, p *Patch, firsts []uint32) error {
	put := func(col, i, v int) { binary.LittleEndian.PutUint32(b[col+4*i:], uint32(v)) }
	base := map[int]int{} // per chunk: its first in p.Blobs
	for r := len(p.Blobs) - 1; r >= 0; r-- {
		base[p.Blobs[r].Chunk] = r
	}
	fill := make([]int, len(p.Blobs))
	for _, e := range p.Files {
		if e.Size < 0 || e.Size > MaxFile || e.Size > 0 && (e.Blob < 0 || e.Blob >= len(p.Blobs)) {
			return errorf("entry %d has %d bytes in blob %d of %d", e.Entry, e.Size, e.Blob, len(p.Blobs))
		}
		f := int(m.rank(e.Entry).file)
		b[l.types+e.Entry] = byte(File)
		if e.Exec {
			b[l.types+e.Entry] |= execBit
		}
		put(l.sizes, e.Entry, int(e.Size))
		b[l.sizesHigh+e.Entry] = byte(e.Size >> 32)
		copy(b[l.fileDigests+32*f:], e.Digest[:])
		put(l.fileOffs, f, 0)
		if e.Size == 0 {
			put(l.fileBlobs, f, noBlob)
			continue
		}
		k := m.ChunkOf(e.Entry)
		put(l.fileBlobs, f, int(firsts[k])+e.Blob-base[k])
		size := int(e.Size)
		switch where(e.Size) {
		case Pack:
			put(l.fileOffs, f, fill[e.Blob])
		case Blocks:
			size = 32 * ((size + BlockSize - 1) / BlockSize)
		}
		fill[e.Blob] += size
	}
	for r, ref := range p.Blobs {
		put(l.blobSizes, int(firsts[ref.Chunk])+r-base[ref.Chunk], fill[r])
	}
	for _, d := range p.Trees {
		copy(b[l.trees+m.treeLen*int(m.rank(d.Entry).dir):], d.Tree[:m.treeLen])
	}
	return nil
}

// FilesPer counts the regular files of each chunk and of each blob.
func (m *Manifest) FilesPer() (chunks, blobs []int32) {
	chunks, blobs = make([]int32, m.chunks), make([]int32, m.blobs)
	f := 0
	for i := range m.n {
		if m.typ(i) != File {
			continue
		}
		chunks[m.ChunkOf(i)]++
		if k := m.u32(m.fileBlobs, f); k != noBlob {
			blobs[k]++
		}
		f++
	}
	return chunks, blobs
}

// FileBytes is the sum of the sizes of all regular files.
func (m *Manifest) FileBytes() (n int64) {
	for i := range m.n {
		if m.typ(i) == File {
			n += m.size(i)
		}
	}
	return n
}
