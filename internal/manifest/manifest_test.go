package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// respec reads a manifest back through its public face, so that encoding the
// result proves that nothing is lost and nothing is written in two ways.
func respec(m *Manifest) *Spec {
	s := &Spec{Kind: m.Kind(), TreeLen: m.TreeLen()}
	for i := range m.Len() {
		_, n := m.Children(i)
		a := m.Attr(i)
		s.Entries = append(s.Entries, SpecEntry{
			Entry: m.Entry(i), Children: n, Tree: m.TreeOf(i), Chunk: m.ChunkOf(i),
			Blob: m.Locate(i).Blob, Attr: &a, Link: m.Link(i),
		})
	}
	for k := range m.Chunks() {
		root, _ := m.Find(m.Chunk(k).Root)
		s.Chunks = append(s.Chunks, SpecChunk{m.Chunk(k).Kind, root})
	}
	for k := range m.Blobs() {
		r := m.Blob(k)
		s.Blobs = append(s.Blobs, SpecBlob{r.Kind, r.Digest, r.Chunk})
	}
	return s
}

// build lays out paths ("a/b" a file of that many bytes, "a/l -> t" a link) by
// the simplest rules: one chunk per top-level directory, one pack a chunk.
func build(t testing.TB, kind Kind, files map[string]int64) *Spec {
	t.Helper()
	type node struct {
		entry SpecEntry
		kids  map[string]*node
	}
	root := &node{kids: map[string]*node{}}
	for path, size := range files {
		path, target, link := strings.Cut(path, " -> ")
		at := root
		for _, part := range strings.Split(path, "/") {
			if at.kids[part] == nil {
				at.kids[part] = &node{entry: SpecEntry{Entry: Entry{Name: part}}, kids: map[string]*node{}}
			}
			at = at.kids[part]
		}
		at.entry.Type, at.entry.Size = File, size
		at.entry.Digest = blob.Sum([]byte(path))
		if size == 0 {
			at.entry.Digest = blob.Sum(nil)
		}
		at.entry.Exec = strings.HasSuffix(path, ".sh")
		if link {
			at.entry = SpecEntry{Entry: Entry{Name: at.entry.Name, Type: Symlink, Target: target}}
		}
	}
	s := &Spec{Kind: kind, Chunks: []SpecChunk{{Rest, 0}}}
	queue := []*node{root}
	type use struct{ chunk, entry int }
	var uses []use
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		n.entry.Link = i
		n.entry.Children = len(n.kids)
		if kind == Tree && n.entry.Exec {
			n.entry.Attr = &Attr{Mode: 0o755}
		}
		s.Entries = append(s.Entries, n.entry)
		if n.entry.Type == File && n.entry.Size > 0 {
			uses = append(uses, use{n.entry.Chunk, i})
		}
		names := make([]string, 0, len(n.kids))
		for k := range n.kids {
			names = append(names, k)
		}
		sort.Strings(names)
		for _, k := range names {
			kid := n.kids[k]
			kid.entry.Chunk = n.entry.Chunk
			if i == 0 && kid.entry.Type == Dir {
				kid.entry.Chunk = len(s.Chunks)
				s.Chunks = append(s.Chunks, SpecChunk{Top, len(queue)})
			}
			queue = append(queue, kid)
		}
	}
	sort.SliceStable(uses, func(i, j int) bool { return uses[i].chunk < uses[j].chunk })
	pack, fill := -1, int64(0)
	for _, u := range uses {
		e := &s.Entries[u.entry]
		if kind := where(e.Size); kind != Pack {
			e.Blob = len(s.Blobs)
			s.Blobs = append(s.Blobs, SpecBlob{kind, e.Digest, u.chunk})
			continue
		}
		if pack < 0 || s.Blobs[pack].Chunk != u.chunk || fill+e.Size > PackSize {
			pack, fill = len(s.Blobs), 0
			s.Blobs = append(s.Blobs, SpecBlob{Pack, blob.Sum([]byte{byte(pack)}), u.chunk})
		}
		e.Blob = pack
		fill += e.Size
	}
	return s
}

func sample(t testing.TB, kind Kind) *Spec {
	return build(t, kind, map[string]int64{
		"infoCourse.json": 120, "README.md": 0, "run.sh": 10, "elements/e/e.py": 3000, "elements/e/info.json": 90,
		"questions/a/info.json": 100, "questions/a/server.py": 4000, "questions/b/c/info.json": 100, "questions/b/c/figure.png": 70_000,
		"clientFilesCourse/video.mp4": 5 << 20, "clientFilesCourse/big": 33 << 27, "clientFilesCourse/own": BlockSize,
		"questions/l -> a/info.json": 0, "questions/b/up -> ../../elements/e": 0,
	})
}

func TestWhatIsEncodedIsReadBack(t *testing.T) {
	for _, kind := range []Kind{Course, Tree} {
		s := sample(t, kind)
		m, err := Encode(s)
		require.NoError(t, err)
		again, err := Encode(respec(m))
		require.NoError(t, err)
		require.True(t, bytes.Equal(m.Bytes(), again.Bytes()))
		for i := range m.Len() {
			j, ok := m.Find(m.Path(i))
			require.True(t, ok, m.Path(i))
			require.Equal(t, i, j)
			first, n := m.Children(i)
			for c := first; c < first+n; c++ {
				require.Equal(t, i, m.Parent(c))
			}
		}
		i, ok := m.Find("clientFilesCourse/big")
		require.True(t, ok)
		require.Equal(t, int64(33<<27), m.Entry(i).Size)
		require.Equal(t, Blocks, m.Locate(i).Kind)
		i, _ = m.Find("elements/e/info.json")
		require.Equal(t, Extent{Pack, m.Locate(i).Blob, 3000}, m.Locate(i))
		require.Equal(t, "top/elements", m.Chunk(m.ChunkAt("elements/e/info.json")).Name)
		require.Equal(t, -1, m.ChunkAt("no/such"))
		_, ok = m.Find("elements/e/info")
		require.False(t, ok)
	}
}

func TestParentAndFindInManyShapes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		files := map[string]int64{}
		for n := r.IntN(400); n >= 0; n-- {
			path := "f"
			for range r.IntN(5) {
				path = fmt.Sprintf("d%d/%s", r.IntN(6), path)
			}
			files[path+fmt.Sprint(n)] = int64(r.IntN(100))
		}
		m, err := Encode(build(t, Course, files))
		require.NoError(t, err)
		for path, size := range files {
			i, ok := m.Find(path)
			require.True(t, ok)
			require.Equal(t, path, m.Path(i))
			require.Equal(t, size, m.Entry(i).Size)
		}
	}
}

func TestEveryFlippedByteIsRefusedOrCanonical(t *testing.T) {
	m, err := Encode(sample(t, Tree))
	require.NoError(t, err)
	for i := range m.Bytes() {
		b := bytes.Clone(m.Bytes())
		b[i] ^= 0x41
		canonical(t, b)
	}
	for n := range len(m.Bytes()) {
		_, err := Decode(m.Bytes()[:n])
		require.Error(t, err)
	}
	_, err = Decode(append(bytes.Clone(m.Bytes()), 0))
	require.Error(t, err)
}

// canonical: b is refused with a FormatError, or encodes to itself.
func canonical(t testing.TB, b []byte) {
	m, err := Decode(b)
	if err != nil {
		var fe *FormatError
		if !errors.As(err, &fe) {
			t.Fatalf("not a FormatError: %v", err)
		}
		return
	}
	again, err := Encode(respec(m))
	if err != nil {
		t.Fatalf("Decode accepts what Encode refuses: %v", err)
	}
	if !bytes.Equal(again.Bytes(), b) {
		t.Fatal("Decode accepts what Encode does not write")
	}
}

func FuzzDecode(f *testing.F) {
	for _, kind := range []Kind{Course, Tree} {
		m, err := Encode(sample(f, kind))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) { canonical(t, b) })
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]int64
		edit  func(*Spec)
	}{
		"a link up":               {files: map[string]int64{"l -> ..": 0}},
		"an absolute link":        {files: map[string]int64{"l -> /etc/passwd": 0}},
		"a link through a link":   {files: map[string]int64{"a/b/l -> ../..": 0, "m -> a/b/l/..": 0}},
		"a link through nothing":  {files: map[string]int64{"a/l -> no/../../..": 0}},
		"a link through two":      {files: map[string]int64{"a/x -> b": 0, "a/b/c": 1, "m -> a/x/../../..": 0}},
		"a name with a slash":     {edit: func(s *Spec) { s.Entries[1].Name = "a/b" }},
		"dot dot":                 {edit: func(s *Spec) { s.Entries[1].Name = ".." }},
		"no name":                 {edit: func(s *Spec) { s.Entries[1].Name = "" }},
		"disorder":                {edit: func(s *Spec) { s.Entries[1], s.Entries[2] = s.Entries[2], s.Entries[1] }},
		"a name twice":            {edit: func(s *Spec) { s.Entries[1].Name = s.Entries[2].Name }},
		"a file too large":        {edit: func(s *Spec) { s.Entries[len(s.Entries)-1].Size = MaxFile + 1 }},
		"a name too long":         {edit: func(s *Spec) { s.Entries[1].Name = strings.Repeat("x", 256) }},
		"a device in a course":    {edit: func(s *Spec) { s.Entries[1].Type = CharDevice }},
		"a blob nobody uses":      {edit: func(s *Spec) { s.Blobs = append(s.Blobs, s.Blobs[len(s.Blobs)-1]) }},
		"too many children":       {edit: func(s *Spec) { s.Entries[0].Children++ }},
		"too few children":        {edit: func(s *Spec) { s.Entries[0].Children-- }},
		"another chunk's file":    {edit: func(s *Spec) { s.Entries[len(s.Entries)-1].Chunk = 0 }},
		"tree ids of three bytes": {edit: func(s *Spec) { s.TreeLen = 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			s := sample(t, Course)
			if tc.files != nil {
				s = build(t, Course, tc.files)
			}
			if tc.edit != nil {
				tc.edit(s)
			}
			_, err := Encode(s)
			var fe *FormatError
			require.ErrorAs(t, err, &fe)
		})
	}
	for _, ok := range []string{"a/l -> ..", "a/b/l -> ../x", "l -> l", "a/l -> ../a/../a/l"} {
		_, err := Encode(build(t, Course, map[string]int64{ok: 0}))
		require.NoError(t, err, ok)
	}
}

func TestTreesKeepAttributes(t *testing.T) {
	s := build(t, Tree, map[string]int64{"a": 5, "b": 5, "dev/null": 0})
	x := []Xattr{{"security.capability", "\x01\x00"}, {"user.x", ""}}
	for _, i := range []int{1, 2} {
		s.Entries[i].Attr = &Attr{Mode: 0o4644, UID: 7, GID: 8, Xattrs: x}
		s.Entries[i].Digest, s.Entries[i].Link = blob.Sum([]byte("same")), 1
	}
	last := &s.Entries[4]
	*last = SpecEntry{Entry: Entry{Name: "null", Type: CharDevice}, Chunk: last.Chunk, Link: 4, Attr: &Attr{Mode: 0o666, Major: 1, Minor: 3}}
	m, err := Encode(s)
	require.NoError(t, err)
	require.Equal(t, *s.Entries[1].Attr, m.Attr(2))
	require.Equal(t, 1, m.Link(2))
	require.Equal(t, Attr{Mode: 0o666, Major: 1, Minor: 3}, m.Attr(4))
	canonical(t, m.Bytes())

	s.Entries[2].Attr.UID = 9
	_, err = Encode(s)
	require.ErrorContains(t, err, "hard link")
}

func TestChunkDigestsFollowContentOnly(t *testing.T) {
	a, err := Encode(sample(t, Course))
	require.NoError(t, err)
	s := sample(t, Course)
	for i := range s.Entries {
		if s.Entries[i].Name == "server.py" {
			s.Entries[i].Digest = blob.Sum([]byte("edited"))
		}
	}
	b, err := Encode(s)
	require.NoError(t, err)
	for k := range a.Chunks() {
		require.Equal(t, a.Chunk(k).Name != "top/questions", a.Chunk(k).Digest == b.Chunk(k).Digest, a.Chunk(k).Name)
	}
}

func TestReadersAllocateNothing(t *testing.T) {
	m, err := Encode(sample(t, Course))
	require.NoError(t, err)
	i, _ := m.Find("questions/b/c/info.json")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		m.Entry(i)
		m.Locate(i)
		m.Lookup(0, "questions")
		m.Find("questions/b/c/info.json")
	}))
}

func TestGolden(t *testing.T) {
	for name, kind := range map[string]Kind{"course": Course, "tree": Tree} {
		m, err := Encode(sample(t, kind))
		require.NoError(t, err)
		path := filepath.Join("testdata", name+".manifest")
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, m.Bytes(), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, m.Bytes()), "the format changed: raise its version, or run with UPDATE=1")
	}
}
