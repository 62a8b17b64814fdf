// Command env measures what an environment costs: the first call on a cold node
// against pulling and unpacking the same image from the same store, a warm start
// against the machine's own interpreter, and a spare against one on its root.
//
//	go build -o /tmp/envbench ./test/bench/env && /tmp/envbench [-root FILE.tar]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/chunkfs/cache"
	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
	"github.com/prairielambda/prairielambda/test/e2e/debian"
)

// packages make more than 500 MB of root filesystem.
var packages = []string{
	"python3", "python3-numpy", "python3-sympy", "python3-lxml", "python3-markdown-it", "python3-scipy", "python3-pandas", "python3-matplotlib", "g++",
}

// delay is a round trip to the store.
const delay = 30 * time.Millisecond

const serveMark = "PRAIRIE_ENV_BENCH" // this program again, as the one that serves the mount

func main() {
	sandbox.Stage() // returns unless this process is a sandbox in the making
	err := func() error {
		if dir := os.Getenv(serveMark); dir != "" {
			return serve(dir)
		}
		root := flag.String("root", "", "root filesystem as a tar; made of Debian packages when empty")
		flag.Parse()
		return run(context.Background(), *root)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// far takes a round trip for everything.
type far struct {
	blob.Fetcher
	head.Store
}

func (f far) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	time.Sleep(delay)
	return f.Fetcher.Fetch(ctx, d)
}

func (f far) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	time.Sleep(delay)
	return f.Store.Get(ctx, course)
}

func (f far) GetVersion(ctx context.Context, course, version string) (head.Version, error) {
	time.Sleep(delay)
	return f.Store.GetVersion(ctx, course, version)
}

func (f far) Profile(ctx context.Context, course, node string) (head.Profile, error) {
	time.Sleep(delay)
	return f.Store.Profile(ctx, course, node)
}

func serve(dir string) error {
	ctx := context.Background()
	s, err := storage.Open(ctx, "dir://"+filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	f := far{s.Blobs, s.Heads}
	c, err := cache.Open(cache.Config{Dir: filepath.Join(dir, "cache"), Origin: f, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer c.Close()
	fs, err := chunkfs.New(chunkfs.Config{Heads: f, Cache: c, Share: f, ShareEvery: time.Second, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer fs.Close()
	m, err := fs.Mount(ctx, filepath.Join(dir, "mnt"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-m.Done()
	return nil
}

type bench struct{ dir, digest string }

// mount serves the store; with cold, from an empty cache.
func (b *bench) mount(cold bool) (root string, stop func(), err error) {
	if cold {
		if err := os.RemoveAll(filepath.Join(b.dir, "cache")); err != nil {
			return "", nil, err
		}
	}
	mnt := filepath.Join(b.dir, "mnt")
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), serveMark+"="+b.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = syscall.Unmount(mnt, syscall.MNT_DETACH)
		_ = cmd.Wait()
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		stop()
		return "", nil, fmt.Errorf("mount: %w", err)
	}
	return filepath.Join(mnt, ".env", "bench", b.digest), stop, nil
}

// call starts the interpreter of a root, which is "/" for the machine's own.
func call(root string) (time.Duration, error) {
	cmd := exec.Command("/usr/bin/python3", "-c", "import numpy; print(numpy.arange(4).sum())")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "6\n" {
		return 0, fmt.Errorf("call in %s: %w: %q", root, err, out)
	}
	return time.Since(start), nil
}

func run(ctx context.Context, tarFile string) (err error) {
	if tarFile == "" {
		if tarFile, err = debian.Make(ctx, "trixie", packages...); err != nil {
			return err
		}
	}
	b := &bench{}
	if b.dir, err = os.MkdirTemp("", "envbench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.push(ctx, tarFile); err != nil {
		return err
	}
	return errors.Join(b.cold(), b.pull(tarFile), b.warm(), b.spares(ctx))
}

func (b *bench) push(ctx context.Context, tarFile string) error {
	st, err := storage.Create(ctx, "dir://"+filepath.Join(b.dir, "store"))
	if err != nil {
		return err
	}
	defer st.Close()
	src, err := env.Open(ctx, "root:"+tarFile, env.Limits{})
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := env.Push(ctx, syncer.New(syncer.Config{Blobs: st.Blobs, Heads: st.Heads}), "bench", src, env.Limits{})
	b.digest = r.Version
	fmt.Printf("environment: %d files, %.0f MB, pushed in %.1f s\n", r.Files, float64(r.BytesUploaded)/1e6, r.Seconds)
	return err
}

// cold is the first call of a node that has nothing: where nothing is recorded of the
// environment's start, where its push foresaw it, and where another node ran it before.
func (b *bench) cold() error {
	profiles, pushed := filepath.Join(b.dir, "store", "profiles"), filepath.Join(b.dir, "pushed")
	if err := os.Rename(profiles, pushed); err != nil {
		return err
	}
	for _, what := range []string{"nothing recorded", "as pushed", "as pushed", "as pushed", "another ran it", "another ran it", "another ran it"} {
		if what == "as pushed" {
			if err := errors.Join(os.RemoveAll(profiles), os.CopyFS(profiles, os.DirFS(pushed))); err != nil {
				return err
			}
		}
		start := time.Now()
		root, stop, err := b.mount(true)
		if err != nil {
			return err
		}
		mounted := time.Since(start)
		took, err := call(root)
		if err == nil {
			var s chunkfs.Status
			var text []byte
			text, err = os.ReadFile(filepath.Join(b.dir, "mnt", ".chunkfs", "status.json"))
			err = errors.Join(err, json.Unmarshal(text, &s))
			fmt.Printf("cold, %-17s first call %7.0f ms, mount before it %.0f ms, %.1f MB read\n", what, ms(took), ms(mounted), float64(s.Cache.FetchedBytes)/1e6)
		}
		stop() // the node writes what it saw
		if err != nil {
			return err
		}
		if what == "nothing recorded" {
			if err := os.RemoveAll(profiles); err != nil {
				return err
			}
		}
	}
	return nil
}

// pull is what a node does without a mount: manifest, settings and the layer in a
// round trip each, unpacked while it comes, then the call.
func (b *bench) pull(tarFile string) error {
	layer, to := filepath.Join(b.dir, "layer.tgz"), filepath.Join(b.dir, "unpacked")
	if out, err := exec.Command("sh", "-c", `gzip -6 < "$0" > "$1"`, tarFile, layer).CombinedOutput(); err != nil {
		return fmt.Errorf("pack the layer: %w: %s", err, out)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	start := time.Now()
	time.Sleep(3 * delay)
	if out, err := exec.Command("tar", "-xzf", layer, "-C", to).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack: %w: %s", err, out)
	}
	unpacked := time.Since(start)
	if _, err := call(to); err != nil {
		return err
	}
	st, err := os.Stat(layer)
	if err != nil {
		return err
	}
	fmt.Printf("%-18s first call %7.0f ms (%.0f of them pull and unpack), %.1f MB read\n", "pull and unpack", ms(time.Since(start)), ms(unpacked), float64(st.Size())/1e6)
	return nil
}

// warm compares starts, interleaved.
func (b *bench) warm() error {
	root, stop, err := b.mount(false)
	if err != nil {
		return err
	}
	defer stop()
	places := []struct{ name, root string }{{"environment", root}, {"same tree on disk", filepath.Join(b.dir, "unpacked")}, {"machine's own", "/"}}
	times := make([][]time.Duration, len(places))
	for n := range 23 {
		for i, p := range places {
			took, err := call(p.root)
			if err != nil {
				return err
			}
			if n >= 3 {
				times[i] = append(times[i], took)
			}
		}
	}
	var p50 []float64
	for i, p := range places {
		slices.Sort(times[i])
		p50 = append(p50, ms(times[i][len(times[i])/2]))
		fmt.Printf("warm import numpy, %-18s p50 %6.1f ms\n", p.name, p50[i])
	}
	fmt.Printf("environment of the machine's own: %.2fx, of the same tree on disk: %.2fx\n", p50[0]/p50[2], p50[0]/p50[1])
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
