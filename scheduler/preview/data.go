package preview

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// diff is one place at which a phase changed the data.
type diff struct {
	Path     string
	Old, New string // empty where there is none
}

// node is one value of the data object, for a tree.
type node struct {
	Name  string
	Value string // of a leaf
	Kind  string // object, list, string, number, other
	Count int
	Phase string // that changed it last, or something inside
	Kids  []node
}

// compare lists the places where two JSON values differ, deepest first found.
func compare(before, after json.RawMessage) (all []diff) {
	var walk func(path string, a, b any, inA, inB bool)
	walk = func(path string, a, b any, inA, inB bool) {
		x, xo := a.(map[string]any)
		y, yo := b.(map[string]any)
		if xo && yo {
			names := maps.Clone(x)
			maps.Copy(names, y)
			for _, n := range slices.Sorted(maps.Keys(names)) {
				p := n
				if path != "" {
					p = path + "." + n
				}
				va, oka := x[n]
				vb, okb := y[n]
				walk(p, va, vb, oka, okb)
			}
			return
		}
		d := diff{Path: path}
		if inA {
			d.Old = compact(a)
		}
		if inB {
			d.New = compact(b)
		}
		if d.Old != d.New && path != "" {
			all = append(all, d)
		}
	}
	walk("", parse(before), parse(after), true, true)
	return all
}

func parse(raw json.RawMessage) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return "?"
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// maxKids bounds how much of one list or object is shown.
const maxKids = 200

// tree makes nodes of an object; touched maps a path to the phase that changed it.
func tree(raw json.RawMessage, touched map[string]string) []node {
	var build func(name, path string, v any) node
	build = func(name, path string, v any) node {
		n := node{Name: name, Phase: touched[path]}
		kid := func(name string, v any) {
			p := name
			if path != "" {
				p = path + "." + name
			}
			k := build(name, p, v)
			if n.Phase == "" {
				n.Phase = k.Phase
			}
			n.Kids = append(n.Kids, k)
		}
		switch v := v.(type) {
		case map[string]any:
			n.Kind, n.Count = "object", len(v)
			for i, key := range slices.Sorted(maps.Keys(v)) {
				if i == maxKids {
					break
				}
				kid(key, v[key])
			}
		case []any:
			n.Kind, n.Count = "list", len(v)
			for i, x := range v[:min(len(v), maxKids)] {
				kid(strconv.Itoa(i), x)
			}
		case string:
			n.Kind, n.Value = "string", compact(v)
		case json.Number:
			n.Kind, n.Value = "number", v.String()
		default:
			n.Kind, n.Value = "other", compact(v)
		}
		return n
	}
	return build("", "", parse(raw)).Kids
}
