package cache

import (
	"errors"
	"io"
	"sort"

	"github.com/prairielambda/prairielambda/internal/blob"
	"golang.org/x/sys/unix"
)

type found struct {
	digest blob.Digest
	bytes  int64
	used   int64 // seconds: the later of its last read and its writing
	bad    string
}

// scan counts what an earlier process left, removes its unfinished files, and
// then lets writing begin. Reads are served meanwhile.
func (c *Cache) scan() {
	if c.cfg.beforeScan != nil {
		c.cfg.beforeScan()
	}
	var all []found
	for {
		names, err := c.disk.dir.Readdirnames(1024)
		for _, name := range names {
			if f, ok := c.inspect(name); ok {
				all = append(all, f)
			}
		}
		if c.ctx.Err() != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.stats.diskErrors.Add(1)
			c.cfg.Log.Error().Err(err).Msg("cache scan failed; nothing will be stored")
			return
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used > all[j].used })
	for _, f := range all {
		c.index.adopt(f.digest, f.bytes, f.bad, true)
	}
	for c.index.above(100) && c.evictOne() { // a smaller cap than last time
	}
	c.index.setOverhead(c.disk.overhead())
	close(c.scanned)
}

func (c *Cache) inspect(name string) (f found, ok bool) {
	dirfd := c.disk.fd
	d, bad, ok := parseName(name)
	if !ok {
		_ = unix.Unlinkat(dirfd, name, 0)
		return found{}, false
	}
	var st unix.Stat_t
	if unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return found{}, false
	}
	return found{d, st.Blocks * 512, max(st.Atim.Sec, st.Mtim.Sec), bad}, true
}
