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
type profiles struct {
	path string // empty: not kept

	mu    sync.Mutex // guards the rest
	paths map[string][]string
	dirty bool
}

const maxProfiles = 1 << 20 // bytes of the file

func openProfiles(path string) (*profiles, error) {
	p := &profiles{path: path, paths: make(map[string][]string)}
	if path == "" {
		return p, nil
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() > maxProfiles {
		return p, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	p.paths = parseProfiles(b)
	return p, nil
}

// parseProfiles reads what save wrote; anything else is forgotten.
func parseProfiles(b []byte) map[string][]string {
	paths := make(map[string][]string)
	if json.Unmarshal(b, &paths) != nil {
		return make(map[string][]string)
	}
	for c, list := range paths {
		if head.CheckCourse(c) != nil || len(list) > profilePath {
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
	if len(list) == profilePath {
		list = list[1:]
	}
	p.paths[course] = append(slices.Clone(list), path) // readers hold the old one
	p.dirty = true
}

func (p *profiles) save() error {
	p.mu.Lock()
	if !p.dirty || p.path == "" {
		p.mu.Unlock()
		return nil
	}
	p.dirty = false
	b, err := json.Marshal(p.paths)
	p.mu.Unlock()
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
