package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

// setting is the text of a flag; package config parses it.
type setting struct{ text, kind string }

func (s *setting) Set(text string) error { s.text = text; return nil }
func (s *setting) String() string        { return s.text }
func (s *setting) Type() string          { return s.kind }

// configFlags adds a flag for every setting, and --config. The returned function reads the whole configuration.
func (c *commands) configFlags(cmd *cobra.Command) func() (config.Checked, error) {
	cfg := config.Default()
	file := cmd.Flags().String("config", c.lookup("ECRIN_CONFIG", ""), "YAML file with the same settings (also ECRIN_CONFIG)")
	values := map[string]*string{}
	for _, s := range cfg.Settings() {
		v := &setting{text: s.Value, kind: "string"}
		if s.Alone == "true" {
			v.kind = "bool" // so that the help shows no value
		}
		values[s.Flag] = &v.text
		cmd.Flags().Var(v, s.Flag, s.Usage+" (also "+s.Env+")")
		cmd.Flags().Lookup(s.Flag).NoOptDefVal = s.Alone
	}
	return func() (config.Checked, error) {
		// Errors of the file and the environment are reported together with those of Check.
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
		Long: `Run the registry in the foreground until SIGINT or SIGTERM; requests in progress are finished
first.

The first start creates the data directory, a master key (DATA/master.key; keep a copy apart from
the data, nothing can be decrypted without it), the default account and its root keys. Settings
are read from --config, the environment and flags; flags override the environment, and the
environment overrides the file.

Logs, one line for each request, go to standard error: readable lines on a terminal, JSON elsewhere or
with --log-format=json. /healthz and /readyz are on the same address, and so is /metrics, for clients
of this machine (others: --metrics-listen).`,
		Example: `  ecrin serve
  ecrin serve --data /var/lib/ecrin --listen 0.0.0.0:443 --tls=auto --domain ecr.example.com
  ecrin serve --tls-cert chain.pem --tls-key key.pem --listen :443
  ecrin serve --ephemeral --seed accounts.yaml`,
	}
	read := c.configFlags(cmd)
	begin := cmd.Flags().Bool("new", false, "create a new database in a data directory that has lost its database (needed for no other start)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		cfg, err := read()
		if err != nil {
			return err
		}
		cfg.New = *begin
		seeds, err := readSeeds(cfg.Seed)
		if err != nil {
			return err
		}
		if cfg.Ephemeral {
			remove, wrong := ephemeral(&cfg)
			if wrong != nil {
				return wrong
			}
			defer func() { err = errors.Join(err, remove()) }()
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		lines := newLogWriter(c.Err)
		defer lines.close()
		log := slog.New(promptHandler{logHandler(lines, c.Err, cfg.LogFormat, cfg.Level), lines})
		a, err := app.New(ctx, cfg, log, time.Now)
		if err != nil {
			return err
		}
		tuneMemory(ctx, log, a.Trim)
		if len(seeds) > 0 {
			a.Hold("the files of the setting seed are being applied")
		}
		var failed error
		err = a.Run(ctx, func(r app.Running) {
			if failed = c.seed(ctx, cfg, seeds); failed != nil {
				stop()
				return
			}
			a.Hold("")
			lines.flush() // who reads that the server is ready finds the lines of its start in the log
			c.printReady(cfg, r)
		})
		return errors.Join(failed, err)
	}
	return cmd
}

// logHandler returns the handler of the server's log, which writes lines to w and so to the file behind it. format is auto, text or
// json, see config.Config.LogFormat.
func logHandler(w, file io.Writer, format string, level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" || format == "auto" && !isTerminal(file) {
		return slog.NewJSONHandler(w, o)
	}
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().Format(time.TimeOnly))
		}
		return a
	}
	return slog.NewTextHandler(w, o)
}

// isTerminal reports whether w is a character device, such as a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printReady prints the address of the server and the next steps.
func (c *commands) printReady(cfg config.Checked, r app.Running) {
	ecrin, data := word(cmp.Or(c.Name, "ecrin")), ""
	if cfg.Data != config.Default().Data {
		data = " --data " + word(absolute(cfg.Data))
	}
	// The default port of the scheme is not part of an image reference.
	scheme, host, _ := strings.Cut(r.URL, "://")
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
	stores := "data in " + cfg.Data
	if cfg.Database.Reveal() != "" {
		stores += ", metadata in PostgreSQL"
	}
	fmt.Fprintf(c.Out, "ecrin is ready at %s, account %s, region %s, %s\n", r.URL, r.Account, r.Region, stores)
	if r.CA != "" {
		fmt.Fprintf(c.Out, "to make clients trust it: sudo %s trust install%s (CA: %s)\n", ecrin, data, absolute(r.CA))
	}
	fmt.Fprintf(c.Out, `next, in another shell:
  eval "$(%s env%s)"
  aws ecr create-repository --repository-name team/app
  aws ecr get-login-password | docker login --username AWS --password-stdin %s
`, ecrin, data, host)
}

func (c *commands) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check the configuration"}
	check := &cobra.Command{
		Use: "check", Args: cobra.NoArgs, Short: "Read file, environment and flags as serve does, and report every error",
		Example: "  ecrin config check --config ecrin.yaml",
	}
	read, asJSON := c.configFlags(check), c.jsonFlag(check)
	check.RunE = func(*cobra.Command, []string) error {
		cfg, err := read()
		if *asJSON {
			answer := map[string]any{"valid": err == nil, "data": cfg.Data, "listen": cfg.Listen}
			if err != nil {
				answer = map[string]any{"valid": false, "text": err.Error()}
			}
			return errors.Join(c.printJSON(answer), err)
		}
		if err != nil {
			return err
		}
		c.say("the configuration is valid; data directory %s, listening on %s", cfg.Data, strings.Join(cfg.Listen, ", "))
		return nil
	}
	cmd.AddCommand(check)
	return cmd
}

var errOneOf = errors.New("give either a token id or --all")
