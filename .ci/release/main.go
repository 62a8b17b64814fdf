// Command release makes what a release consists of, without Docker: static
// programs for amd64 and arm64, an OCI image for those who cannot install them,
// and checksums of all. Equal commits make equal archives of programs.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// packages are what a course's code, its checkout and the mount need of Debian.
var packages = []string{
	"python3", "python3-numpy", "python3-sympy", "python3-lxml", "python3-markdown-it", "fuse3", "git", "nodejs", "ca-certificates",
}

type release struct {
	out, version, root string
	programs           []string
	when               time.Time // of the commit: every file's time
}

func main() {
	r := &release{}
	flag.StringVar(&r.out, "out", "dist", "`directory` for what is made")
	flag.StringVar(&r.root, "root", "", "`tar` of a root filesystem for the image (default: made of Debian packages by mmdebstrap)")
	image := flag.Bool("image", true, "also make the image, for this machine's architecture")
	archs := flag.String("archs", "amd64,arm64", "architectures of the programs")
	programs := flag.String("programs", "chunkfs,prairielambda,scheduler,syncer,worker", "commands to build")
	flag.Parse()
	r.programs = strings.Split(*programs, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := r.run(ctx, strings.Split(*archs, ","), *image); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

func (r *release) run(ctx context.Context, archs []string, image bool) error {
	if err := r.describe(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var made []string
	for _, arch := range archs {
		dir := filepath.Join(r.out, "linux-"+arch)
		if err := r.build(ctx, dir, arch); err != nil {
			return err
		}
		layer, err := r.pack(dir, "")
		if err != nil {
			return err
		}
		name := fmt.Sprintf("prairielambda-%s-linux-%s.tar.gz", r.version, arch)
		if err := writeGzip(filepath.Join(r.out, name), layer); err != nil {
			return err
		}
		made = append(made, name)
	}
	if image {
		if !slices.Contains(archs, runtime.GOARCH) {
			return fmt.Errorf("an image is for this machine's architecture, %s, which is not among -archs", runtime.GOARCH)
		}
		name, err := r.image(ctx, runtime.GOARCH)
		if err != nil {
			return err
		}
		made = append(made, name)
	}
	return r.sum(made)
}

// describe names the release after its commit.
func (r *release) describe(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--tags", "--dirty").Output()
	if err != nil {
		return fmt.Errorf("git describe: %w", err)
	}
	r.version = strings.TrimSpace(string(out))
	if out, err = exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output(); err != nil {
		return fmt.Errorf("git log: %w", err)
	}
	sec, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	r.when = time.Unix(sec, 0).UTC()
	return err
}

func (r *release) build(ctx context.Context, dir, arch string) error {
	args := []string{"build", "-trimpath", "-tags=disable_grpc_modules", "-ldflags=-s -w", "-o", dir + "/"}
	for _, name := range r.programs {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build for %s: %w", arch, err)
	}
	return nil
}

// pack is a tar of the programs in dir, below prefix.
func (r *release) pack(dir, prefix string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range r.programs {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		h := &tar.Header{Name: prefix + name, Mode: 0o755, Size: int64(len(content)), ModTime: r.when, Format: tar.FormatPAX}
		if err := errors.Join(w.WriteHeader(h), second(w.Write(content))); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func second(_ int, err error) error { return err }

func writeGzip(file string, content []byte) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	return errors.Join(second(z.Write(content)), z.Close(), f.Close())
}

// sum writes the checksums in the form that sha256sum --check reads.
func (r *release) sum(names []string) error {
	var b strings.Builder
	for _, name := range names {
		f, err := os.Open(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", h.Sum(nil), name)
	}
	fmt.Print(b.String())
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644)
}
