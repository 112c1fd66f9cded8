package updateapi_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// shop is a server with the application shop, and a clock.
type shop struct {
	*apptest.Server
	t        *testing.T
	clock    time.Time
	releases int64
}

func newShop(t *testing.T, change func(*config.Config)) *shop {
	t.Helper()
	s := &shop{t: t, clock: time.Now().Truncate(time.Second)}
	s.Server = apptest.Start(t, apptest.Options{Now: func() time.Time { return s.clock }, Config: change})
	s.do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, new(ecrintypes.VendorApplicationResponse))
	return s
}

func (s *shop) do(operation string, in, out any) {
	s.t.Helper()
	s.Operator(s.t, operation, in, out)
}

// promote makes a release of one file, and promotes it to channels.
func (s *shop) promote(label string, required bool, channels ...string) {
	s.t.Helper()
	var r ecrintypes.ReleaseResponse
	s.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop",
		Files: []ecrintypes.ReleaseFile{{Path: "web/deployment.yaml", Content: "# " + label + "\n"}, {Path: "logo.bin", Data: []byte{0xff, 0}},
			{Path: "chart.yaml", Content: "apiVersion: kots.io/v1beta2\nkind: HelmChart\nspec: {chart: {name: web}}\n"}}}, &r)
	s.releases = r.Release.Sequence
	s.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: r.Release.Sequence, ChannelIds: channels,
		VersionLabel: label, Required: &required, ReleaseNotes: "notes of " + label}, new(ecrintypes.PromoteReleaseResponse))
}

// customer makes a customer on channels, the first its default, and returns its id and the id of its licence.
func (s *shop) customer(name string, channels ...ecrintypes.CustomerChannel) (id, password string) {
	s.t.Helper()
	var out ecrintypes.CreateCustomerResponse
	s.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: name, Channels: channels}, &out)
	return out.Customer.CustomerId, out.LicenseId
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *shop) get(path, password string, headers ...string) answer {
	s.t.Helper()
	return s.send(http.MethodGet, path, password, headers...)
}

// at is get at a host.
func (s *shop) at(host, path, password string) answer {
	s.t.Helper()
	return s.send(http.MethodGet, path, password, "Host", host)
}

func (s *shop) send(method, path, password string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if password != "" {
		r.SetBasicAuth(password, password)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	r.Host = r.Header.Get("Host") // "" for that of the address
	resp, err := s.HTTP.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// labels returns the versions that a check offers.
func (s *shop) labels(password, query string) string {
	s.t.Helper()
	a := s.get("/release/shop/pending?isSemverSupported=true&isEmbeddedCluster=false&licenseSequence=1&"+query, password)
	var body struct {
		ChannelReleases []struct {
			ChannelSequence, ReleaseSequence int64
			VersionLabel, ReleaseNotes       string
			IsRequired                       bool
			CreatedAt                        time.Time
		}
	}
	if a.status != 200 || json.Unmarshal([]byte(a.body), &body) != nil {
		s.t.Fatalf("the check %s: got %+v", query, a)
	}
	if _, err := time.Parse(time.RFC3339, a.header.Get("X-Replicated-UpdateCheckAt")); err != nil {
		s.t.Errorf("the check has the headers %v", a.header)
	}
	var all []string
	for _, r := range body.ChannelReleases {
		all = append(all, fmt.Sprintf("%d=%s", r.ChannelSequence, r.VersionLabel))
		if r.ReleaseNotes != "notes of "+r.VersionLabel || r.CreatedAt.IsZero() || r.ReleaseSequence == 0 {
			s.t.Errorf("the version is %+v", r)
		}
		if r.IsRequired {
			all[len(all)-1] += "!"
		}
	}
	return strings.Join(all, " ")
}

func on(slug string, pinned int64) ecrintypes.CustomerChannel {
	yes := true
	return ecrintypes.CustomerChannel{ChannelId: slug, IsDefault: &yes, PinnedSequence: &pinned}
}

func TestCheckForUpdates(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	_, big := s.customer("Big", on("stable", 0))
	_, pinned := s.customer("Pinned", on("stable", 2))
	if got := s.labels(big, ""); got != "" {
		t.Errorf("a channel without versions offers %q", got)
	}
	s.promote("1", false, "stable", "beta")
	s.promote("2", true, "stable")
	s.promote("3", false, "stable")
	for query, want := range map[string]string{
		"":                                 "1=1 2=2! 3=3",
		"channelSequence=":                 "1=1 2=2! 3=3",
		"channelSequence=1":                "2=2! 3=3",
		"channelSequence=1&sortOrder=desc": "3=3 2=2!",
		"channelSequence=3":                "",
		"channelSequence=99":               "",
		"selectedChannelId=stable":         "1=1 2=2! 3=3",
		"channelSequence=2&lastUpdateCheckAt=2026-01-01T00%3A00%3A00Z": "3=3",
	} {
		if got := s.labels(big, query); got != want {
			t.Errorf("the check with %q offers %q, want %q", query, got, want)
		}
	}
	if got := s.labels(pinned, ""); got != "1=1 2=2!" {
		t.Errorf("a customer pinned to 2 is offered %q", got)
	}
	s.do("DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: "shop", ChannelId: "stable", ChannelSequence: 3},
		new(ecrintypes.DemoteReleaseResponse))
	if got := s.labels(big, "channelSequence=1"); got != "2=2!" {
		t.Errorf("after 3 was demoted: %q", got)
	}
	if a := s.get("/release/shop?channelSequence=3", big); a.status != 404 ||
		!strings.Contains(a.body, "the version 3 of the channel Stable is not offered") {
		t.Errorf("a demoted version: got %+v", a)
	}
	for path, want := range map[string]int{
		"/release/shop/pending?channelSequence=x":        400,
		"/release/shop/pending?channelSequence=-1":       400,
		"/release/shop/pending?selectedChannelId=beta":   403,
		"/release/shop/beta":                             403,
		"/release/other/pending":                         403,
		"/release/other":                                 403,
		"/license/other":                                 403,
		"/release/shop?channelSequence=9":                404,
		"/release/":                                      404,
		"/release/shop/stable/more":                      404,
		"/license/shop/stable":                           404,
		"/release/shop/stable":                           200,
		"/license/shop?licenseSequence=x":                400,
		"/release/shop/pending?selectedChannelId=stable": 200,
	} {
		if a := s.get(path, big); a.status != want || want != 200 && (a.body == "" || strings.Contains(a.body, "<")) {
			t.Errorf("%s: got %+v, want %d", path, a, want)
		}
	}
	if a := s.send(http.MethodPost, "/release/shop", big); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: got %+v", a)
	}
	if a := s.send(http.MethodHead, "/release/shop", big); a.status != 200 || a.body != "" ||
		a.header.Get("X-Replicated-VersionLabel") != "2" {
		t.Errorf("HEAD: got %+v", a)
	}
}

func TestUpdatesBySemanticVersion(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	yes := true
	s.do("UpdateChannel", &ecrintypes.UpdateChannelRequest{ApplicationSlug: "shop", ChannelId: "stable", SemverRequired: &yes},
		new(ecrintypes.ChannelResponse))
	_, big := s.customer("Big", on("stable", 0))
	for _, label := range []string{"1.0.0", "2.0.0", "1.0.1", "2.1.0-rc.1"} {
		s.promote(label, false, "stable")
	}
	for query, want := range map[string]string{
		"":                  "1=1.0.0 3=1.0.1 2=2.0.0 4=2.1.0-rc.1",
		"channelSequence=1": "3=1.0.1 2=2.0.0 4=2.1.0-rc.1",
		"channelSequence=2": "4=2.1.0-rc.1",
		"channelSequence=3": "2=2.0.0 4=2.1.0-rc.1",
	} {
		if got := s.labels(big, query); got != want {
			t.Errorf("the check with %q offers %q, want %q", query, got, want)
		}
	}
	if a := s.get("/release/shop", big); a.header.Get("X-Replicated-VersionLabel") != "2.1.0-rc.1" {
		t.Errorf("the latest version: got %+v", a.header)
	}
}

// files returns the names and contents of a compressed archive.
func files(t *testing.T, archive string) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		var b bytes.Buffer
		if err == nil {
			_, err = b.ReadFrom(r)
		}
		if err != nil || h.Typeflag != tar.TypeReg {
			t.Fatalf("%+v, %v", h, err)
		}
		all[h.Name] = b.String()
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *config.Config) {
		c.LicenseEndpoint, c.ProxyDomain = "https://updates.example.com/", "proxy.example.com"
	})
	proxy := "images.stable.example.com"
	_, big := s.customer("Big", on("stable", 0), ecrintypes.CustomerChannel{ChannelId: "beta"})
	s.promote("1.0", false, "stable")
	s.do("UpdateChannel", &ecrintypes.UpdateChannelRequest{ApplicationSlug: "shop", ChannelId: "stable", ProxyDomain: &proxy},
		new(ecrintypes.ChannelResponse))
	s.promote("2.0", true, "stable")
	for path, want := range map[string]string{"?channelSequence=1&versionLabel=1.0": "proxy.example.com", "": proxy, "/stable": proxy} {
		a := s.get("/release/shop"+path, big)
		label := "2.0"
		if want != proxy {
			label = "1.0"
		}
		if a.status != 200 {
			t.Fatalf("%s: got %+v", path, a)
		}
		got := files(t, a.body)
		if a.status != 200 || len(got) != 3 || got["web/deployment.yaml"] != "# "+label+"\n" || got["logo.bin"] != "\xff\x00" {
			t.Errorf("%s: got %d with the files %q", path, a.status, got)
		}
		h := map[string]string{"VersionLabel": label, "ChannelName": "Stable", "IsRequired": fmt.Sprint(label == "2.0"),
			"ReplicatedProxyDomain": want, "ReplicatedRegistryDomain": strings.TrimPrefix(s.URL, "http://"),
			"ReplicatedAppDomain": "updates.example.com", "ReplicatedChartNames": "web", "ReleasedAt": s.clock.UTC().Format(time.RFC3339)}
		for key, value := range h {
			if got := a.header.Get("X-Replicated-" + key); got != value {
				t.Errorf("%s: %s is %q, want %q", path, key, got, value)
			}
		}
		if len(a.header.Get("X-Replicated-ChannelID")) != 27 || a.header.Get("X-Replicated-ChannelSequence") == "" {
			t.Errorf("%s: got %v", path, a.header)
		}
		if again := s.get("/release/shop"+path, big); again.body != a.body {
			t.Errorf("%s: two downloads differ", path)
		}
	}
	if a := s.get("/release/shop/beta", big); a.status != 404 || !strings.Contains(a.body, "the channel Beta has no version") {
		t.Errorf("a channel without versions: got %+v", a)
	}
}

func TestOwnLicense(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *config.Config) { c.LicenseEndpoint = "https://updates.example.com" })
	_, big := s.customer("Big", on("stable", 0))
	var key ecrintypes.GetLicenseKeyResponse
	s.do("GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &key)
	root, err := license.ParsePublicPEM(key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]license.Version{"": license.V1, "v1beta1": license.V1, "v1beta2": license.V2} {
		a := s.get("/license/shop?licenseSequence=1", big, "X-Replicated-License-Version", header)
		got, err := license.Parse([]byte(a.body), root)
		if err != nil || got.Version != want || got.ID != big || got.Endpoint != "https://updates.example.com" || len(got.Changed) != 0 ||
			got.ProxyDomain != strings.TrimPrefix(s.URL, "http://") {
			t.Errorf("the licence with %q: got %+v, %v", header, got, err)
		}
	}
	if a := s.get("/license/shop", big, "X-Replicated-License-Version", "v9"); a.status != 400 {
		t.Errorf("an unknown version: got %+v", a)
	}
}

// The update check of row P7: a licence that is expired or archived, or that no customer has, gets no updates.
func TestP7NoUpdatesAfterTheEndOfALicence(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	id, big := s.customer("Big", on("stable", 0))
	s.promote("1", false, "stable")
	end := s.clock.Add(time.Minute)
	s.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, ExpiresAt: &awswire.Time{Time: end}},
		new(ecrintypes.CustomerResponse))
	paths := []string{"/release/shop/pending", "/release/shop", "/license/shop"}
	all := func(what, password string, want int, text string) {
		t.Helper()
		for _, path := range paths {
			a := s.get(path, password)
			if a.status != want || !strings.Contains(a.body, text) || want == 401 && a.header.Get("Www-Authenticate") != `Basic realm="ecrin"` {
				t.Errorf("%s: %s: got %d %s %v, want %d with %q", what, path, a.status, a.body, a.header, want, text)
			}
		}
	}
	all("a second before its end", big, 200, "")
	s.clock = end
	all("at its end", big, 401, "the licence has expired on "+end.UTC().Format(time.RFC3339))
	yes := true
	s.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, NeverExpires: &yes},
		new(ecrintypes.CustomerResponse))
	all("without an end", big, 200, "")
	s.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, Archived: &yes},
		new(ecrintypes.CustomerResponse))
	all("archived", big, 401, "the licence is not valid")
	all("made up", strings.Repeat("a", 27), 401, "the licence is not valid")
	all("another form", "password", 401, "the licence is not valid")
	all("no credentials", "", 401, "send the id of the licence")
	var lines []string
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, big) {
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		t.Errorf("the log has the licence: %s", lines[0])
	}
	if a := s.get("/release/shop/pending", "a"+strings.Repeat("b", 60_000)); a.status != 401 && a.status != 431 {
		t.Errorf("a long password: got %d", a.status)
	}
}

// Many versions: the newest 200 are offered, and before them those that are required.
func TestAnAnswerIsBounded(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	_, big := s.customer("Big", on("stable", 0))
	s.promote("1", true, "stable")
	no := false
	for i := 2; i <= 230; i++ {
		s.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: s.releases, ChannelIds: []string{"stable"},
			VersionLabel: fmt.Sprint(i), Required: &no, ReleaseNotes: "notes of " + fmt.Sprint(i)}, new(ecrintypes.PromoteReleaseResponse))
	}
	got := strings.Fields(s.labels(big, ""))
	if len(got) != 201 || got[0] != "1=1!" || got[1] != "31=31" || !slices.Contains(got, "230=230") {
		t.Errorf("got %d versions, %v", len(got), got[:min(3, len(got))])
	}
}

// A licence has one limit of requests for updates and pulls together, whose answer says when to come again, and which is not that of
// others. The use of a token is noted.
func TestRateOfUpdates(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *config.Config) { c.CustomerRequests = 6 })
	s.promote("1.0.0", false, "stable")
	id, a := s.customer("a", ecrintypes.CustomerChannel{ChannelId: "stable"})
	_, b := s.customer("b", ecrintypes.CustomerChannel{ChannelId: "stable"})
	var token ecrintypes.CustomerTokenResponse
	s.do("CreateCustomerToken", &ecrintypes.CustomerTokenRequest{ApplicationSlug: "shop", CustomerId: id, TokenName: "east"}, &token)
	const path = "/release/shop/pending?channelSequence=0"
	for i, password := range []string{a, token.Token, a, a, a} {
		if got := s.get(path, password); got.status != http.StatusOK {
			t.Fatalf("request %d: got %d %s", i, got.status, got.body)
		}
	}
	if got := s.get("/v2/", a); got.status != http.StatusOK {
		t.Errorf("the sixth, at the registry: got %d %s", got.status, got.body)
	}
	for _, path := range []string{path, "/release/shop", "/license/shop", "/v2/"} {
		if got := s.get(path, token.Token); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
			t.Errorf("%s beyond the limit: got %d %s, want 429 with Retry-After", path, got.status, got.body)
		}
	}
	if got := s.get(path, b); got.status != http.StatusOK {
		t.Errorf("another licence: got %d %s", got.status, got.body)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var out ecrintypes.ListCustomerTokensResponse
		s.do("ListCustomerTokens", &ecrintypes.CustomerRequest{ApplicationSlug: "shop", CustomerId: id}, &out)
		if len(out.Tokens) == 1 && out.Tokens[0].LastUsedAt != nil && out.Tokens[0].LastAddress == "127.0.0.1" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the use of a token was not noted: %+v", out.Tokens)
		}
	}
}

// At the host of an application, a licence of another one gets 403 on every path.
func TestHostOfAnotherApplication(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.promote("1.0.0", false, "stable")
	_, own := s.customer("Big", ecrintypes.CustomerChannel{ChannelId: "stable"})
	s.do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, new(ecrintypes.VendorApplicationResponse))
	var other ecrintypes.CreateCustomerResponse
	s.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "other", CustomerName: "Small"}, &other)
	s.do("PutApplicationHost", &ecrintypes.ApplicationHostRequest{ApplicationSlug: "shop", Host: "images.example.com"},
		new(ecrintypes.ApplicationHostResponse))
	for path, want := range map[string]int{"/release/%s/pending": 200, "/release/%s/stable": 200, "/release/%s": 200, "/license/%s": 200} {
		if a := s.at("images.example.com", fmt.Sprintf(path, "shop"), own); a.status != want {
			t.Errorf("%s with the own licence: got %d %s, want %d", path, a.status, a.body, want)
		}
		for _, slug := range []string{"shop", "other"} {
			if a := s.at("images.example.com", fmt.Sprintf(path, slug), other.LicenseId); a.status != 403 {
				t.Errorf("%s of %s with the licence of another application: got %d %s, want 403", path, slug, a.status, a.body)
			}
		}
	}
	if a := s.get("/release/other/pending", other.LicenseId); a.status != 200 {
		t.Errorf("at the host of all: got %d %s, want 200", a.status, a.body)
	}
}
