// SPDX-License-Identifier: Apache-2.0

package crashpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// perPurpose are the points that are hit with the purpose of a transaction behind them.
var perPurpose = []string{"Open", "Claim", "Close"}

// Every point in the code is listed once, and every listed one is in the code once.
func TestEveryPointIsListedOnce(t *testing.T) {
	var found []string
	for _, root := range []string{"../../controllers", "../../internal", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			points, err := pointsIn(path)
			found = append(found, points...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := Names()
	slices.Sort(want)
	slices.Sort(found)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("points (-listed +in the code):\n%s", diff)
	}
	if len(want) < 20 {
		t.Errorf("%d points", len(want))
	}
}

// pointsIn returns the points that a file hits. Each must be named by a literal, or by one with the purpose behind it.
func pointsIn(path string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return nil, err
	}
	var points []string
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok || !isHit(call) {
			return true
		}
		switch argument := call.Args[0].(type) {
		case *ast.BasicLit:
			points = append(points, literal(argument))
		case *ast.BinaryExpr:
			if prefix, ok := argument.X.(*ast.BasicLit); ok {
				for _, purpose := range perPurpose {
					points = append(points, literal(prefix)+purpose)
				}
			}
		default:
			points = append(points, path+": a point without a name")
		}
		return true
	})
	return points, nil
}

func isHit(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Hit" {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "crashpoint"
}

func literal(of *ast.BasicLit) string {
	text, err := strconv.Unquote(of.Value)
	if err != nil {
		return of.Value
	}
	return text
}
