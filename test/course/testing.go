package course

// TB is what the helpers below need of a *testing.T, *testing.B or *rapid.T.
// It keeps the testing package out of binaries that only write courses.
type TB interface {
	Helper()
	TempDir() string
	Fatal(args ...any)
}

// Sample returns the sample course as a repository in a directory of t's own.
func Sample(t TB) *Repo {
	t.Helper()
	return repo(t, WriteSample)
}

// Node returns the Node course as a repository in a directory of t's own.
func Node(t TB) *Repo {
	t.Helper()
	return repo(t, WriteNode)
}

func repo(t TB, write func(dir string) error) *Repo {
	t.Helper()
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	rev, err := GitInit(dir, "The course as it is written")
	if err != nil {
		t.Fatal(err)
	}
	return &Repo{Dir: dir, Rev: rev}
}
