package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Check reads every Go file below root and returns what breaks the rules, one
// line each.
func Check(root string) (faults []string, files int, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if d.IsDir() {
			// Nested modules have their own rules; testdata and dot folders are no code of ours.
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			if rel == "nomad/agent" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, fault := range check(filepath.ToSlash(filepath.Dir(rel)), strings.HasSuffix(p, "_test.go"), f) {
			faults = append(faults, rel+": "+fault)
		}
		return nil
	})
	return faults, files, err
}

func check(pkg string, test bool, f *ast.File) (faults []string) {
	may, known := rule(pkg)
	if !known {
		return []string{fmt.Sprintf("package %s is not in the table of test/arch", pkg)}
	}
	if test {
		may = append(append([]string{}, may...), testOnly...)
		for pattern, more := range testImports {
			if matches(pkg, []string{pattern}) {
				may = append(may, more...)
			}
		}
	}
	for _, spec := range f.Imports {
		imp, _ := strconv.Unquote(spec.Path.Value)
		own, ours := strings.CutPrefix(imp, module)
		if ours && own != pkg && !matches(own, may) {
			faults = append(faults, fmt.Sprintf("%s must not import %s", pkg, own))
		}
		for lib, users := range libraries {
			if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !matches(pkg, users) {
				faults = append(faults, fmt.Sprintf("%s must not import %s: only %s may", pkg, lib, strings.Join(users, ", ")))
			}
		}
	}
	if matches(pkg, kernelUsers) || test {
		return faults
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !kernel[sel.Sel.Name] {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "unix" || x.Name == "syscall") {
			faults = append(faults, fmt.Sprintf("%s must not use %s.%s: only jobs/sandbox may", pkg, x.Name, sel.Sel.Name))
		}
		return true
	})
	return faults
}

// rule finds a package's own line in the table, or the longest "x/..." above it.
func rule(pkg string) (may []string, known bool) {
	if may, ok := allowed[pkg]; ok {
		return may, true
	}
	best := ""
	for pattern := range allowed {
		if strings.HasSuffix(pattern, "/...") && matches(pkg, []string{pattern}) && len(pattern) > len(best) {
			best = pattern
		}
	}
	return allowed[best], best != ""
}

func matches(pkg string, patterns []string) bool {
	for _, p := range patterns {
		dir, below := strings.CutSuffix(p, "/...")
		if pkg == dir || below && strings.HasPrefix(pkg, dir+"/") {
			return true
		}
	}
	return false
}
