package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// integrationRow is an integration of the list.
type integrationRow struct {
	Name, To   string
	Kind, Into string   // in words; the host, the URL or the role that it leads to
	Scope      []string // runtimes; none for all
	Credential string
	SetAt      time.Time // of the credential; zero for none, and if it is not known
	Changed    time.Time
	Revision   string // for the form
	Tested     time.Time
	Error      string
	Sync       string // status in the repository of configurations
}

// integrationsView is the list of integrations, and of what can be set up.
type integrationsView struct {
	Parts   []settingsPart
	Rows    []integrationRow
	Denied  *trouble
	Clouds  []integrationRow
	CDenied *trouble
	Pager   pager
	Kinds   []setupKind
	Failing int64
	Create  right
	Put     right // of cloud integrations
}

// integrationsPage lists what leads out of this installation, and what can be set up.
func (x *request) integrationsPage() error {
	v := integrationsView{Parts: x.settingsParts("integrations"), Kinds: setupKinds}
	rights, err := x.mayOn("integration/*", "ecrin:CreateIntegration")
	if err == nil {
		v.Create = rights["ecrin:CreateIntegration"]
		rights, err = x.mayOn("cloud-integration/*", "ecrin:PutCloudIntegration")
		v.Put = rights["ecrin:PutCloudIntegration"]
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	out, err := do[ecrintypes.DescribeIntegrationsResponse](x, "ecrin", "DescribeIntegrations",
		&ecrintypes.DescribeIntegrationsRequest{AccountId: x.account.String()})
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		for _, i := range out.Integrations { // an account has at most 50
			v.Rows = append(v.Rows, x.integrationRow(i))
			if i.LastError != "" {
				v.Failing++
			}
		}
	}
	clouds, err := do[ecrintypes.DescribeCloudIntegrationsResponse](x, "ecrin", "DescribeCloudIntegrations",
		&ecrintypes.DescribeCloudIntegrationsRequest{AccountId: x.account.String()})
	if err != nil {
		v.CDenied = x.troubleOf(err)
	} else {
		page, next := after(clouds.CloudIntegrations, x.r.URL.Query().Get("after"),
			func(c ecrintypes.CloudIntegration) string { return c.CloudName })
		for _, c := range page {
			v.Clouds = append(v.Clouds, x.cloudRow(c))
		}
		v.Pager = x.pagerOf(many(int64(len(page)), "cloud integration", "cloud integrations")+" of "+
			count(int64(len(clouds.CloudIntegrations)))+", by name", next)
	}
	return x.render(status, "integrations", &view{Title: "Integrations", Section: "integrations", Crumbs: x.settingsCrumbs(), Main: v})
}

func (x *request) integrationPath(name string) string {
	return x.base() + "/integrations/" + pathOf(name)
}
func (x *request) cloudPathOf(name string) string {
	return x.base() + "/cloud-integrations/" + pathOf(name)
}

func (x *request) integrationRow(i ecrintypes.Integration) integrationRow {
	r := integrationRow{Name: i.IntegrationName, To: x.integrationPath(i.IntegrationName), Into: i.RegistryHost, Scope: i.Runtimes,
		SetAt: timeOf(i.CredentialsSetAt), Changed: i.UpdatedAt.Time, Revision: i.Revision, Tested: timeOf(i.LastTestedAt), Error: i.LastError,
		Sync: strings.ToLower(strings.ReplaceAll(string(i.SyncStatus), "_", " "))}
	if i.Url != "" {
		r.Into = i.Url
	}
	r.Kind = providerOf(string(i.Kind), i.Provider)
	r.Credential = credentialOf(i)
	return r
}

// credentialOf says in words by what an integration gets in.
func credentialOf(i ecrintypes.Integration) string {
	var parts []string
	switch {
	case i.CloudName != "":
		parts = append(parts, "cloud integration "+i.CloudName)
	case i.WebIdentity != nil && *i.WebIdentity:
		parts = append(parts, "web identity")
	case i.AwsAccessKeyId != "":
		parts = append(parts, "key "+masked(i.AwsAccessKeyId))
	case i.KnownHosts != "":
		parts = append(parts, "ssh key")
	case i.Username != "":
		parts = append(parts, "user "+i.Username)
	case i.CredentialsSetAt != nil:
		parts = append(parts, "token")
	default:
		parts = append(parts, "anonymous")
	}
	if i.RoleArn != "" {
		parts = append(parts, "by role "+roleOf(i.RoleArn))
	}
	return strings.Join(parts, ", ")
}

// masked returns the id of an access key with its middle left out.
func masked(id string) string {
	if len(id) < 12 {
		return id
	}
	return id[:4] + "…" + id[len(id)-4:]
}

// roleOf returns the name of a role without what precedes it in its ARN.
func roleOf(arn string) string {
	if _, name, ok := strings.Cut(arn, ":role/"); ok {
		return name
	}
	return arn
}

func (x *request) cloudRow(c ecrintypes.CloudIntegration) integrationRow {
	r := integrationRow{Name: c.CloudName, To: x.cloudPathOf(c.CloudName), Kind: "AWS, cloud integration", Into: c.RoleArn,
		Credential: "key " + masked(c.AwsAccessKeyId), SetAt: timeOf(c.CredentialsSetAt), Changed: c.UpdatedAt.Time, Revision: c.Revision,
		Tested: timeOf(c.LastTestedAt), Error: c.LastError}
	if r.Into == "" {
		r.Into = "the owner of the key"
	}
	return r
}

// tested is what a test of a connection has said.
type tested struct {
	Steps    []step
	Add      *addition
	Policies []ecrintypes.ManagedPolicy
	FoundBy  string
}

// integrationView is an integration.
type integrationView struct {
	integrationRow
	ID           ecrintypes.Integration
	Image        string
	CanHaveImage bool
	Test         tested
	Wrong        *trouble
	Form         []fieldset
	Update       right
	TestIt       right
	Delete       right
	WrongWord    bool // what was typed to remove it
}

// integration returns the integration of the page.
func (x *request) integration() (i ecrintypes.Integration, err error) {
	out, err := do[ecrintypes.DescribeIntegrationsResponse](x, "ecrin", "DescribeIntegrations",
		&ecrintypes.DescribeIntegrationsRequest{AccountId: x.account.String(), IntegrationName: x.at["integration"]})
	if err != nil {
		return i, err
	}
	return out.Integrations[0], nil
}

func (x *request) integrationPage() error {
	return x.showIntegration(http.StatusOK, integrationView{Image: x.r.URL.Query().Get("image")})
}

// showIntegration shows an integration, with what a test has said or what was wrong.
func (x *request) showIntegration(status int, v integrationView) error {
	i, err := x.integration()
	if err != nil {
		return err
	}
	v.integrationRow, v.ID = x.integrationRow(i), i
	v.CanHaveImage = i.Kind != ecrintypes.IntegrationKindGIT && i.Kind != ecrintypes.IntegrationKindISSUES
	rights, err := x.mayOn("integration/"+i.IntegrationName, "ecrin:UpdateIntegration", "ecrin:TestIntegration", "ecrin:DeleteIntegration")
	if err != nil {
		return err
	}
	v.Update, v.TestIt, v.Delete = rights["ecrin:UpdateIntegration"], rights["ecrin:TestIntegration"], rights["ecrin:DeleteIntegration"]
	if kind := setupKindOf(i); kind != nil {
		v.Form = kind.form(x, i)
		if x.form.Get("do") == "save" {
			v.Form = filled(v.Form, x.form)
		}
	}
	return x.render(status, "integration", &view{Title: i.IntegrationName, Section: "integrations",
		Crumbs: x.settingsCrumbs(link{Text: "Integrations", To: x.base() + "/integrations"}), Main: v})
}

// onIntegration tests, changes or removes an integration.
func (x *request) onIntegration() error {
	name := x.at["integration"]
	v := integrationView{Image: x.value("image")}
	var err error
	switch x.form.Get("do") {
	case "test":
		v.Test, err = x.test(name, v.Image)
		if err == nil {
			return x.showIntegration(http.StatusOK, v)
		}
	case "save":
		if err = x.changeIntegration(); err == nil {
			return x.done(x.integrationPath(name), "The integration was saved. The next request uses it.")
		}
	case "remove":
		if x.value("word") != "DELETE" {
			v.WrongWord = true
			return x.showIntegration(http.StatusBadRequest, v)
		}
		if err = act(x, "ecrin", "DeleteIntegration",
			&ecrintypes.IntegrationRequest{AccountId: x.account.String(), IntegrationName: name}); err == nil {
			return x.done(x.base()+"/integrations", "The integration "+shown(name)+" was removed.")
		}
	default:
		err = errNothing
	}
	v.Wrong = x.troubleOf(err)
	return x.showIntegration(x.status(err), v)
}

// test makes the calls of a pull by an integration, and returns what each said.
func (x *request) test(name, image string) (t tested, err error) {
	i, err := x.integration()
	if err != nil {
		return t, err
	}
	out, err := do[ecrintypes.TestIntegrationResponse](x, "ecrin", "TestIntegration",
		&ecrintypes.TestIntegrationRequest{AccountId: x.account.String(), IntegrationName: name, Image: image})
	if err != nil {
		return t, err
	}
	var later []string
	if i.Kind == ecrintypes.IntegrationKindECR || i.Kind == ecrintypes.IntegrationKindECRIN {
		later = []string{callToken, callRegistry}
		if image != "" {
			later = append(later, callManifest)
		}
	}
	repository, _, _ := strings.Cut(image, "@")
	if at := strings.LastIndexByte(repository, ':'); at > strings.LastIndexByte(repository, '/') {
		repository = repository[:at]
	}
	return testedOf(out, later, sideOf{Host: i.RegistryHost, Account: i.RemoteRegistryId, Region: i.RemoteRegion, Role: i.RoleArn,
		ExternalID: i.ExternalId, Repository: strings.TrimPrefix(repository, i.RegistryHost+"/")}), nil
}

// changeIntegration does what the form of an integration says.
func (x *request) changeIntegration() error {
	i, err := x.integration()
	if err != nil {
		return err
	}
	if x.form.Get("seen") != i.Revision { // what has changed in the form is found by comparing it with this one
		return errChanged
	}
	in := &ecrintypes.UpdateIntegrationRequest{AccountId: x.account.String(), IntegrationName: i.IntegrationName}
	// set takes over a value that has changed; part is what goes if it is empty now.
	set := func(field *string, form, had string, part ecrintypes.IntegrationPart) {
		value := x.value(form)
		switch _, sent := x.form[form]; {
		case !sent || value == had:
		case value != "":
			*field = value
		case part != "":
			in.Remove = append(in.Remove, part)
		}
	}
	set(&in.CloudName, "cloud", i.CloudName, ecrintypes.IntegrationPartCLOUD)
	set(&in.AwsAccessKeyId, "keyId", i.AwsAccessKeyId, "")
	set(&in.AwsSecretAccessKey, "secret", "", "")
	set(&in.RoleArn, "role", i.RoleArn, ecrintypes.IntegrationPartROLE)
	set(&in.ExternalId, "externalId", i.ExternalId, ecrintypes.IntegrationPartEXTERNAL_ID)
	set(&in.Endpoint, "endpoint", i.Endpoint, "")
	set(&in.Url, "url", i.Url, "")
	set(&in.Username, "username", i.Username, "")
	set(&in.Password, "password", "", "")
	set(&in.KnownHosts, "knownHosts", i.KnownHosts, "")
	set(&in.PrivateKey, "privateKey", "", "")
	host := i.RegistryHost
	if i.Kind == ecrintypes.IntegrationKindOCI || i.Kind == ecrintypes.IntegrationKindECR {
		set(&in.RegistryHost, "host", host, "")
	}
	if i.Kind == ecrintypes.IntegrationKindECR && in.RegistryHost != "" {
		if in.RemoteRegistryId, in.RemoteRegion, err = registryOfHost(in.RegistryHost); err != nil {
			return err
		}
	}
	if in.AwsSecretAccessKey != "" && in.AwsAccessKeyId == "" && in.CloudName == "" { // a key is set as a whole
		in.AwsAccessKeyId = x.value("keyId")
	}
	if in.Password != "" && in.Username == "" {
		in.Username = x.value("username")
	}
	switch _, sent := x.form["scope"]; {
	case !sent:
	case x.value("scope") == "some":
		in.Runtimes = x.form["runtimes"]
		if len(in.Runtimes) == 0 {
			return errNoRuntimes
		}
	case len(i.Runtimes) > 0:
		in.Remove = append(in.Remove, ecrintypes.IntegrationPartRUNTIMES)
	}
	return replace(x, i.Revision, "ecrin", "UpdateIntegration", in)
}

// cloudView is a cloud integration.
type cloudView struct {
	integrationRow
	Cloud     ecrintypes.CloudIntegration
	Test      tested
	Wrong     *trouble
	WrongWord bool
	Form      []fieldset
	Put       right
	TestIt    right
	Delete    right
}

func (x *request) cloud() (c ecrintypes.CloudIntegration, err error) {
	out, err := do[ecrintypes.DescribeCloudIntegrationsResponse](x, "ecrin", "DescribeCloudIntegrations",
		&ecrintypes.DescribeCloudIntegrationsRequest{AccountId: x.account.String(), CloudName: x.at["cloud"]})
	if err != nil {
		return c, err
	}
	return out.CloudIntegrations[0], nil
}

func (x *request) cloudPage() error { return x.showCloud(http.StatusOK, cloudView{}) }

func (x *request) showCloud(status int, v cloudView) error {
	c, err := x.cloud()
	if err != nil {
		return err
	}
	v.integrationRow, v.Cloud = x.cloudRow(c), c
	rights, err := x.mayOn("cloud-integration/"+c.CloudName, "ecrin:PutCloudIntegration", "ecrin:TestCloudIntegration",
		"ecrin:DeleteCloudIntegration")
	if err != nil {
		return err
	}
	v.Put, v.TestIt, v.Delete = rights["ecrin:PutCloudIntegration"], rights["ecrin:TestCloudIntegration"],
		rights["ecrin:DeleteCloudIntegration"]
	v.Form = cloudForm(c, false)
	if x.form.Get("do") == "save" {
		v.Form = filled(v.Form, x.form)
	}
	return x.render(status, "cloud", &view{Title: c.CloudName, Section: "integrations",
		Crumbs: x.settingsCrumbs(link{Text: "Integrations", To: x.base() + "/integrations"}), Main: v})
}

// onCloud tests, changes or removes a cloud integration.
func (x *request) onCloud() error {
	name := x.at["cloud"]
	v := cloudView{}
	in := &ecrintypes.CloudIntegrationRequest{AccountId: x.account.String(), CloudName: name}
	var err error
	switch x.form.Get("do") {
	case "test":
		var c ecrintypes.CloudIntegration
		var out *ecrintypes.TestIntegrationResponse
		if c, err = x.cloud(); err == nil {
			out, err = do[ecrintypes.TestIntegrationResponse](x, "ecrin", "TestCloudIntegration", in)
		}
		if err == nil {
			v.Test = testedOf(out, nil, sideOf{Role: c.RoleArn, ExternalID: c.ExternalId})
			return x.showCloud(http.StatusOK, v)
		}
	case "save":
		if err = replace(x, x.form.Get("seen"), "ecrin", "PutCloudIntegration", x.sentCloud(name)); err == nil {
			return x.done(x.cloudPathOf(name), "The cloud integration was saved. The next request uses it.")
		}
	case "remove":
		if x.value("word") != "DELETE" {
			v.WrongWord = true
			return x.showCloud(http.StatusBadRequest, v)
		}
		if err = act(x, "ecrin", "DeleteCloudIntegration", in); err == nil {
			return x.done(x.base()+"/integrations", "The cloud integration "+shown(name)+" was removed.")
		}
	default:
		err = errNothing
	}
	v.Wrong = x.troubleOf(err)
	return x.showCloud(x.status(err), v)
}
