package console

import (
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// deliveryRows are the rows of the pages about registries, platforms and clusters outside of this one. Names of clusters and runtimes have
// slashes, like those of repositories.
var deliveryRows = []row{
	{method: "GET", path: "{account}/{region}/account-settings", serve: (*request).accountSettingsPage},

	{method: "GET", path: "{account}/{region}/clusters", serve: (*request).clustersPage},
	{method: "POST", path: "{account}/{region}/clusters", serve: (*request).addCluster},
	{method: "GET", path: "{account}/{region}/add-cluster", serve: (*request).addClusterPage},
	{method: "GET", path: "{account}/{region}/clusters/{repo}", serve: (*request).clusterPage},
	{method: "POST", path: "{account}/{region}/clusters/{repo}", serve: (*request).onCluster},

	{method: "GET", path: "{account}/{region}/integrations", serve: (*request).integrationsPage},
	{method: "POST", path: "{account}/{region}/integrations", serve: (*request).setUp},
	{method: "GET", path: "{account}/{region}/set-up/{kind}", serve: (*request).setUpPage},
	{method: "GET", path: "{account}/{region}/integrations/{integration}", serve: (*request).integrationPage},
	{method: "POST", path: "{account}/{region}/integrations/{integration}", serve: (*request).onIntegration},
	{method: "GET", path: "{account}/{region}/cloud-integrations/{cloud}", serve: (*request).cloudPage},
	{method: "POST", path: "{account}/{region}/cloud-integrations/{cloud}", serve: (*request).onCloud},

	{method: "GET", path: "{account}/{region}/images", serve: (*request).runsPage},
	{method: "GET", path: "{account}/{region}/images/{repo}", serve: (*request).reportedPage},
	{method: "GET", path: "{account}/{region}/images/{repo}/-/report", serve: (*request).imageReportPage},

	{method: "GET", path: "{account}/{region}/external-registries", serve: (*request).registriesPage},
	{method: "POST", path: "{account}/{region}/external-registries", serve: (*request).addRegistry},
	{method: "GET", path: "{account}/{region}/add-external-registry", serve: (*request).addRegistryPage},
	{method: "GET", path: "{account}/{region}/external-registries/{integration}", serve: (*request).registryPage},
	{method: "POST", path: "{account}/{region}/external-registries/{integration}", serve: (*request).onRegistry},

	{method: "GET", path: "{account}/{region}/rancher", serve: (*request).rancherPage},
	{method: "POST", path: "{account}/{region}/rancher", serve: (*request).onRancher},
	{method: "GET", path: "{account}/{region}/rancher/{environment}", serve: (*request).environmentPage},
	{method: "POST", path: "{account}/{region}/rancher/{environment}", serve: (*request).onEnvironment},
	{method: "GET", path: "{account}/{region}/rancher/{environment}/add-registry", serve: (*request).addRancherRegistryPage},

	{method: "GET", path: "{account}/{region}/runtimes", serve: (*request).runtimesPage},
	{method: "POST", path: "{account}/{region}/runtimes", serve: (*request).onRuntimes},
}

// deliveryLinks are their links of the side.
func deliveryLinks(at linker, base string) []link {
	return []link{at("images", "What runs where", base+"images"), at("preflight", "Preflight", base+"preflight"),
		at("account-settings", "Account Settings", base+"account-settings"),
		at("clusters", "Clusters", base+"clusters"),
		at("integrations", "Integrations", base+"integrations"), at("rancher", "Rancher registries", base+"rancher"),
		at("external-registries", "Images", base+"external-registries")}
}

// settingsPart is a part of Account Settings.
type settingsPart struct {
	Text, To, About string
	Here            bool
}

// settingsParts are the parts of Account Settings; here is the address of one of them.
func (x *request) settingsParts(here string) []settingsPart {
	all := []settingsPart{
		{Text: "Clusters", To: "clusters", About: "Where images run: who pulls for each cluster, in which region, and when it was last seen."},
		{Text: "Integrations", To: "integrations",
			About: "The ways into other registries, accounts of AWS, git and trackers of issues: set up, and tested step by step."},
		{Text: "Rancher registries", To: "rancher", About: "The registries of environments of Rancher 1.x, and the credential of each."},
		{Text: "Runtimes", To: "runtimes", About: "Who may use an integration, and the git repository that gets it."},
	}
	for i := range all {
		all[i].Here = all[i].To == here
		all[i].To = x.base() + "/" + all[i].To
	}
	return all
}

// accountSettingsPage leads to the parts.
func (x *request) accountSettingsPage() error {
	return x.render(http.StatusOK, "accountsettings", &view{Title: "Account Settings", Section: "account-settings",
		Main: x.settingsParts("")})
}

// settingsCrumbs lead back from a part of Account Settings.
func (x *request) settingsCrumbs(more ...link) []link {
	return append([]link{{Text: "Account Settings", To: x.base() + "/account-settings"}}, more...)
}

// after returns the rows of a list by name that follow a name, at most pageSize, and the name after which more follow; "" for none.
func after[T any](all []T, name string, nameOf func(T) string) (page []T, next string) {
	for _, one := range all {
		switch {
		case name != "" && nameOf(one) <= name:
		case len(page) == pageSize:
			return page, nameOf(page[len(page)-1])
		default:
			page = append(page, one)
		}
	}
	return page, ""
}

// errNothing is the error of a form without a known do.
var errNothing = fault.InvalidParameter.New("the form does not say what to do")

// errChanged is the error of a form whose page shows what has been changed since.
var errChanged = fault.TargetChanged.New("another request has changed this since the page was opened: look at it, and save again")

// linesOf returns the lines of a text; none for "".
func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
