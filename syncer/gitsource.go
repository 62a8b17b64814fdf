package syncer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer/git"
)

// Git is the commit that rev names in the repository whose top is path. The
// version is the commit's id.
func Git(path, rev string) Source { return gitSource{path, rev} }

type gitSource struct{ path, rev string }

func (s gitSource) open(ctx context.Context) (tree, error) {
	repo, err := git.Open(ctx, s.path)
	if err != nil {
		return nil, err
	}
	c, err := repo.Commit(s.rev)
	if err != nil {
		repo.Close()
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return &gitTree{repo: repo, commit: c}, nil
}

type gitTree struct {
	repo   *git.Repo
	commit git.Commit
}

func (t *gitTree) hex(id git.ID) string { return fmt.Sprintf("%x", id[:t.repo.IDLen()]) }

func (t *gitTree) version() string { return t.hex(t.commit.ID) }

func (t *gitTree) facts() *head.Git {
	c := &t.commit
	return &head.Git{Commit: t.hex(c.ID), Tree: t.hex(c.Tree), Time: c.Time, Title: c.Title, Author: c.Author}
}

func (t *gitTree) idLen() int              { return t.repo.IDLen() }
func (t *gitTree) done(*node, blob.Digest) {}
func (t *gitTree) close() error            { return t.repo.Close() }
func (t *gitTree) root() *node             { return &node{typ: manifest.Dir, id: t.commit.Tree, prev: -1} }

func (t *gitTree) unchanged(dir *node, prev *manifest.Manifest, _ blob.Digest) bool {
	return dir.id != git.ID{} && git.ID(prev.TreeOf(dir.prev)) == dir.id
}

// list reads each directory's tree and, where there was one, its previous tree:
// a file with the same id in both is the file that the previous manifest knows.
func (t *gitTree) list(ctx context.Context, dirs []*node, prev *manifest.Manifest) error {
	ids := make([]git.ID, 0, len(dirs))
	for _, d := range dirs {
		ids = append(ids, d.id)
	}
	olds := map[*node]int{}
	if prev != nil && prev.TreeLen() == t.repo.IDLen() {
		for _, d := range dirs {
			if d.prev >= 0 {
				if old := git.ID(prev.TreeOf(d.prev)); old != (git.ID{}) {
					olds[d] = len(ids)
					ids = append(ids, old)
				}
			}
		}
	}
	trees := make([][]git.Entry, len(ids))
	if err := t.repo.Trees(ctx, ids, func(i int, es []git.Entry) error {
		if es == nil && i < len(dirs) {
			return fmt.Errorf("tree %s of %q: %w (a shallow or partial clone?)", t.hex(ids[i]), dirs[i].path(), git.ErrMissing)
		}
		trees[i] = es
		return ctx.Err()
	}); err != nil {
		return err
	}
	var links []*node
	for i, d := range dirs {
		old := map[string]git.Entry{}
		if k, ok := olds[d]; ok {
			for _, e := range trees[k] {
				old[e.Name] = e
			}
		}
		if err := fillGit(d, trees[i], old, prev, &links); err != nil {
			return err
		}
	}
	return t.readLinks(ctx, links)
}

func fillGit(d *node, entries []git.Entry, old map[string]git.Entry, prev *manifest.Manifest, links *[]*node) error {
	slices.SortFunc(entries, func(a, b git.Entry) int { return strings.Compare(a.Name, b.Name) })
	d.kids = make([]*node, 0, len(entries))
	for _, e := range entries {
		n := &node{name: e.Name, parent: d, id: e.ID, prev: -1}
		if err := checkName(n); err != nil {
			return err
		}
		switch e.Mode {
		case git.ModeDir:
			n.typ = manifest.Dir
		case git.ModeSymlink:
			n.typ = manifest.Symlink
			*links = append(*links, n)
		case git.ModeSubmodule:
			return &RefusedError{fmt.Sprintf("%q is a submodule; a course must hold its files itself", n.path())}
		default:
			n.typ, n.exec = manifest.File, e.Mode == git.ModeExec
		}
		matchPrev(n, prev)
		if o, ok := old[e.Name]; ok && n.prev >= 0 && n.typ == manifest.File && o.ID == e.ID &&
			(o.Mode == git.ModeFile || o.Mode == git.ModeExec) {
			p := prev.Entry(n.prev)
			n.known, n.size, n.digest = true, p.Size, p.Digest
		}
		d.kids = append(d.kids, n)
	}
	return nil
}

// matchPrev finds the entry of the same path and type in the previous version.
func matchPrev(n *node, prev *manifest.Manifest) {
	if prev == nil || n.parent.prev < 0 {
		return
	}
	if i, ok := prev.Lookup(n.parent.prev, n.name); ok && prev.Entry(i).Type == n.typ {
		n.prev = i
	}
}

func (t *gitTree) readLinks(ctx context.Context, links []*node) error {
	return t.read(ctx, links, func(n *node, size int64, r io.Reader) error {
		if size == 0 || size > 4095 {
			return &RefusedError{fmt.Sprintf("%q: a symlink with a target of %d bytes", n.path(), size)}
		}
		b, err := io.ReadAll(r)
		if err == nil && bytes.IndexByte(b, 0) >= 0 {
			err = &RefusedError{fmt.Sprintf("%q: a symlink whose target holds NUL", n.path())}
		}
		n.target = string(b)
		return err
	})
}

func (t *gitTree) read(ctx context.Context, files []*node, fn func(*node, int64, io.Reader) error) error {
	ids := make([]git.ID, len(files))
	for i, n := range files {
		ids[i] = n.id
	}
	return t.repo.Objects(ctx, ids, func(i int, kind string, size int64, r io.Reader) error {
		if kind != "blob" {
			return fmt.Errorf("object %s of %q: %w", t.hex(ids[i]), files[i].path(), git.ErrMissing)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(files[i], size, r)
	})
}
