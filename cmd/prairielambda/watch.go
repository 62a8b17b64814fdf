package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// quiet is how long nothing must have happened before a change is taken: an
	// editor writes, renames and removes within a millisecond.
	quiet = 5 * time.Millisecond
	// longestQuiet bounds the waiting while git writes a whole tree.
	longestQuiet = 200 * time.Millisecond
	poll         = 500 * time.Millisecond
	// untold is how long after the last change everything is looked at: a write
	// through a mapping, or on another machine, makes no event.
	untold = 2 * time.Second
)

// watch calls changed, never twice at once, after each change below dir, until
// ctx ends: with the paths, relative to dir, below which alone something changed
// since the call before, or with nil where it cannot know. Where the kernel does
// not tell, it calls it all the time: a push of a tree that did not change costs
// one stat a file.
func watch(ctx context.Context, dir string, log zerolog.Logger, changed func(paths []string)) error {
	if silent(dir) {
		log.Info().Msg("this filesystem does not tell about changes; looking twice a second")
		return pollTree(ctx, changed)
	}
	for ctx.Err() == nil {
		w, err := newWatcher(dir)
		if err == nil {
			changed(nil) // what happened before it watched
			err = errors.Join(w.follow(ctx, changed), w.Close())
		}
		if err != nil {
			log.Warn().Err(err).Msg("cannot watch everything (see fs.inotify.max_user_watches); looking twice a second")
			return pollTree(ctx, changed)
		}
	}
	return nil
}

// watcher watches a directory with all that is in it.
type watcher struct {
	*fsnotify.Watcher
	dir   string
	dirs  map[string]bool // those watched
	paths []string        // changed since they were taken
	lost  bool            // the kernel dropped events, or tells them by names that a directory had
	err   error           // a directory could not be watched
}

func newWatcher(dir string) (*watcher, error) {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{Watcher: fs, dir: dir, dirs: map[string]bool{}}
	if err = w.addTree(dir); err == nil && !w.dirs[dir] {
		err = fmt.Errorf("watch %s: it is not there", dir)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// follow returns nil where ctx ends or another watcher must begin.
func (w *watcher) follow(ctx context.Context, changed func(paths []string)) error {
	var sure <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sure:
			sure = nil
			changed(nil)
			continue
		case <-w.Errors:
			w.lost = true
		case e := <-w.Events:
			w.note(e)
		}
		w.settle(ctx)
		if w.lost || w.err != nil {
			return w.err
		}
		changed(w.paths)
		w.paths, sure = nil, time.After(untold)
	}
}

// settle reads events until none has come for a moment.
func (w *watcher) settle(ctx context.Context) {
	end := time.NewTimer(longestQuiet)
	defer end.Stop()
	for {
		t := time.NewTimer(quiet)
		select {
		case e := <-w.Events:
			t.Stop()
			w.note(e)
		case <-t.C:
			return
		case <-end.C:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// note watches a directory that appeared, with all that is in it by now.
func (w *watcher) note(e fsnotify.Event) {
	p, err := filepath.Rel(w.dir, e.Name)
	if err != nil {
		p = "."
	}
	w.paths = append(w.paths, p)
	switch {
	case e.Has(fsnotify.Create):
		w.err = errors.Join(w.err, w.addTree(e.Name))
	case w.dirs[e.Name] && e.Has(fsnotify.Rename), e.Name == w.dir && e.Has(fsnotify.Remove):
		w.lost = true // what is watched below it goes by its old name, or not at all
	}
}

// addTree watches what is at top and below, unless it is gone again.
func (w *watcher) addTree(top string) error {
	return filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // gone since it was listed
		}
		if d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err := w.Add(p); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return fmt.Errorf("watch %s: %w", p, err)
		}
		w.dirs[p] = true
		return nil
	})
}

func pollTree(ctx context.Context, changed func(paths []string)) error {
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			changed(nil)
		}
	}
}

// silent reports whether dir is on a filesystem that others change without
// inotify: NFS, SMB, 9p, and FUSE, which virtiofs and sshfs are.
func silent(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return true
	}
	return false
}
