package rendercache

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// A page that is read from the disk just before it is emptied must not stay in memory.
func TestPurgeEmptiesTheDiskBeforeTheMemory(t *testing.T) {
	c := open(t, Config{Dir: t.TempDir()})
	look(t, c, Key{1}, "old")
	c.disk.mu.Lock()
	purged := make(chan error, 1)
	go func() { purged <- c.Purge() }()
	time.Sleep(20 * time.Millisecond) // for a purge that would not wait for the disk
	c.mu.Lock()
	require.Len(t, c.entries, 1, "the disk is still full")
	c.mu.Unlock()
	c.disk.mu.Unlock()
	require.NoError(t, <-purged)
	_, how := look(t, c, Key{1}, "new")
	require.Equal(t, "miss", how)
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	look(t, c, Key{1}, "one")
	look(t, c, Key{2}, "two")
	c.Close()
	for _, k := range []Key{{1}, {2}} {
		st, err := os.Stat(filepath.Join(dir, k.String()))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, st.Mode().Perm())
	}

	again := open(t, Config{Dir: dir})
	got, how := look(t, again, Key{1}, "other")
	require.Equal(t, []string{"one", "disk"}, []string{got, how})
	_, how = look(t, again, Key{1}, "other")
	require.Equal(t, "hit", how)

	whole, err := os.ReadFile(filepath.Join(dir, Key{2}.String()))
	require.NoError(t, err)
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x20
		require.NoError(t, os.WriteFile(filepath.Join(dir, Key{2}.String()), bad, 0o600))
		d, err := openDisk(dir, 1<<20, time.Hour)
		require.NoError(t, err)
		require.Nil(t, d.get(Key{2}, time.Now()), "byte %d", i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, Key{3}.String()), whole, 0o600))
	d, err := openDisk(dir, 1<<20, time.Hour)
	require.NoError(t, err)
	require.Nil(t, d.get(Key{3}, time.Now()), "a result under another name")
	require.NotNil(t, d.get(Key{1}, time.Now()))
	require.Nil(t, d.get(Key{1}, time.Now().Add(2*time.Hour)), "too old")

	small := open(t, Config{Dir: t.TempDir(), DirBytes: 2000})
	for i := range 50 {
		look(t, small, Key{byte(i)}, "x")
	}
	small.Close()
	list, err := os.ReadDir(small.cfg.Dir)
	require.NoError(t, err)
	require.Less(t, len(list), 20)
	require.NoError(t, small.Purge())
	list, err = os.ReadDir(small.cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, list)
}

// What lies in the directory is read again by another process: whole and honest
// by its checksum, or a miss.
func FuzzKeptOnDisk(f *testing.F) {
	f.Add([]byte(`{"version":"v","calls":[{"outcome":"ok","html":"x","wall":1}]}`), true)
	f.Add([]byte(`{"calls":[{"outcome":"timeout"}]}`), true)
	f.Add([]byte(`{"calls":null}`), true)
	f.Add([]byte(`x`), false)
	f.Fuzz(func(t *testing.T, content []byte, honest bool) {
		dir := t.TempDir()
		k := Key{1}
		sum := checksum(k, content)
		if !honest {
			sum[0] ^= 1
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, k.String()), append(sum[:], content...), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, k.String()+"00"), content, 0o600), "a name that is too long is not ours")
		res, how, err := open(t, Config{Dir: dir}).Do(context.Background(), k, fill("fresh"))
		require.NoError(t, err)
		require.Len(t, res.Calls, 1)
		require.Equal(t, jobs.OK, res.Calls[0].Outcome)
		if !honest {
			require.Equal(t, "miss", how)
		}
	})
}
