package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Layers are a root filesystem and what was changed over it, as overlayfs keeps
// it: a character device 0:0 for a name that is gone, trusted.overlay.opaque on a
// directory that hides what lay below it.
type Layers struct {
	Lower    string   // a directory, or "" for none
	Upper    *os.File // a directory; closed with the Source
	Owner    uint32   // to be taken off every owner in Upper
	Settings Config
}

// OpenLayers prepares to read l as one image of two layers.
func OpenLayers(l Layers) (Source, error) {
	s := &layered{settings: l.Settings, owner: l.Owner}
	var st unix.Stat_t
	if err := unix.Fstat(int(l.Upper.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: l.Upper.Name(), Err: err}
	}
	s.upper = &dirSource{l.Upper, st.Dev}
	if l.Lower == "" {
		return s, nil
	}
	var err error
	s.lower, err = openDir(l.Lower)
	return s, err
}

type layered struct {
	settings     Config
	lower, upper *dirSource // lower may be nil
	owner        uint32
}

func (s *layered) config(context.Context) (Config, error) { return s.settings, s.settings.Check() }

// Close lets go of both directories.
func (s *layered) Close() error {
	err := s.upper.Close()
	if s.lower != nil {
		err = errors.Join(err, s.lower.Close())
	}
	return err
}

func (s *layered) walk(ctx context.Context, fn func(int, *header, io.Reader) error) error {
	if s.lower != nil {
		if err := s.lower.walk(ctx, fn); err != nil {
			return err
		}
	}
	return s.upper.walk(ctx, func(_ int, h *header, r io.Reader) error {
		if h.typ == manifest.CharDevice && h.major == 0 && h.minor == 0 { // linked or not: overlayfs has one for all
			return fn(1, &header{name: path.Join(path.Dir(h.name), whiteout+path.Base(h.name)), typ: manifest.File}, strings.NewReader(""))
		}
		if h.uid < s.owner || h.gid < s.owner {
			return refused("%.200q belongs to %d:%d, who nobody inside can be", h.name, h.uid, h.gid)
		}
		h.uid, h.gid = h.uid-s.owner, h.gid-s.owner
		if err := fn(1, h, r); err != nil || h.typ != manifest.Dir {
			return err
		}
		hides, err := s.opaque(h.name)
		if err != nil || !hides {
			return err
		}
		return fn(1, &header{name: path.Join(h.name, opaque), typ: manifest.File}, strings.NewReader(""))
	})
}

func (s *layered) opaque(name string) (bool, error) {
	f, err := s.upper.openat(name, unix.O_PATH)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var b [8]byte
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), "trusted.overlay.opaque", b[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	return string(b[:max(n, 0)]) == "y", err
}

// With returns the settings with variables set, and the recipe that they are of.
func (c Config) With(variables map[string]string, recipe string) Config {
	c.Recipe = recipe
	c.Env = slices.DeleteFunc(slices.Clone(c.Env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, set := variables[name]
		return set
	})
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		c.Env = append(c.Env, name+"="+variables[name])
	}
	return c
}
