package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// tripLog notes when each request to a far store began and ended, one line each,
// for the process that measures. The same for us and for every peer.
type tripLog struct {
	mu   sync.Mutex // guards file
	file *os.File
}

func openTrips(path string) (*tripLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &tripLog{file: f}, err
}

// far takes the time of a round trip, then does what the store does.
func (l *tripLog) far(delay time.Duration, do func()) {
	start := time.Now()
	time.Sleep(delay)
	do()
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.file, start.UnixNano(), time.Now().UnixNano())
}

type trip struct{ start, end int64 }

// sample is what one measurement took: its time, its requests to the store, and
// how many of them in turn, each begun after the one before had ended. In turn is the
// least number of round trips that the reader waited for.
type sample struct {
	took         time.Duration
	gets, inTurn int
}

// counted measures f.
func (b *bench) counted(f func() error) (s sample, err error) {
	path := filepath.Join(b.dir, "trips")
	before, _ := os.ReadFile(path)
	if s.took, err = timed(f); err != nil {
		return s, err
	}
	time.Sleep(2 * time.Millisecond) // the last line is written after the answer
	all, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	var trips []trip
	for line := range strings.Lines(string(all[len(before):])) {
		var t trip
		if _, err := fmt.Sscan(line, &t.start, &t.end); err != nil {
			return s, err
		}
		trips = append(trips, t)
	}
	slices.SortFunc(trips, func(a, b trip) int { return cmp.Compare(a.end, b.end) })
	s.gets = len(trips)
	last := int64(0)
	for _, t := range trips {
		if t.start >= last {
			s.inTurn++
			last = t.end
		}
	}
	return s, nil
}

// medianOf is the median of n samples, of each figure for itself.
func (b *bench) medianOf(measure func(i int) (sample, error)) (m sample, err error) {
	var took []time.Duration
	var gets, inTurn []int
	for i := range b.n {
		s, err := measure(i)
		if err != nil {
			return m, err
		}
		took, gets, inTurn = append(took, s.took), append(gets, s.gets), append(inTurn, s.inTurn)
	}
	slices.Sort(gets)
	slices.Sort(inTurn)
	return sample{middle(took), gets[b.n/2], inTurn[b.n/2]}, nil
}
