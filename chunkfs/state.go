package chunkfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/prairielambda/prairielambda/internal/blob"
	"golang.org/x/sys/unix"
)

// State is what node ids mean. It lies in two memory files (memfd), so it
// costs no disk and ends with the mount; a holder keeps the files open and gives
// them to the next daemon, which then understands every id that the kernel still uses.
//
// The first file is a row of slots, 256 bytes each, only ever appended to; a
// row lies in one page, so a killed writer leaves it whole or not there. The second is the contentTable.
type State struct {
	files   [2]*os.File
	content *contentTable

	mu    sync.RWMutex // guards the rest
	slots []slot       // slots[0] is unused
	index map[slotKey]uint32
}

// slot is a course (version is empty) or a version of it.
type slot struct {
	course, version string
	manifest        blob.Digest
	parent          uint32 // the course's slot
	key             uint64 // courseKey
	current         uint32 // of a course: the slot its head named last, or 0
}

type slotKey struct{ course, version string }

const (
	slotSize    = 256
	slotCourse  = 1   // length at 0
	slotVersion = 130 // length at 129
	slotDigest  = 194
	slotCurrent = 228 // aligned to 4
)

// StateFiles is how many files State consists of.
const StateFiles = 2

// NewState makes an empty state.
func NewState() (*State, error) {
	var files [StateFiles]*os.File
	for i := range files {
		fd, err := unix.MemfdCreate("chunkfs-state", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("create state: %w", err)
		}
		files[i] = os.NewFile(uintptr(fd), "chunkfs-state")
	}
	return OpenState(files)
}

// OpenState reads what an earlier daemon left in files, which it then owns.
func OpenState(files [StateFiles]*os.File) (*State, error) {
	s := &State{files: files, slots: make([]slot, 1), index: make(map[slotKey]uint32)}
	st, err := files[0].Stat()
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	raw := make([]byte, st.Size()/slotSize*slotSize)
	if _, err := files[0].ReadAt(raw, 0); err != nil && len(raw) > 0 {
		return nil, fmt.Errorf("read state: %w", err)
	}
	for row := range len(raw) / slotSize {
		if row == 0 {
			continue
		}
		sl, ok := parseSlot(raw[row*slotSize:][:slotSize])
		if !ok {
			return nil, fmt.Errorf("read state: row %d is not a slot", row)
		}
		s.addLocked(sl)
	}
	if s.content, err = openContentTable(files[1]); err != nil {
		return nil, err
	}
	return s, nil
}

// Files are the memory files, for a holder to keep.
func (s *State) Files() [StateFiles]*os.File { return s.files }

// Close unmaps and closes them.
func (s *State) Close() error {
	return errors.Join(s.content.close(), s.files[0].Close(), s.files[1].Close())
}

func parseSlot(b []byte) (sl slot, ok bool) {
	c, v := int(b[0]), int(b[slotVersion-1])
	if c == 0 || c > 128 || v > 64 {
		return slot{}, false
	}
	sl.course, sl.version = string(b[slotCourse:][:c]), string(b[slotVersion:][:v])
	sl.manifest = blob.Digest(b[slotDigest:])
	sl.current = binary.LittleEndian.Uint32(b[slotCurrent:])
	return sl, true
}

func (sl slot) encode() []byte {
	b := make([]byte, slotSize)
	b[0], b[slotVersion-1] = byte(len(sl.course)), byte(len(sl.version))
	copy(b[slotCourse:], sl.course)
	copy(b[slotVersion:], sl.version)
	copy(b[slotDigest:], sl.manifest[:])
	binary.LittleEndian.PutUint32(b[slotCurrent:], sl.current)
	return b
}

func (s *State) addLocked(sl slot) uint32 {
	n := uint32(len(s.slots))
	sl.parent, sl.key = n, courseKey(sl.course)
	if sl.version != "" {
		sl.parent = s.index[slotKey{course: sl.course}]
	}
	s.slots = append(s.slots, sl)
	s.index[slotKey{sl.course, sl.version}] = n
	return n
}

func (s *State) slot(n uint32) (slot, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n == 0 || int(n) >= len(s.slots) {
		return slot{}, false
	}
	return s.slots[n], true
}

func (s *State) find(course, version string) (uint32, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.index[slotKey{course, version}]
	return n, ok
}

// course is the slot of a course, made at the first call.
func (s *State) course(course string) (uint32, error) {
	return s.intern(slot{course: course})
}

// version is the slot of a version, made at the first call.
func (s *State) version(course, version string, m blob.Digest) (uint32, error) {
	if _, err := s.course(course); err != nil {
		return 0, err
	}
	return s.intern(slot{course: course, version: version, manifest: m})
}

// intern writes the row before anybody can see the slot, under the lock because
// rows have to follow each other; a memory file does not block.
func (s *State) intern(sl slot) (uint32, error) {
	if n, ok := s.find(sl.course, sl.version); ok {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.index[slotKey{sl.course, sl.version}]; ok {
		return n, nil
	}
	if _, err := s.files[0].WriteAt(sl.encode(), int64(len(s.slots))*slotSize); err != nil {
		return 0, fmt.Errorf("write state: %w", err)
	}
	return s.addLocked(sl), nil
}

// setCurrent remembers what a course's head named, for a restart with the store down.
func (s *State) setCurrent(course, version uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots[course].current == version {
		return nil
	}
	s.slots[course].current = version
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], version)
	if _, err := s.files[0].WriteAt(b[:], int64(course)*slotSize+slotCurrent); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// living are the versions that a head names or that used says yes to.
func (s *State) living(used func(n uint32) bool) (ns []uint32) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for n, sl := range s.slots {
		if n > 0 && sl.version != "" && (s.slots[sl.parent].current == uint32(n) || used(uint32(n))) {
			ns = append(ns, uint32(n))
		}
	}
	return ns
}

// versions is how many versions have a slot.
func (s *State) versions() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, sl := range s.slots[1:] {
		if sl.version != "" {
			n++
		}
	}
	return n
}
