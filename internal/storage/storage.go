// Package storage opens a store by its URL: dir:///absolute/path,
// gs://bucket/prefix, or mem: for one that lives as long as the process.
//
// It guarantees that blobs are verified against their digest in both
// directions. It refuses URLs it does not know and directories that are not there.
package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobdir "github.com/prairielambda/prairielambda/internal/blob/dir"
	blobgcs "github.com/prairielambda/prairielambda/internal/blob/gcs"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	"github.com/prairielambda/prairielambda/internal/head"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	headgcs "github.com/prairielambda/prairielambda/internal/head/gcs"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
)

// Store is an open store. Blobs and Heads are safe for concurrent use.
type Store struct {
	Blobs blob.Store
	Heads head.Store
	close func() error
}

// Close releases the store's connections and files. Nothing is pending after it.
func (s *Store) Close() error { return s.close() }

// Open opens the store at url, which must be there.
func Open(ctx context.Context, url string) (*Store, error) { return open(ctx, url, false) }

// Create opens the store at url; a dir:// that does not exist is made.
func Create(ctx context.Context, url string) (*Store, error) { return open(ctx, url, true) }

func open(ctx context.Context, url string, create bool) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "dir":
		path, ok := strings.CutPrefix(rest, "//")
		if !ok || !filepath.IsAbs(path) {
			return nil, fmt.Errorf("store %q: want dir:///absolute/path", url)
		}
		return openDir(filepath.Clean(path), create)
	case "gs":
		path, ok := strings.CutPrefix(rest, "//")
		bucket, prefix, _ := strings.Cut(path, "/")
		if !ok || bucket == "" {
			return nil, fmt.Errorf("store %q: want gs://bucket/prefix", url)
		}
		b, err := blobgcs.Dial(ctx, bucket, prefix)
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		return &Store{blob.Verified(blobgcs.Blobs(b)), headgcs.New(b), b.Close}, nil
	case "mem":
		return &Store{blob.Verified(blobmem.New()), headmem.New(), func() error { return nil }}, nil
	default:
		return nil, fmt.Errorf("store %q: want dir:///absolute/path or gs://bucket/prefix", url)
	}
}

func openDir(path string, create bool) (*Store, error) {
	if create {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("create the store: %w", err)
		}
	}
	st, err := os.Stat(path)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	blobs, err := blobdir.Open(filepath.Join(path, "blobs"))
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return &Store{blob.Verified(blobs), headdir.New(path), blobs.Close}, nil
}
