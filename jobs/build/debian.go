package build

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// rootName is where mmdebstrap makes a root, in a Tree without a lower one.
const rootName = "root"

// aptHidden is what apt and dpkg keep for themselves and no environment needs.
var aptHidden = []string{"/var/lib/apt/lists", "/var/cache/apt", "/var/cache/ldconfig", "/var/log"}

const aptConf = `Acquire::http::Proxy "http://127.0.0.1:%d";
Acquire::https::Proxy "http://127.0.0.1:%d";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Dir::Etc::SourceList "/build/sources.list";
Dir::Etc::SourceParts "/dev/null";
DPkg::Use-Pty "false";
`

// apt is a step that runs apt-get over the base, after an update.
func (b *Builder) apt(lower, say string, args ...string) (step, error) {
	if b.cfg.Debian == "" {
		return step{}, failed("this builder has no Debian mirror")
	}
	if find(lower, "/usr/bin/apt-get") == "" || find(lower, "/bin/sh") == "" {
		return step{}, failed("the base has no apt-get to install Debian packages with")
	}
	suite := codename(lower)
	if suite == "" {
		return step{}, failed("the base's /etc/os-release names no Debian release")
	}
	return step{
		say: say, network: true, hidden: aptHidden, env: []string{"APT_CONFIG=/build/apt.conf", "DEBIAN_FRONTEND=noninteractive"},
		argv: append([]string{"/bin/sh", "-ec", `apt-get -qq update >&2; exec apt-get "$@"`, "sh"}, args...),
		files: map[string][]byte{
			"apt.conf":     fmt.Appendf(nil, aptConf, sandbox.TreePort, sandbox.TreePort),
			"sources.list": []byte("deb " + b.cfg.Debian + " " + suite + " main\n"),
		},
	}, nil
}

var codenameLine = regexp.MustCompile(`(?m)^VERSION_CODENAME=["']?([a-z]+)["']?$`)

// codename is the release that a root filesystem says it is.
func codename(lower string) string {
	root, err := os.OpenRoot(lower)
	if err != nil {
		return ""
	}
	defer root.Close()
	for _, p := range []string{"etc/os-release", "usr/lib/os-release"} {
		if b, err := root.ReadFile(p); err == nil {
			if m := codenameLine.FindSubmatch(b); m != nil {
				return string(m[1])
			}
		}
	}
	return ""
}

// planned are the lines of apt's simulation that say what it would install.
var planned = regexp.MustCompile(`(?m)^Inst ([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9]+)? (?:\[[^\]]*\] )?\(([0-9][A-Za-z0-9.+:~-]*) `)

func plan(simulation []byte) (packages []string) {
	for _, m := range planned.FindAllSubmatch(simulation, -1) {
		packages = append(packages, string(m[1])+"="+string(m[2]))
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// lockDebian asks apt, or mmdebstrap for a root without a base, what it would install.
func (b *Builder) lockDebian(ctx context.Context, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.Debian) == 0 {
		return nil
	}
	s, err := b.mmdebstrap(l, "find out what the Debian root consists of", "--simulate", "--verbose")
	s.argv = append([]string{"/bin/sh", "-c", `exec "$@" 2>&1`, "sh"}, s.argv...) // apt's plan is among what it says
	if lower != "" {
		s, err = b.apt(lower, "find out which Debian packages are needed", append([]string{"install", "--simulate", "--"}, l.Debian...)...)
	}
	if err != nil {
		return err
	}
	s.quiet = true
	said, err := b.throwAway(ctx, lower, s, out)
	if err != nil {
		return err
	}
	if l.Debian = plan(said); len(l.Debian) == 0 && lower == "" {
		return fmt.Errorf("mmdebstrap names no package: %.500q", said)
	}
	return nil
}

// debian installs exactly what was locked.
func (b *Builder) debian(ctx context.Context, t *sandbox.Tree, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.Debian) == 0 {
		return nil
	}
	s, err := b.apt(lower, fmt.Sprintf("install %d Debian packages", len(l.Debian)), append([]string{"install", "--yes", "--quiet", "--"}, l.Debian...)...)
	if err != nil {
		return err
	}
	_, err = b.run(ctx, t, s, out)
	return err
}

// mmdebstrap is the host's, over the host's own programs; packages come signed by Debian.
func (b *Builder) mmdebstrap(l *recipe.Locked, say string, args ...string) (step, error) {
	if b.cfg.Debian == "" {
		return step{}, failed("this builder has no Debian mirror")
	}
	if _, err := os.Stat("/usr/bin/mmdebstrap"); err != nil {
		return step{}, failed("this builder has no mmdebstrap: name a base, or install the Debian package mmdebstrap on it")
	}
	args = append([]string{
		"/usr/bin/mmdebstrap", "--mode=root", "--format=directory", "--variant=essential", "--include=" + strings.Join(append([]string{"apt"}, l.Debian...), ","),
		fmt.Sprintf(`--aptopt=Acquire::http::Proxy "http://127.0.0.1:%d"`, sandbox.TreePort), `--aptopt=APT::Sandbox::User "root"`,
	}, args...)
	return step{say: say, network: true, mounts: true, argv: append(args, l.Suite, "/work/"+rootName, "deb "+b.cfg.Debian+" "+l.Suite+" main")}, nil
}

// bootstrap makes a root of what was locked.
func (b *Builder) bootstrap(ctx context.Context, t *sandbox.Tree, _ string, l *recipe.Locked, out func(string)) error {
	s, err := b.mmdebstrap(l, fmt.Sprintf("make a Debian root of %d packages", len(l.Debian)))
	if err != nil {
		return err
	}
	_, err = b.run(ctx, t, s, out)
	return err
}
