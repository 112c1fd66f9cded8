package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const customerPath = applicationPath + "/customers/{customer}"

var customerRows = []row{
	{method: "GET", path: applicationPath + "/customers", serve: (*request).customersPage},
	{method: "GET", path: applicationPath + "/create-customer", serve: (*request).createCustomerPage},
	{method: "POST", path: applicationPath + "/create-customer", serve: (*request).createCustomer},
	{method: "GET", path: customerPath, serve: (*request).customerPage},
	{method: "POST", path: customerPath, serve: (*request).onCustomer},
	{method: "GET", path: customerPath + "/installations", serve: (*request).customerInstallationsPage},
	{method: "GET", path: customerPath + "/settings", serve: (*request).customerSettingsPage},
	{method: "POST", path: customerPath + "/settings", serve: (*request).saveCustomer},
	{method: "GET", path: customerPath + "/archive", serve: (*request).archivePage},
	{method: "POST", path: customerPath + "/archive", serve: (*request).archive},
	{method: "GET", path: customerPath + "/entitle", serve: (*request).entitlePage},
	{method: "POST", path: customerPath + "/entitle", serve: (*request).entitle},
	{method: "GET", path: customerPath + "/licence", serve: (*request).licence},
	{method: "GET", path: customerPath + "/pulls.csv", serve: (*request).pullsCSV},
}

// status is a state in a word.
type status struct{ Icon, Colour, Text string }

// soon is how long before its end a licence is shown as ending.
const soon = 30 * 24 * time.Hour

// licenceStatus returns the state of a licence at a moment.
func licenceStatus(c ecrintypes.Customer, now time.Time) status {
	end := timeOf(c.ExpiresAt)
	switch {
	case c.ArchivedAt != nil:
		return status{"skip", "off", "archived"}
	case end.IsZero():
		return status{"ok", "ok", "active"}
	case !now.Before(end):
		return status{"bad", "bad", "expired"}
	case end.Sub(now) < soon:
		return status{"warn", "warn", "expires in " + span(end.Sub(now))}
	}
	return status{"ok", "ok", "active"}
}

// customerRow is a customer of the list.
type customerRow struct {
	ID, Name, To, Email, Type string
	Channels                  []string
	Status                    status
	Expires, Updated          time.Time
}

// customersView are the customers of an application.
type customersView struct {
	Query, Channel string
	Archived       bool
	Channels       []channelRow
	Rows           []customerRow
	Pager          pager
	Trouble        *trouble
	Create         right
	First          bool // nothing is filtered, and this is the first page
}

// channelNames returns the channels of a customer as a list shows them.
func channelNames(all []ecrintypes.CustomerChannel) (names []string) {
	for _, c := range all {
		text := c.ChannelSlug
		if c.PinnedSequence != nil {
			text += " (pinned at " + count(*c.PinnedSequence) + ")"
		}
		names = append(names, text)
	}
	return names
}

func (x *request) customerRow(slug string, c ecrintypes.Customer) customerRow {
	return customerRow{ID: c.CustomerId, Name: c.CustomerName, To: x.applicationTo(slug, "customers", c.CustomerId), Email: c.Email,
		Type: string(c.CustomerType), Channels: channelNames(c.Channels), Status: licenceStatus(c, x.begun), Expires: timeOf(c.ExpiresAt),
		Updated: c.UpdatedAt.Time}
}

// customersPage lists the customers of an application by name.
func (x *request) customersPage() error {
	slug, q := x.at["app"], x.r.URL.Query()
	v := customersView{Query: strings.TrimSpace(q.Get("q")), Channel: q.Get("channel"), Archived: q.Get("archived") == "yes"}
	v.First = v.Query == "" && v.Channel == "" && q.Get("after") == ""
	rights, err := x.mayOn("customer/"+slug+"/*", "ecrin:CreateCustomer")
	if err != nil {
		return err
	}
	v.Create = rights["ecrin:CreateCustomer"]
	if v.Channels, err = x.channels(slug); err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	out, err := do[ecrintypes.ListCustomersResponse](x, "ecrin", "ListCustomers", &ecrintypes.ListCustomersRequest{
		AccountId: x.account.String(), ApplicationSlug: slug, NamePrefix: v.Query, ChannelId: v.Channel, Archived: &v.Archived,
		NextToken: q.Get("after"), MaxResults: some[int32](pageSize)})
	if v.Trouble = x.troubleOf(err); err == nil {
		for _, c := range out.Customers {
			v.Rows = append(v.Rows, x.customerRow(slug, c))
		}
		more := ""
		if out.NextToken != "" {
			more = ", more follow"
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "customer", "customers")+", by name"+more, out.NextToken)
	}
	return x.showApplication(http.StatusOK, applicationPage{tab: "customers", section: "customers", file: "customers", title: "Customers",
		body: v, cli: "ecrin customer list " + quoted(slug)})
}

// customerTypes are the types of customers.
var customerTypes = []string{"dev", "trial", "paid", "community", "single-tenant", "test"}

// customerFeatures are the features that a licence can have.
var customerFeatures = []ecrintypes.CustomerFeature{ecrintypes.CustomerFeatureAirgap, ecrintypes.CustomerFeatureKotsInstall,
	ecrintypes.CustomerFeatureGitops, ecrintypes.CustomerFeatureSnapshot, ecrintypes.CustomerFeatureSupportBundleUpload,
	ecrintypes.CustomerFeatureIdentityService, ecrintypes.CustomerFeatureGeoaxis, ecrintypes.CustomerFeatureDisasterRecovery,
	ecrintypes.CustomerFeatureEmbeddedClusterDownload, ecrintypes.CustomerFeatureEmbeddedClusterMultiNode}

// choice is a value that can be picked.
type choice struct {
	Value, Text, Pinned string
	On, Default         bool
}

// customerForm is the form of a customer's settings.
type customerForm struct {
	Name, Email, CustomID, Type, Expires string
	Types                                []string
	Channels, Features                   []choice
	Fields                               []ecrintypes.LicenseField
	Wrong                                *trouble
	May                                  right
}

// dayOf returns a moment as the day of a form, UTC; "" for none.
func dayOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// parseDay returns the beginning of the day of a form, UTC; nil for none.
//
// Errors: fault.InvalidParameter.
func parseDay(text string) (*awswire.Time, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, fault.InvalidParameter.New("a day is a date such as 2027-01-31, not %s", name.Clip(text))
	}
	return &awswire.Time{Time: t}, nil
}

// readCustomerForm reads the form that was sent.
func (x *request) readCustomerForm(channels []channelRow) (f customerForm, picked []ecrintypes.CustomerChannel,
	features []ecrintypes.CustomerFeature, err error) {
	f = customerForm{Name: strings.TrimSpace(x.form.Get("name")), Email: strings.TrimSpace(x.form.Get("email")),
		CustomID: strings.TrimSpace(x.form.Get("customId")), Type: x.form.Get("type"), Expires: strings.TrimSpace(x.form.Get("expires")),
		Types: customerTypes}
	picked, features = []ecrintypes.CustomerChannel{}, []ecrintypes.CustomerFeature{}
	for _, c := range channels {
		one := choice{Value: c.ID, Text: c.Name, On: slices.Contains(x.form["channel"], c.ID), Default: x.form.Get("default") == c.ID,
			Pinned: strings.TrimSpace(x.form.Get("pin-" + c.ID))}
		f.Channels = append(f.Channels, one)
		if !one.On {
			continue
		}
		on := ecrintypes.CustomerChannel{ChannelId: c.ID, IsDefault: some(one.Default)}
		if one.Pinned != "" {
			n, wrong := strconv.ParseInt(one.Pinned, 10, 64)
			if wrong != nil || n < 1 {
				err = fault.InvalidParameter.New("a version of a channel is a number such as 3, not %s", name.Clip(one.Pinned))
			}
			on.PinnedSequence = &n
		}
		picked = append(picked, on)
	}
	for _, o := range customerFeatures {
		on := slices.Contains(x.form["feature"], string(o))
		f.Features = append(f.Features, choice{Value: string(o), Text: strings.ReplaceAll(string(o), "-", " "), On: on})
		if on {
			features = append(features, o)
		}
	}
	return f, picked, features, err
}

// createCustomerPage shows the form that makes a customer.
func (x *request) createCustomerPage() error {
	channels, err := x.channels(x.at["app"])
	if err != nil {
		return err
	}
	f := customerForm{Type: "paid", Types: customerTypes}
	for _, c := range channels {
		f.Channels = append(f.Channels, choice{Value: c.ID, Text: c.Name, On: c.Default, Default: c.Default})
	}
	for _, o := range customerFeatures {
		f.Features = append(f.Features, choice{Value: string(o), Text: strings.ReplaceAll(string(o), "-", " "),
			On: o == ecrintypes.CustomerFeatureKotsInstall})
	}
	return x.showCreateCustomer(http.StatusOK, f)
}

func (x *request) showCreateCustomer(status int, f customerForm) error {
	slug := x.at["app"]
	rights, err := x.mayOn("customer/"+slug+"/*", "ecrin:CreateCustomer")
	if err != nil {
		return err
	}
	f.May = rights["ecrin:CreateCustomer"]
	return x.showApplication(status, applicationPage{section: "customers", file: "createcustomer", title: "Create customer", body: f,
		cli: "ecrin customer create " + quoted(slug) + " NAME", crumbs: []link{{Text: "Customers", To: x.applicationTo(slug, "customers")}}})
}

// createCustomer makes a customer, and shows it. Its licence is not shown: it is downloaded.
func (x *request) createCustomer() error {
	slug := x.at["app"]
	channels, err := x.channels(slug)
	if err != nil {
		return err
	}
	f, picked, features, err := x.readCustomerForm(channels)
	in := &ecrintypes.CreateCustomerRequest{AccountId: x.account.String(), ApplicationSlug: slug, CustomerName: f.Name, Email: f.Email,
		CustomId: f.CustomID, CustomerType: ecrintypes.CustomerType(f.Type), Channels: picked, Features: features}
	if err == nil {
		in.ExpiresAt, err = parseDay(f.Expires)
	}
	var out *ecrintypes.CreateCustomerResponse
	if err == nil {
		out, err = do[ecrintypes.CreateCustomerResponse](x, "ecrin", "CreateCustomer", in)
	}
	if err != nil {
		f.Wrong = x.troubleOf(err)
		return x.showCreateCustomer(x.status(err), f)
	}
	return x.done(x.applicationTo(slug, "customers", out.Customer.CustomerId),
		"The customer was created. It may pull nothing yet: entitle it, then give it a token or its licence.")
}

// customerView is a customer, with the content of one of its pages.
type customerView struct {
	Slug, ID, Name, To, Email, CustomID, Type string
	Status                                    status
	Archived                                  bool
	Expires                                   time.Time
	Channels                                  []string
	Denied                                    *trouble
	Tabs                                      tabs
	Rights                                    map[string]right
	DeleteEntitlement                         right
	Body                                      any
	CLI                                       string
}

// customerActions are what can be done with a customer.
var customerActions = []string{"ecrin:GetLicense", "ecrin:UpdateCustomer", "ecrin:ArchiveCustomer", "ecrin:UnarchiveCustomer",
	"ecrin:PutEntitlement", "ecrin:CreateCustomerToken", "ecrin:RotateCustomerToken", "ecrin:RevokeCustomerToken",
	"ecrin:PutEgressThreshold"}

// customer returns the customer that the path names. One whom the person may not describe has its id for its name.
//
// Errors: those of DescribeCustomer but a denial.
func (x *request) customer() (v customerView, c ecrintypes.Customer, err error) {
	slug, id := x.at["app"], x.at["customer"]
	v = customerView{Slug: slug, ID: id, Name: id, To: x.applicationTo(slug, "customers", id)}
	out, err := do[ecrintypes.CustomerResponse](x, "ecrin", "DescribeCustomer", &ecrintypes.CustomerRequest{AccountId: x.account.String(),
		ApplicationSlug: slug, CustomerId: id})
	switch {
	case err == nil:
		c = out.Customer
		v.Name, v.Email, v.CustomID, v.Type, v.Status = c.CustomerName, c.Email, c.CustomId, string(c.CustomerType), licenceStatus(c, x.begun)
		v.Expires, v.Channels, v.Archived = timeOf(c.ExpiresAt), channelNames(c.Channels), c.ArchivedAt != nil
	case x.status(err) == http.StatusForbidden:
		v.Denied = x.troubleOf(err)
	default:
		return v, c, err
	}
	if v.Rights, err = x.mayOn("customer/"+slug+"/"+id, customerActions...); err != nil {
		return v, c, err
	}
	rights, err := x.mayOn("application/"+slug, "ecrin:DeleteEntitlement")
	v.DeleteEntitlement = rights["ecrin:DeleteEntitlement"]
	return v, c, err
}

// showCustomer shows a page of a customer.
func (x *request) showCustomer(status int, v customerView, tab, file string, body any) error {
	v.Body, v.Tabs.Title = body, v.Name
	for _, t := range []struct{ key, text, path string }{{"access", "Access", ""}, {"installations", "Installations", "/installations"},
		{"settings", "Settings", "/settings"}} {
		v.Tabs.Links = append(v.Tabs.Links, link{Text: t.text, To: v.To + t.path, Count: -1, Here: t.key == tab})
	}
	if v.CLI == "" {
		v.CLI = "ecrin customer show " + quoted(v.Slug) + " " + quoted(v.ID)
	}
	return x.render(status, file, &view{Title: v.Name, Section: "customers", Main: v, Crumbs: []link{
		{Text: v.Slug, To: x.applicationTo(v.Slug)}, {Text: "Customers", To: x.applicationTo(v.Slug, "customers")}}})
}

// customerSettingsPage shows the settings of a customer.
func (x *request) customerSettingsPage() error {
	v, c, err := x.customer()
	if err != nil {
		return err
	}
	f := customerForm{Name: c.CustomerName, Email: c.Email, CustomID: c.CustomId, Type: string(c.CustomerType),
		Expires: dayOf(timeOf(c.ExpiresAt)), Types: customerTypes, Fields: c.Fields}
	channels, err := x.channels(v.Slug)
	if err != nil {
		return err
	}
	for _, of := range channels {
		one := choice{Value: of.ID, Text: of.Name}
		for _, on := range c.Channels {
			if on.ChannelId == of.ID {
				one.On, one.Default = true, on.IsDefault != nil && *on.IsDefault
				if on.PinnedSequence != nil {
					one.Pinned = strconv.FormatInt(*on.PinnedSequence, 10)
				}
			}
		}
		f.Channels = append(f.Channels, one)
	}
	for _, o := range customerFeatures {
		f.Features = append(f.Features, choice{Value: string(o), Text: strings.ReplaceAll(string(o), "-", " "),
			On: slices.Contains(c.Features, o)})
	}
	return x.showCustomerSettings(http.StatusOK, v, f)
}

func (x *request) showCustomerSettings(status int, v customerView, f customerForm) error {
	f.May, v.CLI = v.Rights["ecrin:UpdateCustomer"], "ecrin customer update "+quoted(v.Slug)+" "+quoted(v.ID)
	return x.showCustomer(status, v, "settings", "customersettings", f)
}

// saveCustomer changes the settings of a customer.
func (x *request) saveCustomer() error {
	v, c, err := x.customer()
	if err != nil {
		return err
	}
	channels, err := x.channels(v.Slug)
	if err != nil {
		return err
	}
	f, picked, features, err := x.readCustomerForm(channels)
	f.Fields = c.Fields
	in := &ecrintypes.UpdateCustomerRequest{AccountId: x.account.String(), ApplicationSlug: v.Slug, CustomerId: v.ID, CustomerName: f.Name,
		CustomId: &f.CustomID, Email: &f.Email, CustomerType: ecrintypes.CustomerType(f.Type), Channels: picked, Features: features}
	if err == nil && f.Expires != dayOf(timeOf(c.ExpiresAt)) { // an end within a day stays as it is unless the day was changed
		in.ExpiresAt, err = parseDay(f.Expires)
		in.NeverExpires = some(in.ExpiresAt == nil)
	}
	if err == nil {
		err = act(x, "ecrin", "UpdateCustomer", in)
	}
	if err != nil {
		f.Wrong = x.troubleOf(err)
		return x.showCustomerSettings(x.status(err), v, f)
	}
	return x.done(v.To, "The customer was saved. The change is in force at its next request.")
}

// archivePage asks for the name of a customer before its licence ends, or whether it begins again.
func (x *request) archivePage() error {
	v, _, err := x.customer()
	if err != nil {
		return err
	}
	return x.showArchive(http.StatusOK, v, typedView{})
}

func (x *request) showArchive(status int, v customerView, t typedView) error {
	v.CLI = "ecrin customer archive " + quoted(v.Slug) + " " + quoted(v.ID)
	return x.showCustomer(status, v, "", "archive", t)
}

// archive ends the licence of a customer, once its name was typed, or begins it again.
func (x *request) archive() error {
	v, _, err := x.customer()
	if err != nil {
		return err
	}
	end := x.form.Get("do") != "undo"
	if end && x.form.Get("name") != v.Name {
		return x.showArchive(http.StatusBadRequest, v, typedView{Wrong: "That is not the name of the customer."})
	}
	if err := act(x, "ecrin", "UpdateCustomer", &ecrintypes.UpdateCustomerRequest{AccountId: x.account.String(), ApplicationSlug: v.Slug,
		CustomerId: v.ID, Archived: &end}); err != nil {
		return x.showArchive(x.status(err), v, typedView{Failed: x.troubleOf(err)})
	}
	f := flash{Text: "The licence is in force again."}
	if end {
		f = flash{Text: "The customer was archived: its next request is refused.", Link: v.To + "/archive", LinkText: "Undo"}
	}
	x.setFlash(f)
	return x.redirect(v.To)
}

// customerInstallationsPage shows the installations of a customer.
func (x *request) customerInstallationsPage() error {
	v, _, err := x.customer()
	if err != nil {
		return err
	}
	all := x.installations(v.Slug)
	all.Rows = slices.DeleteFunc(all.Rows, func(r installationRow) bool { return r.CustomerTo != v.To })
	all.Pager.Text = many(int64(len(all.Rows)), "installation", "installations") + " of this customer on this page of the fleet"
	v.CLI = "ecrin app fleet " + quoted(v.Slug)
	return x.showCustomer(http.StatusOK, v, "installations", "customerinstallations", all)
}

// licence sends the licence of a customer as a file.
func (x *request) licence() error {
	out, err := do[ecrintypes.GetLicenseResponse](x, "ecrin", "GetLicense", &ecrintypes.GetLicenseRequest{AccountId: x.account.String(),
		ApplicationSlug: x.at["app"], CustomerId: x.at["customer"],
		LicenseVersion: ecrintypes.LicenseVersion(x.r.URL.Query().Get("version"))})
	if err != nil {
		return err
	}
	x.attach("application/yaml", x.at["app"]+"-license.yaml", []byte(out.License))
	return nil
}
