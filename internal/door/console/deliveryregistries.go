package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// registryRow is an external registry: an integration that applications share.
type registryRow struct {
	Name, To, Provider, Endpoint string
	All                          bool // applications
	Apps                         []string
	Tested                       time.Time
	Error                        string
	Since                        time.Time
}

// registriesView is the list of external registries.
type registriesView struct {
	Rows   []registryRow
	Denied *trouble
	Add    right
}

func (x *request) registryPath(name string) string {
	return x.base() + "/external-registries/" + pathOf(name)
}

// externalRegistries returns the integrations that applications of the account share, by name.
func (x *request) externalRegistries() (all []registryRow, err error) {
	out, err := do[ecrintypes.ListSharedIntegrationsResponse](x, "ecrin", "ListSharedIntegrations",
		&ecrintypes.ListSharedIntegrationsRequest{AccountId: x.account.String()})
	if err != nil {
		return nil, err
	}
	var words map[string]string
	if len(out.Integrations) > 0 {
		if words, err = x.providers(); err != nil {
			return nil, err
		}
	}
	for _, s := range out.Integrations {
		n := slices.IndexFunc(all, func(r registryRow) bool { return r.Name == s.IntegrationName })
		if n < 0 {
			n = len(all)
			all = append(all, registryRow{Name: s.IntegrationName, To: x.registryPath(s.IntegrationName), Endpoint: s.RegistryHost,
				Provider: cmp.Or(words[s.IntegrationName], providerOf(string(s.Kind), "")),
				Tested:   timeOf(s.LastTestedAt), Error: s.LastError, Since: s.CreatedAt.Time})
		}
		if s.ApplicationSlug == "" {
			all[n].All = true
		} else {
			all[n].Apps = append(all[n].Apps, s.ApplicationSlug)
		}
	}
	return all, nil
}

// providerWords are the kinds and providers of registries in words.
var providerWords = map[string]string{"ECR": "Amazon ECR", "ECRIN": "ecrin", "OCI": "Registry", "GIT": "Git", "ISSUES": "Issues",
	"ecr": "Amazon ECR", "dockerhub": "Docker Hub", "gar": "Google Artifact Registry", "gcr": "Google Container Registry",
	"ghcr": "GitHub Container Registry", "quay": "Quay.io", "other": "other"}

// providerOf returns the kind of an integration in words, with its provider if it has one.
func providerOf(kind, provider string) string {
	words := cmp.Or(providerWords[kind], kind)
	if provider == "" {
		return words
	}
	return words + ", " + cmp.Or(providerWords[provider], provider)
}

// providers returns the kinds and providers of all integrations in words, by their names; none for who may not see them.
func (x *request) providers() (map[string]string, error) {
	out, err := do[ecrintypes.DescribeIntegrationsResponse](x, "ecrin", "DescribeIntegrations",
		&ecrintypes.DescribeIntegrationsRequest{AccountId: x.account.String()})
	if _, err = x.part(err); err != nil || out == nil {
		return nil, err
	}
	all := map[string]string{}
	for _, i := range out.Integrations {
		all[i.IntegrationName] = providerOf(string(i.Kind), i.Provider)
	}
	return all, nil
}

// registriesPage is the tab Images of a vendor: the registries whose images customers get by their licences.
func (x *request) registriesPage() error {
	v := registriesView{}
	rights, err := x.mayOn("integration/*", "ecrin:CreateIntegration")
	if err != nil {
		return err
	}
	v.Add = rights["ecrin:CreateIntegration"]
	status := http.StatusOK
	if v.Rows, err = x.externalRegistries(); err != nil { // an account has at most 50 integrations
		v.Denied, status = x.troubleOf(err), x.status(err)
	}
	return x.render(status, "registries", &view{Title: "Images", Section: "external-registries", Main: v})
}

// applicationSlugs returns the slugs of the applications of the account that the person may see.
func (x *request) applicationSlugs() (slugs []string) {
	out, err := do[ecrintypes.DescribeApplicationsResponse](x, "ecrin", "DescribeApplications",
		&ecrintypes.DescribeApplicationsRequest{AccountId: x.account.String()})
	if err != nil {
		return nil
	}
	for _, a := range out.Applications {
		slugs = append(slugs, a.ApplicationSlug)
	}
	return slugs
}

func (x *request) registryForm() []fieldset {
	providers := []option{}
	for _, p := range []string{"ecr", "dockerhub", "ghcr", "gar", "gcr", "quay", "other"} {
		providers = append(providers, option{Value: p, Text: strings.ToUpper(providerWords[p][:1]) + providerWords[p][1:], On: p == "ecr"})
	}
	apps := choices("", "", x.applicationSlugs()...)
	access := fieldset{Legend: "App Access", Help: "Which applications may get images of this registry.", Fields: []field{
		{Name: "apps", Label: "App Access", Kind: "radio", Options: []option{{Value: "all", Text: "All applications", On: true},
			{Value: "some", Text: "Selected applications"}}}}}
	if len(apps) > 0 {
		access.Fields = append(access.Fields, field{Name: "app", Label: "Selected", Kind: "ticks", Options: apps})
	}
	return []fieldset{{Fields: []field{
		{Name: "provider", Label: "Provider", Kind: "select", Options: providers},
		{Name: "endpoint", Label: "Endpoint", Required: true, Placeholder: "123456789012.dkr.ecr.us-east-2.amazonaws.com",
			Help: "The host that one logs in to: the URI of a repository without the repository."},
		{Name: "name", Label: "Registry Name", Placeholder: "vendor-ecr",
			Help: "It can stand for the endpoint in names of images. Empty: made of the endpoint."}}},
		{Legend: "Credential", Help: "Of a user who may only read. An access key is used to get tokens, never as a password.", Fields: []field{
			{Name: "username", Label: "Username", Help: "Of Amazon ECR the Access Key ID."},
			{Name: "password", Label: "Password", Kind: "secret",
				Help: "Of Amazon ECR the Secret Access Key. Stored sealed, and never shown again."},
			{Name: "role", Label: "IAM Role", Placeholder: "arn:aws:iam::123456789012:role/pull",
				Help: "Of Amazon ECR only: it is assumed with the key, or with the cloud integration."},
			{Name: "cloud", Label: "Cloud integration", Kind: "select", Options: choices("none", "", x.cloudNames("")...),
				Help: "In place of a key."}}}, access}
}

func (x *request) addRegistryPage() error { return x.showAddRegistry(http.StatusOK, nil) }

func (x *request) showAddRegistry(status int, wrong *trouble) error {
	rights, err := x.mayOn("integration/*", "ecrin:CreateIntegration")
	if err != nil {
		return err
	}
	v := formView{Parts: filled(x.registryForm(), x.form), Wrong: wrong, Submit: rights["ecrin:CreateIntegration"],
		To: x.base() + "/external-registries", Back: x.base() + "/external-registries"}
	return x.render(status, "addregistry", &view{Title: "Add External Registry", Section: "external-registries",
		Crumbs: []link{{Text: "Images", To: x.base() + "/external-registries"}}, Main: v})
}

// notInNames are the characters that names of integrations do not have.
var notInNames = lazyregexp.New(`[^a-z0-9._-]+`)

// addRegistry stores an integration and shares it with applications. If it cannot be shared, it stays, and its page says why.
func (x *request) addRegistry() (err error) {
	host := x.value("endpoint")
	name := x.value("name")
	if name == "" {
		name = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(host), "-"), ".-")
		name = name[:min(len(name), 64)]
	}
	in := &ecrintypes.CreateIntegrationRequest{AccountId: x.account.String(), IntegrationName: name, RegistryHost: host,
		Kind: ecrintypes.IntegrationKindOCI, Provider: ecrintypes.IntegrationProvider(x.value("provider"))}
	if in.Provider == ecrintypes.IntegrationProviderEcr {
		in.Kind, in.AwsAccessKeyId, in.AwsSecretAccessKey = ecrintypes.IntegrationKindECR, x.value("username"), x.value("password")
		in.RoleArn, in.CloudName = x.value("role"), x.value("cloud")
		in.RemoteRegistryId, in.RemoteRegion, err = registryOfHost(host)
	} else {
		in.Username, in.Password = x.value("username"), x.value("password")
	}
	if err == nil {
		err = act(x, "ecrin", "CreateIntegration", in)
	}
	if err != nil {
		return x.showAddRegistry(x.status(err), x.troubleOf(err))
	}
	slugs := []string{""}
	if x.value("apps") == "some" {
		slugs = x.form["app"]
	}
	for _, slug := range slugs {
		if err := act(x, "ecrin", "ShareIntegration", &ecrintypes.ShareIntegrationRequest{AccountId: x.account.String(), IntegrationName: name,
			ApplicationSlug: slug}); err != nil {
			x.at["integration"] = name
			t := x.troubleOf(err)
			t.Nothing = false
			t.What = "The registry was added, but not opened to the applications"
			return x.showRegistry(x.status(err), registryView{Wrong: t})
		}
	}
	return x.done(x.registryPath(name), "The registry was added. Test it with an image.")
}

// registryPull is a line of the pull log.
type registryPull struct {
	At                                  time.Time
	Customer, Action, Image, Tag, Agent string
	Status, Upstream                    string
	OK                                  bool
}

// registryView is an external registry.
type registryView struct {
	registryRow
	Image   string
	Test    tested
	Wrong   *trouble
	TestIt  right
	Share   right
	Unshare right
	Open    []option // applications that it can be opened to
	LogApps []option // whose pull log can be shown
	App     string
	Log     []registryPull
	LDenied *trouble
	Pager   pager
	Command string
}

func (x *request) registryPage() error {
	return x.showRegistry(http.StatusOK, registryView{Image: x.r.URL.Query().Get("image")})
}

func (x *request) showRegistry(status int, v registryView) error {
	name := x.at["integration"]
	all, err := x.externalRegistries()
	if err != nil {
		return err
	}
	n := slices.IndexFunc(all, func(r registryRow) bool { return r.Name == name })
	if n >= 0 {
		v.registryRow = all[n]
	} else { // nobody shares it
		i, err := x.integration()
		if err != nil {
			return err
		}
		v.registryRow = registryRow{Name: name, To: x.registryPath(name), Endpoint: i.RegistryHost,
			Provider: providerOf(string(i.Kind), i.Provider), Tested: timeOf(i.LastTestedAt), Error: i.LastError, Since: i.CreatedAt.Time}
	}
	rights, err := x.mayOn("integration/"+name, "ecrin:TestIntegration", "ecrin:UseIntegration")
	if err != nil {
		return err
	}
	v.TestIt, v.Share = rights["ecrin:TestIntegration"], rights["ecrin:UseIntegration"]
	if rights, err = x.mayOn("application/*", "ecrin:ShareIntegration", "ecrin:UnshareIntegration"); err != nil {
		return err
	}
	if v.Share.OK {
		v.Share = rights["ecrin:ShareIntegration"]
	}
	v.Unshare = rights["ecrin:UnshareIntegration"]
	slugs := x.applicationSlugs()
	v.Open = []option{{Text: "All applications"}}
	v.App = x.r.URL.Query().Get("app")
	for _, slug := range slugs {
		if !slices.Contains(v.Apps, slug) {
			v.Open = append(v.Open, option{Value: slug, Text: slug})
		}
		if v.All || slices.Contains(v.Apps, slug) {
			if v.App == "" {
				v.App = slug
			}
			v.LogApps = append(v.LogApps, option{Value: slug, Text: slug, On: slug == v.App})
		}
	}
	if v.App != "" {
		x.readPulls(&v)
		v.Command = "docker login -u anything --password-stdin " + x.r.Host + "   # the password is the licence id\ndocker pull " + x.r.Host +
			"/proxy/" + v.App + "/" + proxied(v.Name, v.Endpoint) + "/NAME:TAG"
	}
	return x.render(status, "registry", &view{Title: name, Section: "external-registries",
		Crumbs: []link{{Text: "Images", To: x.base() + "/external-registries"}}, Main: v})
}

// proxied returns what names a registry in the path of an image of it: its endpoint, or its name if the endpoint has a port, which cannot
// stand in a path.
func proxied(name, endpoint string) string {
	if strings.Contains(endpoint, ":") {
		return name
	}
	return endpoint
}

// readPulls reads the lines of the pull log of an application that are about the registry.
func (x *request) readPulls(v *registryView) {
	out, err := do[ecrintypes.ListPullsResponse](x, "ecrin", "ListPulls", &ecrintypes.ListPullsRequest{AccountId: x.account.String(),
		ApplicationSlug: v.App, ImagePrefix: v.Endpoint, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil {
		v.LDenied = x.troubleOf(err)
		return
	}
	for _, p := range out.Pulls {
		r := registryPull{At: p.At.Time, Customer: p.CustomerName, Action: strings.ToLower(string(p.Action)),
			Image: strings.TrimPrefix(p.Image, v.Endpoint+"/"), Tag: referenceOf(p.Reference),
			Agent: p.UserAgent, OK: p.HttpStatus < 400}
		if !r.OK {
			r.Status = count(int64(p.HttpStatus)) + " " + p.ErrorCode
		}
		if p.UpstreamStatus != nil {
			r.Upstream = strings.TrimSpace("upstream " + count(int64(*p.UpstreamStatus)) + " " + p.UpstreamCode)
		}
		v.Log = append(v.Log, r)
	}
	v.Pager = x.pagerOf(many(int64(len(v.Log)), "line", "lines")+", newest first", out.NextToken)
}

// referenceOf returns a tag as it is, and the first digits of a digest.
func referenceOf(text string) string {
	if strings.Contains(text, ":") {
		return digest12(text)
	}
	return text
}

// onRegistry tests a registry, or opens it to an application or closes it.
func (x *request) onRegistry() error {
	name := x.at["integration"]
	v := registryView{Image: x.value("image")}
	said := ""
	var err error
	switch slug := x.value("app"); x.form.Get("do") {
	case "test":
		if v.Test, err = x.test(name, v.Image); err == nil {
			return x.showRegistry(http.StatusOK, v)
		}
	case "open":
		said, err = "The registry is open to "+wordOfApp(slug)+".", act(x, "ecrin", "ShareIntegration",
			&ecrintypes.ShareIntegrationRequest{AccountId: x.account.String(), IntegrationName: name, ApplicationSlug: slug})
	case "close":
		said, err = "The registry is closed to "+wordOfApp(slug)+", from the next request on.", act(x, "ecrin", "UnshareIntegration",
			&ecrintypes.SharedIntegrationRequest{AccountId: x.account.String(), IntegrationName: name, ApplicationSlug: slug})
	default:
		err = errNothing
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showRegistry(x.status(err), v)
	}
	return x.done(x.registryPath(name), said)
}

// wordOfApp returns an application in words; "" stands for all.
func wordOfApp(slug string) string {
	if slug == "" {
		return "all applications"
	}
	return shown(slug)
}
