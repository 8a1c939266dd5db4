package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme holds the settings of README.md to those of the program.
func TestReadme(t *testing.T) {
	t.Parallel()
	program, err := normal()
	if err != nil {
		t.Fatal(err)
	}
	table, err := exec.Command(program, "config", "--markdown").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), "<!-- settings: ")
	mark, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, "<!-- /settings -->")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README.md has no place for the settings")
	}
	want := before + "<!-- settings: " + mark + "-->\n" + string(table) + "<!-- /settings -->" + after
	if want == string(readme) {
		return
	}
	if !*update {
		t.Fatal("the settings of README.md are not those of the program; go test ./cmd/eider -run TestReadme -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
