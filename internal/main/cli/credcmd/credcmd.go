// Package credcmd implements the commands that bring credentials for registries to their consumers: `ecrin credential` and `ecrin
// refresh`, and the two programs that are ecrin under another name, the credential helper of docker and the credential provider of the
// kubelet. None of them needs a server of ecrin on this machine.
package credcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// Options are the dependencies of the commands.
type Options struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Version  string
	Program  string           // path of the program
	Now      func() time.Time // nil means time.Now
}

func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Err, "ecrin: "+format+"\n", args...)
}

// sources returns the source of new credentials, and the cache in front of it.
func (o Options) sources(config string) (*credential.AWS, *credential.Cache, error) {
	c, err := credential.LoadConfig(config, o.Getenv)
	if err != nil {
		return nil, nil, err
	}
	source := &credential.AWS{Config: c, Getenv: o.Getenv, Now: o.Now}
	return source, &credential.Cache{Dir: c.Cache, Source: source, Key: source.Key, Now: o.Now, Log: o.say}, nil
}

// Named returns what the program does under a name other than ecrin: the last part of arg0, without .exe. It is nil for other names.
func Named(arg0 string) func(ctx context.Context, o Options, args []string) int {
	switch strings.TrimSuffix(filepath.Base(arg0), ".exe") {
	case credential.HelperName:
		return helper
	case credential.ProviderName:
		return provider
	}
	return nil
}

// helper is the credential helper of docker.
func helper(ctx context.Context, o Options, args []string) int {
	if len(args) != 1 {
		fmt.Fprintf(o.Out, "usage: %s get|store|erase|list|version\n", credential.HelperName)
		return 1
	}
	if args[0] == "-v" || args[0] == "--version" {
		args[0] = "version"
	}
	aws, cache, err := o.sources("")
	if err != nil {
		fmt.Fprintln(o.Out, err) // where docker reads errors
		return 1
	}
	ignore := o.Getenv("ECRIN_IGNORE_CREDS_STORAGE") == "true" || o.Getenv("AWS_ECR_IGNORE_CREDS_STORAGE") == "true"
	h := &credential.Helper{Source: cache, Cache: cache, Named: aws.Config.Named(), Version: o.Version, Ignore: ignore}
	return h.Run(ctx, args[0], o.In, o.Out)
}

// provider is the credential provider of the kubelet. The only argument that it knows is get-credentials, which the configuration of the
// provider of AWS has.
func provider(ctx context.Context, o Options, args []string) int {
	config := ""
	for _, arg := range args {
		if file, ok := strings.CutPrefix(arg, "--config="); ok {
			config = file
			continue
		}
		if arg == "--version" || arg == "version" {
			fmt.Fprintln(o.Out, credential.ProviderName, o.Version)
			return 0
		}
		if arg != "get-credentials" {
			o.say("unknown argument %q, want get-credentials or --config=FILE", arg)
			return 1
		}
	}
	aws, cache, err := o.sources(config)
	if err == nil {
		p := &credential.Provider{Source: cache, Role: cmp.Or(o.Getenv("AWS_ECR_ROLE_ARN"), o.Getenv("ECRIN_ROLE_ARN")), Now: o.Now,
			As: func(id credential.Identity) credential.Source {
				one := *aws
				one.Identity = id
				return &one
			}}
		err = p.Run(ctx, o.In, o.Out)
	}
	if err != nil {
		o.say("%v", err)
		return 1
	}
	return 0
}

// NewCredentialCommand returns `ecrin credential`.
func NewCredentialCommand(o Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "credential", Short: "Get credentials for registries, and set up the programs that use them",
		Long: `Get the credentials for registries of ECR and of ecrin, and set up docker, the kubelet, containerd and k3s.

The credentials of AWS are those of the environment of the aws CLI, or what the file
~/.config/ecrin/credentials.yaml (ECRIN_CREDENTIALS_CONFIG) says about a host: a profile, roles,
a web identity token, the address of an ecrin. docs/credentials.md has all keys of the file.`,
		Example: `  ecrin credential print 111122223333.dkr.ecr.eu-west-1.amazonaws.com
  ecrin credential install /usr/local/bin
  ecrin credential containerd --host registry.example.com:5100 --ca ca.pem --write /etc/containerd/certs.d`,
	}
	cmd.AddCommand(o.print(), o.install(), o.kubelet(), o.containerd(), o.k3s())
	return cmd
}

// configFlag adds --config.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("config", "", "`file` that says how credentials are got (default: ECRIN_CREDENTIALS_CONFIG or ~/.config/ecrin/credentials.yaml)")
}

// hostsOf returns the registries that arguments name, or those of the configuration if there is no argument.
func hostsOf(args []string, c *credential.Config) ([]string, error) {
	var hosts []string
	for _, arg := range args {
		host, err := credential.ParseHost(arg)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 {
		hosts = c.Named()
	}
	if len(hosts) == 0 {
		return nil, errors.New("name the registry, HOST or HOST:PORT")
	}
	return hosts, nil
}

func (o Options) print() *cobra.Command {
	cmd := &cobra.Command{
		Use: "print HOST...", Short: "Print credentials for registries",
		Long: `Print credentials for registries, from the cache if they have not lived half of their time:

  user-pass         one line USER:PASSWORD, as a script of Argo CD Image Updater prints it
  password          one line, for docker login --password-stdin
  dockerconfigjson  a configuration of docker, the value of a pull secret
  json              host, username, password and expiresAt; a list for several registries
  github-actions    the outputs of aws-actions/amazon-ecr-login: they are appended to the file
                    GITHUB_OUTPUT, and standard output gets the lines that mask the passwords`,
		Example: `  ecrin credential print registry.example.com:5100 --format password | docker login -u AWS --password-stdin registry.example.com:5100
  ecrin credential print 111122223333.dkr.ecr.eu-west-1.amazonaws.com --format dockerconfigjson`,
	}
	config := configFlag(cmd)
	format := cmd.Flags().String("format", "user-pass", strings.Join(credential.Formats, ", "))
	asJSON := cmd.Flags().Bool("json", false, "the same as --format json")
	fresh := cmd.Flags().Bool("fresh", false, "get new credentials, whatever the cache has")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON {
			*format = "json"
		}
		aws, cache, err := o.sources(*config)
		if err != nil {
			return err
		}
		hosts, err := hostsOf(args, &aws.Config)
		if err != nil {
			return err
		}
		source := credential.Source(cache)
		if *fresh {
			source = aws
		}
		var all []credential.Credential
		for _, host := range hosts {
			c, err := source.Credential(cmd.Context(), host)
			if errors.Is(err, credential.ErrNone) {
				return fmt.Errorf("%s is neither a host of ECR, nor under the endpoint of the environment (AWS_ENDPOINT_URL): name it in %s", host,
					cmp.Or(*config, o.Getenv("ECRIN_CREDENTIALS_CONFIG"), "~/.config/ecrin/credentials.yaml"))
			}
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		text, err := credential.Format(*format, all)
		if err != nil {
			return err
		}
		if *format == "github-actions" {
			return o.actions(text, all)
		}
		_, err = o.Out.Write(text)
		return err
	}
	return cmd
}

// actions writes the outputs of a step of GitHub Actions.
func (o Options) actions(text []byte, all []credential.Credential) error {
	for _, c := range all {
		fmt.Fprintf(o.Out, "::add-mask::%s\n", c.Password.Reveal())
	}
	path := o.Getenv("GITHUB_OUTPUT")
	if path == "" {
		return errors.New("the variable GITHUB_OUTPUT is not set: this format is for a step of GitHub Actions")
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// printJSON writes v as indented JSON.
func (o Options) printJSON(v any) error {
	e := json.NewEncoder(o.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
