package console_test

import (
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// made follows a form that makes something to the page of it.
func (v *visitor) made(path string, pairs ...string) (to, page string) {
	v.t.Helper()
	g := v.post(path, pairs...)
	if g.status != http.StatusSeeOther {
		v.t.Fatalf("%s: got %d\n%s", path, g.status, g.body)
	}
	to, _, _ = strings.Cut(g.location, "?")
	return to, v.page(g.location)
}

// userWith makes a user with a policy and an access key.
func userWith(t *testing.T, s *apptest.Server, root apptest.Account, user, policy string) apptest.Account {
	t.Helper()
	c := iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(s.URL), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	if _, err := c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &user}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &user, PolicyName: &user,
		PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	key, err := c.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		t.Fatal(err)
	}
	root.KeyID, root.Secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return root
}

// shop makes an application with a customer on its channel Unstable, and returns the paths of their pages.
func shop(t *testing.T, v *visitor) (app, customer string) {
	t.Helper()
	app, page := v.made(base+"/applications", "name", "MySampleECRApp")
	has(t, page, "MySampleECRApp", "Unstable", "Beta", "Stable", "The application was created")
	channel := channelID(t, v, app, "Unstable")
	customer, page = v.made(app+"/create-customer", "name", "Northwind Freight", "email", "ops@northwind.example", "type", "paid",
		"channel", channel, "default", channel, "expires", "2099-03-01", "feature", "airgap")
	has(t, page, "Northwind Freight", "active", "1 Mar 2099", "unstable", "May pull nothing")
	return app, customer
}

// channelID returns the id of a channel, from the form that makes a customer.
func channelID(t *testing.T, v *visitor, app, channel string) string {
	t.Helper()
	m := regexp.MustCompile(`name="channel" value="([0-9A-Za-z]+)" aria-label="On channel ` + channel).FindStringSubmatch(
		v.page(app + "/create-customer"))
	if m == nil {
		t.Fatalf("the form has no channel %s", channel)
	}
	return m[1]
}

var shownToken = regexp.MustCompile(`<code id="token">(ecrin_ct_[0-9A-Za-z]+)</code>`)

// pull returns the status of a manifest for a password of a customer.
func (v *visitor) pull(password, image string) int {
	v.t.Helper()
	repo, tag, _ := strings.Cut(image, ":")
	return v.send(http.MethodGet, "/v2/"+repo+"/manifests/"+tag, nil, "Authorization",
		"Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+password))).status
}

// A vendor makes an application and a customer, entitles it after a look at what the entitlement reaches, and makes, rotates and revokes a
// token, which pulls as long as it is valid.
func TestEntitleAndToken(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "shop/api")
	for i, tag := range []string{"1.0.0", "2.0.0", "2.1.0"} {
		repo.Push(t, tag, ocitest.NewImage(uint64(i), 300))
	}
	v := visit(t, s).in(root)
	_, customer := shop(t, v)
	g := v.post(customer, "do", "make", "token", "edge-03")
	m := shownToken.FindStringSubmatch(g.body)
	if m == nil {
		t.Fatalf("making a token: got %d\n%s", g.status, g.body)
	}
	token := m[1]
	if got := v.pull(token, "shop/api:2.0.0"); got != http.StatusForbidden {
		t.Errorf("without an entitlement: got %d", got)
	}
	has(t, v.post(customer+"/entitle", "do", "preview", "repositories", "shop/*", "versions", ">=2").body, "2 tags", "2.0.0", "2.1.0")
	has(t, v.post(customer+"/entitle", "do", "preview", "repositories", "shop/*", "tags", "9.*").body, "0 tags: no such tag")
	has(t, v.post(customer+"/entitle", "do", "preview", "repositories", "none").body, "0 tags: no such repository")
	has(t, v.post(customer+"/entitle", "do", "preview", "repositories", "ghcr.io/org/*").body, "of another registry")
	has(t, v.post(customer+"/entitle", "do", "preview", "repositories", "shop/*", "versions", "two").body, "This was not accepted")
	if got := v.pull(token, "shop/api:2.0.0"); got != http.StatusForbidden {
		t.Errorf("after previews: got %d", got)
	}
	_, page := v.made(customer+"/entitle", "do", "entitle", "repositories", "shop/*", "versions", ">=2")
	has(t, page, "shop/*", "&gt;=2", "2 tags", "new versions too", "Entitled to shop/*")
	if strings.Contains(page, token) {
		t.Error("the token is shown twice")
	}
	for image, want := range map[string]int{"shop/api:2.0.0": 200, "shop/api:1.0.0": 403} {
		if got := v.pull(token, image); got != want {
			t.Errorf("%s: got %d, want %d", image, got, want)
		}
	}
	who := base + "/repositories/shop/api/-/permissions"
	has(t, v.page(who), "by image", "Its entitlements decide for each image")
	for tag, can := range map[string]string{"2.0.0": "</svg>can</span>", "1.0.0": "</svg>cannot</span>"} { // of the only customer
		row := v.page(who + "?tag=" + tag)
		row = row[strings.Index(row, "customer/mysample"):]
		if has(t, row[:strings.Index(row, "</tr>")], can); strings.Contains(row[:strings.Index(row, "</tr>")], "by image") {
			t.Errorf("%s is decided, and the page says otherwise", tag)
		}
	}
	has(t, v.page(customer+"?on=shop/api:2.1.0"), "The pull works", "allows the pull")
	has(t, v.page(customer+"?on=shop/api:1.0.0"), "The pull is refused")
	has(t, v.page(customer+"?on=shop/none:1"), "there is no repository shop/none")
	g = v.post(customer, "do", "rotate", "token", "edge-03")
	m = shownToken.FindStringSubmatch(g.body)
	if m == nil || m[1] == token || v.pull(token, "shop/api:2.0.0") != 401 || v.pull(m[1], "shop/api:2.0.0") != 200 {
		t.Errorf("rotating: got %v after %s", m, token)
	}
	v.made(customer, "do", "revoke", "token", "edge-03")
	if got := v.pull(m[1], "shop/api:2.0.0"); got != 401 {
		t.Errorf("after revoking: got %d", got)
	}
	id := regexp.MustCompile(`name="entitlement" value="([0-9A-Za-z]+)"`).FindStringSubmatch(v.page(customer))[1]
	_, page = v.made(customer, "do", "unentitle", "entitlement", id)
	has(t, page, "May pull nothing")
	for what, g := range map[string]got{"no name": v.post(customer, "do", "make", "token", "A B"), "unknown": v.post(customer, "do", "x"),
		"gone": v.post(customer, "do", "revoke", "token", "edge-03")} {
		if g.status < 400 || g.status >= 500 || !strings.Contains(g.body, "Nothing was changed.") {
			t.Errorf("%s: got %d", what, g.status)
		}
	}
}

// The licence is downloaded, the customer changed and archived; who has no right to the licence has a button with the reason, and no file.
func TestCustomerEnds(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "shop/api").Push(t, "1", ocitest.NewImage(1, 300))
	v := visit(t, s).in(root)
	app, customer := shop(t, v)
	v.made(customer+"/entitle", "do", "entitle", "repositories", "*")
	g := v.get(customer + "/licence")
	if g.status != 200 || !strings.HasPrefix(g.header.Get("Content-Disposition"), "attachment") ||
		!strings.Contains(g.body, "kind: License") {
		t.Fatalf("the licence: got %d %v\n%s", g.status, g.header, g.body)
	}
	id := regexp.MustCompile(`licenseID: (\S+)`).FindStringSubmatch(g.body)[1]
	if got := v.pull(id, "shop/api:1"); got != 200 {
		t.Errorf("with the licence: got %d", got)
	}
	if page := v.page(customer); strings.Contains(page, id) {
		t.Error("the page has the id of the licence")
	}
	channel := channelID(t, v, app, "Stable")
	_, page := v.made(customer+"/settings", "name", "Northwind", "type", "trial", "channel", channel, "default", channel, "pin-"+channel, "3",
		"expires", "2001-01-01")
	has(t, page, "Northwind", "expired", "stable (pinned at 3)", "trial")
	if got := v.pull(id, "shop/api:1"); got != 401 {
		t.Errorf("after its end: got %d", got)
	}
	has(t, v.post(customer+"/settings", "name", "Northwind", "channel", channel, "pin-"+channel, "x").body, "This was not accepted",
		"a number such as 3")
	v.made(customer+"/settings", "name", "Northwind", "type", "paid", "channel", channel)
	if got := v.pull(id, "shop/api:1"); got != 200 {
		t.Errorf("without an end: got %d", got)
	}
	if g := v.post(customer+"/archive", "do", "archive", "name", "North"); g.status != http.StatusBadRequest || v.pull(id,
		"shop/api:1") != 200 {
		t.Errorf("a wrong name: got %d", g.status)
	}
	_, page = v.made(customer+"/archive", "do", "archive", "name", "Northwind")
	has(t, page, "archived", "Take back")
	if got := v.pull(id, "shop/api:1"); got != 401 {
		t.Errorf("archived: got %d", got)
	}
	has(t, v.page(app+"/customers"), "No customers yet")
	has(t, v.page(app+"/customers?archived=yes"), "Northwind")
	v.made(customer+"/archive", "do", "undo")
	if got := v.pull(id, "shop/api:1"); got != 200 {
		t.Errorf("taken back: got %d", got)
	}
	key := userWith(t, s, root, "support", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecrin:Describe*","ecrin:List*",
		"ecrin:ExplainLicense"],"Resource":"*"}]}`)
	support := visit(t, s).in(key)
	page = support.page(customer)
	has(t, page, "You need ecrin:GetLicense", "You need ecrin:CreateCustomerToken", "not counted", "Northwind")
	for _, path := range []string{"/licence"} {
		if g := support.get(customer + path); g.status != http.StatusForbidden || strings.Contains(g.body, id) {
			t.Errorf("%s: got %d", path, g.status)
		}
	}
	if g := support.post(customer, "do", "make", "token", "mine"); g.status != http.StatusForbidden || shownToken.MatchString(g.body) {
		t.Errorf("a token: got %d", g.status)
	}
}

// Releases are made, seen, edited as new ones, and promoted after a look at who will see them; a version is demoted and offered again.
func TestReleases(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	app, _ := shop(t, v)
	has(t, v.page(app+"/releases"), "No releases yet")
	has(t, v.page(app+"/create-release"), "image: nginx")
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: IMAGE}]}\n"
	to, page := v.made(app+"/create-release", "file", "a.yaml", "text", strings.Replace(pod, "IMAGE", "shop/api:1.0.0", 1))
	has(t, page, "Release 1", "draft", "a.yaml", "shop/api:1.0.0", "1 image in it")
	if g := v.get(to + "/file?path=a.yaml"); g.status != 200 || !strings.Contains(g.body, "kind: Pod") ||
		!strings.Contains(g.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the file: got %d %v", g.status, g.header)
	}
	for _, wrong := range []string{"/file?path=../a", "/file", "?file=none", "/promote/x"} {
		if g := v.get(to + wrong); g.status != http.StatusNotFound {
			t.Errorf("%s: got %d", wrong, g.status)
		}
	}
	has(t, v.page(app+"/create-release?from=1&file=a.yaml"), "of release 1", "0 other files")
	second, _ := v.made(app+"/create-release", "from", "1", "file", "b.yaml", "text", strings.Replace(pod, "IMAGE", "busybox", 1))
	has(t, v.page(second), "Release 2", "a.yaml", "b.yaml", "busybox")
	channel := channelID(t, v, app, "Unstable")
	has(t, v.post(to+"/promote", "do", "preview", "channel", channel, "label", "1.0.0").body, "Who will see it", "1 customer",
		"Northwind Freight")
	has(t, v.post(to+"/promote", "do", "preview").body, "pick a channel")
	has(t, v.page(app), "nothing yet")
	_, page = v.made(to+"/promote", "do", "promote", "channel", channel, "label", "1.0.0", "notes", "first", "required", "yes")
	has(t, page, "1.0.0", "required", "offered", "first", "Demote")
	has(t, v.page(app+"/releases"), "Unstable 1.0.0", "promoted", "draft")
	unstable := app + "/channels/unstable"
	_, page = v.made(unstable, "do", "demote", "sequence", "1")
	has(t, page, "demoted", "Offer again")
	_, page = v.made(unstable, "do", "offer", "sequence", "1")
	has(t, page, "offered")
	v.made(unstable, "do", "save", "name", "Nightly", "semver", "yes", "registry", "pulls.example.com")
	has(t, v.page(unstable), "Nightly", "pulls.example.com")
	has(t, v.post(second+"/promote", "do", "promote", "channel", channel, "label", "two").body, "This was not accepted", "semantic versions")
	if g := v.post(unstable, "do", "archive"); g.status < 400 || !strings.Contains(g.body, "has customers") {
		t.Errorf("archiving a channel with customers: got %d", g.status)
	}
	v.made(app, "name", "Edge")
	v.made(app+"/channels/edge", "do", "archive")
	if g := v.post(app+"/delete", "name", "mysampleecrapp"); g.status < 400 {
		t.Errorf("deleting an application with a customer: got %d", g.status)
	}
	if g := v.post(app+"/delete", "name", "other", "force", "yes"); g.status != http.StatusBadRequest {
		t.Errorf("another slug: got %d", g.status)
	}
	_, page = v.made(app+"/delete", "name", "mysampleecrapp", "force", "yes")
	has(t, page, "No applications yet")
}

// The log has the refused pulls with the way to their reason, and its table has no cell that is a formula.
func TestPullLogOfCustomer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "shop/api").Push(t, "1", ocitest.NewImage(1, 300))
	v := visit(t, s).in(root)
	_, customer := shop(t, v)
	m := shownToken.FindStringSubmatch(v.post(customer, "do", "make", "token", "ci").body)
	v.send(http.MethodGet, "/v2/shop/api/manifests/1", nil, "User-Agent", "=cmd|' /C calc'!A0", "Authorization",
		"Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+m[1])))
	s.Restart(t) // which writes the lines that wait
	has(t, v.page(customer+"?failed=yes"), "403", "Explain", "ci", "shop/api")
	g := v.get(customer + "/pulls.csv?days=7")
	rows, err := csv.NewReader(strings.NewReader(g.body)).ReadAll()
	if err != nil || len(rows) < 2 || g.header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Fatalf("got %d, %v\n%s", g.status, err, g.body)
	}
	for _, cell := range rows[1] {
		if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
			t.Errorf("the cell %q is a formula", cell)
		}
	}
	v.made(customer, "do", "threshold", "size", "80 GB")
	has(t, v.page(customer), "event at 80.0 GB", "the threshold is")
}

// Names and texts of vendors, customers and releases are shown as text, in answers to forms that were refused too.
func TestVendorTextsAreNoMarkup(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	app, _ := v.made(base+"/applications", "name", evil, "slug", "evil")
	channel := channelID(t, v, app, "Unstable")
	customer, _ := v.made(app+"/create-customer", "name", evil, "email", evil, "customId", evil, "channel", channel)
	release, _ := v.made(app+"/create-release", "file", `"><script>alert(1)<.yaml`, "text", evil)
	v.made(release+"/promote", "do", "promote", "channel", channel, "label", evil, "notes", evil)
	v.made(app, "name", "b"+evil, "description", evil)
	v.made(customer+"/entitle", "do", "entitle", "repositories", "a/*", "tags", "x")
	query := url.QueryEscape(evil)
	pages := map[string]string{}
	for _, path := range []string{base + "/applications", base + "/applications?q=" + query, base + "/releases", base + "/customers", app,
		app + "/releases", app + "/customers", app + "/customers?q=" + query, app + "/customers?channel=" + query, app + "/installations",
		app + "/channels/unstable", release, release + "?file=" + query, release + "/promote", app + "/create-release?from=1&file=" + query,
		app + "/delete", customer, customer + "?on=" + query, customer + "?days=" + query, customer + "/settings", customer + "/archive",
		customer + "/entitle", customer + "/entitle?repository=" + query, customer + "/installations", app + "/channels/" + query,
		app + "/customers/" + query, base + "/applications/" + query} {
		pages[path] = v.get(path).body
	}
	for path, form := range map[string][]string{
		base + "/applications": {"name", evil, "slug", evil}, app: {"name", evil, "description", strings.Repeat(evil, 9)},
		app + "/channels/unstable": {"do", "save", "name", evil, "proxy", evil}, app + "/create-release": {"file", "../" + evil, "text", evil},
		release + "/promote":   {"do", "preview", "channel", channel, "label", evil, "notes", evil},
		app + "/delete":        {"name", evil},
		customer:               {"do", "make", "token", evil},
		customer + "/entitle":  {"do", "preview", "repositories", evil, "tags", evil, "versions", evil, "digests", evil, "before", evil},
		customer + "/settings": {"name", evil, "type", evil, "expires", evil, "pin-" + channel, evil, "channel", channel},
		customer + "/archive":  {"do", "archive", "name", evil},
	} {
		pages["POST "+path] = v.post(path, form...).body
	}
	for what, page := range pages {
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
			t.Errorf("%s: the page has markup of others", what)
		}
	}
}

// Lists have pages by key, filters on the server, and what another account sees is nothing.
func TestManyCustomers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	app, first := shop(t, v)
	channel := channelID(t, v, app, "Stable")
	for i := range 55 {
		v.made(app+"/create-customer", "name", fmt.Sprintf("Customer %02d", i), "channel", channel, "default", channel)
	}
	page := v.page(app + "/customers")
	has(t, page, "Customer 00", "Customer 49", "50 customers, by name, more follow")
	next := regexp.MustCompile(`href="([^"]*after=[^"]*)">Next`).FindStringSubmatch(page)
	if next == nil || strings.Contains(page, "Customer 50") {
		t.Fatalf("the first page has no next one, or too much")
	}
	has(t, v.page(strings.ReplaceAll(next[1], "&amp;", "&")), "Customer 54", "Northwind Freight", "First")
	page = v.page(app + "/customers?q=Customer+5")
	if n := strings.Count(page, `class="name"><a href`); n != 5 {
		t.Errorf("the prefix: got %d rows", n)
	}
	page = v.page(app + "/customers?channel=unstable")
	if n := strings.Count(page, `class="name"><a href`); n != 1 || !strings.Contains(page, "Northwind Freight") {
		t.Errorf("the channel: got %d rows", n)
	}
	has(t, v.page(app+"/customers?q=none"), "Nothing matches")
	other := visit(t, s).in(s.NewAccount(t, "111122223333"))
	for _, path := range []string{base + "/applications", app, app + "/customers", first, first + "/licence", first + "/pulls.csv"} {
		if g := other.get(path); strings.Contains(g.body, "Northwind") || strings.Contains(g.body, "kind: License") ||
			g.status == http.StatusInternalServerError {
			t.Errorf("%s by another account: got %d\n%s", path, g.status, g.body)
		}
	}
}

// A person with rights on one channel alone, and on one application alone, may use the buttons of these, and sees no others.
func TestRightsOnOneChannel(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	app, _ := shop(t, v)
	v.made(base+"/applications", "name", "Hidden")
	release, _ := v.made(app+"/create-release", "file", "a.yaml", "text", "kind: x\n")
	beta := channelID(t, v, app, "Beta")
	slug := app[strings.LastIndexByte(app, '/')+1:]
	arn := "arn:aws:ecrin::000000000000:application/" + slug
	half := visit(t, s).in(userWith(t, s, root, "beta-only", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["ecrin:DescribeApplications","ecrin:ListReleases","ecrin:DescribeRelease"],"Resource":"`+arn+`"},
		{"Effect":"Allow","Action":["ecrin:ListChannels","ecrin:ListPromotions","ecrin:UpdateChannel","ecrin:PromoteRelease"],"Resource":"`+arn+`",
			"Condition":{"StringEquals":{"ecrin:ChannelId":"`+beta+`"}}}]}`))
	page := half.page(base + "/applications")
	if has(t, page, "MySampleECRApp"); strings.Contains(page, "Hidden") {
		t.Error("the list has an application that the person may not see")
	}
	page = half.page(app)
	if has(t, page, "Beta"); strings.Contains(page, "Unstable") {
		t.Error("the page has a channel that the person may not see")
	}
	has(t, half.page(app+"/channels/beta"), `>Save channel</button>`, `You need ecrin:ArchiveChannel`)
	if strings.Contains(half.page(app+"/channels/beta"), "You need ecrin:UpdateChannel") {
		t.Error("a button is disabled that the operation allows")
	}
	if strings.Contains(half.page(release+"/promote"), "You need ecrin:PromoteRelease") {
		t.Error("a release cannot be promoted on the channel where it may be")
	}
	if g := half.post(release+"/promote", "do", "promote", "channel", beta, "label", "1.0.0"); g.status != http.StatusSeeOther {
		t.Errorf("promoting on the channel: got %d\n%s", g.status, g.body)
	}
	unstable := channelID(t, v, app, "Unstable")
	if g := half.post(release+"/promote", "do", "promote", "channel", unstable, "label", "1.0.1"); g.status != http.StatusForbidden {
		t.Errorf("promoting on another channel: got %d", g.status)
	}
	none := visit(t, s).in(userWith(t, s, root, "none", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["ecrin:DescribeApplications","ecrin:ListReleases","ecrin:DescribeRelease","ecrin:ListChannels"],"Resource":"*"}]}`))
	has(t, none.page(release+"/promote"), "You need ecrin:PromoteRelease")
	has(t, none.page(app+"/channels/beta"), "You need ecrin:UpdateChannel")
}
