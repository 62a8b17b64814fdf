package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/prairielambda/prairielambda/internal/scratch"
)

// ErrMissing says that the repository has no such object.
var ErrMissing = errors.New("no such object")

// ID is an object's id: 20 or 32 bytes, the rest zero.
type ID = [32]byte

// Repo reads the objects of one repository. It is not safe for concurrent use.
type Repo struct {
	own    *scratch.Dir // the git directory that git runs in
	env    []string
	idLen  int
	stream *stream // a running `git cat-file --batch`
}

func (r *Repo) start(ctx context.Context, env []string) (err error) {
	r.env = env
	r.stream, err = r.cat(ctx, "--batch")
	return err
}

// Close ends git and removes what Open made.
func (r *Repo) Close() error {
	r.stream.close()
	return r.own.Close()
}

// IDLen is the length of object ids in bytes.
func (r *Repo) IDLen() int { return r.idLen }

// Commit resolves a revision, as `git rev-parse` would, to a commit and reads it.
func (r *Repo) Commit(rev string) (Commit, error) {
	if err := checkRev(rev); err != nil {
		return Commit{}, err
	}
	var c Commit
	err := r.stream.each(1, func(b []byte, _ int) []byte { return append(append(b, rev...), "^{commit}"...) },
		func(_ int, id ID, kind string, _ int64, content io.Reader) error {
			if kind == "" {
				return ErrMissing
			}
			b, err := io.ReadAll(io.LimitReader(content, 1<<20))
			if err == nil {
				c, err = parseCommit(b, r.idLen)
			}
			c.ID = id
			return err
		})
	if errors.Is(err, ErrMissing) {
		return Commit{}, fmt.Errorf("revision %q %w", rev, ErrNoRevision)
	}
	return c, err
}

// Trees reads tree objects in order; a missing one is passed as nil.
func (r *Repo) Trees(ctx context.Context, ids []ID, fn func(i int, entries []Entry) error) error {
	var b []byte
	return r.Objects(ctx, ids, func(i int, kind string, size int64, content io.Reader) error {
		if kind == "" {
			return fn(i, nil)
		}
		if kind != "tree" || size > 256<<20 {
			return fmt.Errorf("object %x is a %s of %d bytes, not a tree", ids[i][:r.idLen], kind, size)
		}
		b = slices.Grow(b[:0], int(size))[:size]
		if _, err := io.ReadFull(content, b); err != nil {
			return err
		}
		entries, err := parseTree(b, r.idLen)
		if err != nil {
			return fmt.Errorf("tree %x: %w", ids[i][:r.idLen], err)
		}
		return fn(i, entries)
	})
}

// bulk is from how many objects on a git of their own pays: one that answers
// in large writes, which it only does when it is told that nothing follows.
const bulk = 400

// Objects reads objects in order, asking ahead. A missing one is passed with an
// empty kind. content is valid until fn returns, need not be read to its end,
// and ends with an error when its bytes do not hash to the id.
func (r *Repo) Objects(ctx context.Context, ids []ID, fn func(i int, kind string, size int64, content io.Reader) error) error {
	s := r.stream
	if len(ids) >= bulk {
		var err error
		if s, err = r.cat(ctx, "--batch", "--buffer"); err != nil {
			return err
		}
		defer s.close()
		s.last = true
	}
	return s.each(len(ids), func(b []byte, i int) []byte { return hex.AppendEncode(b, ids[i][:r.idLen]) },
		func(i int, id ID, kind string, size int64, content io.Reader) error {
			if kind != "" && id != ids[i] {
				return fmt.Errorf("asked for object %x, got %x", ids[i][:r.idLen], id[:r.idLen])
			}
			return fn(i, kind, size, content)
		})
}
