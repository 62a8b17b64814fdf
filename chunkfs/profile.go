package chunkfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/durable"
	"github.com/prairielambda/prairielambda/internal/head"
)

// profiles remember, for each course, what its questions read besides their own
// files: one path for each blob. They outlive the process in a small file, and a
// version by naming paths instead of blobs. A wrong profile costs a GET, never a wrong answer.
//
// The file, and .chunkfs/profiles.json, is a JSON object: course -> list of paths,
// first learned first. So what one node learned can be given to others (Config.Seeds).
type profiles struct {
	path string // empty: not kept

	mu    sync.Mutex // guards the rest
	paths map[string][]string
	dirty bool
}

const maxProfiles = 1 << 20 // bytes of the file

// openProfiles reads what this node kept at path. What cannot be read is forgotten.
func openProfiles(path string) (*profiles, error) {
	p := &profiles{path: path, paths: make(map[string][]string)}
	if path == "" {
		return p, nil
	}
	if err := p.learn(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errTooLarge) {
		return nil, err
	}
	p.dirty = false
	return p, nil
}

var errTooLarge = fmt.Errorf("profiles have at most %d bytes", maxProfiles)

// learn adds what a file of profiles says, of this node or of another.
func (p *profiles) learn(name string) error {
	st, err := os.Stat(name)
	if err == nil && st.Size() > maxProfiles {
		err = errTooLarge
	}
	if err != nil {
		return fmt.Errorf("read profiles %s: %w", name, err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	for course, list := range parseProfiles(b) {
		for _, path := range list {
			p.add(course, path)
		}
	}
	return nil
}

// parseProfiles reads what encode wrote; anything else is forgotten.
func parseProfiles(b []byte) map[string][]string {
	paths := make(map[string][]string)
	if json.Unmarshal(b, &paths) != nil {
		return make(map[string][]string)
	}
	for c, list := range paths {
		if head.CheckCourse(c) != nil || len(list) > profileRoom(c) {
			delete(paths, c)
		}
	}
	return paths
}

func (p *profiles) get(course string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths[course]
}

func (p *profiles) add(course, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.paths[course]
	if slices.Contains(list, path) {
		return
	}
	if len(list) >= profileRoom(course) {
		list = list[1:]
	}
	p.paths[course] = append(slices.Clone(list), path) // readers hold the old one
	p.dirty = true
}

func (p *profiles) encode() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return json.Marshal(p.paths)
}

func (p *profiles) save() error {
	p.mu.Lock()
	if !p.dirty || p.path == "" {
		p.mu.Unlock()
		return nil
	}
	p.dirty = false
	p.mu.Unlock()
	b, err := p.encode()
	if err != nil || len(b) > maxProfiles {
		return err
	}
	return durable.WriteFile(p.path, b, 0o600)
}

// keepProfiles writes changes now and then, and at the end.
func (f *FS) keepProfiles() {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		end := false
		select {
		case <-t.C:
		case <-f.ctx.Done():
			end = true
		}
		if err := f.profiles.save(); err != nil {
			f.cfg.Log.Warn().Err(err).Msg("profiles are not kept")
		}
		if end {
			return
		}
	}
}
