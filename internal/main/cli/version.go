package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/app"
)

// built tells what the program was built from.
type built struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "" if the program was built outside a checkout
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Schema   int    `json:"schema"` // the version of the schema that this program brings a database to
}

// commit is set by `make build`, for builds whose build information has no commit (GOFLAGS=-buildvcs=false): the commit, and "+" after
// it if files were changed.
var commit string

// builtFrom returns what the build information of the program tells.
func builtFrom() built {
	hash, modified := strings.CutSuffix(commit, "+")
	b := built{Commit: hash, Modified: modified, Version: "(development)", Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Schema: app.SchemaVersion()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (c *commands) version() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Args: cobra.NoArgs, Short: "Print the version, the commit, the Go release and the version of the schema",
		Long: "Print what this program was built from. schema is the version to which it brings the database of a server:\na server refuses a database that a newer program has changed.",
	}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := builtFrom()
		if *asJSON {
			return c.printJSON(b)
		}
		commit := b.Commit
		if commit == "" {
			commit = "unknown"
		} else if b.Modified {
			commit += ", with changes that are not committed"
		}
		_, err := fmt.Fprintf(c.Out, "version: %s\ncommit:  %s\ngo:      %s %s\nschema:  %d\n", b.Version, commit, b.Go, b.Platform, b.Schema)
		return err
	}
	return cmd
}
