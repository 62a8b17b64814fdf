package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/rs/zerolog"
)

// Whatever is mounted is served by another process: this program with modeEnv set.
const modeEnv = "CHUNKFS_BENCH"

type job struct {
	Kind                     string // chunkfs, gofuse, http
	Src, Store, Cache, Mount string
	Delay                    time.Duration // of every GET
	Trips                    string        // file for a tripLog
	Share                    bool          // chunkfs: write to the store what questions read
	TTL                      time.Duration // gofuse: of entries and attributes
	Keep                     bool          // gofuse: FOPEN_KEEP_CACHE
}

func serve(mode string) error {
	var j job
	if err := json.Unmarshal([]byte(mode), &j); err != nil {
		return err
	}
	switch j.Kind {
	case "chunkfs":
		return j.serveChunkfs()
	case "gofuse":
		return j.serveGoFuse()
	default:
		return j.serveHTTP()
	}
}

// start runs a job and returns the line with which it said that it is ready.
func (b *bench) start(j job) (said string, stop func(), err error) {
	j.Trips = filepath.Join(b.dir, "trips")
	conf, err := json.Marshal(j)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), modeEnv+"="+string(conf), "GODEBUG=")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	said, err = bufio.NewReader(out).ReadString('\n')
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if j.Mount != "" {
			_ = syscall.Unmount(j.Mount, syscall.MNT_DETACH)
		} else {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait()
	}
	b.undo = append(b.undo, stop)
	return said, stop, err
}

// delayed is a store that takes a round trip for everything, as one far away does.
type delayed struct {
	blob.Fetcher
	head.Store
	delay time.Duration
	trips *tripLog
}

func (d *delayed) Fetch(ctx context.Context, digest blob.Digest) (b []byte, err error) {
	d.trips.far(d.delay, func() { b, err = d.Fetcher.Fetch(ctx, digest) })
	return b, err
}

func (d *delayed) Get(ctx context.Context, course string) (h head.Head, t head.Token, err error) {
	d.trips.far(d.delay, func() { h, t, err = d.Store.Get(ctx, course) })
	return h, t, err
}

func (d *delayed) GetVersion(ctx context.Context, course, version string) (v head.Version, err error) {
	d.trips.far(d.delay, func() { v, err = d.Store.GetVersion(ctx, course, version) })
	return v, err
}

func (j job) serveChunkfs() error {
	ctx := context.Background()
	s, err := storage.Open(ctx, "dir://"+j.Store)
	if err != nil {
		return err
	}
	trips, err := openTrips(j.Trips)
	if err != nil {
		return err
	}
	far := &delayed{Fetcher: s.Blobs, Store: s.Heads, delay: j.Delay, trips: trips}
	guard := cache.NewGuard(far, cache.GuardConfig{Log: zerolog.Nop()})
	c, err := cache.Open(cache.Config{Dir: j.Cache, Origin: guard, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer c.Close()
	var share chunkfs.Shared
	if j.Share {
		share = far
	}
	fs, err := chunkfs.New(chunkfs.Config{
		Heads: far, Cache: c, Origin: guard, Profiles: filepath.Join(filepath.Dir(j.Cache), "profiles.json"),
		Share: share, ShareEvery: 50 * time.Millisecond, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	defer fs.Close()
	m, err := fs.Mount(ctx, j.Mount)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-m.Done()
	return nil
}

// mountChunkfs mounts with an empty cache, or with the one that is there, and waits until it is ready for a first request.
func (b *bench) mountChunkfs(delay time.Duration, keepCache bool) (root string, stop func(), err error) {
	j := job{Kind: "chunkfs", Store: b.store, Cache: filepath.Join(b.dir, "cache"), Mount: filepath.Join(b.dir, "mnt"), Delay: delay, Share: b.share}
	if !keepCache {
		if err := os.RemoveAll(j.Cache); err != nil {
			return "", nil, err
		}
	}
	if err := os.MkdirAll(j.Mount, 0o755); err != nil {
		return "", nil, err
	}
	if _, stop, err = b.start(j); err != nil {
		return "", nil, err
	}
	for range 1000 { // heads are learned at the start
		if v, _ := os.ReadFile(filepath.Join(j.Mount, ".chunkfs/versions")); len(v) > 0 {
			return filepath.Join(j.Mount, "bench", b.version), stop, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return "", nil, fmt.Errorf("the mount learned no head")
}

func (b *bench) status() (chunkfs.Status, error) { return statusOf(filepath.Join(b.dir, "mnt")) }

func statusOf(mnt string) (s chunkfs.Status, err error) {
	text, err := os.ReadFile(filepath.Join(mnt, ".chunkfs/status.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}
