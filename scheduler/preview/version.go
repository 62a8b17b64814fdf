package preview

import (
	"context"
	"time"
)

// basics is what every question page needs of its version.
type basics struct {
	course   *Catalog // without questions
	elements []element
}

// maxVersions bounds how many versions are remembered.
const maxVersions = 8

// remember returns what known holds for a version, or what make makes.
func remember[T any](s *Server, known map[string]T, version string, make func() T) T {
	s.mu.Lock()
	v, ok := known[version]
	s.mu.Unlock()
	if ok {
		return v
	}
	v = make()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(known) >= maxVersions {
		clear(known)
	}
	known[version] = v
	return v
}

func (s *Server) basics(version string) basics {
	return remember(s, s.known, version, func() basics {
		files := s.cfg.Files(version)
		return basics{readCourse(files), elements(files, func(string, string) {})}
	})
}

// catalog reads a version's questions, or remembers them.
func (s *Server) catalog(version string) *Catalog {
	return remember(s, s.catalogs, version, func() *Catalog { return s.readCatalog(s.cfg.Files(version)) })
}

// calm is how long after a change the list is read, when the page that its author
// looks at has long been rendered.
const calm = 400 * time.Millisecond

// readAhead reads the list of each new version before anybody asks for it.
func (s *Server) readAhead(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		}
		for calmed := false; !calmed; {
			select {
			case <-ctx.Done():
				return
			case <-s.news:
			case <-time.After(calm):
				calmed = true
			}
		}
		version, _ := s.current()
		s.catalog(version)
	}
}
