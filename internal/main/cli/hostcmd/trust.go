package hostcmd

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/trust"
)

const trustLong = `Make the clients of this machine accept the server, or undo that.

A server that runs with --tls=auto has a private CA, which clients do not trust.
"ecrin trust install" installs that CA for

  docker      /etc/docker/certs.d/HOST/ca.crt
  containerd  /etc/containerd/certs.d/HOST/hosts.toml and ca.crt beside it
  containers  /etc/containers/certs.d/HOST/ca.crt (podman, skopeo, buildah)
  system      the store of the operating system, for all other programs

The first three apply only to the server's own names, and are used if the
clients are installed. A CA in the system's store applies to all names, so it
is only installed with --for system.

For a server without TLS the same commands permit plain HTTP instead: a
hosts.toml for containerd and a file in registries.conf.d for podman, skopeo and
buildah. Docker needs no change for a server on this machine; for others the
command prints what to add to /etc/docker/daemon.json.

All commands can be repeated: files that are up to date are not changed, and
files that ecrin did not write are neither changed nor removed. --print prints
every step as a shell command and changes nothing. "ecrin trust show" prints what
is trusted, and for which names.

The aws CLI and other Python programs use none of these stores. For them "ecrin
env" sets AWS_CA_BUNDLE; on another machine:

  export AWS_CA_BUNDLE=ca.pem`

// NewTrustCommand returns `ecrin trust` with its subcommands install, remove, print and show.
func NewTrustCommand(o Options) *cobra.Command {
	cmd := quiet(&cobra.Command{
		Use:   "trust",
		Short: "Make docker, containerd, podman and the system accept the server",
		Long:  trustLong,
		Example: `  # what would be done on this machine, as a shell script
  ecrin trust install --print

  # do it
  sudo ecrin trust install

  # on another machine, with the CA copied there
  sudo ecrin trust install --ca ca.pem registry.example.com:5100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.SetOut(o.Out)
	cmd.SetErr(o.Err)
	cmd.AddCommand(newTrustChange(o, false), newTrustChange(o, true), newTrustPrint(o), newTrustShow(o))
	return cmd
}

// trustFlags are the flags of install and remove.
type trustFlags struct {
	targets           []string
	ca, root          string
	plain, print, asJ bool
}

func newTrustChange(o Options, remove bool) *cobra.Command {
	var f trustFlags
	cmd := quiet(&cobra.Command{
		Use:   "install [HOST[:PORT]...]",
		Short: "Install the server's CA, or permit plain HTTP",
		Long: `Install the server's CA for the container tools of this machine, or permit plain
HTTP if the server has no TLS.

HOST[:PORT] is the first part of an image reference. Without it, the server's
own names are used: the host of its address, and the ECR names of the registries
in use. With HOST and --ca the command needs no server on this machine.`,
		Example: `  sudo ecrin trust install
  sudo ecrin trust install --for docker,system
  ecrin trust install --print --json
  sudo ecrin trust install --ca ca.pem registry.example.com:5100
  sudo ecrin trust install --plain-http 10.0.0.7:5100`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.changeTrust(cmd.Context(), f, args, remove) },
	})
	if remove {
		cmd.Use = "remove [HOST[:PORT]...]"
		cmd.Short = "Remove what install has installed"
		cmd.Long = `Remove what "ecrin trust install" has installed for the same server. Additions of
others stay, such as a second CA in the same file.`
		cmd.Example = `  sudo ecrin trust remove
  ecrin trust remove --print
  sudo ecrin trust remove --for system`
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.targets, "for", nil,
		"the `clients`: docker, containerd, containers (or podman, skopeo, buildah), system; default: the installed clients, without system")
	flags.StringVar(&f.ca, "ca", "", "the CA's certificate, a PEM `file`; default: the server's")
	flags.BoolVar(&f.plain, "plain-http", false, "the server has no TLS; default: by the scheme of the server's address")
	flags.BoolVar(&f.print, "print", false, "print the steps as a shell script and change nothing")
	flags.BoolVar(&f.asJ, "json", false, "print the steps as JSON: with --print those to do, otherwise their state afterwards")
	flags.StringVar(&f.root, "root", "/", "the root `folder` of the machine to change, such as a mounted image")
	return cmd
}

func newTrustPrint(o Options) *cobra.Command {
	var ca string
	var asJSON bool
	cmd := quiet(&cobra.Command{
		Use:   "print",
		Short: "Print the server's CA",
		Long: `Print the certificate of the CA that signs the server's certificates, in PEM form,
to copy it to another machine. Its SHA-256 fingerprint is printed to stderr: compare it
on the other machine before you trust it (openssl x509 -noout -fingerprint -sha256 -in FILE).`,
		Example: `  ecrin trust print >ca.pem
  ecrin trust print | ssh NODE 'cat >ca.pem && sudo ecrin trust install --ca ca.pem registry.example.com:5100'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			content, err := o.readCA(cmd.Context(), ca)
			if err != nil {
				return err
			}
			block, _ := pem.Decode(content)
			if block == nil || block.Type != "CERTIFICATE" {
				return errors.New("the CA is not a certificate in PEM form")
			}
			if asJSON {
				return o.printJSON(map[string]string{"certificate": string(pem.EncodeToMemory(block)), "sha256": fingerprint(block.Bytes)})
			}
			o.say("SHA-256 fingerprint %s", fingerprint(block.Bytes))
			return pem.Encode(o.Out, block)
		},
	})
	cmd.Flags().StringVar(&ca, "ca", "", "the CA's certificate, a PEM `file`; default: the server's")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {\"certificate\", \"sha256\"}")
	return cmd
}

// readCA reads the named file ("-" for stdin), or the server's CA if path is "".
func (o Options) readCA(ctx context.Context, path string) ([]byte, error) {
	if path == "" {
		s, err := o.Resolve(ctx)
		if err != nil {
			return nil, err
		}
		if s.CAPath == "" {
			return nil, errors.New("this server has no CA of its own: start it with --tls=auto, or name a certificate with --ca FILE")
		}
		path = s.CAPath
	}
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w", err)
	}
	return content, nil
}

// trustOptions combines the flags, the arguments and the result of Resolve.
func (o Options) trustOptions(ctx context.Context, f trustFlags, hosts []string, remove bool) (trust.Options, error) {
	t := trust.Options{Root: f.root, Hosts: hosts, PlainHTTP: f.plain, OS: runtime.GOOS}
	for _, s := range f.targets {
		target, err := trust.ParseTarget(strings.TrimSpace(s))
		if err != nil {
			return t, err
		}
		t.Targets = append(t.Targets, target)
	}
	if len(t.Targets) == 0 {
		t.Targets = trust.Detect(f.root)
	}
	if len(t.Targets) == 0 {
		if !f.print {
			return t, fmt.Errorf("no docker, containerd or podman was found under %s: name the clients with --for", f.root)
		}
		t.Targets = []trust.Target{trust.Docker, trust.Containerd, trust.Containers}
	}
	ca := f.ca
	if len(hosts) == 0 || ca == "" && !f.plain && !remove {
		s, err := o.Resolve(ctx)
		if err != nil {
			return t, fmt.Errorf("finding the server (or name it: HOST:PORT with --ca FILE or --plain-http): %w", err)
		}
		if len(hosts) == 0 {
			if t.Hosts, err = s.hosts(o.inUse(ctx, s)); err != nil {
				return t, err
			}
		}
		t.PlainHTTP = f.plain || !s.TLS && ca == ""
		if ca == "" {
			ca = s.CAPath
		}
	}
	if t.PlainHTTP {
		return t, nil
	}
	if ca == "" && !remove {
		return t,
			errors.New("this server's certificate is from no CA of its own, so there is none to install: name one with --ca FILE if clients need it")
	}
	if ca != "" {
		var err error
		if t.CAPEM, err = o.readCA(ctx, ca); err != nil && !remove {
			return t, err
		}
	}
	if remove && len(hosts) == 0 {
		t.Hosts = append(t.Hosts, installedFor(f.root, t.CAPEM, t.Hosts)...)
	}
	return t, nil
}

// installedFor returns the hosts other than known for which a CA is installed, or an earlier certificate of it: the registries in use
// when it was installed may be deleted now.
func installedFor(root string, caPEM []byte, known []string) []string {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	installed, _ := trust.List(root) // what cannot be read cannot be removed either
	var hosts []string
	for _, i := range installed {
		if i.Host != "" && bytes.Equal(i.CA.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo) && !slices.Contains(known, i.Host) &&
			!slices.Contains(hosts, i.Host) {
			hosts = append(hosts, i.Host)
		}
	}
	return hosts
}

func (o Options) changeTrust(ctx context.Context, f trustFlags, hosts []string, remove bool) error {
	t, err := o.trustOptions(ctx, f, hosts, remove)
	if err != nil {
		return err
	}
	planFor, verb := trust.Install, "install"
	if remove {
		planFor, verb = trust.Uninstall, "remove"
	}
	plan, err := planFor(t)
	if err != nil {
		return err
	}
	if f.print {
		return o.printPlan(plan, f.asJ)
	}
	if err := plan.Apply(ctx, o.run, func(a trust.Action) { o.say("%s: %s", a.Target, done(a)) }); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			o.say("hint: run it with sudo, or see what it does: ecrin trust %s --print", verb)
		}
		return err
	}
	for _, a := range plan.Actions {
		if a.Kind == trust.Note && !a.Done {
			o.say("%s: %s", a.Target, a.Why)
			for line := range strings.Lines(a.Shell) {
				fmt.Fprintf(o.Err, "    %s\n", strings.TrimRight(line, "\n"))
			}
		}
	}
	if plan.Pending() == 0 {
		o.say("nothing to change")
	}
	if !f.asJ {
		return nil
	}
	if plan, err = planFor(t); err != nil {
		return err
	}
	return o.printPlan(plan, true)
}

// done returns what an action has done, for messages.
func done(a trust.Action) string {
	switch a.Kind {
	case trust.Write:
		return "wrote " + a.Path
	case trust.Remove:
		return "removed " + a.Path
	}
	return "ran " + strings.Join(a.Command, " ")
}

func (o Options) printPlan(plan trust.Plan, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(o.Out, plan.Script())
		return err
	}
	return o.printJSON(plan)
}

// run executes a command of a plan. It prints the output only if the command fails.
func (o Options) run(ctx context.Context, argv []string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		o.Err.Write(out)
	}
	return err
}
