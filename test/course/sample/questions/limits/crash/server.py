"""Writes to address 0: SIGSEGV."""

import os

import ctypes

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    ctypes.memset(0, 1, 1)
