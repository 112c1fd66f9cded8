package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// setting is the value of a flag as it was written; config reads it.
type setting struct{ text, kind string }

func (s *setting) Set(text string) error { s.text = text; return nil }
func (s *setting) String() string        { return s.text }
func (s *setting) Type() string          { return s.kind }

// configFlags gives a command every setting as a flag, and --config. The result reads them all.
func (c *commands) configFlags(cmd *cobra.Command) func() (config.Checked, error) {
	cfg := config.Default()
	file := cmd.Flags().String("config", c.lookup("ECRIN_CONFIG", ""), "YAML file with the same settings (also ECRIN_CONFIG)")
	values := map[string]*string{}
	for _, s := range cfg.Settings() {
		v := &setting{text: s.Value, kind: "string"}
		if s.Alone == "true" {
			v.kind = "bool" // help shows it as a switch
		}
		values[s.Flag] = &v.text
		cmd.Flags().Var(v, s.Flag, s.Usage+" (also "+s.Env+")")
		cmd.Flags().Lookup(s.Flag).NoOptDefVal = s.Alone
	}
	return func() (config.Checked, error) {
		// What file and environment have wrong is told together with what Check finds.
		var wrong []error
		if *file != "" {
			wrong = append(wrong, cfg.Read(*file))
		}
		wrong = append(wrong, cfg.ReadEnv(c.Lookup))
		given := map[string]bool{}
		for _, s := range cfg.Settings() {
			if cmd.Flags().Changed(s.Flag) {
				given[s.Flag] = true
				if err := s.Set(*values[s.Flag]); err != nil {
					return config.Checked{}, usageError{fmt.Errorf("--%s: %w", s.Flag, err)}
				}
			}
		}
		if given["tls-cert"] && given["tls-key"] && !given["tls"] {
			cfg.TLS.Mode = config.TLSFiles
		}
		checked, err := cfg.Check()
		if err := errors.Join(append(wrong, err)...); err != nil {
			return checked, fmt.Errorf("the configuration is not usable:\n%w", err)
		}
		return checked, nil
	}
}

func (c *commands) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Args: cobra.NoArgs, Short: "Run the registry",
		Long: `Run the registry in the foreground until it is told to stop (SIGINT, SIGTERM); requests in flight
are finished first.

The first start makes the data directory, a master key (DATA/master.key; keep a copy apart from
the data, nothing can be decrypted without it), the default account and its root keys. Settings
come from --config, then the environment, then flags; the last one wins.

Structured logs, one line for each request, go to standard error. /metrics, /healthz and /readyz
are on the same address.`,
		Example: `  ecrin serve
  ecrin serve --data /var/lib/ecrin --listen 0.0.0.0:443 --tls=auto --domain ecr.example.com
  ecrin serve --tls-cert chain.pem --tls-key key.pem --listen :443`,
	}
	read := c.configFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		log := slog.New(slog.NewJSONHandler(c.Err, &slog.HandlerOptions{Level: cfg.Level}))
		a, err := app.New(ctx, cfg, log, time.Now)
		if err != nil {
			return err
		}
		return a.Run(ctx, func(r app.Running) { c.greet(cfg, r) })
	}
	return cmd
}

// greet tells where the server is and what to do next.
func (c *commands) greet(cfg config.Checked, r app.Running) {
	ecrin, data := word(cmp.Or(c.Name, "ecrin")), ""
	if cfg.Data != config.Default().Data {
		data = " --data " + word(absolute(cfg.Data))
	}
	// The port that the scheme stands for is no part of an image's name.
	scheme, host, _ := strings.Cut(r.URL, "://")
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
	stores := "data in " + cfg.Data
	if cfg.Database.Reveal() != "" {
		stores += ", metadata in PostgreSQL"
	}
	fmt.Fprintf(c.Out, "ecrin is ready at %s, account %s, region %s, %s\n", r.URL, r.Account, r.Region, stores)
	if r.CA != "" {
		fmt.Fprintf(c.Out, "clients trust it after: sudo %s trust install%s (CA: %s)\n", ecrin, data, absolute(r.CA))
	}
	fmt.Fprintf(c.Out, `next, in another shell:
  eval "$(%s env%s)"
  aws ecr create-repository --repository-name team/app
  aws ecr get-login-password | docker login --username AWS --password-stdin %s
`, ecrin, data, host)
}

func (c *commands) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and show the configuration"}
	check := &cobra.Command{
		Use: "check", Args: cobra.NoArgs, Short: "Read file, environment and flags as serve would, and report every problem",
		Example: "  ecrin config check --config ecrin.yaml",
	}
	read := c.configFlags(check)
	check.RunE = func(*cobra.Command, []string) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		c.say("the configuration is good; data directory %s, listening on %s", cfg.Data, strings.Join(cfg.Listen, ", "))
		return nil
	}
	cmd.AddCommand(check)
	return cmd
}

var errOneOf = errors.New("give either a token id or --all")
