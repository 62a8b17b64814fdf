"""Fills the gaps of the interpreter's heap before its first fork.

What a child allocates in a gap between older blocks copies that block's page for
the child alone. With the gaps taken, children allocate side by side, in pages of
their own from the start: a fifth fewer pages are copied. It costs the zygote the
gaps, which lie in pages that it has anyway.
"""

import ctypes

_POOL, _HEADER, _LARGEST = 16 << 10, 48, 512  # of pymalloc in 64-bit builds
_MOST = 1 << 20  # bytes of each size, some 10 KiB by what was seen; an end, where an interpreter lays its heap out otherwise


def fill():
    """Never undone: what it takes is nobody's."""
    _fill_pools()
    _fill_malloc()


def _fill_pools():
    """Takes blocks of each size until they come from a pool that has none in use."""
    take = ctypes.pythonapi.PyObject_Malloc
    take.restype, take.argtypes = ctypes.c_size_t, (ctypes.c_size_t,)
    for size in range(_LARGEST, 0, -16):
        last = ordered = 0
        for _ in range(_MOST // size):
            at = take(size)
            if at % _POOL == _HEADER:
                ordered = 1
            else:
                ordered = ordered and at == last + size and ordered + 1
            if ordered == 3:
                break
            last = at


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (n, ctypes.c_size_t)
        for n in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


def _fill_malloc():
    """Takes chunks, from large to small, until each size comes from the heap's end."""
    libc = ctypes.PyDLL(None)
    try:
        info = libc.mallinfo2
    except AttributeError:  # not glibc, or one before 2.33
        return
    info.restype = _Mallinfo2
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    size, left = 64 << 10, 16 * _MOST  # another allocator than glibc's may answer
    while size >= 24 and left > 0:
        left -= size
        end = info().keepcost
        libc.malloc(size)
        if info().keepcost != end:
            size = size * 7 // 8 if size > 2048 else size - 16
