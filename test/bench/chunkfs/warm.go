package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openAll opens, reads and closes each file, dealt out to some readers.
func openAll(files []string, readers int) error {
	var wg sync.WaitGroup
	errs := make([]error, readers)
	for r := range readers {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for i := r; i < len(files) && errs[r] == nil; i += readers {
				fd, err := unix.Open(files[i], unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					errs[r] = err
					return
				}
				if _, err = unix.Read(fd, buf); err != nil {
					errs[r] = err
				}
				unix.Close(fd)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// walkAll stats everything, with one reader a top-level part of the questions.
func walkAll(root string, readers int) error {
	var wg sync.WaitGroup
	errs := make([]error, readers)
	for r := range readers {
		wg.Go(func() {
			if r > 0 {
				root = filepath.Clean(root)
			}
			errs[r] = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
				if err == nil {
					_, err = d.Info()
				}
				return err
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func filesBelow(root string) (files []string, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	return files, err
}

// m4: warm reads and walks beside the disk's own filesystem and go-fuse's fs API.
func (b *bench) m4() error {
	root, stop, err := b.mountChunkfs(0, false)
	if err != nil {
		return err
	}
	defer stop()
	type subject struct{ name, root string }
	subjects := []subject{{"disk", b.src}, {"chunkfs", root}}
	day := 24 * time.Hour
	for i, j := range []struct {
		name string
		job  job
	}{
		{"go-fuse fs, default", job{}},
		{"go-fuse fs, 24 h TTLs", job{TTL: day}},
		{"go-fuse fs, 24 h TTLs, KEEP_CACHE", job{TTL: day, Keep: true}},
	} {
		j.job.Kind, j.job.Src, j.job.Mount = "gofuse", b.src, filepath.Join(b.dir, fmt.Sprint("gofuse", i))
		if err := os.MkdirAll(j.job.Mount, 0o755); err != nil {
			return err
		}
		_, stop, err := b.start(j.job)
		if err != nil {
			return err
		}
		defer stop()
		subjects = append(subjects, subject{j.name, j.job.Mount})
	}
	fmt.Printf("\n#### M4: warm, %d files, µs a file\n\n| | open+read+close, 1 reader | × disk | 16 readers | × disk | walk, 1 reader | × disk | 16 readers | × disk |\n|---|---|---|---|---|---|---|---|---|\n", b.files)
	type action func(s subject, files []string) error
	actions := []action{
		func(_ subject, files []string) error { return openAll(files, 1) },
		func(_ subject, files []string) error { return openAll(files, 16) },
		func(s subject, _ []string) error { return walkAll(s.root, 1) },
		func(s subject, _ []string) error { return walkAll(s.root, 16) },
	}
	took := make([][][]time.Duration, len(subjects)) // by subject and action
	files := make([][]string, len(subjects))
	for k, s := range subjects {
		if files[k], err = filesBelow(s.root); err != nil {
			return err
		}
		took[k] = make([][]time.Duration, len(actions))
	}
	for a, do := range actions {
		for round := range 1 + 3*b.n { // in turns, so that what disturbs one disturbs all
			for k, s := range subjects {
				d, err := timed(func() error { return do(s, files[k]) })
				if err != nil {
					return err
				}
				if round > 0 { // the first one warms
					took[k][a] = append(took[k][a], d)
				}
			}
		}
	}
	for k, s := range subjects {
		fmt.Printf("| %s |", s.name)
		for a := range actions {
			d := middle(took[k][a])
			fmt.Printf(" %.1f | %s |", float64(d.Nanoseconds())/1e3/float64(len(files[k])), ratio(d, middle(took[0][a])))
		}
		fmt.Println()
	}
	return nil
}

// lockTree keeps the kernel from reclaiming, page by page as it likes, what it
// has of a tree: what is then read again is for the mount to answer for.
func (b *bench) lockTree(root string) error {
	files, err := filesBelow(root)
	if err != nil {
		return err
	}
	return b.lockFiles(files)
}

func (b *bench) lockFiles(files []string) error {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err == nil && st.Size() > 0 {
			var mem []byte
			if mem, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err == nil {
				b.locked = append(b.locked, mem)
				err = unix.Mlock(mem)
			}
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("lock pages of %s: %w", name, err)
		}
	}
	return nil
}

// unlock lets go of the mount, which lives as long as anything of it is mapped.
func (b *bench) unlock() {
	for _, mem := range b.locked {
		_ = unix.Munmap(mem)
	}
	b.locked = nil
}

// resident counts the pages of a file that are in the page cache.
func resident(path string) (in, all int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, 0, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Munmap(mem)
	vec := make([]byte, (len(mem)+4095)/4096)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		return 0, 0, errno
	}
	for _, v := range vec {
		in += int(v & 1)
	}
	return in, len(vec), nil
}

// m5: a new version on a warm node.
func (b *bench) m5() error {
	old, stop, err := b.mountChunkfs(0, false)
	if err != nil {
		return err
	}
	defer stop()
	if _, err := readTree(old); err != nil {
		return err
	}
	defer b.unlock()
	if err := b.lockTree(old); err != nil {
		return err
	}
	fmt.Printf("\n#### M5: a new version on a warm node\n\n| changed questions | GETs, at most | READs, at most | first walk × warm | first read of everything × warm | pages not yet in the page cache |\n|---|---|---|---|---|---|\n")
	for changed := 1; changed <= 3; changed++ {
		var gets, reads int64 // the most of any version
		var walks, firsts []time.Duration
		var files []string
		var now string
		for range b.n {
			root, edited, err := b.edited(changed)
			if err != nil {
				return err
			}
			before, err := b.status()
			if err != nil {
				return err
			}
			walk, err := timed(func() error { return walkAll(root, 1) })
			if err != nil {
				return err
			}
			if files, err = filesBelow(root); err != nil {
				return err
			}
			first, err := timed(func() error { return openAll(files, 1) })
			if err != nil {
				return err
			}
			after, err := b.status()
			if err != nil {
				return err
			}
			if err := b.lockFiles(edited); err != nil {
				return err
			}
			gets, reads = max(gets, after.Cache.Misses-before.Cache.Misses), max(reads, after.Requests["read"]-before.Requests["read"]-1)
			walks, firsts, now = append(walks, walk), append(firsts, first), root
		}
		warmWalk, err := b.median(func(int) (time.Duration, error) { return timed(func() error { return walkAll(now, 1) }) })
		if err != nil {
			return err
		}
		warmRead, err := b.median(func(int) (time.Duration, error) { return timed(func() error { return openAll(files, 1) }) })
		if err != nil {
			return err
		}
		unread, edited, err := b.edited(changed)
		if err != nil {
			return err
		}
		in, all, err := residentBelow(unread)
		if err != nil {
			return err
		}
		if _, err := readTree(unread); err != nil {
			return err
		}
		if err := b.lockFiles(edited); err != nil {
			return err
		}
		fmt.Printf("| %d | %d | %d | %s | %s | %.2f %% |\n", changed, gets, reads,
			ratio(middle(walks), warmWalk), ratio(middle(firsts), warmRead), 100*float64(all-in)/float64(all))
	}
	return nil
}

// edited pushes a version in which a file of each of n questions is another, and returns its root and those files.
func (b *bench) edited(n int) (root string, names []string, err error) {
	b.edits++
	for q := range n {
		name := fmt.Sprintf("questions/q%04d/server.py", (50*b.edits+10*q)%nQuestions)
		names = append(names, name)
		if err := writeNoise(b.src, name, 3900+b.edits); err != nil {
			return "", nil, err
		}
	}
	v, err := b.push()
	b.version, root = v, filepath.Join(b.dir, "mnt/bench", v)
	for i := range names {
		names[i] = filepath.Join(root, names[i])
	}
	return root, names, err
}

func residentBelow(root string) (in, all int, err error) {
	files, err := filesBelow(root)
	for _, f := range files {
		i, a, err := resident(f)
		if err != nil {
			return 0, 0, err
		}
		in, all = in+i, all+a
	}
	return in, all, err
}
