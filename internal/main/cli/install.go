package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
)

// installDir is the folder of an installation if none is named.
const installDir = "ecrin-app"

// dirFlag adds --dir.
func dirFlag(cmd *cobra.Command) *string {
	return cmd.PersistentFlags().String("dir", installDir, "`folder` of the installation")
}

// waitFlag adds --wait.
func waitFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("wait", 10*time.Minute, "how long a deployment may take, a `duration`")
}

const installHelp = `Install an application of a vendor with a licence, and deploy it.

LICENSE is the file that the vendor has given you. It must be signed by the vendor, whose public key is in the file --key (the vendor prints
it by "ecrin license key"); the key is kept, and later licences must be signed by it too.

The machine and the cluster are checked first. The cluster is the one of --kubeconfig, KUBECONFIG or ~/.kube/config, or else the k3s of this
machine. Then the newest version is downloaded, which images can be pulled without credentials is found out, and the objects are applied to
the namespace, with a pull secret that has the licence. The command ends when they run, or when the cluster says that they will not.

With --airgap the version is taken from a bundle that the vendor has made (ecrin release airgap): no server of the vendor is asked. Its
images are pushed to the registry of your own that --registry names, and the cluster pulls them from there. The licence is checked on this
machine alone.

The folder --dir has the history (ecrin update), the files of each version (ecrin files), and your changes in
overlays/downstreams/this-cluster, a folder for kustomize that no version replaces. An installation that was interrupted goes on when the
command is run again.`

func (c *commands) install() *cobra.Command {
	var s install.Settings
	var key, airgap, registry string
	var revoked []string
	var own ownRegistry
	var checkOnly, skip, noDeploy bool
	cmd := &cobra.Command{Use: "install LICENSE", Args: exactly("LICENSE"), Short: "Install an application of a vendor with a licence",
		Long: installHelp,
		Example: "  ecrin install license.yaml --key vendor.pem --check\n  ecrin install license.yaml --key vendor.pem --namespace shop\n" +
			"  ecrin install license.yaml --key vendor.pem --airgap shop.airgap --registry registry.example.com/shop --username u --password-file p\n" +
			"  ecrin update check"}
	f := cmd.Flags()
	dir, wait, allow, asJSON := dirFlag(cmd), waitFlag(cmd), allowFlag(cmd), c.jsonFlag(cmd)
	f.StringVar(&key, "key", "", "public key of the vendor, a PEM `file`")
	f.StringVar(&s.Kubeconfig, "kubeconfig", "", "`file` that names the cluster")
	f.StringVar(&s.Context, "context", "", "`context` of the kubeconfig (default: its current one)")
	f.StringVar(&s.Namespace, "namespace", "default", "`namespace` of the application, which is made if it does not exist")
	f.StringVar(&s.CA, "ca", "", "PEM `file` of private CAs that the servers of the vendor have")
	f.BoolVar(&s.PlainHTTP, "plain-http", false, "send the licence to a server of another machine without TLS")
	f.BoolVar(&s.AllPrivate, "all-private", false, "ask no registry: all images are pulled with the licence")
	f.StringVar(&airgap, "airgap", "", "airgap bundle of the vendor, a `file`: install without a network")
	f.StringVar(&registry, "registry", "", toRegistryHelp)
	f.StringArrayVar(&revoked, "revoked", nil, revokedHelp)
	own.add(cmd)
	f.BoolVar(&checkOnly, "check", false, "check the licence, the machine and the cluster only")
	f.BoolVar(&skip, "skip-checks", false, "install although checks fail")
	f.BoolVar(&noDeploy, "no-deploy", false, "download the newest version only")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if key == "" {
			return usageError{errors.New("--key is needed: the file with the public key of the vendor, which \"ecrin license key\" prints there")}
		}
		text, err := os.ReadFile(args[0])
		if err != nil {
			return fmt.Errorf("reading the licence: %w", err)
		}
		public, err := os.ReadFile(key)
		if err != nil {
			return fmt.Errorf("reading the public key of the vendor: %w", err)
		}
		if (airgap == "") != (registry == "") {
			return usageError{errors.New("--airgap FILE and --registry HOST[/NAMESPACE] belong together: the images of the bundle go there")}
		}
		b, err := c.airgapBundle(airgap, registry, revoked, &own)
		if err != nil {
			return err
		}
		l, err := install.Verify(text, string(public), time.Now())
		if err != nil {
			return err
		}
		for _, member := range l.Changed {
			c.say("%s was changed in the licence: the signed value is used", printable(member))
		}
		if s.CA != "" {
			if s.CA, err = filepath.Abs(s.CA); err != nil {
				return err
			}
		}
		checks, err := c.checkHost(cmd.Context(), *dir, &s)
		if !skip && !noDeploy || checkOnly {
			if err == nil && !*asJSON {
				err = c.showChecks(checks)
			}
			if err == nil && checkOnly && *asJSON {
				return c.printJSON(map[string]any{"checks": checks})
			}
			if err == nil && failed(checks) {
				err = errors.New("the checks fail: --skip-checks installs all the same")
			}
			if err != nil || checkOnly {
				return err
			}
		}
		o, err := c.installOptions(*allow, *asJSON)
		if err != nil {
			return err
		}
		i, err := install.Create(*dir, text, string(public), s, o)
		if err != nil {
			return err
		}
		defer i.Close()
		err = c.firstVersion(cmd.Context(), i, b, noDeploy, *wait)
		c.endProgress(*asJSON)
		v, none := i.Version(-1)
		if *asJSON && none == nil {
			return errors.Join(err, c.printJSON(map[string]any{"folder": *dir, "checks": checks, "version": v}))
		}
		if err == nil {
			c.say("the version %s is %s in %s", printable(v.Label), v.Status, word(*dir))
		}
		return err
	}
	return cmd
}

// firstVersion downloads the newest version, or takes it from a bundle, and deploys it.
func (c *commands) firstVersion(ctx context.Context, i *install.Installation, b install.AirgapBundle, noDeploy bool,
	wait time.Duration) error {
	all, _ := i.Versions()
	var err error
	switch {
	case b.Path != "":
		_, err = i.Airgap(ctx, b)
	case len(all) == 0 || all[0].Status == install.PendingDownload:
		_, err = i.Check(ctx)
	}
	if err != nil {
		return err
	}
	if noDeploy {
		return nil
	}
	v, err := i.Next()
	if err != nil {
		return err
	}
	return i.Deploy(ctx, v.Sequence, wait)
}

func allowFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringSlice("egress-allow", nil, "private `addresses` or ranges of registries that may be asked, joined by commas")
}

// installOptions returns the options of an installation.
func (c *commands) installOptions(allow []string, quiet bool) (o install.Options, err error) {
	for _, text := range allow {
		prefix, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return o, usageError{fmt.Errorf("--egress-allow: want an address or a range, got %q", text)}
		}
		o.Egress.Allow = append(o.Egress.Allow, prefix)
	}
	o.Getenv = func(key string) string { return c.lookup(key, "") }
	if !quiet {
		o.Copied, o.Bundled = c.copyProgress(), c.bundleProgress(false)
		o.Say = func(format string, args ...any) { c.say("%s", printable(fmt.Sprintf(format, args...))) }
	}
	return o, nil
}

// checkHost finds the cluster and checks the machine.
func (c *commands) checkHost(ctx context.Context, dir string, s *install.Settings) ([]install.HostCheck, error) {
	t, err := install.FindTarget(s.Kubeconfig)
	if err != nil {
		return nil, err
	}
	s.Kubeconfig = t.Kubeconfig
	return install.CheckHost(ctx, dir, s.Context, t), nil
}

func failed(checks []install.HostCheck) bool {
	for _, one := range checks {
		if one.Result == install.Fail {
			return true
		}
	}
	return false
}

func (c *commands) showChecks(checks []install.HostCheck) error {
	rows := [][]string{{"CHECK", "RESULT", "FOUND", "NEEDED"}}
	for _, one := range checks {
		rows = append(rows, []string{one.Name, string(one.Result), one.Found, one.Want})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	for _, one := range checks {
		if one.Cure != "" {
			c.say("%s: %s", one.Name, one.Cure)
		}
	}
	return nil
}

const filesHelp = `Show the files of a version: upstream (exactly as the vendor has released them, with userdata about you), base (rendered, what goes to the
cluster), overlays/midstream (generated: names of images, pull secret, patches), overlays/downstreams (your changes), rendered (what is
applied), kotsKinds (objects for installers) and skippedFiles (what could not be read).

Without PATH the paths are listed; with a folder those below it; with a file its content is printed.`

func (c *commands) files() *cobra.Command {
	cmd := &cobra.Command{Use: "files [PATH]", Args: atMostOne("PATH"), Short: "Show the files of an installed version", Long: filesHelp,
		Example: "  ecrin files\n  ecrin files overlays/midstream/kustomization.yaml\n  ecrin files rendered --version 0"}
	dir, asJSON := dirFlag(cmd), c.jsonFlag(cmd)
	version := cmd.Flags().Int64("version", -1, "`sequence` of the version (default: the newest)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		i, err := install.Open(*dir, install.Options{})
		if err != nil {
			return err
		}
		defer i.Close()
		v, err := i.Version(*version)
		if err != nil {
			return err
		}
		all, err := i.Files(v.Sequence)
		if err != nil {
			return err
		}
		below := ""
		if len(args) == 1 {
			below = strings.Trim(filepath.ToSlash(args[0]), "/")
		}
		var found []string
		for _, name := range all {
			if name == below {
				text, err := i.Read(v.Sequence, name)
				if err == nil && *asJSON {
					return c.printJSON(map[string]any{"version": v.Sequence, "path": name, "content": string(text)})
				}
				if err == nil {
					_, err = c.Out.Write(text)
				}
				return err
			}
			if below == "" || strings.HasPrefix(name, below+"/") {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 0:
			return fmt.Errorf("the version %d has no file %s", v.Sequence, printable(below))
		case *asJSON:
			return c.printJSON(map[string]any{"version": v.Sequence, "files": found})
		}
		for _, name := range found {
			fmt.Fprintln(c.Out, printable(name))
		}
		return nil
	}
	return cmd
}
