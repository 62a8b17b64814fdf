package preview

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestQuestionsThatDifferInCaseOnlyAreNamed(t *testing.T) {
	s := &Server{infos: map[string]parsed{}}
	c := s.readCatalog(fstest.MapFS{
		"infoCourse.json":                {Data: []byte(`{"name":"C","title":"C"}`)},
		"questions/Sums/one/info.json":   {Data: []byte(`{"title":"1"}`)},
		"questions/sums/One/info.json":   {Data: []byte(`{"title":"2"}`)},
		"questions/sums/three/info.json": {Data: []byte(`{"title":"3"}`)},
	})
	require.Len(t, c.Questions, 3)
	require.Equal(t, []Fault{{
		"questions/sums/One/info.json",
		"this QID differs from that of questions/Sums/one/info.json in case only; where case does not count (macOS, Windows) one replaces the other",
	}}, c.Faults)
}
