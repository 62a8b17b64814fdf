package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// floor measures what no full push can do without, each alone: that git inflates
// every object, and that as many files as store has blobs, of the same sizes, are
// made and durable.
func (b *bench) floor(store string, runs int) error {
	sizes := map[string]int64{}
	blobs := filepath.Join(store, "blobs")
	if err := filepath.WalkDir(blobs, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != 64 {
			return err
		}
		st, err := d.Info()
		sizes[p[len(blobs):]] = st.Size()
		return err
	}); err != nil {
		return err
	}
	content := make([]byte, slices.Max(slices.Collect(maps.Values(sizes))))
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"git alone, all objects", func() error {
			return exec.CommandContext(b.ctx, "git", "--git-dir", b.repo, "cat-file", "--batch-all-objects", "--unordered", "--batch", "--buffer").Run()
		}},
		{fmt.Sprintf("%d files alone, as large as its blobs", len(sizes)), func() error { return b.files(sizes, content) }},
	} {
		var took []time.Duration
		for range runs {
			if err := exec.CommandContext(b.ctx, "sync", "-f", b.dir).Run(); err != nil {
				return err
			}
			start := time.Now()
			if err := part.run(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		fmt.Fprintf(b.out, "%s\t%v\n", part.name, round(took[len(took)/2]))
	}
	return nil
}

// files writes files of these sizes below a new directory, several at once, and
// makes them durable together.
func (b *bench) files(sizes map[string]int64, content []byte) error {
	dir, err := os.MkdirTemp(b.dir, "floor-")
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	made := map[string]bool{}
	for name, size := range sizes {
		p := filepath.Join(dir, name)
		if parent := filepath.Dir(p); !made[parent] {
			made[parent] = true
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
		}
		g.Go(func() error { return os.WriteFile(p, content[:size], 0o644) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return exec.CommandContext(b.ctx, "sync", "-f", dir).Run()
}
