package preview

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// Catalog is what a version of a course says of itself.
type Catalog struct {
	Name, Title string
	Topics      map[string]Topic
	Questions   []Entry // by topic in the course's order, then by QID
	Elements    []element
	Faults      []Fault
}

// Topic groups questions.
type Topic struct {
	Name  string `json:"name"`
	Color string `json:"color"`
	order int
}

// Entry is one question of the list.
type Entry struct {
	QID   string
	Info  question.Info
	Color string
}

// Fault is something wrong with a file.
type Fault struct{ File, Message string }

// parsed is an info.json as it was read. A version's times follow from content,
// so that equal stat means an equal file, also in another version.
type parsed struct {
	size int64
	time time.Time
	info question.Info
}

func (s *Server) readCatalog(files fs.FS) *Catalog {
	c := readCourse(files)
	c.Elements = elements(files, c.fault)
	uuids := map[string]string{}
	folded := map[string]string{}
	err := fs.WalkDir(files, "questions", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if p != "questions" {
				c.fault(p, err.Error())
			}
			return nil
		}
		if !d.IsDir() || p == "questions" {
			return nil
		}
		info, err := s.info(files, p)
		if err != nil {
			return nil // a directory on the way to questions
		}
		qid := strings.TrimPrefix(p, "questions/")
		for _, f := range info.Faults {
			c.fault(p+"/info.json", f)
		}
		if other := uuids[info.UUID]; info.UUID != "" && other != "" {
			c.fault(p+"/info.json", fmt.Sprintf("the uuid is that of %s; give each question its own", other))
		}
		uuids[info.UUID] = p
		if other := folded[strings.ToLower(qid)]; other != "" {
			c.fault(p+"/info.json", fmt.Sprintf("this QID differs from that of questions/%s/info.json in case only; where case does not count (macOS, Windows) one replaces the other", other))
		}
		folded[strings.ToLower(qid)] = qid
		c.Questions = append(c.Questions, Entry{QID: qid, Info: info, Color: c.Topics[info.Topic].Color})
		c.nested(files, p)
		return fs.SkipDir // no question lies below another
	})
	if err != nil {
		c.fault("questions", err.Error())
	}
	if len(c.Questions) == 0 {
		c.fault("questions", "there are no questions; each is a directory with an info.json")
	}
	slices.SortStableFunc(c.Questions, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(c.order(a), c.order(b)), cmp.Compare(a.Info.Topic, b.Info.Topic), cmp.Compare(a.QID, b.QID))
	})
	return c
}

// nested names questions that nobody can reach: the walk stops at the first info.json.
func (c *Catalog) nested(files fs.FS, dir string) {
	subs, _ := fs.ReadDir(files, dir)
	for _, d := range subs {
		if !d.IsDir() {
			continue
		}
		if _, err := fs.Stat(files, dir+"/"+d.Name()+"/info.json"); err == nil {
			c.fault(dir+"/"+d.Name()+"/info.json", "this question lies inside the question "+strings.TrimPrefix(dir, "questions/")+"; move one of them")
		}
	}
}

// info reads a question's info.json, or remembers it.
func (s *Server) info(files fs.FS, dir string) (question.Info, error) {
	p := dir + "/info.json"
	st, err := fs.Stat(files, p)
	if err != nil {
		return question.Info{}, err
	}
	s.mu.Lock()
	known, ok := s.infos[p]
	s.mu.Unlock()
	if ok && known.size == st.Size() && known.time.Equal(st.ModTime()) {
		return known.info, nil
	}
	b, err := fs.ReadFile(files, p)
	if err != nil {
		return question.Info{Faults: []string{err.Error()}}, nil
	}
	info := question.ParseInfo(b)
	if info.Title == "" {
		info.Title = path.Base(dir)
	}
	s.mu.Lock()
	s.infos[p] = parsed{st.Size(), st.ModTime(), info}
	s.mu.Unlock()
	return info, nil
}

// readCourse reads infoCourse.json as far as it can be read.
func readCourse(files fs.FS) *Catalog {
	c := &Catalog{Topics: map[string]Topic{}}
	b, err := fs.ReadFile(files, "infoCourse.json")
	if err != nil {
		c.fault("infoCourse.json", "missing: every course has one, with at least a name and a title")
		return c
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &fields); err != nil {
		c.fault("infoCourse.json", question.JSONFault(b, err))
		return c
	}
	for key, into := range map[string]*string{"name": &c.Name, "title": &c.Title} {
		if json.Unmarshal(fields[key], into) != nil {
			c.fault("infoCourse.json", fmt.Sprintf("%q is missing or not a string", key))
		}
	}
	var topics []Topic
	if raw, ok := fields["topics"]; ok && json.Unmarshal(raw, &topics) != nil {
		c.fault("infoCourse.json", `"topics" is not a list of objects with a name and a color`)
	}
	for i, t := range topics {
		t.order = i + 1
		c.Topics[t.Name] = t
	}
	return c
}

func (c *Catalog) fault(file, message string) {
	c.Faults = append(c.Faults, Fault{file, message})
}

func (c *Catalog) order(e Entry) int {
	if t, ok := c.Topics[e.Info.Topic]; ok {
		return t.order
	}
	return len(c.Topics) + 1
}
