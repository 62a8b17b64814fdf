package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// generate makes a course of n files with the sizes that real ones have, and
// commits it. The repository is a bare one beside its working tree, so that
// casync, which cannot leave a directory out, does not read it.
func (b *bench) generate(n int) error {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b.repo = filepath.Join(b.dir, fmt.Sprintf("course-%d.git", n))
	b.tree = filepath.Join(b.dir, fmt.Sprintf("course-%d", n))
	words := make([]string, 5000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint32()>>uint(r.IntN(16)))
	}
	text := func(n int) []byte {
		var s strings.Builder
		for range n {
			s.WriteString(words[r.IntN(len(words))])
			s.WriteByte(' ')
		}
		return []byte(s.String())
	}
	write := func(path string, data []byte) error {
		p := filepath.Join(b.tree, path)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		return os.WriteFile(p, data, 0o644)
	}
	if err := write("infoCourse.json", []byte("{}")); err != nil {
		return err
	}
	for i := range (n - 1) / 4 {
		q := fmt.Sprintf("questions/topic%d/q%d/", i/50, i)
		fourth, data := "tests.txt", text(30)
		if i%10 == 0 {
			size := 30_000
			if i%20 == 0 {
				size = 90_000
			}
			fourth, data = "clientFilesQuestion/figure.png", make([]byte, size)
			for j := range data {
				data[j] = byte(r.Uint32())
			}
		}
		for name, content := range map[string][]byte{"info.json": text(20), "question.html": text(150), "server.py": text(200), fourth: data} {
			if err := write(q+name, content); err != nil {
				return err
			}
		}
	}
	if _, err := b.exec("git", "init", "-q", "--bare", "-b", "main", b.repo); err != nil {
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	_, err := b.exec("git", "--git-dir", b.repo, "repack", "-adq")
	return err
}

// change edits one question.
func (b *bench) change() error {
	b.changes++
	p := filepath.Join(b.tree, "questions/topic1/q51/server.py")
	f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "# change %d\n", b.changes)
	if err := f.Close(); err != nil {
		return err
	}
	return b.commit()
}

func (b *bench) commit() error {
	for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=b", "-c", "user.email=b@x", "-c", "gc.auto=0", "commit", "-q", "-m", "c"}} {
		if _, err := b.exec(append([]string{"git", "--git-dir", b.repo, "--work-tree", b.tree}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// file4G pushes one sparse file of 4 GiB and reports the syncer's peak memory.
func (b *bench) file4G() error {
	tree := filepath.Join(b.dir, "large")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(tree, "large.bin"))
	if err != nil {
		return err
	}
	for i := range int64(4096) { // no two blocks alike
		if _, err := f.WriteAt(fmt.Appendf(nil, "block %d", i), i<<20); err != nil {
			return err
		}
	}
	if err := f.Truncate(4 << 30); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	kib, err := b.exec(b.syncer, "push", "--quiet", "--worktree", "--store", "dir://"+filepath.Join(b.dir, "large-store"), "large", tree)
	fmt.Fprintf(b.out, "one file of 4 GiB%s%d MiB\n", strings.Repeat("\t", len(b.tools)+2), kib>>10)
	return err
}
