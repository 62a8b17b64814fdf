package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image writes an image of two layers, Debian and our programs: as an OCI layout
// in out/image, and as the one file that `docker load` and `podman load` read.
func (r *release) image(ctx context.Context, arch string) (file string, err error) {
	root := r.root
	if root == "" {
		root = filepath.Join(r.out, "root-"+arch+".tar")
		if err := debootstrap(ctx, root); err != nil {
			return "", err
		}
	}
	base, err := tarball.LayerFromFile(root, tarball.WithCompressedCaching) // or each reader compresses it anew
	if err != nil {
		return "", fmt.Errorf("layer of %s: %w", root, err)
	}
	ours, err := r.pack(filepath.Join(r.out, "linux-"+arch), "usr/local/bin/")
	if err != nil {
		return "", err
	}
	top, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(ours)), nil }, tarball.WithCompressedCaching)
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(empty.Image, base, top)
	if err != nil {
		return "", err
	}
	img, err = mutate.ConfigFile(img, r.config(arch, img))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(r.out, "image")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	platform := v1.Platform{OS: "linux", Architecture: arch}
	if err := p.AppendImage(img, layout.WithPlatform(platform), layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": r.version})); err != nil {
		return "", err
	}
	tag, err := name.NewTag("prairielambda:" + r.version)
	if err != nil {
		return "", err
	}
	file = fmt.Sprintf("prairielambda-%s-image-%s.tar", r.version, arch)
	return file, tarball.WriteToFile(filepath.Join(r.out, file), tag, img)
}

// config makes the image serve the course at /course; any other command of
// prairielambda can be given instead.
func (r *release) config(arch string, img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	if err != nil {
		c = &v1.ConfigFile{}
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", arch, v1.Time{Time: r.when}
	c.Config = v1.Config{
		Entrypoint: []string{"prairielambda"}, Cmd: []string{"dev", "/course", "--listen", "0.0.0.0:3000"},
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "XDG_CACHE_HOME=/var/cache"},
		ExposedPorts: map[string]struct{}{"3000/tcp": {}}, WorkingDir: "/",
		Labels: map[string]string{"org.opencontainers.image.title": "PrairieLambda", "org.opencontainers.image.version": r.version},
	}
	return c
}

// debootstrap makes a root filesystem of Debian packages.
func debootstrap(ctx context.Context, file string) error {
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=essential", "--include="+strings.Join(packages, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "bookworm", file)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp") // apt's own user enters the root's parent
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap (Debian: mmdebstrap): %w; or give a root filesystem with -root", err)
	}
	return nil
}
