package course

import (
	"bytes"
	"encoding/binary"
	"math"
)

// PanoramaPath is the sample course's file of more than 2 MiB, made when the
// course is written: a picture of hills that no compressor shrinks much.
const PanoramaPath = "clientFilesCourse/panorama.bmp"

const (
	panoramaWidth  = 1024
	panoramaHeight = 768
)

// panorama draws a sky over three ranges of hills, with film grain, as a
// 24-bit BMP.
func panorama() []byte {
	const header = 54
	size := header + 3*panoramaWidth*panoramaHeight
	out := bytes.NewBuffer(make([]byte, 0, size))
	out.WriteString("BM")
	for _, v := range []uint32{uint32(size), 0, header, 40, panoramaWidth, panoramaHeight} {
		_ = binary.Write(out, binary.LittleEndian, v)
	}
	for _, v := range []uint16{1, 24} {
		_ = binary.Write(out, binary.LittleEndian, v)
	}
	for _, v := range []uint32{0, uint32(size - header), 2835, 2835, 0, 0} {
		_ = binary.Write(out, binary.LittleEndian, v)
	}
	grain := uint32(0x9e3779b9)
	for row := range panoramaHeight {
		y := panoramaHeight - 1 - row // a BMP's first row is the lowest
		for x := range panoramaWidth {
			grain ^= grain << 13
			grain ^= grain >> 17
			grain ^= grain << 5
			blue, green, red := land(x, y)
			for i, v := range []int{blue, green, red} {
				out.WriteByte(byte(v + int(grain>>(8*i)&15)))
			}
		}
	}
	return out.Bytes()
}

// land is the colour at a point: the nearest range of hills that covers it.
func land(x, y int) (blue, green, red int) {
	// Integers only: float rounding differs between machines that fuse
	// multiply and add, and these bytes are compared across them.
	for hill := range 3 {
		near := 2 - hill
		period := 150 + 90*near
		phase := (x + 70*hill*hill) % (2 * period)
		rise := phase
		if rise > period {
			rise = 2*period - rise
		}
		if y > 420+110*near-rise*(hill+1)/3 {
			return 40 + 30*hill, 120 + 20*hill, 60 + 25*hill
		}
	}
	return 230 - y/16, 200 - y/12, min(math.MaxUint8-16, 120+y/8)
}
