package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prairielambda/prairielambda/internal/scratch"
)

// place is where we keep things for one course: base lives on between runs,
// run is this process's own and goes with it.
type place struct {
	course string // its name in URLs
	source string // the author's directory
	base   string
	run    *scratch.Dir
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// courseName makes a course id of a directory's name.
func courseName(dir string) string {
	name := strings.Trim(notInName.ReplaceAllString(filepath.Base(dir), "-"), "-._")
	if name == "" {
		return "course"
	}
	return strings.ToLower(name[:min(len(name), 64)])
}

// baseOf is where things are kept for the course at source, a path without links.
func baseOf(source string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("prairielambda-%d", os.Getuid()))
	}
	sum := sha256.Sum256([]byte(source))
	return filepath.Join(cache, "prairielambda", hex.EncodeToString(sum[:8]))
}

// openPlace makes the directories, and clears away what a killed run left.
func openPlace(courseDir string) (p *place, err error) {
	source, err := filepath.Abs(courseDir)
	if err == nil {
		source, err = filepath.EvalSymlinks(source)
	}
	if err != nil {
		return nil, fmt.Errorf("course: %w", err)
	}
	if st, err := os.Stat(source); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("course: %s is not a directory", courseDir)
	}
	p = &place{course: courseName(source), source: source, base: baseOf(source)}
	if strings.HasPrefix(p.base, source+"/") {
		return nil, fmt.Errorf("the cache %s lies inside the course; set XDG_CACHE_HOME to another place", p.base)
	}
	if err := os.MkdirAll(p.base, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", p.base, err)
	}
	p.sweep()
	if p.run, err = scratch.New(p.base, "run-"); err != nil {
		return nil, fmt.Errorf("make a working directory: %w", err)
	}
	for _, d := range []string{p.mount(), p.cache()} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *place) store() string { return "dir://" + filepath.Join(p.base, "store") }
func (p *place) mount() string { return filepath.Join(p.run.Path, "courses") }
func (p *place) cache() string { return filepath.Join(p.run.Path, "cache") }
func (p *place) runs() string  { return filepath.Join(p.run.Path, "runs") }

// close removes what is this process's own. The mount is gone by now; if it is
// not, nothing below it is touched.
func (p *place) close() error {
	if err := os.Remove(p.mount()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		if isMountPoint(p.mount()) {
			return err
		}
		if err := os.RemoveAll(p.mount()); err != nil { // a materialised tree
			return err
		}
	}
	return p.run.Close()
}

// sweep removes the directories of runs that were killed: nobody holds them.
func (p *place) sweep() {
	runs, _ := filepath.Glob(filepath.Join(p.base, "run-*"))
	for _, run := range runs {
		if d := scratch.Hold(run); d != nil {
			old := &place{run: d}
			unmountStale(old.mount())
			_ = old.close()
		}
	}
}
