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
		fmt.Printf("\n#### M1: %s cold, of %d\n\n| store | reader | median | in round trips | GETs | in turn | × chunkfs | × at the most |\n|---|---|---|---|---|---|---|---|\n", q.what, nQuestions+nFigured)
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

// m1At prints a row for each reader: its time, its requests, how many of those in
// turn, and how many times ours its time is. The last column is what that could be at the most: the
// round trips it waits for, over the one that a reader who knows nothing of a question cannot do without.
func (b *bench) m1At(q question, delay time.Duration, far string, peers []peer) error {
	var base time.Duration
	row := func(name string, measure func(i int) (sample, error)) error {
		s, err := b.medianOf(measure)
		if err != nil {
			return err
		}
		if base == 0 {
			base = s.took
		}
		fmt.Printf("| %v | %s | %s | %s | %d | %d | %s | %d |\n", delay, name, ms(s.took), ratio(s.took, delay), s.gets, s.inTurn, ratio(s.took, base), s.inTurn)
		return nil
	}
	root, stop, err := b.mountChunkfs(delay, false)
	if err != nil {
		return err
	}
	if _, err := os.Stat(root + "/questions/q0000/info.json"); err != nil {
		return err
	}
	err = row("chunkfs, manifest warm", func(i int) (sample, error) {
		return b.counted(func() error { return q.read(root, i) })
	})
	stop()
	if err != nil {
		return err
	}
	if err := row("chunkfs, nothing warm", func(i int) (sample, error) {
		root, stop, err := b.mountChunkfs(delay, false)
		if err != nil {
			return sample{}, err
		}
		defer stop()
		return b.counted(func() error { return q.read(root, i) })
	}); err != nil {
		return err
	}
	addr, stop, err := b.start(job{Kind: "http", Src: far, Delay: delay})
	if err != nil {
		return err
	}
	defer stop()
	for _, p := range peers {
		if err := b.m1Peer(q, p, addr[:len(addr)-1], row); err != nil {
			fmt.Printf("| %v | %s | %v | | | | | |\n", delay, p.name, err)
		}
	}
	return nil
}

// m1Peer reads questions from one mount, as it did ours, and then each from a mount
// that read none before: what peers fetch for the first serves others too.
func (b *bench) m1Peer(q question, p peer, addr string, row func(string, func(int) (sample, error)) error) error {
	root, stop, err := b.startPeer(p, addr)
	if err != nil {
		return err
	}
	err = row(p.name, func(i int) (sample, error) {
		return b.counted(func() error { return q.read(root, i) })
	})
	stop()
	if err != nil {
		return err
	}
	return row(p.name+", its first question", func(i int) (sample, error) {
		root, stop, err := b.startPeer(p, addr)
		if err != nil {
			return sample{}, err
		}
		defer stop()
		return b.counted(func() error { return q.read(root, i) })
	})
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

// m2: a question view of five chunks, cold: without a profile, with the node's own,
// and at a node that never saw the course, from what another one wrote and a push merged.
func (b *bench) m2() error {
	const delay = 30 * time.Millisecond
	fmt.Printf("\n#### M2: a question view of 5 chunks cold, %v a GET\n\n| | median | in round trips | GETs | in turn |\n|---|---|---|---|---|\n", delay)
	own := filepath.Join(b.dir, "profiles.json")
	view := func(name string, keep bool) error {
		s, err := b.medianOf(func(i int) (sample, error) {
			if !keep {
				os.Remove(own)
			}
			root, stop, err := b.mountChunkfs(delay, false)
			if err != nil {
				return sample{}, err
			}
			defer stop()
			if _, err := os.Stat(root + "/questions/q0000/info.json"); err != nil {
				return sample{}, err
			}
			time.Sleep(2 * delay) // the version's record, which is asked for beside the manifest
			return b.counted(func() error { return readView(root, i) })
		})
		fmt.Printf("| %s | %s | %s | %d | %d |\n", name, ms(s.took), ratio(s.took, delay), s.gets, s.inTurn)
		return err
	}
	if err := view("without a profile", false); err != nil {
		return err
	}
	if err := view("with its own profile", true); err != nil {
		return err
	}
	b.share = true
	root, stop, err := b.mountChunkfs(delay, false)
	if err != nil {
		return err
	}
	if err := readView(root, 0); err != nil {
		return err
	}
	stop() // writes what was learned
	b.share = false
	if _, _, err := b.edited(1); err != nil { // a push
		return err
	}
	return view("new version, a node that never saw the course", false)
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
