package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rancher"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const refreshRancherHelp = `Keep the credentials of the registries of an environment of Rancher 1.x fresh, as the service
rancher-ecr-credentials does: with its variables, in its place. One call gets the tokens of all registries. They are written at half of
their life, and after 6 hours at most. A failure changes nothing in Rancher, and the next attempt follows after 2 seconds, then after twice
as long, up to 5 minutes. It stops with SIGINT or SIGTERM.

  CATTLE_URL            v1 API of Rancher; Rancher itself sets these three for a service with the
  CATTLE_ACCESS_KEY     labels io.rancher.container.create_agent: 'true' and
  CATTLE_SECRET_KEY     io.rancher.container.agent.role: environment
  AWS_REGION            region of the registries (required)
  AWS_ROLE_ARN          role that is assumed with the credentials of the environment of the aws CLI, which are
                        used themselves without it
  AWS_ECR_REGISTRY_IDS  accounts of the registries, separated by commas (default: that of the caller)
  AUTO_CREATE           true: registries that the environment does not have are created (default: false)
  LISTEN_PORT           port of /ping, /readyz and /metrics (default: 8080)
  LOG_LEVEL             debug, info, warn or error (default: info)
  AWS_ENDPOINT_URL      URL of an ecrin (default: Amazon ECR)`

func (c *commands) refreshRancher() *cobra.Command {
	cmd := &cobra.Command{Use: "rancher", Args: cobra.NoArgs, Short: "Keep the credentials of registries in Rancher 1.x fresh",
		Long: refreshRancherHelp,
		Example: `  ecrin refresh rancher
  ecrin refresh rancher --once --ca rancher.pem`}
	var listen, format, ca string
	var once, verify bool
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "", "`address` of /ping, /readyz and /metrics, HOST:PORT or :PORT (default: all addresses, LISTEN_PORT)")
	f.StringVar(&format, "log-format", "auto", "`form` of the log: text, json, or auto")
	f.StringVar(&ca, "ca", "", "PEM `file` of certificate authorities of Rancher, beside those of the system")
	f.BoolVar(&once, "once", false, "write new credentials once, and fail if one could not be written")
	f.BoolVar(&verify, "verify", true, "ask the registry whether it accepts new credentials before they replace the old ones")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		getenv := func(key string) string { return c.lookup(key, "") }
		u, level, err := rancherUpdater(getenv, verify)
		if err != nil {
			return usageError{err}
		}
		if !slices.Contains([]string{"auto", "text", "json"}, format) {
			return usageError{fmt.Errorf("--log-format must be text, json or auto, got %q", format)}
		}
		port := cmp.Or(getenv("LISTEN_PORT"), "8080")
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return usageError{fmt.Errorf("LISTEN_PORT must be a port, got %q", port)}
		}
		if ca != "" {
			pool, err := credential.Roots(ca)
			if err != nil {
				return err
			}
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
			u.API.HTTP = transport
		}
		lines := newLogWriter(c.Err)
		defer lines.close()
		u.Log = slog.New(promptHandler{logHandler(lines, c.Err, format, level), lines})
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		if once {
			return u.Once(ctx)
		}
		if err := u.Check(ctx); errors.Is(err, rancher.ErrUnusable) {
			return err // other failures may pass
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended, err := serveHealth(ctx, cmp.Or(listen, ":"+port), u)
		if err != nil {
			return err
		}
		u.Log.Info("keeping credentials in Rancher fresh", "url", u.API.URL.Redacted(), "create", u.Create)
		_ = u.Run(ctx) // it ends with the context
		u.Log.Info("stopped")
		return <-ended
	}
	return cmd
}

// rancherUpdater returns the updater that the variables of the environment describe, and the level of its log.
func rancherUpdater(getenv func(string) string, verify bool) (*rancher.Updater, slog.Level, error) {
	var all []error
	need := func(key string) string {
		value := strings.TrimSpace(getenv(key))
		if value == "" {
			all = append(all, fmt.Errorf("the variable %s is not set", key))
		}
		return value
	}
	at, err := url.Parse(need("CATTLE_URL"))
	if err != nil {
		all = append(all, errors.New("CATTLE_URL is no URL")) // the error of the parser may have a password
		at = &url.URL{}
	} else if at.String() != "" && (at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil) {
		all = append(all, fmt.Errorf("CATTLE_URL must be an http or https URL without a user, got %q", at.Redacted()))
	}
	api := &rancher.Client{URL: at, Key: need("CATTLE_ACCESS_KEY"), Secret: secret.New(need("CATTLE_SECRET_KEY"))}
	rule := credential.Rule{Region: need("AWS_REGION")}
	if getenv("AWS_WEB_IDENTITY_TOKEN_FILE") == "" { // with which the SDK assumes the role itself
		rule.Role = getenv("AWS_ROLE_ARN")
	}
	var accounts []string
	if list := getenv("AWS_ECR_REGISTRY_IDS"); strings.TrimSpace(list) != "" {
		for id := range strings.SplitSeq(list, ",") {
			account, err := name.ParseAccount(strings.TrimSpace(id))
			if err != nil {
				all = append(all, fmt.Errorf("AWS_ECR_REGISTRY_IDS: %w", err))
				continue
			}
			accounts = append(accounts, account.String())
		}
	}
	create, err := strconv.ParseBool(cmp.Or(getenv("AUTO_CREATE"), "false"))
	if err != nil {
		all = append(all, fmt.Errorf("AUTO_CREATE must be true or false, got %q", getenv("AUTO_CREATE")))
	}
	level := slog.LevelInfo
	if text := getenv("LOG_LEVEL"); text != "" {
		if err := level.UnmarshalText([]byte(text)); err != nil {
			all = append(all, fmt.Errorf("LOG_LEVEL must be debug, info, warn or error, got %q", text))
		}
	}
	source := &credential.AWS{Getenv: getenv, Now: time.Now}
	u := &rancher.Updater{API: api, Create: create, Tokens: func(ctx context.Context) ([]credential.Credential, error) {
		return source.Registries(ctx, rule, accounts)
	}}
	if verify {
		u.Verify = source.Verify
	}
	return u, level, errors.Join(all...)
}
