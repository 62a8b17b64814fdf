package preview

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// element is an element of the course, as far as a page needs it.
type element struct {
	Name         string
	dependencies map[string][]string
}

// elements reads the elements of a version; fault hears what is wrong with one.
func elements(files fs.FS, fault func(file, message string)) (all []element) {
	dirs, _ := fs.ReadDir(files, "elements")
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		e := element{Name: d.Name(), dependencies: map[string][]string{}}
		p := "elements/" + d.Name()
		b, err := fs.ReadFile(files, p+"/info.json")
		if err != nil {
			fault(p+"/info.json", "missing: it names the element's controller")
			continue
		}
		info := struct {
			Controller   string                     `json:"controller"`
			Dependencies map[string]json.RawMessage `json:"dependencies"`
		}{Controller: d.Name() + ".py"}
		if err := json.Unmarshal(b, &info); err != nil {
			fault(p+"/info.json", question.JSONFault(b, err))
			continue
		}
		if _, err := fs.Stat(files, p+"/"+info.Controller); err != nil {
			fault(p+"/info.json", fmt.Sprintf("the controller %q is missing", info.Controller))
		}
		for key, raw := range info.Dependencies {
			var names []string
			if json.Unmarshal(raw, &names) != nil {
				fault(p+"/info.json", fmt.Sprintf("the dependency %q is not a list of strings", key))
				continue
			}
			e.dependencies[key] = names
		}
		all = append(all, e)
	}
	return all
}

// dependencies lists the stylesheets and scripts that a panel may need, in order.
// Elements are gone by the time a panel is rendered, so that those of all the
// course's elements count.
func dependencies(all []element, info question.Info) (styles, scripts []string) {
	take := func(deps map[string][]string, prefix, dir string) {
		for kind, to := range map[string]*[]string{"Styles": &styles, "Scripts": &scripts} {
			for _, name := range deps[prefix+kind] {
				if p := dir + "/" + name; fs.ValidPath(p) && !slices.Contains(*to, p) {
					*to = append(*to, p)
				}
			}
		}
	}
	take(info.Dependencies, "clientFilesCourse", "clientFilesCourse")
	for _, e := range all {
		take(e.dependencies, "clientFilesCourse", "clientFilesCourse")
		take(e.dependencies, "element", "elements/"+e.Name)
	}
	return styles, scripts
}
