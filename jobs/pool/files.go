package pool

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

// Info says what a version is made of, as far as the mount tells.
func (c *Courses) Info(course, name string) (*jobs.VersionInfo, error) {
	v, err := c.holdAgain(course, name)
	if err != nil {
		return nil, err
	}
	defer c.release(v)
	return &jobs.VersionInfo{Course: course, Version: v.name, Chunks: c.chunks(v)}, nil
}

// chunks reads the digests that chunkfs shows beside its courses. A plain
// directory in its place shows none, and callers then key on the version alone.
func (c *Courses) chunks(v *version) map[string]string {
	b, err := os.ReadFile(path.Join(c.path, ".chunkfs", "chunks", v.course, v.name+".json"))
	digests := map[string]string{}
	if err != nil || json.Unmarshal(b, &digests) != nil {
		return nil
	}
	return digests
}

// ClientFile opens a file that the course means browsers to have: anything below
// a clientFiles* directory where the layout has one, and question thumbnails.
// resolved is the version it belongs to. Every other path is fs.ErrNotExist.
func (c *Courses) ClientFile(course, name, p string) (f *os.File, resolved string, err error) {
	v, err := c.holdAgain(course, name)
	if err != nil {
		return nil, "", err
	}
	defer c.release(v)
	if !ValidName(p) || !isClientFile(p) {
		return nil, "", fmt.Errorf("client file %q: %w", p, fs.ErrNotExist)
	}
	file, err := openFile(v.dir, p)
	if isStale(err) {
		c.reopen()
		again, err := c.hold(course, v.name)
		if err != nil {
			return nil, "", err
		}
		defer c.release(again)
		file, err := openFile(again.dir, p)
		return file, again.name, err
	}
	return file, v.name, err
}

// isClientFile knows the course layout: only the first directory with such a
// name counts, so that a directory called clientFilesCourse below a question's
// own files opens nothing.
func isClientFile(p string) bool {
	parts := strings.Split(p, "/")
	switch parts[0] {
	case "clientFilesCourse":
		return len(parts) > 1
	case "questions":
		for i, d := range parts[1:] {
			if d == "clientFilesQuestion" {
				return i > 0 && len(parts) > i+2
			}
		}
		stem, _, _ := strings.Cut(parts[len(parts)-1], ".")
		return len(parts) > 2 && stem == "thumbnail"
	case "courseInstances":
		for i, d := range parts[1:] {
			if d == "clientFilesCourseInstance" || d == "clientFilesAssessment" {
				return i > 0 && len(parts) > i+2
			}
		}
	}
	return false
}
