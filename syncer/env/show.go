package env

import (
	"context"
	"fmt"
	"io/fs"
	"reflect"
	"strings"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer"
)

// Manifest is the manifest of an environment's version; an empty digest, or
// "current", is its newest.
func Manifest(ctx context.Context, s *syncer.Syncer, name, digest string) (*manifest.Manifest, error) {
	v, err := s.Resolve(ctx, head.EnvCourse(name), digest)
	if err != nil {
		return nil, err
	}
	m, err := s.Manifest(ctx, v.Manifest)
	if err != nil {
		return nil, err
	}
	if e := m.Entry(min(2, m.Len()-1)); m.Kind() != manifest.Tree || e.Name != RootDir || e.Type != manifest.Dir {
		return nil, fmt.Errorf("%s is no environment", name)
	}
	return m, nil
}

// File is one entry of an environment as people and scripts see it.
type File struct {
	Path   string            `json:"path"` // below the environment's root, "" for the root itself
	Type   string            `json:"type"`
	Mode   string            `json:"mode"` // octal
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Size   int64             `json:"size"`
	Digest string            `json:"digest,omitempty"` // of a regular file
	Target string            `json:"target,omitempty"` // of a symlink
	Link   string            `json:"link,omitempty"`   // the first name of the same file
	Device string            `json:"device,omitempty"` // major:minor
	Xattrs map[string]string `json:"xattrs,omitempty"`
}

var typeNames = map[manifest.Type]string{
	manifest.Dir: "dir", manifest.File: "file", manifest.Symlink: "symlink", manifest.CharDevice: "char",
	manifest.BlockDevice: "block", manifest.Fifo: "fifo", manifest.Socket: "socket",
}

// String is the line that `env ls` prints.
func (f File) String() string {
	line := fmt.Sprintf("%-8s%5s %5d:%-5d%12d  /%s", f.Type, f.Mode, f.UID, f.GID, f.Size, f.Path)
	switch {
	case f.Target != "":
		line += " -> " + f.Target
	case f.Link != "":
		line += " = /" + f.Link
	case f.Device != "":
		line += " " + f.Device
	}
	return line
}

func file(m *manifest.Manifest, i int) File {
	e, a := m.Entry(i), m.Attr(i)
	f := File{
		Path: below(m.Path(i)), Type: typeNames[e.Type], Mode: fmt.Sprintf("%04o", a.Mode), UID: a.UID, GID: a.GID,
		Size: e.Size, Target: e.Target,
	}
	if e.Type == manifest.File {
		f.Digest = e.Digest.String()
	}
	if l := m.Link(i); l != i {
		f.Link = below(m.Path(l))
	}
	if e.Type == manifest.CharDevice || e.Type == manifest.BlockDevice {
		f.Device = fmt.Sprintf("%d:%d", a.Major, a.Minor)
	}
	for _, x := range a.Xattrs {
		if f.Xattrs == nil {
			f.Xattrs = map[string]string{}
		}
		f.Xattrs[x.Name] = x.Value
	}
	return f
}

func below(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, RootDir), "/") }

// List passes path, which is below the environment's root, and all below it.
func List(m *manifest.Manifest, path string, fn func(File) error) error {
	i, ok := m.Find(strings.Trim(RootDir+"/"+path, "/"))
	if !ok {
		return fmt.Errorf("/%s: %w", path, fs.ErrNotExist)
	}
	return list(m, i, fn)
}

func list(m *manifest.Manifest, i int, fn func(File) error) error {
	if err := fn(file(m, i)); err != nil {
		return err
	}
	first, n := m.Children(i)
	for c := first; c < first+n; c++ {
		if err := list(m, c, fn); err != nil {
			return err
		}
	}
	return nil
}

// Diff passes the differences from one environment to another, directories
// included, in order of paths within each operation's directory.
func Diff(a, b *manifest.Manifest, fn func(syncer.Change) error) error {
	old := map[string]File{}
	if err := List(a, "", func(f File) error { old[f.Path] = f; return nil }); err != nil {
		return err
	}
	if err := List(b, "", func(f File) error {
		was, ok := old[f.Path]
		delete(old, f.Path)
		switch {
		case !ok:
			return fn(syncer.Change{Op: "A", Path: f.Path, Size: f.Size})
		case !reflect.DeepEqual(was, f):
			return fn(syncer.Change{Op: "M", Path: f.Path, Size: f.Size})
		}
		return nil
	}); err != nil {
		return err
	}
	for _, p := range sortedNames(old) {
		if err := fn(syncer.Change{Op: "D", Path: p, Size: old[p].Size}); err != nil {
			return err
		}
	}
	return nil
}
