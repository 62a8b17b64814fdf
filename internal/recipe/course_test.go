package recipe

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatAFileOfACourseAsksFor(t *testing.T) {
	want := (&Recipe{Pip: []string{"shapes==1.0"}}).Name()
	for _, tc := range []struct{ file, text, want string }{
		{HCLFile, `pip = ["shapes == 1.0"]`, want},
		{RequirementsFile, "Shapes==1.0 # round ones\n", want},
		{LambdaFile, `{"environment":{"pip":["shapes==1.0"]}}`, want},
		{LambdaFile, `{"environment":"python-313"}`, "python-313"},
		{LambdaFile, `{"environment":{"LIB":"/opt"},"command":["x"]}`, ""}, // variables
		{LambdaFile, `{"environment":{"image":["x"]}}`, ""},
		{LambdaFile, `{"runtime":"node"}`, ""},
		{LambdaFile, `nonsense`, ""},
		{HCLFile, `pip = nonsense`, ""},
		{HCLFile, ``, ""},
		{RequirementsFile, "-r more.txt\n", ""},
		{"info.json", `{"environment":"x"}`, ""},
	} {
		name, r := Named(tc.file, []byte(tc.text))
		require.Equal(t, tc.want, name, "%s %s", tc.file, tc.text)
		require.Equal(t, tc.want == want, r != nil)
	}
}
