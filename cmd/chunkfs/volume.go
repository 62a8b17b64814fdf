package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prairielambda/prairielambda/chunkfs"
	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/internal/head"
)

// volumeCommand answers Nomad, which calls a dynamic host volume plugin with an
// operation as its argument and the rest in its environment. A volume is a
// directory of the mount, so there is nothing to make and nothing to delete.
func volumeCommand() *cli.Command {
	var mount string
	return &cli.Command{
		Name: "volume", Usage: "create|delete|fingerprint", Short: "give a Nomad job one version of a course as a volume",
		Long: `Nomad calls this through its plugin directory; see nomad/plugins/chunkfs. A volume's parameters are course and
version, which is "current" where there is none: the version that is current when the volume is made, from then on.`,
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&mount, "mount", "/courses", "mount point of chunkfs on every client")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("want one operation")
			}
			answer := map[string]any{}
			var err error
			switch args[0] {
			case "fingerprint":
				answer["version"] = "1.0.0"
			case "create":
				answer["path"], err = volume(ctx, mount, os.Getenv("DHV_PARAMETERS"))
				answer["bytes"] = 1 // Nomad wants some
			case "delete":
			default:
				return cli.Usagef("unknown operation %q", args[0])
			}
			if err != nil {
				answer = map[string]any{"error": err.Error()} // what the operator reads
			}
			return errors.Join(err, json.NewEncoder(env.Stdout).Encode(answer))
		},
	}
}

// volume returns the directory of the version that parameters name.
func volume(ctx context.Context, mount, parameters string) (string, error) {
	var p struct {
		Course  string `json:"course"`
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(parameters), &p); err != nil {
		return "", fmt.Errorf("parameters of the volume: %w", err)
	}
	if err := head.CheckCourse(p.Course); err != nil {
		return "", fmt.Errorf("parameter course: %w", err)
	}
	if p.Version == "" {
		p.Version = "current"
	}
	if p.Version != "current" {
		if err := head.CheckVersion(p.Version); err != nil {
			return "", fmt.Errorf("parameter version: %w", err)
		}
	}
	if err := chunkfs.Answers(ctx, mount); err != nil {
		return "", fmt.Errorf("the mount of courses: %w", err)
	}
	course := filepath.Join(mount, p.Course)
	if p.Version == "current" {
		// Resolved once: what a job reads does not change under it.
		target, err := os.Readlink(filepath.Join(course, "current"))
		if err != nil {
			return "", missing(p.Course, p.Version, err)
		}
		if p.Version = filepath.Base(target); head.CheckVersion(p.Version) != nil {
			return "", fmt.Errorf("%s: current leads to %q", p.Course, target)
		}
	}
	dir := filepath.Join(course, p.Version)
	st, err := os.Lstat(dir)
	if err != nil {
		return "", missing(p.Course, p.Version, err)
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%s@%s is no version", p.Course, p.Version)
	}
	return dir, nil
}

func missing(course, version string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the store has no %s@%s", course, version)
	}
	return fmt.Errorf("look for %s@%s: %w", course, version, err)
}
