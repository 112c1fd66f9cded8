package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// rancherRow is an environment of Rancher.
type rancherRow struct {
	Name, To          string
	Hosts, Registries int64
	Oldest            time.Time // the credential that was set first
	Without           int64     // registries without a credential
}

// rancherView is the list of environments.
type rancherView struct {
	Parts  []settingsPart
	Rows   []rancherRow
	Denied *trouble
	Wrong  *trouble
	Form   []fieldset
	Put    right
}

func (x *request) rancherPath(name string) string { return x.base() + "/rancher/" + pathOf(name) }

func (x *request) rancherPage() error { return x.showRancher(http.StatusOK, nil) }

func (x *request) showRancher(status int, wrong *trouble) error {
	v := rancherView{Parts: x.settingsParts("rancher"), Wrong: wrong}
	rights, err := x.mayOn("rancher-environment/*", "ecrin:PutRancherEnvironment")
	if err != nil {
		return err
	}
	v.Put = rights["ecrin:PutRancherEnvironment"]
	v.Form = filled([]fieldset{{Fields: []field{{Name: "name", Label: "Environment", Required: true, Placeholder: "staging"},
		{Name: "hosts", Label: "Hosts", Kind: "area", Help: "One a line: the machines that pull with the credentials of the environment."}}}},
		x.form)
	out, err := do[ecrintypes.DescribeRancherEnvironmentsResponse](x, "ecrin", "DescribeRancherEnvironments",
		&ecrintypes.DescribeRancherEnvironmentsRequest{AccountId: x.account.String()})
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		for _, e := range out.Environments { // an account has at most 20
			r := rancherRow{Name: e.EnvironmentName, To: x.rancherPath(e.EnvironmentName), Hosts: int64(len(e.Hosts)),
				Registries: int64(len(e.Registries))}
			for _, one := range e.Registries {
				switch set := timeOf(one.CredentialUpdatedAt); {
				case set.IsZero():
					r.Without++
				case r.Oldest.IsZero() || set.Before(r.Oldest):
					r.Oldest = set
				}
			}
			v.Rows = append(v.Rows, r)
		}
	}
	return x.render(status, "rancher", &view{Title: "Rancher registries", Section: "rancher", Crumbs: x.settingsCrumbs(), Main: v})
}

// filledLines returns the lines of a form that are not empty, without blanks around them.
func filledLines(text string) (all []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// onRancher adds an environment that the account does not have.
func (x *request) onRancher() error {
	name := x.value("name")
	if err := x.fresh("an environment", add(x, "ecrin", "PutRancherEnvironment",
		&ecrintypes.PutRancherEnvironmentRequest{AccountId: x.account.String(), EnvironmentName: name,
			Hosts: filledLines(x.form.Get("hosts"))})); err != nil {
		return x.showRancher(x.status(err), x.troubleOf(err))
	}
	return x.done(x.rancherPath(name), "The environment was added.")
}

// environment returns an environment of Rancher.
func (x *request) environment(name string) (e ecrintypes.RancherEnvironment, err error) {
	out, err := do[ecrintypes.DescribeRancherEnvironmentsResponse](x, "ecrin", "DescribeRancherEnvironments",
		&ecrintypes.DescribeRancherEnvironmentsRequest{AccountId: x.account.String(), EnvironmentName: name})
	if err != nil {
		return e, err
	}
	return out.Environments[0], nil
}

// rancherRegistry is a registry of an environment.
type rancherRegistry struct {
	ID, Address, User, Email, Credential string
	Set                                  time.Time // the password
	Late                                 bool      // a password of ECR is over
	Temporary                            bool      // it is one of ECR
}

// environmentView is an environment of Rancher.
type environmentView struct {
	Name, To   string
	Revision   string // for the form of its hosts
	Hosts      []string
	Registries []rancherRegistry
	Wrong      *trouble
	WrongWord  bool
	Form       []fieldset // of its hosts
	New        []fieldset // of a registry
	Put        right
	Delete     right
	PutReg     right
	DeleteReg  right
	URL        string // what an updater needs
}

// tokenLife is how long a password of ECR works.
const tokenLife = 12 * time.Hour

func (x *request) environmentPage() error {
	return x.showEnvironment(http.StatusOK, "rancherenvironment", environmentView{})
}

func (x *request) addRancherRegistryPage() error {
	return x.showEnvironment(http.StatusOK, "addrancherregistry", environmentView{})
}

// showEnvironment shows an environment, or its form of a new registry.
func (x *request) showEnvironment(status int, page string, v environmentView) error {
	e, err := x.environment(x.at["environment"])
	if err != nil {
		return err
	}
	v.Name, v.To, v.Hosts, v.Revision = e.EnvironmentName, x.rancherPath(e.EnvironmentName), e.Hosts, e.Revision
	for _, r := range e.Registries {
		one := rancherRegistry{ID: r.RancherRegistryId, Address: r.ServerAddress, User: r.PublicValue, Email: r.Email, Credential: r.CredentialId,
			Set: timeOf(r.CredentialUpdatedAt), Temporary: r.PublicValue == "AWS"}
		one.Late = one.Temporary && !one.Set.IsZero() && x.Now().Sub(one.Set) > tokenLife
		v.Registries = append(v.Registries, one)
	}
	rights, err := x.mayOn("rancher-environment/"+v.Name, "ecrin:PutRancherEnvironment", "ecrin:DeleteRancherEnvironment",
		"ecrin:PutRancherRegistry", "ecrin:PutRancherCredential", "ecrin:DeleteRancherRegistry")
	if err != nil {
		return err
	}
	v.Put, v.Delete, v.DeleteReg = rights["ecrin:PutRancherEnvironment"], rights["ecrin:DeleteRancherEnvironment"],
		rights["ecrin:DeleteRancherRegistry"]
	if v.PutReg = rights["ecrin:PutRancherRegistry"]; v.PutReg.OK {
		v.PutReg = rights["ecrin:PutRancherCredential"]
	}
	scheme := "https"
	if x.r.TLS == nil {
		scheme = "http"
	}
	v.URL = scheme + "://" + x.r.Host + "/v1/projects/" + v.Name
	v.Form = []fieldset{{Fields: []field{{Name: "hosts", Label: "Hosts", Kind: "area", Value: strings.Join(e.Hosts, "\n"),
		Help: "One a line."}}}}
	v.New = []fieldset{{Legend: "Custom", Fields: []field{
		{Name: "address", Label: "Address", Required: true, Placeholder: "123456789012.dkr.ecr.eu-west-1.amazonaws.com"},
		{Name: "email", Label: "Email", Value: "none"},
		{Name: "username", Label: "Username", Value: "AWS", Required: true},
		{Name: "password", Label: "Password", Kind: "secret",
			Help: "Of ECR: what aws ecr get-login-password prints. It works for 12 hours, and an updater replaces it in time."}}}}
	if x.form.Get("do") == "add" {
		v.New = filled(v.New, x.form)
	}
	crumbs := x.settingsCrumbs(link{Text: "Rancher registries", To: x.base() + "/rancher"})
	title := v.Name
	if page == "addrancherregistry" {
		title, crumbs = "Add Registry", append(crumbs, link{Text: v.Name, To: v.To})
	}
	return x.render(status, page, &view{Title: title, Section: "rancher", Crumbs: crumbs, Main: v})
}

// onEnvironment changes or removes an environment, its registries or their credentials.
func (x *request) onEnvironment() error {
	name, account := x.at["environment"], x.account.String()
	page, said := "rancherenvironment", "The environment was saved."
	v := environmentView{}
	var err error
	switch x.form.Get("do") {
	case "add":
		page, said = "addrancherregistry", "The registry was added. Its hosts pull with it from now on."
		err = x.addRancherRegistry(name)
	case "save":
		err = replace(x, x.form.Get("seen"), "ecrin", "PutRancherEnvironment", &ecrintypes.PutRancherEnvironmentRequest{AccountId: account,
			EnvironmentName: name, Hosts: filledLines(x.form.Get("hosts"))})
	case "remove-registry":
		said = "The registry and its credential were removed."
		err = act(x, "ecrin", "DeleteRancherRegistry", &ecrintypes.RancherRegistryRequest{AccountId: account, EnvironmentName: name,
			RancherRegistryId: x.value("id")})
	case "remove":
		if x.value("word") != "DELETE" {
			v.WrongWord = true
			return x.showEnvironment(http.StatusBadRequest, page, v)
		}
		if err = act(x, "ecrin", "DeleteRancherEnvironment",
			&ecrintypes.RancherEnvironmentRequest{AccountId: account, EnvironmentName: name}); err == nil {
			return x.done(x.base()+"/rancher", "The environment "+shown(name)+" was removed.")
		}
	default:
		err = errNothing
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		v.Wrong.Nothing = v.Wrong.Nothing && x.form.Get("do") != "add" // the registry may be there, without its credential
		return x.showEnvironment(x.status(err), page, v)
	}
	return x.done(x.rancherPath(name), said)
}

// addRancherRegistry adds a registry with its credential. One that was added before without a credential gets it.
func (x *request) addRancherRegistry(name string) error {
	account, address := x.account.String(), x.value("address")
	e, err := x.environment(name)
	if err != nil {
		return err
	}
	id := ""
	if n := slices.IndexFunc(e.Registries, func(r ecrintypes.RancherRegistry) bool {
		return r.ServerAddress == address && r.CredentialId == ""
	}); n >= 0 {
		id = e.Registries[n].RancherRegistryId
	} else {
		out, err := do[ecrintypes.RancherRegistryResponse](x, "ecrin", "PutRancherRegistry", &ecrintypes.PutRancherRegistryRequest{
			AccountId: account, EnvironmentName: name, ServerAddress: address})
		if err != nil {
			return err
		}
		id = out.Registry.RancherRegistryId
	}
	return act(x, "ecrin", "PutRancherCredential", &ecrintypes.PutRancherCredentialRequest{AccountId: account, EnvironmentName: name,
		RancherRegistryId: id, PublicValue: x.value("username"), SecretValue: x.value("password"), Email: x.value("email")})
}
