package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version): what git describe says of the
// tree. A build without it has what the module's version says.
var version string

// A build says what this program was built of.
type build struct {
	Version  string            `json:"version"`
	Go       string            `json:"go"`
	Platform string            `json:"platform"`
	Modules  map[string]string `json:"modules"` // the engines of the three stores
}

// buildInfo reads the build of this program.
func buildInfo() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Modules: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	engines := map[string]string{
		"github.com/duckdb/duckdb-go/v2":       "duckdb-go",
		"github.com/mattn/go-sqlite3":          "go-sqlite3",
		"github.com/parquet-go/parquet-go":     "parquet-go",
		"github.com/duckdb/duckdb-go-bindings": "duckdb-go-bindings",
	}
	for _, m := range info.Deps {
		if name := engines[m.Path]; name != "" {
			b.Modules[name] = m.Version
		}
	}
	return b
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  eider version\n  eider version --json",
		RunE: func(*cobra.Command, []string) error {
			b := buildInfo()
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(b)
			}
			_, err := fmt.Fprintf(p.stdout, "eider %s %s %s\n", b.Version, b.Go, b.Platform)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON, with the versions of the storage engines")
	return cmd
}
