package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
)

const (
	nQuestions    = 430
	questionFiles = 6
	nFigured      = 12 // questions that show figures
	figuredFiles  = 6 + 12
)

// prepare writes a course of some 2,800 files in the sizes that courses have, and pushes it.
func (b *bench) prepare() error {
	b.src, b.store = filepath.Join(b.dir, "course"), filepath.Join(b.dir, "store")
	files := map[string]int{"infoCourse.json": 300, "serverFilesCourse/lib.py": 9000, "clientFilesCourse/logo.png": 40_000, "courseInstances/F26/infoCourseInstance.json": 200, "courseInstances/F26/clientFilesCourseInstance/page.html": 5000}
	for i := range 10 {
		files[fmt.Sprintf("elements/e%d/e%d.py", i, i)] = 5000
		files[fmt.Sprintf("elements/e%d/info.json", i)] = 100
	}
	for i := range nQuestions {
		q := fmt.Sprintf("questions/q%04d/", i)
		files[q+"info.json"], files[q+"question.html"], files[q+"server.py"] = 220, 1500+i, 2500+3*i
		files[q+"clientFilesQuestion/figure.png"] = 9000 + 40*(i%50)
		files[q+"serverFilesQuestion/data.csv"], files[q+"tests/test.py"] = 800+i, 1200
	}
	for i := range nFigured {
		q := fmt.Sprintf("questions/x%04d/", i)
		files[q+"info.json"], files[q+"question.html"], files[q+"server.py"] = 220, 1500+i, 2500+3*i
		files[q+"serverFilesQuestion/data.csv"], files[q+"serverFilesQuestion/more.csv"], files[q+"tests/test.py"] = 800+i, 900+i, 1200
		for k := range figuredFiles - 6 {
			files[fmt.Sprintf("%sclientFilesQuestion/figure%02d.png", q, k)] = 90_000 + 100*i + k
		}
	}
	b.files = len(files)
	for name, n := range files {
		if err := writeNoise(b.src, name, n); err != nil {
			return err
		}
	}
	var err error
	b.version, err = b.push()
	return err
}

func writeNoise(root, name string, n int) error {
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var seed [32]byte
	copy(seed[:], fmt.Sprint(name, n))
	data := make([]byte, n)
	if _, err := io.ReadFull(rand.NewChaCha8(seed), data); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func (b *bench) push() (version string, err error) {
	ctx := context.Background()
	s, err := storage.Create(ctx, "dir://"+b.store)
	if err != nil {
		return "", err
	}
	defer s.Close()
	r, err := syncer.New(syncer.Config{Blobs: s.Blobs, Heads: s.Heads}).Push(ctx, "bench", syncer.Dir(b.src, nil))
	return r.Version, err
}

// readTree reads every file below root and returns how many.
func readTree(root string) (n int, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		_, err = os.ReadFile(path)
		return err
	})
	return n, err
}
