package main

import (
	"io/fs"
	"path"
	"strings"
)

// walkQuestions calls fn for every question below questions/, in order, until it
// returns false; code says that there is a server.py.
func walkQuestions(files fs.FS, fn func(qid string, code bool) bool) error {
	return fs.WalkDir(files, "questions", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || p == "questions" {
			return err
		}
		if _, err := fs.Stat(files, p+"/info.json"); err != nil {
			return nil
		}
		_, err = fs.Stat(files, p+"/server.py")
		if !fn(strings.TrimPrefix(p, "questions/"), err == nil) {
			return fs.SkipAll
		}
		return fs.SkipDir
	})
}

// matchQID matches a QID against a glob in which * also stands for slashes.
func matchQID(glob, qid string) bool {
	if glob == qid || strings.HasPrefix(qid, strings.TrimSuffix(glob, "/")+"/") {
		return true
	}
	const slash = "\x01"
	ok, err := path.Match(strings.ReplaceAll(glob, "/", slash), strings.ReplaceAll(qid, "/", slash))
	return err == nil && ok
}
