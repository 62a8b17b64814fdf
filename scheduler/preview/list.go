package preview

import (
	"net/http"
	"strings"
)

// group is a topic's questions.
type group struct {
	Topic     string
	Color     string
	Questions []Entry
}

// list shows every question of the current version, and what is wrong with it.
func (s *Server) list(w http.ResponseWriter, _ *http.Request) error {
	told := s.hub.number()
	version, fault := s.current()
	c := s.catalog(version)
	var groups []group
	for _, q := range c.Questions {
		topic := q.Info.Topic
		if topic == "" {
			topic = "No topic"
		}
		if n := len(groups); n == 0 || groups[n-1].Topic != topic {
			groups = append(groups, group{Topic: topic, Color: q.Color})
		}
		g := &groups[len(groups)-1]
		g.Questions = append(g.Questions, q)
	}
	title := c.Title
	if title == "" {
		title = s.cfg.Course
	}
	s.render(w, http.StatusOK, "list", map[string]any{
		"Title": title, "Catalog": c, "Groups": groups, "Version": version, "Fault": fault, "Tier": s.cfg.Tier, "Course": s.cfg.Course, "Told": told,
		"Play": s.cfg.Run != nil && len(s.cfg.Runtimes) > 0,
	})
	return nil
}

// colour makes a class of one of PrairieLearn's colour names, which end in a shade.
func colour(name string) string {
	name = strings.TrimRight(name, "123")
	for _, known := range []string{"red", "pink", "purple", "blue", "turquoise", "green", "yellow", "orange", "brown", "gray"} {
		if name == known {
			return name
		}
	}
	return "gray"
}
