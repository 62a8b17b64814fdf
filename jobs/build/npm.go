package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Packages of npm lie in /node_modules, where Node looks from every directory, for
// require and import alike. What is there is described beside it, so that a recipe
// over the environment adds to it.
const (
	npmResolve = `[ -e /package.json ] || echo '{"name":"environment","private":true}' > /package.json
"$@" >&2
cat /package-lock.json`
	npmInstall = `cp /build/package.json /build/package-lock.json /
"$@" >&2
rm -f /node_modules/.package-lock.json` // says where each package came from
)

// certificates are what the builder's machine trusts: a base may have none.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// npm is a step that runs the base's own npm within a script.
func (b *Builder) npm(lower, say, script string, args ...string) (step, error) {
	program, sh := find(lower, "/usr/local/bin/npm", "/usr/bin/npm"), find(lower, "/bin/sh")
	switch {
	case program == "" || sh == "":
		return step{}, failed("the base has no npm to install packages with")
	case b.cfg.NPM == "":
		return step{}, failed("this builder has no npm registry")
	}
	s := step{
		say: say, network: true, files: map[string][]byte{},
		argv: slices.Concat([]string{sh, "-ec", script, "sh", program}, args),
		env: []string{
			"npm_config_registry=" + b.cfg.NPM, "npm_config_prefix=/usr/local", "npm_config_cache=/tmp/npm", "npm_config_userconfig=/build/npmrc", "npm_config_globalconfig=/dev/null",
			"npm_config_audit=false", "npm_config_fund=false", "npm_config_update_notifier=false", "npm_config_progress=false", "npm_config_color=false",
			"npm_config_lockfile_version=3", "npm_config_omit_lockfile_registry_resolved=true",
			"npm_config_fetch_retries=1", "npm_config_foreground_scripts=true", "npm_config_yes=false",
		},
	}
	if ca, err := os.ReadFile(certificates); err == nil && strings.HasPrefix(b.cfg.NPM, "https:") {
		s.files["ca.pem"] = ca
		s.env = append(s.env, "npm_config_cafile=/build/ca.pem", "NODE_EXTRA_CA_CERTS=/build/ca.pem")
	}
	return s, nil
}

// lockNPM asks npm what it would install.
func (b *Builder) lockNPM(ctx context.Context, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.NPM) == 0 {
		return nil
	}
	s, err := b.npm(lower, "find out which npm packages are needed", npmResolve, append([]string{"install", "--prefix=/", "--package-lock-only", "--ignore-scripts", "--"}, l.NPM...)...)
	if err != nil {
		return err
	}
	s.quiet = true
	said, err := b.throwAway(ctx, lower, s, out)
	if err != nil {
		return err
	}
	l.NPM, l.NPMLock, err = npmLock(said, b.cfg.NPM)
	return err
}

// npmPackage is what counts of a package in a lock file: what it is and what it
// asks for. Words of its author about it may change while it stays what it is.
type npmPackage struct {
	Name                 string                     `json:"name,omitempty"` // where it lies under another one
	Version              string                     `json:"version,omitempty"`
	Resolved             string                     `json:"resolved,omitempty"`
	Integrity            string                     `json:"integrity,omitempty"`
	Link                 bool                       `json:"link,omitempty"`
	InBundle             bool                       `json:"inBundle,omitempty"` // within another one's file
	Dev                  bool                       `json:"dev,omitempty"`
	Optional             bool                       `json:"optional,omitempty"`
	DevOptional          bool                       `json:"devOptional,omitempty"`
	Peer                 bool                       `json:"peer,omitempty"`
	HasInstallScript     bool                       `json:"hasInstallScript,omitempty"`
	Dependencies         map[string]string          `json:"dependencies,omitempty"`
	OptionalDependencies map[string]string          `json:"optionalDependencies,omitempty"`
	PeerDependencies     map[string]string          `json:"peerDependencies,omitempty"`
	PeerDependenciesMeta map[string]json.RawMessage `json:"peerDependenciesMeta,omitempty"`
	BundleDependencies   json.RawMessage            `json:"bundleDependencies,omitempty"`
	Bin                  json.RawMessage            `json:"bin,omitempty"`
	Engines              json.RawMessage            `json:"engines,omitempty"`
	OS                   json.RawMessage            `json:"os,omitempty"`
	CPU                  json.RawMessage            `json:"cpu,omitempty"`
	Libc                 json.RawMessage            `json:"libc,omitempty"`
}

// npmFile is a package-lock.json.
type npmFile struct {
	Name            string                 `json:"name"`
	LockfileVersion int                    `json:"lockfileVersion"`
	Packages        map[string]*npmPackage `json:"packages"`
}

var (
	npmAt        = regexp.MustCompile(`^(?:node_modules/(?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*node_modules/((?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*)$`)
	npmVersion   = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$`)
	npmIntegrity = regexp.MustCompile(`^(?:sha(?:1|256|384|512)-[A-Za-z0-9+/=]+ ?)+$`)
)

// npmLock reads what npm would install from registry: every package's name and
// version, and a lock file that says nothing else.
func npmLock(said []byte, registry string) (packages []string, lock []byte, err error) {
	var f npmFile
	if err := json.Unmarshal(said, &f); err != nil || f.LockfileVersion != 3 || f.Packages[""] == nil {
		return nil, nil, failed("the base's npm writes no lock file that can be read; npm 7 and newer do (%v)", err)
	}
	f.Name, f.Packages[""] = "environment", &npmPackage{Dependencies: f.Packages[""].Dependencies}
	for at, p := range f.Packages {
		if at == "" {
			continue
		}
		m := npmAt.FindStringSubmatch(at)
		switch {
		case m == nil || p == nil || p.Link || !npmVersion.MatchString(p.Version) || path.Clean(at) != at:
			return nil, nil, failed("npm would install %.100q, which is no package of a registry", at)
		case p.Resolved != "" && !belowRegistry(p.Resolved, registry), p.Integrity == "" && !p.InBundle, p.Integrity != "" && !npmIntegrity.MatchString(p.Integrity):
			return nil, nil, failed("npm would install %.100q from %.200q, which is not this builder's registry, or without a hash", at, p.Resolved)
		}
		p.Resolved = "" // wherever this builder's registry is
		name := m[1]
		if p.Name != "" {
			name = p.Name
		}
		packages = append(packages, name+"@"+p.Version)
	}
	slices.Sort(packages)
	if lock, err = json.Marshal(&f); err != nil { // maps are written in the order of their keys
		return nil, nil, fmt.Errorf("write npm's lock file: %w", err)
	}
	return slices.Compact(packages), lock, nil
}

func belowRegistry(resolved, registry string) bool {
	u, err := url.Parse(resolved)
	r, err2 := url.Parse(registry)
	return err == nil && err2 == nil && u.Scheme == r.Scheme && u.Host == r.Host && u.User == nil
}

// installNPM installs exactly what was locked. Packages' own scripts run.
func (b *Builder) installNPM(ctx context.Context, t *sandbox.Tree, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.NPM) == 0 {
		return nil
	}
	s, err := b.npm(lower, fmt.Sprintf("install %d npm packages", len(l.NPM)), npmInstall, "ci", "--prefix=/", "--omit=dev", "--loglevel=http")
	if err != nil {
		return err
	}
	var f npmFile
	if err := json.Unmarshal(l.NPMLock, &f); err != nil {
		return fmt.Errorf("read npm's lock file: %w", err)
	}
	var described bytes.Buffer
	if err := json.NewEncoder(&described).Encode(map[string]any{"name": f.Name, "private": true, "dependencies": f.Packages[""].Dependencies}); err != nil {
		return fmt.Errorf("describe npm's packages: %w", err)
	}
	s.files["package.json"], s.files["package-lock.json"] = described.Bytes(), l.NPMLock
	_, err = b.run(ctx, t, s, out)
	return err
}
