package syncer

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer/git"
)

// node is one entry of the tree being pushed. A directory that is as it was in
// the previous version is not expanded: its subtree is copied from there.
type node struct {
	name   string
	parent *node
	kids   []*node // of an expanded directory, sorted by name

	target string
	id     git.ID // of the git object; zero for a tree without git
	stat   *stat  // of a file in a directory; nil in git
	size   int64
	digest blob.Digest
	prev   int // the entry of the same path and type in the previous manifest, or -1

	typ   manifest.Type
	exec  bool
	known bool // size and digest are right without reading
	same  bool
	state manifest.State // of a directory
	was   manifest.State // its state in the previous version
	chunk manifest.ChunkKind
}

// path is where the node lies, for messages and for reading.
func (n *node) path() string {
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	for l, r := 0, len(parts)-1; l < r; l, r = l+1, r-1 {
		parts[l], parts[r] = parts[r], parts[l]
	}
	return strings.Join(parts, "/")
}

func (n *node) has(name string) bool {
	for _, k := range n.kids {
		if k.name == name {
			return k.typ != manifest.Dir
		}
	}
	return false
}

// Source is a tree to push: a commit of a git repository, or a directory.
type Source interface {
	// open prepares reading; the tree must be closed.
	open(ctx context.Context) (tree, error)
}

// tree is an open Source.
type tree interface {
	// version names the tree, before it was read; "" when only its content can.
	version() string
	facts() *head.Git
	idLen() int // of git ids; 0 without git
	root() *node

	// list fills the kids of expanded directories. Where prev, the previous
	// manifest or nil, shows that a file is unchanged, it is marked known.
	list(ctx context.Context, dirs []*node, prev *manifest.Manifest) error
	// read passes the content of files in order. A file that is not what list
	// saw ends in an error. r is valid until fn returns.
	read(ctx context.Context, files []*node, fn func(n *node, size int64, r io.Reader) error) error
	// unchanged reports whether a directory holds what it held in prev, whose digest
	// is was, so that it need not be expanded.
	unchanged(dir *node, prev *manifest.Manifest, was blob.Digest) bool
	// done is called after a push that succeeded, with the files' digests set and
	// that of the version's manifest.
	done(root *node, as blob.Digest)
	close() error
}

// checkName refuses names that a course cannot have.
func checkName(n *node) error {
	switch {
	case len(n.name) > 255:
		return &RefusedError{fmt.Sprintf("%.60q...: the name has %d bytes, more than 255", n.path(), len(n.name))}
	case strings.ContainsAny(n.name, "\n\x00/"):
		return &RefusedError{fmt.Sprintf("%q: the name holds a newline, a slash or NUL", n.path())}
	case n.name == ".git" || n.name == "" || n.name == "." || n.name == "..":
		return &RefusedError{fmt.Sprintf("%q: not a name that a course can have", n.path())}
	}
	return nil
}
