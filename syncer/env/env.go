// Package env turns a container image, or any root filesystem, into an
// environment: one immutable tree in the store that nodes mount as they mount a
// course.
//
// It guarantees that the same tree and settings give the same digest, whatever
// source, compression or number of layers they came from; that every stream was
// compared with the sizes and digests that the image promises before anything
// is stored; and that it never writes, follows or executes what it reads: an
// image is flattened in memory, and its devices, set-id bits and capabilities
// are words in a table.
//
// It refuses, with one line and the store unchanged, what no honest image has:
// names that are absolute or climb, files below a symlink or a file, entries
// that come twice in a layer, hard links to what is not there, layers that
// unpack to more than they may, settings beyond any reason.
//
// In the store an environment NAME is the course `env.NAME`; its tree holds
// config.json, the settings, and root, the filesystem.
package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/syncer"
)

// The two entries of an environment's tree; as they sort, they are its entries 1 and 2.
const (
	ConfigFile = "config.json"
	RootDir    = "root"
)

// Limits bound what an image may unpack to. The zero value is the default.
type Limits struct {
	Bytes   int64 // of all files of all layers; 16 GiB when 0
	Entries int   // of all layers together; 1,000,000 when 0
}

func (l Limits) filled() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 16 << 30
	}
	if l.Entries <= 0 {
		l.Entries = 1_000_000
	}
	return l
}

// A layer that unpacks to more than ratioFrom bytes must not be maxRatio times
// smaller packed: what programs consist of never is.
const (
	maxRatio  = 250
	ratioFrom = 64 << 20
)

// Source is something to make an environment of: see Open.
type Source interface {
	// config is the image's settings, read and checked.
	config(ctx context.Context) (Config, error)
	// walk passes every entry, layer by layer from the lowest. It may be called
	// twice and then passes the same. r is the content of a regular file, valid
	// until fn returns, and may be left unread.
	walk(ctx context.Context, fn func(layer int, h *header, r io.Reader) error) error
	// Close removes what was spooled.
	Close() error
}

// refused is a *syncer.RefusedError.
func refused(format string, args ...any) error {
	return &syncer.RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// Push makes src the newest version of environment name and moves its head. The
// report's Course is the environment's name and its Version the digest.
func Push(ctx context.Context, s *syncer.Syncer, name string, src Source, limits Limits) (syncer.Report, error) {
	if err := head.CheckEnv(name); err != nil {
		return syncer.Report{Course: name}, &syncer.RefusedError{Reason: err.Error()}
	}
	r, err := push(ctx, s, name, src, limits.filled())
	r.Course = name
	return r, err
}

func push(ctx context.Context, s *syncer.Syncer, name string, src Source, limits Limits) (syncer.Report, error) {
	c, err := src.config(ctx)
	if err != nil {
		return syncer.Report{}, err
	}
	t, err := flatten(ctx, src, limits)
	if err != nil {
		return syncer.Report{}, err
	}
	course := head.EnvCourse(name)
	last, err := s.Resolve(ctx, course, "")
	if err != nil && !errors.Is(err, head.ErrNotFound) {
		return syncer.Report{}, err
	}
	w := t.writer(c, src)
	r, err := s.PushTree(ctx, course, w.write)
	if err == nil {
		s.RecordStart(ctx, course, r.Version, last.Version, func(recorded []string) []string {
			return w.places(slices.Concat(w.start, recorded))
		})
	}
	return r, err
}

// sortedNames are the keys of a map in order.
func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
