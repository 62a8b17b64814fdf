package env

import (
	"encoding/binary"
	"strings"
)

// Compiled Python names the time and size of its source, and an interpreter
// that sees another time compiles again, at every start where it cannot write.
// A mount derives times from contents. So compiled files that the image's own
// times make valid are marked as "unchecked", which Python has for trees that
// never change (PEP 552); those that were stale stay stale.

// findSources notes the source of each compiled file below d.
func findSources(d *dirent) {
	cache := d.kids["__pycache__"]
	for _, k := range d.kids {
		if k != cache {
			findSources(k)
		}
	}
	if cache == nil {
		return
	}
	for name, k := range cache.kids {
		module, rest, ok := strings.Cut(name, ".")
		if !ok || !strings.HasSuffix(rest, ".pyc") {
			continue
		}
		if source := d.kids[module+".py"]; source != nil {
			k.ino.source = source.ino
		}
	}
}

const (
	pycTimed     = 0 // flags: valid for a time and a size
	pycUnchecked = 1 // valid
)

// unchecked marks b, the beginning of ino's content, if it is compiled from the
// source beside it.
func unchecked(ino *inode, b []byte) {
	s := ino.source
	if s == nil || len(b) < 16 || b[2] != '\r' || b[3] != '\n' || binary.LittleEndian.Uint32(b[4:]) != pycTimed ||
		binary.LittleEndian.Uint32(b[8:]) != uint32(s.mtime) || binary.LittleEndian.Uint32(b[12:]) != uint32(s.size) {
		return
	}
	binary.LittleEndian.PutUint32(b[4:], pycUnchecked)
	clear(b[8:16]) // the source's hash, which nobody checks; the same whatever the image's times are
}
