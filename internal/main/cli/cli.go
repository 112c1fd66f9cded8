// Package cli implements the command line of ecrin.
//
// Rules: data is written to standard output, everything else to standard error in lines that start with "ecrin: ";
// commands are NOUN VERB with singular nouns; every command that prints data has --json; no command prompts for
// input.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/cli/credcmd"
	"github.com/ecrin-dev/ecrin/internal/main/cli/hostcmd"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Env is what the command line uses of its process.
type Env struct {
	Args   []string  // without the program's name
	Name   string    // the program's name or path, for hints; "" means ecrin
	In     io.Reader // nil means os.Stdin
	Out    io.Writer
	Err    io.Writer
	Lookup func(string) (string, bool) // os.LookupEnv
}

// Run runs one command line and returns the exit code: 0, 1 for a failure, 2 for a wrong command line, 3 if ecrin
// explain finds that a request is denied.
func Run(ctx context.Context, env Env) int {
	c := &commands{Env: env}
	root := c.root()
	root.SetArgs(env.Args)
	if env.In != nil {
		root.SetIn(env.In)
	}
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDenied):
		return 3
	case errors.Is(err, hostcmd.ErrUnhealthy):
		return 1 // the findings are printed
	case errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown "):
		fmt.Fprintf(env.Err, "ecrin: %v\n", err)
		fmt.Fprintf(env.Err, "ecrin: see `%s --help`\n", cmd.CommandPath())
		return 2
	}
	text := err.Error()
	if coded := (*fault.Error)(nil); errors.As(err, &coded) {
		text = strings.Replace(text, coded.Code.String()+": ", "", 1) // the code is for programs
	}
	fmt.Fprintf(env.Err, "ecrin: %s\n", text)
	return 1
}

type usageError struct{ error }

type commands struct {
	Env
	data        string // --data of the commands that call a server
	url, source string // --url and --profile of those commands
}

const rootHelp = `ecrin is Amazon ECR that you run yourself: one server that implements the OCI distribution
protocol and the ECR, STS and IAM APIs, so that the aws CLI, the SDKs, docker, podman, skopeo,
containerd and Kubernetes work with it unchanged.

  ecrin serve                       start a registry in ./ecrin-data on 127.0.0.1:5100
  eval "$(ecrin env)"               point the aws CLI and the SDKs at it, with its keys
  aws ecr create-repository --repository-name team/app
  aws ecr get-login-password | docker login --username AWS --password-stdin localhost:5100
  docker push localhost:5100/team/app:1.0`

func (c *commands) root() *cobra.Command {
	root := &cobra.Command{
		Use: "ecrin", Short: "Amazon ECR that you run yourself", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Version: builtFrom().Version,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := c.commandWords(); cmd == root && len(words) > 0 { // the flags are those of a command that is not known
			return unknownCommand(cmd, words[0])
		}
		return usageError{err}
	})
	root.AddCommand(c.serve(), c.env(), c.account(), c.token(), c.consoleSession(), c.image(), c.repository(), c.policy(), c.explain(),
		c.audit(), c.controlPolicy(), c.guardrail(), c.job(), c.secret(), c.key(), c.events(),
		c.integration(), c.cloud(), c.runtime(), c.cluster(), c.configRepository(), c.rancher(), c.report(), c.healthcheck(),
		c.application(), c.preflight(), c.app(), c.channel(), c.release(), c.customer(), c.license(), c.entitlement(),
		c.install(), c.update(), c.files(),
		c.bundle(), c.export(), c.bundleImport("import FILE…", "Push what was exported to a registry", "import"),
		c.rewrite(), c.webhook(), c.accessRequests(), c.usage(), c.search(), c.quota(), c.lifecycle(), c.apply(), c.refresh(), c.credential(),
		here(c.gc(), forOperator), here(c.verify(), forOperator),
		here(c.backup(), forFiles), here(c.restore(), forFiles), c.config(), c.version())
	host := hostcmd.Options{Resolve: c.resolve, InUse: c.inUse, Out: c.Out, Err: c.Err}
	for _, cmd := range []*cobra.Command{hostcmd.NewTrustCommand(host), hostcmd.NewHostsCommand(host), hostcmd.NewDoctorCommand(host)} {
		if cmd.Flags().Lookup("data") == nil && cmd.PersistentFlags().Lookup("data") == nil {
			c.dataOnlyFlag(cmd)
		}
		root.AddCommand(cmd)
		if cmd.Name() == "doctor" {
			cmd.AddCommand(c.doctorServer())
		}
	}
	root.SetOut(c.Out) // the completion commands keep it
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// strict makes a group of commands refuse an unknown command: cobra alone prints help and succeeds.
func strict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
	if cmd.Runnable() || !cmd.HasSubCommands() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// unknownCommand returns the error for a word that is not a command of cmd, with the commands that are similar.
func unknownCommand(cmd *cobra.Command, word string) error {
	text := fmt.Sprintf("unknown command %q for %q", word, cmd.CommandPath())
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if similar := cmd.SuggestionsFor(word); len(similar) > 0 {
		text += ": did you mean " + strings.Join(similar, " or ") + "?"
	}
	return usageError{errors.New(text)}
}

// commandWords returns the words of the command line before the first flag.
func (c *commands) commandWords() []string {
	for i, arg := range c.Args {
		if strings.HasPrefix(arg, "-") {
			return c.Args[:i]
		}
	}
	return c.Args
}

func (c *commands) lookup(key, without string) string {
	if v, ok := c.Lookup(key); ok && v != "" {
		return v
	}
	return without
}

// resolve returns the server of --data for the commands of package hostcmd.
func (c *commands) resolve(context.Context) (hostcmd.Server, error) {
	r, err := client.Find(c.data)
	if err != nil {
		return hostcmd.Server{}, err
	}
	return serverOf(c.data, r), nil
}

func serverOf(data string, r app.Running) hostcmd.Server {
	return hostcmd.Server{URL: r.URL, DataDir: data, Account: r.Account, Region: r.Region, Domains: r.Domains, CAPath: r.CA,
		TLS: strings.HasPrefix(r.URL, "https:"), Regions: r.Regions, IAMSTS: r.IAMSTS}
}

// inUse returns the registries of the server of --data: every account in the default region, and in the regions in which it has
// repositories.
func (c *commands) inUse(ctx context.Context) ([]name.Registry, error) {
	s, err := client.Open(c.data, c.lookup(identity.MasterKeyVariable, ""))
	if err != nil {
		return nil, err
	}
	var out ecrintypes.ListAccountsResponse
	if err := s.Call(ctx, "ListAccounts", &ecrintypes.ListAccountsRequest{}, &out); err != nil {
		return nil, err
	}
	var all []name.Registry
	for _, a := range out.Accounts {
		account, err := name.ParseAccount(a.AccountId)
		if err != nil {
			return nil, err
		}
		for _, text := range append([]string{s.Server.Region}, a.Regions...) {
			region, err := name.ParseRegion(text)
			if err != nil {
				return nil, err
			}
			all = append(all, name.Registry{Account: account, Region: region})
		}
	}
	return all, nil
}

// absolute returns an absolute path, for hints and for the environment of other programs.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// printJSON writes v as indented JSON.
func (c *commands) printJSON(v any) error {
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table writes rows as a table; the first row is the header.
func (c *commands) table(rows [][]string) error {
	t := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// word returns s as a word of a shell's command line, quoted only if necessary.
func word(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+=-"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return quote(s)
}

// quote returns s as a quoted word of a shell's command line.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (c *commands) say(format string, args ...any) {
	fmt.Fprintf(c.Err, "ecrin: "+format+"\n", args...)
}

// calledAs returns how a user can call the program: ecrin if that finds the program on the PATH, and arg otherwise.
func calledAs(arg string) string {
	found, err := exec.LookPath("ecrin")
	if err != nil {
		return arg
	}
	onPath, err1 := os.Stat(found)
	called, err2 := os.Stat(arg)
	if err1 == nil && err2 == nil && os.SameFile(onPath, called) {
		return "ecrin"
	}
	return arg
}

// credentials returns what the commands for credentials of registries use of the process.
func (c *commands) credentials() credcmd.Options {
	program, err := os.Executable()
	if err != nil {
		program = absolute(c.Name)
	}
	return credcmd.Options{In: os.Stdin, Out: c.Out, Err: c.Err, Getenv: func(key string) string { return c.lookup(key, "") },
		Version: builtFrom().Version, Program: program}
}

// Main runs the command line of the process and returns the exit code. Under the names of package credcmd, the program is a credential
// helper of docker or a credential provider of the kubelet.
func Main(ctx context.Context) int {
	env := Env{Args: os.Args[1:], Name: calledAs(os.Args[0]), Out: os.Stdout, Err: os.Stderr, Lookup: os.LookupEnv}
	if run := credcmd.Named(os.Args[0]); run != nil {
		return run(ctx, (&commands{Env: env}).credentials(), env.Args)
	}
	return Run(ctx, env)
}
