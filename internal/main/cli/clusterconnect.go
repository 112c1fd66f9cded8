package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/connect"
	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/main/cli/credcmd"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const clusterConnectHelp = `Let service accounts of a cluster pull images by a role, without a stored secret.

It reads the issuer of the cluster and its public keys from the API server, makes an OIDC provider for it, uploads the keys, and makes a role
that only the chosen service accounts may assume, with tokens for the audience. Then it gets a token of one of them from the API server,
assumes the role with it and gets a token of the registry, and stores the cluster as connected. Run again, it brings all of this to what the
flags say; policies of the role that they do not name are taken away. The user of the kubeconfig needs the rights to read the issuer and to
create tokens of the service account.

--refresh only uploads the keys of the issuer again, as after a change of the key of the API server: tokens of keys that are no longer there
are refused from then on. With --every it goes on until a signal.`

// maxUploadPause is the pause after failed uploads of the keys of an issuer.
const maxUploadPause = time.Minute

// clusterConnection are the flags of cluster connect.
type clusterConnection struct {
	c       *commands
	cluster kubeFlags

	account, region, audience, role      string
	namespaces, accounts                 []string
	policies, repositories               []string
	published, refresh, annotate, asJSON bool
	every                                time.Duration
	distribution                         string // "" for no nodes
	node                                 credcmd.NodeFlags
	refresher                            bool
}

// connected is what cluster connect prints.
type connected struct {
	Steps   []ecrintypes.IntegrationStep `json:"steps"`
	Cluster ecrintypes.Cluster           `json:"cluster,omitzero"`
	RoleARN string                       `json:"roleArn,omitempty"`
}

func (c *commands) clusterConnect() *cobra.Command {
	cmd := &cobra.Command{Use: "connect NAME", Args: exactly("NAME"), Short: "Let service accounts of a cluster pull, without a stored secret",
		Long: clusterConnectHelp,
		Example: `  ecrin cluster connect staging --kubeconfig admin.conf --namespace shop
  ecrin cluster connect staging --kubeconfig admin.conf --service-account shop/web --role shop-web --repository shop/web
  ecrin cluster connect staging --kubeconfig admin.conf --refresh --every 1m`}
	v := &clusterConnection{c: c}
	v.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&v.account, "account", "", "`account` of the role, 12 digits (default: the account of the caller)")
	f.StringVar(&v.region, "region", "", "`region` that the cluster runs in (default: that of the server)")
	f.StringArrayVar(&v.namespaces, "namespace", nil, "`namespace` whose service accounts may pull, * for all; may be repeated")
	f.StringArrayVar(&v.accounts, "service-account", nil, "service account that may pull, `NAMESPACE/NAME`; may be repeated")
	f.StringVar(&v.audience, "audience", connect.DefaultAudience, "`audience` of the tokens")
	f.StringVar(&v.role, "role", "", "`name` of the role (default: NAME-pull)")
	f.StringArrayVar(&v.policies, "policy", nil,
		"`ARN` of a managed policy of the role; may be repeated (default: AmazonEC2ContainerRegistryPullOnly, without --repository)")
	f.StringArrayVar(&v.repositories, "repository", nil, "`repository` that the role may pull, with what is below it; may be repeated")
	f.BoolVar(&v.published, "published-keys", false, "upload no keys: the server can call the issuer, whose certificate it trusts")
	f.BoolVar(&v.annotate, "annotate", false, "name the role in an annotation of each --service-account, which kubelet plugins read")
	f.BoolVar(&v.refresh, "refresh", false, "only upload the keys of the issuer again")
	f.DurationVar(&v.every, "every", 0, "with --refresh: look for other keys each `time`, such as 1m, until a signal")
	f.StringVar(&v.distribution, "node", "", "also let kubelets ask for tokens, and print what a node needs whose kubelet is started by: "+
		strings.Join(credential.Distributions, ", "))
	f.BoolVar(&v.refresher, "refresher", false,
		"also let the refresher of pull secrets have the role, and print its values for the Helm chart, for nodes that cannot be changed")
	v.node.Add(cmd)
	f.BoolVar(&v.asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		subjects, err := v.check()
		if err != nil {
			return usageError{err}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		at, err := v.cluster.open(slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			return err
		}
		if v.refresh {
			return v.follow(cmd, s, at, args[0])
		}
		return v.run(cmd.Context(), s, at, args[0], subjects)
	}
	return cmd
}

// check checks the flags and returns the chosen service accounts.
func (v *clusterConnection) check() (all []connect.Subject, err error) {
	for _, text := range v.namespaces {
		one, err := connect.ParseNamespace(text)
		if err != nil {
			return nil, fmt.Errorf("--namespace: %w", err)
		}
		all = append(all, one)
	}
	for _, text := range v.accounts {
		one, err := connect.ParseSubject(text)
		if err != nil {
			return nil, fmt.Errorf("--service-account: %w", err)
		}
		all = append(all, one)
	}
	if v.refresher {
		all = append([]connect.Subject{{Namespace: refresherName, Account: refresherName}}, all...)
	}
	switch {
	case v.refresher && v.distribution != "":
		return nil, errors.New("--refresher is for nodes that cannot be changed, --node for those that can")
	case v.every != 0 && !v.refresh:
		return nil, errors.New("--every goes with --refresh")
	case v.every < 0:
		return nil, errors.New("--every must be a time, such as 1m")
	case v.refresh && (len(all) > 0 || v.published || v.annotate):
		return nil, errors.New("--refresh only uploads keys: leave out --namespace, --service-account, --published-keys and --annotate")
	case !v.refresh && len(all) == 0:
		return nil, errors.New("which service accounts may pull? name them with --service-account, or whole namespaces with --namespace")
	case v.distribution == "" && v.node.Write:
		return nil, errors.New("--write goes with --node")
	case v.distribution != "" && !slices.Contains(credential.Distributions, v.distribution):
		return nil, fmt.Errorf("--node is one of %s, got %q", strings.Join(credential.Distributions, ", "), v.distribution)
	case v.annotate && len(v.accounts) == 0:
		return nil, errors.New("--annotate is for the service accounts of --service-account")
	}
	return all, nil
}

// run connects the cluster and shows each step. It stops at the first that fails.
func (v *clusterConnection) run(ctx context.Context, s *client.Client, at *kube.Cluster, label string, subjects []connect.Subject) error {
	out := connected{Steps: []ecrintypes.IntegrationStep{}}
	n, failed := &connect.Connection{Name: label, Account: cmp.Or(v.account, s.Server.Account), Audience: v.audience, Subjects: subjects,
		Role: cmp.Or(v.role, label+"-pull"), Policies: v.policies, Follow: v.refresher && !v.published}, error(nil)
	do := func(step connect.Step) {
		if failed != nil {
			return
		}
		begin := time.Now()
		found, err := step.Run(ctx)
		one := stepResult(step.Name, found, err)
		one.Milliseconds = time.Since(begin).Milliseconds()
		out.Steps = append(out.Steps, one)
		failed = err
		if !v.asJSON {
			v.c.sayStepResults([]ecrintypes.IntegrationStep{one})
		}
	}
	if err := v.prepare(ctx, s, n); err != nil {
		return err
	}
	do(connect.Step{Name: "issuer", Run: func(ctx context.Context) (string, error) {
		var err error
		n.Issuer, err = at.Issuer(ctx)
		return n.Issuer.URL, err
	}})
	if v.refresher {
		do(connect.Step{Name: "service account", Run: func(ctx context.Context) (string, error) {
			return refresherName + "/" + refresherName, at.EnsureAccount(ctx, refresherName, refresherName)
		}})
	}
	if failed == nil {
		for _, step := range n.Steps() {
			do(step)
		}
	}
	do(connect.Step{Name: "proof", Run: func(ctx context.Context) (string, error) { return v.prove(ctx, at, n) }})
	if v.annotate {
		for _, one := range subjects {
			if one.Account != "" {
				do(connect.Step{Name: "annotation of " + one.Namespace + "/" + one.Account, Run: func(ctx context.Context) (string, error) {
					return n.RoleARN(), at.Annotate(ctx, one.Namespace, one.Account, connect.RoleAnnotation, n.RoleARN())
				}})
			}
		}
	}
	if v.distribution != "" {
		do(connect.Step{Name: "rights of nodes", Run: func(ctx context.Context) (string, error) {
			return "kubelets may ask for tokens for " + n.Audience, at.AllowAudience(ctx, "ecrin-"+label+"-tokens", n.Audience)
		}})
	}
	do(connect.Step{Name: "cluster", Run: func(ctx context.Context) (string, error) {
		var err error
		out.Cluster, err = v.record(ctx, s, n)
		return "stored as connected", err
	}})
	if failed == nil {
		out.RoleARN = n.RoleARN()
	}
	if v.asJSON {
		if err := v.c.printJSON(out); err != nil {
			return err
		}
	}
	if failed != nil {
		return fmt.Errorf("the cluster %s is not connected; what was made stays, and the command can be run again", label)
	}
	if v.asJSON {
		return nil
	}
	v.c.say("connected the cluster %s: %s pulls for it", label, n.RoleARN())
	switch {
	case v.refresher:
		return v.printValues(s, n)
	case v.distribution == "":
		return nil
	}
	v.forNode(s, n)
	v.c.say("each node: sudo %s", v.nodeCommand())
	return v.c.credentials().PrepareNode(&v.node, false)
}

// forNode fills what a node needs.
func (v *clusterConnection) forNode(s *client.Client, n *connect.Connection) {
	at := &v.node.Node
	at.Distribution, at.Role, at.Audience, at.Region = v.distribution, n.RoleARN(), n.Audience, s.Server.Region
	if len(at.Hosts) != 1 || s.Server.URL != "https://"+at.Hosts[0] {
		at.Endpoint = cmp.Or(at.Endpoint, s.Server.URL)
	}
}

// nodeCommand returns the command that prepares a node.
func (v *clusterConnection) nodeCommand() string {
	n := v.node.Node
	args := []string{"ecrin credential kubelet --distribution", n.Distribution, "--role", n.Role, "--region", n.Region}
	for _, host := range n.Hosts {
		args = append(args, "--registry", host)
	}
	for _, one := range [][2]string{{"--endpoint", n.Endpoint}, {"--ca", v.node.CA}} {
		if one[1] != "" {
			args = append(args, one[0], one[1])
		}
	}
	for _, one := range [][3]string{{"--audience", n.Audience, connect.DefaultAudience},
		{"--cache-type", n.CacheType, credential.CacheTypes[0]},
		{"--dir", n.Dir, credential.NodeDir}, {"--bin-dir", n.BinDir, credential.NodeBinDir}} {
		if one[1] != one[2] {
			args = append(args, one[0], one[1])
		}
	}
	return strings.Join(append(args, "--write"), " ")
}

// stepResult returns how a step has ended.
func stepResult(label, found string, err error) ecrintypes.IntegrationStep {
	one := ecrintypes.IntegrationStep{Name: label, Found: found, Passed: err == nil}
	if err == nil {
		return one
	}
	one.Found, one.Message, one.Cure = "", err.Error(), "see what the server says"
	if p, ok := errors.AsType[*connect.Problem](err); ok {
		one.Code, one.Message, one.Cure = p.Code, p.Text, p.Cure
	}
	if p, ok := errors.AsType[*kube.Problem](err); ok {
		one.Cure = p.Cure
	}
	return one
}

// prepare sets how the account is called, and what the role may.
func (v *clusterConnection) prepare(ctx context.Context, s *client.Client, n *connect.Connection) (err error) {
	if n.Config, err = s.Config(ctx, n.Account); err != nil {
		return err
	}
	region, err := name.ParseRegion(s.Server.Region)
	if err != nil {
		return err
	}
	if len(v.repositories) > 0 {
		policy, err := policyOfReader(region, n.Account, v.repositories)
		if err != nil {
			return err
		}
		n.Inline = string(policy)
	}
	if len(v.policies)+len(v.repositories) == 0 {
		n.Policies = []string{"arn:" + region.Partition() + ":iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"}
	}
	if !v.published {
		n.Upload = func(ctx context.Context, issuer kube.Issuer) error { return uploadKeys(ctx, s, n.Account, issuer) }
	}
	return nil
}

func uploadKeys(ctx context.Context, s *client.Client, account string, issuer kube.Issuer) error {
	var out ecrintypes.IssuerKeysResponse
	return s.Call(ctx, "PutIssuerKeys", &ecrintypes.PutIssuerKeysRequest{AccountId: account, Issuer: issuer.URL, Keys: issuer.Keys}, &out)
}

// prove proves the trust by a token of the first service account, or of the default one of the first namespace.
func (v *clusterConnection) prove(ctx context.Context, at *kube.Cluster, n *connect.Connection) (string, error) {
	of := n.Subjects[0]
	if i := slices.IndexFunc(n.Subjects, func(s connect.Subject) bool { return s.Account != "" }); i >= 0 {
		of = n.Subjects[i]
	}
	if of.Namespace == "*" {
		of.Namespace = "default"
	}
	of.Account = cmp.Or(of.Account, "default")
	token, err := at.Token(ctx, of.Namespace, of.Account, n.Audience)
	if err != nil {
		return "", err
	}
	registry, end, err := n.Prove(ctx, token)
	if len(v.node.Node.Hosts) == 0 {
		v.node.Node.Hosts = []string{registry}
	}
	return fmt.Sprintf("by %s/%s: a token for %s until %s", of.Namespace, of.Account, registry, end.UTC().Format(time.RFC3339)), err
}

// record stores the cluster as connected. A second role of a cluster does not replace the first as its principal.
func (v *clusterConnection) record(ctx context.Context, s *client.Client, n *connect.Connection) (ecrintypes.Cluster, error) {
	in := ecrintypes.PutClusterRequest{AccountId: n.Account, ClusterName: n.Name, Region: cmp.Or(v.region, s.Server.Region),
		Principal: n.RoleARN(), Issuer: n.Issuer.URL, State: ecrintypes.ClusterStateCONNECTED}
	had, err := readClusters(ctx, s, &ecrintypes.DescribeClustersRequest{AccountId: n.Account, ClusterName: n.Name})
	if failure, ok := errors.AsType[*client.Error](err); ok && failure.Name == "ResourceNotFoundException" {
		err = nil
	}
	if err != nil {
		return ecrintypes.Cluster{}, err
	}
	if len(had) > 0 {
		in.CloudName = had[0].CloudName
		in.Region = cmp.Or(v.region, had[0].Region)
		if had[0].State == ecrintypes.ClusterStateCONNECTED && had[0].Issuer == n.Issuer.URL {
			in.Principal = had[0].Principal
		}
	}
	var out ecrintypes.ClusterResponse
	err = s.Call(ctx, "PutCluster", &in, &out)
	return out.Cluster, err
}

// follow uploads the keys of the issuer again: once, or each time that they have changed until a signal.
func (v *clusterConnection) follow(cmd *cobra.Command, s *client.Client, at *kube.Cluster, label string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	f := &follower{s: s, at: at, label: label, account: cmp.Or(v.account, s.Server.Account)}
	for {
		changed, err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case v.every == 0 && err != nil:
			return err
		case err != nil:
			v.c.say("the keys of %s stay as they are: %v", label, err)
		case v.asJSON && (changed || v.every == 0):
			if err := v.c.printJSON(f.stored); err != nil {
				return err
			}
		case changed || v.every == 0:
			v.c.say("the keys of %s are %v", f.stored.Issuer, f.stored.KeyIds)
		}
		if v.every == 0 {
			return nil
		}
		pause := v.every
		if err != nil {
			pause = min(pause, maxUploadPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// follower uploads the keys of the issuer of a cluster.
type follower struct {
	s              *client.Client
	at             *kube.Cluster
	label, account string
	stored         ecrintypes.IssuerKeys
	uploaded       string
}

// step uploads the keys if they have changed. An API server that does not answer, that has no keys, or another issuer, changes nothing.
func (f *follower) step(ctx context.Context) (changed bool, err error) {
	issuer, err := f.at.Issuer(ctx)
	if err != nil || issuer.Keys == f.uploaded {
		return false, err
	}
	had, err := readClusters(ctx, f.s, &ecrintypes.DescribeClustersRequest{AccountId: f.account, ClusterName: f.label})
	if err != nil {
		return false, err
	}
	if len(had) == 0 {
		return false, fmt.Errorf("the server knows no cluster %s: connect it again", f.label)
	}
	if had[0].Issuer != issuer.URL {
		return false, fmt.Errorf("the API server has the issuer %s, and the cluster %s was connected with %q: connect it again",
			issuer.URL, f.label, had[0].Issuer)
	}
	var out ecrintypes.IssuerKeysResponse
	if err := f.s.Call(ctx, "PutIssuerKeys", &ecrintypes.PutIssuerKeysRequest{AccountId: f.account, Issuer: issuer.URL, Keys: issuer.Keys},
		&out); err != nil {
		return false, err
	}
	f.stored, f.uploaded = out.IssuerKeys, issuer.Keys
	return true, nil
}
