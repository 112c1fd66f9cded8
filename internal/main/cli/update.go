package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
)

func (c *commands) update() *cobra.Command {
	cmd := &cobra.Command{Use: "update", Short: "Keep an installed application up to date",
		Long: `Keep an application that ecrin install has installed up to date: find new versions, look at them, deploy them, and go back.

Nothing is deployed by itself. A version that the vendor marks as required must be deployed before later ones.`,
		Example: "  ecrin update check\n  ecrin update diff\n  ecrin update deploy\n  ecrin update list --refresh\n  ecrin update rollback"}
	cmd.AddCommand(c.updateCheck(), c.updateList(), c.updateDiff(), c.updateDeploy(), c.updateRollback(), c.updateConfig(), c.updateRegistry(),
		c.updateLicense(), c.updateWatch(), c.updateAirgap(), c.updatePreflight(), c.updateConsole())
	return cmd
}

// withInstallation opens the installation of a command, and calls a function with it.
func (c *commands) withInstallation(dir string, allow []string, quiet bool, f func(*install.Installation) error) error {
	o, err := c.installOptions(allow, quiet)
	if err != nil {
		return err
	}
	i, err := install.Open(dir, o)
	if err != nil {
		return err
	}
	defer i.Close()
	return f(i)
}

// showVersions prints versions, the newest first.
func (c *commands) showVersions(all []install.Version, current int64, asJSON bool) error {
	if asJSON {
		if all == nil {
			all = []install.Version{}
		}
		return c.printJSON(map[string]any{"versions": all, "current": current})
	}
	rows := [][]string{{"VERSION", "LABEL", "SOURCE", "STATUS", "REQUIRED", "CREATED", ""}}
	for n := len(all) - 1; n >= 0; n-- {
		v, note := all[n], ""
		switch {
		case v.Sequence == current:
			note = "Currently deployed version"
		case v.NotOffered:
			note = "Not offered any more"
		case v.Sequence > current && v.Status == install.Pending:
			note = "New version available"
		}
		rows = append(rows, []string{fmt.Sprint(v.Sequence), printable(v.Label), string(v.Source), string(v.Status), fmt.Sprint(v.Required),
			stamp(v.CreatedAt), note})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	for _, v := range all {
		if v.Error != "" {
			c.say("version %d: %s", v.Sequence, printable(v.Error))
		}
	}
	return nil
}

func (c *commands) updateCheck() *cobra.Command {
	cmd := &cobra.Command{Use: "check", Args: cobra.NoArgs, Short: "Ask the vendor for new versions, and download them",
		Long: "Ask the vendor for new versions and for the licence as it is now, and download them. Nothing is deployed. A version that the vendor " +
			"does not offer any more is marked in ecrin update list, and is not deployed until it is offered again."}
	dir, allow, asJSON := dirFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) error {
			found, err := i.Check(cmd.Context())
			_, current := i.Versions()
			if err == nil && len(found) == 0 && !*asJSON {
				c.say("there is no new version")
				return nil
			}
			if err != nil && len(found) == 0 {
				return err
			}
			return errors.Join(err, c.showVersions(found, current, *asJSON))
		})
	}
	return cmd
}

func (c *commands) updateList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the versions, the newest first"}
	dir, asJSON := dirFlag(cmd), c.jsonFlag(cmd)
	refresh := cmd.Flags().Bool("refresh", false, "look at the cluster, until the status of what is deployed settles (at most half a minute)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withInstallation(*dir, nil, *asJSON, func(i *install.Installation) error {
			var now install.Version
			if *refresh {
				var err error
				if now, err = i.Refresh(cmd.Context()); err != nil {
					return err
				}
			}
			all, current := i.Versions()
			if *refresh {
				all[current] = now
			}
			return c.showVersions(all, current, *asJSON)
		})
	}
	return cmd
}

func (c *commands) updateDiff() *cobra.Command {
	cmd := &cobra.Command{Use: "diff", Args: cobra.NoArgs, Short: "Show what differs between two versions",
		Long:    "Show what differs between the releases of two versions, as diff -u does: by default of the deployed and the newest one.",
		Example: "  ecrin update diff\n  ecrin update diff --from 0 --to 2 --rendered"}
	dir, asJSON := dirFlag(cmd), c.jsonFlag(cmd)
	f := cmd.Flags()
	from := f.Int64("from", -1, "`sequence` of the version before (default: the deployed one)")
	to := f.Int64("to", -1, "`sequence` of the version after (default: the newest)")
	rendered := f.Bool("rendered", false, "compare what is applied to the cluster")
	cmd.RunE = func(*cobra.Command, []string) error {
		return c.withInstallation(*dir, nil, true, func(i *install.Installation) error {
			b, err := i.Version(*to)
			if err != nil {
				return err
			}
			a := install.Version{Sequence: *from}
			if _, current := i.Versions(); *from == -1 {
				a.Sequence = max(current, 0)
			}
			text, err := i.Diff(a.Sequence, b.Sequence, *rendered)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return c.printJSON(map[string]any{"from": a.Sequence, "to": b.Sequence, "diff": text})
			case text == "":
				c.say("the versions %d and %d have the same files", a.Sequence, b.Sequence)
			}
			_, err = io.WriteString(c.Out, text)
			return err
		})
	}
	return cmd
}

// deployed shows a version after a deployment.
func (c *commands) deployed(i *install.Installation, asJSON bool, err error) error {
	all, current := i.Versions()
	if current < 0 {
		return err
	}
	if asJSON {
		return errors.Join(err, c.printJSON(map[string]any{"version": all[current]}))
	}
	if err == nil {
		c.say("the version %d (%s) is deployed", current, printable(all[current].Label))
	}
	return err
}

func (c *commands) updateDeploy() *cobra.Command {
	cmd := &cobra.Command{Use: "deploy [VERSION]", Args: atMostOne("VERSION"), Short: "Deploy a version, and wait until it runs",
		Long: `Deploy a version, by default the newest, or one whose deployment was interrupted. Objects are applied by server-side apply, and those of
the version before that the new one has not are deleted, but for namespaces, definitions of kinds and volumes.

The command ends when the cluster says that the objects run (deployed) or will not (failed): an image that cannot be pulled, with the text of
the kubelet, or a container that crashes again and again.`}
	dir, wait, asJSON := dirFlag(cmd), waitFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withInstallation(*dir, nil, *asJSON, func(i *install.Installation) error {
			v, err := i.Next()
			if len(args) == 1 {
				v.Sequence, err = versionOf(args[0])
			}
			if err != nil {
				return err
			}
			return c.deployed(i, *asJSON, i.Deploy(cmd.Context(), v.Sequence, *wait))
		})
	}
	return cmd
}

// versionOf parses the sequence of a version.
func versionOf(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, usageError{fmt.Errorf("VERSION is a number from 0, see ecrin update list, got %q", text)}
	}
	return n, nil
}

func (c *commands) updateRollback() *cobra.Command {
	cmd := &cobra.Command{Use: "rollback [VERSION]", Args: atMostOne("VERSION"), Short: "Deploy a version again that was deployed before",
		Long: "Deploy a version again that was deployed before: by default the last one before the current. Your changes stay."}
	dir, wait, asJSON := dirFlag(cmd), waitFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withInstallation(*dir, nil, *asJSON, func(i *install.Installation) error {
			to := int64(-1)
			if len(args) == 1 {
				var err error
				if to, err = versionOf(args[0]); err != nil {
					return err
				}
			}
			return c.deployed(i, *asJSON, i.Rollback(cmd.Context(), to, *wait))
		})
	}
	return cmd
}

// newest shows the newest version, which a change has made.
func (c *commands) newest(i *install.Installation, asJSON bool) error {
	all, current := i.Versions()
	return c.showVersions(all[max(0, len(all)-1):], current, asJSON)
}

func (c *commands) updateConfig() *cobra.Command {
	var set []string
	cmd := &cobra.Command{Use: "config", Args: cobra.NoArgs, Short: "Show or set the values that the application asks for",
		Long: "Show the values that the newest version asks for. With --set they are changed, which makes a version to deploy; an empty value takes " +
			"one away.",
		Example: "  ecrin update config\n  ecrin update config --set hostname=shop.example.com"}
	dir, asJSON := dirFlag(cmd), c.jsonFlag(cmd)
	cmd.Flags().StringArrayVar(&set, "set", nil, "`NAME=VALUE`, once for each value")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withInstallation(*dir, nil, *asJSON, func(i *install.Installation) error {
			if len(set) > 0 {
				values := map[string]string{}
				for _, one := range set {
					name, value, ok := strings.Cut(one, "=")
					if !ok {
						return usageError{fmt.Errorf("--set is NAME=VALUE, got %q", one)}
					}
					values[name] = value
				}
				if err := i.SetConfig(cmd.Context(), values); err != nil {
					return err
				}
				return c.newest(i, *asJSON)
			}
			v, err := i.Version(-1)
			if err != nil {
				return err
			}
			items, err := i.ConfigItems(v.Sequence)
			if err != nil {
				return err
			}
			rows := [][]string{{"NAME", "VALUE", "DEFAULT", "REQUIRED", "TITLE"}}
			for n := range items {
				if items[n].Secret() && items[n].Value != "" {
					items[n].Value = "(set)"
				}
				rows = append(rows, []string{printable(items[n].Name), printable(items[n].Value), printable(items[n].Default),
					fmt.Sprint(items[n].Required), printable(items[n].Title)})
			}
			if *asJSON {
				return c.printJSON(map[string]any{"values": append([]install.ConfigItem{}, items...)})
			}
			return c.tabled(rows, "the application asks for no values")()
		})
	}
	return cmd
}

func (c *commands) updateLicense() *cobra.Command {
	cmd := &cobra.Command{Use: "license [LICENSE]", Args: atMostOne("LICENSE"), Short: "Take the licence as the vendor has it now",
		Long: "Take the licence as the vendor has it now, or the one in a file. A changed licence makes a version to deploy. It must be signed by the " +
			"vendor of the installation, and have the same id."}
	dir, allow, asJSON := dirFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) (err error) {
			changed := false
			if len(args) == 1 {
				var text []byte
				if text, err = os.ReadFile(args[0]); err == nil {
					changed, err = i.SetLicense(cmd.Context(), text)
				}
			} else {
				changed, err = i.SyncLicense(cmd.Context())
			}
			l := i.License()
			switch {
			case err != nil:
				return err
			case *asJSON:
				return c.printJSON(map[string]any{"changed": changed, "licenseSequence": l.Sequence, "customerName": l.CustomerName})
			case changed:
				return c.newest(i, false)
			}
			c.say("the licence has not changed")
			return nil
		})
	}
	return cmd
}

// intervals are names of intervals of checks.
var intervals = map[string]time.Duration{"hourly": time.Hour, "daily": 24 * time.Hour, "weekly": 7 * 24 * time.Hour}

// minInterval is the shortest interval of checks.
const minInterval = time.Minute

func (c *commands) updateWatch() *cobra.Command {
	var once, deploy bool
	cmd := &cobra.Command{Use: "watch", Args: cobra.NoArgs, Short: "Check for updates again and again",
		Long:    "Check for updates at an interval until the command is ended. With --deploy what is new is deployed.",
		Example: "  ecrin update watch --interval 4h\n  ecrin update watch --interval daily --deploy"}
	dir, wait, allow, asJSON := dirFlag(cmd), waitFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	f := cmd.Flags()
	every := f.String("interval", "4h", "hourly, daily, weekly or a `duration`")
	f.BoolVar(&deploy, "deploy", false, "deploy what is new")
	f.BoolVar(&once, "once", false, "check once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		interval, ok := intervals[*every]
		if !ok {
			var err error
			if interval, err = time.ParseDuration(*every); err != nil || interval < minInterval {
				return usageError{fmt.Errorf("--interval is hourly, daily, weekly or a duration of at least %s, got %q", minInterval, *every)}
			}
		}
		step := func(ctx context.Context) error {
			return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) error {
				found, err := i.Check(ctx)
				_, current := i.Versions()
				if err == nil && deploy && len(found) > 0 {
					for _, v := range found {
						if last := found[len(found)-1]; err == nil && (v.Required || v.Sequence == last.Sequence) {
							err = i.Deploy(ctx, v.Sequence, *wait)
						}
					}
					all, at := i.Versions()
					found, current = all[found[0].Sequence:], at
				}
				if len(found) > 0 || *asJSON {
					err = errors.Join(err, c.showVersions(found, current, *asJSON))
				}
				return err
			})
		}
		for {
			err := step(cmd.Context())
			if once || cmd.Context().Err() != nil || errors.Is(err, install.ErrNotInstalled) || errors.Is(err, install.ErrAirgap) {
				return err
			}
			if err != nil {
				c.say("%s", printable(err.Error()))
			}
			select {
			case <-cmd.Context().Done():
				return nil
			case <-time.After(interval):
			}
		}
	}
	return cmd
}
