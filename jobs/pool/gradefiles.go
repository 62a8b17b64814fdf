package pool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/grade"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// copyIn puts a file or directory of a version into a grader's tree. Links stay
// links: they mean something inside, and nothing here follows them.
func copyIn(tree *grade.Tree, version *os.File, from, to string) error {
	dir, err := sandbox.OpenBeneath(version, from)
	if errors.Is(err, fs.ErrNotExist) {
		f, err := openFile(version, from)
		if err != nil {
			return err
		}
		defer f.Close()
		return copyFile(tree, f, to)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", from, err)
	}
	defer dir.Close()
	root := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	return fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		name := path.Join(to, p)
		switch {
		case d.IsDir():
			return addEntry(tree, name, sandbox.Entry{Dir: true})
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path.Join(root, p))
			if err != nil {
				return fmt.Errorf("read %s: %w", from, err)
			}
			return addEntry(tree, name, sandbox.Entry{Link: link})
		case !d.Type().IsRegular():
			return nil // a course has none
		}
		f, err := openFile(dir, p)
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		defer f.Close()
		return copyFile(tree, f, name)
	})
}

func copyFile(tree *grade.Tree, f *os.File, to string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, tree.Room()+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return addEntry(tree, to, sandbox.Entry{Content: b, Exec: st.Mode()&0o111 != 0})
}

// addEntry blames the question for what its tree cannot hold.
func addEntry(tree *grade.Tree, name string, e sandbox.Entry) error {
	if err := tree.Add(name, e); err != nil {
		return &jobs.Error{Code: "grader_missing", Outcome: jobs.QuestionError, Message: err.Error()}
	}
	return nil
}

// readFile reads a regular file below dir whole, if it is no larger than most.
func readFile(dir *os.File, p string, most int64) ([]byte, error) {
	f, err := openFile(dir, p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, ungradable("%s is larger than %d bytes", p, most)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return b, nil
}
