package syncer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// stat is what tells that a file was not written to.
type stat struct {
	size         int64
	mtime, ctime int64 // nanoseconds
	ino          uint64
}

func newStat(st *unix.Stat_t) *stat {
	return &stat{st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino}
}

// Stats remembers the digests of a directory's files by what stat(2) said of
// them. The zero value is empty. Safe for concurrent use.
type Stats struct {
	mu    sync.Mutex // guards what follows
	files map[string]known
	last  look // what the push that filled it found; not saved
}

// known is of one file. A zero stat, which no file has, says that it must be read.
type known struct {
	stat
	digest blob.Digest
}

func (s *Stats) lookup(path string, st *stat) (blob.Digest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.files[path]
	return k.digest, ok && k.stat == *st
}

// settled is how long before it was read a file must have been changed last: a
// change within one tick of the clock could not be told from it afterwards.
const settled = 50 * time.Millisecond

// end keeps what a push that read the directory at a time has found, and that the
// directory was then the version of that manifest. Where it looked only in some
// places, the others stay as they were.
func (s *Stats) end(root *node, read time.Time, l *look, as blob.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = look{was: as, ignored: l.ignored, rules: l.rules}
	if l.everywhere() || s.files == nil {
		s.files = make(map[string]known, len(s.files))
	}
	limit := read.Add(-settled).UnixNano()
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for _, k := range n.kids {
			p := strings.TrimPrefix(path+"/"+k.name, "/")
			switch {
			case k.typ == manifest.Dir:
				walk(k, p)
			case k.typ == manifest.File && k.known && k.stat.ctime < limit && k.stat.mtime < limit:
				s.files[p] = known{*k.stat, k.digest}
			case k.typ == manifest.File:
				s.files[p] = known{}
			}
		}
	}
	walk(root, "")
}

const statsMagic = "prstats1"

// LoadStats reads what Save wrote. A file that is missing or not whole gives
// empty Stats: they only save time.
func LoadStats(path string) (*Stats, error) {
	s := &Stats{files: map[string]known{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if len(b) < len(statsMagic)+32 || string(b[:len(statsMagic)]) != statsMagic || blob.Sum(b[:len(b)-32]) != blob.Digest(b[len(b)-32:]) {
		return s, nil
	}
	r := bytes.NewReader(b[len(statsMagic) : len(b)-32])
	for r.Len() > 0 {
		var fixed struct {
			Size, Mtime, Ctime int64
			Ino                uint64
			Digest             blob.Digest
			Path               uint16
		}
		if binary.Read(r, binary.LittleEndian, &fixed) != nil || int(fixed.Path) > r.Len() {
			return &Stats{}, nil
		}
		name := make([]byte, fixed.Path)
		r.Read(name)
		s.files[string(name)] = known{stat{fixed.Size, fixed.Mtime, fixed.Ctime, fixed.Ino}, fixed.Digest}
	}
	return s, nil
}

// Save writes s to path, whole or not at all.
func (s *Stats) Save(path string) error {
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	w.WriteString(statsMagic)
	s.mu.Lock()
	for name, k := range s.files {
		if len(name) > 1<<16-1 || k.stat == (stat{}) {
			continue
		}
		var b []byte
		for _, v := range []uint64{uint64(k.size), uint64(k.mtime), uint64(k.ctime), k.ino} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = append(b, k.digest[:]...)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
		w.Write(b)
		w.WriteString(name)
	}
	s.mu.Unlock()
	w.Flush()
	sum := blob.Sum(buf.Bytes())
	buf.Write(sum[:])
	return durable.WriteFile(path, buf.Bytes(), 0o600)
}
