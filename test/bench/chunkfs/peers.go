package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serveHTTP is the far store of the peers: files of Src, each request after a
// round trip, and below /restic/ the reading half of restic's REST protocol.
func (j job) serveHTTP() error {
	files := http.FileServer(http.Dir(j.Src))
	trips, err := openTrips(j.Trips)
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		if dir := filepath.Join(j.Src, filepath.Clean(r.URL.Path)); strings.HasPrefix(r.URL.Path, "/restic/") && strings.HasSuffix(r.URL.Path, "/") {
			listREST(w, dir)
			return
		} else if rest, ok := strings.CutPrefix(r.URL.Path, "/restic/data/"); ok && len(rest) > 2 {
			r.URL.Path = "/restic/data/" + rest[:2] + "/" + rest
		}
		files.ServeHTTP(w, r)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trips.far(j.Delay, func() { answer(w, r) })
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return (&http.Server{Handler: h, ReadHeaderTimeout: time.Minute}).Serve(ln)
}

func listREST(w http.ResponseWriter, dir string) {
	type object struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	}
	list := []object{}
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, _ := d.Info()
			list = append(list, object{d.Name(), info.Size()})
		}
		return nil
	})
	w.Header().Set("Content-Type", "application/vnd.x.restic.rest.v2")
	_ = json.NewEncoder(w).Encode(list)
}

// peer is another way to read the course from far away.
type peer struct {
	name  string
	mount func(url, mnt string) *exec.Cmd
	root  string // of the course below the mount point
}

// peers prepares what each of them reads, below dir, and returns those that are installed.
func (b *bench) peers(dir string) (ps []peer, missing []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	sh := func(script string, args ...string) error {
		cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "HOME="+b.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
		return nil
	}
	if have("rclone") {
		err = sh(`cp -r "$1" "$2/plain"`, b.src, dir)
		ps = append(ps, peer{"rclone mount", func(url, mnt string) *exec.Cmd {
			return exec.Command("rclone", "mount", ":http:", mnt, "--http-url", url+"/plain/", "--read-only", "--vfs-cache-mode", "full", "--cache-dir", filepath.Join(b.dir, "rclone-cache"), "--config", "/dev/null", "--allow-other")
		}, ""})
	} else {
		missing = append(missing, "rclone")
	}
	if have("restic") && err == nil {
		err = sh(`restic init -q -r "$2/restic" && restic backup -q -r "$2/restic" "$1"`, b.src, dir)
		ps = append(ps, peer{"restic mount", func(url, mnt string) *exec.Cmd {
			return exec.Command("restic", "mount", "-q", "--no-lock", "-r", "rest:"+url+"/restic/", "--cache-dir", filepath.Join(b.dir, "restic-cache"), mnt)
		}, "snapshots/latest" + b.src})
	} else if err == nil {
		missing = append(missing, "restic")
	}
	if have("casync") && err == nil {
		err = sh(`casync make --store="$2/casync.castr" "$2/casync.caidx" "$1"`, b.src, dir)
		ps = append(ps, peer{"casync mount", func(url, mnt string) *exec.Cmd {
			return exec.Command("casync", "mount", "--store="+url+"/casync.castr", filepath.Join(dir, "casync.caidx"), mnt)
		}, ""})
	} else if err == nil {
		missing = append(missing, "casync")
	}
	return ps, missing, err
}

// startPeer mounts p and waits for the course.
func (b *bench) startPeer(p peer, addr string) (root string, stop func(), err error) {
	mnt := filepath.Join(b.dir, "peer")
	for _, cache := range []string{"rclone-cache", "restic-cache"} {
		if err := os.RemoveAll(filepath.Join(b.dir, cache)); err != nil {
			return "", nil, err
		}
	}
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return "", nil, err
	}
	cmd := p.mount("http://"+addr, mnt)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "HOME="+b.dir)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = syscall.Unmount(mnt, syscall.MNT_DETACH)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	root = filepath.Join(mnt, p.root)
	for range 600 {
		if _, err := os.Stat(filepath.Join(root, "infoCourse.json")); err == nil {
			return root, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, fmt.Errorf("%s did not come up", p.name)
}

// serveGoFuse is the course in memory behind go-fuse's fs API.
func (j job) serveGoFuse() error {
	opts := &gofs.Options{MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "gofuse", AllowOther: true}}
	if j.TTL > 0 {
		opts.EntryTimeout, opts.AttrTimeout, opts.NegativeTimeout = &j.TTL, &j.TTL, &j.TTL
	}
	srv, err := gofs.Mount(j.Mount, &memDir{path: j.Src, keep: j.Keep}, opts)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	srv.Wait()
	return nil
}

type memDir struct {
	gofs.Inode
	path string
	keep bool
}

// OnAdd fills the tree.
func (d *memDir) OnAdd(ctx context.Context) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		path := filepath.Join(d.path, e.Name())
		if e.IsDir() {
			d.AddChild(e.Name(), d.NewPersistentInode(ctx, &memDir{path: path, keep: d.keep}, gofs.StableAttr{Mode: fuse.S_IFDIR}), false)
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		f := &memFile{MemRegularFile: gofs.MemRegularFile{Data: data, Attr: fuse.Attr{Mode: 0o444}}, keep: d.keep}
		d.AddChild(e.Name(), d.NewPersistentInode(ctx, f, gofs.StableAttr{}), false)
	}
}

type memFile struct {
	gofs.MemRegularFile
	keep bool
}

// Open keeps the page cache, or does not.
func (f *memFile) Open(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if f.keep {
		return nil, fuse.FOPEN_KEEP_CACHE, 0
	}
	return nil, 0, 0
}
