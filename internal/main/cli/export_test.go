package cli

import "github.com/spf13/cobra"

// Root is the whole tree of commands.
func Root(env Env) *cobra.Command {
	c := &commands{Env: env}
	return c.root()
}

// LogHandler is logHandler.
var LogHandler = logHandler

// SetCommit sets the commit as make build does, and returns a function that takes it back.
func SetCommit(c string) func() {
	was := commit
	commit = c
	return func() { commit = was }
}
