package build

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// pythons are where images keep their interpreter, the image's own first.
var pythons = []string{"/usr/local/bin/python3", "/opt/venv/bin/python3", "/usr/bin/python3"}

// pipStep is a step that runs the base's own pip over requirements.
func (b *Builder) pipStep(lower, say, requirements string, args ...string) (step, error) {
	python := find(lower, pythons...)
	switch {
	case python == "":
		return step{}, failed("the base has no python3 to install Python packages with")
	case b.cfg.PipIndex == "" && b.cfg.Wheels == "":
		return step{}, failed("this builder has neither an index nor a directory of Python packages")
	}
	s := step{
		say: say, network: true, files: map[string][]byte{"requirements.txt": []byte(requirements)},
		argv: slices.Concat([]string{python, "-m", "pip", "install", "--requirement=/build/requirements.txt"}, args),
		env: []string{
			"PIP_CONFIG_FILE=/dev/null", "PIP_NO_INPUT=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_CACHE_DIR=1", "PIP_ROOT_USER_ACTION=ignore",
			"PIP_BREAK_SYSTEM_PACKAGES=1", "PIP_PROGRESS_BAR=off", "PIP_RETRIES=1", "PIP_TIMEOUT=30",
			"PYTHONDONTWRITEBYTECODE=1", // of pip itself; what it installs it compiles all the same
		},
	}
	if b.cfg.Wheels != "" {
		s.env = append(s.env, "PIP_FIND_LINKS=/build/"+wheels)
	}
	if b.cfg.PipIndex == "" {
		s.env = append(s.env, "PIP_NO_INDEX=1")
	} else if u, err := url.Parse(b.cfg.PipIndex); err == nil {
		s.env = append(s.env, "PIP_INDEX_URL="+b.cfg.PipIndex, "PIP_TRUSTED_HOST="+map[bool]string{true: u.Host}[u.Scheme == "http"])
	}
	return s, nil
}

// lockPip asks pip what it would install.
func (b *Builder) lockPip(ctx context.Context, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.Pip) == 0 {
		return nil
	}
	s, err := b.pipStep(lower, "find out which Python packages are needed", strings.Join(l.Pip, "\n")+"\n", "--dry-run", "--quiet", "--report=-")
	if err != nil {
		return err
	}
	s.quiet = true
	said, err := b.throwAway(ctx, lower, s, out)
	if err != nil {
		return err
	}
	l.Pip, l.Hashes, err = pipReport(said)
	return err
}

// pipReport reads what pip would install: names with versions, and the content of each.
func pipReport(said []byte) (packages []string, hashes map[string]string, err error) {
	var report struct {
		Install []struct {
			Metadata struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"metadata"`
			Download struct {
				Archive struct {
					Hashes map[string]string `json:"hashes"`
				} `json:"archive_info"`
			} `json:"download_info"`
		} `json:"install"`
	}
	if err := json.Unmarshal(said, &report); err != nil {
		return nil, nil, failed("the base's pip says nothing that can be read of what it would install; pip 23 and newer do (%v)", err)
	}
	hashes = map[string]string{}
	all := &recipe.Recipe{}
	for _, p := range report.Install {
		word := p.Metadata.Name + "==" + p.Metadata.Version
		c, err := (&recipe.Recipe{Pip: []string{word}}).Canonical()
		hash := p.Download.Archive.Hashes["sha256"]
		if err != nil || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
			return nil, nil, failed("pip would install %.100q, without a name, a version or a hash", word)
		}
		all.Pip = append(all.Pip, c.Pip[0])
		hashes[c.Pip[0]] = hash
	}
	if all, err = all.Canonical(); err != nil {
		return nil, nil, failed("what pip would install: %v", err)
	}
	return all.Pip, hashes, nil
}

// pip installs exactly what was locked.
func (b *Builder) pip(ctx context.Context, t *sandbox.Tree, lower string, l *recipe.Locked, out func(string)) error {
	if len(l.Pip) == 0 {
		return nil
	}
	var req strings.Builder
	for _, p := range l.Pip {
		fmt.Fprintf(&req, "%s --hash=sha256:%s\n", p, l.Hashes[p])
	}
	s, err := b.pipStep(lower, fmt.Sprintf("install %d Python packages", len(l.Pip)), req.String(), "--no-deps", "--require-hashes")
	if err != nil {
		return err
	}
	_, err = b.run(ctx, t, s, out)
	return err
}
