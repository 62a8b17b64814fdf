package manifest

import (
	"encoding/binary"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// ChunkKind is the kind of a course's part.
type ChunkKind uint8

// The kinds of chunks. Rest covers what no other chunk does; Top is a top-level
// directory of a tree that is no course.
const (
	Rest ChunkKind = iota
	Thumbnails
	Question
	Elements
	ElementExtensions
	ServerFilesCourse
	ClientFilesCourse
	ServerFilesCourseInstance
	ClientFilesCourseInstance
	ClientFilesAssessment
	Top
	chunkKinds
)

// Chunk is a named part of the tree, the unit that a request needs.
type Chunk struct {
	Kind   ChunkKind
	Name   string      // "question/a/b", "elements", "course"
	Root   string      // the directory's path; "" for Rest and Thumbnails
	Tree   TreeID      // git tree of the directory, or zero
	Digest blob.Digest // over the chunk's names, types and contents
	First  int         // its first blob
	Blobs  int
}

// Chunks is the number of chunks. Chunk 0 is Rest and is always there.
func (m *Manifest) Chunks() int { return m.chunks }

// Chunk is chunk k. Its digest is computed at the first call.
func (m *Manifest) Chunk(k int) Chunk {
	c := Chunk{
		Kind:  ChunkKind(m.b[m.chunkKinds+k]),
		Root:  m.Path(m.chunkRoot(k)),
		First: int(m.firsts[k]),
		Blobs: int(m.u32(m.chunkBlobs, k)),
	}
	c.Name = chunkName(c.Kind, c.Root)
	if c.Kind > Thumbnails {
		c.Tree = m.TreeOf(m.chunkRoot(k))
	}
	d := m.digests[k].Load()
	if d == nil {
		sum := m.sumChunk(k)
		d = &sum
		m.digests[k].Store(d)
	}
	c.Digest = *d
	return c
}

// ChunkHead is chunk k's kind and the entry of its directory, without the
// computation that Chunk does.
func (m *Manifest) ChunkHead(k int) SpecChunk {
	return SpecChunk{ChunkKind(m.b[m.chunkKinds+k]), m.chunkRoot(k)}
}

// ChunkBlobs is the range of chunk k's blobs.
func (m *Manifest) ChunkBlobs(k int) (first, n int) {
	return int(m.firsts[k]), int(m.u32(m.chunkBlobs, k))
}

func (m *Manifest) chunkRoot(k int) int { return int(m.u32(m.chunkRoots, k)) }

// ChunkOf is the chunk that entry i belongs to.
func (m *Manifest) ChunkOf(i int) int { return int(m.u32(m.entryChunks, i)) }

// ChunkAt is the chunk that a path belongs to, or -1 if there is no such path.
func (m *Manifest) ChunkAt(path string) int {
	i, ok := m.Find(path)
	if !ok {
		return -1
	}
	return m.ChunkOf(i)
}

// chunkName derives a chunk's name from its kind and its directory.
func chunkName(kind ChunkKind, root string) string {
	ci, assessment := "", ""
	if rest, ok := strings.CutPrefix(root, "courseInstances/"); ok {
		ci = rest
		switch kind {
		case ClientFilesCourseInstance, ServerFilesCourseInstance:
			ci = rest[:max(0, strings.LastIndexByte(rest, '/'))]
		case ClientFilesAssessment:
			rest = rest[:max(0, strings.LastIndexByte(rest, '/'))]
			ci, assessment, _ = strings.Cut(rest, "/assessments/")
		}
	}
	switch kind {
	case Thumbnails:
		return "questionThumbnails"
	case Question:
		return "question/" + strings.TrimPrefix(root, "questions/")
	case Elements, ElementExtensions, ServerFilesCourse, ClientFilesCourse:
		return root
	case ServerFilesCourseInstance:
		return "serverFilesCourseInstance/" + ci
	case ClientFilesCourseInstance:
		return "clientFilesCourseInstance/" + ci
	case ClientFilesAssessment:
		return "clientFilesAssessment/" + ci + "/" + assessment
	case Top:
		return "top/" + root
	default:
		return "course"
	}
}

// sumChunk hashes what a reader of the chunk can observe: for each of its
// entries the path below the chunk's root, the type, and the content or target.
func (m *Manifest) sumChunk(k int) (d blob.Digest) {
	h := blake3.New()
	var line []byte
	add := func(i int, path string) {
		e := m.Entry(i)
		line = append(line[:0], m.b[m.types+i])
		line = binary.AppendUvarint(line, uint64(len(path)))
		line = append(line, path...)
		line = binary.AppendUvarint(line, uint64(len(e.Target)))
		line = append(line, e.Target...)
		line = append(line, e.Digest[:]...)
		h.Write(line)
	}
	if ChunkKind(m.b[m.chunkKinds+k]) == Thumbnails {
		for i := range m.n {
			if m.ChunkOf(i) == k {
				add(i, m.Path(i))
			}
		}
	} else {
		type dir struct {
			i    int
			path string
		}
		for queue := []dir{{m.chunkRoot(k), ""}}; len(queue) > 0; queue = queue[1:] {
			first, n := m.Children(queue[0].i)
			for i := first; i < first+n; i++ {
				if m.ChunkOf(i) != k {
					continue
				}
				path := queue[0].path + "/" + m.name(i)
				add(i, path)
				if m.typ(i) == Dir {
					queue = append(queue, dir{i, path})
				}
			}
		}
	}
	h.Sum(d[:0])
	return d
}
