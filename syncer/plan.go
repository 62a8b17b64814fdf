package syncer

import (
	"errors"
	"slices"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// plan is the new version's tree in the manifest's order.
type plan struct {
	spec  manifest.Spec
	nodes []*node // per entry; nil where the entry was copied
	from  []int   // per entry: the same path in the previous manifest, or -1
	up    []int   // per entry: its directory
	prev  *manifest.Manifest
	patch *manifest.Patch // of a plan of the changed chunks only; nil for the whole tree
}

// draft encodes the plan once it is filled.
func (p *plan) draft() ([]byte, error) {
	if p.patch == nil {
		return p.spec.Draft()
	}
	for i := range p.spec.Entries {
		if e := &p.spec.Entries[i]; e.Type == manifest.File {
			p.patch.Files = append(p.patch.Files, manifest.PatchFile{Entry: p.from[i], Exec: e.Exec, Size: e.Size, Digest: e.Digest, Blob: e.Blob})
		}
	}
	for _, r := range p.spec.Blobs {
		r.Chunk = p.patch.Chunks[r.Chunk]
		p.patch.Blobs = append(p.patch.Blobs, r)
	}
	return p.prev.Draft(p.patch)
}

// total counts the version's regular files and their bytes.
func (p *plan) total() (files int, bytes int64) {
	if p.patch != nil {
		files, bytes = p.prev.Files(), p.prev.FileBytes()
	}
	for i := range p.spec.Entries {
		e := &p.spec.Entries[i]
		switch {
		case e.Type != manifest.File:
		case p.patch != nil:
			bytes += e.Size - p.prev.Entry(p.from[i]).Size
		default:
			files++
			bytes += e.Size
		}
	}
	return files, bytes
}

// chunks is the version's number of chunks.
func (p *plan) chunks() int {
	if p.patch != nil {
		return p.prev.Chunks()
	}
	return len(p.spec.Chunks)
}

// changed counts the chunks that are not what they were.
func (p *plan) changed() int {
	if p.prev == nil {
		return len(p.spec.Chunks)
	}
	dirty := make([]bool, len(p.spec.Chunks))
	size := make([]int, len(p.spec.Chunks))
	for i := range p.spec.Entries {
		e := &p.spec.Entries[i]
		if p.patch != nil && e.Type != manifest.File {
			continue // on the way only
		}
		size[e.Chunk]++
		if p.nodes[i] == nil || dirty[e.Chunk] {
			continue
		}
		if p.from[i] < 0 || p.prev.Entry(p.from[i]) != withSize(e) {
			dirty[e.Chunk] = true
		}
	}
	if p.patch == nil {
		p.resized(dirty, size)
	}
	n := 0
	for _, d := range dirty {
		if d {
			n++
		}
	}
	return n
}

// resized marks the chunks that are new or have more or fewer entries than they had.
func (p *plan) resized(dirty []bool, size []int) {
	was := make([]int, p.prev.Chunks())
	for i := range p.prev.Len() {
		was[p.prev.ChunkOf(i)]++
	}
	for k, c := range p.spec.Chunks {
		old := p.from[c.Root]
		dirty[k] = dirty[k] || old < 0 || was[p.prev.ChunkOf(old)] != size[k] && c.Kind != manifest.Thumbnails
	}
}

// withSize is the entry as a manifest would give it back.
func withSize(e *manifest.SpecEntry) manifest.Entry {
	w := e.Entry
	if w.Type == manifest.Symlink {
		w.Size = int64(len(w.Target))
	}
	return w
}

// checkLinks refuses symlinks that leave the course, before anything is stored:
// it encodes the tree with empty files, if it has any symlink at all.
func (p *plan) checkLinks() error {
	isLink := func(e manifest.SpecEntry) bool { return e.Type == manifest.Symlink }
	if !slices.ContainsFunc(p.spec.Entries, isLink) {
		return nil
	}
	bare := p.spec
	bare.Entries = slices.Clone(bare.Entries)
	for i := range bare.Entries {
		if e := &bare.Entries[i]; e.Type == manifest.File {
			e.Size, e.Digest, e.Blob = 0, blob.Sum(nil), -1
		}
	}
	_, err := manifest.Encode(&bare)
	var bad *manifest.FormatError
	if errors.As(err, &bad) {
		return &RefusedError{bad.Reason}
	}
	return err
}
