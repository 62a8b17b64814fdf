package manifest

import (
	"encoding/binary"
	"sort"
)

// attrTable holds each different Attr once, in order of first use.
type attrTable struct {
	of      []int // record of each entry
	records []string
	xattr   int // bytes of all xattrs
}

func (s *Spec) attrTable() (t attrTable) {
	seen := map[string]int{}
	for i := range s.Entries {
		a := s.Entries[i].Attr
		if a == nil {
			a = &Attr{}
		}
		r := string(a.append(nil))
		k, ok := seen[r]
		if !ok {
			k = len(t.records)
			seen[r] = k
			t.records = append(t.records, r)
			t.xattr += len(r) - attrRecord
		}
		t.of = append(t.of, k)
	}
	return t
}

func (t *attrTable) write(b []byte, l *layout, s *Spec) {
	for i := range s.Entries {
		binary.LittleEndian.PutUint32(b[l.entryAttrs+4*i:], uint32(t.of[i]))
		binary.LittleEndian.PutUint32(b[l.entryLinks+4*i:], uint32(s.Entries[i].Link))
	}
	x := l.xattrs
	for k, r := range t.records {
		copy(b[l.attrRecords+attrRecord*k:], r[:attrRecord])
		x += copy(b[x:], r[attrRecord:])
	}
}

// append writes a's record followed by its xattrs, each as the length of the
// name (1 byte), the length of the value (4), the name and the value.
func (a *Attr) append(b []byte) []byte {
	x := []byte{}
	for _, v := range a.Xattrs {
		x = append(x, byte(len(v.Name)))
		x = binary.LittleEndian.AppendUint32(x, uint32(len(v.Value)))
		x = append(append(x, v.Name...), v.Value...)
	}
	b = binary.LittleEndian.AppendUint16(b, a.Mode)
	for _, v := range []uint32{a.UID, a.GID, a.Major, a.Minor, uint32(len(x))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, x...)
}

// Attr is what a Tree knows about entry i; for a Course it is zero.
func (m *Manifest) Attr(i int) Attr {
	if m.kind != Tree {
		return Attr{}
	}
	return m.attr(int(m.u32(m.entryAttrs, i)))
}

func (m *Manifest) attr(k int) (a Attr) {
	r := m.b[m.attrRecords+attrRecord*k:]
	a.Mode = binary.LittleEndian.Uint16(r)
	for j, f := range []*uint32{&a.UID, &a.GID, &a.Major, &a.Minor} {
		*f = binary.LittleEndian.Uint32(r[2+4*j:])
	}
	for at, end := m.attrAt[k], m.attrAt[k+1]; at < end; {
		n, v := int(m.b[m.xattrs+int(at)]), int(m.u32(m.xattrs+int(at)+1, 0))
		p := m.xattrs + int(at) + 5
		a.Xattrs = append(a.Xattrs, Xattr{m.str(p, n), m.str(p+n, v)})
		at += uint32(5 + n + v)
	}
	return a
}

// Link is the first entry that is the same inode as entry i: i itself unless a
// Tree has hard links.
func (m *Manifest) Link(i int) int {
	if m.kind != Tree {
		return i
	}
	return int(m.u32(m.entryLinks, i))
}

// checkAttrs validates the table that a Tree has and a Course has not.
func (m *Manifest) checkAttrs() error {
	if m.kind != Tree {
		if m.attrs != 0 || m.xattr != 0 {
			return errorf("a course with attributes")
		}
		return nil
	}
	m.attrAt = make([]uint32, m.attrs+1)
	at := 0
	seen := make(map[string]bool, m.attrs)
	for k := range m.attrs {
		n := int(m.u32(m.attrRecords+attrRecord*k+18, 0))
		if n > m.xattr-at {
			return errorf("attributes past the end")
		}
		if err := checkXattrs(m.b[m.xattrs+at : m.xattrs+at+n]); err != nil {
			return err
		}
		key := string(m.b[m.attrRecords+attrRecord*k:][:attrRecord]) + m.str(m.xattrs+at, n)
		if seen[key] {
			return errorf("the same attributes twice")
		}
		seen[key] = true
		at += n
		m.attrAt[k+1] = uint32(at)
	}
	if at != m.xattr {
		return errorf("attributes that nothing refers to")
	}
	used := 0
	for i := range m.n {
		k := int(m.u32(m.entryAttrs, i))
		if k > used || k >= m.attrs {
			return errorf("entry %d has attributes %d", i, k)
		}
		used = max(used, k+1)
		if err := m.checkAttr(i, m.attr(k)); err != nil {
			return err
		}
	}
	if used != m.attrs {
		return errorf("attributes that nothing refers to")
	}
	return nil
}

func (m *Manifest) checkAttr(i int, a Attr) error {
	t := m.typ(i)
	device := t == CharDevice || t == BlockDevice
	exec := m.b[m.types+i]&execBit != 0
	switch {
	case a.Mode > 0o7777, t == File && exec != (a.Mode&0o100 != 0):
		return errorf("entry %d has mode %o", i, a.Mode)
	case !device && (a.Major != 0 || a.Minor != 0):
		return errorf("entry %d has device numbers", i)
	}
	l := int(m.u32(m.entryLinks, i))
	if l == i {
		return nil
	}
	if l > i || t == Dir || int(m.u32(m.entryLinks, l)) != l || m.b[m.types+l] != m.b[m.types+i] ||
		m.u32(m.entryAttrs, l) != m.u32(m.entryAttrs, i) {
		return errorf("entry %d is a hard link of %d", i, l)
	}
	if e, f := m.Entry(i), m.Entry(l); e.Digest != f.Digest || e.Target != f.Target {
		return errorf("entry %d is a hard link of %d with other content", i, l)
	}
	return nil
}

func checkXattrs(b []byte) error {
	var names []string
	for len(b) > 0 {
		if len(b) < 5 {
			return errorf("attributes past the end")
		}
		n, v := int(b[0]), int(binary.LittleEndian.Uint32(b[1:]))
		if n == 0 || n+v > len(b)-5 {
			return errorf("attributes past the end")
		}
		names = append(names, string(b[5:5+n]))
		b = b[5+n+v:]
	}
	if !sort.SliceIsSorted(names, func(i, j int) bool { return names[i] < names[j] }) {
		return errorf("attributes out of order")
	}
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			return errorf("the attribute %q twice", names[i])
		}
	}
	return nil
}
