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

// lookupEnvVersion finds <digest> or <digest>.json.
func (f *FS) lookupEnvVersion(ctx context.Context, course, name string, out *fuse.EntryOut) fuse.Status {
	digest, isConfig := strings.CutSuffix(name, envConfigSuffix)
	if head.CheckVersion(digest) != nil {
		return fuse.ENOENT
	}
	slot, err := f.heads.version(ctx, course, digest)
	if err != nil {
		return f.errno("lookup", err)
	}
	v, err := f.versions.get(ctx, slot)
	if err != nil {
		return f.errno("lookup", err)
	}
	if v.Kind() != manifest.Tree || v.Len() <= envRoot || v.Type(envConfig) != manifest.File || v.Type(envRoot) != manifest.Dir {
		return f.errno("lookup", fmt.Errorf("%s/%s is no environment", course, digest))
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
