package head

import (
	"errors"
	"time"
)

// EachVersion is ListVersions of a store that keeps one object a record, by the
// kinds versions, removed and kept. names tells the course's records of a kind
// with the time when each was written; read answers ErrNotFound for one that went
// meanwhile. A record that moves to removed is seen there, because that is looked
// at last.
func EachVersion(course string, names func(kind string) (map[string]time.Time, error), read func(kind, version string) ([]byte, error), fn func(Stored) error) error {
	kept, err := names("kept")
	if err != nil {
		return err
	}
	for _, kind := range []string{"versions", "removed"} {
		found, err := names(kind)
		if err != nil {
			return err
		}
		for version, written := range found {
			record, err := read(kind, version)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			var st Stored
			if st.Version, err = DecodeVersion(course, version, record); err != nil {
				return err
			}
			if _, st.Kept = kept[version]; kind == "removed" {
				st.Removed = written
			}
			if err := fn(st); err != nil {
				return err
			}
		}
	}
	return nil
}
