package credcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// NewRefreshCommand returns `ecrin refresh`.
func NewRefreshCommand(o Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "refresh", Short: "Keep credentials for registries fresh where programs read them",
		Long: `Keep credentials for registries fresh where programs read them. They are renewed at half of their life,
and after 6 hours at most. After a failure, the target keeps what it has, and the next attempt follows
after 2 seconds, then after twice as long, up to 5 minutes. A refresher stops only by a signal.`,
		Example: `  ecrin refresh dockerconfig ~/.docker/config.json --host 111122223333.dkr.ecr.eu-west-1.amazonaws.com
  ecrin refresh exec --host registry.example.com:5100 -- sh -c 'docker login -u AWS --password-stdin "$ECRIN_HOST"'`,
	}
	cmd.AddCommand(o.refreshDocker(), o.refreshExec())
	return cmd
}

// refreshFlags are the flags of all refreshers.
type refreshFlags struct {
	config *string
	hosts  []string
	once   bool
	verify bool
	asJSON bool
}

func (f *refreshFlags) add(cmd *cobra.Command) {
	f.config = configFlag(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.hosts, "host", nil, "registry, `HOST` or HOST:PORT; may be repeated (default: all that the configuration names)")
	flags.BoolVar(&f.once, "once", false, "renew once, and fail if that fails")
	flags.BoolVar(&f.verify, "verify", true, "ask the registry whether it accepts new credentials before they replace the old ones")
	flags.BoolVar(&f.asJSON, "json", false, "with --once: print the registries and the ends of the credentials as JSON")
}

// refreshed is a line of the output of --json.
type refreshed struct {
	Host      string    `json:"host"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// run refreshes a target until a signal, or once.
func (o Options) run(cmd *cobra.Command, f *refreshFlags, deliver func(context.Context, []credential.Credential) error) error {
	if f.asJSON && !f.once {
		return errors.New("--json needs --once")
	}
	aws, _, err := o.sources(*f.config) // of new credentials: those of the cache may be older than half of their life
	if err != nil {
		return err
	}
	hosts, err := hostsOf(f.hosts, &aws.Config)
	if err != nil {
		return fmt.Errorf("%w: --host", err)
	}
	done := []refreshed{}
	r := &credential.Refresher{Source: aws, Hosts: hosts, Log: o.say, Now: o.Now,
		Deliver: func(ctx context.Context, all []credential.Credential) error {
			if err := deliver(ctx, all); err != nil {
				return err
			}
			for _, c := range all {
				done = append(done, refreshed{c.Host, c.ExpiresAt.UTC()})
			}
			return nil
		}}
	if f.verify {
		r.Verify = aws.Verify
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if f.once {
		if err := r.Once(ctx); err != nil {
			return err
		}
		if f.asJSON {
			return o.printJSON(done)
		}
		return nil
	}
	if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (o Options) refreshDocker() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dockerconfig FILE", Args: cobra.ExactArgs(1), Short: "Keep credentials in a configuration file of docker fresh",
		Long: `Keep the entries of registries in a configuration file of docker (auths) fresh, as docker, podman, skopeo, buildah, kaniko,
crane and CI runners read them. The file is replaced atomically; its other members and entries stay. An entry is replaced only after
the registry has accepted the new credentials.`,
		Example: "  ecrin refresh dockerconfig /kaniko/.docker/config.json --host 111122223333.dkr.ecr.eu-west-1.amazonaws.com\n" +
			"  ecrin refresh dockerconfig ~/.docker/config.json --host registry.example.com:5100 --once",
	}
	var f refreshFlags
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := &credential.DockerFile{Path: args[0], Log: o.say}
		return o.run(cmd, &f, file.Deliver)
	}
	return cmd
}

func (o Options) refreshExec() *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec [flags] -- COMMAND [ARGUMENT...]", Args: cobra.MinimumNArgs(1), Short: "Run a command with new credentials at each renewal",
		Long: `Run a command with the credentials of a registry now, and at each renewal; for several registries, once for each. It gets

  on standard input   the credentials in the form of --format, by default the password alone
  in its environment  ECRIN_HOST, ECRIN_USERNAME, ECRIN_PASSWORD, ECRIN_EXPIRES_AT (RFC 3339)

A command that fails is run again after a pause, with new credentials.`,
		Example: `  ecrin refresh exec --host registry.example.com:5100 -- sh -c 'podman login -u AWS --password-stdin "$ECRIN_HOST"'
  ecrin refresh exec --once --format user-pass --host 111122223333.dkr.ecr.eu-west-1.amazonaws.com -- cat`,
	}
	var f refreshFlags
	f.add(cmd)
	format := cmd.Flags().String("format", "password", "form of standard input of the command: "+strings.Join(credential.Formats, ", "))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := credential.Format(*format, []credential.Credential{{Host: "x"}}); err != nil {
			return err
		}
		return o.run(cmd, &f, func(ctx context.Context, all []credential.Credential) error {
			for _, c := range all {
				if err := o.start(ctx, args, *format, c, f.asJSON); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

// start runs a command with a credential.
func (o Options) start(ctx context.Context, args []string, format string, c credential.Credential, asJSON bool) error {
	input, err := credential.Format(format, []credential.Credential{c})
	if err != nil {
		return err
	}
	run := exec.CommandContext(ctx, args[0], args[1:]...)
	run.Stdin, run.Stdout, run.Stderr = bytes.NewReader(input), o.Out, o.Err
	if asJSON {
		run.Stdout = o.Err
	}
	run.Cancel = func() error { return run.Process.Signal(syscall.SIGTERM) }
	run.WaitDelay = 10 * time.Second
	run.Env = append(os.Environ(), "ECRIN_HOST="+c.Host, "ECRIN_USERNAME="+c.Username, "ECRIN_PASSWORD="+c.Password.Reveal(),
		"ECRIN_EXPIRES_AT="+c.ExpiresAt.UTC().Format(time.RFC3339))
	if err := run.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}
