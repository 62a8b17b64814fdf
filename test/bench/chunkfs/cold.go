package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// question is a kind of question that the course has, by number.
type question struct {
	what  string
	dir   func(i int) string // of sample i, far from the others, so that no two share what a peer fetches at once
	files int
}

var questions = []question{
	{"one question (6 files, 4 directories, 20 KB)", func(i int) string { return fmt.Sprintf("questions/q%04d", (37+101*i)%nQuestions) }, questionFiles},
	{"one question with 12 figures (18 files, 1.1 MB)", func(i int) string { return fmt.Sprintf("questions/x%04d", 5*i%nFigured) }, figuredFiles},
}

// read reads what one question consists of, as a program does that has to look for it.
func (q question) read(root string, i int) error {
	n, err := readTree(filepath.Join(root, q.dir(i)))
	if err == nil && n != q.files {
		err = fmt.Errorf("%s has %d files", q.dir(i), n)
	}
	return err
}

func timed(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// m1: one question cold.
func (b *bench) m1() error {
	far := filepath.Join(b.dir, "far")
	peers, missing, err := b.peers(far)
	if err != nil {
		return err
	}
	for _, q := range questions {
		fmt.Printf("\n#### M1: %s cold, of %d\n\n| store | reader | median | round trips | GETs | × chunkfs |\n|---|---|---|---|---|---|\n", q.what, nQuestions+nFigured)
		for _, delay := range []time.Duration{30 * time.Millisecond, 60 * time.Millisecond} {
			if err := b.m1At(q, delay, far, peers); err != nil {
				return err
			}
		}
	}
	for _, m := range missing {
		fmt.Printf("\n%s is not installed.\n", m)
	}
	return nil
}

func (b *bench) m1At(q question, delay time.Duration, far string, peers []peer) error {
	row := func(name string, d time.Duration, gets string, base time.Duration) {
		fmt.Printf("| %v | %s | %s | %s | %s | %s |\n", delay, name, ms(d), ratio(d, delay), gets, ratio(d, base))
	}
	root, stop, err := b.mountChunkfs(delay, false)
	if err != nil {
		return err
	}
	if _, err := os.Stat(root + "/questions/q0000/info.json"); err != nil {
		return err
	}
	before, err := b.status()
	if err != nil {
		return err
	}
	base, err := b.median(func(i int) (time.Duration, error) {
		return timed(func() error { return q.read(root, i) })
	})
	if err != nil {
		return err
	}
	after, err := b.status()
	if err != nil {
		return err
	}
	stop()
	row("chunkfs, manifest warm", base, fmt.Sprintf("%.1f", float64(after.Cache.Misses-before.Cache.Misses)/float64(b.n)), base)
	nothing, err := b.median(func(i int) (time.Duration, error) {
		root, stop, err := b.mountChunkfs(delay, false)
		if err != nil {
			return 0, err
		}
		defer stop()
		return timed(func() error { return q.read(root, i) })
	})
	if err != nil {
		return err
	}
	row("chunkfs, nothing warm", nothing, "", base)
	addr, stop, err := b.start(job{Kind: "http", Src: far, Delay: delay})
	if err != nil {
		return err
	}
	defer stop()
	for _, p := range peers {
		root, stopPeer, err := b.startPeer(p, addr[:len(addr)-1])
		if err != nil {
			fmt.Printf("| %v | %s | %v | | | |\n", delay, p.name, err)
			continue
		}
		d, err := b.median(func(i int) (time.Duration, error) {
			d, err := timed(func() error { return q.read(root, i) })
			if err != nil { // restic mount fails some with EIO
				fmt.Fprintf(os.Stderr, "%s: %v; reading another question\n", p.name, err)
				d, err = timed(func() error { return q.read(root, i+b.n) })
			}
			return d, err
		})
		stopPeer()
		if err != nil {
			fmt.Printf("| %v | %s | %v | | | |\n", delay, p.name, err)
			continue
		}
		row(p.name, d, "", base)
	}
	return nil
}

var view = []string{"elements/e3/e3.py", "serverFilesCourse/lib.py", "clientFilesCourse/logo.png", "courseInstances/F26/clientFilesCourseInstance/page.html"}

func readView(root string, i int) error {
	if err := questions[0].read(root, i); err != nil {
		return err
	}
	for _, f := range view {
		if _, err := os.ReadFile(filepath.Join(root, f)); err != nil {
			return err
		}
	}
	return nil
}

// m2: a question view of five chunks, cold, with and without a profile.
func (b *bench) m2() error {
	const delay = 30 * time.Millisecond
	fmt.Printf("\n#### M2: a question view of 5 chunks cold, %v a GET\n\n| | median | round trips |\n|---|---|---|\n", delay)
	profile := filepath.Join(b.dir, "profiles.json")
	for _, known := range []bool{false, true} {
		d, err := b.median(func(i int) (time.Duration, error) {
			if !known {
				os.Remove(profile)
			}
			root, stop, err := b.mountChunkfs(delay, false)
			if err != nil {
				return 0, err
			}
			defer stop()
			if _, err := os.Stat(root + "/questions/q0000/info.json"); err != nil {
				return 0, err
			}
			return timed(func() error { return readView(root, i) })
		})
		if err != nil {
			return err
		}
		name := "without a profile"
		if known {
			name = "with a profile"
		}
		fmt.Printf("| %s | %s | %s |\n", name, ms(d), ratio(d, delay))
	}
	return nil
}

// m3: thirty questions in order, cold.
func (b *bench) m3() error {
	const delay = 30 * time.Millisecond
	fmt.Printf("\n#### M3: 30 questions in order cold, %v a GET\n\n| | median | beyond 60 ms, in round trips |\n|---|---|---|\n", delay)
	d, err := b.median(func(i int) (time.Duration, error) {
		root, stop, err := b.mountChunkfs(delay, false)
		if err != nil {
			return 0, err
		}
		defer stop()
		if _, err := os.Stat(root + "/questions/q0000/info.json"); err != nil {
			return 0, err
		}
		return timed(func() error {
			for k := range 30 {
				if n, err := readTree(fmt.Sprintf("%s/questions/q%04d", root, 40*i+k)); err != nil || n != questionFiles {
					return fmt.Errorf("question %d has %d files: %w", 40*i+k, n, err)
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("| chunkfs | %s | %s |\n", ms(d), ratio(d-60*time.Millisecond, delay))
	return nil
}
