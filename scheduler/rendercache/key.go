package rendercache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

// Key names one result. Equal keys mean equal results.
type Key [sha256.Size]byte

// String is the key in hex.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Version is what one course version holds, prepared for making keys. It is
// immutable and safe for concurrent use.
type Version struct {
	course string
	chunks map[string]string
	common [sha256.Size]byte // the chunks that every call sees
}

// Chunks of these families are seen only by calls that name them.
var named = [...]string{
	"question/", "clientFilesCourseInstance/", "serverFilesCourseInstance/", "clientFilesAssessment/",
}

// NewVersion prepares what a worker said of a version.
func NewVersion(info *jobs.VersionInfo) *Version {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(info.Chunks)) {
		if !slices.ContainsFunc(named[:], func(f string) bool { return strings.HasPrefix(name, f) }) {
			field(h, name)
			field(h, info.Chunks[name])
		}
	}
	if len(info.Chunks) == 0 { // nothing is known of what it holds
		field(h, "version")
		field(h, info.Version)
	}
	v := &Version{course: info.Course, chunks: info.Chunks}
	h.Sum(v.common[:0])
	return v
}

// Input is everything that decides what one call in a sandbox of its own answers.
type Input struct {
	Runtime string // digest of the worker's runtimes
	Version *Version
	Call    jobs.Call
	// Question, CourseInstance and Assessment are those of the invocation.
	Question, CourseInstance, Assessment string

	Data   json.RawMessage
	Limits jobs.Limits
}

// Key returns the input's key, or false for calls whose result may not be kept:
// other methods than render and file, which are pure by contract; calls without
// a seed, which draw fresh random numbers; and workers that did not tell their
// runtimes.
//
// Data is compared without white space but with its order of keys and its way of
// writing numbers and strings: Python dicts remember the one, and 1 and 1.0
// differ in the other.
func (in Input) Key() (k Key, ok bool) {
	if in.Runtime == "" || in.Call.Method != "render" && in.Call.Method != "file" || !seeded(in.Data) {
		return k, false
	}
	var data bytes.Buffer
	if json.Compact(&data, in.Data) != nil {
		return k, false
	}
	h := sha256.New()
	field(h, "prairielambda render 1")
	field(h, in.Runtime)
	field(h, in.Version.course)
	h.Write(in.Version.common[:])
	for _, name := range []string{
		"question/" + in.Question,
		"clientFilesCourseInstance/" + in.CourseInstance,
		"serverFilesCourseInstance/" + in.CourseInstance,
		"clientFilesAssessment/" + in.CourseInstance + "/" + in.Assessment,
	} {
		field(h, name)
		field(h, in.Version.chunks[name])
	}
	field(h, string(in.Call.Type))
	field(h, in.Call.Name)
	field(h, in.Call.Method)
	if in.Call.HTML != nil {
		field(h, "html")
		field(h, *in.Call.HTML)
	} else {
		field(h, "")
	}
	for _, n := range []int64{
		int64(in.Limits.Wall), int64(in.Limits.CPU), in.Limits.Memory, int64(in.Limits.Processes),
		in.Limits.Output, in.Limits.Result, in.Limits.Files,
	} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	h.Write(data.Bytes()) // last, so it needs no length
	h.Sum(k[:0])
	return k, true
}

// field adds one field; its length keeps it apart from its neighbours.
func field(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}

func seeded(data json.RawMessage) bool {
	var d map[string]json.RawMessage // a struct's field would take VARIANT_SEED for it too
	seed := json.RawMessage(nil)
	if json.Unmarshal(data, &d) == nil {
		seed = d["variant_seed"]
	}
	return len(seed) > 0 && string(seed) != "null"
}
