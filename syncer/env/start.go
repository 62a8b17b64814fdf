package env

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// What an environment's programs read at their start can be foreseen without running
// them: the loader and libraries that an ELF file names, the modules that Python's
// modules import. A push writes it down, so that also the first node that
// ever mounts the environment fetches it in one go. It is a hint: what is
// missing is fetched when it is read, what is too much costs its bytes once.

// starts collects paths of a tree, as a head.Profile has them.
type starts struct {
	tree  *tree
	text  func(*inode) []byte // of a file that was kept; nil for others
	seen  map[string]bool
	paths []string
}

const maxStarts = 20_000 // paths; a profile has fewer, since many lie in one pack

// always are files that any program's start may read.
var always = []string{
	"/etc/ld.so.cache", "/usr/lib/locale/C.utf8/LC_CTYPE", "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
	"/usr/lib/aarch64-linux-gnu/gconv/gconv-modules.cache", "/usr/share/zoneinfo/Etc/UTC", "/etc/passwd", "/etc/nsswitch.conf",
}

// foresee follows what runs in the environment: Python with the libraries that its
// zygote loads, what the image itself starts, a shell, and node.
func foresee(t *tree, c *Config, text func(*inode) []byte) []string {
	s := &starts{tree: t, text: text, seen: map[string]bool{}}
	python := s.interpreter()
	for _, p := range always {
		if p, d := t.resolve(p); d != nil {
			s.add(p)
		}
	}
	if python != nil {
		python.begin()
	}
	s.command(c)
	for _, p := range []string{"/bin/sh", "/usr/bin/env", "/usr/local/bin/node", "/usr/bin/node"} {
		s.program(p, true)
	}
	return s.paths
}

// command adds what the image starts by itself: a program, or a script and who reads it.
func (s *starts) command(c *Config) {
	argv := slices.Concat(c.Entrypoint, c.Cmd)
	if len(argv) == 0 {
		return
	}
	names := []string{argv[0]}
	if !strings.Contains(argv[0], "/") {
		names = nil
		for _, v := range c.Env {
			if dirs, ok := strings.CutPrefix(v, "PATH="); ok {
				for dir := range strings.SplitSeq(dirs, ":") {
					names = append(names, dir+"/"+argv[0])
				}
			}
		}
	}
	for _, p := range names {
		p, d := s.tree.resolve(p)
		if d == nil {
			continue
		}
		s.program(p, true)
		if line, ok := bytes.CutPrefix(s.text(d.ino), []byte("#!")); ok {
			line, _, _ = bytes.Cut(line, []byte("\n"))
			if words := strings.Fields(string(line[:min(len(line), 256)])); len(words) > 0 {
				s.program(words[0], true)
			}
		}
		return
	}
}

// add notes a file once and says whether it is new.
func (s *starts) add(p string) bool {
	if s.seen[p] || len(s.paths) >= maxStarts {
		return false
	}
	s.seen[p] = true
	s.paths = append(s.paths, RootDir+p)
	return true
}

// blocks adds those of a large ELF file that a start touches: all where its own
// code runs, and of a library what is linked: the tables before its code and what
// is written.
func (s *starts) blocks(p string, ino *inode, whole bool) {
	const small, most = 3, 16
	n := (ino.size + manifest.BlockSize - 1) / manifest.BlockSize
	if manifest.WhereSize(ino.size) != manifest.Blocks {
		return
	}
	for k := range n {
		from, to := k*manifest.BlockSize, (k+1)*manifest.BlockSize
		if n <= small || whole && n <= most || k == 0 || ino.elf.from < to+manifest.BlockSize && ino.elf.to > from {
			s.add(fmt.Sprintf("%s//%d", p, k))
		}
	}
}

const maxLinks = 40

// resolve follows p, whose links mean what they mean inside, to an absolute path
// without any; the dirent is nil where there is nothing.
func (t *tree) resolve(p string) (string, *dirent) {
	rest := strings.Split(p, "/")
	at, d, stack := "", t.root, []*dirent{}
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(stack) > 0 {
				d, stack = stack[len(stack)-1], stack[:len(stack)-1]
				at = path.Dir(at)
				at = strings.TrimSuffix(at, "/")
			}
			continue
		}
		k := d.kids[name]
		if k == nil {
			return "", nil
		}
		if k.ino.typ == manifest.Symlink {
			if links++; links > maxLinks {
				return "", nil
			}
			if strings.HasPrefix(k.ino.target, "/") {
				at, d, stack = "", t.root, nil
			}
			rest = append(strings.Split(k.ino.target, "/"), rest...)
			continue
		}
		at, d, stack = at+"/"+name, k, append(stack, d)
	}
	return at, d
}

// places are those of paths that lead anywhere, of those to one pack the first.
func (w *writer) places(paths []string) (all []string) {
	index := make(map[string]int, len(w.paths))
	for i, p := range w.paths {
		index[strings.TrimPrefix(p, "/")] = i
	}
	seen := map[int]bool{}
	for _, p := range paths {
		file, _, block := strings.Cut(p, "//")
		i, ok := index[file]
		if !ok || w.spec.Entries[i].Type != manifest.File || w.spec.Entries[i].Size == 0 {
			continue
		}
		if k := w.spec.Entries[i].Blob; block || !seen[k] {
			seen[k] = true
			all = append(all, p)
		}
	}
	return all
}

// text is the content of a file in the spool.
func (w *writer) text(ino *inode) []byte {
	if ino.typ != manifest.File || ino.size == 0 || ino.size > maxSource || !ino.spooled {
		return nil
	}
	b := make([]byte, ino.size)
	if _, err := w.spool.ReadAt(b, ino.spool); err != nil {
		return nil // a hint less
	}
	return b
}

// keepStart notes what foresee will want of a file's content. It is asked for each
// file whose content is read, and owns nothing of whole.
func (w *writer) keepStart(ino *inode, name string, whole []byte) error {
	if whole == nil {
		return nil
	}
	if ino.elf = readELF(whole); ino.elf != nil || ino.spooled || !strings.HasSuffix(name, ".py") || len(whole) > maxSource {
		return nil
	}
	ino.spool, ino.spooled = w.end, true
	return w.keep(whole)
}
