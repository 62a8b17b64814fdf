package blob

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is what the kernel can map at once.
const hugePage = 2 << 20

// Buffer is make([]byte, n) that asks for huge pages where it is large: a process
// that lives for one push spends much of it on the first touch of each small page.
func Buffer(n int) []byte {
	b := make([]byte, n)
	if n >= 2*hugePage {
		at := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(os.Getpagesize()))
		if at > 0 {
			at = os.Getpagesize() - at
		}
		_ = unix.Madvise(b[at:], unix.MADV_HUGEPAGE) // advice only
	}
	return b
}
