package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// setupKind is a kind of integration that can be set up.
type setupKind struct {
	Key, Title, About string
	kind              ecrintypes.IntegrationKind // "" for a cloud integration
	form              func(*request, ecrintypes.Integration) []fieldset
}

// setupKinds are the kinds, in the order of the page.
var setupKinds = []setupKind{
	{Key: "aws", Title: "AWS",
		About: "A cloud integration: a key, and the role of an account that is assumed with it. Other integrations and clusters use it."},
	{Key: "ecr", Title: "AWS ECR private registry", About: "Images of Amazon ECR, by a cloud integration, a role or an access key.",
		kind: ecrintypes.IntegrationKindECR, form: ecrForm},
	{Key: "ecrin", Title: "ecrin of another installation", About: "Images of another ecrin, by an access key of it.",
		kind: ecrintypes.IntegrationKindECRIN, form: ecrinForm},
	{Key: "registry", Title: "Docker registry", About: "Any other registry, by user and password, or anonymously.",
		kind: ecrintypes.IntegrationKindOCI, form: registryForm},
	{Key: "git", Title: "Git", About: "GitHub, GitLab, or one repository of git: reports read commits and pull requests.",
		kind: ecrintypes.IntegrationKindGIT, form: gitForm},
	{Key: "issues", Title: "Jira", About: "A tracker of issues, which reports read.",
		kind: ecrintypes.IntegrationKindISSUES, form: issuesForm},
}

// setupKindOf returns the kind of an integration; nil for none of the list.
func setupKindOf(i ecrintypes.Integration) *setupKind {
	for n := range setupKinds {
		if setupKinds[n].kind == i.Kind {
			return &setupKinds[n]
		}
	}
	return nil
}

// errNoRuntimes is the error of a scope that nobody is in.
var errNoRuntimes = fault.InvalidParameter.New("Selected runtimes needs at least one runtime")

// registryOfHost returns account and region of the host of a registry of ECR.
//
// Errors: fault.InvalidParameter.
func registryOfHost(host string) (account, region string, err error) {
	account, region, ok := report.ECRHost(host)
	if !ok || strings.ContainsAny(host, "/ ") {
		return "", "", fault.InvalidParameter.New(
			"the host of a registry is ACCOUNT.dkr.ecr.REGION.amazonaws.com, without https:// and without a path")
	}
	return account, region, nil
}

// scopeFields are the fields of who may use an integration; none without runtimes.
func (x *request) scopeFields(chosen []string) []field {
	names := slices.Clone(chosen)
	out, err := do[ecrintypes.DescribeRuntimesResponse](x, "ecrin", "DescribeRuntimes",
		&ecrintypes.DescribeRuntimesRequest{AccountId: x.account.String()})
	if err == nil {
		names = names[:0]
		for _, r := range out.Runtimes {
			names = append(names, r.RuntimeName)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ticks := choices("", "", names...)
	for i := range ticks {
		ticks[i].On = slices.Contains(chosen, ticks[i].Value)
	}
	return []field{
		{Name: "scope", Label: "Runtimes that may use it", Kind: "radio", Options: []option{
			{Value: "all", Text: "All runtimes", On: len(chosen) == 0}, {Value: "some", Text: "Selected runtimes", On: len(chosen) > 0}}},
		{Name: "runtimes", Label: "Selected", Kind: "ticks", Options: ticks},
	}
}

// keyHelp tells that a stored secret stays.
func keyHelp(i ecrintypes.Integration) string {
	if i.IntegrationName == "" {
		return "Stored sealed, and never shown again."
	}
	return "Empty: the stored one stays."
}

func ecrForm(x *request, i ecrintypes.Integration) []fieldset {
	registry := []field{{Name: "host", Label: "Registry hostname", Value: i.RegistryHost,
		Placeholder: "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		Help:        "Without https:// and without a path."}}
	if i.IntegrationName == "" {
		registry = append(registry, field{Name: "region", Label: "Region",
			Help: "Only where there is no hostname: the registry is that of the account of the role, in this region."})
	}
	role := fieldset{Legend: "Role", Help: "It is assumed with the credential above. Leave it empty to use that alone.", Fields: []field{
		{Name: "role", Label: "IAM Role", Value: i.RoleArn, Placeholder: "arn:aws:iam::123456789012:role/pull",
			Help: "Its ARN, or its name in the account of the credential."},
		{Name: "externalId", Label: "External ID", Value: i.ExternalId}}}
	credential := fieldset{Legend: "Credential", Help: "A cloud integration, or an access key of a user.", Fields: []field{
		{Name: "cloud", Label: "Cloud integration", Kind: "select", Options: choices("none", i.CloudName, x.cloudNames(i.CloudName)...)},
		{Name: "keyId", Label: "Access Key ID", Value: i.AwsAccessKeyId},
		{Name: "secret", Label: "Secret Access Key", Kind: "secret", Help: keyHelp(i)}}}
	if i.IntegrationName == "" {
		credential.Fields = append(credential.Fields, field{Name: "web", Label: "Web identity of this server, in place of a key", Kind: "check",
			Help: "The operator allows it by the setting web_identities."})
	}
	return withScope([]fieldset{{Fields: registry}, credential, role}, x.scopeFields(i.Runtimes))
}

// withScope adds the fields of runtimes, if there are some.
func withScope(all []fieldset, scope []field) []fieldset {
	if scope != nil {
		all = append(all, fieldset{Legend: "Runtimes", Fields: scope})
	}
	return all
}

func ecrinForm(x *request, i ecrintypes.Integration) []fieldset {
	server := []field{{Name: "endpoint", Label: "Address", Value: i.Endpoint, Placeholder: "https://ecr.example.com"}}
	if i.IntegrationName == "" {
		server = append(server, field{Name: "account", Label: "Account", Placeholder: "123456789012"},
			field{Name: "region", Label: "Region", Value: x.region.String()})
	}
	return withScope([]fieldset{{Fields: server}, {Legend: "Credential", Fields: []field{
		{Name: "keyId", Label: "Access Key ID", Value: i.AwsAccessKeyId},
		{Name: "secret", Label: "Secret Access Key", Kind: "secret", Help: keyHelp(i)}}}}, x.scopeFields(i.Runtimes))
}

func registryForm(x *request, i ecrintypes.Integration) []fieldset {
	return withScope([]fieldset{{Fields: []field{{Name: "host", Label: "Registry hostname", Value: i.RegistryHost, Placeholder: "docker.io"}}},
		{Legend: "Credential", Help: "Leave both empty for an anonymous one.", Fields: []field{
			{Name: "username", Label: "Username", Value: i.Username},
			{Name: "password", Label: "Password", Kind: "secret", Help: keyHelp(i)}}}}, x.scopeFields(i.Runtimes))
}

func gitForm(_ *request, i ecrintypes.Integration) []fieldset {
	var host []field
	if i.IntegrationName == "" {
		host = append(host, field{Name: "provider", Label: "Provider", Kind: "select", Options: choices("", "github", "github", "gitlab", "git")})
	}
	host = append(host, field{Name: "url", Label: "Address", Value: i.Url, Placeholder: "https://gitlab.example.com",
		Help: "Empty for github.com and gitlab.com; for git that of one repository."})
	return []fieldset{{Fields: host}, {Legend: "Credential", Fields: []field{
		{Name: "username", Label: "Username", Value: i.Username, Help: "Only where the host wants one beside the token."},
		{Name: "password", Label: "Token", Kind: "secret", Help: keyHelp(i)}}},
		{Legend: "Or by ssh", Fields: []field{
			{Name: "privateKey", Label: "Private key", Kind: "area", Help: keyHelp(i)},
			{Name: "knownHosts", Label: "Known hosts", Kind: "area", Value: i.KnownHosts,
				Help: "As ssh-keyscan prints them: compare them with what the host publishes."}}}}
}

func issuesForm(_ *request, i ecrintypes.Integration) []fieldset {
	return []fieldset{{Fields: []field{{Name: "url", Label: "Address", Value: i.Url, Placeholder: "https://jira.example.com"},
		{Name: "username", Label: "Username", Value: i.Username, Help: "The e-mail address; empty for a personal access token."},
		{Name: "password", Label: "Token", Kind: "secret", Help: keyHelp(i)}}}}
}

// cloudForm is the form of a cloud integration; of a new one with its name and region.
func cloudForm(c ecrintypes.CloudIntegration, fresh bool) []fieldset {
	help := "Empty: the stored one stays with its key id."
	if fresh {
		help = "Stored sealed, and never shown again."
	}
	return []fieldset{{Fields: []field{{Name: "region", Label: "Region", Value: c.Region, Required: true, Help: "Of the calls of STS."}}},
		{Legend: "Credential", Help: "Of a user who may do nothing but assume the role.", Fields: []field{
			{Name: "keyId", Label: "Access Key ID", Value: c.AwsAccessKeyId, Required: true},
			{Name: "secret", Label: "Secret Access Key", Kind: "secret", Help: help}}},
		{Legend: "Role", Help: "Its trust policy names the owner of the key, and the external ID.", Fields: []field{
			{Name: "role", Label: "IAM Role", Value: c.RoleArn, Placeholder: "arn:aws:iam::123456789012:role/ecrin"},
			{Name: "externalId", Label: "External ID", Value: c.ExternalId}}},
		{Legend: "Another address", Help: "Only for an account that is not of AWS.", Fields: []field{
			{Name: "sts", Label: "Address of its STS API", Value: c.StsEndpoint, Placeholder: "https://ecr.example.com"}}}}
}

// sentCloud returns the request of a form of a cloud integration.
func (x *request) sentCloud(name string) *ecrintypes.PutCloudIntegrationRequest {
	return &ecrintypes.PutCloudIntegrationRequest{AccountId: x.account.String(), CloudName: name, Region: x.value("region"),
		StsEndpoint: x.value("sts"), AwsAccessKeyId: x.value("keyId"), AwsSecretAccessKey: x.value("secret"), RoleArn: x.value("role"),
		ExternalId: x.value("externalId")}
}

// setupView is the form of a new integration.
type setupView struct {
	formView
	Kind setupKind
}

func (x *request) setUpPage() error { return x.showSetUp(http.StatusOK, x.at["kind"], nil) }

// showSetUp shows the form of a kind.
func (x *request) showSetUp(status int, key string, wrong *trouble) error {
	n := slices.IndexFunc(setupKinds, func(k setupKind) bool { return k.Key == key })
	if n < 0 {
		return errNoPage
	}
	k := setupKinds[n]
	v := setupView{Kind: k, formView: formView{Wrong: wrong, To: x.base() + "/integrations", Back: x.base() + "/integrations"}}
	resource, action := "integration/*", "ecrin:CreateIntegration"
	name := field{Name: "name", Label: "Integration name", Required: true, Placeholder: "prod",
		Help: "Small letters, digits, dots and hyphens."}
	if k.kind == "" {
		resource, action = "cloud-integration/*", "ecrin:PutCloudIntegration"
		v.Parts = cloudForm(ecrintypes.CloudIntegration{Region: x.region.String()}, true)
	} else {
		v.Parts = k.form(x, ecrintypes.Integration{})
	}
	v.Parts[0].Fields = append([]field{name}, v.Parts[0].Fields...)
	v.Parts = filled(v.Parts, x.form)
	rights, err := x.mayOn(resource, action)
	if err != nil {
		return err
	}
	v.Submit = rights[action]
	return x.render(status, "setup", &view{Title: "Set up " + k.Title, Section: "integrations",
		Crumbs: x.settingsCrumbs(link{Text: "Integrations", To: x.base() + "/integrations"}), Main: v})
}

// setUp stores a new integration. Nothing is sent to the other side: its page tests the connection.
func (x *request) setUp() error {
	key, name := x.form.Get("kind"), x.value("name")
	n := slices.IndexFunc(setupKinds, func(k setupKind) bool { return k.Key == key })
	if n < 0 {
		return errNothing
	}
	to, err := x.integrationPath(name), error(nil)
	if setupKinds[n].kind == "" {
		to = x.cloudPathOf(name)
		err = x.createCloud(name)
	} else {
		err = x.createIntegration(setupKinds[n], name)
	}
	if err != nil {
		return x.showSetUp(x.status(err), key, x.troubleOf(err))
	}
	return x.done(to, "The integration was set up. Test the connection.")
}

// createCloud stores a cloud integration that the account does not have.
func (x *request) createCloud(name string) error {
	return x.fresh("a cloud integration", add(x, "ecrin", "PutCloudIntegration", x.sentCloud(name)))
}

// fresh names in the error what exists already.
func (x *request) fresh(what string, err error) error {
	if errors.Is(err, fault.PreconditionFailed) || errors.Is(err, fault.ObjectAlreadyExists) {
		return fault.ObjectAlreadyExists.New("there is %s of this name already: open it to change it", what)
	}
	return err
}

func (x *request) createIntegration(k setupKind, name string) (err error) {
	in := &ecrintypes.CreateIntegrationRequest{AccountId: x.account.String(), IntegrationName: name, Kind: k.kind,
		AwsAccessKeyId: x.value("keyId"), AwsSecretAccessKey: x.value("secret"), RoleArn: x.value("role"), ExternalId: x.value("externalId"),
		CloudName: x.value("cloud"), WebIdentity: x.yes("web"), Endpoint: x.value("endpoint"), Url: x.value("url"),
		Username: x.value("username"), Password: x.value("password"), PrivateKey: x.form.Get("privateKey"),
		KnownHosts: x.form.Get("knownHosts")}
	if x.value("scope") == "some" {
		if in.Runtimes = x.form["runtimes"]; len(in.Runtimes) == 0 {
			return errNoRuntimes
		}
	}
	switch host := x.value("host"); k.Key {
	case "ecr":
		if host == "" && x.value("region") != "" {
			parts := strings.Split(in.RoleArn, ":")
			if len(parts) != 6 {
				return fault.InvalidParameter.New("a registry has a hostname, or a region and the ARN of a role of its account")
			}
			in.RemoteRegistryId, in.RemoteRegion = parts[4], x.value("region")
			break
		}
		in.RegistryHost = host
		if in.RemoteRegistryId, in.RemoteRegion, err = registryOfHost(host); err != nil {
			return err
		}
	case "ecrin":
		in.RemoteRegistryId, in.RemoteRegion = x.value("account"), x.value("region")
	case "registry":
		in.RegistryHost = host
	case "git":
		in.Provider = ecrintypes.IntegrationProvider(x.value("provider"))
	case "issues":
		in.Provider = ecrintypes.IntegrationProviderJira
	}
	return act(x, "ecrin", "CreateIntegration", in)
}
