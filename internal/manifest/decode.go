package manifest

import (
	"strings"
	"sync/atomic"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Decode validates b and answers from it. It keeps b and never writes to it; b
// must stay as it is while the manifest, or a string that came from it, is used.
// What it accepts, Encode would write byte for byte. Every failure is a *FormatError.
func Decode(b []byte) (*Manifest, error) {
	m := &Manifest{b: b}
	if len(b) > blob.MaxSize {
		return nil, errorf("%d bytes exceed %d", len(b), blob.MaxSize)
	}
	if err := m.read(b); err != nil {
		return nil, err
	}
	m.layout = m.header.layout()
	if m.end != len(b) {
		return nil, errorf("%d bytes where the counts say %d", len(b), m.end)
	}
	for _, check := range []func() error{m.checkTables, m.checkEntries, m.checkChunks, m.checkFiles, m.checkAttrs, m.checkLinks} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// checkTables checks the tables of blobs and chunks as far as they stand alone.
func (m *Manifest) checkTables() error {
	if m.n == 0 || m.chunks == 0 || m.chunks > m.n+1 || m.blobs > m.files {
		return errorf("%d entries, %d chunks, %d blobs for %d files", m.n, m.chunks, m.blobs, m.files)
	}
	m.firsts = make([]uint32, m.chunks)
	m.digests = make([]atomic.Pointer[blob.Digest], m.chunks)
	blobs := 0
	for k := range m.chunks {
		kind, root := ChunkKind(m.b[m.chunkKinds+k]), m.chunkRoot(k)
		switch {
		case kind >= chunkKinds || root >= m.n,
			(k == 0) != (kind == Rest),
			(root == 0) != (kind <= Thumbnails):
			return errorf("chunk %d has kind %d and directory %d", k, kind, root)
		case k > 0 && (root < m.chunkRoot(k-1) || root == m.chunkRoot(k-1) && kind <= ChunkKind(m.b[m.chunkKinds+k-1])):
			return errorf("chunk %d is out of order", k)
		case k > 1 && root == m.chunkRoot(k-1):
			return errorf("two chunks for directory %d", root)
		}
		m.firsts[k] = uint32(blobs)
		if blobs += int(m.u32(m.chunkBlobs, k)); blobs > m.blobs {
			break
		}
	}
	if blobs != m.blobs {
		return errorf("%d blobs where the chunks have %d", m.blobs, blobs)
	}
	return nil
}

// checkEntries checks the tree's shape and names, and fills the marks.
func (m *Manifest) checkEntries() error {
	m.marks = make([]mark, (m.n+markEvery-1)/markEvery)
	sum := mark{child: 1}
	parent, left := 0, 0 // the directory that the next entry is a child of, and how many it has left
	links := 0
	prev := ""
	for i := range m.n {
		if i%markEvery == 0 {
			m.marks[i/markEvery] = sum
		}
		t, exec := m.typ(i), m.b[m.types+i]&execBit != 0
		if t >= types || exec && t != File || t > Symlink && m.kind != Tree {
			return errorf("entry %d has type %#x", i, m.b[m.types+i])
		}
		size := m.size(i)
		if t == File && size > MaxFile || t != File && m.b[m.sizesHigh+i] != 0 || t > Symlink && size != 0 {
			return errorf("entry %d has size %d", i, size)
		}
		before := sum
		// Check the sums before they can wrap: every one is bounded by a count.
		if int64(before.name)+int64(m.b[m.nameLens+i]) > int64(m.nameBytes) ||
			t == Dir && int64(before.child)+size > int64(m.n) ||
			t == Symlink && (size == 0 || size > 4095 || int64(before.target)+size > int64(m.targetBytes)) {
			return errorf("entry %d leads past the end", i)
		}
		sum.add(m, i)
		name := m.str(m.names+int(before.name), int(m.b[m.nameLens+i]))
		if i == 0 {
			if t != Dir || name != "" {
				return errorf("the root is not an unnamed directory")
			}
			left = int(size)
			continue
		}
		if t == Symlink {
			links++
			if strings.IndexByte(m.str(m.targets+int(before.target), int(size)), 0) >= 0 {
				return errorf("entry %d leads to a name with NUL", i)
			}
		}
		for left == 0 {
			if parent++; parent >= i {
				return errorf("entry %d is in no directory before it", i)
			}
			if m.typ(parent) == Dir {
				left = int(m.u32(m.sizes, parent))
			}
			prev = ""
		}
		if err := checkName(name); err != nil {
			return err
		}
		if name <= prev {
			return errorf("the name %q does not come after %q", name, prev)
		}
		prev = name
		left--
		if err := m.checkMember(i, parent); err != nil {
			return err
		}
	}
	switch {
	case int(sum.child) != m.n:
		return errorf("%d entries where the directories have %d", m.n, sum.child)
	case int(sum.name) != m.nameBytes || int(sum.target) != m.targetBytes:
		return errorf("names or targets that nothing refers to")
	case int(sum.file) != m.files || int(sum.dir) != m.ndirs || links != m.links:
		return errorf("the counts of files, directories or symlinks are wrong")
	}
	return nil
}

// checkMember: an entry belongs to its directory's chunk, or to the chunk whose
// directory it is; a file may also be a thumbnail.
func (m *Manifest) checkMember(i, parent int) error {
	k := m.ChunkOf(i)
	if k >= m.chunks {
		return errorf("entry %d is in chunk %d of %d", i, k, m.chunks)
	}
	thumbnail := ChunkKind(m.b[m.chunkKinds+k]) == Thumbnails
	switch {
	case m.typ(i) == Dir && m.chunkRoot(k) == i, k == m.ChunkOf(parent) && !thumbnail, thumbnail && m.typ(i) == File:
		return nil
	}
	return errorf("entry %d is in chunk %d, its directory is not", i, k)
}

// CheckName says why name cannot be an entry's.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.IndexByte(name, '/') >= 0 || strings.IndexByte(name, 0) >= 0 {
		return errorf("%q is no file name", name)
	}
	return nil
}

// checkChunks: each chunk's directory is a directory and belongs to it.
func (m *Manifest) checkChunks() error {
	if m.ChunkOf(0) != 0 {
		return errorf("the root is in chunk %d", m.ChunkOf(0))
	}
	for k := range m.chunks {
		root := m.chunkRoot(k)
		if m.typ(root) != Dir || k > 0 && root > 0 && m.ChunkOf(root) != k {
			return errorf("chunk %d has entry %d for its directory", k, root)
		}
	}
	return nil
}

// checkFiles: each file lies where its size says, the files of a pack follow one
// another without a gap, and blobs stand in the order of their first use.
func (m *Manifest) checkFiles() error {
	type chunkState struct{ next, pack int } // the next unused blob; the pack being filled, -1 before the first
	chunks := make([]chunkState, m.chunks)
	for k := range chunks {
		chunks[k] = chunkState{int(m.firsts[k]), -1}
	}
	fill := make([]int64, m.blobs)
	empty := blob.Sum(nil)
	f := 0
	for i := range m.n {
		if m.typ(i) != File {
			continue
		}
		size, k := m.size(i), int(m.u32(m.fileBlobs, f))
		off, digest := int64(m.u32(m.fileOffs, f)), m.digest(m.fileDigests, f)
		f++
		if size == 0 {
			if k != noBlob || off != 0 || digest != empty {
				return errorf("entry %d is empty but lies somewhere", i)
			}
			continue
		}
		c := &chunks[m.ChunkOf(i)]
		kind := where(size)
		if k == c.next && k < m.blobs {
			c.next++
			if kind == Pack {
				c.pack = k
			}
		} else if kind != Pack || k != c.pack {
			return errorf("entry %d lies in blob %d", i, k)
		}
		stored := size
		if kind == Blocks {
			stored = 32 * ((size + BlockSize - 1) / BlockSize)
		}
		if Where(m.b[m.blobKinds+k]) != kind || off != fill[k] && kind == Pack || off != 0 && kind != Pack ||
			kind == Own && digest != m.digest(m.blobDigests, k) {
			return errorf("entry %d does not lie at %d in blob %d", i, off, k)
		}
		if fill[k] += stored; fill[k] > int64(m.u32(m.blobSizes, k)) || kind == Pack && fill[k] > PackSize {
			return errorf("blob %d is too full", k)
		}
	}
	for k := range chunks {
		end := m.blobs
		if k+1 < m.chunks {
			end = int(m.firsts[k+1])
		}
		if chunks[k].next != end {
			return errorf("chunk %d has blobs that nothing refers to", k)
		}
	}
	for k := range fill {
		if fill[k] != int64(m.u32(m.blobSizes, k)) {
			return errorf("blob %d has %d bytes where its files have %d", k, m.u32(m.blobSizes, k), fill[k])
		}
	}
	return nil
}
