package ociapi_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// packedChart returns a Helm chart of files, given as path and text.
func packedChart(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// chartShop is a server with the application shop, of which releases have charts.
type chartShop struct {
	*apptest.Server
	clock time.Time
}

func newChartShop(t *testing.T) *chartShop {
	t.Helper()
	s := &chartShop{clock: time.Now()}
	s.Server = apptest.Start(t, apptest.Options{Now: func() time.Time { return s.clock }})
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "shop"},
		new(ecrintypes.VendorApplicationResponse))
	return s
}

// release promotes a release with files to a channel.
func (s *chartShop) release(t *testing.T, channel string, files ...ecrintypes.ReleaseFile) int64 {
	t.Helper()
	var made ecrintypes.ReleaseResponse
	s.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: files}, &made)
	var out ecrintypes.PromoteReleaseResponse
	s.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: made.Release.Sequence,
		ChannelIds: []string{channel}}, &out)
	return out.Promotions[0].ChannelSequence
}

// customer makes a customer on channels and returns the id of its licence.
func (s *chartShop) customer(t *testing.T, label string, expires *awswire.Time, channels ...ecrintypes.CustomerChannel) string {
	t.Helper()
	var out ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: label, Channels: channels,
		ExpiresAt: expires}, &out)
	return out.LicenseId
}

// get makes a request of a customer.
func (s *chartShop) get(t *testing.T, license, path string) *ocitest.Answer {
	t.Helper()
	return ocitest.Client{Base: s.URL, HTTP: s.HTTP}.Do(t, http.MethodGet, "/v2/"+path, nil, "Authorization", basic("x", license))
}

// pulled is a chart that a customer has pulled.
type pulled struct {
	digest  string
	content []byte
	layers  int
}

// pull pulls a chart as helm does, and compares each digest with what was sent.
func (s *chartShop) pull(t *testing.T, license, path, tag string) pulled {
	t.Helper()
	a := s.get(t, license, path+"/manifests/"+tag)
	if a.Status != http.StatusOK {
		t.Fatalf("the manifest of %s:%s: got %d %s", path, tag, a.Status, a.Body)
	}
	out := pulled{digest: a.Header.Get("Docker-Content-Digest")}
	if got := ocitest.SHA256(a.Body); got != out.digest {
		t.Errorf("the manifest has the digest %s, and the header says %s", got, out.digest)
	}
	if again := s.get(t, license, path+"/manifests/"+out.digest); again.Status != 200 || !bytes.Equal(again.Body, a.Body) {
		t.Errorf("the manifest by its digest: got %d %s", again.Status, again.Body)
	}
	var m struct {
		Config struct{ Digest, MediaType string }
		Layers []struct {
			Digest, MediaType string
			Size              int
		}
	}
	if err := json.Unmarshal(a.Body, &m); err != nil {
		t.Fatal(err)
	}
	out.layers = len(m.Layers)
	for i, l := range append(m.Layers, struct {
		Digest, MediaType string
		Size              int
	}{m.Config.Digest, m.Config.MediaType, -1}) {
		b := s.get(t, license, path+"/blobs/"+l.Digest)
		if b.Status != 200 || ocitest.SHA256(b.Body) != l.Digest || l.Size >= 0 && len(b.Body) != l.Size {
			t.Errorf("the blob %s: got %d with %d bytes and the digest %s", l.Digest, b.Status, len(b.Body), ocitest.SHA256(b.Body))
		}
		if i == 0 {
			out.content = b.Body
		}
	}
	return out
}

// valuesOf returns the values.yaml of a chart.
func valuesOf(t *testing.T, packed []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("the chart has no values: %v", err)
		}
		if strings.HasSuffix(h.Name, "/values.yaml") {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

// secretIn returns the pull secret in a text of values.
func secretIn(t *testing.T, values string) string {
	t.Helper()
	_, rest, ok := strings.Cut(values, "dockerconfigjson: ")
	line, _, _ := strings.Cut(rest, "\n")
	text, err := base64.StdEncoding.DecodeString(line)
	if !ok || err != nil {
		t.Fatalf("the values have no pull secret: %v in %s", err, values)
	}
	return string(text)
}

const shopMetadata = "apiVersion: v2\nname: web\nversion: 1.0.0+b1\n"

// A customer gets the chart of its channel with its own pull secret in the values: always the same bytes for one licence, others for
// another. After the end of the licence it gets nothing.
func TestP17ChartsOfALicence(t *testing.T) {
	t.Parallel()
	s := newChartShop(t)
	content := packedChart(t, "web/Chart.yaml", shopMetadata, "web/values.yaml", "# of the shop\nreplicas: 1\n")
	first := s.release(t, "stable", ecrintypes.ReleaseFile{Path: "charts/web.tgz", Data: content},
		ecrintypes.ReleaseFile{Path: "a.tgz", Data: []byte("no chart")})
	end := awswire.Time{Time: s.clock.Add(time.Hour).Truncate(time.Second)}
	on := func(channel string) ecrintypes.CustomerChannel { return ecrintypes.CustomerChannel{ChannelId: channel} }
	big, small := s.customer(t, "Big", &end, on("stable")), s.customer(t, "Small", nil, on("stable"))
	other := s.customer(t, "Other", nil, on("beta"))
	one, two := s.pull(t, big, "shop/stable/web", "1.0.0_b1"), s.pull(t, big, "shop/stable/web", "1.0.0_b1")
	if one.digest != two.digest || !bytes.Equal(one.content, two.content) {
		t.Errorf("two pulls of a customer: got the digests %s and %s, want one", one.digest, two.digest)
	}
	values := valuesOf(t, one.content)
	secret := secretIn(t, values)
	auth := base64.StdEncoding.EncodeToString([]byte("LICENSE_ID:" + big))
	if !strings.Contains(secret, auth) || !strings.Contains(values, "# of the shop\nreplicas: 1\n") ||
		strings.Count(values, "dockerconfigjson") != 2 || !strings.Contains(values, "replicated:") || !strings.Contains(values, "ecrin:") {
		t.Errorf("the values of the chart are %s with the secret %s", values, secret)
	}
	its := s.pull(t, small, "shop/stable/web", "1.0.0_b1")
	if its.digest == one.digest || strings.Contains(secretIn(t, valuesOf(t, its.content)), auth) {
		t.Errorf("another customer got the digest %s, or the secret of the first", its.digest)
	}
	if a := s.get(t, small, "shop/stable/web/manifests/"+one.digest); a.Status == 200 {
		t.Errorf("the chart of one customer by its digest: another one got %d %s", a.Status, a.Body)
	}
	a := s.get(t, big, "shop/stable/web/tags/list")
	if a.Status != 200 || strings.TrimSpace(string(a.Body)) != `{"name":"shop/stable/web","tags":["1.0.0_b1"]}` {
		t.Errorf("the versions: got %d %s", a.Status, a.Body)
	}
	for label, c := range map[string]struct {
		license, path string
		want          int
	}{
		"a customer of another channel": {other, "shop/stable/web/manifests/1.0.0_b1", 403},
		"no login":                      {"", "shop/stable/web/manifests/1.0.0_b1", 401},
		"another version":               {big, "shop/stable/web/manifests/9.0.0", 404},
		"another chart":                 {big, "shop/stable/db/manifests/1.0.0", 403},
		"another application":           {big, "other/stable/web/manifests/1.0.0_b1", 403},
		"an unknown blob":               {big, "shop/stable/web/blobs/sha256:" + strings.Repeat("0", 64), 404},
	} {
		if a := s.get(t, c.license, c.path); a.Status != c.want {
			t.Errorf("%s: got %d %s, want %d", label, a.Status, a.Body, c.want)
		}
	}

	s.Operator(t, "DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: "shop", ChannelId: "stable",
		ChannelSequence: first}, new(ecrintypes.DemoteReleaseResponse))
	if a := s.get(t, big, "shop/stable/web/manifests/1.0.0_b1"); a.Status == 200 {
		t.Errorf("the chart of a demoted release: got %d", a.Status)
	}
	s.release(t, "stable", ecrintypes.ReleaseFile{Path: "web.tgz", Data: content})
	s.pull(t, big, "shop/stable/web", "1.0.0_b1")
	s.clock = end.Time
	for _, path := range []string{"manifests/1.0.0_b1", "manifests/" + one.digest, "tags/list"} {
		if a := s.get(t, big, "shop/stable/web/"+path); a.Status != http.StatusUnauthorized {
			t.Errorf("%s after the end of the licence: got %d, want 401", path, a.Status)
		}
	}
}

// A signed chart is passed as it is, with its signature, unless the vendor says otherwise in it; so is one that must not be changed, and
// one whose values are not YAML.
func TestSignedChartsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	s := newChartShop(t)
	license := s.customer(t, "Big", nil, ecrintypes.CustomerChannel{ChannelId: "stable"})
	note := func(name, text string) string {
		return "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\nannotations:\n  ecrin.dev/pull-secret: " + text + "\n"
	}
	charts := map[string]struct {
		content []byte
		signed  bool
		same    bool
	}{
		"signed":  {packedChart(t, "signed/Chart.yaml", note("signed", "auto"), "signed/values.yaml", "a: 1\n"), true, true},
		"always":  {packedChart(t, "always/Chart.yaml", note("always", "always"), "always/values.yaml", "a: 1\n"), true, false},
		"never":   {packedChart(t, "never/Chart.yaml", note("never", "never"), "never/values.yaml", "a: 1\n"), false, true},
		"invalid": {packedChart(t, "invalid/Chart.yaml", note("invalid", "auto"), "invalid/values.yaml", "a: [\n"), false, true},
		"bare":    {packedChart(t, "bare/Chart.yaml", note("bare", "auto")), false, false},
	}
	var files []ecrintypes.ReleaseFile
	for label, c := range charts {
		files = append(files, ecrintypes.ReleaseFile{Path: label + ".tgz", Data: c.content})
		if c.signed {
			files = append(files, ecrintypes.ReleaseFile{Path: label + ".tgz.prov", Content: "a signature of " + label})
		}
	}
	s.release(t, "stable", files...)
	for label, c := range charts {
		got := s.pull(t, license, "shop/stable/"+label, "1.0.0")
		if same := bytes.Equal(got.content, c.content); same != c.same || (got.layers == 2) != (c.signed && c.same) {
			t.Errorf("%s: got the same bytes: %v, with %d layers; want the same: %v", label, same, got.layers, c.same)
		}
	}
}
