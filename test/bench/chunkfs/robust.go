package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// m8: what the real command takes after a million files in 300 versions were walked.
func (b *bench) m8() error {
	const versions, questions = 300, 1100
	src, store, mnt, bin := filepath.Join(b.dir, "many"), filepath.Join(b.dir, "many-store"), filepath.Join(b.dir, "many-mnt"), filepath.Join(b.dir, "bin")
	build := exec.Command("go", "build", "-o", bin, "./cmd/chunkfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := writeNoise(src, "infoCourse.json", 100); err != nil {
		return err
	}
	for i := range questions {
		for name, n := range map[string]int{"info.json": 220, "question.html": 700, "server.py": 900} {
			if err := writeNoise(src, fmt.Sprintf("questions/q%04d/%s", i, name), n); err != nil {
				return err
			}
		}
	}
	many := &bench{src: src, store: store}
	var roots []string
	for i := range versions {
		if err := writeNoise(src, fmt.Sprintf("questions/q%04d/server.py", i), 1000+i); err != nil {
			return err
		}
		v, err := many.push()
		if err != nil {
			return err
		}
		roots = append(roots, filepath.Join(mnt, "bench", v))
	}
	mount := exec.Command(filepath.Join(bin, "chunkfs"), "mount", "--background", "--store", "dir://"+store, "--cache", filepath.Join(b.dir, "many-cache"), mnt)
	if out, err := mount.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	b.undo = append(b.undo, func() { _ = syscall.Unmount(mnt, syscall.MNT_DETACH) })
	walked := 0
	for _, root := range roots {
		files, err := filesBelow(root)
		if err != nil {
			return err
		}
		walked += len(files)
	}
	s, err := statusOf(mnt)
	if err != nil {
		return err
	}
	rss, err := memoryOf(s.PID)
	if err != nil {
		return err
	}
	fmt.Printf("\n#### M8: memory of `chunkfs serve` after walking %d files in %d versions\n\n| RSS | of it anonymous | of files (program text) | of memory files (node ids) | manifests held | RSS without them |\n|---|---|---|---|---|---|\n", walked, versions)
	mib := func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", mib(rss["VmRSS"]), mib(rss["RssAnon"]), mib(rss["RssFile"]), mib(rss["RssShmem"]), mib(s.ManifestBytes), mib(rss["VmRSS"]-s.ManifestBytes))
	return nil
}

// memoryOf reads the sizes in /proc/<pid>/status, in bytes.
func memoryOf(pid int) (map[string]int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return nil, err
			}
			sizes[strings.TrimSuffix(f[0], ":")] = n << 10
		}
	}
	return sizes, nil
}

// m9: a read that meets a flipped byte in its cache file, beside one that has to fetch.
func (b *bench) m9() error {
	const delay = 30 * time.Millisecond
	root, stop, err := b.mountChunkfs(delay, false)
	if err != nil {
		return err
	}
	if _, err := readTree(root); err != nil {
		return err
	}
	stop() // so that memory holds nothing
	if root, stop, err = b.mountChunkfs(delay, true); err != nil {
		return err
	}
	defer stop()
	files, err := filesBelow(root)
	if err != nil {
		return err
	}
	if err := flipAll(filepath.Join(b.dir, "cache/blobs")); err != nil {
		return err
	}
	before, err := statusOf(filepath.Join(b.dir, "mnt"))
	if err != nil {
		return err
	}
	var healed []time.Duration
	for i, name := range files {
		if i%7 != 0 {
			continue
		}
		want, err := os.ReadFile(strings.Replace(name, root, b.src, 1))
		if err != nil {
			return err
		}
		var got []byte
		d, err := timed(func() (err error) { got, err = os.ReadFile(name); return err })
		if err != nil {
			return err
		}
		if string(got) != string(want) {
			return fmt.Errorf("%s: wrong bytes were served", name)
		}
		if d > delay {
			healed = append(healed, d)
		}
	}
	after, err := statusOf(filepath.Join(b.dir, "mnt"))
	if err != nil {
		return err
	}
	slowest := time.Duration(0)
	for _, d := range healed {
		slowest = max(slowest, d)
	}
	fmt.Printf("\n#### M9: a byte of every cache file flipped, %v a GET\n\n| reads that met one | files set aside | median beyond a round trip | longest |\n|---|---|---|---|\n", delay)
	fmt.Printf("| %d | %d | %s | %s |\n", len(healed), after.Cache.Quarantined-before.Cache.Quarantined, ms(middle(healed)-delay), ms(slowest-delay))
	return nil
}

func flipAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		data := make([]byte, st.Size())
		if _, err := f.ReadAt(data, 0); err != nil {
			return err
		}
		for i := 0; i < len(data); i += 512 { // so that whatever part is read meets one
			data[i] ^= 1
		}
		if _, err := f.WriteAt(data, 0); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
