package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/eider-analytics/eider"

// layers is the drawing of ARCHITECTURE.md: which package may import which of
// ours. Imports point down only, and what is not here is not allowed.
var layers = map[string][]string{
	"cmd/eider":                 {"server", "server/door", "server/tail", "ingest", "ingest/enrich", "store", "store/answer", "store/ledger", "store/audit", "store/audit/sink", "store/history", "store/event", "store/fault", "migrations", "web"},
	"server":                    {"server/door", "server/tail", "store/event", "store/ledger", "store/audit"},
	"server/door":               {"store/ledger", "store/audit"},
	"server/tail":               {"store/event", "store/plan", "store/ledger"},
	"server/door/doortest":      {"server/door", "store/ledger", "store/audit"},
	"ingest":                    {"ingest/enrich", "store/event", "store/ledger", "store/fault"},
	"ingest/enrich":             {"store/event"},
	"store":                     {"store/event", "store/behaviour", "store/plan", "store/ledger", "store/audit", "store/history", "store/fault"},
	"store/answer":              {"store/event"},
	"store/behaviour":           {"store/event"},
	"store/storetest":           {"store/event"},
	"store/plan":                {"store/event"},
	"store/ledger":              {"store/event", "store/audit", "store/fault"},
	"store/audit":               {},
	"store/audit/sink":          {"store/audit", "migrations"},
	"store/audit/sink/sinktest": {},
	"store/history":             {"store/event", "store/fault"},
	"store/event":               {},
	"store/fault":               {},
	"migrations":                {},
	"web":                       {},
}

// TestLayers holds the tree to the drawing.
func TestLayers(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	found, err := imports(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range compare(found, layers) {
		t.Error(complaint)
	}
}

// TestLayersControl breaks the drawing in each way there is: a comparison that
// finds nothing here would find nothing in the tree either.
func TestLayersControl(t *testing.T) {
	t.Parallel()
	drawing := map[string][]string{"a": {"b"}, "b": {}, "gone": {}}
	found := map[string][]string{"a": {"b"}, "b": {"a"}, "new": {}}
	got := strings.Join(compare(found, drawing), "; ")
	want := "b imports a, which the drawing does not allow; gone is in the drawing and not in the tree; new is not in the drawing"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	tree := os.DirFS(filepath.Join("testdata", "layers"))
	bad, err := imports(tree)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(bad); got != "map[store/event:[server]]" {
		t.Errorf("a tree whose vocabulary imports the server is read as %s", got)
	}
}

// compare returns in which ways the imports found are not those of the drawing.
func compare(found, drawing map[string][]string) []string {
	var complaints []string
	for _, pkg := range slices.Sorted(maps.Keys(found)) {
		allowed, known := drawing[pkg]
		if !known {
			complaints = append(complaints, pkg+" is not in the drawing")
		}
		for _, imported := range found[pkg] {
			if known && !slices.Contains(allowed, imported) {
				complaints = append(complaints, fmt.Sprintf("%s imports %s, which the drawing does not allow", pkg, imported))
			}
		}
	}
	for pkg := range drawing {
		if _, there := found[pkg]; !there {
			complaints = append(complaints, pkg+" is in the drawing and not in the tree")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// imports returns the packages of a tree and which others of ours each imports.
// Test files do not count: they may import what they need. Files of every build
// tag do.
func imports(tree fs.FS) (map[string][]string, error) {
	found := map[string][]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name()[0] == '.' || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(src, []byte("//go:build ignore\n")) { // belongs to no package
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(name)
		list := found[pkg]
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(list, ours) {
				list = append(list, ours)
			}
		}
		slices.Sort(list)
		found[pkg] = list
		return nil
	})
	return found, err
}
