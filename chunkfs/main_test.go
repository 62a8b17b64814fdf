package chunkfs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/chunkfs/cache"
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
	Deadline            time.Duration
	Fault               string // file: while it is there, the store behaves as it says
	Device              bool   // descriptors 3 to 6 are device, state and INIT
	Resend              bool
	LogLevel            string
}

func daemon(conf string) error {
	var c daemonConfig
	if err := json.Unmarshal([]byte(conf), &c); err != nil {
		return err
	}
	lvl, _ := zerolog.ParseLevel(c.LogLevel)
	log := zerolog.New(os.Stderr).Level(lvl)
	blobs, err := blobdir.Open(c.Store + "/blobs")
	if err != nil {
		return err
	}
	defer blobs.Close()
	sick := &sickStore{Fetcher: blobs, Heads: headdir.New(c.Store), file: c.Fault}
	ch, err := cache.Open(cache.Config{Dir: c.Cache, Origin: sick, MaxBytes: c.CacheBytes, Log: log})
	if err != nil {
		return err
	}
	defer ch.Close()
	fs, err := New(Config{Heads: sick, Cache: ch, Deadline: c.Deadline, Log: log})
	if err != nil {
		return err
	}
	defer fs.Close()
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
