package chunkfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
// The file is a JSON object: course -> list of paths, first learned first. .chunkfs/profiles.json
// shows in the same form all that is known. So what one node learned can be given to others
// by hand (Config.Seeds); for courses it also travels through the store (share.go).
type profiles struct {
	path string // empty: not kept

	mu      sync.Mutex // guards the rest
	paths   map[string][]string
	dirty   bool
	carried map[string]carried // by course
}

// carried is the profile in the record of a course's current version.
type carried struct {
	slot  uint32
	paths []string
}

const maxProfiles = 1 << 20 // bytes of the file

// openProfiles reads what this node kept at path. What cannot be read is forgotten.
func openProfiles(path string) (*profiles, error) {
	p := &profiles{path: path, paths: make(map[string][]string), carried: make(map[string]carried)}
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

// get is all that is known of a course: what was seen here, then what came with the version.
func (p *profiles) get(course string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.knownLocked(course)
}

func (p *profiles) knownLocked(course string) []string {
	own := p.paths[course]
	return append(own[:len(own):len(own)], p.carried[course].paths...)
}

// own is what was seen here.
func (p *profiles) own() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.paths)
}

// begin says whether what slot's record carries is not known yet, nor asked for.
func (p *profiles) begin(course string, slot uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.carried[course]
	if was.slot == slot {
		return false
	}
	p.carried[course] = carried{slot, was.paths} // the last version's until then
	return true
}

func (p *profiles) carry(course string, slot uint32, paths []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.carried[course].slot == slot {
		p.carried[course] = carried{slot, paths}
	}
}

// forget lets begin answer again.
func (p *profiles) forget(course string, slot uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.carried[course]; was.slot == slot {
		p.carried[course] = carried{0, was.paths}
	}
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

// encode is what .chunkfs/profiles.json shows.
func (p *profiles) encode() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := maps.Clone(p.paths)
	for course := range p.carried {
		if all := p.knownLocked(course); len(all) > 0 {
			known[course] = all
		}
	}
	return json.Marshal(known)
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
	if err = durable.WriteFile(p.path, b, 0o600); err != nil {
		p.mu.Lock()
		p.dirty = true // the next time it may work
		p.mu.Unlock()
	}
	return err
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
