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

// NodeFlags are the flags that describe a node to `ecrin credential kubelet` and `ecrin cluster connect`.
type NodeFlags struct {
	Node  credential.Node
	CA    string // path
	Write bool
}

// Add adds the flags. Those for the role and the audience are added by the caller.
func (f *NodeFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.Node.Hosts, "registry", nil, "`host` of a registry, HOST or HOST:PORT as in names of images; may be repeated")
	flags.StringVar(&f.Node.Endpoint, "endpoint", "", "`URL` of the ECR API, if it is not that of the registry")
	flags.StringVar(&f.CA, "ca", "", "PEM `file` with the certificate authority of the registry, which is copied")
	flags.StringVar(&f.Node.CacheType, "cache-type", credential.CacheTypes[0],
		"for what the kubelet keeps credentials: "+strings.Join(credential.CacheTypes, ", "))
	flags.StringVar(&f.Node.Dir, "dir", credential.NodeDir, "`folder` of the configuration on the node")
	flags.StringVar(&f.Node.BinDir, "bin-dir", credential.NodeBinDir, "`folder` of the provider on the node")
	flags.BoolVar(&f.Write, "write", false, "write the files of this node, and link the provider, instead of printing them")
}

// nodeOutcome is what is printed with --json.
type nodeOutcome struct {
	Files   []credential.NodeFile `json:"files"`
	Flags   []string              `json:"kubeletFlags"`
	Next    string                `json:"next"`
	Written bool                  `json:"written"`
}

func (o Options) kubelet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "kubelet --registry HOST --role ARN", Args: cobra.NoArgs,
		Short: "Print or write what lets the kubelet of a node pull by the tokens of service accounts",
		Long: `Print the files and flags that let the kubelet of a node get credentials by the tokens of the service accounts of its pods, with nothing
stored on the node or in the cluster, or write them on this node. ecrin cluster connect makes the role and prints this command.

A service account names another role by the annotation ` + credential.RoleAnnotation + `. Kubelets before 1.34 need the feature gate
KubeletServiceAccountTokenForCredentialProviders. A file that another program has written is not replaced.`,
		Example: `  ecrin credential kubelet --distribution kubeadm --registry ecr.example.com --role arn:aws:iam::111122223333:role/staging-pull
  sudo ecrin credential kubelet --distribution k3s --registry ecr.example.com --role arn:aws:iam::111122223333:role/pull --write`,
	}
	var f NodeFlags
	f.Add(cmd)
	cmd.Flags().StringVar(&f.Node.Distribution, "distribution", "other",
		"how the kubelet is started: "+strings.Join(credential.Distributions, ", "))
	cmd.Flags().StringVar(&f.Node.Role, "role", "", "`ARN` of the role that is assumed; required")
	cmd.Flags().StringVar(&f.Node.Region, "region", "", "`region` of the registry (default: that of the host)")
	cmd.Flags().StringVar(&f.Node.Audience, "audience", "sts.amazonaws.com", "`audience` of the tokens")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error { return o.PrepareNode(&f, *asJSON) }
	return cmd
}

// PrepareNode prints what a node needs, or writes it.
//
// Errors: those of [credential.Node.Files]; a file of another program is there.
func (o Options) PrepareNode(f *NodeFlags, asJSON bool) error {
	for i, host := range f.Node.Hosts {
		if !strings.Contains(host, "*") {
			parsed, err := credential.ParseHost(host)
			if err != nil {
				return err
			}
			f.Node.Hosts[i] = parsed
		}
	}
	if f.CA != "" {
		if _, err := credential.Roots(f.CA); err != nil {
			return err
		}
		var err error
		if f.Node.CA, err = os.ReadFile(f.CA); err != nil {
			return err
		}
	}
	files, err := f.Node.Files()
	if err != nil {
		return err
	}
	if f.Write {
		if err := o.writeNode(files, f.Node.BinDir); err != nil {
			return err
		}
	}
	out := nodeOutcome{Files: files, Flags: f.Node.Flags(), Next: f.Node.Next(), Written: f.Write}
	if asJSON {
		return o.printJSON(out)
	}
	if f.Write {
		for _, file := range files {
			o.say("%s is as it should be", file.Path)
		}
		o.say("next: %s; then check it by ecrin doctor kubelet", out.Next)
		return nil
	}
	for _, file := range files {
		fmt.Fprintf(o.Out, "# ---- %s\n%s\n", file.Path, strings.TrimRight(file.Content, "\n"))
	}
	fmt.Fprintf(o.Out, "# ---- flags of the kubelet\n# %s\n# ---- next\n# %s\n", strings.Join(out.Flags, " "), out.Next)
	return nil
}

// writeNode writes the files of a node, or none if one of them is another program's.
func (o Options) writeNode(files []credential.NodeFile, binDir string) error {
	var write []credential.NodeFile
	for _, file := range files {
		have, err := os.ReadFile(file.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && file.Ours(have):
			write = append(write, file)
		case err != nil:
			return err
		case !file.Enough(have):
			return fmt.Errorf("%s has another content: put this into it, and run the command again\n%s", file.Path, strings.TrimSpace(file.Content))
		}
	}
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return err
	}
	if err := link(o.Program, filepath.Join(binDir, credential.ProviderName)); err != nil {
		return err
	}
	for _, file := range write {
		if err := os.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(file.Path, []byte(file.Content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
