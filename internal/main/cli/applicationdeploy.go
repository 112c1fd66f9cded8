package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// usable reads the application in a folder, or the one of the first argument, and says its findings.
//
// Errors: it has errors.
func (c *commands) usable(path string) (release.Application, error) {
	a, err := release.ReadApplication(path)
	if err != nil {
		return a, err
	}
	for _, f := range a.Findings {
		c.say("%s: %s:%d: %s %s", f.Severity, filepath.Join(a.Dir, f.File), f.Line, f.Path, f.Text)
	}
	if a.Failed() {
		return a, fmt.Errorf("%s is not a valid application template", filepath.Join(a.Dir, a.File))
	}
	return a, nil
}

// home returns the registry of the repositories of an application: that of the account and the region of its cluster.
func home(o ecrintypes.Cluster, account string) (name.Registry, error) {
	a, err := name.ParseAccount(cmp.Or(account, o.AccountId))
	if err != nil {
		return name.Registry{}, errors.New(fault.From(err).Public)
	}
	r, err := name.ParseRegion(o.Region)
	return name.Registry{Account: a, Region: r}, err
}

func (c *commands) applicationCreate() *cobra.Command {
	cmd := &cobra.Command{Use: "create [DIR]", Args: atMostOne("DIR"), Short: "Make the private repositories of an application",
		Long: `Make a private repository for each image that the template in DIR (default: this folder) builds from the repository of the application, in
the account and the region of its cluster, with the tag ` + release.ApplicationTag + `. Their policies let the cluster pull,
	and the builder push. Repositories and
policies that are there stay; the command can be repeated.`,
		Example: "  ecrin application create --cluster staging\n  ecrin application create ./shop --cluster staging " +
			"--builder arn:aws:iam::111122223333:role/builder"}
	c.dataFlag(cmd)
	cluster := cmd.Flags().String("cluster", "", "`name` of the cluster that pulls (default: the context of the template)")
	account := cmd.Flags().String("account", "",
		"`account` of the cluster and the repositories, 12 digits (default: the account of the caller)")
	builder := cmd.Flags().String("builder", "", "`ARN` or account that pushes (default: the account of the repositories)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		a, err := c.usable(cmp.Or(strings.Join(args, ""), "."))
		if err != nil {
			return err
		}
		made, err := makeRepositories(cmd.Context(), s, a.Template, cmp.Or(*cluster, a.Template.Context), *account, *builder)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]any{"repositories": made})
		}
		rows := [][]string{{"IMAGE", "REPOSITORY", "SERVICES", "STATE"}}
		for _, m := range made {
			state := "there already"
			switch {
			case m.Created:
				state = "made"
			case m.PolicySet:
				state = "there already, policy extended"
			}
			rows = append(rows, []string{m.Image, m.URI, orDash(strings.Join(m.Services, " ")), state})
		}
		return c.tabled(rows, "the application builds no images")()
	}
	return cmd
}

// makeRepositories makes the repositories of an application.
func makeRepositories(ctx context.Context, s *client.Client, t apptemplate.Template, cluster, account,
	builder string) ([]release.Made, error) {
	if cluster == "" {
		return nil, usageError{errors.New("--cluster is needed: the template has no context")}
	}
	if t.App == "" {
		return nil, errors.New("the template needs the key app, the name of the application")
	}
	server := serverFor(s)
	o, err := server.ReadCluster(ctx, s.Server.Region, account, cluster)
	if err != nil {
		return nil, err
	}
	owners := release.Owners{App: t.App}
	if owners.Registry, err = home(o, account); err != nil {
		return nil, err
	}
	for _, who := range []struct {
		text string
		to   *policy.Principal
	}{{o.Principal, &owners.Puller}, {cmp.Or(builder, owners.Registry.Account.String()), &owners.Builder}} {
		if *who.to, err = policy.ParsePrincipal(who.text); err != nil {
			return nil, errors.New(fault.From(err).Public)
		}
	}
	return server.MakeRepositories(ctx, owners, t.Images())
}

func (c *commands) applicationReplicate() *cobra.Command {
	cmd := &cobra.Command{Use: "replicate IMAGE", Args: exactly("IMAGE"),
		Short: "Copy a repository to another region from now on, and wait for one image",
		Long: `Add a replication rule for the repository of IMAGE to the region --to, beside the rules that there are, start a backfill of what was pushed
before, since rules are for later pushes only, and wait until it is there. The policy of the copy is its own: it is not copied.`,
		Example: "  ecrin application replicate 111122223333/eu-west-2/vendorapp:latest --to us-east-1"}
	c.dataFlag(cmd)
	to := cmd.Flags().String("to", "", "`region` to which it is copied")
	wait := cmd.Flags().Duration("wait", 5*time.Minute, "how `long` to wait for the copy")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		region, err := name.ParseRegion(*to)
		if err != nil {
			return usageError{errors.New("--to: " + fault.From(err).Public)}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		i, err := parseImage(s, args[0])
		if err != nil {
			return err
		}
		p := release.Place{Registry: i.registry, Repo: i.repo, Tag: i.tag.String(), Digest: i.digest.String()}
		if p.Tag == "" && p.Digest == "" {
			p.Tag = "latest"
		}
		f, err := serverFor(s).Replicate(cmd.Context(), p, region, *wait)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]any{"imageDigest": f.Digest, "region": region.String()})
		}
		c.say("%s is in %s, digest %s; later pushes are copied too", args[0], region, f.Digest)
		return nil
	}
	return cmd
}

const deployHelp = `Deploy the environment ENV of the application in DIR (default: this folder), after a check that each of its images
can be pulled by the cluster: its region, the image, the permission. If one cannot, nothing is changed, and the exit code is 3.

Each service that runs a container becomes a Deployment, and a Service if it has ports; each cron job becomes a CronJob. Images are written
with their digest, and the tag beside it. Images that are built from the repository of the application have the commit as their tag.

Without --kubeconfig the objects are written to manifests.yaml in the folder --output. With it they are applied to a cluster, in the steps
of the workflow setup of the template if the environment is made, and else of patch: a step begins when the Deployments of the one before
run and its Jobs have ended. A failed Job ends the deployment, unless it has halt_on_error: false. The exit code is 1 if a workload does
not run.

An environment that exists keeps the template that it was made with until --recreate, also if the template was edited. A deployment that
was interrupted is repeated: it goes on, and Jobs that have ended are not run again.

--write-pull-secret writes the pull secret with a token of 12 hours for each registry of the server, got with the AWS credentials of
--profile or of the environment, as ecrin refresh kubernetes --once does. Those should be of the principal of the cluster. For pods that
start later, ecrin refresh kubernetes keeps the secret fresh.`

type deployFlags struct {
	preflightFlags
	kubeFlags
	output, namespace, secret, registry, commit string
	recreate, dryRun, writeSecret               bool
	wait                                        time.Duration
}

func (c *commands) applicationDeploy() *cobra.Command {
	var f deployFlags
	cmd := &cobra.Command{Use: "deploy ENV [DIR]", Short: "Deploy an environment, if the cluster can pull all its images", Long: deployHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{errors.New("want ENV, and perhaps DIR")}
			}
			return nil
		},
		Example: "  ecrin application deploy preview --cluster staging --output ./preview\n" +
			"  ecrin application deploy production --cluster staging --kubeconfig admin.conf --namespace shop --pull-secret ecrin-registry"}
	c.dataFlag(cmd)
	f.preflightFlags.add(cmd)
	f.kubeFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.output, "output", "", "`folder` for the manifests (default: .release/environments/ENV)")
	flags.StringVar(&f.namespace, "namespace", "", "`namespace` of the objects (default: ENV)")
	flags.StringVar(&f.secret, "pull-secret", "",
		"`name` of the pull secret of pods, such as the one that ecrin refresh kubernetes keeps (default: none)")
	flags.BoolVar(&f.writeSecret, "write-pull-secret", false,
		"write the pull secret (default name: ecrin-registry) before the workloads; needs --kubeconfig")
	flags.StringVar(&f.registry, "registry", "",
		"`HOST[/PATH]` of the repositories of the application (default: the name of ECR of their registry)")
	flags.StringVar(&f.commit, "commit", "", "`tag` of the images that are built (default: the commit of the git repository in DIR)")
	flags.BoolVar(&f.recreate, "recreate", false, "take the template as it is now")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check and plan, and change nothing")
	flags.DurationVar(&f.wait, "wait", 5*time.Minute, "how `long` to wait for the cluster with --kubeconfig; 0 not to")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 2 {
			dir = args[1]
		}
		return c.deploy(cmd, &f, args[0], dir, *asJSON)
	}
	return cmd
}

func (c *commands) deploy(cmd *cobra.Command, f *deployFlags, environment, dir string, asJSON bool) error {
	ctx := cmd.Context()
	if len(environment) > 63 || strings.Contains(environment, ".") || !objectName.MatchString(environment) {
		return usageError{fmt.Errorf("the name of an environment has lower-case letters, digits and -, at most 63, got %q", environment)}
	}
	a, err := c.usable(dir)
	if err != nil {
		return err
	}
	check, err := c.check(cmd, &f.preflightFlags, a.Template.Context)
	if err != nil {
		return err
	}
	if check.Cluster == "" {
		return usageError{errors.New("--cluster is needed: the template has no context")}
	}
	inCluster := f.config != "" || f.context != ""
	if f.writeSecret {
		if !inCluster {
			return usageError{errors.New("--write-pull-secret needs --kubeconfig: no credentials are written to files")}
		}
		f.secret = cmp.Or(f.secret, "ecrin-registry")
	}
	if f.secret != "" && !objectName.MatchString(f.secret) {
		return usageError{fmt.Errorf("--pull-secret must be a name of Kubernetes, got %q", f.secret)}
	}
	d := release.Deploy{App: a, Environment: environment, Namespace: cmp.Or(f.namespace, environment), PullSecret: f.secret,
		Registry: f.registry,
		Commit:   f.commit, Recreate: f.recreate, DryRun: f.dryRun, Check: check, Now: time.Now}
	if d.Registry == "" {
		if d.Registry, err = c.registryOf(cmd, check, f.account); err != nil {
			return err
		}
	}
	if d.Commit == "" {
		d.Commit = gitHead(ctx, a.Dir)
	}
	if inCluster {
		at, err := f.open(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		d.Target = &release.Cluster{Objects: kube.NewObjects(at), Namespace: d.Namespace, Name: environment, Wait: f.wait}
		if f.writeSecret {
			d.Before = func(ctx context.Context, answers []release.Answer) error {
				return c.writePullSecret(ctx, cmd, at, d.Namespace, f.secret, answers)
			}
		}
	} else {
		folder := &release.Folder{Dir: cmp.Or(f.output, filepath.Join(a.Dir, ".release", "environments", environment))}
		if !f.dryRun {
			if folder, err = release.OpenFolder(folder.Dir); err != nil {
				return err
			}
			defer folder.Close()
		}
		d.Target = folder
	}
	r, err := d.Run(ctx)
	return errors.Join(c.sayDeployed(r, environment, f.dryRun, asJSON), err)
}

// writePullSecret writes the pull secret of a namespace, with credentials for the registries of the server from which images are pulled.
// Entries of others stay. A credential that a registry refuses is not written.
func (c *commands) writePullSecret(ctx context.Context, cmd *cobra.Command, at *kube.Cluster, namespace, label string,
	answers []release.Answer) error {
	o := kube.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler), Secret: label, Namespaces: []string{namespace}}
	for _, a := range answers {
		if ref, err := rule.ParseReference(a.Image); err == nil && a.RegistryID != "" && !slices.Contains(o.Hosts, ref.Host) {
			o.Hosts = append(o.Hosts, ref.Host)
		}
	}
	if len(o.Hosts) == 0 {
		return nil
	}
	slices.Sort(o.Hosts)
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	getenv := func(key string) string {
		switch {
		case key == "AWS_PROFILE" && c.source != "":
			return c.source
		case key == "AWS_ENDPOINT_URL":
			return c.lookup(key, s.Server.URL)
		}
		return c.lookup(key, "")
	}
	rules, err := credential.LoadConfig("", getenv)
	if err != nil {
		return err
	}
	for _, host := range o.Hosts {
		if sameAddress(s.Server.URL, host) { // behind the rules of the file, which count first
			rules.Hosts = append(rules.Hosts, credential.Rule{Match: host, Endpoint: s.Server.URL})
		}
	}
	source := &credential.AWS{Config: rules, Getenv: getenv, Now: time.Now}
	o.Source, o.Try = source, source.Verify
	o.SourceName = cmp.Or(prefixed("role ", getenv("AWS_ROLE_ARN")), prefixed("profile ", getenv("AWS_PROFILE")), "environment")
	if err := kube.New(at, o).Once(ctx); err != nil {
		return fmt.Errorf("writing the pull secret %s of the namespace %s, with the AWS credentials of the %s: %w", label, namespace,
			o.SourceName, err)
	}
	return nil
}

// registryOf returns the host of the registry of the account and the region of a cluster: the name of ECR in the first domain of the
// server.
func (c *commands) registryOf(cmd *cobra.Command, check *release.Check, account string) (string, error) {
	s, err := c.connect(cmd)
	if err != nil {
		return "", err
	}
	o, err := check.Server.ReadCluster(cmd.Context(), s.Server.Region, account, check.Cluster)
	if err != nil {
		return "", err
	}
	r, err := home(o, account)
	if err != nil {
		return "", err
	}
	domain := "amazonaws.com"
	if len(s.Server.Domains) > 0 {
		domain = s.Server.Domains[0]
	}
	return r.Account.String() + ".dkr.ecr." + r.Region.String() + "." + domain, nil
}

// gitHead returns the commit of a git repository; "" if it is none, or there is no git.
func gitHead(ctx context.Context, dir string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// workload is what the conditions in a cluster say, in JSON.
type workload struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	State string `json:"state"` // ready, changing or failed
	Why   string `json:"why,omitempty"`
}

func workloadsOf(r release.Result) []workload {
	all := []workload{}
	states := map[kube.State]string{kube.Ready: "ready", kube.Changing: "changing", kube.Failed: "failed"}
	for _, h := range r.Workloads {
		all = append(all, workload{h.Kind, h.Name, states[h.State], h.Why})
	}
	return all
}

// sayDeployed says how a deployment has ended. A refused one has the exit code 3.
func (c *commands) sayDeployed(r release.Result, environment string, dryRun, asJSON bool) error {
	var refused error
	if r.Refused {
		refused = errDenied
	}
	if asJSON {
		return errors.Join(c.printJSON(map[string]any{"environment": environment, "refused": r.Refused, "dryRun": dryRun,
			"state":  r.Environment.State,
			"images": r.Answers, "pinned": r.Environment.Images, "objects": r.Environment.Objects, "workloads": workloadsOf(r)}), refused)
	}
	if r.Answers == nil {
		return nil
	}
	if err := c.sayAnswers(r.Answers, release.Inputs{}); err != nil {
		return err
	}
	for _, w := range workloadsOf(r) {
		c.say("%s %s: %s", w.Kind, w.Name, strings.TrimSuffix(w.State+"; "+w.Why, "; "))
	}
	switch {
	case r.Refused:
		c.say("the environment %s was not deployed, and nothing was changed", environment)
	case dryRun:
		c.say("the environment %s would be deployed with %s", environment, counted(int64(len(r.Objects)), "object", "objects"))
	case r.Environment.State == release.Deployed:
		c.say("deployed the environment %s: %s", environment, counted(int64(len(r.Objects)), "object", "objects"))
	}
	return refused
}
