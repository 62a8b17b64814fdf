package nomad

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// A volume of the plugin is one version of a course in a job of the exec driver:
// read-only, and a setuid program in it stays one like any other.
func jobsMountCoursesAsVolumes(t *testing.T, c *Cluster, d *Deployment) {
	course := filepath.Join(t.TempDir(), "course")
	require.NoError(t, os.CopyFS(course, os.DirFS(filepath.Join(Root(), "test/course/sample"))))
	trap := filepath.Join(course, "serverFilesCourse", "visitor")
	build := exec.Command("go", "build", "-o", trap, "./testdata/visitor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Chmod(trap, 0o755|os.ModeSetuid))
	require.NoError(t, d.Push("volumes", course))
	create := func(name, parameters string) error {
		spec := filepath.Join(t.TempDir(), name+".hcl")
		text := fmt.Sprintf("type = \"host\"\nname = %q\nplugin_id = \"chunkfs\"\ncapability {\n  access_mode = \"single-node-reader-only\"\n  attachment_mode = \"file-system\"\n}\nparameters {\n%s\n}\n", name, parameters)
		require.NoError(t, os.WriteFile(spec, []byte(text), 0o644))
		_, err := d.Agent.CLI("volume", "create", spec)
		return err
	}
	for _, n := range c.clients() {
		require.NoError(t, Await(t.Context(), "the new course", func() error { _, err := os.Stat(n.Path(filepath.Join(d.Mount(), "volumes/current/"))); return err }))
	}
	require.ErrorContains(t, create("none", `course = "nothing"`), "has no nothing@current")
	require.ErrorContains(t, create("evil", `course = "../../etc"`), "course")
	require.ErrorContains(t, create("evil", "course = \"volumes\"\nversion = \"..\""), "version")
	require.NoError(t, create("volumes", `course = "volumes"`))

	job := api.NewBatchJob("volume-user", "volume-user", "global", 50)
	job.Datacenters = []string{"*"}
	group := api.NewTaskGroup("g", 1)
	group.Volumes = map[string]*api.VolumeRequest{"c": {Type: "host", Source: "volumes", ReadOnly: true, AccessMode: "single-node-reader-only", AttachmentMode: "file-system"}}
	group.RestartPolicy = &api.RestartPolicy{Attempts: new(int), Mode: new("fail")}
	task := api.NewTask("t", "exec")
	task.User = "nobody"
	task.VolumeMounts = []*api.VolumeMount{{Volume: new("c"), Destination: new("/course"), ReadOnly: new(true)}}
	task.Config = map[string]any{"command": "/course/serverFilesCourse/visitor"}
	group.AddTask(task)
	job.AddTaskGroup(group)
	_, _, err = d.Agent.Client.Jobs().Register(job, nil)
	require.NoError(t, err)
	var alloc string
	require.NoError(t, Await(t.Context(), "the job with the volume", func() error {
		list, _, err := d.Agent.Client.Jobs().Allocations("volume-user", false, nil)
		if err != nil || len(list) == 0 {
			return fmt.Errorf("no allocation: %w", err)
		}
		alloc = list[0].ID
		if s := list[0].ClientStatus; s != "complete" && s != "failed" {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	}))
	log := d.inAlloc(t, alloc, "alloc/logs/t.stdout.0")
	var said string
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(log)
		said = string(b)
		return strings.Contains(said, "mode")
	}, 20*time.Second, 50*time.Millisecond, "its log")
	require.Equal(t, "read true <nil>\nuser 65534\nwrote false\nwrote false\nwrote false\nremoved false\nmode false\n", said, "nobody stays nobody and changes nothing")

	_, err = d.Agent.CLI("job", "stop", "-purge", "volume-user")
	require.NoError(t, err)
	vols, _, err := d.Agent.Client.HostVolumes().List(nil, nil)
	require.NoError(t, err)
	require.Len(t, vols, 1)
	require.NoError(t, Await(t.Context(), "the volume's release", func() error {
		_, err := d.Agent.CLI("volume", "delete", "-type", "host", vols[0].ID)
		return err
	}))
	for _, n := range c.clients() {
		require.FileExists(t, n.Path(filepath.Join(d.Mount(), "volumes/current/infoCourse.json")), "what a volume was stays")
	}
}
