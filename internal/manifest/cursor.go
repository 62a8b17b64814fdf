package manifest

// Cursor reads entries in rising order at a constant cost each; in any other
// order it is as good as the Manifest's own methods. Not safe for concurrent use.
type Cursor struct {
	m *Manifest
	i int
	r mark
}

// Cursor starts at the root.
func (m *Manifest) Cursor() *Cursor { return &Cursor{m: m, r: m.marks[0]} }

func (c *Cursor) seek(i int) {
	if i < c.i || i-c.i >= markEvery {
		c.i, c.r = i, c.m.rank(i)
		return
	}
	for ; c.i < i; c.i++ {
		c.r.add(c.m, c.i)
	}
}

// Entry is entry i.
func (c *Cursor) Entry(i int) Entry {
	c.seek(i)
	return c.m.entry(i, &c.r)
}

// TreeOf is the git tree that directory i was made from, or zero.
func (c *Cursor) TreeOf(i int) TreeID {
	c.seek(i)
	return c.m.tree(i, &c.r)
}

// Children is the range of directory dir's children.
func (c *Cursor) Children(dir int) (first, n int) {
	if c.m.typ(dir) != Dir {
		return 0, 0
	}
	c.seek(dir)
	return int(c.r.child), int(c.m.u32(c.m.sizes, dir))
}

// Locate says where a regular file's bytes lie; anything else is Empty.
func (c *Cursor) Locate(i int) Extent {
	c.seek(i)
	return c.m.extent(i, &c.r)
}
