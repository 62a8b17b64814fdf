package chunkfs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
)

// The status directory, readable with cat. The kernel never sends OPEN here, so
// a file gets a fresh node at each LOOKUP, which is never cached, and its node
// has the exact size of the text that was made for it then. The size is part of the id,
// file<<54 | size<<34 | serial, so that a later server can still answer.

const statusDirName = ".chunkfs"

var statusNames = []string{"status", "status.json", "versions", "metrics", "profiles.json"}

const (
	serialBits = 34
	sizeBits   = 20
	fileShift  = serialBits + sizeBits
	maxText    = 1<<sizeBits - 1
	keepTexts  = 256 // texts of recent lookups; a reader comes at once
)

type statusFiles struct {
	mu     sync.Mutex // guards the rest
	serial uint64
	texts  map[uint64]statusText
}

type statusText struct {
	text []byte
	at   time.Time
}

func (s *statusFiles) add(file int, text []byte) (id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serial == 0 {
		s.serial = uint64(time.Now().UnixMicro()) // apart from a predecessor's
	}
	s.serial++
	id = tagStatus | uint64(file)<<fileShift | uint64(len(text))<<serialBits | s.serial&(1<<serialBits-1)
	s.keepLocked(id, text)
	return id
}

func (s *statusFiles) keepLocked(id uint64, text []byte) statusText {
	if s.texts == nil {
		s.texts = make(map[uint64]statusText)
	}
	t := statusText{text, time.Now()}
	s.texts[id] = t
	for len(s.texts) > keepTexts {
		oldest := id
		for k, t := range s.texts {
			if t.at.Before(s.texts[oldest].at) {
				oldest = k
			}
		}
		delete(s.texts, oldest)
	}
	return t
}

func (s *statusFiles) get(id uint64) (statusText, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.texts[id]
	return t, ok
}

// statusOf is the text behind a node; for one that a predecessor looked up it
// is made again, in the size that the kernel was told.
func (f *FS) statusOf(id uint64) (statusText, bool) {
	if t, ok := f.status.get(id); ok {
		return t, true
	}
	file, size := int(id&^tagMask>>fileShift), int(id>>serialBits&maxText)
	if file >= len(statusNames) {
		return statusText{}, false
	}
	text := f.statusText(statusNames[file])
	if len(text) > size {
		return statusText{}, false // half a text helps nobody
	}
	text = append(text, bytes.Repeat([]byte("\n"), size-len(text))...)
	f.status.mu.Lock()
	defer f.status.mu.Unlock()
	return f.status.keepLocked(id, text), true
}

func (s *statusFiles) forget(id uint64) {
	if id&tagMask != tagStatus {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.texts, id)
}

func (f *FS) lookupStatus(ctx context.Context, name string, out *fuse.EntryOut) fuse.Status {
	if name == chunksDirName {
		out.NodeId = chunksNode(0)
		out.SetEntryTimeout(forever)
		f.dirAttr(out.NodeId, f.listedAt(ctx, out.NodeId), &out.Attr)
		return fuse.OK
	}
	for i, n := range statusNames {
		if n != name {
			continue
		}
		text := f.statusText(name)
		text = text[:min(len(text), maxText)]
		out.NodeId = f.status.add(i, text)
		out.SetAttrTimeout(forever) // of this node, whose text is fixed; the name lives for no time
		f.attr(out.NodeId, syscall.S_IFREG|0o444, int64(len(text)), time.Now(), &out.Attr)
		return fuse.OK
	}
	return fuse.ENOENT
}

func (f *FS) statusAttr(id uint64, out *fuse.AttrOut) fuse.Status {
	t, ok := f.statusOf(id)
	if !ok {
		return fuse.Status(syscall.ESTALE)
	}
	out.SetTimeout(forever)
	f.attr(id, syscall.S_IFREG|0o444, int64(len(t.text)), t.at, &out.Attr)
	return fuse.OK
}

func (f *FS) readStatus(in *fuse.ReadIn) (fuse.ReadResult, fuse.Status) {
	t, ok := f.statusOf(in.NodeId)
	if !ok {
		return nil, fuse.Status(syscall.ESTALE)
	}
	return fuse.ReadResultData(part(t.text, in)), fuse.OK
}

// part is what in asks for of a text.
func part(text []byte, in *fuse.ReadIn) []byte {
	off := min(in.Offset, uint64(len(text)))
	return text[off:min(off+uint64(in.Size), uint64(len(text)))]
}

// Status is what status.json shows.
type Status struct {
	PID           int               `json:"pid"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	Versions      int               `json:"versions"` // known to the mount
	Manifests     int               `json:"manifests"`
	ManifestBytes int64             `json:"manifest_bytes"`
	SharedFiles   int               `json:"shared_files"` // different contents that the kernel was told of
	Goroutines    int               `json:"goroutines"`
	Errors        int64             `json:"errors"` // requests answered EIO
	Requests      map[string]int64  `json:"requests"`
	Cache         cache.Stats       `json:"cache"`
	Origin        *cache.GuardStats `json:"origin,omitempty"`
}

// Status takes a snapshot.
func (f *FS) Status() Status {
	n, bytes := f.versions.usage()
	s := Status{
		PID: syscall.Getpid(), UptimeSeconds: time.Since(f.started).Seconds(),
		Versions: f.state.versions(), Manifests: n, ManifestBytes: bytes,
		SharedFiles: f.state.content.size(), Goroutines: runtime.NumGoroutine(), Errors: f.ops.failed.Load(),
		Requests: f.ops.counts(), Cache: f.cfg.Cache.Stats(),
	}
	if f.cfg.Origin != nil {
		o := f.cfg.Origin.Stats()
		s.Origin = &o
	}
	return s
}

func (f *FS) statusText(name string) []byte {
	var b bytes.Buffer
	switch name {
	case "status.json":
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		_ = enc.Encode(f.Status()) // plain numbers
	case "metrics":
		return f.metricsText()
	case "profiles.json":
		text, _ := f.profiles.encode() // plain strings
		return append(text, '\n')
	case "versions":
		f.state.mu.RLock()
		defer f.state.mu.RUnlock()
		for n, sl := range f.state.slots[1:] {
			if sl.version == "" {
				continue
			}
			mark := ""
			if f.state.slots[sl.parent].current == uint32(n+1) {
				mark = "\t" + currentName
			}
			fmt.Fprintf(&b, "%s\t%s\t%s%s\n", sl.course, sl.version, sl.manifest, mark)
		}
	default:
		s := f.Status()
		c := s.Cache
		hits := c.MemoryHits + c.DiskHits
		fmt.Fprintf(&b, "up         %s (process %d)\n", time.Duration(s.UptimeSeconds*1e9).Round(time.Second), s.PID)
		fmt.Fprintf(&b, "versions   %d known, %d manifests of %d bytes in memory\n", s.Versions, s.Manifests, s.ManifestBytes)
		fmt.Fprintf(&b, "cache      %d of %d bytes, %d of %d files\n", c.Bytes, c.MaxBytes, c.Files, c.MaxFiles)
		fmt.Fprintf(&b, "reads      %d hits, %d misses, %d failed fetches, %d bytes fetched\n", hits, c.Misses, c.Failures, c.FetchedBytes)
		fmt.Fprintf(&b, "damage     %d files quarantined, %d disk errors, %d requests answered EIO\n", c.Quarantined, c.DiskErrors, s.Errors)
		if s.Origin != nil && s.Origin.Open {
			fmt.Fprintf(&b, "store      does not answer; misses fail at once\n")
		}
		fmt.Fprintf(&b, "requests   %s\n", strings.Join(f.ops.words(), " "))
	}
	return b.Bytes()
}
