package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// objectCalls are the operations of a kind of objects of an account.
type objectCalls[Out any] struct {
	kind     string // for messages
	describe string // operation that returns them
	remove   string // operation that deletes one
	name     func(account, label string) any
	columns  []string
	row      func(Out) []string
	details  func(Out) [][]string
}

// list returns the command that lists the objects.
func (o objectCalls[Out]) list(c *commands, plural string, read func(ctx context.Context, s caller, in any) ([]Out, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List " + plural}
	account := cmd.Flags().String("account", "", "`account` that they are of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		all, err := read(cmd.Context(), s, o.name(*account, ""))
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(all)
		case len(all) == 0:
			c.say("there are no %s", plural)
			return nil
		}
		rows := [][]string{o.columns}
		for _, one := range all {
			rows = append(rows, o.row(one))
		}
		return c.table(rows)
	}
	return cmd
}

// show returns the command that shows one object.
func (o objectCalls[Out]) show(c *commands, read func(ctx context.Context, s caller, in any) ([]Out, error)) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Args: exactly("NAME"), Short: "Show a " + o.kind}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		all, err := read(cmd.Context(), s, o.name(*account, args[0]))
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(all[0])
		}
		var rows [][]string
		for _, row := range o.details(all[0]) {
			if row[1] != "" {
				rows = append(rows, row)
			}
		}
		return c.table(rows)
	}
	return cmd
}

// add makes the command that stores an object of one that has the flags of its request. put sends the request. then is what to do next,
// with %[2]s for the name; "" for nothing.
func (o objectCalls[Out]) add(c *commands, cmd *cobra.Command, account *string, then string,
	put func(cmd *cobra.Command, s caller, label string) (Out, error)) *cobra.Command {
	cmd.Use, cmd.Args = "add NAME", exactly("NAME")
	cmd.Flags().StringVar(account, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		out, err := put(cmd, s, args[0])
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(out)
		}
		c.say("stored the %[1]s %[2]s"+then, o.kind, args[0])
		return nil
	}
	return cmd
}

// delete returns the command that deletes one object.
func (o objectCalls[Out]) delete(c *commands) *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Args: exactly("NAME"), Short: "Delete a " + o.kind + " that nothing uses"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out map[string]any
		if err := s.Call(cmd.Context(), o.remove, o.name(*account, args[0]), &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("deleted the %s %s", o.kind, args[0])
		return nil
	}
	return cmd
}

// caller calls an operation.
type caller interface {
	Call(ctx context.Context, operation string, in, out any) error
}

var cloudCalls = objectCalls[ecrintypes.CloudIntegration]{
	kind: "cloud integration", describe: "DescribeCloudIntegrations", remove: "DeleteCloudIntegration",
	name: func(account, label string) any {
		return ecrintypes.CloudIntegrationRequest{AccountId: account, CloudName: label}
	},
	columns: []string{"NAME", "ROLE", "EXTERNAL ID", "REGION", "STATE"},
	row: func(i ecrintypes.CloudIntegration) []string {
		return []string{i.CloudName, orDash(i.RoleArn), orDash(i.ExternalId), i.Region, testState(i.LastError, i.LastTestedAt)}
	},
	details: func(i ecrintypes.CloudIntegration) [][]string {
		return [][]string{{"NAME", i.CloudName}, {"ARN", i.Arn}, {"REGION", i.Region}, {"STS", i.StsEndpoint}, {"ACCESS KEY", i.AwsAccessKeyId},
			{"ROLE", i.RoleArn}, {"EXTERNAL ID", i.ExternalId}, {"UPDATED", stamp(i.UpdatedAt.Time)},
			{"STATE", testState(i.LastError, i.LastTestedAt)}}
	},
}

func readClouds(ctx context.Context, s caller, in any) ([]ecrintypes.CloudIntegration, error) {
	var out ecrintypes.DescribeCloudIntegrationsResponse
	err := s.Call(ctx, cloudCalls.describe, in, &out)
	return out.CloudIntegrations, err
}

func (c *commands) cloud() *cobra.Command {
	cmd := &cobra.Command{Use: "cloud", Short: "Keep cloud integrations: accounts of AWS, or of another ecrin, and the roles used in them",
		Long: `A cloud integration is an access key and the role that is assumed with it, with its external id. Clusters and integrations name it.
The secret access key is read from standard input, or from the file that --secret-file names, is sealed, and is never shown again.`,
		Example: "  printf %s \"$SECRET\" | ecrin cloud add aws --region eu-west-1 --access-key-id AKIA… \\\n" +
			"    --role-arn arn:aws:iam::123456789012:role/release/console --external-id 5d2f\n  ecrin cloud test aws"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.cloudAdd(), cloudCalls.list(c, "cloud integrations", readClouds), cloudCalls.show(c, readClouds), c.cloudTest(),
		cloudCalls.delete(c))
	return cmd
}

func (c *commands) cloudAdd() *cobra.Command {
	cmd := &cobra.Command{Short: "Add a cloud integration, or replace it: its secret stays if the key does and no secret is given"}
	var in ecrintypes.PutCloudIntegrationRequest
	f := cmd.Flags()
	f.StringVar(&in.Region, "region", "", "`region` whose STS is called")
	f.StringVar(&in.StsEndpoint, "sts-endpoint", "", "`URL` of the STS API, if that is not the one of AWS")
	f.StringVar(&in.AwsAccessKeyId, "access-key-id", "", "`id` of an access key; its secret is read from standard input")
	f.StringVar(&in.RoleArn, "role-arn", "", "`ARN` of the role that is assumed with it")
	f.StringVar(&in.ExternalId, "external-id", "", "external `id` for the role")
	file := f.String("secret-file", "-", "`file` with the secret access key, - for standard input")
	keep := f.Bool("keep-secret", false, "keep the secret of the same access key")
	return cloudCalls.add(c, cmd, &in.AccountId, ": check it by ecrin cloud test %[2]s",
		func(cmd *cobra.Command, s caller, label string) (one ecrintypes.CloudIntegration, err error) {
			in.CloudName = label
			if !*keep {
				if in.AwsSecretAccessKey, err = readSecret(cmd.InOrStdin(), *file, ""); err != nil {
					return one, err
				}
			}
			var out ecrintypes.CloudIntegrationResponse
			err = s.Call(cmd.Context(), "PutCloudIntegration", &in, &out)
			return out.CloudIntegration, err
		})
}

func (c *commands) cloudTest() *cobra.Command {
	cmd := &cobra.Command{Use: "test NAME", Args: exactly("NAME"),
		Short: "Ask who the owner of the key is, assume the role and ask again; show what each call says and what to do about a failure"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.testSteps(cmd, "TestCloudIntegration", cloudCalls.name(*account, args[0]), *asJSON, "cloud integration "+args[0])
	}
	return cmd
}

// testSteps calls an operation that tests something, and shows its steps. It fails if the test does.
func (c *commands) testSteps(cmd *cobra.Command, operation string, in any, asJSON bool, what string) error {
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	s.Patient(testPatience)
	var out ecrintypes.TestIntegrationResponse
	if err := s.Call(cmd.Context(), operation, in, &out); err != nil {
		return err
	}
	if asJSON {
		return c.printJSON(out)
	}
	c.sayStepResults(out.Steps)
	c.sayPolicies(out)
	if !out.Passed {
		return fmt.Errorf("the %s does not work", what)
	}
	return nil
}

// sayPolicies says which managed policies the principal of an integration meets.
func (c *commands) sayPolicies(out ecrintypes.TestIntegrationResponse) {
	if len(out.Policies) == 0 {
		return
	}
	c.say("managed policies, found by %s:", out.PoliciesFoundBy)
	for _, one := range out.Policies {
		switch {
		case !one.Met:
			c.say("      %s: missing %s", one.Name, strings.Join(one.Missing, ", "))
		case len(one.Untried) > 0:
			c.say("      %s: met as far as calls show that change nothing; not tried: %s", one.Name, strings.Join(one.Untried, ", "))
		default:
			c.say("      %s: met", one.Name)
		}
	}
}

func (c *commands) sayStepResults(steps []ecrintypes.IntegrationStep) {
	for _, one := range steps {
		if one.Passed {
			c.say("ok    %s", strings.TrimSpace(one.Name+" "+one.Found))
			continue
		}
		said := one.Message
		if one.Code != "" {
			said = one.Code + ": " + said
		}
		c.say("FAIL  %s\n      %s\n      %s", one.Name, said, one.Cure)
	}
}

var runtimeCalls = objectCalls[ecrintypes.Runtime]{
	kind: "runtime", describe: "DescribeRuntimes", remove: "DeleteRuntime",
	name: func(account, label string) any {
		return ecrintypes.RuntimeRequest{AccountId: account, RuntimeName: label}
	},
	columns: []string{"NAME", "MODE", "VERSION", "INGRESS HOST", "ROLE"},
	row: func(r ecrintypes.Runtime) []string {
		return []string{r.RuntimeName, runtimeMode(r.Hosted), r.Version, orDash(r.IngressHost), orDash(r.RoleArn)}
	},
	details: func(r ecrintypes.Runtime) [][]string {
		return [][]string{{"NAME", r.RuntimeName}, {"ARN", r.Arn}, {"MODE", runtimeMode(r.Hosted)}, {"VERSION", r.Version},
			{"INGRESS HOST", r.IngressHost}, {"ROLE", r.RoleArn}, {"UPDATED", stamp(r.UpdatedAt.Time)}}
	},
}

func runtimeMode(hosted bool) string {
	if hosted {
		return "hosted"
	}
	return "hybrid"
}

func readRuntimes(ctx context.Context, s caller, in any) ([]ecrintypes.Runtime, error) {
	var out ecrintypes.DescribeRuntimesResponse
	err := s.Call(ctx, runtimeCalls.describe, in, &out)
	return out.Runtimes, err
}

func (c *commands) runtime() *cobra.Command {
	cmd := &cobra.Command{Use: "runtime", Short: "Keep the runtimes that may use integrations",
		Long: `A runtime is where applications are deployed from: hosted by a platform, or hybrid, in a cluster of the account. The scope of an
integration names runtimes, and reports of images are sent to the ingress host of one.`,
		Example: "  ecrin runtime add west --version 0.1.33 --ingress-host https://west.example.com\n  ecrin runtime list"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.runtimeAdd(), runtimeCalls.list(c, "runtimes", readRuntimes), runtimeCalls.show(c, readRuntimes), runtimeCalls.delete(c))
	return cmd
}

func (c *commands) runtimeAdd() *cobra.Command {
	cmd := &cobra.Command{Short: "Add a runtime, or replace it"}
	var in ecrintypes.PutRuntimeRequest
	f := cmd.Flags()
	f.StringVar(&in.Version, "version", "", "semantic `version` of the runtime")
	f.StringVar(&in.IngressHost, "ingress-host", "", "`URL` that reports of images are sent to")
	f.StringVar(&in.RoleArn, "role-arn", "", "`ARN` of its own role, which assumes the roles of integrations")
	in.Hosted = f.Bool("hosted", false, "the platform hosts it; otherwise it is hybrid")
	return runtimeCalls.add(c, cmd, &in.AccountId, "", func(cmd *cobra.Command, s caller, label string) (ecrintypes.Runtime, error) {
		in.RuntimeName = label
		var out ecrintypes.RuntimeResponse
		err := s.Call(cmd.Context(), "PutRuntime", &in, &out)
		return out.Runtime, err
	})
}

var clusterCalls = objectCalls[ecrintypes.Cluster]{
	kind: "cluster", describe: "DescribeClusters", remove: "DeleteCluster",
	name: func(account, label string) any {
		return ecrintypes.ClusterRequest{AccountId: account, ClusterName: label}
	},
	columns: []string{"NAME", "REGION", "ACCOUNT", "PRINCIPAL", "STATE"},
	row: func(o ecrintypes.Cluster) []string {
		return []string{o.ClusterName, o.Region, o.PrincipalAccountId, o.Principal, strings.ToLower(string(o.State))}
	},
	details: func(o ecrintypes.Cluster) [][]string {
		return [][]string{{"NAME", o.ClusterName}, {"ARN", o.Arn}, {"REGION", o.Region}, {"ACCOUNT", o.PrincipalAccountId},
			{"PRINCIPAL", o.Principal}, {"CLOUD INTEGRATION", o.CloudName}, {"ISSUER", o.Issuer},
			{"STATE", strings.ToLower(string(o.State))}, {"UPDATED", stamp(o.UpdatedAt.Time)}}
	},
}

func readClusters(ctx context.Context, s caller, in any) ([]ecrintypes.Cluster, error) {
	var out ecrintypes.DescribeClustersResponse
	err := s.Call(ctx, clusterCalls.describe, in, &out)
	return out.Clusters, err
}

func (c *commands) cluster() *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Keep the clusters whose pods pull images",
		Long: `A cluster has a region and the principal that pulls for it. Policies of repositories name the account of the principal, which list and
show print beside its ARN. connect makes that principal, a role that the service accounts of the cluster assume.`,
		Example: "  ecrin cluster add staging --region eu-west-2 --principal arn:aws:iam::123456789012:role/staging-nodes\n  ecrin cluster list\n" +
			"  ecrin cluster connect staging --kubeconfig admin.conf --namespace shop"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.clusterAdd(), c.clusterConnect(),
		clusterCalls.list(c, "clusters", readClusters), clusterCalls.show(c, readClusters), clusterCalls.delete(c))
	return cmd
}

func (c *commands) clusterAdd() *cobra.Command {
	cmd := &cobra.Command{Short: "Add a cluster, or replace it"}
	var in ecrintypes.PutClusterRequest
	f := cmd.Flags()
	f.StringVar(&in.Region, "region", "", "`region` that it runs in")
	f.StringVar(&in.Principal, "principal", "", "`ARN` of the user or role that pulls for it, or the 12 digits of an account")
	f.StringVar(&in.CloudName, "cloud", "", "`name` of the cloud integration that it belongs to")
	return clusterCalls.add(c, cmd, &in.AccountId, "", func(cmd *cobra.Command, s caller, label string) (ecrintypes.Cluster, error) {
		if in.ClusterName = label; in.Region == "" || in.Principal == "" {
			return ecrintypes.Cluster{}, usageError{errors.New("--region and --principal are needed; " +
				"`ecrin cluster connect` makes a role for a cluster")}
		}
		var out ecrintypes.ClusterResponse
		err := s.Call(cmd.Context(), "PutCluster", &in, &out)
		return out.Cluster, err
	})
}
