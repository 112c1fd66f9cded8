package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// terminal reports whether r is a terminal, at which a person can be asked.
func terminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok || !isTerminal(f) {
		return false
	}
	is, err := f.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull) // a character device too
	return err != nil || !os.SameFile(is, null)
}

// typed asks for a word at the terminal, and returns an error unless it is typed. what says what happens then.
func (c *commands) typed(cmd *cobra.Command, want, what string) error {
	fmt.Fprintf(c.Err, "%s. Type %s to go on: ", what, want)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("nothing was changed: reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != want {
		return fmt.Errorf("nothing was changed: the answer was not %s", want)
	}
	return nil
}
