package chunkfs

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// Environments lie below /.env/<name>/<digest>, as root filesystems that a
// sandbox can take for its own; /.env/<name>/<digest>.json are their settings,
// and /.env/<name>/current leads to the newest. In the store each is a course
// under a name that courses cannot have, whose tree holds config.json and root.
//
// They show modes, owners and device numbers as they are, and none of it does
// anything: the mount is nosuid and nodev. Extended attributes stay in the store.
const (
	envDirName        = ".env"
	envDirNode uint64 = 4

	envConfig, envRoot = 1, 2 // entries of an environment's tree
	envConfigSuffix    = ".json"
)

func (f *FS) lookupEnvDir(ctx context.Context, out *fuse.EntryOut) fuse.Status {
	out.NodeId = envDirNode
	out.SetEntryTimeout(forever)
	f.dirAttr(envDirNode, f.listedAt(ctx, envDirNode), &out.Attr)
	return fuse.OK
}

func (f *FS) lookupEnv(ctx context.Context, name string, out *fuse.EntryOut) fuse.Status {
	if head.CheckEnv(name) != nil {
		return fuse.ENOENT
	}
	return f.lookupNamed(ctx, head.EnvCourse(name), out)
}

// lookupEnvVersion finds <digest>, <digest>.json or @<course>@<version>.
func (f *FS) lookupEnvVersion(ctx context.Context, env, name string, out *fuse.EntryOut) fuse.Status {
	if course, version, pin := cutPin(name); pin {
		return f.lookupPin(ctx, env, course, version, out)
	}
	digest, isConfig := strings.CutSuffix(name, envConfigSuffix)
	if head.CheckVersion(digest) != nil {
		return fuse.ENOENT
	}
	slot, err := f.heads.version(ctx, env, digest)
	if err != nil {
		return f.errno("lookup", err)
	}
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return f.errno("lookup", err)
	}
	if v.Kind() != manifest.Tree || v.Len() <= envRoot || v.Type(envConfig) != manifest.File || v.Type(envRoot) != manifest.Dir {
		return f.errno("lookup", fmt.Errorf("%s/%s is no environment", env, digest))
	}
	i := envRoot
	if isConfig {
		i = envConfig
	}
	e := v.Entry(i)
	out.NodeId = f.nodeOf(v, i, &e)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	f.entryAttr(v, i, &e, out.NodeId, &out.Attr)
	return fuse.OK
}

func cutPin(name string) (course, version string, ok bool) {
	if rest, pin := strings.CutPrefix(name, "@"); pin {
		course, version, ok = strings.Cut(rest, "@")
	}
	return course, version, ok && head.CheckCourse(course) == nil && head.CheckVersion(version) == nil
}

// lookupPin answers with the link to a digest that a version's record holds.
func (f *FS) lookupPin(ctx context.Context, env, course, version string, out *fuse.EntryOut) fuse.Status {
	slot, err := once(ctx, f, "pin "+env+"@"+course+"@"+version, func(ctx context.Context) (uint32, error) {
		v, err := f.cfg.Heads.GetVersion(ctx, course, version)
		if err != nil {
			return 0, err
		}
		name, _ := head.EnvName(env)
		digest, ok := v.Environments[name]
		if !ok || head.CheckVersion(digest) != nil {
			return 0, fmt.Errorf("%s/%s names no environment %s: %w", course, version, name, head.ErrNotFound)
		}
		return f.heads.version(ctx, env, digest)
	})
	if err != nil {
		return f.errno("lookup", err)
	}
	sl, _ := f.state.slot(slot)
	out.NodeId = placeNode(slot, linkEntry)
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	f.linkAttr(out.NodeId, sl, &out.Attr)
	return fuse.OK
}

// listCourses lists the courses, or the environments, of the store.
func (f *FS) listCourses(ctx context.Context, envs bool) (entries []fuse.DirEntry, err error) {
	courses, err := f.cfg.Heads.List(ctx)
	for _, c := range courses {
		name, is := head.EnvName(c)
		if is == envs {
			entries = append(entries, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR})
		}
	}
	return entries, err
}

func isEnv(course string) bool {
	_, is := head.EnvName(course)
	return is
}
