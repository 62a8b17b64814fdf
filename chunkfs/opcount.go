package chunkfs

import (
	"fmt"
	"sort"
	"sync/atomic"
)

var opNames = map[uint32]string{
	1: "lookup", 2: "forget", 3: "getattr", 5: "readlink", 14: "open", opRead: "read", 17: "statfs",
	22: "getxattr", 23: "listxattr", 25: "flush", opInit: "init", 27: "opendir", opReadDir: "readdir",
	34: "access", 36: "interrupt", 38: "destroy", 39: "ioctl", 42: "batch_forget", opReadDirPlus: "readdirplus", 46: "lseek", 52: "statx",
}

// opCounters counts what the kernel asked, by opcode.
type opCounters struct {
	byOp   [64]atomic.Int64
	failed atomic.Int64
}

func (o *opCounters) count(op uint32) { o.byOp[op%64].Add(1) }

func (o *opCounters) counts() map[string]int64 {
	m := make(map[string]int64)
	for op := range o.byOp {
		if n := o.byOp[op].Load(); n > 0 {
			name, ok := opNames[uint32(op)]
			if !ok {
				name = fmt.Sprintf("op%d", op)
			}
			m[name] = n
		}
	}
	return m
}

func (o *opCounters) words() (words []string) {
	for name, n := range o.counts() {
		words = append(words, fmt.Sprintf("%s=%d", name, n))
	}
	sort.Strings(words)
	return words
}
