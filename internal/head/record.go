package head

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// A record is two lines: one JSON object exactly as encoding/json writes it,
// and the BLAKE3 digest of that line. Anything else is refused, so that a
// flipped byte is noticed also where it would leave valid JSON.

// MaxRecord bounds the record of a head or a version in bytes.
const MaxRecord = 16 << 10

// Encode writes h as a record.
func (h Head) Encode() ([]byte, error) {
	h.Time = h.Time.UTC().Truncate(time.Millisecond)
	if err := h.check(); err != nil {
		return nil, err
	}
	return encode(h, MaxRecord)
}

// DecodeHead reads what Encode wrote for this course; anything else is a *CorruptError.
func DecodeHead(course string, record []byte) (h Head, err error) {
	err = decode("head of "+course, record, &h, MaxRecord)
	if err == nil {
		if err = h.check(); err == nil && h.Course != course {
			err = fmt.Errorf("it is about %q", h.Course)
		}
		if err != nil {
			err = &CorruptError{"head of " + course, err.Error()}
		}
	}
	return h, err
}

func (h Head) check() error {
	if err := CheckCourse(h.Course); err != nil {
		return err
	}
	if h.Sequence == 0 {
		return fmt.Errorf("head of %s: sequence 0", h.Course)
	}
	return CheckVersion(h.Version)
}

// Encode writes v as a record.
func (v Version) Encode() ([]byte, error) {
	v.Time = v.Time.UTC().Truncate(time.Millisecond)
	if err := v.check(); err != nil {
		return nil, err
	}
	return encode(v, MaxRecord)
}

// DecodeVersion reads what Encode wrote for this course and version; anything
// else is a *CorruptError.
func DecodeVersion(course, version string, record []byte) (v Version, err error) {
	name := "version " + version + " of " + course
	err = decode(name, record, &v, MaxRecord)
	if err == nil {
		if err = v.check(); err == nil && (v.Course != course || v.Version != version) {
			err = fmt.Errorf("it is about %s of %q", v.Version, v.Course)
		}
		if err != nil {
			err = &CorruptError{name, err.Error()}
		}
	}
	return v, err
}

func (v Version) check() error {
	if err := CheckCourse(v.Course); err != nil {
		return err
	}
	if err := checkPaths(v.Course, v.Profile); err != nil {
		return err
	}
	return CheckVersion(v.Version)
}

func encode(v any, most int) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	b = append(b, blob.Sum(b).String()+"\n"...)
	if len(b) > most {
		return nil, fmt.Errorf("record of %d bytes exceeds %d", len(b), most)
	}
	return b, nil
}

func decode(name string, record []byte, into any, most int) error {
	if len(record) > most {
		return &CorruptError{name, "too long"}
	}
	line, sum, ok := strings.Cut(string(record), "\n")
	if !ok || sum != blob.Sum([]byte(line+"\n")).String()+"\n" {
		return &CorruptError{name, "its digest does not match"}
	}
	if err := json.Unmarshal([]byte(line), into); err != nil {
		return &CorruptError{name, err.Error()}
	}
	if again, err := encode(into, most); err != nil || !bytes.Equal(again, record) {
		return &CorruptError{name, "not in canonical form"}
	}
	return nil
}
