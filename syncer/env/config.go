package env

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Config are the settings that come with an environment, as config.json holds them.
type Config struct {
	Env        []string `json:"env,omitempty"` // NAME=value
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	WorkDir    string   `json:"workdir,omitempty"`
	User       string   `json:"user,omitempty"`
	Platform   string   `json:"platform,omitempty"` // os/architecture
	Recipe     string   `json:"recipe,omitempty"`   // digest of the resolved recipe that it was built from
}

// Bounds of settings. Real images have some ten variables.
const (
	maxConfigBlob = 4 << 20 // of an image's own config, history and all
	maxSettings   = 256 << 10
	maxVariables  = 1000
	maxLayers     = 200
)

// imageConfig is what we read of an OCI or Docker image's config.
type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		Env        []string `json:"Env"`
		Entrypoint []string `json:"Entrypoint"`
		Cmd        []string `json:"Cmd"`
		WorkingDir string   `json:"WorkingDir"`
		User       string   `json:"User"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig reads an image's config and refuses unreasonable ones.
func parseConfig(b []byte) (c Config, diffIDs []string, err error) {
	if len(b) > maxConfigBlob {
		return c, nil, refused("the image's config has more than %d bytes", maxConfigBlob)
	}
	var i imageConfig
	if err := json.Unmarshal(b, &i); err != nil {
		return c, nil, refused("the image's config is no JSON object of the right shape: %v", err)
	}
	if len(i.RootFS.DiffIDs) > maxLayers {
		return c, nil, refused("the image has %d layers, more than %d", len(i.RootFS.DiffIDs), maxLayers)
	}
	c = Config{
		Env: i.Config.Env, Entrypoint: i.Config.Entrypoint, Cmd: i.Config.Cmd, WorkDir: i.Config.WorkingDir, User: i.Config.User,
	}
	if i.OS != "" || i.Architecture != "" {
		c.Platform = i.OS + "/" + i.Architecture
	}
	return c, i.RootFS.DiffIDs, c.Check()
}

// Check refuses settings that no sandbox could be given.
func (c *Config) Check() error {
	if len(c.Env) > maxVariables {
		return refused("the config sets %d environment variables, more than %d", len(c.Env), maxVariables)
	}
	for _, v := range c.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return refused("the config's environment variable %.60q is not NAME=value", v)
		}
	}
	total := 0
	for _, list := range [][]string{c.Env, c.Entrypoint, c.Cmd, {c.WorkDir, c.User, c.Platform, c.Recipe}} {
		for _, s := range list {
			if strings.ContainsRune(s, 0) {
				return refused("the config holds a NUL character")
			}
			total += len(s)
		}
	}
	if total > maxSettings {
		return refused("the config's settings have %d bytes, more than %d", total, maxSettings)
	}
	return nil
}

// Encode writes c as config.json.
func (c *Config) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(c); err != nil {
		return nil, fmt.Errorf("encode the config: %w", err)
	}
	return b.Bytes(), nil
}

// readBounded reads all of r, which may have at most max bytes.
func readBounded(r io.Reader, max int64, what string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if int64(len(b)) > max {
		return nil, refused("%s has more than %d bytes", what, max)
	}
	return b, nil
}
