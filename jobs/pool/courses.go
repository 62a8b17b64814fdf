package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Courses is the mount of chunkfs as the worker sees it, <dir>/<course>/<version>.
// It keeps the versions in use open: an open version never leaves the node.
type Courses struct {
	path string

	mu   sync.Mutex // guards the fields below
	root *os.File
	open map[string]*version
	tick uint64
}

// OpenCourses opens the mount point dir.
func OpenCourses(dir string) (*Courses, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open courses: %w", err)
	}
	return &Courses{path: dir, root: f, open: map[string]*version{}}, nil
}

// Close lets go of every version.
func (c *Courses) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.open {
		v.close()
		delete(c.open, k)
	}
	c.root.Close()
}

// version is one immutable version of a course on the mount.
type version struct {
	course, name string
	dir          *os.File
	shared       []sandbox.Mount // what every call of this version may see
	lambda       *lambda         // the course's own server, or nil
	used         uint64          // tick of the last use
	users        int             // calls and spares that hold it
	stale        bool            // of a mount that is gone

	mu      sync.Mutex // guards the fields below
	envs    map[string]*environment
	lambdas map[string]*lambda // by directory; nil where there is none
	code    *os.File           // see code.go
	coding  bool
}

func (v *version) key() string { return v.course + "/" + v.name }

func (v *version) close() {
	for _, m := range v.shared {
		m.Dir.Close()
	}
	v.dir.Close()
	if v.code != nil {
		v.code.Close()
	}
}

// maxOpenVersions bounds the descriptors that idle versions hold.
const maxOpenVersions = 128

// sharedDirs are visible to every call of a version, where the course has them.
var sharedDirs = []string{"elements", "elementExtensions", "serverFilesCourse", "clientFilesCourse"}

var (
	courseName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	versionName = regexp.MustCompile(`^[0-9a-f]{40}$|^[0-9a-f]{64}$`)
)

// Current is the version name that means the course's newest.
const Current = "current"

// Resolve returns the version that name means. The error is a *jobs.Error with
// CourseMissing or VersionMissing, or else ours.
func (c *Courses) Resolve(course, name string) (string, error) {
	if !courseName.MatchString(course) {
		return "", missing(jobs.CourseMissing, "there is no course %q", course)
	}
	if name != Current && !versionName.MatchString(name) {
		return "", missing(jobs.VersionMissing, "course %s has no version %q", course, name)
	}
	if name != Current {
		return name, nil
	}
	// The link is chunkfs's own, never a course's.
	target, err := os.Readlink(path.Join(c.path, course, Current))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", missing(jobs.CourseMissing, "there is no course %q", course)
	case err != nil:
		return "", fmt.Errorf("resolve %s/%s: %w", course, name, err)
	case !versionName.MatchString(target):
		return "", fmt.Errorf("resolve %s/%s: it leads to %q, which is no version", course, name, target)
	}
	return target, nil
}

// hold opens a version, or finds it open; release must follow.
func (c *Courses) hold(course, name string) (*version, error) {
	name, err := c.Resolve(course, name)
	if err != nil {
		return nil, err
	}
	key := course + "/" + name
	c.mu.Lock()
	v := c.open[key]
	if v != nil {
		c.holdLocked(v)
	}
	c.mu.Unlock()
	if v != nil {
		return v, nil
	}
	if v, err = c.load(course, name); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if other := c.open[key]; other != nil { // somebody was faster
		c.holdLocked(other)
		c.mu.Unlock()
		v.close()
		return other, nil
	}
	c.open[key] = v
	c.holdLocked(v)
	old := c.evictLocked()
	c.mu.Unlock()
	for _, o := range old {
		o.close()
	}
	return v, nil
}

func (c *Courses) holdLocked(v *version) {
	c.tick++
	v.used = c.tick
	v.users++
}

func (c *Courses) evictLocked() (old []*version) {
	for len(c.open) > maxOpenVersions {
		var least *version
		for _, v := range c.open {
			if v.users == 0 && (least == nil || v.used < least.used) {
				least = v
			}
		}
		if least == nil {
			break // all in use: the sandboxes' slots bound their number
		}
		delete(c.open, least.key())
		old = append(old, least)
	}
	return old
}

func (c *Courses) release(v *version) {
	c.mu.Lock()
	v.users--
	last := v.stale && v.users == 0
	c.mu.Unlock()
	if last {
		v.close()
	}
}

func (c *Courses) load(course, name string) (*version, error) {
	root, err := c.mountpoint()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := sandbox.OpenBeneath(root, course+"/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err := sandbox.OpenBeneath(root, course)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, missing(jobs.CourseMissing, "there is no course %q", course)
		}
		if err != nil {
			return nil, fmt.Errorf("open course: %w", err)
		}
		f.Close()
		return nil, missing(jobs.VersionMissing, "course %s has no version %s", course, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open version: %w", err)
	}
	v := &version{course: course, name: name, dir: dir}
	for _, d := range sharedDirs {
		if err := v.add(&v.shared, d); err != nil {
			v.close()
			return nil, err
		}
	}
	if v.lambda, err = readLambda(dir, "."); err == nil && v.lambda == nil {
		v.lambda, err = c.readRecipe(v)
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// add opens the version's directory p and appends its mount, if it exists.
func (v *version) add(to *[]sandbox.Mount, p string) error {
	f, err := sandbox.OpenBeneath(v.dir, p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s of %s: %w", p, v.key(), err)
	}
	*to = append(*to, sandbox.Mount{Dir: f, Target: p})
	return nil
}

// own opens what one invocation sees beside the shared directories: its
// questions, and what its course instance and assessment add. What does not
// exist is left out. The caller closes the mounts' directories.
func (v *version) own(inv *jobs.Invocation) (own []sandbox.Mount, err error) {
	fail := func(err error) ([]sandbox.Mount, error) {
		closeMounts(own)
		return nil, err
	}
	for _, qid := range questions(inv) {
		before := len(own)
		if ValidName(qid) {
			if err := v.add(&own, "questions/"+qid); err != nil {
				return fail(err)
			}
			if len(own) == before {
				continue
			}
			is, err := v.isQuestion(own[before].Dir)
			if err != nil {
				return fail(err)
			}
			if !is {
				own[before].Dir.Close()
				own = own[:before]
			}
		}
	}
	var dirs []string
	if ci := inv.CourseInstance; ValidName(ci) {
		base := "courseInstances/" + ci
		dirs = append(dirs, base+"/clientFilesCourseInstance", base+"/serverFilesCourseInstance")
		if a := inv.Assessment; ValidName(a) {
			dirs = append(dirs, base+"/assessments/"+a+"/clientFilesAssessment")
		}
	}
	for _, d := range dirs {
		if err := v.add(&own, d); err != nil {
			return fail(err)
		}
	}
	return own, nil
}

// isQuestion: a directory below questions/ is one when it has an info.json, and
// only then; its parents are not, and mounting one would show all below it.
func (v *version) isQuestion(dir *os.File) (bool, error) {
	f, err := openFile(dir, "info.json")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look into %s of %s: %w", dir.Name(), v.key(), err)
	}
	f.Close()
	return true, nil
}

// questions lists the distinct QIDs of an invocation.
func questions(inv *jobs.Invocation) []string {
	var qids []string
	add := func(q string) {
		if q != "" && !slices.Contains(qids, q) {
			qids = append(qids, q)
		}
	}
	add(inv.Question)
	for _, c := range inv.Calls {
		if c.Type != jobs.Element {
			add(c.Name)
		}
	}
	return qids
}

// ValidName reports whether name can be a QID, a course instance or an
// assessment: a clean relative path without surprises.
func ValidName(name string) bool {
	return name != "" && len(name) <= 1024 && utf8.ValidString(name) && path.Clean(name) == name &&
		name[0] != '/' && name != "." && name != ".." && !strings.HasPrefix(name, "../") && !strings.ContainsRune(name, 0)
}

func closeMounts(ms []sandbox.Mount) {
	for _, m := range ms {
		m.Dir.Close()
	}
}

func missing(code, format string, args ...any) *jobs.Error {
	return &jobs.Error{Code: code, Message: fmt.Sprintf(format, args...), Outcome: jobs.Missing}
}
