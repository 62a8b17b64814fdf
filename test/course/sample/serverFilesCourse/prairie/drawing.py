"""Pictures without a plotting library: a PNG canvas from zlib and struct."""

import struct
import zlib

WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (210, 214, 220)
BLUE, ORANGE, GREEN = (38, 98, 190), (222, 120, 32), (60, 150, 80)


class Canvas:
    """width x height pixels of RGB; (0, 0) is the top left corner."""

    def __init__(self, width, height, colour=WHITE):
        self.width, self.height = width, height
        self.rows = [bytearray(bytes(colour) * width) for _ in range(height)]

    def dot(self, x, y, colour=BLACK):
        if 0 <= x < self.width and 0 <= y < self.height:
            self.rows[y][3 * x : 3 * x + 3] = bytes(colour)

    def rectangle(self, left, top, right, bottom, colour):
        left, right = max(0, left), min(self.width, right)
        for y in range(max(0, top), min(self.height, bottom)):
            self.rows[y][3 * left : 3 * right] = bytes(colour) * max(0, right - left)

    def line(self, x0, y0, x1, y1, colour=BLACK):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for i in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * i / steps), round(y0 + (y1 - y0) * i / steps), colour)

    def curve(self, points, colour=BLUE):
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            self.line(x0, y0, x1, y1, colour)
            self.line(x0, y0 + 1, x1, y1 + 1, colour)

    def png(self):
        raw = b"".join(b"\0" + bytes(row) for row in self.rows)
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + _block(b"IHDR", header)
            + _block(b"IDAT", zlib.compress(raw, 9))
            + _block(b"IEND", b"")
        )


def _block(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
