package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const integrationHelp = `Keep how registries outside of this installation are reached: Amazon ECR, another ecrin, any OCI registry.

An integration has the address of the registry and credentials for it, which are sealed with the master key and never shown again. Secrets
are read from standard input, or from the file that --secret-file names: the secret access key, or the password.

With --replicates-to REGISTRY_ID/REGION the destination of that name in the replication configuration of the account is the registry of
the integration, and images are sent there. Private addresses need the setting egress_allow of the server.`

func (c *commands) integration() *cobra.Command {
	cmd := &cobra.Command{Use: "integration", Short: "Keep credentials and addresses of registries outside of the installation",
		Long: integrationHelp,
		Example: "  printf %s \"$SECRET\" | ecrin integration add aws --kind ecr --registry-id 123456789012 --region eu-west-1 \\\n" +
			"    --access-key-id AKIA… --replicates-to 123456789012/eu-west-1\n" +
			"  ecrin integration test aws --image team/app:1.0\n  ecrin integration list"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.integrationAdd(), c.integrationUpdate(), c.integrationList(), c.integrationShow(), c.integrationTest(),
		c.integrationDelete(), c.integrationNewReader())
	return cmd
}

// integrationFlags are the flags of what an integration consists of.
type integrationFlags struct {
	host, endpoint, sts, registryID, region, keyID, role, externalID, username, to, secretFile, tokenFile string
	knownHosts                                                                                            string
	secondRole, secondID, cloud, url                                                                      string
	webIdentity                                                                                           bool
	tokenHosts, runtimes                                                                                  []string
	account                                                                                               string
}

func (v *integrationFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.account, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	f.StringVar(&v.endpoint, "endpoint", "", "`URL` of another ecrin, or of the ECR API if that is not the one of AWS")
	f.StringVar(&v.host, "registry-host", "", "`host` of the registry, HOST or HOST:PORT, if it does not follow from the other flags")
	f.StringVar(&v.sts, "sts-endpoint", "", "`URL` of the STS API, if that is not the one of AWS")
	f.StringVar(&v.registryID, "registry-id", "", "`account` of the registry there, 12 digits")
	f.StringVar(&v.region, "region", "", "`region` of the registry there")
	f.StringVar(&v.keyID, "access-key-id", "", "`id` of an access key there; its secret is read from standard input")
	f.StringVar(&v.role, "role-arn", "", "`ARN` of a role that is assumed, or its name in the account of who assumes it")
	f.StringVar(&v.externalID, "external-id", "", "external `id` for the role")
	f.StringVar(&v.secondRole, "second-role-arn", "", "`ARN` of a role that is assumed from the first one, or its name")
	f.StringVar(&v.secondID, "second-external-id", "", "external `id` for the second role")
	f.StringVar(&v.cloud, "cloud", "", "`name` of a cloud integration whose key and role come first, instead of an access key")
	f.BoolVar(&v.webIdentity, "web-identity", false,
		"assume the role with a token of the server, if the operator allows that by the setting web_identities")
	f.StringVar(&v.username, "username", "", "`name` at an OCI registry, of git or of Jira; the password or token is read from standard input")
	f.StringVar(&v.url, "at", "", "`URL` of a host of git repositories, of a repository, or of Jira")
	f.StringVar(&v.knownHosts, "known-hosts", "",
		"`file` with the keys of the host of a repository by ssh, as ssh-keyscan prints them; the private key is read from standard input")
	f.StringVar(&v.secretFile, "secret-file", "-", "`file` with the secret access key, the password or the private key, - for standard input")
	f.StringVar(&v.tokenFile, "session-token-file", "", "`file` with the session token that belongs to a temporary key")
	f.StringArrayVar(&v.tokenHosts, "token-host", nil, "`host` that may issue tokens of an OCI registry; may be repeated")
	f.StringArrayVar(&v.runtimes, "runtime", nil, "name of a `runtime` that may use it (default: all); may be repeated")
	f.StringVar(&v.to, "replicates-to", "", "`destination` of replications that it stands for, REGISTRY_ID/REGION")
}

// web returns whether the integration uses a web identity; nil if the flags do not say it.
func (v *integrationFlags) web(cmd *cobra.Command) *bool {
	if !cmd.Flags().Changed("web-identity") {
		return nil
	}
	return &v.webIdentity
}

// secret reads the secret that belongs to the flags; "" if none does. token is whether there is one without a name.
func (v *integrationFlags) secret(stdin io.Reader, token bool) (string, error) {
	if v.keyID == "" && v.username == "" && v.knownHosts == "" && !token && v.secretFile == "-" {
		return "", nil
	}
	return readSecret(stdin, v.secretFile, "")
}

func (v *integrationFlags) target() (*ecrintypes.ReplicationTarget, error) {
	if v.to == "" {
		return nil, nil
	}
	id, region, ok := strings.Cut(v.to, "/")
	if !ok {
		return nil, usageError{fmt.Errorf("--replicates-to is REGISTRY_ID/REGION, got %q", v.to)}
	}
	return &ecrintypes.ReplicationTarget{RegistryId: id, Region: region}, nil
}

func (v *integrationFlags) sessionToken() (string, error) {
	if v.tokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(v.tokenFile)
	if err != nil {
		return "", fmt.Errorf("reading the session token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (c *commands) integrationAdd() *cobra.Command {
	cmd := &cobra.Command{Use: "add NAME", Args: exactly("NAME"), Short: "Add an integration; its secret is read from standard input",
		Example: "  printf %s \"$SECRET\" | ecrin integration add branch --kind ecrin --endpoint https://registry.example.com \\\n" +
			"    --registry-id 000000000000 --region us-east-1 --access-key-id AKIA…\n" +
			"  ecrin integration add mirror --kind oci --registry-host registry.example.com"}
	var v integrationFlags
	v.add(cmd)
	kind := cmd.Flags().String("kind", "", "`kind`: ecr, ecrin, oci, git or issues")
	provider := cmd.Flags().String("provider", "", "`provider` of the kind git: github, gitlab or git; of the kind issues: jira")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := ecrintypes.CreateIntegrationRequest{
			AccountId: v.account, IntegrationName: args[0], Kind: ecrintypes.IntegrationKind(strings.ToUpper(*kind)), RegistryHost: v.host,
			Endpoint: v.endpoint, StsEndpoint: v.sts, RemoteRegistryId: v.registryID, RemoteRegion: v.region, AwsAccessKeyId: v.keyID,
			RoleArn: v.role, ExternalId: v.externalID, SecondRoleArn: v.secondRole, SecondExternalId: v.secondID, CloudName: v.cloud,
			WebIdentity: v.web(cmd), Provider: ecrintypes.IntegrationProvider(*provider), Url: v.url,
			Username: v.username, TokenHosts: v.tokenHosts, Runtimes: v.runtimes,
		}
		hidden, err := v.secret(cmd.InOrStdin(), *provider != "" && *provider != "git")
		if err == nil {
			in.AwsSessionToken, err = v.sessionToken()
		}
		if err == nil {
			in.ReplicatesTo, err = v.target()
		}
		if err == nil {
			in.KnownHosts, err = readText(v.knownHosts)
		}
		switch {
		case err != nil:
			return err
		case v.knownHosts != "":
			in.PrivateKey = hidden + "\n"
		case v.keyID == "":
			in.Password = hidden
		default:
			in.AwsSecretAccessKey = hidden
		}
		return c.integrationCall(cmd, "CreateIntegration", &in, *asJSON, "added the integration %s: check it by ecrin integration test")
	}
	return cmd
}

func (c *commands) integrationUpdate() *cobra.Command {
	cmd := &cobra.Command{Use: "update NAME", Args: exactly("NAME"), Short: "Change an integration; what no flag names stays",
		Example: "  printf %s \"$SECRET\" | ecrin integration update aws --access-key-id AKIA…\n  ecrin integration update aws --remove role"}
	var v integrationFlags
	v.add(cmd)
	parts := cmd.Flags().StringArray("remove", nil,
		"`part` to remove: role, external-id, second-role, cloud, web-identity, credentials, token-hosts, runtimes or replication; may be repeated")
	token := cmd.Flags().Bool("token", false, "read a new token for git or Jira from standard input; its user name stays")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := ecrintypes.UpdateIntegrationRequest{
			AccountId: v.account, IntegrationName: args[0], RegistryHost: v.host, Endpoint: v.endpoint, StsEndpoint: v.sts,
			RemoteRegistryId: v.registryID, RemoteRegion: v.region, AwsAccessKeyId: v.keyID, RoleArn: v.role, ExternalId: v.externalID,
			SecondRoleArn: v.secondRole, SecondExternalId: v.secondID, CloudName: v.cloud, WebIdentity: v.web(cmd), Url: v.url,
			Username: v.username, TokenHosts: v.tokenHosts, Runtimes: v.runtimes,
		}
		for _, part := range *parts {
			in.Remove = append(in.Remove, ecrintypes.IntegrationPart(strings.ToUpper(strings.ReplaceAll(part, "-", "_"))))
		}
		hidden, err := v.secret(cmd.InOrStdin(), *token)
		if err == nil {
			in.AwsSessionToken, err = v.sessionToken()
		}
		if err == nil {
			in.ReplicatesTo, err = v.target()
		}
		if err == nil {
			in.KnownHosts, err = readText(v.knownHosts)
		}
		switch {
		case err != nil:
			return err
		case v.knownHosts != "":
			in.PrivateKey = hidden + "\n"
		case hidden != "" && v.keyID == "" && v.username == "" && !*token:
			return usageError{errors.New("--secret-file needs --access-key-id, --username, --known-hosts or --token")}
		case v.username != "" || *token:
			in.Password = hidden
		default:
			in.AwsSecretAccessKey = hidden
		}
		return c.integrationCall(cmd, "UpdateIntegration", &in, *asJSON, "changed the integration %s")
	}
	return cmd
}

// integrationCall calls an operation that returns an integration, and says so.
func (c *commands) integrationCall(cmd *cobra.Command, operation string, in any, asJSON bool, text string) error {
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	var out ecrintypes.IntegrationResponse
	if err := s.Call(cmd.Context(), operation, in, &out); err != nil {
		return err
	}
	if asJSON {
		return c.printJSON(out.Integration)
	}
	c.say(text, out.Integration.IntegrationName)
	return nil
}

// integrations returns the integrations of an account, or the one with a name.
func (c *commands) integrations(cmd *cobra.Command, account, label string) (out ecrintypes.DescribeIntegrationsResponse, err error) {
	s, err := c.connect(cmd)
	if err == nil {
		in := ecrintypes.DescribeIntegrationsRequest{AccountId: account, IntegrationName: label}
		err = s.Call(cmd.Context(), "DescribeIntegrations", &in, &out)
	}
	return out, err
}

func (c *commands) integrationList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List integrations, without their secrets"}
	account := cmd.Flags().String("account", "", "`account` whose integrations are listed, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := c.integrations(cmd, *account, "")
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(out)
		case len(out.Integrations) == 0:
			c.say("there are no integrations")
			return nil
		}
		rows := [][]string{{"NAME", "KIND", "REGISTRY", "REPLICATES TO", "STATE"}}
		for _, i := range out.Integrations {
			to := "-"
			if i.ReplicatesTo != nil {
				to = i.ReplicatesTo.RegistryId + "/" + i.ReplicatesTo.Region
			}
			rows = append(rows, []string{i.IntegrationName, strings.ToLower(string(i.Kind)), i.RegistryHost, to,
				testState(i.LastError, i.LastTestedAt)})
		}
		return c.table(rows)
	}
	return cmd
}

// testState returns how something is that can be tested, for people.
func testState(problem string, tested *awswire.Time) string {
	switch {
	case problem != "":
		return problem
	case tested == nil:
		return "not tested"
	}
	return "ok, " + stamp(tested.Time)
}

func (c *commands) integrationShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Args: exactly("NAME"), Short: "Show an integration, without its secrets"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out, err := c.integrations(cmd, *account, args[0])
		if err != nil {
			return err
		}
		i := out.Integrations[0]
		if *asJSON {
			return c.printJSON(i)
		}
		rows := [][]string{{"NAME", i.IntegrationName}, {"KIND", strings.ToLower(string(i.Kind))}, {"REGISTRY", i.RegistryHost}}
		for _, one := range [][]string{{"PROVIDER", i.Provider}, {"URL", i.Url},
			{"ENDPOINT", i.Endpoint}, {"STS", i.StsEndpoint}, {"REGISTRY ID", i.RemoteRegistryId},
			{"REGION", i.RemoteRegion}, {"ACCESS KEY", i.AwsAccessKeyId}, {"CLOUD", i.CloudName},
			{"ROLE", i.RoleArn}, {"EXTERNAL ID", i.ExternalId}, {"SECOND ROLE", i.SecondRoleArn}, {"SECOND EXTERNAL ID", i.SecondExternalId},
			{"USERNAME", i.Username}, {"TOKEN HOSTS", strings.Join(i.TokenHosts, ", ")}, {"RUNTIMES", strings.Join(i.Runtimes, ", ")}} {
			if one[1] != "" {
				rows = append(rows, one)
			}
		}
		if i.WebIdentity != nil && *i.WebIdentity {
			rows = append(rows, []string{"WEB IDENTITY", "yes"})
		}
		if i.ReplicatesTo != nil {
			rows = append(rows, []string{"REPLICATES TO", i.ReplicatesTo.RegistryId + "/" + i.ReplicatesTo.Region})
		}
		rows = append(rows, []string{"UPDATED", stamp(i.UpdatedAt.Time)}, []string{"STATE", testState(i.LastError, i.LastTestedAt)})
		return c.table(rows)
	}
	return cmd
}

// testPatience is how long a test of an integration may take.
const testPatience = 3 * time.Minute

func (c *commands) integrationTest() *cobra.Command {
	cmd := &cobra.Command{Use: "test NAME", Args: exactly("NAME"),
		Short: "Make the calls of a pull by an integration, and show what each says and what to do about a failure"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	image := cmd.Flags().String("image", "", "`image` there whose manifest is read too, REPOSITORY:TAG or REPOSITORY@DIGEST")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := ecrintypes.TestIntegrationRequest{AccountId: *account, IntegrationName: args[0], Image: *image}
		return c.testSteps(cmd, "TestIntegration", &in, *asJSON, "integration "+args[0])
	}
	return cmd
}

func (c *commands) integrationDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Args: exactly("NAME"), Short: "Delete an integration that no replication rule uses",
		Long: "Delete an integration that no replication rule uses. On a terminal the command asks, and deletes if DELETE is typed. A script,\n" +
			"whose input is no terminal, is not asked.",
		Example: "  ecrin integration delete mirror --yes"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	yes := cmd.Flags().Bool("yes", false, "delete without a question")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := ecrintypes.IntegrationRequest{AccountId: *account, IntegrationName: args[0]}
		if !*yes && terminal(cmd.InOrStdin()) {
			if err := c.typed(cmd, "DELETE", "the integration "+args[0]+" with its secrets is deleted, and what uses its name fails"); err != nil {
				return err
			}
		}
		return c.integrationCall(cmd, "DeleteIntegration", &in, *asJSON, "deleted the integration %s")
	}
	return cmd
}
