package chunkfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/chunkfs/holder"
	blobdir "github.com/prairielambda/prairielambda/internal/blob/dir"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// A mount is always served by another process than the one that looks at it:
// this test binary, started again with daemonEnv set.
const daemonEnv = "CHUNKFS_TEST_DAEMON"

func TestMain(m *testing.M) {
	if conf := os.Getenv(daemonEnv); conf != "" {
		if err := daemon(conf); err != nil {
			fmt.Fprintln(os.Stderr, "daemon:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// daemonConfig tells the daemon what to serve, and which descriptors it was given.
type daemonConfig struct {
	Store, Cache, Mount string
	CacheBytes          int64
	MemoryBytes         int64
	Deadline            time.Duration
	Fault               string // file: while it is there, the store behaves as it says
	Holder              bool   // run a holder, which starts this daemon again with Held
	Held                bool
	LogLevel            string
	Profiles            string
	Seeds               []string
	ShareEvery          time.Duration // 0: nothing is shared
	LeaveAfter          time.Duration
}

func daemon(conf string) error {
	var c daemonConfig
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		return err
	}
	lvl, _ := zerolog.ParseLevel(c.LogLevel)
	log := zerolog.New(os.Stderr).Level(lvl)
	if c.Holder {
		return hold(c, log)
	}
	debug.SetGCPercent(GCPercent)
	blobs, err := blobdir.Open(c.Store + "/blobs")
	if err != nil {
		return err
	}
	defer blobs.Close()
	heads := headdir.New(c.Store)
	sick := &sickStore{Fetcher: blobs, Heads: heads, shared: heads, file: c.Fault}
	guard := cache.NewGuard(sick, cache.GuardConfig{SlowAfter: c.Deadline / 3, Log: log})
	ch, err := cache.Open(cache.Config{Dir: c.Cache, Origin: guard, MaxBytes: c.CacheBytes, MemoryBytes: c.MemoryBytes, Log: log})
	if err != nil {
		return err
	}
	defer ch.Close()
	var state *State
	var files []*os.File
	var line *holder.Line
	if c.Held {
		if files, line, err = holder.Join(HeldFiles); err != nil {
			return err
		}
		if state, err = HeldState(files); err != nil {
			return err
		}
	}
	var share Shared
	if c.ShareEvery > 0 {
		share = sick
	}
	fs, err := New(Config{
		Heads: sick, Cache: ch, State: state, Deadline: c.Deadline, Profiles: c.Profiles, Seeds: c.Seeds,
		Share: share, ShareEvery: c.ShareEvery, LeaveAfter: c.LeaveAfter, Origin: guard, Log: log,
	})
	if err != nil {
		return err
	}
	defer fs.Close()
	if c.Held {
		return serveHeld(fs, files, line)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	m, err := fs.Mount(ctx, c.Mount)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {
	case <-m.Done():
		return nil
	case <-ctx.Done():
		return m.Unmount(context.Background(), time.Second)
	}
}

func serveHeld(fs *FS, files []*os.File, line *holder.Line) error {
	drain := make(chan struct{})
	go func() {
		if line.Wait() == nil {
			close(drain)
		}
	}()
	if err := line.Ready(); err != nil {
		return err
	}
	if err := fs.ServeHeld(files, drain); !errors.Is(err, ErrDrained) {
		return err
	}
	os.Exit(0) // at once, as the command does
	return nil
}

func hold(c daemonConfig, log zerolog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGHUP)
	files, err := AttachHeld(ctx, c.Mount)
	if err != nil {
		return err
	}
	c.Holder, c.Held = false, true
	conf, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return holder.Run(ctx, holder.Config{
		Files: files,
		Command: func() *exec.Cmd {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), daemonEnv+"="+string(conf))
			cmd.Stderr = os.Stderr
			return cmd
		},
		Ready:   func() { fmt.Println("ready") },
		Unmount: func() { _, _ = Detach(context.Background(), c.Mount) },
		Grace:   time.Second, Upgrade: upgrade, Log: log,
	})
}
