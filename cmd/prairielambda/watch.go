package main

import (
	"context"
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
)

// watch calls changed, never twice at once, after each change below dir, until
// ctx ends. Where the kernel does not tell, it calls it all the time: a push of
// a tree that did not change costs one stat a file.
func watch(ctx context.Context, dir string, log zerolog.Logger, changed func()) error {
	if silent(dir) {
		log.Info().Msg("this filesystem does not tell about changes; looking twice a second")
		return pollTree(ctx, changed)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn().Err(err).Msg("cannot watch; looking twice a second")
		return pollTree(ctx, changed)
	}
	defer w.Close()
	if err := addTree(w, dir); err != nil {
		log.Warn().Err(err).Msg("cannot watch everything (see fs.inotify.max_user_watches); looking twice a second")
		return pollTree(ctx, changed)
	}
	changed() // what happened between the first push and now
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.Errors: // an overflow: anything may have changed
			log.Debug().Err(err).Msg("watch")
			_ = addTree(w, dir)
		case e := <-w.Events:
			grown(w, e)
		}
		settle(ctx, w)
		changed()
	}
}

// settle reads events until none has come for a moment.
func settle(ctx context.Context, w *fsnotify.Watcher) {
	end := time.NewTimer(longestQuiet)
	defer end.Stop()
	for {
		t := time.NewTimer(quiet)
		select {
		case e := <-w.Events:
			t.Stop()
			grown(w, e)
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

// grown watches a directory that appeared, with all that is in it by now.
func grown(w *fsnotify.Watcher, e fsnotify.Event) {
	if e.Has(fsnotify.Create) {
		_ = addTree(w, e.Name) // not a directory, or gone again
	}
}

func addTree(w *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // gone since it was listed
		}
		if d.Name() == ".git" {
			return filepath.SkipDir
		}
		if err := w.Add(p); err != nil {
			return fmt.Errorf("watch %s: %w", p, err)
		}
		return nil
	})
}

func pollTree(ctx context.Context, changed func()) error {
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			changed()
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
