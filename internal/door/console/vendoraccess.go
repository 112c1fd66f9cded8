package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxEffort is how much of what entitlements reach a page looks at: 5,000 tags, and a repository counts as ten. The page of one entitlement
// has no such limit.
const maxEffort = 5000

// entitlementRow is an entitlement of a customer.
type entitlementRow struct {
	ID           string
	Repositories []string
	Tags         []string
	Which        []string
	All          bool // of all customers of the application
	Tagged       int32
	Now          status
	Count        string // the page that counts it; "" if this one has
	Example      string // an image that it reaches
	Made         time.Time
}

// tokenRow is a token of a customer.
type tokenRow struct {
	Name, By, Address   string
	Made, Rotated, Used time.Time
	Unused              bool // for a long time
}

// madeToken is a token that is shown once.
type madeToken struct{ Name, Token string }

// accessView is what a customer may pull, and does.
type accessView struct {
	Entitlements []entitlementRow
	NoRights     *trouble
	On           string // the image of the trial
	Trial        []step
	TrialAllowed bool
	TrialFailed  *trouble
	Tokens       []tokenRow
	NoTokens     *trouble
	TokenName    string
	Made         *madeToken
	Wrong        *trouble
	Log          pullLog
	Egress       *egressChart
	NoEgress     *trouble
	Threshold    *string // that was typed and refused
	Commands     []command
}

// customerPage shows what a customer may pull, and what it has pulled.
func (x *request) customerPage() error { return x.showAccess(http.StatusOK, accessView{}) }

func (x *request) showAccess(status int, a accessView) error {
	v, c, err := x.customer()
	if err != nil {
		return err
	}
	channels, err := x.channels(v.Slug)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	x.entitlements(v, channels, &a)
	if a.On = strings.TrimSpace(x.r.URL.Query().Get("on")); a.On != "" {
		x.try(v, &a)
	}
	tokens, err := do[ecrintypes.ListCustomerTokensResponse](x, "ecrin", "ListCustomerTokens", &ecrintypes.CustomerRequest{
		AccountId: x.account.String(), ApplicationSlug: v.Slug, CustomerId: v.ID})
	if a.NoTokens = x.troubleOf(err); err == nil {
		for _, t := range tokens.Tokens {
			used := timeOf(t.LastUsedAt)
			a.Tokens = append(a.Tokens, tokenRow{Name: t.TokenName, By: t.CreatedBy, Address: t.LastAddress, Made: t.CreatedAt.Time,
				Rotated: timeOf(t.RotatedAt), Used: used, Unused: !used.IsZero() && x.begun.Sub(used) > 90*24*time.Hour})
		}
	}
	a.Log = x.pullLog(v)
	if x.egress(v, &a); a.Egress != nil && a.Threshold != nil {
		a.Egress.Size = *a.Threshold
	}
	a.Commands = x.customerCommands(v, c, channels, a.Entitlements)
	return x.showCustomer(status, v, "access", "customer", a)
}

// entitlements adds the entitlements of a customer, with how many tags each reaches now.
func (x *request) entitlements(v customerView, channels []channelRow, a *accessView) {
	account := x.account.String()
	out, err := do[ecrintypes.ListEntitlementsResponse](x, "ecrin", "ListEntitlements", &ecrintypes.ListEntitlementsRequest{AccountId: account,
		ApplicationSlug: v.Slug, CustomerId: v.ID})
	if a.NoRights = x.troubleOf(err); err != nil {
		return
	}
	only, left := x.r.URL.Query().Get("count"), int32(maxEffort)
	for _, e := range out.Entitlements {
		r := entitlementRow{ID: e.EntitlementId, Repositories: e.Repositories, All: e.CustomerId == "", Made: e.CreatedAt.Time}
		r.Tags, r.Which = wordsOf(e, channels)
		r.Now, r.Count = status{"skip", "off", "not counted"}, x.query("count", e.EntitlementId)
		in := &ecrintypes.PreviewEntitlementRequest{AccountId: account, ApplicationSlug: v.Slug, CustomerId: v.ID,
			EntitlementId: e.EntitlementId}
		counts := only == e.EntitlementId
		if only == "" && left > 0 {
			in.MaxEffort, counts = some(left), true
		}
		if counts {
			m, err := do[ecrintypes.PreviewEntitlementResponse](x, "ecrin", "PreviewEntitlement", in)
			if err != nil || !m.More || only != "" {
				r.Count = ""
			}
			if err == nil {
				r.Now = matchStatus(m, e.Repositories)
				if left -= m.Effort; m.More {
					left = 0
				}
				if len(m.Images) > 0 {
					r.Example = m.Images[len(m.Images)-1].RepositoryName + ":" + m.Images[len(m.Images)-1].ImageTag
				}
			}
		}
		a.Entitlements = append(a.Entitlements, r)
	}
}

// wordsOf returns the tags and the limits of an entitlement.
func wordsOf(e ecrintypes.Entitlement, channels []channelRow) (tags, which []string) {
	tags = slices.Clone(e.ImageTags)
	if e.Versions != "" {
		tags = append(tags, e.Versions)
	}
	for _, d := range e.ImageDigests {
		tags = append(tags, "@"+digest12(d))
	}
	if len(tags) == 0 {
		tags = []string{"*"}
	}
	which = append(which, "new versions too")
	if e.PresentOnly != nil && *e.PresentOnly {
		which[0] = "these versions only"
	}
	switch e.ReleasedBefore {
	case "":
	case "license-end":
		which = append(which, "released before the licence ends")
	default:
		which = append(which, "released before "+e.ReleasedBefore)
	}
	for _, id := range e.Channels {
		if i := slices.IndexFunc(channels, func(c channelRow) bool { return c.ID == id }); i >= 0 {
			id = channels[i].Name
		}
		which = append(which, "channel "+id)
	}
	return tags, which
}

// elsewhere reports whether a pattern of repositories is one of another registry.
func elsewhere(pattern string) bool {
	host, _, found := strings.Cut(pattern, "/")
	return found && strings.ContainsAny(host, ".:")
}

// matchStatus returns how many tags an entitlement reaches.
func matchStatus(m *ecrintypes.PreviewEntitlementResponse, repositories []string) status {
	text := many(int64(m.Tags), "tag", "tags")
	switch {
	case m.More && m.Tags == 0:
		return status{"skip", "off", "none among the first"}
	case m.More:
		return status{"ok", "ok", text + " or more"}
	case m.Tags > 0:
		return status{"ok", "ok", text}
	case slices.ContainsFunc(repositories, elsewhere):
		return status{"skip", "off", "of another registry"}
	case m.Repositories == 0:
		return status{"warn", "warn", "0 tags: no such repository"}
	}
	return status{"warn", "warn", "0 tags: no such tag"}
}

// try explains whether the customer may pull an image.
func (x *request) try(v customerView, a *accessView) {
	out, err := do[ecrintypes.ExplainLicenseResponse](x, "ecrin", "ExplainLicense", &ecrintypes.ExplainLicenseRequest{
		AccountId: x.account.String(), ApplicationSlug: v.Slug, CustomerId: v.ID, Image: a.On})
	if a.TrialFailed = x.troubleOf(err); err != nil {
		return
	}
	a.Trial, a.TrialAllowed = licenceSteps(out), out.Allowed
}

// licenceSteps returns the links of a pull as a rail.
func licenceSteps(out *ecrintypes.ExplainLicenseResponse) (all []step) {
	for _, l := range out.Steps {
		s := step{What: l.Name, Say: "holds", Icon: "ok", Colour: "ok", More: []string{l.Found}}
		if !l.Passed {
			s.Class, s.Icon, s.Colour, s.Say, s.More = "stop", "bad", "bad", "fails", []string{l.Problem}
			if l.Cure != "" {
				s.More = append(s.More, strings.Split("What mends it: "+l.Cure, "\n")...)
			}
		}
		all = append(all, s)
	}
	end := step{Class: "end", What: "The pull works", Icon: "ok", Colour: "ok"}
	if !out.Allowed {
		end = step{Class: "end", What: "The pull is refused", Icon: "bad", Colour: "bad"}
	}
	return append(all, end)
}

// customerHost returns the host at which a customer pulls: that of its channel, of its application, or of this page.
func (x *request) customerHost(slug string, c ecrintypes.Customer, channels []channelRow) string {
	for _, on := range c.Channels {
		i := slices.IndexFunc(channels, func(of channelRow) bool { return of.ID == on.ChannelId })
		if i >= 0 && channels[i].Registry != "" {
			return channels[i].Registry
		}
	}
	out, err := do[ecrintypes.ListApplicationHostsResponse](x, "ecrin", "ListApplicationHosts",
		&ecrintypes.ApplicationRequest{AccountId: x.account.String(), ApplicationSlug: slug})
	if err == nil && len(out.Hosts) > 0 {
		return out.Hosts[0].Host
	}
	return x.r.Host
}

// customerCommands returns what a customer types, with the first image that it may pull.
func (x *request) customerCommands(v customerView, c ecrintypes.Customer, channels []channelRow, all []entitlementRow) []command {
	repository, tag, channel := "REPOSITORY", "TAG", "stable"
	for _, e := range all {
		if e.Example != "" {
			repository, tag, _ = strings.Cut(e.Example, ":")
			break
		}
	}
	for _, on := range c.Channels {
		channel = on.ChannelSlug
	}
	host := x.customerHost(v.Slug, c, channels)
	return vendorCommands(vendorPlace{Slug: v.Slug, Channel: channel, Host: host, Image: x.customerURI(host, repository) + ":" + tag,
		User: v.Slug, Secure: x.ev.From.Secure})
}

// customerURI returns the name of a repository of the vendor at a host.
func (x *request) customerURI(host, repository string) string {
	uri := x.uri(repository)
	if uri == "" {
		uri = x.r.Host + "/" + repository
	}
	_, path, _ := strings.Cut(uri, "/")
	return host + "/" + path
}

// vendorPlace is where a customer pulls.
type vendorPlace struct {
	Slug, Channel, Host, Image, User string
	Secure                           bool
}

// vendorCommands returns what a customer types. None has a secret: the password is asked for, or read from a file.
func vendorCommands(p vendorPlace) []command {
	plain := func(flag string) string {
		if p.Secure {
			return ""
		}
		return flag
	}
	login := " -u " + p.User + " --password-stdin "
	p.Image = quoted(p.Image)
	return []command{
		{"docker", "docker login" + login + p.Host + " < TOKEN_FILE\ndocker pull " + p.Image},
		{"podman", "podman login" + login + plain("--tls-verify=false ") + p.Host + " < TOKEN_FILE\npodman pull " + plain("--tls-verify=false ") +
			p.Image},
		{"skopeo", "skopeo login" + login + plain("--tls-verify=false ") + p.Host + " < TOKEN_FILE\nskopeo copy --all " +
			plain("--src-tls-verify=false ") + "docker://" + p.Image + " oci:image"},
		{"crane", "crane auth login" + login + p.Host + " < TOKEN_FILE\ncrane pull " + p.Image + " image.tar"},
		{"helm", "helm registry login" + login + plain("--plain-http ") + p.Host + " < TOKEN_FILE\nhelm pull " + plain("--plain-http ") +
			"oci://" + p.Host + "/" + p.Slug + "/" + p.Channel + "/CHART"},
		{"kubernetes", "kubectl create secret docker-registry " + p.Slug + "-registry \\\n  --docker-server=" + p.Host +
			" --docker-username=" + p.User + " \\\n  --docker-password=\"$(cat TOKEN_FILE)\"\n\n# or the whole application, kept up to date:\n" +
			"ecrin install " + p.Slug + "-license.yaml --key vendor.pem"},
	}
}

// onCustomer makes, rotates or revokes a token, takes an entitlement away, or sets the threshold of egress.
func (x *request) onCustomer() error {
	slug, id, account := x.at["app"], x.at["customer"], x.account.String()
	to := x.applicationTo(slug, "customers", id)
	token := strings.TrimSpace(x.form.Get("token"))
	in := &ecrintypes.CustomerTokenRequest{AccountId: account, ApplicationSlug: slug, CustomerId: id, TokenName: token}
	var err error
	switch x.form.Get("do") {
	case "make", "rotate":
		operation := map[string]string{"make": "CreateCustomerToken", "rotate": "RotateCustomerToken"}[x.form.Get("do")]
		out, err := do[ecrintypes.CustomerTokenResponse](x, "ecrin", operation, in)
		if err != nil {
			return x.showAccess(x.status(err), accessView{Wrong: x.troubleOf(err), TokenName: token})
		}
		return x.showAccess(http.StatusOK, accessView{Made: &madeToken{out.TokenName, out.Token}})
	case "revoke":
		if err = act(x, "ecrin", "RevokeCustomerToken", in); err == nil {
			return x.done(to, "The token "+token+" was revoked: it is refused at the next request.")
		}
	case "unentitle":
		if err = act(x, "ecrin", "DeleteEntitlement", &ecrintypes.DeleteEntitlementRequest{AccountId: account, ApplicationSlug: slug,
			EntitlementId: x.form.Get("entitlement")}); err == nil {
			return x.done(to, "The entitlement was deleted: the next pull is decided without it.")
		}
	case "threshold":
		var bytes int64
		if bytes, err = parseSize(x.form.Get("size")); err != nil {
			break
		}
		if err = act(x, "ecrin", "PutEgressThreshold", &ecrintypes.PutEgressThresholdRequest{AccountId: account, ApplicationSlug: slug,
			CustomerId: id, Bytes: bytes}); err == nil {
			return x.done(to, "The threshold was saved.")
		}
	default:
		err = fault.InvalidParameter.New("the form does not say what to do")
	}
	a := accessView{Wrong: x.troubleOf(err)}
	if x.form.Get("do") == "threshold" {
		a.Threshold = some(x.form.Get("size"))
	}
	return x.showAccess(x.status(err), a)
}

// parseSize returns a number of bytes such as 80 GB; 0 for "".
//
// Errors: fault.InvalidParameter.
func parseSize(text string) (int64, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	if text == "" {
		return 0, nil
	}
	unit := int64(1)
	number := strings.TrimSuffix(text, "B")
	for i, letter := range "KMGTP" {
		if cut, ok := strings.CutSuffix(number, string(letter)); ok {
			number = cut
			for range i + 1 {
				unit *= 1000
			}
			break
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0 && n*float64(unit) <= 1e18) {
		return 0, fault.InvalidParameter.New("a size is a number with a unit, such as 80 GB")
	}
	return int64(n * float64(unit)), nil
}

// entitleForm is the form that adds an entitlement, with a preview of what it reaches.
type entitleForm struct {
	Repositories, Tags, Versions, Digests string // lists are separated by spaces
	Channels                              []choice
	Released                              string // "", "end" or "day"
	Before                                string
	Present                               bool
	Preview                               *ecrintypes.PreviewEntitlementResponse
	Now                                   status
	Wrong                                 *trouble
}

// entitlePage shows the form that adds an entitlement.
func (x *request) entitlePage() error {
	q := x.r.URL.Query()
	return x.showEntitle(http.StatusOK, entitleForm{Repositories: q.Get("repository"), Tags: q.Get("tag")}, nil)
}

func (x *request) showEntitle(status int, f entitleForm, picked []string) error {
	v, _, err := x.customer()
	if err != nil {
		return err
	}
	channels, err := x.channels(v.Slug)
	if err != nil && x.status(err) != http.StatusForbidden {
		return err
	}
	for _, c := range channels {
		f.Channels = append(f.Channels, choice{Value: c.ID, Text: c.Name, On: slices.Contains(picked, c.ID)})
	}
	v.CLI = "ecrin entitlement add " + quoted(v.Slug) + " --customer " + quoted(v.ID)
	for _, pattern := range words(cmp.Or(f.Repositories, "shop/*")) {
		v.CLI += " --repository " + quoted(pattern)
	}
	return x.showCustomer(status, v, "", "entitle", f)
}

// entitle previews an entitlement, or adds it.
func (x *request) entitle() error {
	slug, id, account := x.at["app"], x.at["customer"], x.account.String()
	f := entitleForm{Repositories: x.form.Get("repositories"), Tags: x.form.Get("tags"), Versions: strings.TrimSpace(x.form.Get("versions")),
		Digests: x.form.Get("digests"), Released: x.form.Get("released"), Before: strings.TrimSpace(x.form.Get("before")),
		Present: x.form.Get("present") == "yes"}
	picked := x.form["channel"]
	in := &ecrintypes.PutEntitlementRequest{AccountId: account, ApplicationSlug: slug, CustomerId: id, Repositories: words(f.Repositories),
		ImageTags: words(f.Tags), Versions: f.Versions, ImageDigests: words(f.Digests), Channels: picked, PresentOnly: &f.Present}
	var err error
	switch f.Released {
	case "":
	case "end":
		in.ReleasedBefore = "license-end"
	default:
		var day *awswire.Time
		if day, err = parseDay(f.Before); err == nil && day != nil {
			in.ReleasedBefore = day.UTC().Format(time.RFC3339)
		}
	}
	if err == nil && len(in.Repositories) == 0 {
		err = fault.InvalidParameter.New("an entitlement has a repository at least, such as shop/api or shop/*")
	}
	if err == nil && x.form.Get("do") == "entitle" {
		var out *ecrintypes.EntitlementResponse
		if out, err = do[ecrintypes.EntitlementResponse](x, "ecrin", "PutEntitlement", in); err == nil {
			return x.done(x.applicationTo(slug, "customers", id), "Entitled to "+shown(out.Entitlement.Text)+".")
		}
	} else if err == nil {
		f.Preview, err = do[ecrintypes.PreviewEntitlementResponse](x, "ecrin", "PreviewEntitlement", &ecrintypes.PreviewEntitlementRequest{
			AccountId: account, ApplicationSlug: slug, CustomerId: id, Repositories: in.Repositories, ImageTags: in.ImageTags,
			Versions: in.Versions, ImageDigests: in.ImageDigests, Channels: in.Channels, ReleasedBefore: in.ReleasedBefore,
			PresentOnly: in.PresentOnly})
	}
	if err != nil {
		f.Wrong = x.troubleOf(err)
		return x.showEntitle(x.status(err), f, picked)
	}
	f.Now = matchStatus(f.Preview, in.Repositories)
	return x.showEntitle(http.StatusOK, f, picked)
}

// words returns the parts of a text between spaces and commas.
func words(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t' })
}
