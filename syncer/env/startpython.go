package env

import (
	"path"
	"regexp"
	"strings"

	"github.com/prairielambda/prairielambda/internal/manifest"
)

// python is an interpreter of a tree, and where it looks for modules.
type python struct {
	*starts
	program string
	minor   string // "313"
	path    []string
	done    map[string]bool // modules by dotted name
}

// pythons are where images keep their interpreter, the image's own first, as
// workers look for it.
var pythons = []string{"/usr/local/bin/python3", "/opt/venv/bin/python3", "/usr/bin/python3"}

// pythonStart is what every interpreter loads, pythonWarm what nearly every course's
// code does. What a worker's zygote loads besides (jobs/runtime) is left to what nodes
// see: scipy and pandas alone quadruple the bytes, for which a smaller start then waits.
var (
	pythonStart = []string{
		"encodings", "encodings.aliases", "encodings.utf_8", "codecs", "io", "abc", "site", "_sitebuiltins", "os", "stat",
		"posixpath", "genericpath", "_collections_abc", "sitecustomize", "linecache",
	}
	pythonWarm = []string{"datetime", "numpy", "json", "random", "socket", "struct", "traceback", "array", "fcntl", "resource", "tempfile", "ctypes"}
	pythonName = regexp.MustCompile(`^python3\.([0-9]{1,3})$`)
)

// interpreter finds the tree's Python, as workers do.
func (s *starts) interpreter() *python {
	for _, p := range pythons {
		at, d := s.tree.resolve(p)
		if d == nil {
			continue
		}
		m := pythonName.FindStringSubmatch(path.Base(at))
		if m == nil {
			return nil
		}
		py := &python{starts: s, program: at, minor: "3" + m[1], done: map[string]bool{}}
		for _, prefix := range []string{path.Dir(path.Dir(p)), path.Dir(path.Dir(at)), "/usr/local"} {
			lib := path.Join(prefix, "lib", "python3."+m[1])
			py.path = append(py.path, lib, lib+"/lib-dynload", lib+"/site-packages", lib+"/dist-packages", path.Join(prefix, "lib/python3/dist-packages"))
		}
		return py
	}
	return nil
}

func (p *python) begin() {
	p.starts.program(p.program, true)
	for _, list := range [][]string{pythonStart, pythonWarm} {
		for _, name := range list {
			p.load(name)
		}
	}
}

// load adds a module, the packages that it lies in, and what they import.
func (p *python) load(name string) {
	for work := []string{name}; len(work) > 0; {
		name := work[0]
		work = work[1:]
		if p.done[name] || len(name) > 200 || len(p.done) > maxStarts {
			continue
		}
		p.done[name] = true
		if above := strings.LastIndexByte(name, '.'); above > 0 && !p.done[name[:above]] {
			work = append([]string{name[:above]}, work...)
		}
		pkg, source := p.find(name)
		if source == nil {
			continue
		}
		work = append(imports(source, pkg), work...)
	}
}

// find adds the files of a module and returns its source, which is nil for one
// that has none, with the package that its relative names begin from.
func (p *python) find(name string) (pkg string, source []byte) {
	rel := strings.ReplaceAll(name, ".", "/")
	for _, dir := range p.path {
		base := dir + "/" + rel
		if source := p.module(base + "/__init__.py"); source != nil {
			return name, source
		}
		if source := p.module(base + ".py"); source != nil {
			return name[:max(strings.LastIndexByte(name, '.'), 0)], source
		}
		at, d := p.tree.resolve(path.Dir(base))
		if d == nil {
			continue
		}
		stem := path.Base(base) + "."
		for _, suffix := range []string{"cpython-" + p.minor + "-x86_64-linux-gnu.so", "cpython-" + p.minor + "-aarch64-linux-gnu.so", "abi3.so", "so"} {
			if k := d.kids[stem+suffix]; k != nil {
				p.starts.program(at+"/"+stem+suffix, true)
				return "", nil
			}
		}
	}
	return "", nil
}

// module adds what Python reads of a source file: the compiled form where there is
// one, beside the name by which it was found.
func (p *python) module(file string) []byte {
	at, d := p.tree.resolve(file)
	if d == nil || d.ino.typ != manifest.File {
		return nil
	}
	compiled := path.Dir(file) + "/__pycache__/" + strings.TrimSuffix(path.Base(file), ".py") + ".cpython-" + p.minor + ".pyc"
	c, there := p.tree.resolve(compiled)
	if there != nil {
		p.add(c)
	}
	if there == nil || at != path.Clean(file) { // what a link's compiled form is of may be another file
		p.add(at)
	}
	if source := p.text(d.ino); source != nil {
		return source
	}
	return []byte{}
}

// maxSource is how large a source may be that is looked into.
const maxSource = 1 << 20

// imports are the modules that a source imports when it is itself imported, as far
// as its lines show: none of a function's, nor those for type checkers. pkg is where its
// relative names begin. What it names that is no module is not found later.
func imports(source []byte, pkg string) (names []string) {
	l := lines{rest: source}
	skip := -1 // deeper lines are of a function
	for {
		line, ok := l.next()
		if !ok {
			return names
		}
		text := strings.TrimLeft(line, " \t")
		depth := len(line) - len(text)
		if text == "" || text[0] == '#' {
			continue
		}
		if skip >= 0 && depth > skip {
			continue
		}
		skip = -1
		switch word, rest, _ := strings.Cut(text, " "); word {
		case "def", "async":
			skip = depth
		case "if":
			if strings.Contains(rest, "TYPE_CHECKING") || strings.Contains(rest, "__main__") {
				skip = depth
			}
		case "import":
			for item := range strings.SplitSeq(rest, ",") {
				if name, _, _ := strings.Cut(strings.TrimSpace(item), " "); isModule(name) {
					names = append(names, name)
				}
			}
		case "from":
			names = append(names, fromImports(rest, pkg)...)
		}
	}
}

// fromImports reads `a.b import c as d, (e)`.
func fromImports(rest, pkg string) (names []string) {
	from, what, ok := strings.Cut(rest, " import")
	from = strings.TrimSpace(from)
	if !ok {
		return nil
	}
	if up := len(from) - len(strings.TrimLeft(from, ".")); up > 0 {
		base := pkg
		for ; up > 1; up-- {
			base = base[:max(strings.LastIndexByte(base, '.'), 0)]
		}
		from = strings.Trim(base+"."+strings.TrimLeft(from, ". "), ".")
	}
	if !isModule(from) {
		return nil
	}
	names = append(names, from)
	for item := range strings.SplitSeq(strings.Trim(strings.TrimSpace(what), "()"), ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(item), " "); isModule(name) {
			names = append(names, from+"."+name)
		}
	}
	return names
}

var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

func isModule(s string) bool { return moduleName.MatchString(s) }

// lines passes the logical lines of a source: without long strings, and with what
// stands in parentheses after an import on one line.
type lines struct {
	rest  []byte
	quote string // of the long string that we are in
}

func (l *lines) next() (string, bool) {
	line, ok := l.physical()
	if !ok {
		return "", false
	}
	if text := strings.TrimLeft(line, " \t"); strings.HasPrefix(text, "from ") || strings.HasPrefix(text, "import ") {
		for most := 1000; most > 0 && (strings.Contains(line, "(") && !strings.Contains(line, ")") || strings.HasSuffix(line, "\\")); most-- {
			more, ok := l.physical()
			if !ok {
				break
			}
			line = strings.TrimSuffix(line, "\\") + " " + strings.TrimSpace(more)
		}
	}
	return line, true
}

// physical is one line without comment and long strings.
func (l *lines) physical() (string, bool) {
	if len(l.rest) == 0 {
		return "", false
	}
	end := strings.IndexByte(string(l.rest[:min(len(l.rest), 4096)]), '\n')
	raw := l.rest[:min(len(l.rest), 4096)]
	if end >= 0 {
		raw = l.rest[:end]
		l.rest = l.rest[end+1:]
	} else {
		l.rest = l.rest[len(raw):]
	}
	line, out := string(raw), ""
	for {
		if l.quote != "" {
			_, after, closed := strings.Cut(line, l.quote)
			if !closed {
				return out, true
			}
			l.quote, line = "", after
		}
		i := strings.IndexAny(line, `"'#`)
		switch {
		case i < 0:
			return strings.TrimRight(out+line, " \t\r"), true
		case line[i] == '#':
			return strings.TrimRight(out+line[:i], " \t\r"), true
		case strings.HasPrefix(line[i:], `"""`) || strings.HasPrefix(line[i:], `'''`):
			l.quote, out, line = line[i:i+3], out+line[:i], line[i+3:]
		default: // a short string ends on its line
			out += line[:i]
			j := i + 1
			for j < len(line) && line[j] != line[i] {
				if line[j] == '\\' {
					j++
				}
				j++
			}
			line = line[min(j+1, len(line)):]
		}
	}
}
