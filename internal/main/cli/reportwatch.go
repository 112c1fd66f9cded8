package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

const reportWatchHelp = `Report which images the pods of a cluster run, and follow them, inside the cluster or outside of it.

Each namespace becomes the environment CLUSTER.NAMESPACE. The application of a pod is the value of its label --label, else the Deployment,
StatefulSet, DaemonSet, CronJob or Job that it is of. Each image is reported with the digest that its node has pulled, and is in use: no
lifecycle policy deletes it. An application whose pods have gone runs nothing. Changes are reported at once, everything is repeated long
before the time of --keep has passed, and while the cluster cannot be reached what was reported holds. It stops with SIGINT or SIGTERM.

In the cluster it needs the rights to list and watch pods; at the server ecrin:ReportDeployments and ecrin:ListDeployments on
application/*. With --listen, /healthz says whether this program works, /readyz whether everything is reported.`

// clusterName is the form of the name of a cluster: with the namespace, which has at most 63 bytes, it is a name of an environment.
var clusterName = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// watchFlags are the flags of a watch of pods.
type watchFlags struct {
	cluster                         kubeFlags
	called, account, listen, format string
	keep                            time.Duration
	once                            bool
	options                         kube.RunningOptions
}

func (v *watchFlags) add(cmd *cobra.Command) {
	v.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&v.called, "cluster", "", "`name` of the cluster, with which the names of environments begin (required)")
	f.StringVar(&v.account, "account", "", "`account` whose applications they are, 12 digits (default: the account of the caller)")
	f.StringArrayVar(&v.options.Namespaces, "namespace", nil,
		"report this `namespace` only (can be repeated; needs rights in these namespaces alone)")
	f.StringArrayVar(&v.options.Skip, "skip", []string{"kube-system", "kube-public", "kube-node-lease"},
		"`namespace` that is not reported (can be repeated)")
	f.StringVar(&v.options.Label, "label", "app.kubernetes.io/instance", "`label` of pods that names their application")
	f.DurationVar(&v.keep, "keep", 7*24*time.Hour, "`time` for which a report holds if no other one comes, 1h to 8784h")
	f.StringVar(&v.listen, "listen", "", "`address` of /healthz and /readyz, HOST:PORT or :PORT (default: none)")
	f.StringVar(&v.format, "log-format", "auto", "`form` of the log: text, json, or auto")
	f.BoolVar(&v.once, "once", false, "report what runs now, and fail if something could not be reported")
}

func (v *watchFlags) check() error {
	switch {
	case !clusterName.MatchString(v.called):
		return fmt.Errorf("--cluster must be a name of at most 63 letters a-z, digits and -, got %q", v.called)
	case v.keep < time.Hour || v.keep > 366*24*time.Hour:
		return fmt.Errorf("--keep must be 1h to 8784h, got %s", v.keep)
	case !slices.Contains([]string{"auto", "text", "json"}, v.format):
		return fmt.Errorf("--log-format must be text, json or auto, got %q", v.format)
	}
	for _, n := range slices.Concat(v.options.Namespaces, v.options.Skip) {
		if !objectName.MatchString(n) {
			return fmt.Errorf("--namespace and --skip must be names of namespaces, got %q", n)
		}
	}
	slices.Sort(v.options.Namespaces)
	v.options.Namespaces = slices.Compact(v.options.Namespaces)
	return nil
}

func (c *commands) reportWatch() *cobra.Command {
	cmd := &cobra.Command{Use: "watch --cluster NAME", Args: cobra.NoArgs,
		Short: "Report which images the pods of a cluster run, and follow them", Long: reportWatchHelp,
		Example: "  ecrin report watch --cluster staging --url https://registry.example.com --listen :8080\n" +
			"  ecrin report watch --cluster staging --once --kubeconfig admin.conf"}
	var v watchFlags
	v.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := v.check(); err != nil {
			return usageError{err}
		}
		lines := newLogWriter(c.Err)
		defer lines.close()
		log := slog.New(promptHandler{logHandler(lines, c.Err, v.format, slog.LevelInfo), lines})
		at, err := v.cluster.open(log)
		if err != nil {
			return err
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		o := v.options
		o.Report, o.Reported, o.Renew, o.Now, o.Log = v.report(s), v.reported(s), v.keep/8, time.Now, log
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		r := kube.NewRunning(at, o)
		if v.once {
			return r.Once(ctx)
		}
		ended, err := serveHealth(ctx, v.listen, r)
		if err != nil {
			return err
		}
		log.Info("reporting which images run", "cluster", at.Server(), "name", v.called)
		r.Run(ctx)
		log.Info("stopped")
		return <-ended
	}
	return cmd
}

// report returns what reports an application.
func (v *watchFlags) report(s caller) func(context.Context, kube.Application, []string) error {
	return func(ctx context.Context, a kube.Application, images []string) error {
		in := ecrintypes.ReportDeploymentsRequest{AccountId: v.account, ApplicationName: a.Name, Namespace: v.called + "." + a.Namespace,
			Images: append([]string{}, images...), Until: awswire.At(time.Now().Add(v.keep))}
		return s.Call(ctx, "ReportDeployments", &in, &ecrintypes.DeploymentsResponse{})
	}
}

// reported returns what reads the applications that are stored for the cluster.
func (v *watchFlags) reported(s caller) func(context.Context) ([]kube.Application, error) {
	return func(ctx context.Context) (all []kube.Application, err error) {
		stored, err := deployments(ctx, s, v.account)
		for _, d := range stored {
			// The name of a namespace has no dot.
			namespace, ok := strings.CutPrefix(d.Namespace, v.called+".")
			if a := (kube.Application{Namespace: namespace, Name: d.ApplicationName}); ok && !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
		return all, err
	}
}

// maxDeploymentPages limits how often a server is asked for more deployments.
const maxDeploymentPages = 1000

// deployments returns all deployments of an account.
func deployments(ctx context.Context, s caller, account string) (all []ecrintypes.Deployment, err error) {
	in := ecrintypes.ListDeploymentsRequest{AccountId: account}
	for range maxDeploymentPages {
		var out ecrintypes.DeploymentsResponse
		if err := s.Call(ctx, "ListDeployments", &in, &out); err != nil {
			return nil, err
		}
		if all = append(all, out.Deployments...); out.NextToken == "" {
			return all, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, errors.New("the server has more deployments than can be read")
}
