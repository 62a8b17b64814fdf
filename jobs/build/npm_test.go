package build

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	registryURL = "http://mirror.example/npm/"
	lockFile    = `{"name":"","lockfileVersion":3,"requires":true,"packages":{
"":{"name":"x","dependencies":{"shapes":"^1.0.0"},"scripts":{"install":"id"}},
"node_modules/shapes":{"version":"1.0.0","resolved":"http://mirror.example/npm/shapes/-/shapes-1.0.0.tgz","integrity":"sha512-aGVsbG8=","hasInstallScript":true,"deprecated":"of late"},
"node_modules/shapes/node_modules/@scope/tools":{"version":"2.0.0","integrity":"sha512-aGVsbG8=","license":"MIT"}}}`
)

func TestWhatNPMSaysIsReadStrictly(t *testing.T) {
	packages, lock, err := npmLock([]byte(lockFile), registryURL)
	require.NoError(t, err)
	require.Equal(t, []string{"@scope/tools@2.0.0", "shapes@1.0.0"}, packages)
	require.JSONEq(t, `{"name":"environment","lockfileVersion":3,"packages":{"":{"dependencies":{"shapes":"^1.0.0"}},
"node_modules/shapes":{"version":"1.0.0","integrity":"sha512-aGVsbG8=","hasInstallScript":true},
"node_modules/shapes/node_modules/@scope/tools":{"version":"2.0.0","integrity":"sha512-aGVsbG8="}}}`, string(lock))
	for what, bad := range map[string]string{
		"no JSON":          "x",
		"an old form":      strings.Replace(lockFile, `Version":3`, `Version":1`, 1),
		"no root":          strings.Replace(lockFile, `"":{`, `"node_modules/x":{`, 1),
		"elsewhere":        strings.Replace(lockFile, "http://mirror", "http://other", 1),
		"git":              strings.Replace(lockFile, "http://mirror.example/npm/shapes/-/shapes-1.0.0.tgz", "git+ssh://x/y.git#1", 1),
		"a link":           strings.Replace(lockFile, `"license"`, `"link":true,"license"`, 1),
		"climbs":           strings.Replace(lockFile, "@scope/tools", "../tools", 1),
		"not a dependency": strings.Replace(lockFile, "node_modules/shapes/node_modules", "packages", 1),
		"no hash":          strings.Replace(lockFile, `"integrity":"sha512-aGVsbG8=","license"`, `"license"`, 1),
		"a tag":            strings.Replace(lockFile, `"2.0.0"`, `"latest"`, 1),
	} {
		_, _, err := npmLock([]byte(bad), registryURL)
		require.Error(t, err, what)
	}
}

// FuzzNPMLock: what is accepted reads as itself and names packages of a registry only.
func FuzzNPMLock(f *testing.F) {
	f.Add([]byte(lockFile))
	f.Fuzz(func(t *testing.T, said []byte) {
		packages, lock, err := npmLock(said, registryURL)
		if err != nil {
			return
		}
		again, same, err := npmLock(lock, registryURL)
		require.NoError(t, err)
		require.Equal(t, packages, again)
		require.Equal(t, string(lock), string(same))
	})
}
