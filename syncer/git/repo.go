package git

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"strings"
)

// ErrMissing says that the repository has no such object.
var ErrMissing = errors.New("no such object")

// ID is an object's id: 20 or 32 bytes, the rest zero.
type ID = [32]byte

// Repo is a running `git cat-file --batch`. It is not safe for concurrent use.
type Repo struct {
	tmp   string
	idLen int
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	errs  bytes.Buffer
	bad   error // the stream is out of step and of no more use
}

func (r *Repo) start(ctx context.Context, env []string) (err error) {
	r.cmd = exec.CommandContext(ctx, "git", "cat-file", "--batch")
	r.cmd.Dir, r.cmd.Env = r.tmp, env
	r.cmd.Stderr = &limited{w: &r.errs, left: 4 << 10}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	r.out = bufio.NewReaderSize(out, 256<<10)
	return r.cmd.Start()
}

// Close ends git and removes what Open made.
func (r *Repo) Close() error {
	r.in.Close()
	if r.bad != nil {
		r.cmd.Process.Kill()
	}
	r.cmd.Wait() // what it thinks of being closed in the middle is of no interest
	return os.RemoveAll(r.tmp)
}

// IDLen is the length of object ids in bytes.
func (r *Repo) IDLen() int { return r.idLen }

// Commit resolves a revision, as `git rev-parse` would, to a commit and reads it.
func (r *Repo) Commit(rev string) (Commit, error) {
	if err := checkRev(rev); err != nil {
		return Commit{}, err
	}
	var c Commit
	err := r.each([]string{rev + "^{commit}"}, func(_ int, id ID, kind string, _ int64, content io.Reader) error {
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
func (r *Repo) Trees(ids []ID, fn func(i int, entries []Entry) error) error {
	return r.Objects(ids, func(i int, kind string, size int64, content io.Reader) error {
		if kind == "" {
			return fn(i, nil)
		}
		if kind != "tree" || size > 256<<20 {
			return fmt.Errorf("object %x is a %s of %d bytes, not a tree", ids[i][:r.idLen], kind, size)
		}
		b := make([]byte, size)
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

// Objects reads objects in order, asking ahead. A missing one is passed with an
// empty kind. content is valid until fn returns, need not be read to its end,
// and ends with an error when its bytes do not hash to the id.
func (r *Repo) Objects(ids []ID, fn func(i int, kind string, size int64, content io.Reader) error) error {
	const batch = 4096 // bounds what is asked ahead
	for from := 0; from < len(ids); from += batch {
		part := ids[from:min(from+batch, len(ids))]
		names := make([]string, len(part))
		for i, id := range part {
			names[i] = hex.EncodeToString(id[:r.idLen])
		}
		if err := r.each(names, func(i int, id ID, kind string, size int64, content io.Reader) error {
			if kind != "" && id != part[i] {
				return fmt.Errorf("asked for object %s, got %x", names[i], id[:r.idLen])
			}
			return fn(from+i, kind, size, content)
		}, missingOK); err != nil {
			return err
		}
	}
	return nil
}

type option bool

const missingOK option = true

// each sends names and reads the answers. After an error the stream is out of
// step, and the Repo can only be closed.
func (r *Repo) each(names []string, fn func(i int, id ID, kind string, size int64, content io.Reader) error, opts ...option) (err error) {
	if r.bad != nil {
		return r.bad
	}
	sent := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(r.in, 64<<10)
		for _, n := range names {
			w.WriteString(n)
			w.WriteByte('\n')
		}
		sent <- w.Flush()
	}()
	defer func() {
		if err != nil && !errors.Is(err, ErrMissing) {
			r.bad = err
			r.in.Close() // the sender may be waiting for a reader
		}
		if e := <-sent; err == nil && e != nil {
			err, r.bad = e, e
		}
	}()
	for i, name := range names {
		id, kind, size, err := r.header(name)
		if errors.Is(err, ErrMissing) && len(opts) > 0 {
			if err := fn(i, ID{}, "", 0, nil); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := r.object(i, id, kind, size, fn); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) header(name string) (id ID, kind string, size int64, err error) {
	line, err := r.out.ReadSlice('\n')
	if err != nil {
		r.in.Close()
		r.cmd.Process.Kill()
		if said := strings.TrimSpace(r.errs.String()); said != "" {
			return id, "", 0, fmt.Errorf("git: %s", said)
		}
		return id, "", 0, fmt.Errorf("git ended early: %w", err)
	}
	if bytes.Equal(line, []byte(name+" missing\n")) || bytes.Equal(line, []byte(name+" ambiguous\n")) {
		return id, "", 0, fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return parseHeader(string(line), r.idLen)
}

func (r *Repo) object(i int, id ID, kind string, size int64, fn func(int, ID, string, int64, io.Reader) error) error {
	v := r.verify(kind, size)
	if err := fn(i, id, kind, size, v); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, v); err != nil {
		return err
	}
	if got := v.sum.Sum(nil); !bytes.Equal(got, id[:r.idLen]) {
		return fmt.Errorf("object %x is corrupt: its bytes hash to %x", id[:r.idLen], got)
	}
	if c, err := r.out.ReadByte(); err != nil || c != '\n' {
		return fmt.Errorf("git: object %x does not end where it said", id[:r.idLen])
	}
	return nil
}

// content is one object's bytes on their way through the hash.
type content struct {
	r   *bufio.Reader
	n   int64
	sum hash.Hash
}

func (r *Repo) verify(kind string, size int64) *content {
	c := &content{r: r.out, n: size, sum: sha1.New()}
	if r.idLen == 32 {
		c.sum = sha256.New()
	}
	fmt.Fprintf(c.sum, "%s %d\x00", kind, size)
	return c
}

func (c *content) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.n)])
	c.n -= int64(n)
	c.sum.Write(p[:n])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// limited keeps the first bytes and swallows the rest.
type limited struct {
	w    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.w.Write(p[:n])
	l.left -= n
	return len(p), nil
}
