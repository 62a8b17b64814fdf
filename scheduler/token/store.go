package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Reasons for which nobody is let in.
var (
	ErrNone    = errors.New("no token")
	ErrUnknown = errors.New("the token is unknown, revoked or expired")
)

// recheck is how long a change of the file may stay unnoticed.
const recheck = 250 * time.Millisecond

// maxFile bounds a tokens file.
const maxFile = 16 << 20

// Store is a tokens file that is read again when it changes. It is safe for concurrent use.
type Store struct {
	path string
	log  zerolog.Logger
	now  func() time.Time

	mu      sync.Mutex // guards all below
	file    *File      // never changed in place; empty when the file cannot be used
	stamp   stamp
	checked time.Time
}

type stamp struct {
	size  int64
	mtime time.Time
	ino   fs.FileInfo
}

// Open reads path; later readings happen by themselves. A file that cannot be
// used is an error here, and lets nobody in later.
func Open(path string, log zerolog.Logger) (*Store, error) {
	s := &Store{path: path, log: log, now: time.Now}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readLocked(s.now()); err != nil {
		return nil, err
	}
	return s, nil
}

// Token returns the entry of a secret, or ErrNone or ErrUnknown.
func (s *Store) Token(secret string) (*Token, error) {
	if secret == "" {
		return nil, ErrNone
	}
	t := s.current().find(secret)
	if t == nil || !t.Expires.IsZero() && s.now().After(t.Expires) {
		return nil, ErrUnknown
	}
	return t, nil
}

// Public returns the public entries for pages of origin.
func (s *Store) Public(origin string) (ps []*Public) {
	f := s.current()
	for i := range f.Public {
		for _, o := range f.Public[i].Origins {
			if o == origin {
				ps = append(ps, &f.Public[i])
			}
		}
	}
	return ps
}

func (s *Store) current() *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.checked) >= recheck {
		if err := s.readLocked(now); err != nil {
			s.log.Error().Err(err).Msg("tokens file cannot be used: nobody is let in")
		}
	}
	return s.file
}

// readLocked reads the file if it changed. It is small and local: reading it
// under the lock costs less than letting a revoked token in.
func (s *Store) readLocked(now time.Time) error {
	s.checked = now
	st, err := os.Stat(s.path)
	if err == nil && s.stamp.ino != nil && os.SameFile(st, s.stamp.ino) && st.Size() == s.stamp.size && st.ModTime().Equal(s.stamp.mtime) {
		return nil
	}
	s.file, s.stamp = &File{}, stamp{}
	if err != nil {
		return fmt.Errorf("tokens file: %w", err)
	}
	f, err := load(s.path)
	if err != nil {
		return err
	}
	s.file, s.stamp = f, stamp{st.Size(), st.ModTime(), st}
	return nil
}

func load(path string) (*File, error) {
	fd, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	defer fd.Close()
	st, err := fd.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("tokens file %s: mode %v lets others read it; chmod 600", path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(fd, maxFile))
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	return Parse(b)
}
