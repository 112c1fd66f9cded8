package vendorapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var customerRows = []row{
	{method: "POST", path: "customer", serve: createCustomer},
	{method: "GET", path: "customer/{customer}", serve: getCustomer},
	{method: "PUT", path: "customer/{customer}", serve: updateCustomer},
	{method: "PATCH", path: "customer/{customer}", serve: updateCustomer},
	{method: "POST", path: "customer/{customer}/archive", serve: archiveCustomer(true)},
	{method: "POST", path: "customer/{customer}/unarchive", serve: archiveCustomer(false)},
	{method: "GET", path: "app/{app}/customers", serve: listCustomers},
	{method: "POST", path: "customers/search", serve: searchCustomers},
	{method: "GET", path: "app/{app}/customer/{customer}/license-download", serve: downloadLicense},
}

// flags are the flags of a customer: the members of requests and of answers, and the feature of the licence.
var flags = []struct {
	feature ecrintypes.CustomerFeature
	in, out string
}{
	{feature: ecrintypes.CustomerFeatureAirgap, in: "is_airgap_enabled", out: "airgap"},
	{feature: ecrintypes.CustomerFeatureGitops, in: "is_gitops_supported", out: "isGitopsSupported"},
	{feature: ecrintypes.CustomerFeatureSnapshot, in: "is_snapshot_supported", out: "isSnapshotSupported"},
	{feature: ecrintypes.CustomerFeatureKotsInstall, in: "is_kots_install_enabled", out: "isKotsInstallEnabled"},
	{feature: ecrintypes.CustomerFeatureEmbeddedClusterDownload, in: "is_embedded_cluster_download_enabled",
		out: "isEmbeddedClusterDownloadEnabled"},
	{feature: ecrintypes.CustomerFeatureEmbeddedClusterMultiNode, in: "is_embedded_cluster_multi_node_enabled",
		out: "isEmbeddedClusterMultiNodeEnabled"},
	{feature: ecrintypes.CustomerFeatureGeoaxis, in: "is_geoaxis_supported", out: "isGeoaxisSupported"},
	{feature: ecrintypes.CustomerFeatureIdentityService, in: "is_identity_service_supported", out: "isIdentityServiceSupported"},
	{feature: ecrintypes.CustomerFeatureSupportBundleUpload, in: "is_support_bundle_upload_enabled", out: "isSupportBundleUploadEnabled"},
	{feature: ecrintypes.CustomerFeatureDisasterRecovery, in: "is_disaster_recovery_supported", out: "isDisasterRecoverySupported"},
}

// customerInput is the body of requests that make or change a customer. Members that are absent say nothing.
type customerInput struct {
	Name      string  `json:"name"`
	Email     *string `json:"email"`
	AppID     string  `json:"app_id"`
	ChannelID string  `json:"channel_id"` // of older clients, which name one
	CustomID  *string `json:"custom_id"`
	Type      string  `json:"type"`
	ExpiresAt *string `json:"expires_at"` // "" for never
	Channels  []struct {
		ID      string `json:"channel_id"`
		Pinned  *int64 `json:"pinned_channel_sequence"`
		Default bool   `json:"is_default_for_customer"`
	} `json:"channels"`
	EntitlementValues []struct{ Name, Value string } `json:"entitlementValues"`
	flags             map[string]bool                // that the body has
}

// customerInput reads the body.
//
// Errors: fault.MalformedRequest, fault.InvalidParameter (a flag).
func (x *request) customerInput() (in customerInput, err error) {
	var all map[string]any
	if err := x.decode(&in); err != nil {
		return in, err
	}
	if err := x.decode(&all); err != nil {
		return in, err
	}
	in.flags = map[string]bool{}
	for _, f := range flags {
		switch v := all[f.in].(type) {
		case nil:
		case bool:
			in.flags[f.in] = v
		default:
			return in, fault.InvalidParameter.New("%s must be true or false", f.in)
		}
	}
	return in, nil
}

func (in customerInput) channels() []ecrintypes.CustomerChannel {
	if in.Channels == nil && in.ChannelID != "" {
		yes := true
		return []ecrintypes.CustomerChannel{{ChannelId: in.ChannelID, IsDefault: &yes}}
	}
	var out []ecrintypes.CustomerChannel
	for _, c := range in.Channels {
		out = append(out, ecrintypes.CustomerChannel{ChannelId: c.ID, IsDefault: &c.Default, PinnedSequence: c.Pinned})
	}
	return out
}

// features returns the features that the flags of the body set and take away. A flag that the body does not have stays.
func (in customerInput) features() (added, removed []ecrintypes.CustomerFeature) {
	for _, f := range flags {
		switch on, said := in.flags[f.in]; {
		case said && on:
			added = append(added, f.feature)
		case said:
			removed = append(removed, f.feature)
		}
	}
	return added, removed
}

// fields returns the fields of a new licence with the values of the body, which are texts. The last value of a name counts.
func (in customerInput) fields() (out []ecrintypes.LicenseField) {
	for _, v := range in.EntitlementValues {
		out = append(out, ecrintypes.LicenseField{Name: v.Name, Title: v.Name, Value: v.Value, ValueType: ecrintypes.FieldTypeString})
	}
	return out
}

// values returns the values of fields of the body.
func (in customerInput) values() (out []ecrintypes.LicenseFieldValue) {
	for _, v := range in.EntitlementValues {
		out = append(out, ecrintypes.LicenseFieldValue{Name: v.Name, Value: v.Value})
	}
	return out
}

// expiry returns the end of the licence that the body names; nil for none.
//
// Errors: fault.InvalidParameter.
func (in customerInput) expiry() (*awswire.Time, error) {
	if in.ExpiresAt == nil || *in.ExpiresAt == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, *in.ExpiresAt)
	if err != nil {
		return nil, fault.InvalidParameter.New("expires_at must be a time such as 2027-01-31T00:00:00Z, not %s", name.Clip(*in.ExpiresAt))
	}
	return &awswire.Time{Time: at}, nil
}

// customerOf returns a customer in the form of answers. license is "" unless the operation has returned it.
func customerOf(c ecrintypes.Customer, appID, license string, channels []ecrintypes.VendorChannel) map[string]any {
	of := []channel{}
	for _, one := range c.Channels {
		shown := channel{ID: one.ChannelId, AppID: appID, Name: one.ChannelSlug, Slug: one.ChannelSlug, Releases: []channelRelease{}}
		for _, known := range channels {
			if known.ChannelId == one.ChannelId {
				shown = channelOf(appID, known)
			}
		}
		of = append(of, shown)
	}
	values := []map[string]any{}
	for _, f := range c.Fields {
		values = append(values, map[string]any{"name": f.Name, "title": f.Title, "value": f.Value, "valueType": f.ValueType,
			"isHidden": valueOf(f.Hidden)})
	}
	out := map[string]any{"id": c.CustomerId, "name": c.CustomerName, "customId": c.CustomId, "email": c.Email, "type": c.CustomerType,
		"appId": appID, "channels": of, "entitlements": values, "instances": []any{}, "installationId": license, "expiresAt": nil,
		"createdAt": c.CreatedAt.Time, "updatedAt": c.UpdatedAt.Time, "isArchived": c.ArchivedAt != nil}
	if c.ExpiresAt != nil {
		out["expiresAt"] = c.ExpiresAt.UTC().Format(time.RFC3339)
	}
	for _, f := range flags {
		out[f.out] = slices.Contains(c.Features, f.feature)
	}
	return out
}

// shown returns a customer with the names of its channels, if the caller may list them.
func (x *request) shown(c ecrintypes.Customer, appID, license string) (map[string]any, error) {
	channels, err := x.channels(c.ApplicationSlug)
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return nil, err
	}
	return customerOf(c, appID, license, channels), nil
}

func createCustomer(x *request) (answer, error) {
	in, err := x.customerInput()
	if err != nil {
		return answer{}, err
	}
	x.at["app"] = in.AppID
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	expires, err := in.expiry()
	if err != nil {
		return answer{}, err
	}
	features, _ := in.features()
	made, err := do[ecrintypes.CreateCustomerResponse](x, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: slug,
		CustomerName: in.Name, Email: valueOf(in.Email), CustomId: valueOf(in.CustomID), CustomerType: ecrintypes.CustomerType(in.Type),
		ExpiresAt: expires, Channels: in.channels(), Features: features, Fields: in.fields()})
	if err != nil {
		return answer{}, err
	}
	one, err := x.shown(made.Customer, in.AppID, made.LicenseId)
	return answer{status: http.StatusCreated, body: map[string]any{"customer": one}}, err
}

// customer returns the customer of the path.
func (x *request) customer() (ecrintypes.Customer, error) {
	slug, err := x.names.SlugOfCustomer(x.r.Context(), x.req.By.Account, x.at["customer"])
	if err != nil {
		return ecrintypes.Customer{}, err
	}
	found, err := do[ecrintypes.CustomerResponse](x, "DescribeCustomer", &ecrintypes.CustomerRequest{ApplicationSlug: slug,
		CustomerId: x.at["customer"]})
	if err != nil {
		return ecrintypes.Customer{}, err
	}
	return found.Customer, nil
}

func getCustomer(x *request) (answer, error) {
	c, err := x.customer()
	if err != nil {
		return answer{}, err
	}
	one, err := x.shown(c, "", "")
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"customer": one})
}

func updateCustomer(x *request) (answer, error) {
	in, err := x.customerInput()
	if err != nil {
		return answer{}, err
	}
	expires, err := in.expiry()
	if err != nil {
		return answer{}, err
	}
	slug, err := x.names.SlugOfCustomer(x.r.Context(), x.req.By.Account, x.at["customer"])
	if err != nil {
		return answer{}, err
	}
	added, removed := in.features()
	never := in.ExpiresAt != nil && expires == nil
	changed, err := do[ecrintypes.CustomerResponse](x, "UpdateCustomer", &ecrintypes.UpdateCustomerRequest{
		ApplicationSlug: slug, CustomerId: x.at["customer"], CustomerName: in.Name, Email: in.Email, CustomId: in.CustomID,
		CustomerType: ecrintypes.CustomerType(in.Type), ExpiresAt: expires, NeverExpires: &never, Channels: in.channels(),
		AddedFeatures: added, RemovedFeatures: removed, FieldValues: in.values()})
	if err != nil {
		return answer{}, err
	}
	one, err := x.shown(changed.Customer, in.AppID, "")
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"customer": one})
}

func archiveCustomer(archived bool) func(*request) (answer, error) {
	return func(x *request) (answer, error) {
		slug, err := x.names.SlugOfCustomer(x.r.Context(), x.req.By.Account, x.at["customer"])
		if err == nil {
			_, err = do[ecrintypes.CustomerResponse](x, "UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: slug,
				CustomerId: x.at["customer"], Archived: &archived})
		}
		return answer{status: http.StatusNoContent}, err
	}
}

// maxCustomers is where pages of customers end.
const maxCustomers = 100_000

func listCustomers(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	offset, limit, err := x.page(100, maxCustomers)
	if err != nil {
		return answer{}, err
	}
	at, most := int32(offset), int32(limit)
	found, err := do[ecrintypes.ListCustomersResponse](x, "ListCustomers", &ecrintypes.ListCustomersRequest{ApplicationSlug: slug, Offset: &at,
		MaxResults: &most})
	if err != nil {
		return answer{}, err
	}
	out, err := x.shownAll(slug, found.Customers)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"customers": out, "totalCustomers": valueOf(found.TotalCustomers)})
}

func (x *request) shownAll(slug string, all []ecrintypes.Customer) ([]map[string]any, error) {
	channels, err := x.channels(slug)
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return nil, err
	}
	out := []map[string]any{}
	for _, c := range all {
		out = append(out, customerOf(c, x.at["app"], "", channels))
	}
	return out, nil
}

// searchCustomers finds customers by their name, which must be the one of the query, or lists them.
func searchCustomers(x *request) (answer, error) {
	var in struct {
		AppID           string `json:"app_id"`
		Offset          int32  `json:"offset"`
		PageSize        int32  `json:"page_size"`
		Query           string `json:"query"`
		IncludeArchived bool   `json:"include_archived"`
	}
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	x.at["app"] = in.AppID
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	if in.PageSize == 0 {
		in.PageSize = 100
	}
	request := &ecrintypes.ListCustomersRequest{ApplicationSlug: slug, Archived: &in.IncludeArchived, MaxResults: &in.PageSize}
	if request.CustomerName = strings.TrimPrefix(in.Query, "name:"); request.CustomerName == "" {
		request.Offset = &in.Offset
	}
	found, err := do[ecrintypes.ListCustomersResponse](x, "ListCustomers", request)
	if err != nil {
		return answer{}, err
	}
	total := int(valueOf(found.TotalCustomers))
	if found.TotalCustomers == nil {
		if total = len(found.Customers); in.Offset > 0 { // all customers with a name are on the first page
			found.Customers = nil
		}
	}
	out, err := x.shownAll(slug, found.Customers)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"customers": out, "total_hits": total})
}

func downloadLicense(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	found, err := do[ecrintypes.GetLicenseResponse](x, "GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: slug,
		CustomerId: x.at["customer"], LicenseVersion: ecrintypes.LicenseVersion(x.r.Header.Get("X-Replicated-License-Version"))})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, text: []byte(found.License), media: "application/yaml"}, nil
}
