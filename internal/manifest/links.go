package manifest

import "strings"

// maxHops is how many symlinks the kernel follows in one path.
const maxHops = 40

// checkLinks refuses a course with a symlink that leads out of it. What a link
// leads to need not exist; a loop is the reader's ELOOP and harmless.
func (m *Manifest) checkLinks() error {
	if m.kind != Course || m.links == 0 {
		return nil
	}
	for i := range m.n {
		if m.typ(i) == Symlink && m.leaves(i) {
			return errorf("the symlink %q leads to %q, outside the course", m.Path(i), m.Entry(i).Target)
		}
	}
	return nil
}

// leaves follows link i as the kernel would, other links on the way included.
// Below a name that does not exist it goes on by the text alone, so that a link
// is safe also for a program that cleans paths itself.
func (m *Manifest) leaves(i int) bool {
	dir, missing := m.Parent(i), 0
	todo := []string{m.Entry(i).Target}
	for hops := 0; len(todo) > 0; {
		rest := todo[len(todo)-1]
		if strings.HasPrefix(rest, "/") {
			return true
		}
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if rest = strings.TrimLeft(rest, "/"); rest == "" {
			todo = todo[:len(todo)-1]
		} else {
			todo[len(todo)-1] = rest
		}
		switch {
		case name == "" || name == ".":
		case name == ".." && missing > 0:
			missing--
		case name == "..":
			if dir == 0 {
				return true
			}
			dir = m.Parent(dir)
		case missing > 0:
			missing++
		default:
			j, ok := m.Lookup(dir, name)
			switch {
			case ok && m.typ(j) == Dir:
				dir = j
			case ok && m.typ(j) == Symlink:
				if hops++; hops > maxHops {
					return false
				}
				todo = append(todo, m.Entry(j).Target)
			default:
				missing++
			}
		}
	}
	return false
}
