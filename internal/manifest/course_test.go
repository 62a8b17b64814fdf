package manifest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// walk enters the directories of path one by one; markers are the files that
// exist, by full path.
func walk(root State, path string, markers map[string]bool) (State, []string) {
	var names []string
	s, at := root, ""
	for part := range strings.SplitSeq(path, "/") {
		at = strings.TrimPrefix(at+"/"+part, "/")
		var kind ChunkKind
		s, kind = s.Enter(part, func(f string) bool { return markers[at+"/"+f] })
		if kind != Rest {
			names = append(names, chunkName(kind, at))
		}
	}
	return s, names
}

func TestLayoutOfACourse(t *testing.T) {
	markers := map[string]bool{
		"questions/a/info.json": true, "questions/t/b/info.json": true, "questions/t/b/c/info.json": true,
		"courseInstances/Fa/infoCourseInstance.json": true, "courseInstances/y/Sp/infoCourseInstance.json": true,
		"courseInstances/Fa/assessments/x/hw/infoAssessment.json": true, "elements/info.json": true,
		"questions/info.json": true, "other/questions/a/info.json": true,
	}
	for path, want := range map[string]string{
		"questions": "", "questions/a": "question/a", "questions/t": "", "questions/t/b/c": "question/t/b", "questions/a/elements": "question/a",
		"elements/x/y": "elements", "elementExtensions/x": "elementExtensions", "serverFilesCourse": "serverFilesCourse", "clientFilesCourse/a/b": "clientFilesCourse",
		"courseInstances/Fa/clientFilesCourseInstance/d":              "clientFilesCourseInstance/Fa",
		"courseInstances/y/Sp/serverFilesCourseInstance":              "serverFilesCourseInstance/y/Sp",
		"courseInstances/Fa/assessments/x/hw/clientFilesAssessment/d": "clientFilesAssessment/Fa/x/hw",
		"courseInstances/Fa/assessments/no/clientFilesAssessment":     "", "courseInstances/no/clientFilesCourseInstance": "",
		"other/questions/a": "", "courseInstances/Fa/other/assessments": "",
	} {
		_, got := walk(CourseRoot, path, markers)
		require.Equal(t, want, strings.Join(got, " "), path)
	}
	_, got := walk(TopRoot, "questions/a", markers)
	require.Equal(t, []string{"top/questions"}, got)
	in, _ := walk(CourseRoot, "questions/a", markers)
	client, _ := walk(CourseRoot, "questions/a/clientFilesQuestion", markers)
	deep, _ := walk(CourseRoot, "questions/a/clientFilesQuestion/d", markers)
	require.True(t, in.Thumbnail("thumbnail.png") && client.Thumbnail("thumbnail.svg"))
	require.False(t, in.Thumbnail("thumbnail") || deep.Thumbnail("thumbnail.png") || CourseRoot.Thumbnail("thumbnail.png"))
}

// FuzzLayout: whatever the names, chunks never nest, and a chunk has a name.
func FuzzLayout(f *testing.F) {
	f.Add("courseInstances/Fa/assessments/hw/clientFilesAssessment", uint16(0xffff))
	f.Add("questions/a/b/info.json", uint16(2))
	f.Fuzz(func(t *testing.T, path string, marked uint16) {
		for _, root := range []State{CourseRoot, TopRoot} {
			s, n, i := root, 0, 0
			for part := range strings.SplitSeq(path, "/") {
				var kind ChunkKind
				s, kind = s.Enter(part, func(string) bool { return marked>>(i%16)&1 == 1 })
				if i++; kind != Rest {
					if n++; n > 1 || kind >= chunkKinds || kind == Thumbnails || chunkName(kind, path) == "" {
						t.Fatalf("chunk %d of kind %d on the way to %q", n, kind, path)
					}
				}
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(make([]byte, 64), int64(BlockSize+1))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 0 || size > MaxFile {
			return
		}
		ds, err := IndexDigests(b, size)
		if err == nil && len(ds)*32 != len(b) {
			t.Fatal("digests that are not in the index")
		}
	})
}
