package vendorapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The test comes before the rows with a registry in the path.
var registryRows = []row{
	{method: "GET", path: "external_registries", serve: listRegistries},
	{method: "POST", path: "external_registry", serve: addRegistry},
	{method: "PUT", path: "external_registry/test", serve: testRegistry},
	{method: "GET", path: "external_registry/{registry}", serve: getRegistry},
	{method: "PUT", path: "external_registry/{registry}", serve: changeRegistry},
	{method: "DELETE", path: "external_registry/{registry}", serve: removeRegistry},
}

// reserved are the slugs that paths of the API have.
var reserved = []string{"test", "logs"}

// slugText is the form of slugs of registries, which are names of integrations.
var slugText = lazyregexp.New(`^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$`)

var providers = []string{"dockerhub", "ecr", "gar", "gcr", "ghcr", "quay", "other"}

// maxRegistryApps is how many applications a request may name.
const maxRegistryApps = 100

// registryInput is the body of a request that adds or changes an external registry.
type registryInput struct {
	Provider       string    `json:"provider"`
	Endpoint       string    `json:"endpoint"`
	Slug           string    `json:"slug"` // the name of the integration; "" for one from the endpoint
	AuthType       string    `json:"authType"`
	Username       string    `json:"username"`
	Password       string    `json:"password"`
	AppIDs         *[]string `json:"appIds"` // none for all applications
	SkipValidation bool      `json:"skipValidation"`
}

// registry is an external registry: an integration that is shared. The password is in no answer.
type registry struct {
	Provider   string     `json:"provider"`
	Endpoint   string     `json:"endpoint"`
	Slug       string     `json:"slug"`
	AuthType   string     `json:"authType"`
	Username   string     `json:"username"`
	AppIDs     []string   `json:"appIds"`     // none for all applications
	LastUsedAt *time.Time `json:"lastUsedAt"` // in the answer about one registry alone
	LastError  string     `json:"lastError"`
}

// registryHost is the form of hosts of Amazon ECR. The account has any number of digits, for what is said about a wrong one.
var registryHost = lazyregexp.New(`^([0-9]{1,20})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+$`)

// hostOf returns the host of an endpoint as people write it.
func hostOf(endpoint string) string {
	return strings.ToLower(strings.TrimRight(strings.TrimPrefix(strings.TrimSpace(endpoint), "https://"), "/"))
}

func missing(all ...string) error {
	return fault.InvalidParameter.New("%s must be specified", strings.Join(all, " must be specified, "))
}

// check fills in what follows from the rest.
//
// Errors: fault.InvalidParameter.
func (in *registryInput) check() error {
	var lack []string
	user, password := "username", "password"
	if in.Provider == "ecr" {
		user, password = "accesskeyid", "secretaccesskey"
	}
	if in.AuthType == "serviceaccount" && in.Username == "" {
		in.Username = "_json_key"
	}
	for _, one := range []struct{ what, value string }{{"endpoint", in.Endpoint}, {user, in.Username}, {password, in.Password}} {
		if one.value == "" {
			lack = append(lack, one.what)
		}
	}
	if lack != nil {
		return missing(lack...)
	}
	in.Endpoint = hostOf(in.Endpoint)
	if in.Provider == "" {
		in.Provider = "other"
		if registryHost.MatchString(in.Endpoint) {
			in.Provider = "ecr"
		}
	}
	if in.AuthType == "" {
		in.AuthType = "password"
		if in.Provider == "ecr" {
			in.AuthType = "accesskey"
		}
	}
	if in.Slug == "" {
		in.Slug = strings.ReplaceAll(in.Endpoint, ":", "-")
	}
	switch {
	case slices.Contains(reserved, in.Slug):
		return fault.InvalidParameter.New("slug must not be %s, which is a path of this API", in.Slug)
	case !slugText.MatchString(in.Slug):
		return fault.InvalidParameter.New("slug must be 1 to 64 small letters, digits, dots, hyphens and underscores that begin and end with a "+
			"letter or digit, not %s", name.Clip(in.Slug))
	case !slices.Contains(providers, in.Provider):
		return fault.InvalidParameter.New("provider must be one of %s, not %s", strings.Join(providers, ", "), name.Clip(in.Provider))
	}
	return nil
}

// integration returns the request that makes the integration.
//
// Errors: fault.InvalidParameter.
func (in *registryInput) integration() (*ecrintypes.CreateIntegrationRequest, error) {
	out := &ecrintypes.CreateIntegrationRequest{IntegrationName: in.Slug, Kind: ecrintypes.IntegrationKindOCI, RegistryHost: in.Endpoint,
		Provider: ecrintypes.IntegrationProvider(in.Provider), AuthType: ecrintypes.RegistryAuthType(in.AuthType)}
	if in.Provider != "ecr" {
		out.Username, out.Password = in.Username, in.Password
		return out, nil
	}
	at := registryHost.FindStringSubmatch(in.Endpoint)
	if at == nil {
		return nil, fault.InvalidParameter.New("endpoint must be ACCOUNT.dkr.ecr.REGION.amazonaws.com for the provider ecr, not %s",
			name.Clip(in.Endpoint))
	}
	if len(at[1]) != 12 && !in.SkipValidation {
		return nil, fault.InvalidParameter.New("the account id in endpoint has %d digits, and one of AWS has 12: correct it, or set skipValidation",
			len(at[1]))
	}
	out.Kind, out.RemoteRegistryId, out.RemoteRegion = ecrintypes.IntegrationKindECR, at[1], at[2]
	out.AwsAccessKeyId, out.AwsSecretAccessKey = in.Username, in.Password
	if in.SkipValidation {
		out.Unchecked = &in.SkipValidation
	}
	return out, nil
}

// slugs returns the slugs of the applications that the body names; "" for all.
func (x *request) slugs(ids *[]string) ([]string, error) {
	if ids == nil || len(*ids) == 0 {
		return []string{""}, nil
	}
	if len(*ids) > maxRegistryApps {
		return nil, fault.InvalidParameter.New("appIds must have at most %d applications: leave them out for all", maxRegistryApps)
	}
	var all []string
	for _, id := range *ids {
		slug, err := x.names.SlugOf(x.r.Context(), x.req.By.Account, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, slug) {
			all = append(all, slug)
		}
	}
	return all, nil
}

// addRegistry makes an integration, tests it unless the request says otherwise, and shares it last. It goes again if something fails.
func addRegistry(x *request) (answer, error) {
	var in registryInput
	if err := x.decodeForm(&in); err != nil {
		return answer{}, err
	}
	create, err := in.integration()
	if err != nil {
		return answer{}, err
	}
	slugs, err := x.slugs(in.AppIDs)
	if err != nil {
		return answer{}, err
	}
	made, err := do[ecrintypes.IntegrationResponse](x, "CreateIntegration", create)
	if err != nil {
		return answer{}, err
	}
	if !in.SkipValidation {
		err = x.validate(in.Slug)
	}
	for _, slug := range slugs {
		if err == nil {
			_, err = do[ecrintypes.SharedIntegrationResponse](x, "ShareIntegration", &ecrintypes.ShareIntegrationRequest{
				IntegrationName: in.Slug, ApplicationSlug: slug})
		}
	}
	if err != nil {
		x.undo(in.Slug)
		return answer{}, err
	}
	one := registryOf(made.Integration)
	if in.AppIDs != nil {
		one.AppIDs = append(one.AppIDs, *in.AppIDs...)
	}
	return answer{status: http.StatusCreated, body: map[string]any{"external_registry": one}}, nil
}

// undo deletes an integration that was made in vain, also for a client that is gone. What stays if that fails is shared with nobody.
func (x *request) undo(label string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(x.r.Context()), 10*time.Second)
	defer stop()
	_, _ = doOf[ecrintypes.IntegrationResponse](ctx, x, "ecrin", "DeleteIntegration", &ecrintypes.IntegrationRequest{IntegrationName: label})
}

// validate makes the calls of a pull.
//
// Errors: fault.IntegrationFailed with what failed and what to do about it.
func (x *request) validate(label string) error {
	out, err := do[ecrintypes.TestIntegrationResponse](x, "TestIntegration", &ecrintypes.TestIntegrationRequest{IntegrationName: label})
	if err != nil || out.Passed {
		return err
	}
	last := out.Steps[len(out.Steps)-1]
	return fault.InvalidParameter.New("the registry cannot be used: %s", stepText(last))
}

func stepText(s ecrintypes.IntegrationStep) string {
	return s.Name + ": " + s.Message + "; " + s.Cure
}

// providerOf returns the provider of a registry about which nothing is said.
func providerOf(i ecrintypes.Integration) string {
	host := hostOf(i.RegistryHost)
	switch {
	case i.Provider != "":
		return i.Provider
	case i.Kind == ecrintypes.IntegrationKindECR, i.Kind == ecrintypes.IntegrationKindECRIN:
		return "ecr"
	case rewrite.IsHub(host):
		return "dockerhub"
	case host == "gcr.io", strings.HasSuffix(host, ".gcr.io"):
		return "gcr"
	case host == "pkg.dev", strings.HasSuffix(host, ".pkg.dev"):
		return "gar"
	case host == "ghcr.io":
		return "ghcr"
	case host == "quay.io":
		return "quay"
	}
	return "other"
}

func registryOf(i ecrintypes.Integration) registry {
	out := registry{Provider: providerOf(i), Endpoint: i.RegistryHost, Slug: i.IntegrationName, AuthType: string(i.AuthType),
		Username: i.Username, AppIDs: []string{}, LastError: i.LastError}
	switch {
	case i.AwsAccessKeyId != "":
		out.Username, out.AuthType = i.AwsAccessKeyId, "accesskey"
	case i.RoleArn != "", i.CloudName != "": // no request of this API makes one
		out.AuthType = "iam"
	case out.AuthType == "" && i.Username != "":
		out.AuthType = "password"
	}
	return out
}

// registries returns the external registries of the account by their slugs.
func (x *request) registries() ([]registry, error) {
	shared, err := do[ecrintypes.ListSharedIntegrationsResponse](x, "ListSharedIntegrations", &ecrintypes.ListSharedIntegrationsRequest{})
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	permitted := true
	applications, err := do[ecrintypes.DescribeApplicationsResponse](x, "DescribeApplications", &ecrintypes.DescribeApplicationsRequest{
		Permitted: &permitted})
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return nil, err
	}
	if err == nil {
		for _, a := range applications.Applications {
			ids[a.ApplicationSlug] = a.ApplicationId
		}
	}
	all, err := do[ecrintypes.DescribeIntegrationsResponse](x, "DescribeIntegrations", &ecrintypes.DescribeIntegrationsRequest{})
	if err != nil {
		return nil, err
	}
	var out []registry
	for _, i := range all.Integrations {
		one, found, everyone := registryOf(i), false, false
		for _, s := range shared.Integrations {
			if s.IntegrationName != i.IntegrationName {
				continue
			}
			found, everyone = true, everyone || s.ApplicationSlug == ""
			if id := ids[s.ApplicationSlug]; id != "" {
				one.AppIDs = append(one.AppIDs, id)
			} else if s.ApplicationSlug != "" {
				one.AppIDs = append(one.AppIDs, s.ApplicationSlug)
			}
		}
		if everyone {
			one.AppIDs = []string{}
		}
		if found {
			out = append(out, one)
		}
	}
	return out, nil
}

func listRegistries(x *request) (answer, error) {
	all, err := x.registries()
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"external_registries": all})
}

// registry returns the external registry with a slug, or the only one with an endpoint.
//
// Errors: fault.ObjectNotFound, fault.InvalidParameter (several have the endpoint).
func (x *request) registry(key string) (registry, error) {
	all, err := x.registries()
	if err != nil {
		return registry{}, err
	}
	var of []registry
	for _, one := range all {
		if one.Slug == key {
			return one, nil
		}
		if host := hostOf(key); hostOf(one.Endpoint) == host || rewrite.IsHub(hostOf(one.Endpoint)) && rewrite.IsHub(host) {
			of = append(of, one)
		}
	}
	switch len(of) {
	case 0:
		return registry{}, fault.ObjectNotFound.New("the team has no external registry %s", name.Clip(key))
	case 1:
		return of[0], nil
	}
	return registry{}, fault.InvalidParameter.New("%d external registries have the endpoint %s: say which one by its slug", len(of),
		name.Clip(key))
}

func getRegistry(x *request) (answer, error) {
	one, err := x.registry(x.at["registry"])
	if err != nil {
		return answer{}, err
	}
	if err := x.setLastUse(&one); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"external_registry": one})
}

// changeRegistry changes credentials and applications. The endpoint stays: another one is another registry.
func changeRegistry(x *request) (answer, error) {
	var in registryInput
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	one, err := x.registry(x.at["registry"])
	if err != nil {
		return answer{}, err
	}
	if in.Endpoint != "" && hostOf(in.Endpoint) != hostOf(one.Endpoint) || in.Slug != "" && in.Slug != one.Slug {
		return answer{}, fault.InvalidParameter.New("endpoint and slug of an external registry do not change: add another one")
	}
	slugs, err := x.slugs(in.AppIDs)
	if err != nil {
		return answer{}, err
	}
	change := &ecrintypes.UpdateIntegrationRequest{IntegrationName: one.Slug, Provider: ecrintypes.IntegrationProvider(in.Provider),
		AuthType: ecrintypes.RegistryAuthType(in.AuthType)}
	if one.AuthType == "accesskey" {
		change.AwsAccessKeyId, change.AwsSecretAccessKey = in.Username, in.Password
	} else {
		change.Username, change.Password = in.Username, in.Password
	}
	if _, err := do[ecrintypes.IntegrationResponse](x, "UpdateIntegration", change); err != nil {
		return answer{}, err
	}
	if in.AppIDs != nil {
		if err := x.share(one, slugs); err != nil {
			return answer{}, err
		}
	}
	if one, err = x.registry(one.Slug); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"external_registry": one})
}

// share shares a registry with the applications of a list, "" for all, and with no others. What is new comes first, so that a customer who
// keeps the registry loses it at no time.
func (x *request) share(one registry, slugs []string) error {
	shared, err := do[ecrintypes.ListSharedIntegrationsResponse](x, "ListSharedIntegrations", &ecrintypes.ListSharedIntegrationsRequest{})
	if err != nil {
		return err
	}
	var before []string
	for _, s := range shared.Integrations {
		if s.IntegrationName == one.Slug {
			before = append(before, s.ApplicationSlug)
		}
	}
	for _, slug := range slugs {
		if slices.Contains(before, slug) {
			continue
		}
		if _, err := do[ecrintypes.SharedIntegrationResponse](x, "ShareIntegration", &ecrintypes.ShareIntegrationRequest{
			IntegrationName: one.Slug, ApplicationSlug: slug}); err != nil {
			return err
		}
	}
	for _, slug := range before {
		if slices.Contains(slugs, slug) {
			continue
		}
		if _, err := do[ecrintypes.UnshareIntegrationResponse](x, "UnshareIntegration", &ecrintypes.SharedIntegrationRequest{
			IntegrationName: one.Slug, ApplicationSlug: slug}); err != nil {
			return err
		}
	}
	return nil
}

// removeRegistry deletes the integration, and with it how it was shared.
func removeRegistry(x *request) (answer, error) {
	one, err := x.registry(x.at["registry"])
	if err == nil {
		_, err = do[ecrintypes.IntegrationResponse](x, "DeleteIntegration", &ecrintypes.IntegrationRequest{IntegrationName: one.Slug})
	}
	return answer{status: http.StatusNoContent}, err
}

// testRegistry makes the calls of a pull of an image. The status is that of the registry's answer to the call that failed; 502 if it had
// none.
func testRegistry(x *request) (answer, error) {
	var in struct{ Endpoint, Image string }
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	if in.Endpoint == "" {
		return answer{}, missing("endpoint")
	}
	one, err := x.registry(in.Endpoint)
	if err != nil {
		return answer{}, err
	}
	out, err := do[ecrintypes.TestIntegrationResponse](x, "TestIntegration", &ecrintypes.TestIntegrationRequest{IntegrationName: one.Slug,
		Image: in.Image})
	if err != nil {
		return answer{}, err
	}
	status, message := int32(http.StatusOK), ""
	if !out.Passed {
		last := out.Steps[len(out.Steps)-1]
		if status = valueOf(last.HttpStatus); status == 0 {
			status = http.StatusBadGateway
		}
		message = stepText(last)
	}
	return ok(map[string]any{"status": status, "message": message})
}
