// Package manifest is one version's full flat tree: every entry, and where the
// bytes of each regular file lie.
//
// A manifest is read in place: Decode validates all of it once and then answers
// from the encoded bytes, which may be a file mapping, without a heap object
// per entry. It guarantees that whatever Decode accepts is exactly what Encode
// writes for it: names are sorted, unique and plain, every size adds up, every
// blob is used, and no symlink of a course leads out of it. It refuses
// everything else. FORMAT.md describes the bytes.
package manifest

import (
	"encoding/binary"
	"sort"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// Sizes that decide where a file's bytes lie.
const (
	OwnSize   = 64 << 10        // from here on a file is a blob of its own
	BlockSize = 1 << 20         // above this a file is blocks under an index blob
	MaxFile   = BlockSize << 15 // what one index blob of BlockSize bytes covers: 32 GiB
	PackSize  = 512 << 10       // no pack is larger
)

// Kind says what a manifest describes.
type Kind uint8

// The kinds.
const (
	Course Kind = iota // directories, regular files, executables, symlinks
	Tree               // any filesystem tree, with Attrs
)

// Type is an entry's file type.
type Type uint8

// The types. Those after Symlink are inert and occur in a Tree only.
const (
	Dir Type = iota
	File
	Symlink
	CharDevice
	BlockDevice
	Fifo
	Socket
	types
)

// Entry is one name of the tree. Its strings point into the manifest's bytes.
type Entry struct {
	Name   string
	Type   Type
	Exec   bool
	Size   int64       // of a regular file; the target's length for a symlink
	Digest blob.Digest // of a regular file's content
	Target string      // of a symlink
}

// Where says how a file's bytes are stored.
type Where uint8

// Where a file's bytes lie, decided by its size alone.
const (
	Empty  Where = iota // nowhere
	Pack                // in a blob with other files, at Extent.Offset
	Own                 // the blob is the file
	Blocks              // the blob is an index: the digests of the file's 1 MiB blocks
)

// Extent is where a regular file's bytes lie.
type Extent struct {
	Kind   Where
	Blob   int   // index for Manifest.Blob; -1 for Empty
	Offset int64 // in the uncompressed pack; 0 otherwise
}

// BlobRef is one blob that the manifest refers to. A file in blocks refers to
// its index only; IndexDigests reads the blocks' digests from that.
type BlobRef struct {
	Digest blob.Digest
	Size   int64 // uncompressed
	Chunk  int
	Kind   Where // Pack, Own or Blocks
}

// TreeID is a git tree's object id, 20 or 32 bytes, or zero.
type TreeID [32]byte

// Attr is what a Tree knows about an entry beyond its type.
type Attr struct {
	Mode         uint16 // permission bits, set-id and sticky: 07777
	UID, GID     uint32
	Major, Minor uint32 // of a device
	Xattrs       []Xattr
}

// Xattr is one extended attribute.
type Xattr struct{ Name, Value string }

// Manifest is a decoded manifest. Safe for concurrent use.
type Manifest struct {
	b []byte
	header
	layout

	marks   []mark   // one per markEvery entries
	firsts  []uint32 // per chunk: its first blob
	digests []atomic.Pointer[blob.Digest]
	attrAt  []uint32 // per attribute record: where its xattrs begin
}

// markEvery entries there is a mark with the running sums that the columns imply.
const markEvery = 8

type mark struct{ name, target, file, dir, child uint32 }

func (m *Manifest) u32(off, i int) uint32 { return binary.LittleEndian.Uint32(m.b[off+4*i:]) }

func (m *Manifest) digest(off, i int) blob.Digest { return blob.Digest(m.b[off+32*i:]) }

func (m *Manifest) str(off int, n int) string {
	if n == 0 {
		return ""
	}
	return unsafe.String(&m.b[off], n)
}

func (m *Manifest) typ(i int) Type { return Type(m.b[m.types+i] &^ execBit) }

// rank sums the columns up to entry i: where its name and target begin, how many
// files and directories precede it, and where the children of the next directory begin.
func (m *Manifest) rank(i int) mark {
	r := m.marks[i/markEvery]
	for j := i &^ (markEvery - 1); j < i; j++ {
		r.add(m, j)
	}
	return r
}

func (r *mark) add(m *Manifest, j int) {
	r.name += uint32(m.b[m.nameLens+j])
	switch m.typ(j) {
	case Dir:
		r.dir++
		r.child += m.u32(m.sizes, j)
	case File:
		r.file++
	case Symlink:
		r.target += m.u32(m.sizes, j)
	}
}

// name is entry i's name; cheaper than a full rank.
func (m *Manifest) name(i int) string {
	at := m.marks[i/markEvery].name
	for j := i &^ (markEvery - 1); j < i; j++ {
		at += uint32(m.b[m.nameLens+j])
	}
	return m.str(m.names+int(at), int(m.b[m.nameLens+i]))
}

// Bytes is the encoding that m reads from.
func (m *Manifest) Bytes() []byte { return m.b }

// Kind says what m describes.
func (m *Manifest) Kind() Kind { return m.kind }

// Len is the number of entries; entry 0 is the root directory, and every
// directory's entry comes before those of its children.
func (m *Manifest) Len() int { return m.n }

// Files is the number of regular files.
func (m *Manifest) Files() int { return m.files }

// Entry is entry i.
func (m *Manifest) Entry(i int) Entry {
	r := m.rank(i)
	return m.entry(i, &r)
}

func (m *Manifest) entry(i int, r *mark) Entry {
	t := m.b[m.types+i]
	e := Entry{
		Name: m.str(m.names+int(r.name), int(m.b[m.nameLens+i])),
		Type: Type(t &^ execBit),
		Exec: t&execBit != 0,
	}
	switch e.Type {
	case File:
		e.Size = m.size(i)
		e.Digest = m.digest(m.fileDigests, int(r.file))
	case Symlink:
		e.Size = m.size(i)
		e.Target = m.str(m.targets+int(r.target), int(e.Size))
	}
	return e
}

func (m *Manifest) size(i int) int64 {
	return int64(m.b[m.sizesHigh+i])<<32 | int64(m.u32(m.sizes, i))
}

// Children is the range of directory dir's children, sorted by name; n is 0 for
// an empty directory and for anything that is no directory.
func (m *Manifest) Children(dir int) (first, n int) {
	if m.typ(dir) != Dir {
		return 0, 0
	}
	return int(m.rank(dir).child), int(m.u32(m.sizes, dir))
}

// Lookup finds the child of dir that is called name.
func (m *Manifest) Lookup(dir int, name string) (int, bool) {
	first, n := m.Children(dir)
	i := first + sort.Search(n, func(k int) bool { return m.name(first+k) >= name })
	return i, i < first+n && m.name(i) == name
}

// Find finds "a/b/c"; "" is the root. It follows no symlinks.
func (m *Manifest) Find(path string) (int, bool) {
	i := 0
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		var ok bool
		if i, ok = m.Lookup(i, name); !ok {
			return 0, false
		}
	}
	return i, true
}

// Parent is the directory that holds entry i; the root's is the root.
func (m *Manifest) Parent(i int) int {
	if i == 0 {
		return 0
	}
	// The directories of block k hold the children [marks[k].child, marks[k+1].child).
	k := sort.Search(len(m.marks), func(k int) bool { return int(m.marks[k].child) > i }) - 1
	at := int(m.marks[k].child)
	for j := k * markEvery; ; j++ {
		if m.typ(j) == Dir {
			if at += int(m.u32(m.sizes, j)); i < at {
				return j
			}
		}
	}
}

// Path is the path of entry i from the root, "" for the root itself.
func (m *Manifest) Path(i int) string {
	var parts []string
	for ; i != 0; i = m.Parent(i) {
		parts = append(parts, m.name(i))
	}
	for l, r := 0, len(parts)-1; l < r; l, r = l+1, r-1 {
		parts[l], parts[r] = parts[r], parts[l]
	}
	return strings.Join(parts, "/")
}

// Locate says where a regular file's bytes lie; anything else is Empty.
func (m *Manifest) Locate(i int) Extent {
	r := m.rank(i)
	return m.extent(i, &r)
}

func (m *Manifest) extent(i int, r *mark) Extent {
	if m.typ(i) != File || m.size(i) == 0 {
		return Extent{Blob: -1}
	}
	f := int(r.file)
	return Extent{where(m.size(i)), int(m.u32(m.fileBlobs, f)), int64(m.u32(m.fileOffs, f))}
}

// Type is entry i's type, cheaper than Entry.
func (m *Manifest) Type(i int) Type { return m.typ(i) }

// WhereSize is where a file of this size lies.
func WhereSize(size int64) Where { return where(size) }

func where(size int64) Where {
	switch {
	case size == 0:
		return Empty
	case size < OwnSize:
		return Pack
	case size <= BlockSize:
		return Own
	default:
		return Blocks
	}
}

// Blobs is the number of blobs that the manifest names.
func (m *Manifest) Blobs() int { return m.blobs }

// Blob is blob k. The same digest may occur more than once.
func (m *Manifest) Blob(k int) BlobRef {
	return BlobRef{
		Digest: m.digest(m.blobDigests, k),
		Size:   int64(m.u32(m.blobSizes, k)),
		Chunk:  sort.Search(len(m.firsts), func(c int) bool { return int(m.firsts[c]) > k }) - 1,
		Kind:   Where(m.b[m.blobKinds+k]),
	}
}

// TreeOf is the git tree that directory i was made from, or zero.
func (m *Manifest) TreeOf(i int) TreeID {
	r := m.rank(i)
	return m.tree(i, &r)
}

func (m *Manifest) tree(i int, r *mark) (t TreeID) {
	if m.treeLen > 0 && m.typ(i) == Dir {
		copy(t[:], m.b[m.trees+m.treeLen*int(r.dir):][:m.treeLen])
	}
	return t
}

// TreeLen is the length of the git tree ids in bytes: 20, 32, or 0 for none.
func (m *Manifest) TreeLen() int { return m.treeLen }

// IndexDigests reads the block digests from an index blob of a file of this size.
func IndexDigests(index []byte, size int64) ([]blob.Digest, error) {
	n := (size + BlockSize - 1) / BlockSize
	if int64(len(index)) != 32*n {
		return nil, errorf("an index of %d bytes for a file of %d", len(index), size)
	}
	ds := make([]blob.Digest, n)
	for i := range ds {
		ds[i] = blob.Digest(index[32*i:])
	}
	return ds, nil
}

// ModTime is the time that a mount and pull give to content: derived from its
// digest, so that checks of (size, mtime) never take one version's file for
// another's, and whole seconds between 2001 and 2017, which every tool can hold.
func ModTime(d blob.Digest) time.Time {
	const from, span = 1_000_000_000, 500_000_000
	return time.Unix(from+int64(binary.LittleEndian.Uint64(d[:])%span), 0)
}
