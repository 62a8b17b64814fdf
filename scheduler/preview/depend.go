package preview

import (
	"encoding/json"
	"io/fs"
	"slices"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// dependencies calls add for each stylesheet that a panel declares, and returns
// the scripts, in order. Elements are replaced by the time a panel is rendered,
// so that those of all the course's elements count.
func dependencies(files fs.FS, content string, info question.Info, add func(style bool, p string)) (scripts []string) {
	if content == "" {
		return nil
	}
	take := func(deps map[string][]string, places map[string]string) {
		for _, kind := range []string{"Styles", "Scripts"} {
			for prefix, dir := range places {
				for _, name := range deps[prefix+kind] {
					p := dir + "/" + name
					switch {
					case !fs.ValidPath(p):
					case kind == "Styles":
						add(true, p)
					case !slices.Contains(scripts, p):
						scripts = append(scripts, p)
					}
				}
			}
		}
	}
	take(info.Dependencies, map[string]string{"clientFilesCourse": "clientFilesCourse"})
	dirs, _ := fs.ReadDir(files, "elements")
	for _, d := range dirs {
		b, err := fs.ReadFile(files, "elements/"+d.Name()+"/info.json")
		if err != nil {
			continue
		}
		var element struct {
			Dependencies map[string]json.RawMessage `json:"dependencies"`
		}
		if json.Unmarshal(b, &element) != nil {
			continue
		}
		deps := map[string][]string{}
		for key, raw := range element.Dependencies {
			var names []string
			if json.Unmarshal(raw, &names) == nil {
				deps[key] = names
			}
		}
		take(deps, map[string]string{"element": "elements/" + d.Name(), "clientFilesCourse": "clientFilesCourse"})
	}
	return scripts
}
