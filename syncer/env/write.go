package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/pack"
)

// writer stores a flattened tree: large files as they come, small ones by way of
// a spool on disk, because their packs follow the tree's order and not the layers'.
type writer struct {
	*tree
	src      Source
	settings Config
	config   []byte // settings, encoded
	spool    *os.File
	end      int64 // of the spool
	put      syncer.Put
	start    []string // what the environment's programs will read first

	spec   manifest.Spec
	inodes []*inode // per entry
	paths  []string // per entry, with a leading slash
}

// writer writes the tree with its settings; see write.
func (t *tree) writer(c Config, src Source) *writer {
	return &writer{tree: t, settings: c, src: src}
}

// write is what syncer.PushTree calls.
func (w *writer) write(ctx context.Context, put syncer.Put) (_ *manifest.Spec, err error) {
	w.put = put
	if w.config, err = w.settings.Encode(); err != nil {
		return nil, err
	}
	if w.spool, err = os.CreateTemp("", "syncer-env-"); err != nil {
		return nil, err
	}
	defer w.spool.Close()
	if err := os.Remove(w.spool.Name()); err != nil { // so that nothing is left of it
		return nil, err
	}
	w.layOut()
	if err := w.bare(); err != nil { // before anything is stored
		return nil, err
	}
	if err := w.read(ctx); err != nil {
		return nil, err
	}
	if err := w.fill(ctx); err != nil {
		return nil, err
	}
	w.start = foresee(w.tree, &w.settings, w.text)
	return &w.spec, nil
}

// layOut numbers the entries breadth first and gives each its chunk.
func (w *writer) layOut() {
	conf := &inode{typ: manifest.File, attr: manifest.Attr{Mode: 0o444}, size: int64(len(w.config)), seq: -1}
	top := &dirent{ino: &inode{typ: manifest.Dir, attr: manifest.Attr{Mode: 0o755}, seq: -1}, kids: map[string]*dirent{
		ConfigFile: {ino: conf}, RootDir: w.root,
	}}
	type item struct {
		d    *dirent
		name string
		up   int
	}
	w.spec = manifest.Spec{Kind: manifest.Tree, Chunks: []manifest.SpecChunk{{Kind: manifest.Rest}}}
	first := map[*inode]int{}
	for queue := []item{{d: top}}; len(queue) > 0; queue = queue[1:] {
		it, i := queue[0], len(w.inodes)
		ino := it.d.ino
		e := manifest.SpecEntry{Entry: manifest.Entry{Name: it.name, Type: ino.typ}, Blob: -1, Attr: &ino.attr, Link: i}
		path := ""
		if i > 0 {
			path = w.paths[it.up] + "/" + it.name
			e.Chunk = w.spec.Entries[it.up].Chunk
		}
		switch ino.typ {
		case manifest.Dir:
			e.Children = len(it.d.kids)
			for _, name := range sortedNames(it.d.kids) {
				queue = append(queue, item{it.d.kids[name], name, i})
			}
			if i > 0 && startsChunk(path) {
				e.Chunk = len(w.spec.Chunks)
				w.spec.Chunks = append(w.spec.Chunks, manifest.SpecChunk{Kind: manifest.Top, Root: i})
			}
		case manifest.File:
			e.Exec, e.Size, e.Digest = ino.attr.Mode&0o100 != 0, ino.size, blob.Sum(nil)
		case manifest.Symlink:
			e.Target = ino.target
		}
		if ino.typ != manifest.Dir {
			if f, ok := first[ino]; ok {
				e.Link = f
			} else {
				first[ino] = i
			}
		}
		w.spec.Entries, w.inodes, w.paths = append(w.spec.Entries, e), append(w.inodes, ino), append(w.paths, path)
	}
}

// chunkDepth is how far down every directory of an environment is a chunk:
// /root/usr/share/doc. What a package brings then lies in few chunks of its own.
const chunkDepth = 4

// startsChunk decides by names only, so that one more package moves no border.
func startsChunk(path string) bool {
	parts := strings.Split(path[1:], "/")
	if parts[0] != RootDir {
		return false
	}
	if len(parts) <= chunkDepth {
		return true
	}
	switch parts[len(parts)-2] {
	case "site-packages", "dist-packages", "node_modules", "doc":
		return true
	}
	return false
}

// bare proves that the tree can be a manifest, by one whose files are empty.
func (w *writer) bare() error {
	bare := w.spec
	bare.Entries = append([]manifest.SpecEntry(nil), bare.Entries...)
	for i := range bare.Entries {
		bare.Entries[i].Size = 0
	}
	_, err := manifest.Encode(&bare)
	var bad *manifest.FormatError
	if errors.As(err, &bad) {
		return &syncer.RefusedError{Reason: bad.Reason}
	}
	return err
}

// read walks the source a second time and takes each content that is needed.
func (w *writer) read(ctx context.Context) error {
	conf := w.inodes[1]
	conf.digest, conf.spool, conf.spooled = blob.Sum(w.config), 0, true
	if err := w.keep(w.config); err != nil {
		return err
	}
	seq := 0
	err := w.src.walk(ctx, func(_ int, h *header, r io.Reader) error {
		ino := w.content[seq]
		seq++
		if ino == nil {
			return nil
		}
		delete(w.content, seq-1)
		if h.typ != manifest.File || h.size != ino.size {
			return errChanged(h.name)
		}
		if err := w.take(ino, h.name, r); err != nil {
			return fmt.Errorf("%q: %w", h.name, err)
		}
		return nil
	})
	if err == nil && len(w.content) > 0 {
		err = errChanged("the image")
	}
	return err
}

func (w *writer) keep(b []byte) error {
	if _, err := w.spool.WriteAt(b, w.end); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	w.end += int64(len(b))
	return nil
}

func (w *writer) take(ino *inode, name string, r io.Reader) error {
	whole, left := blake3.New(), ino.size
	var index, text []byte
	for left > 0 {
		b := make([]byte, min(left, manifest.BlockSize))
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if left == ino.size {
			unchecked(ino, b)
		}
		left -= int64(len(b))
		switch manifest.WhereSize(ino.size) {
		case manifest.Pack:
			ino.digest, ino.spool, ino.spooled = blob.Sum(b), w.end, true
			return errors.Join(w.keep(b), w.keepStart(ino, name, b))
		case manifest.Own:
			ino.digest = blob.Sum(b)
			return errors.Join(w.keepStart(ino, name, b), w.put(ino.digest, b))
		}
		if len(index) == 0 && len(b) > 4 && string(b[:4]) == elfMagic && ino.size <= maxELF {
			text = make([]byte, 0, ino.size)
		}
		if text != nil {
			text = append(text, b...)
		}
		_, _ = whole.Write(b)
		d := blob.Sum(b)
		index = append(index, d[:]...)
		if err := w.put(d, b); err != nil {
			return err
		}
	}
	ino.digest, ino.index = blob.Digest(whole.Sum(nil)), blob.Sum(index)
	if err := w.keepStart(ino, name, text); err != nil {
		return err
	}
	return w.put(ino.index, index)
}

// fill decides where each file lies, and stores the packs.
func (w *writer) fill(ctx context.Context) error {
	files := make([][]int, len(w.spec.Chunks))
	for i := range w.spec.Entries {
		if e := &w.spec.Entries[i]; e.Type == manifest.File && e.Size > 0 {
			e.Digest = w.inodes[i].digest
			files[e.Chunk] = append(files[e.Chunk], i)
		}
	}
	for k, chunk := range files {
		if err := w.fillChunk(ctx, k, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) fillChunk(ctx context.Context, k int, files []int) error {
	root := w.paths[w.spec.Chunks[k].Root]
	var small []pack.File
	var members []int
	for _, i := range files {
		if e := &w.spec.Entries[i]; manifest.WhereSize(e.Size) == manifest.Pack {
			small, members = append(small, pack.File{Path: w.paths[i][len(root):], Size: e.Size}), append(members, i)
		}
	}
	packs := map[int][]int{} // members by the first
	for _, n := range pack.Plan(small) {
		packs[members[0]], members = members[:n], members[n:]
	}
	for _, i := range files {
		e := &w.spec.Entries[i]
		ref := manifest.SpecBlob{Kind: manifest.WhereSize(e.Size), Digest: e.Digest, Chunk: k}
		switch ref.Kind {
		case manifest.Pack:
			together, first := packs[i]
			if !first {
				continue
			}
			var err error
			if ref.Digest, err = w.pack(ctx, together); err != nil {
				return err
			}
			for _, j := range together {
				w.spec.Entries[j].Blob = len(w.spec.Blobs)
			}
		case manifest.Own:
			e.Blob = len(w.spec.Blobs)
		case manifest.Blocks:
			ref.Digest, e.Blob = w.inodes[i].index, len(w.spec.Blobs)
		}
		w.spec.Blobs = append(w.spec.Blobs, ref)
	}
	return nil
}

func (w *writer) pack(ctx context.Context, members []int) (blob.Digest, error) {
	if err := ctx.Err(); err != nil {
		return blob.Digest{}, err
	}
	var b []byte
	for _, i := range members {
		ino, at := w.inodes[i], len(b)
		b = append(b, make([]byte, ino.size)...)
		if _, err := w.spool.ReadAt(b[at:], ino.spool); err != nil {
			return blob.Digest{}, fmt.Errorf("spool: %w", err)
		}
	}
	d := blob.Sum(b)
	return d, w.put(d, b)
}
