package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Modes of tree entries.
const (
	ModeDir       = 0o040000
	ModeFile      = 0o100644
	ModeExec      = 0o100755
	ModeSymlink   = 0o120000
	ModeSubmodule = 0o160000
)

// Entry is one entry of a tree object.
type Entry struct {
	Name string
	Mode uint32 // one of the modes above
	ID   ID
}

// Commit is what a push wants to know of a commit.
type Commit struct {
	ID, Tree ID
	Time     time.Time // the committer's
	Author   string    // name and mail
	Title    string
}

// parseHeader reads "<id> <kind> <size>\n".
func parseHeader(line string, idLen int) (id ID, kind string, size int64, err error) {
	rest, whole := strings.CutSuffix(line, "\n")
	name, rest, _ := strings.Cut(rest, " ")
	kind, digits, _ := strings.Cut(rest, " ")
	if id, err = parseID(name, idLen); err == nil {
		size, err = strconv.ParseInt(digits, 10, 64)
	}
	if err == nil && whole && size >= 0 && (digits[0] != '0' || digits == "0") && digits[0] != '+' && digits[0] != '-' {
		switch kind {
		case "blob", "tree", "commit", "tag":
			return id, kind, size, nil
		}
	}
	return ID{}, "", 0, fmt.Errorf("git: cannot read the answer %.200q", line)
}

func parseID(s string, idLen int) (id ID, err error) {
	if len(s) != 2*idLen || strings.ContainsAny(s, "ABCDEF") {
		return id, fmt.Errorf("%.100q is no object id", s)
	}
	_, err = hex.Decode(id[:], []byte(s))
	return id, err
}

var errTree = errors.New("malformed tree object")

// parseTree reads a tree object: for each entry the octal mode, a space, the
// name, NUL, and the id. Names come in git's own order.
func parseTree(b []byte, idLen int) ([]Entry, error) {
	entries := make([]Entry, 0, len(b)/(idLen+16))
	for at := 0; at < len(b); {
		sp := bytes.IndexByte(b[at:], ' ')
		if sp <= 0 || sp > 6 {
			return nil, errTree
		}
		var mode uint32
		for _, c := range b[at : at+sp] {
			if c < '0' || c > '7' {
				return nil, errTree
			}
			mode = mode<<3 | uint32(c-'0')
		}
		at += sp + 1
		nul := bytes.IndexByte(b[at:], 0)
		if nul <= 0 || len(b)-at-nul-1 < idLen {
			return nil, errTree
		}
		e := Entry{Name: string(b[at : at+nul])}
		at += nul + 1
		copy(e.ID[:], b[at:at+idLen])
		at += idLen
		switch mode & 0o170000 {
		case ModeDir, ModeSymlink, ModeSubmodule:
			e.Mode = mode & 0o170000
		case 0o100000:
			e.Mode = ModeFile // also for the 100664 of old repositories
			if mode&0o100 != 0 {
				e.Mode = ModeExec
			}
		default:
			return nil, errTree
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parseCommit reads the tree, author, committer and title of a commit object.
func parseCommit(b []byte, idLen int) (c Commit, err error) {
	text := string(b)
	var line string
	for first := true; ; first = false {
		var ok bool
		if line, text, ok = strings.Cut(text, "\n"); !ok || line == "" {
			break
		}
		key, value, _ := strings.Cut(line, " ")
		switch {
		case first:
			if key != "tree" {
				return c, errors.New("malformed commit object: no tree")
			}
			if c.Tree, err = parseID(value, idLen); err != nil {
				return c, err
			}
		case key == "author":
			c.Author, _ = signature(value)
		case key == "committer":
			_, c.Time = signature(value)
		}
	}
	if c.Tree == (ID{}) {
		return c, errors.New("malformed commit object: no tree")
	}
	c.Title, _, _ = strings.Cut(strings.TrimLeft(text, "\n"), "\n")
	c.Title, c.Author = clip(c.Title), clip(c.Author)
	return c, nil
}

// signature splits "Name <mail> 1700000000 +0100"; a time that cannot be is zero.
func signature(s string) (who string, at time.Time) {
	end := strings.LastIndexByte(s, '>')
	if end < 0 {
		return s, at
	}
	if f := strings.Fields(s[end+1:]); len(f) > 0 {
		if n, err := strconv.ParseInt(f[0], 10, 64); err == nil && n >= 0 && n < 1<<37 {
			at = time.Unix(n, 0).UTC()
		}
	}
	return s[:end+1], at
}

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 200)], "")
}
