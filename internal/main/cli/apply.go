package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/apply"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const applyHelp = `Bring accounts, groups, users, roles, policies, registries and repositories to the state that a YAML file describes.

What the file names gets the settings that the file states. Settings that the file leaves out, and everything that it does not name,
stay as they are; nothing is deleted but policies, groups and tags of an object whose list is in the file. Applying a file twice changes nothing.
docs/apply.md has all keys.

With --dry-run, the command only prints what it would change. It calls the running server of --data as its operator and so reaches all
accounts; with --url or --profile it reaches the account of the AWS credentials.`

func (c *commands) apply() *cobra.Command {
	cmd := &cobra.Command{Use: "apply -f FILE", Args: cobra.NoArgs,
		Short: "Make accounts, principals and repositories as a file describes them",
		Long:  applyHelp, Example: "  ecrin apply -f ecrin.yaml --dry-run\n  ecrin apply -f ecrin.yaml\n  ecrin apply -f - <ecrin.yaml"}
	c.dataFlag(cmd)
	path := cmd.Flags().StringP("file", "f", "", "`file` to apply, - for standard input")
	dry := cmd.Flags().Bool("dry-run", false, "print the changes, and make none")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usageError{errors.New("name the file with -f, or -f - for standard input")}
		}
		f, err := readApplied(*path)
		if err != nil {
			return err
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		plan, err := apply.New(cmd.Context(), &applied{Client: s, known: map[string]aws.Config{}}, f)
		if err != nil {
			return err
		}
		made := []*apply.Change{}
		if *dry {
			made = append(made, plan.Changes...)
		} else {
			err = plan.Apply(cmd.Context(), func(change *apply.Change) {
				made = append(made, change)
				if !*asJSON {
					c.printChange(change)
				}
			})
		}
		if *asJSON {
			return errors.Join(err, c.printJSON(map[string]any{"dryRun": *dry, "changes": made}))
		}
		if *dry {
			for _, change := range made {
				c.printChange(change)
			}
		}
		if err != nil {
			return fmt.Errorf("%d of %s made; these failed:\n%w", len(made), counted(int64(len(plan.Changes)), "change", "changes"), err)
		}
		c.say("%s", appliedSummary(len(made), *dry))
		return nil
	}
	return cmd
}

func appliedSummary(n int, dry bool) string {
	switch {
	case n == 0:
		return "nothing differs from the file"
	case dry:
		return counted(int64(n), "change", "changes") + " would be made"
	}
	return counted(int64(n), "change", "changes") + " made"
}

// readApplied reads and parses a file.
func readApplied(path string) (apply.File, error) {
	var r io.Reader = os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return apply.File{}, err
		}
		defer f.Close()
		r = f
	}
	f, err := apply.Parse(r)
	if err != nil {
		return f, fmt.Errorf("%s is not usable:\n%w", path, err)
	}
	return f, nil
}

// printChange prints a change as lines with + for what is created and ~ for what is changed.
func (c *commands) printChange(change *apply.Change) {
	sign := "~"
	if change.Create {
		sign = "+"
	}
	fmt.Fprintln(c.Out, sign, change.Object())
	for _, s := range change.Settings {
		switch {
		case s.Before == "":
			fmt.Fprintf(c.Out, "    + %s: %s\n", s.Name, s.After)
		case s.After == "":
			fmt.Fprintf(c.Out, "    - %s: %s\n", s.Name, s.Before)
		case strings.HasPrefix(s.Before, "{"):
			fmt.Fprintf(c.Out, "    ~ %s:\n", s.Name)
			for _, line := range apply.Diff(s.Before, s.After) {
				fmt.Fprintln(c.Out, "       ", line)
			}
		default:
			fmt.Fprintf(c.Out, "    ~ %s: %s -> %s\n", s.Name, s.Before, s.After)
		}
	}
}

// applied is a server as package apply calls it.
type applied struct {
	*client.Client

	mu    sync.Mutex
	known map[string]aws.Config
}

// CreateAccount implements apply.Server.
func (a *applied) CreateAccount(ctx context.Context, id, alias string) error {
	in := &ecrintypes.CreateAccountRequest{AccountId: id, Alias: alias}
	return a.Client.Call(ctx, "CreateAccount", in, &ecrintypes.CreateAccountResponse{})
}

// Config implements apply.Server.
func (a *applied) Config(ctx context.Context, account string) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if cfg, ok := a.known[account]; ok {
		return cfg, nil
	}
	cfg, err := a.Client.Config(ctx, account)
	if err == nil {
		a.known[account] = cfg
	}
	return cfg, err
}

// Call implements apply.Server.
func (a *applied) Call(ctx context.Context, region, operation string, in, out any) error {
	return a.Client.In(region).Call(ctx, operation, in, out)
}

var _ apply.Server = (*applied)(nil)
