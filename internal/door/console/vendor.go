package console

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// vendorRows are the rows of what vendors ship to customers.
var vendorRows = slices.Concat(applicationRows, releaseRows, customerRows, ownRows)

// vendorLinks are the links of the side to it.
func vendorLinks(at linker, base string) []link {
	return []link{at("applications", "Applications", base+"applications"), at("releases", "Releases", base+"releases"),
		at("customers", "Customers", base+"customers")}
}

const applicationPath = "{account}/{region}/applications/{app}"

var applicationRows = []row{
	{method: "GET", path: "{account}/{region}/applications", serve: (*request).applicationsPage},
	{method: "POST", path: "{account}/{region}/applications", serve: (*request).createApplication},
	{method: "GET", path: "{account}/{region}/create-application", serve: (*request).createApplicationPage},
	{method: "GET", path: "{account}/{region}/releases", serve: func(x *request) error { return x.chooseApplication("Releases") }},
	{method: "GET", path: "{account}/{region}/customers", serve: func(x *request) error { return x.chooseApplication("Customers") }},
	{method: "GET", path: applicationPath, serve: (*request).channelsPage},
	{method: "POST", path: applicationPath, serve: (*request).createChannel},
	{method: "GET", path: applicationPath + "/delete", serve: (*request).deleteApplicationPage},
	{method: "POST", path: applicationPath + "/delete", serve: (*request).deleteApplication},
	{method: "GET", path: applicationPath + "/installations", serve: (*request).installationsPage},
	{method: "GET", path: applicationPath + "/channels/{channel}", serve: (*request).channelPage},
	{method: "POST", path: applicationPath + "/channels/{channel}", serve: (*request).onChannel},
}

// applicationRow is an application of the list.
type applicationRow struct {
	Slug, Name, To string
	Releases       int64
	Created        time.Time
	By             string
}

// applicationsView is the list of applications of an account.
type applicationsView struct {
	Query   string
	Rows    []applicationRow
	Pager   pager
	Denied  *trouble
	Create  right
	First   bool
	Section string // the page that the links of the rows lead to, such as "Customers"; "" for that of the application
	Name    string // of the form
	Slug    string
	Wrong   *trouble
}

// applicationTo returns the path of a page of an application.
func (x *request) applicationTo(slug string, parts ...string) string {
	return x.base() + "/applications/" + pathOf(append([]string{slug}, parts...)...)
}

// applications returns the applications of the account, at most 200.
func (x *request) applications() ([]applicationRow, error) {
	out, err := do[ecrintypes.DescribeApplicationsResponse](x, "ecrin", "DescribeApplications",
		&ecrintypes.DescribeApplicationsRequest{AccountId: x.account.String(), Permitted: some(true)})
	if err != nil {
		return nil, err
	}
	var all []applicationRow
	for _, a := range out.Applications {
		all = append(all, applicationRow{Slug: a.ApplicationSlug, Name: a.ApplicationName, To: x.applicationTo(a.ApplicationSlug),
			Releases: a.LastRelease, Created: a.CreatedAt.Time, By: a.CreatedBy})
	}
	return all, nil
}

// applicationsPage lists the applications of an account, by their slugs.
func (x *request) applicationsPage() error { return x.showApplications("") }

// chooseApplication leads to the releases or the customers of the only application, or lists the applications.
func (x *request) chooseApplication(section string) error { return x.showApplications(section) }

func (x *request) showApplications(section string) error {
	q := x.r.URL.Query()
	v := applicationsView{Query: strings.TrimSpace(q.Get("q")), Section: section}
	v.First = v.Query == "" && q.Get("after") == ""
	rights, err := x.mayOn("application/*", "ecrin:CreateApplication")
	if err != nil {
		return err
	}
	v.Create = rights["ecrin:CreateApplication"]
	title := section
	if title == "" {
		title = "Applications"
	}
	shownAs := &view{Title: title, Section: strings.ToLower(title)}
	all, err := x.applications()
	if err != nil {
		v.Denied = x.troubleOf(err)
		shownAs.Main = v
		return x.render(x.status(err), "applications", shownAs)
	}
	if section != "" && len(all) == 1 {
		return x.redirect(x.applicationTo(all[0].Slug, strings.ToLower(section)))
	}
	next := ""
	for _, a := range all {
		if !strings.Contains(strings.ToLower(a.Name+" "+a.Slug), strings.ToLower(v.Query)) || a.Slug <= q.Get("after") {
			continue
		}
		if len(v.Rows) == pageSize {
			next = v.Rows[pageSize-1].Slug
			break
		}
		if section != "" {
			a.To = x.applicationTo(a.Slug, strings.ToLower(section))
		}
		v.Rows = append(v.Rows, a)
	}
	v.Pager = x.pagerOf(many(int64(len(v.Rows)), "application", "applications")+" of "+count(int64(len(all)))+", by slug", next)
	shownAs.Main = v
	return x.render(http.StatusOK, "applications", shownAs)
}

// createApplicationPage shows the form that makes an application.
func (x *request) createApplicationPage() error {
	return x.showCreateApplication(http.StatusOK, applicationsView{})
}

func (x *request) showCreateApplication(status int, v applicationsView) error {
	rights, err := x.mayOn("application/*", "ecrin:CreateApplication")
	if err != nil {
		return err
	}
	v.Create = rights["ecrin:CreateApplication"]
	return x.render(status, "createapplication", &view{Title: "Create application", Section: "applications", Main: v,
		Crumbs: []link{{Text: "Applications", To: x.base() + "/applications"}}})
}

// createApplication makes an application with the channels Unstable, Beta and Stable.
func (x *request) createApplication() error {
	in := &ecrintypes.CreateApplicationRequest{AccountId: x.account.String(), ApplicationName: strings.TrimSpace(x.form.Get("name")),
		ApplicationSlug: strings.TrimSpace(x.form.Get("slug"))}
	out, err := do[ecrintypes.VendorApplicationResponse](x, "ecrin", "CreateApplication", in)
	if err != nil {
		return x.showCreateApplication(x.status(err), applicationsView{Name: in.ApplicationName, Slug: in.ApplicationSlug,
			Wrong: x.troubleOf(err)})
	}
	return x.done(x.applicationTo(out.Application.ApplicationSlug),
		"The application was created, with the channels Unstable, Beta and Stable.")
}

// applicationView is an application, with the content of one of its pages.
type applicationView struct {
	Slug, Name, To string
	Denied         *trouble // why its name is not known
	Tabs           tabs
	Rights         map[string]right
	Body           any
	CLI            string // the command that shows the same
}

// applicationPage is a page of an application that is shown.
type applicationPage struct {
	tab, file, title string
	section          string // of the side; "" for applications
	cli              string
	body             any
	crumbs           []link // after that of the application
	actions          []string
	onChannels       []string // actions on channels
	channels         []channelRow
}

// showApplication shows a page of an application. A person who may not describe it sees its slug for its name.
func (x *request) showApplication(status int, p applicationPage) error {
	slug := x.at["app"]
	v := applicationView{Slug: slug, Name: slug, To: x.applicationTo(slug), Body: p.body, CLI: p.cli}
	out, err := do[ecrintypes.DescribeApplicationsResponse](x, "ecrin", "DescribeApplications",
		&ecrintypes.DescribeApplicationsRequest{AccountId: x.account.String(), ApplicationSlug: slug})
	switch {
	case err == nil && len(out.Applications) == 1:
		v.Name = out.Applications[0].ApplicationName
	case err != nil && x.status(err) == http.StatusForbidden:
		v.Denied = x.troubleOf(err)
	case err != nil:
		return err
	}
	if v.Rights, err = x.mayOn("application/"+slug, p.actions...); err != nil {
		return err
	}
	var ids []string
	for _, c := range p.channels {
		ids = append(ids, c.ID)
	}
	rights, err := x.mayOnChannels(slug, ids, p.onChannels...)
	if err != nil {
		return err
	}
	maps.Copy(v.Rights, rights)
	v.Tabs.Title = v.Name
	for _, t := range []struct{ key, text, path string }{{"channels", "Channels", ""}, {"releases", "Releases", "releases"},
		{"customers", "Customers", "customers"}, {"installations", "Installations", "installations"}} {
		to := v.To
		if t.path != "" {
			to += "/" + t.path
		}
		v.Tabs.Links = append(v.Tabs.Links, link{Text: t.text, To: to, Count: -1, Here: t.key == p.tab})
	}
	section := p.section
	if section == "" {
		section = "applications"
	}
	crumbs := []link{{Text: "Applications", To: x.base() + "/applications"}}
	if p.tab == "" {
		crumbs = append(crumbs, link{Text: v.Name, To: v.To})
	}
	return x.render(status, p.file, &view{Title: p.title, Section: section, Main: v, Crumbs: append(crumbs, p.crumbs...)})
}

// channelRow is a channel of an application.
type channelRow struct {
	ID, Slug, Name, Description, To, Current, ReleaseTo string
	Release                                             int64
	Versions                                            int64
	Default, Semver                                     bool
	Proxy, Registry                                     string
}

// channels returns the channels of an application that are not archived.
func (x *request) channels(slug string) ([]channelRow, error) {
	out, err := do[ecrintypes.ListChannelsResponse](x, "ecrin", "ListChannels",
		&ecrintypes.ListChannelsRequest{AccountId: x.account.String(), ApplicationSlug: slug, Permitted: some(true)})
	if err != nil {
		return nil, err
	}
	var all []channelRow
	for _, c := range out.Channels {
		r := channelRow{ID: c.ChannelId, Slug: c.ChannelSlug, Name: c.ChannelName, Description: c.Description, Current: c.CurrentVersion,
			To: x.applicationTo(slug, "channels", c.ChannelSlug), Versions: c.LastSequence, Default: c.IsDefault, Semver: c.SemverRequired,
			Proxy: c.ProxyDomain, Registry: c.RegistryDomain}
		if c.CurrentRelease != nil {
			r.Release, r.ReleaseTo = *c.CurrentRelease, x.applicationTo(slug, "releases", strconv.FormatInt(*c.CurrentRelease, 10))
		}
		all = append(all, r)
	}
	return all, nil
}

// channelsView are the channels of an application, and the form that adds one.
type channelsView struct {
	Rows        []channelRow
	Trouble     *trouble
	Name, Words string // of the form
	Semver      bool
	Wrong       *trouble
}

// channelsPage shows the channels of an application.
func (x *request) channelsPage() error { return x.showChannels(http.StatusOK, channelsView{}) }

func (x *request) showChannels(status int, v channelsView) error {
	var err error
	v.Rows, err = x.channels(x.at["app"])
	v.Trouble = x.troubleOf(err)
	return x.showApplication(status, applicationPage{tab: "channels", file: "channels", title: x.at["app"], body: v,
		cli: "ecrin channel list " + quoted(x.at["app"]), actions: []string{"ecrin:CreateChannel", "ecrin:DeleteApplication"}})
}

// createChannel adds a channel.
func (x *request) createChannel() error {
	semver := x.form.Get("semver") == "yes"
	in := &ecrintypes.CreateChannelRequest{AccountId: x.account.String(), ApplicationSlug: x.at["app"],
		ChannelName: strings.TrimSpace(x.form.Get("name")), Description: strings.TrimSpace(x.form.Get("description")), SemverRequired: &semver}
	out, err := do[ecrintypes.ChannelResponse](x, "ecrin", "CreateChannel", in)
	if err != nil {
		return x.showChannels(x.status(err), channelsView{Name: in.ChannelName, Words: in.Description, Semver: semver, Wrong: x.troubleOf(err)})
	}
	return x.done(x.applicationTo(x.at["app"], "channels", out.Channel.ChannelSlug), "The channel was created.")
}

// typedView asks for a name before something ends.
type typedView struct {
	What, Name, To, Wrong string
	Failed                *trouble
}

// deleteApplicationPage asks for the slug of an application before it is deleted.
func (x *request) deleteApplicationPage() error {
	return x.showDeleteApplication(http.StatusOK, typedView{})
}

func (x *request) showDeleteApplication(status int, v typedView) error {
	return x.showApplication(status, applicationPage{file: "deleteapplication", title: "Delete " + x.at["app"], body: v,
		cli: "ecrin app delete " + quoted(x.at["app"]), actions: []string{"ecrin:DeleteApplication"}})
}

// deleteApplication deletes an application with all that it has, once its slug was typed.
func (x *request) deleteApplication() error {
	slug := x.at["app"]
	if x.form.Get("name") != slug {
		return x.showDeleteApplication(http.StatusBadRequest, typedView{Wrong: "That is not the slug of the application."})
	}
	force := x.form.Get("force") == "yes"
	if err := act(x, "ecrin", "DeleteApplication", &ecrintypes.DeleteApplicationRequest{AccountId: x.account.String(), ApplicationSlug: slug,
		Force: &force}); err != nil {
		return x.showDeleteApplication(x.status(err), typedView{Failed: x.troubleOf(err)})
	}
	return x.done(x.base()+"/applications", "The application was deleted.")
}

// installationRow is an installation of a customer.
type installationRow struct {
	ID, Customer, CustomerTo, Channel, Version, Newest, Kubernetes, Status, Address string
	Behind                                                                          int32
	First, Last                                                                     time.Time
}

// installationsView are the installations of the customers of an application.
type installationsView struct {
	Rows    []installationRow
	Pager   pager
	Trouble *trouble
	First   bool
}

// installations returns a page of installations, all or those of one customer.
func (x *request) installations(slug string) (v installationsView) {
	v.First = x.r.URL.Query().Get("after") == ""
	out, err := do[ecrintypes.ListInstancesResponse](x, "ecrin", "ListInstances",
		&ecrintypes.ListInstancesRequest{AccountId: x.account.String(),
			ApplicationSlug: slug, NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if v.Trouble = x.troubleOf(err); err != nil {
		return v
	}
	for _, i := range out.Instances {
		r := installationRow{ID: i.InstanceId, Customer: i.CustomerName, CustomerTo: x.applicationTo(slug, "customers", i.CustomerId),
			Channel: i.ChannelSlug, Version: i.VersionLabel, Newest: i.NewestVersion, Kubernetes: i.KubernetesVersion, Status: i.Status,
			Address: i.Address, Behind: i.VersionsBehind, First: i.FirstSeenAt.Time, Last: i.LastSeenAt.Time}
		if r.Version == "" {
			r.Version = i.PulledVersion
		}
		v.Rows = append(v.Rows, r)
	}
	v.Pager = x.pagerOf(many(int64(len(v.Rows)), "installation", "installations"), out.NextToken)
	return v
}

// installationsPage shows which customer runs which version.
func (x *request) installationsPage() error {
	return x.showApplication(http.StatusOK, applicationPage{tab: "installations", file: "installations", title: "Installations",
		body: x.installations(x.at["app"]), cli: "ecrin app fleet " + quoted(x.at["app"])})
}

// versionRow is a version of a channel.
type versionRow struct {
	Sequence, Release  int64
	Label, Notes, To   string
	Required, Demoted  bool
	Promoted, DemoteAt time.Time
	By                 string
}

// channelView is a channel with its versions.
type channelView struct {
	channelRow
	Known    bool // the channel is one that is not archived
	Versions []versionRow
	Pager    pager
	Trouble  *trouble
	First    bool
	Wrong    *trouble
}

// channelPage shows the versions of a channel, the newest first.
func (x *request) channelPage() error { return x.showChannel(http.StatusOK, nil) }

func (x *request) showChannel(status int, wrong *trouble) error {
	slug, channel := x.at["app"], x.at["channel"]
	v := channelView{channelRow: channelRow{Slug: channel, Name: channel, To: x.applicationTo(slug, "channels", channel)}, Wrong: wrong,
		First: x.r.URL.Query().Get("after") == ""}
	all, err := x.channels(slug)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	if i := slices.IndexFunc(all, func(c channelRow) bool { return c.Slug == channel || c.ID == channel }); i >= 0 {
		v.channelRow, v.Known = all[i], true
	}
	yes := true
	out, err := do[ecrintypes.ListPromotionsResponse](x, "ecrin", "ListPromotions", &ecrintypes.ListPromotionsRequest{
		AccountId: x.account.String(), ApplicationSlug: slug, ChannelId: channel, Demoted: &yes, NewestFirst: &yes,
		NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	if v.Trouble = x.troubleOf(err); err == nil {
		for _, p := range out.Promotions {
			v.Versions = append(v.Versions, versionRow{Sequence: p.ChannelSequence, Release: p.Sequence, Label: p.VersionLabel,
				Notes: p.ReleaseNotes, Required: p.Required, Demoted: p.DemotedAt != nil, Promoted: p.PromotedAt.Time,
				DemoteAt: timeOf(p.DemotedAt), By: p.PromotedBy, To: x.applicationTo(slug, "releases", strconv.FormatInt(p.Sequence, 10))})
		}
		v.Pager = x.pagerOf(many(int64(len(v.Versions)), "version", "versions")+", newest first", out.NextToken)
	}
	return x.showApplication(status, applicationPage{file: "channel", title: v.Name, body: v,
		cli: "ecrin release versions " + quoted(slug) + " " + quoted(v.Slug), channels: []channelRow{v.channelRow},
		onChannels: []string{"ecrin:DemoteRelease", "ecrin:UpdateChannel", "ecrin:ArchiveChannel"}})
}

// onChannel demotes a version of a channel or offers it again, changes the channel, or archives it.
func (x *request) onChannel() error {
	slug, channel, account := x.at["app"], x.at["channel"], x.account.String()
	to := x.applicationTo(slug, "channels", channel)
	var err error
	said := ""
	switch x.form.Get("do") {
	case "demote", "offer":
		sequence, _ := strconv.ParseInt(x.form.Get("sequence"), 10, 64)
		undo := x.form.Get("do") == "offer"
		err = act(x, "ecrin", "DemoteRelease", &ecrintypes.DemoteReleaseRequest{AccountId: account, ApplicationSlug: slug, ChannelId: channel,
			ChannelSequence: sequence, Undo: &undo})
		said = "The version is not offered any more; who has it keeps it."
		if undo {
			said = "The version is offered again."
		}
	case "save":
		semver, proxy := x.form.Get("semver") == "yes", strings.TrimSpace(x.form.Get("proxy"))
		words, registry := strings.TrimSpace(x.form.Get("description")), strings.TrimSpace(x.form.Get("registry"))
		err = act(x, "ecrin", "UpdateChannel", &ecrintypes.UpdateChannelRequest{AccountId: account, ApplicationSlug: slug, ChannelId: channel,
			ChannelName: strings.TrimSpace(x.form.Get("name")), Description: &words, SemverRequired: &semver, ProxyDomain: &proxy,
			RegistryDomain: &registry})
		said = "The channel was saved."
	case "archive":
		err = act(x, "ecrin", "ArchiveChannel", &ecrintypes.ChannelRequest{AccountId: account, ApplicationSlug: slug, ChannelId: channel})
		said, to = "The channel was archived.", x.applicationTo(slug)
	default:
		err = fault.InvalidParameter.New("the form does not say what to do")
	}
	if err != nil {
		return x.showChannel(x.status(err), x.troubleOf(err))
	}
	return x.done(to, said)
}
