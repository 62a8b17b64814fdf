package manifest

import (
	"encoding/binary"
	"fmt"
)

// magic begins every manifest; its last byte is the format's version.
const magic = "prmanif\x01"

// headerSize: magic, kind, length of tree ids, two zero bytes, eleven counts.
const headerSize = len(magic) + 4 + 4*counts

const counts = 11

// execBit marks an executable in the column of types.
const execBit = 0x80

// noBlob is an empty file's blob.
const noBlob = 0xffffffff

// header holds what the lengths of all columns follow from.
type header struct {
	kind    Kind
	treeLen int

	n, files, ndirs, links        int
	blobs, chunks                 int
	attrs                         int
	nameBytes, targetBytes, xattr int
}

func (h *header) fields() [counts]*int {
	return [...]*int{
		&h.n, &h.files, &h.ndirs, &h.links, &h.blobs, &h.chunks, &h.attrs,
		&h.nameBytes, &h.targetBytes, &h.xattr, new(int),
	}
}

// layout holds where each column begins.
type layout struct {
	types, nameLens, sizes, sizesHigh, entryChunks int
	fileBlobs, fileOffs, fileDigests               int
	trees                                          int
	blobKinds, blobSizes, blobDigests              int
	chunkKinds, chunkRoots, chunkBlobs             int
	entryAttrs, entryLinks, attrRecords            int
	names, targets, xattrs                         int
	end                                            int
}

// attrRecord: mode 2, uid 4, gid 4, major 4, minor 4, length of xattrs 4.
const attrRecord = 22

func (h *header) layout() (l layout) {
	perEntry := 0 // columns that only a Tree has
	if h.kind == Tree {
		perEntry = 4
	}
	at := headerSize
	for _, c := range []struct {
		col         *int
		width, rows int
	}{
		{&l.types, 1, h.n},
		{&l.nameLens, 1, h.n},
		{&l.sizes, 4, h.n},
		{&l.sizesHigh, 1, h.n},
		{&l.entryChunks, 4, h.n},
		{&l.fileBlobs, 4, h.files},
		{&l.fileOffs, 4, h.files},
		{&l.fileDigests, 32, h.files},
		{&l.trees, h.treeLen, h.ndirs},
		{&l.blobKinds, 1, h.blobs},
		{&l.blobSizes, 4, h.blobs},
		{&l.blobDigests, 32, h.blobs},
		{&l.chunkKinds, 1, h.chunks},
		{&l.chunkRoots, 4, h.chunks},
		{&l.chunkBlobs, 4, h.chunks},
		{&l.entryAttrs, perEntry, h.n},
		{&l.entryLinks, perEntry, h.n},
		{&l.attrRecords, attrRecord, h.attrs},
		{&l.names, 1, h.nameBytes},
		{&l.targets, 1, h.targetBytes},
		{&l.xattrs, 1, h.xattr},
	} {
		*c.col = at
		at += c.width * c.rows
	}
	l.end = at
	return l
}

func (h *header) write(b []byte) {
	copy(b, magic)
	b[len(magic)], b[len(magic)+1] = byte(h.kind), byte(h.treeLen)
	for i, f := range h.fields() {
		binary.LittleEndian.PutUint32(b[len(magic)+4+4*i:], uint32(*f))
	}
}

func (h *header) read(b []byte) error {
	if len(b) < headerSize || string(b[:len(magic)-1]) != magic[:len(magic)-1] {
		return errorf("no manifest")
	}
	if v := b[len(magic)-1]; v != magic[len(magic)-1] {
		return errorf("format version %d; this program reads version %d", v, magic[len(magic)-1])
	}
	b = b[len(magic):]
	h.kind, h.treeLen = Kind(b[0]), int(b[1])
	if h.kind > Tree || h.treeLen != 0 && h.treeLen != 20 && h.treeLen != 32 || b[2] != 0 || b[3] != 0 {
		return errorf("kind %d, tree ids of %d bytes", b[0], b[1])
	}
	for i, f := range h.fields() {
		v := binary.LittleEndian.Uint32(b[4+4*i:])
		if v > 1<<28 || i == counts-1 && v != 0 {
			return errorf("count %d is %d", i, v)
		}
		*f = int(v)
	}
	return nil
}

// errorf makes a *FormatError.
func errorf(format string, args ...any) error { return &FormatError{fmt.Sprintf(format, args...)} }

// FormatError says why bytes are no manifest, or a tree cannot be one.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "manifest: " + e.Reason }
