package preview

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// shared are the parts of a course that every question sees.
var shared = []string{"elements/", "elementExtensions/", "serverFilesCourse/", "clientFilesCourse/"}

// unseen says in a sentence which link of a question leads where its code cannot
// look: a sandbox has the question and what is shared, as PrairieLearn's chunks do.
func unseen(files fs.FS, qid string) (sentence string) {
	dir := "questions/" + qid
	_ = fs.WalkDir(files, dir, func(p string, d fs.DirEntry, err error) error { // what cannot be read is an issue of its own
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		to, err := fs.ReadLink(files, p)
		if err != nil {
			return nil
		}
		target := to
		if !path.IsAbs(to) {
			target = path.Join(path.Dir(p), to)
			if slices.ContainsFunc(append([]string{dir + "/"}, shared...), func(seen string) bool { return strings.HasPrefix(target+"/", seen) }) {
				return nil
			}
		}
		sentence = fmt.Sprintf("%s is a link to %s, which the question's code does not see; put what questions share into serverFilesCourse.",
			strings.TrimPrefix(p, dir+"/"), target)
		return fs.SkipAll
	})
	return sentence
}
