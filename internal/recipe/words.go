package recipe

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

var (
	baseName   = pattern(`^[A-Za-z0-9][A-Za-z0-9._-]{0,123}(@[0-9a-f]{64})?$`)
	debianName = pattern(`^[a-z0-9][a-z0-9+.-]+(=[0-9][A-Za-z0-9.+:~-]*)?$`)
	npmName    = pattern(`^(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*(@[\^~]?[0-9][0-9A-Za-z.+-]*)?$`)
	pipName    = pattern(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(\[[A-Za-z0-9._, -]*\])?([^;]*)(;.*)?$`)
	pipClause  = pattern(`^(===|==|>=|<=|~=|!=|<|>)[0-9A-Za-z.*+!_-]+$`)
	pipMarker  = pattern(`^;[A-Za-z0-9_.'"<>=! ()]+$`)
	pipRuns    = pattern(`[-_.]+`)
	variable   = pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// pattern compiles at its first use: every program that opens a store has this
// package in it, and few of their runs read a recipe.
func pattern(p string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(p) })
}

func debianWord(s string) (string, bool) { return s, debianName().MatchString(s) }

func npmWord(s string) (string, bool) { return s, npmName().MatchString(s) }

// pipWord spells a requirement as PEP 503 and 508 do: the name in lower case
// with single dashes, no spaces outside of markers, clauses in order.
func pipWord(s string) (string, bool) {
	m := pipName().FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return "", false
	}
	name := pipRuns().ReplaceAllString(strings.ToLower(m[1]), "-")
	extras := strings.ReplaceAll(m[2], " ", "")
	var clauses []string
	if rest := strings.TrimSpace(m[3]); rest != "" {
		rest = strings.TrimSuffix(strings.TrimPrefix(rest, "("), ")")
		for c := range strings.SplitSeq(rest, ",") {
			if c = strings.Join(strings.Fields(c), ""); !pipClause().MatchString(c) {
				return "", false
			}
			clauses = append(clauses, c)
		}
		slices.Sort(clauses)
	}
	marker := strings.TrimSpace(m[4])
	if marker != "" && !pipMarker().MatchString(marker) {
		return "", false
	}
	return name + extras + strings.Join(clauses, ",") + marker, true
}

// own are the directories that a sandbox has for itself, or that only its kernel has.
var own = []string{"/proc", "/sys", "/dev", "/tmp", "/run", "/course", "/work", "/prairie", "/grade"}

func (r *Recipe) checkFiles() error {
	if len(r.Files) > maxFiles {
		return bad("there are %d files, more than %d", len(r.Files), maxFiles)
	}
	for _, p := range slices.Sorted(maps.Keys(r.Files)) {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || len(p) > 1024 || !utf8.ValidString(p) || strings.ContainsFunc(p, control) {
			return bad("file %.100q: want a clean absolute path", p)
		}
		for _, e := range strings.Split(p, "/") {
			if len(e) > 200 || strings.HasPrefix(e, ".wh.") {
				return bad("file %.100q: no file can be called that", p)
			}
		}
		if slices.ContainsFunc(own, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") }) {
			return bad("file %.100q: a sandbox has a directory of its own there", p)
		}
		if !utf8.ValidString(r.Files[p]) {
			return bad("file %.100q is no text", p)
		}
		for other := path.Dir(p); other != "/"; other = path.Dir(other) {
			if _, ok := r.Files[other]; ok {
				return bad("file %.100q lies below the file %.100q", p, other)
			}
		}
	}
	if len(r.Settings) > maxSettings {
		return bad("there are %d settings, more than %d", len(r.Settings), maxSettings)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Settings)) {
		if !variable().MatchString(k) || len(k) > maxWord {
			return bad("setting %.100q is no variable", k)
		}
		if v := r.Settings[k]; !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return bad("setting %.100q holds what is no text", k)
		}
	}
	return nil
}

func control(c rune) bool { return c < 0x20 || c == 0x7f }
