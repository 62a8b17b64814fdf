package chunkfs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// questions writes a course of n small questions that share elements and server files.
func questions(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, size int) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, noise(name, size), 0o644))
	}
	write("infoCourse.json", 100)
	write("elements/pl-thing/pl-thing.py", 4000)
	write("elements/pl-thing/info.json", 90)
	write("serverFilesCourse/lib.py", 2000)
	write("clientFilesCourse/logo.png", 30_000)
	for i := range n {
		for _, f := range []string{"info.json", "question.html", "server.py"} {
			write(fmt.Sprintf("questions/q%03d/%s", i, f), 700)
		}
	}
	return dir
}

func TestAQuestionIsOneFetch(t *testing.T) {
	r := newRig(t)
	v := push(t, r.store, "XC101", questions(t, 5))
	r.start()
	q := filepath.Join(r.mnt, "XC101", v, "questions/q003")
	_, err := os.Stat(q) // the manifest
	require.NoError(t, err)
	before := r.fetches()
	for _, f := range []string{"info.json", "question.html", "server.py"} {
		_, err := os.ReadFile(filepath.Join(q, f))
		require.NoError(t, err)
	}
	require.Equal(t, before+1, r.fetches())
}

func TestAProfileStartsWhatAQuestionWillRead(t *testing.T) {
	r := newRig(t)
	v := push(t, r.store, "XC101", questions(t, 5))
	r.conf.Profiles = filepath.Join(filepath.Dir(r.conf.Cache), "profiles.json")
	r.start()
	root := filepath.Join(r.mnt, "XC101", v)
	for _, f := range []string{"questions/q000/server.py", "elements/pl-thing/pl-thing.py", "serverFilesCourse/lib.py", "clientFilesCourse/logo.png"} {
		_, err := os.ReadFile(filepath.Join(root, f))
		require.NoError(t, err)
	}
	require.NoError(t, r.stop())

	// Another day, another node: an empty cache, and what the first one learned.
	require.NoError(t, os.RemoveAll(r.conf.Cache))
	require.NoError(t, os.Remove(r.conf.Fault+".log"))
	r.conf.Profiles, r.conf.Seeds = "", []string{r.conf.Profiles}
	r.start()
	shown, err := os.ReadFile(r.mnt + "/.chunkfs/profiles.json")
	require.NoError(t, err)
	require.Contains(t, string(shown), `"XC101":["elements/pl-thing/pl-thing.py"`)
	_, err = os.Stat(root + "/questions/q001")
	require.NoError(t, err)
	before := r.fetches()
	_, err = os.ReadFile(root + "/questions/q001/server.py")
	require.NoError(t, err)
	eventually(t, "the question and three more", func() bool { return r.fetches() == before+4 })
	eventually(t, "all is here", func() bool { return r.status().Cache.Files == 5 })
	for _, f := range []string{"elements/pl-thing/pl-thing.py", "serverFilesCourse/lib.py", "clientFilesCourse/logo.png"} {
		_, err := os.ReadFile(filepath.Join(root, f))
		require.NoError(t, err)
	}
	require.Equal(t, before+4, r.fetches())
}

func TestQuestionsReadInOrderAreReadAhead(t *testing.T) {
	r := newRig(t)
	v := push(t, r.store, "XC101", questions(t, 40))
	r.start()
	root := filepath.Join(r.mnt, "XC101", v)
	read := func(i int) {
		t.Helper()
		_, err := os.ReadFile(fmt.Sprintf("%s/questions/q%03d/server.py", root, i))
		require.NoError(t, err)
	}
	read(30)
	read(3)
	before := r.fetches()
	time.Sleep(20 * time.Millisecond)
	require.Equal(t, before, r.fetches(), "in no order, nothing is read ahead")
	for i := 4; i < 7; i++ {
		read(i)
	}
	eventually(t, "sixteen ahead of the sixth", func() bool { return r.fetches() >= before+3+16 })
	for i := 7; i < 22; i++ {
		read(i)
	}
}

func TestProfilesOfAnyBytes(t *testing.T) {
	for _, b := range []string{"", "{", `{"XC101":["a"],"../x":["b"],"Y":[1]}`, `[]`, `{"../x":["b"]}`} {
		for c := range parseProfiles([]byte(b)) {
			require.Equal(t, "XC101", c)
		}
	}
	p, err := openProfiles(filepath.Join(t.TempDir(), "p.json"))
	require.NoError(t, err)
	for i := range 3 * profilePath {
		p.add("XC101", fmt.Sprint(i%(2*profilePath)))
	}
	require.Len(t, p.get("XC101"), profilePath)
	require.NoError(t, p.save())
	again, err := openProfiles(p.path)
	require.NoError(t, err)
	require.Equal(t, p.get("XC101"), again.get("XC101"))
	other, err := openProfiles(filepath.Join(t.TempDir(), "other.json"))
	require.NoError(t, err)
	require.NoError(t, other.learn(p.path))
	require.Equal(t, p.get("XC101"), other.get("XC101"), "what one node learned, another begins with")
	require.NoError(t, other.save())
	require.FileExists(t, other.path, "and keeps")
	require.ErrorIs(t, other.learn(filepath.Join(t.TempDir(), "absent")), os.ErrNotExist)
	require.NoError(t, os.WriteFile(p.path, make([]byte, maxProfiles+1), 0o600))
	require.ErrorIs(t, other.learn(p.path), errTooLarge)
	_, err = openProfiles(p.path)
	require.NoError(t, err, "a mount does without")
}

func FuzzParseProfiles(f *testing.F) {
	f.Add([]byte(`{"XC101":["elements/a.py"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for course, list := range parseProfiles(b) {
			require.LessOrEqual(t, len(list), profileRoom(course))
		}
	})
}
