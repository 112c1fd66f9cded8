package credcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

func (o Options) install() *cobra.Command {
	cmd := &cobra.Command{
		Use: "install DIR", Args: cobra.ExactArgs(1),
		Short: "Link the credential helper of docker and the credential provider of the kubelet into a folder",
		Long: `Link this program into a folder under the two names by which it is called:

  ` + credential.HelperName + `    by docker, for "credHelpers": {"HOST": "ecrin"}; the folder must be on the PATH
  ` + credential.ProviderName + `  by the kubelet, for --image-credential-provider-bin-dir DIR

A file of that name that is no link to an ecrin is not replaced.`,
		Example: "  sudo ecrin credential install /usr/local/bin\n  sudo ecrin credential install /opt/ecrin/bin",
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := os.MkdirAll(args[0], 0o755); err != nil {
			return err
		}
		links := map[string]string{}
		for _, name := range []string{credential.HelperName, credential.ProviderName} {
			path := filepath.Join(args[0], name)
			if err := link(o.Program, path); err != nil {
				return err
			}
			links[name] = path
			if !*asJSON {
				o.say("%s -> %s", path, o.Program)
			}
		}
		if *asJSON {
			return o.printJSON(links)
		}
		return nil
	}
	return cmd
}

// link makes path a link to the program, in place of one to another ecrin.
func link(program, path string) error {
	old, err := os.Readlink(path)
	switch {
	case err == nil && old == program:
		return nil
	case err == nil && filepath.Base(old) == "ecrin":
	case errors.Is(err, fs.ErrNotExist):
	default:
		return fmt.Errorf("%s exists and is no link to an ecrin: remove it first", path)
	}
	other := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Symlink(program, other); err != nil {
		return err
	}
	if err := os.Rename(other, path); err != nil {
		return errors.Join(err, os.Remove(other))
	}
	return nil
}

// hostFlags are the flags that describe a registry to a container runtime.
type hostFlags struct {
	host, server, ca string
	mirrors          []string
}

func (f *hostFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.host, "host", "", "`HOST` or HOST:PORT of the registry, as in names of images; required")
	flags.StringVar(&f.server, "server", "", "`URL` of the registry, if it is not https://HOST")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "`URL` of a mirror, which is asked first, with ?ns=HOST; may be repeated")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` with the certificate authority of the registry and its mirrors")
}

func (f *hostFlags) file() (credential.HostFile, error) {
	if f.host == "" {
		return credential.HostFile{}, errors.New("name the registry with --host")
	}
	host, err := credential.ParseHost(f.host)
	if err != nil {
		return credential.HostFile{}, err
	}
	h := credential.HostFile{Host: host, Server: f.server, Mirrors: f.mirrors}
	if f.ca != "" {
		if _, err := credential.Roots(f.ca); err != nil {
			return h, err
		}
		if h.CA, err = filepath.Abs(f.ca); err != nil {
			return h, err
		}
	}
	return h, h.Check()
}

const runtimeCredentials = `The file has no credentials: the kubelet passes those of its credential provider, ctr those of --user.
They are those for the host of the image. A mirror under another name gets no credentials from the
kubelet, so that it must allow anonymous pulls.`

// outcome is what containerd and k3s print with --json.
type outcome struct {
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"` // what was written
	Content string `json:"content"`
}

func (o Options) containerd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "containerd --host HOST", Args: cobra.NoArgs, Short: "Print or write hosts.toml of containerd for a registry",
		Long: `Print hosts.toml of containerd for a registry, or write it below the folder that config_path of containerd names.
containerd reads it at the next pull, without a restart. With --write, the CA is copied beside it.

` + runtimeCredentials,
		Example: `  ecrin credential containerd --host registry.example.com:5100 --ca ca.pem --write /etc/containerd/certs.d
  ecrin credential containerd --host 111122223333.dkr.ecr.eu-west-1.amazonaws.com --mirror https://mirror.example.com:5100`,
	}
	var f hostFlags
	f.add(cmd)
	write := cmd.Flags().String("write", "", "`folder` of containerd for hosts, such as /etc/containerd/certs.d")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		h, err := f.file()
		if err != nil {
			return err
		}
		out := outcome{Host: h.Host}
		if *write != "" {
			dir := filepath.Join(*write, h.Host)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if h.CA != "" {
				pem, err := os.ReadFile(h.CA)
				if err != nil {
					return err
				}
				if h.CA, err = filepath.Abs(filepath.Join(dir, "ca.pem")); err != nil {
					return err
				}
				if err := durable.WriteFile(h.CA, pem, 0o644); err != nil {
					return err
				}
			}
			out.Path = filepath.Join(dir, "hosts.toml")
		}
		return o.runtimeFile(&out, h.Containerd, *asJSON)
	}
	return cmd
}

func (o Options) k3s() *cobra.Command {
	cmd := &cobra.Command{
		Use: "k3s --host HOST", Args: cobra.NoArgs, Short: "Print or write registries.yaml of k3s and RKE2 for a registry",
		Long: `Print registries.yaml of k3s (/etc/rancher/k3s) or RKE2 (/etc/rancher/rke2) for a registry, or write it.
It is read when k3s starts. A file that exists is not replaced: merge it by hand.

` + runtimeCredentials,
		Example: "  sudo ecrin credential k3s --host registry.example.com:5100 --ca /etc/ecrin/ca.pem --write /etc/rancher/k3s/registries.yaml",
	}
	var f hostFlags
	f.add(cmd)
	write := cmd.Flags().String("write", "", "`file` that is written")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		h, err := f.file()
		if err != nil {
			return err
		}
		out := outcome{Host: h.Host, Path: *write}
		content := func() ([]byte, error) { return credential.K3s([]credential.HostFile{h}) }
		if want, err := content(); err == nil && *write != "" {
			if have, err := os.ReadFile(*write); err == nil && string(have) != string(want) {
				return fmt.Errorf("%s exists with another content: put this into it\n%s", *write, strings.TrimSpace(string(want)))
			}
		}
		return o.runtimeFile(&out, content, *asJSON)
	}
	return cmd
}

// runtimeFile prints a file, or writes it to the path of the outcome.
func (o Options) runtimeFile(out *outcome, content func() ([]byte, error), asJSON bool) error {
	text, err := content()
	if err != nil {
		return err
	}
	out.Content = string(text)
	if out.Path != "" {
		if err := durable.WriteFile(out.Path, text, 0o644); err != nil {
			return err
		}
	}
	switch {
	case asJSON:
		return o.printJSON(out)
	case out.Path != "":
		o.say("wrote %s", out.Path)
		return nil
	}
	_, err = o.Out.Write(text)
	return err
}
