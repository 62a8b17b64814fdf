package jobs

// VersionInfo answers GET /v1/versions/{course}/{version} of a worker.
type VersionInfo struct {
	Course  string            `json:"course"`
	Version string            `json:"version"` // the version itself, never "current"
	Chunks  map[string]string `json:"chunks"`  // name of a chunk -> digest of its content
}

// Status answers GET /v1/status of a worker.
type Status struct {
	// Name stays the same when the worker starts again in the same place (its
	// allocation's or its spool's name); empty where it has none.
	Name     string    `json:"name,omitempty"`
	Tier     string    `json:"tier"` // root, userns or reduced
	Runtimes []Runtime `json:"runtimes"`
	Slots    int       `json:"slots"` // sandboxes that may run at once
	Busy     int       `json:"busy"`  // sandboxes that run now
	Taken    uint64    `json:"taken"` // requests let in since it began
	Draining bool      `json:"draining"`
}

// Runtime is a language and version that a worker offers.
type Runtime struct {
	Name    string   `json:"name"`    // "python"
	Version string   `json:"version"` // "3.11"
	Aliases []string `json:"aliases,omitempty"`
	Modes   []string `json:"modes,omitempty"` // of programs: run, compile, submit, prove, ...

	Environment string `json:"environment,omitempty"` // what is installed, in a line for people
	// Digest covers everything besides course and input that decides a result:
	// interpreter, libraries, our shim. Caches key on it.
	Digest string `json:"digest,omitempty"`
}

// CurrentVersion is the version name that a worker or gateway resolves.
const CurrentVersion = "current"
