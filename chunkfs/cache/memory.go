package cache

import (
	"container/list"
	"sync"

	"github.com/prairielambda/prairielambda/internal/blob"
)

// memory holds verified blobs by recency, up to a number of bytes. Slices are
// shared and never written; the garbage collector frees an evicted one when its last reader is done.
type memory struct {
	max int64

	mu    sync.Mutex // guards the rest
	items map[blob.Digest]*list.Element
	order *list.List // of memItem, most recently used first
	bytes int64
}

type memItem struct {
	digest blob.Digest
	data   []byte
}

func newMemory(maxBytes int64) *memory {
	return &memory{max: maxBytes, items: make(map[blob.Digest]*list.Element), order: list.New()}
}

func (m *memory) get(d blob.Digest) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.items[d]
	if !ok {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(memItem).data, true
}

func (m *memory) has(d blob.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.items[d]
	return ok
}

func (m *memory) put(d blob.Digest, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.items[d]; ok || int64(len(data)) > m.max {
		return
	}
	m.items[d] = m.order.PushFront(memItem{d, data})
	m.bytes += int64(len(data))
	for m.bytes > m.max {
		last := m.order.Back()
		it := m.order.Remove(last).(memItem)
		delete(m.items, it.digest)
		m.bytes -= int64(len(it.data))
	}
}

func (m *memory) size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}
