package git

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stream is one `git cat-file --batch`.
type stream struct {
	idLen int
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	errs  bytes.Buffer
	sum   hash.Hash
	last  bool  // nothing is asked after this each
	bad   error // out of step and of no more use
}

func (r *Repo) cat(ctx context.Context, args ...string) (s *stream, err error) {
	s = &stream{idLen: r.idLen, sum: sha1.New()}
	if r.idLen == 32 {
		s.sum = sha256.New()
	}
	s.cmd = exec.CommandContext(ctx, "git", append([]string{"cat-file"}, args...)...)
	s.cmd.Dir, s.cmd.Env = r.own.Path, r.env
	s.cmd.Stderr = &limited{w: &s.errs, left: 4 << 10}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if f, ok := out.(syscall.Conn); ok && len(args) > 1 {
		if c, err := f.SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipe) }) // advice only
		}
	}
	s.out = bufio.NewReaderSize(out, 256<<10)
	return s, s.cmd.Start()
}

// pipe is the room between git and us, so that neither waits for each object.
const pipe = 1 << 20

func (s *stream) close() {
	s.in.Close()
	if s.bad != nil {
		s.cmd.Process.Kill()
	}
	s.cmd.Wait() // what it thinks of being closed in the middle is of no interest
}

// each asks for n objects by name and passes the answers; a missing one has no
// kind. After an error the stream is out of step, and can only be closed.
func (s *stream) each(n int, name func(b []byte, i int) []byte, fn func(i int, id ID, kind string, size int64, content io.Reader) error) (err error) {
	if s.bad != nil {
		return s.bad
	}
	sent := make(chan error, 1)
	go func() { sent <- s.ask(n, name) }()
	defer func() {
		if err != nil && !errors.Is(err, ErrMissing) {
			s.bad = err
			s.in.Close() // the sender may be waiting for a reader
		}
		if e := <-sent; err == nil && e != nil {
			err, s.bad = e, e
		}
	}()
	for i := range n {
		id, kind, size, err := s.header()
		if err == nil && kind == "" {
			err = fn(i, ID{}, "", 0, nil)
		} else if err == nil {
			err = s.object(i, id, kind, size, fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) ask(n int, name func(b []byte, i int) []byte) error {
	w := bufio.NewWriterSize(s.in, 16<<10)
	var b []byte
	for i := range n {
		b = append(name(b[:0], i), '\n')
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	err := w.Flush()
	if s.last {
		err = errors.Join(err, s.in.Close())
	}
	return err
}

// header reads the line before an object; for a missing one kind is empty.
func (s *stream) header() (id ID, kind string, size int64, err error) {
	line, err := s.out.ReadSlice('\n')
	if err != nil {
		s.in.Close()
		s.cmd.Process.Kill()
		if said := strings.TrimSpace(s.errs.String()); said != "" {
			return id, "", 0, fmt.Errorf("git: %s", said)
		}
		return id, "", 0, fmt.Errorf("git ended early: %w", err)
	}
	if bytes.HasSuffix(line, []byte(" missing\n")) || bytes.HasSuffix(line, []byte(" ambiguous\n")) {
		return id, "", 0, nil
	}
	return parseHeader(string(line), s.idLen)
}

func (s *stream) object(i int, id ID, kind string, size int64, fn func(int, ID, string, int64, io.Reader) error) error {
	var head [32]byte
	s.sum.Reset()
	s.sum.Write(append(strconv.AppendInt(append(append(head[:0], kind...), ' '), size, 10), 0))
	v := &content{r: s.out, n: size, sum: s.sum}
	if err := fn(i, id, kind, size, v); err != nil {
		return err
	}
	if v.n > 0 {
		if _, err := io.Copy(io.Discard, v); err != nil {
			return err
		}
	}
	if got := s.sum.Sum(head[:0]); !bytes.Equal(got, id[:s.idLen]) {
		return fmt.Errorf("object %x is corrupt: its bytes hash to %x", id[:s.idLen], got)
	}
	if c, err := s.out.ReadByte(); err != nil || c != '\n' {
		return fmt.Errorf("git: object %x does not end where it said", id[:s.idLen])
	}
	return nil
}

// content is one object's bytes on their way through the hash.
type content struct {
	r   *bufio.Reader
	n   int64
	sum hash.Hash
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
