package cli

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/installed"
)

const updatePreflightHelp = `Ask for each image of a version, by default the newest, whether the cluster can pull it: with the credentials of the pull secret of the
version, or those for the registry of your own. Printed are the digest, the platforms, the size, and why an image cannot be pulled.

Manifest and configuration of each image are read, which counts as a pull, and no layers. Nothing is deployed. The answers are those to this
machine: the nodes may reach other registries. An address of a private network is asked only if --egress-allow names it.

The exit code is 0 if all images can be pulled, 3 if one cannot or was not reached, and 1 for an error.`

func (c *commands) updatePreflight() *cobra.Command {
	cmd := &cobra.Command{Use: "preflight [VERSION]", Args: atMostOne("VERSION"), Short: "Check that the images of a version can be pulled",
		Long: updatePreflightHelp, Example: "  ecrin update preflight\n  ecrin update preflight 3 --json"}
	dir, allow, asJSON := dirFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withInstallation(*dir, *allow, *asJSON, func(i *install.Installation) error {
			v, err := i.Version(-1)
			if len(args) == 1 {
				v.Sequence, err = versionOf(args[0])
			}
			if err != nil {
				return err
			}
			checks, err := i.CheckImages(cmd.Context(), v.Sequence)
			if err != nil {
				return err
			}
			if err := c.showImageChecks(checks, *asJSON); err != nil {
				return err
			}
			if checks.Count(install.MayPull) < len(checks.Images) {
				return errDenied
			}
			return nil
		})
	}
	return cmd
}

// showImageChecks prints what registries answered about the images of a version.
func (c *commands) showImageChecks(checks install.ImageChecks, asJSON bool) error {
	if asJSON {
		return c.printJSON(checks)
	}
	rows := [][]string{{"IMAGE", "PULL", "DIGEST", "PLATFORMS", "SIZE", "WITH"}}
	for _, i := range checks.Images {
		size := "-"
		if i.Size > 0 {
			size = bytesText(i.Size)
		}
		rows = append(rows, []string{printable(i.Image), i.Pull, orDash(shortDigest(i.Digest)), orDash(strings.Join(i.Platforms, " ")), size,
			i.With})
	}
	if err := c.tabled(rows, "the version runs no images")(); err != nil {
		return err
	}
	for _, i := range checks.Images {
		if i.Problem != "" {
			c.say("%s: %s", printable(i.Image), i.Problem)
		}
	}
	for _, n := range checks.Notes {
		c.say("note: %s", n)
	}
	return nil
}

const updateConsoleHelp = `Serve pages in which the installation is looked at and changed with a browser on this machine: the history of the versions, a check for
updates, what differs between two versions, their files, whether their images can be pulled, deploying and going back, the values of the
application, and the licence.

An address is printed that begins a session in a browser. It works once, and after each use another one is printed. A session ends after an
hour without use, after 12 hours in any case, and with the command. The pages show no secrets; who has a session can do with the
installation what the command line can.

The pages are served to this machine only. For a browser on another machine forward the port, for example with
"ssh -L 5180:127.0.0.1:5180 HOST" and --listen 127.0.0.1:5180.

One thing is done at a time, in the background: a page may be closed meanwhile. The folder is locked for as long as that takes, and the
other commands work in between. When the command is ended (Ctrl-C) during a deployment, the deployment stays incomplete, and is resumed by a
button of the page or by ecrin update deploy. Nothing is deployed without a click.`

func (c *commands) updateConsole() *cobra.Command {
	cmd := &cobra.Command{Use: "console", Args: cobra.NoArgs, Short: "Look at an installed application and update it with a browser",
		Long: updateConsoleHelp, Example: "  ecrin update console\n  ecrin update console --dir ./shop --listen 127.0.0.1:5180"}
	dir, wait, allow, asJSON := dirFlag(cmd), waitFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	listen := cmd.Flags().String("listen", "127.0.0.1:0", "`address` of this machine; port 0 is a free one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		host, _, err := net.SplitHostPort(*listen)
		if err != nil || !installed.Loopback(host) {
			return usageError{fmt.Errorf("--listen is an address of this machine with a port, such as 127.0.0.1:5180, got %q", *listen)}
		}
		folder, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		if _, err := install.Look(folder); err != nil {
			return err
		}
		o, err := c.installOptions(*allow, false)
		if err != nil {
			return err
		}
		o.Copied, o.Bundled = nil, nil // a line that is drawn again and again is no text of a page
		l, err := net.Listen("tcp", *listen)
		if err != nil {
			return fmt.Errorf("listening on %s: %w", *listen, err)
		}
		opened := func(address string) {
			if *asJSON {
				_ = c.printJSON(map[string]any{"address": address, "folder": folder}) // a reader that is gone needs no address
				return
			}
			fmt.Fprintln(c.Out, address)
		}
		s := installed.New(installed.Options{Dir: folder, Install: o, Wait: *wait, Version: builtFrom().Version, Now: time.Now, Opened: opened})
		c.say("open the address in a browser on this machine; it works once, and Ctrl-C ends the pages")
		return s.Serve(cmd.Context(), l)
	}
	return cmd
}
