package env

import (
	"bytes"
	"encoding/binary"
	"path"
	"strings"
)

// elfFile is what the start of an ELF file says of other files, and of itself.
type elfFile struct {
	interp string   // the loader of a program
	needed []string // names of libraries
	search []string // where its author looks for them, $ORIGIN not yet replaced
	from   int64    // where what is written at its start begins in the file; 0 for nowhere
	to     int64
}

// maxELF is how large a file may be whose libraries are looked for, maxNeeded how
// many it may need.
const (
	maxELF    = 64 << 20
	maxNeeded = 1000
)

const (
	elfMagic = "\x7fELF"

	ptLoad, ptDynamic, ptInterp                      = 1, 2, 3
	pfWrite                                          = 2
	dtNeeded, dtStrtab, dtStrsz, dtRpath, dtRunpath  = 1, 5, 10, 15, 29
	elfHeader, programHeader, dynamicEntry, maxPhnum = 64, 56, 16, 512
)

type segment struct {
	typ, flags               uint32
	offset, vaddr, size, mem uint64
}

// readELF reads a 64-bit little-endian file; nil is anything else, or a file that
// contradicts itself. It believes no number that leads out of b.
func readELF(b []byte) *elfFile {
	if len(b) < elfHeader || string(b[:4]) != elfMagic || b[4] != 2 || b[5] != 1 {
		return nil
	}
	le := binary.LittleEndian
	at, each, n := le.Uint64(b[32:]), int(le.Uint16(b[54:])), int(le.Uint16(b[56:]))
	table := span(b, at, uint64(each*n))
	if each < programHeader || n > maxPhnum || table == nil {
		return nil
	}
	f := &elfFile{}
	var segs []segment
	var dynamic []byte
	for ; n > 0; n-- {
		p := table[:programHeader]
		table = table[each:]
		s := segment{le.Uint32(p), le.Uint32(p[4:]), le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[32:]), le.Uint64(p[40:])}
		segs = append(segs, s)
		in := span(b, s.offset, s.size)
		switch {
		case in == nil:
		case s.typ == ptInterp:
			f.interp = cString(in)
		case s.typ == ptDynamic:
			dynamic = in
		case s.typ == ptLoad && s.flags&pfWrite != 0:
			f.from, f.to = int64(s.offset), int64(s.offset+s.size)
		}
	}
	f.dynamic(b, segs, dynamic)
	return f
}

func (f *elfFile) dynamic(b []byte, segs []segment, table []byte) {
	var names, size uint64
	var needed, search []uint64
	for ; len(table) >= dynamicEntry; table = table[dynamicEntry:] {
		v := binary.LittleEndian.Uint64(table[8:])
		switch tag := binary.LittleEndian.Uint64(table); {
		case tag == dtNeeded && len(needed) < maxNeeded:
			needed = append(needed, v)
		case tag == dtRpath, tag == dtRunpath:
			search = append(search, v)
		case tag == dtStrtab:
			names = v
		case tag == dtStrsz:
			size = v
		}
	}
	var text []byte
	for _, s := range segs {
		if s.typ == ptLoad && names >= s.vaddr && names-s.vaddr < s.size {
			text = span(b, s.offset+names-s.vaddr, size)
		}
	}
	for _, v := range needed {
		if s := cString(span(text, v, uint64(len(text))-min(v, uint64(len(text))))); s != "" {
			f.needed = append(f.needed, s)
		}
	}
	for _, v := range search {
		if s := cString(span(text, v, uint64(len(text))-min(v, uint64(len(text))))); s != "" {
			f.search = append(f.search, strings.Split(s, ":")...)
		}
	}
}

// span is b[at:at+n], or nil where b has no such part.
func span(b []byte, at, n uint64) []byte {
	if n == 0 || at > uint64(len(b)) || n > uint64(len(b))-at {
		return nil
	}
	return b[at : at+n]
}

func cString(b []byte) string {
	s, _, ok := bytes.Cut(b[:min(len(b), 4096)], []byte{0})
	if !ok {
		return ""
	}
	return string(s)
}

// libraryDirs are where loaders look by themselves.
var libraryDirs = []string{
	"/usr/local/lib", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
	"/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// program adds an ELF file at p, and what the loader maps with it. A library is
// read where it is linked, a program, and what an interpreter loads by itself, everywhere.
func (s *starts) program(p string, whole bool) {
	p, d := s.tree.resolve(p)
	if d == nil || !s.add(p) || d.ino.elf == nil {
		return
	}
	s.blocks(p, d.ino, whole)
	f := d.ino.elf
	if f.interp != "" {
		s.program(f.interp, false)
	}
	for _, name := range f.needed {
		if strings.Contains(name, "/") {
			s.program(name, false)
			continue
		}
		for _, dir := range append(f.searched(path.Dir(p)), libraryDirs...) {
			if _, lib := s.tree.resolve(dir + "/" + name); lib != nil && lib.ino.elf != nil {
				s.program(dir+"/"+name, false)
				break
			}
		}
	}
}

func (f *elfFile) searched(origin string) (dirs []string) {
	for _, d := range f.search {
		d = strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin).Replace(d)
		if strings.HasPrefix(d, "/") {
			dirs = append(dirs, d)
		}
	}
	return dirs
}
