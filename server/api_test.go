package server_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
)

// TestAPIDocument holds the headings of API.md to the list of routes: neither
// has one that the other lacks.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "API.md"))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "### ") {
			for _, match := range regexp.MustCompile("`([A-Z]+ /[^`]*)`").FindAllStringSubmatch(line, -1) {
				named = append(named, match[1])
			}
		}
	}
	routes := server.Patterns()
	routes[slices.Index(routes, "/")] = "GET /"
	slices.Sort(named)
	slices.Sort(routes)
	for _, r := range routes {
		if !slices.Contains(named, r) {
			t.Errorf("API.md has no heading for %s", r)
		}
	}
	for i, n := range named {
		if !slices.Contains(routes, n) || i > 0 && named[i-1] == n {
			t.Errorf("API.md has a heading too many for %s", n)
		}
	}
}
