package rendercache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/jobs"
)

// disk keeps one file a result: a checksum over key and content, then the
// content. A file that fails it is removed and counts as a miss. Files are 0600
// and not synced: after a power cut a damaged one is such a file.
type disk struct {
	dir    string
	budget int64
	ttl    time.Duration

	mu    sync.Mutex // guards all below
	used  int64
	files map[Key]int64
	order []Key  // oldest first
	era   uint64 // counts purges
}

func openDisk(dir string, budget int64, ttl time.Duration) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &disk{dir: dir, budget: budget, ttl: ttl, files: map[Key]int64{}}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if err := durable.Sweep(dir, time.Now().Add(-time.Minute)); err != nil {
		return nil, err
	}
	type found struct {
		key  Key
		size int64
		at   time.Time
	}
	var all []found
	for _, e := range list {
		var f found
		if len(e.Name()) != hex.EncodedLen(len(f.key)) {
			continue // not ours
		}
		if _, err := hex.Decode(f.key[:], []byte(e.Name())); err != nil {
			continue
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			f.size, f.at = st.Size(), st.ModTime()
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b found) int { return a.at.Compare(b.at) })
	for _, f := range all {
		d.remove(d.addLocked(f.key, f.size)) // nobody else knows it yet
	}
	return d, nil
}

func (d *disk) path(k Key) string { return filepath.Join(d.dir, k.String()) }

func (d *disk) get(k Key, now time.Time) *jobs.Result {
	d.mu.Lock()
	_, ok := d.files[k]
	d.mu.Unlock()
	if !ok {
		return nil
	}
	b, err := d.read(k, now)
	var res jobs.Result
	if err == nil {
		err = json.Unmarshal(b, &res)
	}
	if err != nil || !storable(&res) {
		d.drop(k)
		return nil
	}
	return &res
}

func (d *disk) read(k Key, now time.Time) ([]byte, error) {
	f, err := os.Open(d.path(k))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if now.Sub(st.ModTime()) > d.ttl {
		return nil, errors.New("too old")
	}
	b := make([]byte, st.Size())
	if n, err := f.Read(b); err != nil || n != len(b) || n < sha256.Size {
		return nil, errors.New("cut short")
	}
	if sum := checksum(k, b[sha256.Size:]); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return nil, errors.New("damaged")
	}
	return b[sha256.Size:], nil
}

func checksum(k Key, content []byte) [sha256.Size]byte {
	return sha256.Sum256(append(k[:], content...))
}

// now returns the era that a result computed from now on belongs to.
func (d *disk) now() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.era
}

// put writes a result that was begun in era; a purge since then wins. A disk that is full or broken costs the cache, not the call.
func (d *disk) put(k Key, res *jobs.Result, era uint64) {
	b, err := json.Marshal(res)
	if err != nil || int64(len(b)) > d.budget/4 {
		return
	}
	sum := checksum(k, b)
	tmp, err := durable.Temp(d.dir, append(sum[:], b...), 0o600, false)
	if err != nil {
		return
	}
	d.mu.Lock()
	if era != d.era || os.Rename(tmp, d.path(k)) != nil {
		d.mu.Unlock()
		os.Remove(tmp)
		return
	}
	victims := d.addLocked(k, int64(len(sum)+len(b)))
	d.mu.Unlock()
	d.remove(victims)
}

// addLocked counts a file and returns those that no longer fit.
func (d *disk) addLocked(k Key, size int64) (victims []Key) {
	if old, ok := d.files[k]; ok {
		d.used -= old
		d.order = slices.DeleteFunc(d.order, func(o Key) bool { return o == k })
	}
	d.files[k] = size
	d.order = append(d.order, k)
	for d.used += size; d.used > d.budget && len(d.order) > 0; {
		v := d.order[0]
		d.order = d.order[1:]
		d.used -= d.files[v]
		delete(d.files, v)
		victims = append(victims, v)
	}
	return victims
}

func (d *disk) drop(k Key) {
	d.mu.Lock()
	if size, ok := d.files[k]; ok {
		d.used -= size
		delete(d.files, k)
		d.order = slices.DeleteFunc(d.order, func(o Key) bool { return o == k })
	}
	d.mu.Unlock()
	d.remove([]Key{k})
}

func (d *disk) remove(ks []Key) {
	for _, k := range ks {
		os.Remove(d.path(k)) // what cannot be removed is found again at the next start
	}
}

func (d *disk) purge() error {
	d.mu.Lock()
	ks := d.order
	d.order, d.files, d.used = nil, map[Key]int64{}, 0
	d.era++
	d.mu.Unlock()
	var errs []error
	for _, k := range ks {
		if err := os.Remove(d.path(k)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove result: %w", err))
		}
	}
	return errors.Join(errs...)
}
