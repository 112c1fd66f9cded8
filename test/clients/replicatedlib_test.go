package clients_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packChart writes a packed chart with a name and a version.
func packChart(t *testing.T, path, label, version string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	text := "apiVersion: v2\nname: " + label + "\nversion: " + version + "\n"
	if err := w.WriteHeader(&tar.Header{Name: label + "/Chart.yaml", Mode: 0o600, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// replicatedLib is the public client of vendors, a library of npm, as its pipelines use it: with an address and a token. A customer that it
// makes pulls with the licence that it returns.
func replicatedLib(s *session) {
	t := s.t
	modules := filepath.Join(workDir, "bin", "replicated-lib")
	if _, err := os.Stat(modules); err != nil {
		t.Skip("replicated-lib is not installed, which needs npm: tools/clients/install npm")
	}
	ecrin := func(args ...string) string { return s.cmd("ecrin", append(args, "--data", s.s.dir)...).ok() }
	const app, repo = "lib-shop", "lib-shop/api"
	s.repo(repo)
	img := s.pushImage(repo, "1.0.0")
	ecrin("app", "create", "Lib Shop")
	files := mkdir(t, s.home, "files")
	write(t, s.path("files/app.yaml"), "apiVersion: v1\nkind: Pod\nmetadata: {name: api}\nspec:\n  containers:\n  - name: api\n    image: "+
		s.s.ref(repo)+":1.0.0\n")
	write(t, s.path("files/more/service.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: api}\n")
	write(t, s.path("files/.hidden.yaml"), "not: sent\n")
	packChart(t, s.path("files/web-1.2.3.tgz"), "web", "1.2.3")
	packChart(t, s.path("other-4.5.6.tgz"), "other", "4.5.6")
	script, err := filepath.Abs("testdata/replicated-lib.js")
	if err != nil {
		t.Fatal(err)
	}
	root, scheme := s.s.root(t, account), "https://"
	if s.s.plain {
		scheme = "http://"
	}
	text := s.cmd("node", script).with("NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+s.s.bundle, "ENDPOINT="+scheme+s.host()+"/vendor/v3",
		"TOKEN="+root["AWS_ACCESS_KEY_ID"]+":"+root["AWS_SECRET_ACCESS_KEY"], "APP="+app, "FILES="+files,
		"CHART="+s.path("other-4.5.6.tgz")).ok()
	type channel struct {
		ID, Name, Slug  string
		ReleaseSequence int64
	}
	type release struct {
		Sequence int64
		Charts   []struct{ Name, Version, Status string }
	}
	type customer struct{ CustomerID, LicenseID, License string }
	var got struct {
		App struct{ ID, Name, Slug string }

		Channel, BySlug, ByName, Promoted channel
		Release, Chart                    release
		Customer, Forever                 customer
		Clusters                          []any

		NoApp, Again, NoRelease, NoType, Used, Archived, ByLicence                         string
		NoCluster, NoVersions, NoKubeconfig, NoRemove, NoUpgrade, NoPort, NoAddon, NoStore string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("the script printed %s: %v", text, err)
	}
	ksuid := regexp.MustCompile(`^[a-zA-Z0-9]{27}$`)
	if got.App.Slug != app || got.App.Name != "Lib Shop" || !ksuid.MatchString(got.App.ID) {
		t.Errorf("the application: got %+v", got.App)
	}
	if c := got.Channel; !ksuid.MatchString(c.ID) || c.Slug != "nightly-builds" || got.BySlug.ID != c.ID || got.ByName.ID != c.ID ||
		got.Promoted.ReleaseSequence != 2 {
		t.Errorf("the channel: got %+v, by slug %+v, by name %+v, and with releases %+v", c, got.BySlug, got.ByName, got.Promoted)
	}
	for i, r := range []release{got.Release, got.Chart} {
		if want := []string{"web", "other"}[i]; r.Sequence != int64(i+1) || len(r.Charts) != 1 || r.Charts[0].Name != want ||
			r.Charts[0].Status != "pushed" {
			t.Errorf("release %d: got %+v, want the chart %s", i+1, r, want)
		}
	}
	for _, c := range []customer{got.Customer, got.Forever} {
		if !ksuid.MatchString(c.CustomerID) || !ksuid.MatchString(c.LicenseID) || !strings.Contains(c.License, "licenseID: "+c.LicenseID) ||
			!strings.Contains(c.License, "channelName: Nightly Builds") {
			t.Errorf("a customer: got %+v", c)
		}
	}
	if len(got.Clusters) != 0 {
		t.Errorf("clusters before any installation: got %v", got.Clusters)
	}
	for what, one := range map[string][2]string{
		"an unknown application": {got.NoApp, "no-such-app"}, "a channel twice": {got.Again, "409"}, "an unknown release": {got.NoRelease, "404"},
		"an unknown type of licence": {got.NoType, "400"}, "archiving a channel with a customer": {got.Used, "409"},
		"an archived channel": {got.Archived, "spare"}, "a licence as token": {got.ByLicence, "401"},
		"a cluster": {got.NoCluster, "404"}, "versions of clusters": {got.NoVersions, "404"}, "a kubeconfig": {got.NoKubeconfig, "404"},
		"removing a cluster": {got.NoRemove, "404"}, "upgrading a cluster": {got.NoUpgrade, "404"}, "a port of a cluster": {got.NoPort, "404"},
		"a database of a cluster": {got.NoAddon, "404"}, "a store of a cluster": {got.NoStore, "404"},
	} {
		if !strings.Contains(one[0], one[1]) {
			t.Errorf("%s: got %q, want an error with %s", what, one[0], one[1])
		}
	}
	if !strings.Contains(got.NoCluster, "no path") {
		t.Errorf("a cluster: got %q, want to be told what this server lacks", got.NoCluster)
	}
	if list := ecrin("customer", "list", app); !strings.Contains(list, "Big") || strings.Contains(list, "Forever") {
		t.Errorf("the customers: got %s, want Big alone", list)
	}
	if list := ecrin("channel", "list", app); strings.Contains(list, "Spare") {
		t.Errorf("the channels: got %s, want no archived one", list)
	}

	ecrin("entitlement", "add", app, "--customer", "Big", "--repository", repo)
	pull := func(licence string) *call {
		c := newSession(t, s.s)
		c.storeLogin(licence)
		return c.cmd("crane", "digest", s.s.ref(repo)+":1.0.0")
	}
	if digest := pull(got.Customer.LicenseID).ok(); digest != img.index.String() {
		t.Errorf("the customer pulls %s, want %s", digest, img.index)
	}
	pull(got.Forever.LicenseID).fails()
}
