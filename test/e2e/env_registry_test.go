package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
	"github.com/prairielambda/prairielambda/test/e2e/debian"
	"github.com/prairielambda/prairielambda/test/machine"
)

// nodeImage is Debian with Node, and npm in a layer above as Node's own image has
// it: Debian's npm is some hundred packages.
func nodeImage(t *testing.T) string {
	t.Helper()
	const npm = "npm-10.9.2.tgz"
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "prairielambda")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	if _, err := os.Stat(filepath.Join(dir, npm)); err != nil {
		out, err := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, "npm@10.9.2").CombinedOutput()
		if err != nil {
			machine.Skip(t, "no npm from its registry: %v: %s", err, out)
		}
	}
	f, err := os.Open(filepath.Join(dir, npm))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	layer := imagetest.NewLayer(imagetest.Symlink("usr/local/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js"))
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		layer.File("usr/local/lib/node_modules/npm/"+strings.TrimPrefix(h.Name, "package/"), string(b), h.Mode)
	}
	base, err := os.ReadFile(debian.Root(t, "trixie", "nodejs"))
	require.NoError(t, err)
	img := &imagetest.Image{Layers: [][]byte{base, layer.Tar()}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}}
	return img.Docker(filepath.Join(t.TempDir(), "node.tar"))
}

// registry is an npm registry: what its clients ask for, and no more.
type registry struct {
	*httptest.Server

	mu       sync.Mutex
	packages map[string]map[string][]byte // tarballs by name and version
	extra    map[string]object            // of a package's description
	asked    []string
}

func newRegistry(t *testing.T) *registry {
	r := &registry{packages: map[string]map[string][]byte{}, extra: map[string]object{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// URL is the registry's, which lies below a path.
func (r *registry) url() string { return r.Server.URL + "/npm/" }

// publish adds a package of JavaScript files; more goes into its description.
func (r *registry) publish(t *testing.T, name, version string, files map[string]string, more object) {
	t.Helper()
	about := object{"name": name, "version": version, "main": "index.js"}
	maps.Copy(about, more)
	described, err := json.Marshal(about)
	require.NoError(t, err)
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	all := map[string]string{"package.json": string(described)}
	maps.Copy(all, files)
	for _, n := range slices.Sorted(maps.Keys(all)) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "package/" + n, Mode: 0o644, Size: int64(len(all[n]))}))
		_, err := w.Write([]byte(all[n]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, gz.Close())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packages[name] == nil {
		r.packages[name] = map[string][]byte{}
	}
	r.packages[name][version] = b.Bytes()
	r.extra[name+"@"+version] = about
}

func (r *registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, q.Method+" "+q.URL.Path)
	name, file, isFile := strings.Cut(strings.TrimPrefix(q.URL.Path, "/npm/"), "/-/")
	versions := r.packages[name]
	if isFile {
		if b := versions[strings.TrimSuffix(strings.TrimPrefix(file, name+"-"), ".tgz")]; b != nil {
			_, _ = w.Write(b)
			return
		}
	}
	if isFile || versions == nil {
		http.NotFound(w, q)
		return
	}
	described, latest := object{}, ""
	for _, v := range slices.Sorted(maps.Keys(versions)) {
		sum := sha512.Sum512(versions[v])
		about := maps.Clone(r.extra[name+"@"+v])
		about["dist"] = object{"tarball": r.url() + name + "/-/" + name + "-" + v + ".tgz", "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}
		_, about["hasInstallScript"] = about["scripts"]
		described[v], latest = about, v
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"name": name, "dist-tags": object{"latest": latest}, "versions": described})
}

// module is a package's only file, which says its version.
func module(version string) map[string]string {
	return map[string]string{"index.js": "exports.version = " + fmt.Sprintf("%q", version) + "\n"}
}
