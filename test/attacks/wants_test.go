package attacks

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

// want is an attack's pass condition on what came out of the sandbox; the world's
// own conditions hold for all of them besides. Where nothing is named, the
// program must have been refused.
type want func(result) bool

func refused(r result) bool { return r.Outcome == jobs.OK && len(r.got) == 2 && r.got[0] == "refused" }

// contained: whatever it says, the world stands.
func contained(result) bool { return true }

func done(v any) want {
	b, _ := json.Marshal(v)
	return func(r result) bool {
		if r.Outcome != jobs.OK || len(r.got) != 2 || r.got[0] != "done" {
			return false
		}
		g, _ := json.Marshal(r.got[1])
		return string(g) == string(b)
	}
}

func ends(o ...jobs.Outcome) want {
	return func(r result) bool { return slices.Contains(o, r.Outcome) }
}

func either(ws ...want) want {
	return func(r result) bool { return slices.ContainsFunc(ws, func(w want) bool { return w(r) }) }
}

func both(a, b want) want { return func(r result) bool { return a(r) && b(r) } }

// value gives what the program found to f.
func value(f func(v any) bool) want {
	return func(r result) bool {
		return r.Outcome == jobs.OK && len(r.got) == 2 && r.got[0] == "done" && f(r.got[1])
	}
}

var (
	timeout    = ends(jobs.Timeout)
	oom        = ends(jobs.OutOfMemory)
	killed     = ends(jobs.Killed)
	tooLarge   = ends(jobs.OutputTooLarge)
	fault      = ends(jobs.QuestionError)
	leftBehind = either(done("left one behind"), timeout) // an interpreter may wait for its own threads
)

var wants = map[string]want{
	// files
	"list_other_questions":    done([]string{"files"}),
	"list_the_root":           value(func(v any) bool { return !strings.Contains(str(v), "work") && strings.Contains(str(v), "course") }),
	"read_worker_environment": value(func(v any) bool { return !strings.Contains(str(v), "PRAIRIE") }),
	"own_environment":         value(func(v any) bool { return !strings.Contains(str(v), "PRAIRIE") && strings.Contains(str(v), "HOME") }),
	"suid_copy":               value(func(v any) bool { ids := v.([]any); return ids[0] == ids[1] && ids[0] != 0.0 }),
	"leave_files_behind":      done([]string{}),
	"evil_names":              contained,
	"a_million_missing_names": either(timeout, value(func(v any) bool { return v == nil })),

	// kernel
	"descriptors":         done([]int{0, 1, 2, 3}),
	"descriptor_targets":  done([]string{"/dev/null", "pipe", "pipe", "socket"}),
	"pass_descriptors_up": either(killed, fault, contained),
	"see_processes":       done([]string{"1"}),
	"own_pid":             done(1),
	"proc_one_root":       value(func(v any) bool { return !strings.Contains(str(v), "work") }),
	"abort_with_core":     killed,
	"int_0x80":            killed,
	"unknown_numbers":     done([]int{}),
	"capabilities":        done([]string{zeroCaps, zeroCaps, zeroCaps, zeroCaps, zeroCaps}),
	"exec_setuid_program": either(refused, timeout), // PAM takes its time to say no

	// between sandboxes
	"kill_everyone":     contained,
	"kill_group":        contained,
	"renice_user":       contained,
	"flock_course":      done("the same whoever holds it"),
	"posix_lock_course": done("the same whoever holds it"),
	"interfaces":        either(refused, done([]string{"lo"})),
	"host_name":         done("sandbox"),
	"own_cgroup":        either(done([]string{"/"}), done([]string{})),
	"own_user":          value(func(v any) bool { ids := v.([]any); return ids[0] != 0.0 && ids[0] == ids[1] }),

	// resources
	"fork_bomb":                    either(timeout, killed),
	"thread_bomb":                  either(refused, timeout),
	"process_limit":                value(func(v any) bool { n := v.(float64); return n > 5 && n <= 24 }),
	"anonymous_memory":             either(oom, refused),
	"shared_anonymous_memory":      either(oom, refused),
	"hold_too_much_memory":         either(oom, refused),
	"memory_in_children":           either(timeout, oom),
	"memfd_memory":                 either(oom, refused),
	"pipe_memory":                  either(refused, oom),
	"directories_deep":             either(refused, timeout),
	"busy_loop":                    timeout,
	"busy_loop_in_c":               timeout,
	"catastrophic_regex":           timeout,
	"busy_loop_ignoring_signals":   timeout,
	"busy_children":                timeout,
	"sleep_past_the_limit":         timeout,
	"stop_itself":                  timeout,
	"flood_stdout":                 tooLarge,
	"flood_stderr":                 tooLarge,
	"flood_the_result":             either(tooLarge, fault, oom),
	"drip_the_result":              timeout,
	"deep_recursion_without_limit": either(killed, oom, timeout, refused),
	"stack_overflow_in_c":          either(killed, oom, timeout, refused),
	"grandchild_holds_stdout":      leftBehind,
	"stopped_grandchild":           leftBehind,
	"ignore_all_and_linger":        leftBehind,
	"vfork_storm":                  either(timeout, refused),

	// interpreter
	"sys_exit":                either(killed, fault),
	"system_exit_with_text":   either(killed, fault),
	"keyboard_interrupt":      either(killed, fault),
	"os_exit":                 killed,
	"segfault":                killed,
	"bus_error":               either(killed, contained),
	"exec_another_program":    killed,
	"close_the_channel":       either(killed, timeout),
	"close_everything":        either(killed, timeout),
	"poison_builtins":         either(done(false), killed, fault),
	"poison_modules":          done(false),
	"poison_home":             done(false),
	"import_hook":             done(false),
	"search_memory":           value(func(v any) bool { return v.(float64) <= 3 }),
	"keep_a_secret":           refused, // it was given none
	"preload_environment":     done([]string{}),
	"host_paths_in_traceback": contained,
	"tracing_others":          done(0),
	"alarm_between_calls":     either(killed, contained),
	"threads_that_outlive":    leftBehind,
	"atexit_that_hangs":       leftBehind,
	"finalizer_that_hangs":    leftBehind,

	// protocol
	"lying_length":                     tooLarge,
	"partial_frame":                    killed,
	"empty_frame":                      killed,
	"not_json":                         killed,
	"forged_timeout":                   killed,
	"forged_missing":                   killed,
	"forged_outcome":                   killed,
	"forged_usage":                     both(ends(jobs.OK), func(r result) bool { return r.Wall > 0 && r.Output == "" }),
	"nested_json":                      either(killed, contained),
	"duplicate_keys":                   either(killed, ends(jobs.OK)),
	"two_answers":                      done("first"),
	"huge_number":                      contained,
	"terminal_escapes":                 done("printed"),
	"output_that_is_not_utf8":          done("printed"),
	"output_like_a_frame":              done("printed"),
	"surrogates_in_result":             either(fault, contained),
	"nan_in_result":                    fault,
	"fill_the_channel_without_reading": either(killed, tooLarge, ends(jobs.OK)),
}

// endless are the attacks that only a limit of time ends.
var endless = []string{
	"exec_setuid_program", "a_million_missing_names", "fork_bomb", "thread_bomb", "memory_in_children", "directories_deep",
	"busy_loop", "busy_loop_in_c", "catastrophic_regex", "busy_loop_ignoring_signals", "busy_children", "sleep_past_the_limit",
	"stop_itself", "drip_the_result", "vfork_storm", "close_the_channel", "close_everything", "threads_that_outlive",
	"atexit_that_hangs", "finalizer_that_hangs", "forged_usage",
}

const zeroCaps = "0000000000000000"

func str(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
