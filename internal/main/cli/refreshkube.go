package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

const refreshKubernetesHelp = `Keep the pull secrets of a cluster fresh, inside the cluster or outside of it.

The secret gets an entry for each --registry in every chosen namespace, also in new ones, and the service accounts name it. It is updated in
place, at half of the life of its token; entries of other registries, and other secrets of a service account, stay. A token that the registry
does not accept is not written. A secret of that name with another type is reported and left alone. It stops with SIGINT or SIGTERM.

The tokens are got with the environment and the profiles of the aws CLI: AWS_PROFILE, AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE,
AWS_ENDPOINT_URL for an ecrin, AWS_CA_BUNDLE. The cluster is that of the kubeconfig, or the one whose pod this runs in.

The state of each namespace is in annotations and events of its secret, see ecrin credential status. With --listen, /healthz says whether
this program works, /readyz whether all namespaces have credentials, and /metrics has ecrin_credential_age_seconds.`

// kubeFlags are the flags that name a cluster.
type kubeFlags struct{ config, context string }

func (k *kubeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.config, "kubeconfig", "",
		"`file` that names the cluster (default: KUBECONFIG, ~/.kube/config, the pod's service account)")
	cmd.Flags().StringVar(&k.context, "context", "", "`name` of a context in the kubeconfig (default: its current one)")
}

func (k *kubeFlags) open(log *slog.Logger) (*kube.Cluster, error) {
	kube.Log(log)
	return kube.Open(kube.Config{Kubeconfig: k.config, Context: k.context, UserAgent: "ecrin/" + builtFrom().Version})
}

// The forms of names of objects and of hosts. Source: RFC 1123, as Kubernetes applies it.
var (
	objectName = lazyregexp.New(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	hostPort   = lazyregexp.New(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9][0-9]{0,4})?$`)
)

func (c *commands) refreshKubernetes() *cobra.Command {
	cmd := &cobra.Command{Use: "kubernetes", Args: cobra.NoArgs, Short: "Keep the pull secrets of a cluster fresh",
		Long: refreshKubernetesHelp,
		Example: `  ecrin refresh kubernetes --registry 123456789012.dkr.ecr.eu-west-1.amazonaws.com --listen :8080
  ecrin refresh kubernetes --registry ecr.example.com --namespace shop --namespace billing --service-account '*'
  ecrin refresh kubernetes --registry ecr.example.com --once --kubeconfig admin.conf`}
	var cluster kubeFlags
	cluster.add(cmd)
	o := kube.Options{Now: time.Now}
	var selector, listen, format, config string
	var once bool
	f := cmd.Flags()
	f.StringArrayVar(&o.Hosts, "registry", nil, "`host` of a registry, HOST or HOST:PORT (can be repeated; required)")
	f.StringVar(&o.Secret, "secret", "ecrin-registry", "`name` of the pull secret")
	f.StringArrayVar(&o.Namespaces, "namespace", nil, "serve this `namespace` only (can be repeated; needs rights in these namespaces alone)")
	f.StringVar(&selector, "selector", "ecrin.dev/refresh!=false", "serve the namespaces whose labels this `selector` matches")
	f.StringArrayVar(&o.Skip, "skip", []string{"kube-system", "kube-public", "kube-node-lease"},
		"`namespace` that is not served (can be repeated)")
	f.StringArrayVar(&o.Accounts, "service-account", []string{"default"},
		"`name` of a service account that uses the secret, * for all (can be repeated)")
	f.StringVar(&listen, "listen", "", "`address` of /healthz, /readyz and /metrics, HOST:PORT or :PORT (default: none)")
	f.StringVar(&format, "log-format", "auto", "`form` of the log: text, json, or auto")
	f.StringVar(&config, "config", "", "`file` of rules for registries, docs/credentials.md (default: ECRIN_CREDENTIALS_CONFIG)")
	f.BoolVar(&once, "once", false, "serve every namespace once, and fail if one could not be served")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkRefresh(&o, selector, format); err != nil {
			return usageError{err}
		}
		lines := newLogWriter(c.Err)
		defer lines.close()
		o.Log = slog.New(promptHandler{logHandler(lines, c.Err, format, slog.LevelInfo), lines})
		at, err := cluster.open(o.Log)
		if err != nil {
			return err
		}
		getenv := func(key string) string { return c.lookup(key, "") }
		rules, err := credential.LoadConfig(config, getenv)
		if err != nil {
			return err
		}
		source := &credential.AWS{Config: rules, Getenv: getenv, Now: time.Now}
		o.Source, o.Try = source, source.Verify
		o.SourceName = cmp.Or(prefixed("role ", c.lookup("AWS_ROLE_ARN", "")), prefixed("profile ", c.lookup("AWS_PROFILE", "")), "environment")
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		r := kube.New(at, o)
		if once {
			return r.Once(ctx)
		}
		ended, err := serveHealth(ctx, listen, r)
		if err != nil {
			return err
		}
		o.Log.Info("keeping pull secrets fresh", "cluster", at.Server(), "registries", o.Hosts, "secret", o.Secret)
		r.Run(ctx)
		o.Log.Info("stopped")
		return <-ended
	}
	return cmd
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// checkRefresh checks the values of flags.
func checkRefresh(o *kube.Options, selector, format string) (err error) {
	if len(o.Hosts) == 0 {
		return errors.New("--registry is missing: which registries are the credentials for?")
	}
	for i, host := range o.Hosts {
		o.Hosts[i] = strings.TrimSuffix(strings.TrimPrefix(host, "https://"), "/")
		if !hostPort.MatchString(o.Hosts[i]) {
			return fmt.Errorf("--registry must be HOST or HOST:PORT, got %q", host)
		}
	}
	slices.Sort(o.Hosts)
	o.Hosts = slices.Compact(o.Hosts)
	for flag, names := range map[string][]string{"secret": {o.Secret}, "namespace": o.Namespaces, "skip": o.Skip} {
		for _, n := range names {
			if !objectName.MatchString(n) {
				return fmt.Errorf("--%s must be a name of Kubernetes, got %q", flag, n)
			}
		}
	}
	slices.Sort(o.Namespaces)
	o.Namespaces = slices.Compact(o.Namespaces)
	if !slices.Contains([]string{"auto", "text", "json"}, format) {
		return fmt.Errorf("--log-format must be text, json or auto, got %q", format)
	}
	o.Selector, err = kube.ParseSelector(selector)
	return err
}

// serveHealth serves health and metrics until the context ends. The channel gets an error or nil then.
func serveHealth(ctx context.Context, listen string, h http.Handler) (<-chan error, error) {
	ended := make(chan error, 1)
	if listen == "" {
		ended <- nil
		return ended, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listening for --listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() {
		<-ctx.Done()
		ended <- server.Close()
	}()
	go func() { _ = server.Serve(l) }() // ends by Close
	return ended, nil
}
