package headtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
)

// Node makes a node's name out of a number.
func Node(n int) string { return fmt.Sprintf("%032x", n) }

func seen(course string, node int, paths ...string) head.Profile {
	return head.Profile{Course: course, Node: Node(node), Time: time.UnixMilli(1_700_000_000_123).UTC(), Paths: paths}
}

func profiles(t *testing.T, s head.Store) {
	ctx := t.Context()
	read := func(course string) map[string][]string {
		all, err := s.Profiles(ctx, course)
		require.NoError(t, err)
		got := map[string][]string{}
		for _, p := range all {
			require.Equal(t, course, p.Course)
			got[p.Node] = p.Paths
		}
		require.Len(t, got, len(all), "one of each node")
		return got
	}
	require.Empty(t, read("c"))
	require.NoError(t, s.PutProfile(ctx, seen("c", 1, "a/b", "c")))
	require.NoError(t, s.PutProfile(ctx, seen("c", 2, "a/b")))
	require.NoError(t, s.PutProfile(ctx, seen("d", 1, "d")))
	require.NoError(t, s.PutProfile(ctx, seen("c", 1, "e", "<é>")))
	require.Equal(t, map[string][]string{Node(1): {"e", "<é>"}, Node(2): {"a/b"}}, read("c"))
	require.Equal(t, map[string][]string{Node(1): {"d"}}, read("d"))
	one, err := s.Profile(ctx, "c", Node(1))
	require.NoError(t, err)
	require.Equal(t, seen("c", 1, "e", "<é>"), one)
	for _, c := range []string{"c", "d", "e"} {
		_, err = s.Profile(ctx, c, Node(3))
		require.ErrorIs(t, err, head.ErrNotFound)
	}
	_, err = s.Profile(ctx, "c", "../"+Node(1)[3:])
	require.Error(t, err)
	names, err := s.Courses(ctx)
	require.NoError(t, err)
	require.Empty(t, names, "a profile alone is no course")

	require.NoError(t, s.Sweep(ctx, time.Now().Add(-time.Hour), nil))
	require.Len(t, read("c"), 2, "young")
	require.NoError(t, s.Sweep(ctx, time.Now().Add(time.Hour), map[string]bool{"c/" + Node(2): true}))
	require.Equal(t, map[string][]string{Node(2): {"a/b"}}, read("c"), "kept, however old")
	require.Empty(t, read("d"))
	require.NoError(t, s.Sweep(ctx, time.Now().Add(time.Hour), nil))
	require.Empty(t, read("c"))
	require.NoError(t, s.PutProfile(ctx, seen("c", 1, "a")))
	require.Len(t, read("c"), 1)

	long := seen("env.e", 1, many(head.MaxEnvProfile-2)...)
	long.Paths = append(long.Paths, "root/lib.so", "root/lib.so//30")
	require.NoError(t, s.PutProfile(ctx, long))
	one, err = s.Profile(ctx, "env.e", Node(1))
	require.NoError(t, err)
	require.Equal(t, long.Paths, one.Paths, "an environment's start is long, and names blocks")

	for _, bad := range []head.Profile{
		seen("c", 1, "lib.so//30"), seen("env.e", 1, many(head.MaxEnvProfile+1)...), seen("env.e", 1, "a//b"), seen("env.e", 1, "a//01"), seen("env.e", 1, "a//-1"),
		seen("env.e", 1, "//1"), seen("env.e", 1, "a//1//2"), seen("env.e", 1, strings.Repeat("x", head.MaxProfileRecord)),
		seen("../c", 1),
		{Course: "c", Node: "../" + Node(1)[3:]},
		{Course: "c", Node: Node(1) + "0"},
		seen("c", 1, ""), seen("c", 1, "."), seen("c", 1, "/a"),
		seen("c", 1, "a/../b"), seen("c", 1, "a", "a"), seen("c", 1, "a\xff"), seen("c", 1, strings.Repeat("x", head.MaxRecord)), seen("c", 1, many(head.MaxProfile+1)...),
	} {
		require.Error(t, s.PutProfile(ctx, bad), bad)
	}
	_, err = s.Profiles(ctx, "..")
	require.Error(t, err)
}

func many(n int) (paths []string) {
	for i := range n {
		paths = append(paths, fmt.Sprintf("elements/e%d.py", i))
	}
	return paths
}
