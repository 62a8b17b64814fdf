package recipe

import (
	"encoding/json"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// deepest is how far brackets may nest in an environment.hcl: two levels have a
// meaning, and the parser recurses.
const deepest = 8

// ParseHCL reads an environment.hcl: attributes with the names of Recipe's
// fields, whose values are written out. Expressions are refused, not evaluated.
func ParseHCL(b []byte) (*Recipe, error) {
	if len(b) > MaxBytes {
		return nil, bad("it has more than %d bytes", MaxBytes)
	}
	depth := 0
	for _, c := range b {
		switch c {
		case '[', '{', '(':
			if depth++; depth > deepest {
				return nil, bad("its brackets nest deeper than %d", deepest)
			}
		case ']', '}', ')':
			depth--
		}
	}
	f, diags := hclsyntax.ParseConfig(b, "environment.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return nil, bad("%.300s", diags.Error())
	}
	body := f.Body.(*hclsyntax.Body) // ParseConfig makes no other
	if len(body.Blocks) > 0 {
		return nil, bad("block %.100q: there are only attributes", body.Blocks[0].Type)
	}
	all := map[string]any{}
	for name, a := range body.Attributes {
		v, err := literal(a.Expr)
		if err != nil {
			return nil, bad("%.100s: %v", name, err)
		}
		all[name] = v
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return nil, bad("%v", err)
	}
	return ParseJSON(raw)
}

// literal is the value of an expression that holds nothing to evaluate: a string,
// a list or an object of such.
func literal(e hclsyntax.Expression) (any, error) {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		if e.Val.Type().FriendlyName() == "string" && e.Val.IsKnown() && !e.Val.IsNull() {
			return e.Val.AsString(), nil
		}
	case *hclsyntax.TemplateExpr:
		s := ""
		for _, p := range e.Parts {
			v, err := literal(p)
			part, ok := v.(string)
			if err != nil || !ok {
				return nil, bad("values are written out")
			}
			s += part
		}
		return s, nil
	case *hclsyntax.TupleConsExpr:
		list := []any{}
		for _, x := range e.Exprs {
			v, err := literal(x)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case *hclsyntax.ObjectConsExpr:
		all := map[string]any{}
		for _, i := range e.Items {
			k, err := key(i.KeyExpr)
			if err != nil {
				return nil, err
			}
			if _, twice := all[k]; twice {
				return nil, bad("%.100q comes twice", k)
			}
			if all[k], err = literal(i.ValueExpr); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, bad("values are strings, lists and objects, written out")
}

func key(e hclsyntax.Expression) (string, error) {
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		if word := hcl.ExprAsKeyword(k.Wrapped); word != "" && !k.ForceNonLiteral {
			return word, nil
		}
		e = k.Wrapped
	}
	v, err := literal(e)
	k, ok := v.(string)
	if err != nil || !ok {
		return "", bad("names are written out")
	}
	return k, nil
}
