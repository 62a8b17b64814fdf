"""Writes to address 0: SIGSEGV."""

import ctypes


def generate(data):
    ctypes.memset(0, 1, 1)
