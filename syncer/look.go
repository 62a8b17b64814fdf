package syncer

import (
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// look is where a push of a directory looks, and what holds elsewhere.
type look struct {
	at      map[string]bool // below these paths; nil: everywhere
	was     blob.Digest     // the manifest that the directory was when the push before looked
	ignored map[string]bool // what git ignored then, by path
	rules   gitRules        // of git then
	asks    bool            // git must say anew what it ignores
}

const maxLook = 500

// Changed says that since the last push with s nothing changed in the directory
// but at these slash-separated paths relative to it, and below them where they are
// directories: the next push looks only there. Without it, and where that cannot
// be relied on (the last push failed, the course's head is not what it left, git
// ignores other files), a push looks at everything. Who is told of changes by the
// kernel calls it; who may have missed one does not.
//
// Of very many paths it takes no notice.
func (s *Stats) Changed(paths ...string) {
	at := map[string]bool{}
	for _, p := range paths {
		if p = path.Clean(p); !filepath.IsLocal(p) || p == "." || len(at) == maxLook {
			at = nil
			break
		}
		at[p] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.at = at
}

// begin takes what the last push left. Until this one has ended well the next
// would look everywhere.
func (s *Stats) begin(root string) *look {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.last
	s.last = look{}
	if l.was == (blob.Digest{}) {
		l.at = nil
	}
	rules := newGitRules(root)
	l.asks = l.everywhere() || l.rules != rules
	for p := range l.at {
		if _, known := s.files[p]; path.Base(p) == ".gitignore" || !known && exists(filepath.Join(root, p)) {
			l.asks = true
		}
	}
	l.rules = rules
	return &l
}

func (l *look) everywhere() bool { return l.at == nil }

// holds reports whether dir may hold anything else than it did.
func (l *look) holds(dir string) bool {
	for p := range l.at {
		if p == dir || within(p, dir) || within(dir, p) {
			return true
		}
	}
	return false
}

// within reports whether p lies below dir.
func within(p, dir string) bool {
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// gitRules changes where git may have changed its mind about what it ignores
// without a change in the tree. Zero without git.
type gitRules struct{ index, exclude stat }

func newGitRules(root string) (r gitRules) {
	var st unix.Stat_t
	if unix.Lstat(filepath.Join(root, ".git", "index"), &st) == nil {
		r.index = *newStat(&st)
	}
	if unix.Lstat(filepath.Join(root, ".git", "info", "exclude"), &st) == nil {
		r.exclude = *newStat(&st)
	}
	return r
}

func exists(p string) bool {
	var st unix.Stat_t
	return unix.Lstat(p, &st) == nil
}
