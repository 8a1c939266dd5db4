package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// A shown setting is one line of eider config.
type shownSetting struct {
	Name   string `json:"name"`
	Key    string `json:"key"`   // in eider.toml
	Value  string `json:"value"` // masked if it is a secret
	Source string `json:"source"`
}

// masked stands for a secret. It does not tell its length.
const masked = "********"

// shown returns the settings in effect, without those of later versions.
func (c *config) shown() []shownSetting {
	var list []shownSetting
	for _, s := range c.settings() {
		if s.later {
			continue
		}
		line := shownSetting{Name: s.env, Key: s.key(), Value: c.effective(s), Source: c.from[s.env]}
		if line.Source == "" {
			line.Source = "default"
		}
		list = append(list, line)
	}
	return list
}

// effective returns the value that a setting has, worked out if its default is.
func (c *config) effective(s setting) string {
	switch set := c.from[s.env] != ""; {
	case s.secret && set:
		return masked
	case s.env == "EIDER_AUTO_SITES":
		return fmt.Sprint(c.makesSites())
	case s.env == "EIDER_DUCKDB_MEMORY_LIMIT":
		return bytesText(c.memory().duckdb)
	case s.env == "EIDER_DUCKDB_THREADS":
		return fmt.Sprint(c.memory().threads)
	case s.env == "EIDER_MAX_CONCURRENT_QUERIES":
		return fmt.Sprint(c.queries())
	case !set && s.auto != "":
		return strings.ReplaceAll(s.auto, "`", "")
	default:
		return s.show()
	}
}

func (p *program) configCommand() *cobra.Command {
	var asJSON, asMarkdown bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the settings in effect and where each comes from",
		Long: `Print the settings in effect and where each comes from. Secrets are masked.
Exits with 1 and a list of what is wrong if the server would not start with them.`,
		Example: "  eider config\n  eider config --json --config /etc/eider/eider.toml",
		RunE: func(*cobra.Command, []string) error {
			if asMarkdown {
				return writeSettingsTable(p.stdout)
			}
			c, err := p.config()
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(c.shown())
			}
			return writeSettings(p.stdout, c.shown())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print the documentation of all settings")
	cmd.Flags().Lookup("markdown").Hidden = true // for README.md
	return cmd
}

func writeSettings(w io.Writer, list []shownSetting) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SETTING\tVALUE\tFROM")
	for _, s := range list {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.Name, value, s.Source)
	}
	return tw.Flush()
}

// writeSettingsTable writes the table of README.md.
func writeSettingsTable(w io.Writer) error {
	c, err := loadConfig(nil, "/dev/null")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("| variable | what it does | default | values |\n| --- | --- | --- | --- |\n")
	for _, s := range c.settings() {
		if s.later {
			continue
		}
		name := "`" + s.env + "`"
		if s.secret {
			name += " `…_FILE`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, s.doc, s.defaultText(), s.valid)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// defaultText is the default as the documentation has it.
func (s *setting) defaultText() string {
	switch {
	case s.auto != "":
		return s.auto
	case s.def != "":
		return "`" + s.def + "`"
	default:
		return "none"
	}
}
