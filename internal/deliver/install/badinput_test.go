package install_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
)

func readAll(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v: %s", resp.Status, err, body)
	}
	return body
}

func licenseID(t *testing.T, text []byte) string {
	t.Helper()
	l, err := license.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return l.ID
}

// dockerConfig returns what the first secret of a file has.
func dockerConfig(t *testing.T, text string) string {
	t.Helper()
	var secret struct{ Data map[string]string }
	if err := yaml.Unmarshal([]byte(text), &secret); err != nil {
		t.Fatal(err)
	}
	config, err := base64.StdEncoding.DecodeString(secret.Data[".dockerconfigjson"])
	if err != nil {
		t.Fatal(err)
	}
	return string(config)
}

// Licences that are forged, of another vendor, damaged or expired are refused before anything is written. One that was edited counts as it
// was signed.
func TestLicencesThatAreNotRight(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := license.NewSigner(own, own)
	if err != nil {
		t.Fatal(err)
	}
	l, err := license.Read(fx.license)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := license.Encode(l, license.V1, signer)
	if err != nil {
		t.Fatal(err)
	}
	other, err := license.PublicPEM(&own.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	create := func(text []byte, key string) error {
		i, err := install.Create(fx.dir, text, key, fx.settings(), fx.options())
		if err == nil {
			i.Close()
		}
		return err
	}
	for _, c := range []struct {
		what, key string
		text      []byte
		want      string
	}{
		{"forged", fx.key, forged, "signed by another vendor's key"},
		{"verified by another key", other, fx.license, "signed by another vendor's key"},
		{"damaged", fx.key, bytes.Replace(fx.license, []byte("signature: "), []byte("signature: AAAA"), 1), "signature"},
		{"without a signature", fx.key, []byte("apiVersion: kots.io/v1beta1\nkind: License\nspec: {licenseID: x}\n"), "is not signed"},
		{"with no key", "key", fx.license, "not in PEM form"},
		{"empty", fx.key, nil, "no YAML file"},
	} {
		if err := create(c.text, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a licence that is %s: got %v, want %q", c.what, err, c.want)
		}
	}
	end := fx.clock.Add(time.Minute)
	fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer,
		ExpiresAt: &awswire.Time{Time: end}}, new(ecrintypes.CustomerResponse))
	ends := fx.getLicense()
	fx.clock = end
	if err := create(ends, fx.key); err == nil || !strings.HasPrefix(err.Error(), "License is expired") {
		t.Errorf("at its end: got %v", err)
	}
	later := bytes.Replace(ends, []byte(end.UTC().Format(time.RFC3339)), []byte("2099-01-01T00:00:00Z"), 1)
	if err := create(later, fx.key); err == nil || !strings.HasPrefix(err.Error(), "License is expired") {
		t.Errorf("with another end than the signed one: got %v", err)
	}
	if _, err := os.Stat(fx.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	fx.clock = end.Add(-time.Second)
	if err := create(ends, fx.key); err != nil {
		t.Errorf("a second before its end: got %v", err)
	}
	edited := bytes.Replace(fx.license, []byte("customerName: Big"), []byte("customerName: Small"), 1)
	if v, err := install.Verify(edited, fx.key, fx.clock); err != nil || v.CustomerName != "Big" || len(v.Changed) != 1 {
		t.Errorf("an edited licence: got %+v, %v", v, err)
	}
}

// A later licence must be signed by the same vendor and have the same id. It makes a version.
func TestLicenseChange(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", "nginx", false)
	i := fx.create()
	var c ecrintypes.CreateCustomerResponse
	fx.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Other"}, &c)
	var l ecrintypes.GetLicenseResponse
	fx.do("GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "shop", CustomerId: c.Customer.CustomerId}, &l)
	if _, err := i.SetLicense(t.Context(), []byte(l.License)); err == nil || !strings.Contains(err.Error(), "license ids do not match") {
		t.Errorf("the licence of another customer: got %v", err)
	}
	if changed, err := i.SetLicense(t.Context(), fx.license); err != nil || changed {
		t.Errorf("the same licence: got %v, %v", changed, err)
	}
	fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer,
		Fields: []ecrintypes.LicenseField{{Name: "seats", Value: "7", ValueType: "Integer"}}}, new(ecrintypes.CustomerResponse))
	found, err := i.Check(t.Context())
	if err != nil || len(found) != 1 || found[0].Source != install.LicenseChange {
		t.Errorf("got %+v, %v", found, err)
	}
	if got := i.License().Fields["seats"].Value.String(); got != "7" {
		t.Errorf("the field is %q", got)
	}
	if changed, err := i.SetLicense(t.Context(), fx.license); err != nil || changed {
		t.Errorf("an earlier licence: got %v, %v", changed, err)
	}
}

// archive packs entries as a server of updates sends them.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		data := make([]byte, h.Size)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a server of updates answers that is wrong is refused within bounds, and changes nothing.
func TestServersOfUpdatesThatAreWrong(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", "nginx", false)
	var answer func(http.ResponseWriter, *http.Request) bool
	fx.license, _ = fx.proxied(func(w http.ResponseWriter, r *http.Request) bool { return answer != nil && answer(w, r) })
	i := fx.create()
	fx.release("2.0", "nginx", false)
	pending := func(status int, at, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/release/shop/pending" {
				return false
			}
			if at != "" {
				w.Header().Set("X-Replicated-UpdateCheckAt", at)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	download := func(body []byte, headers ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/release/shop" {
				return false
			}
			w.Header().Set("X-Replicated-ChannelSequence", "2")
			for n := 0; n < len(headers); n += 2 {
				w.Header().Set(headers[n], headers[n+1])
			}
			_, _ = w.Write(body)
			return true
		}
	}
	const now = "2026-11-29T00:00:00Z"
	file := tar.Header{Name: "a.yaml", Mode: 0o644, Size: 10, Typeflag: tar.TypeReg}
	named := func(name string) tar.Header { h := file; h.Name = name; return h }
	zeros := tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 65 << 20}
	var many []tar.Header
	for n := range 1001 {
		many = append(many, tar.Header{Name: strings.Repeat("a", n%200+1) + string(rune('a'+n/200)), Typeflag: tar.TypeReg})
	}
	for _, c := range []struct {
		what   string
		answer func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		{"garbage", pending(200, now, "<html>"), "not that of a server of updates"},
		{"no time", pending(200, "", `{"channelReleases":[]}`), "no time of the check"},
		{"500", pending(500, now, "it burns\x1b[31m\nbadly"), "answers 500: it burns[31m badly"},
		{"503 without text", pending(503, "", ""), "503 Service Unavailable"},
		{"a long error", pending(400, "", strings.Repeat("x", 1<<20)), "xxx…"},
		{"a huge check", pending(200, now, strings.Repeat(" ", 9<<20)), "larger than 8388608 bytes"},
		{"too many versions", pending(200, now, `{"channelReleases":[`+strings.Repeat(`{"channelSequence":2},`, 1001)+`{"channelSequence":3}]}`),
			"offers 1002 versions"},
		{"no sequence", pending(200, now, `{"channelReleases":[{"versionLabel":"x"}]}`), "has no sequence"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/other", http.StatusFound)
			return true
		}, "redirects"},
		{"a cut connection", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "asking the server of updates"},
		{"another version", download(archive(t, file), "X-Replicated-ChannelSequence", "7"), "has sent the version with the sequence \"7\""},
		{"no archive", download([]byte("hello")), "the archive is damaged"},
		{"half an archive", download(archive(t, file)[:60]), "the archive is damaged"},
		{"a path with ..", download(archive(t, named("../a.yaml"))), `"../a.yaml" is no path below`},
		{"a path inside ..", download(archive(t, named("a/../../b.yaml"))), "is no path below"},
		{"an absolute path", download(archive(t, named("/etc/a.yaml"))), "is no path below"},
		{"a path of Windows", download(archive(t, named(`..\a.yaml`))), "is no path below"},
		{"a drive of Windows", download(archive(t, named("C:a.yaml"))), "is no path below"},
		{"a file twice", download(archive(t, file, file)), "is there twice"},
		{"a symbolic link", download(archive(t, tar.Header{Name: "a", Linkname: "/etc", Typeflag: tar.TypeSymlink})), "has no links"},
		{"a hard link", download(archive(t, tar.Header{Name: "a", Linkname: "b", Typeflag: tar.TypeLink})), "has no links"},
		{"a registry that is no host", download(archive(t, file), "X-Ecrin-Registry-Names", "a b:1=x"), "as the name of a registry"},
		{"a registry without a port", download(archive(t, file), "X-Ecrin-Registry-Names", "a.b=x"), "as the name of a registry"},
		{"a registry whose name leads elsewhere", download(archive(t, file), "X-Ecrin-Registry-Names", "a.b:1=../x"),
			"as the name of a registry"},
		{"a device", download(archive(t, tar.Header{Name: "a", Typeflag: tar.TypeChar})), "has no links and no devices"},
		{"a bomb", download(archive(t, zeros)), "there are more than 67108864 bytes"},
		{"too many files", download(archive(t, many...)), "there are more than 1000 files"},
	} {
		answer = c.answer
		_, err := i.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 3000 {
			t.Errorf("%s: got %.300v, want %q", c.what, err, c.want)
		}
		// A version whose download failed waits for the next check.
		if got := strings.TrimSuffix(fx.history(i), "; current -1"); got != "0 1.0 Online Install pending" &&
			got != "0 1.0 Online Install pending, 1 2.0 Upstream Update pending_download" {
			t.Errorf("%s: the history is %q", c.what, got)
		}
	}
	answer = nil
	if found, err := i.Check(t.Context()); err != nil || len(found) != 1 || found[0].Label != "2.0" || found[0].Status != install.Pending {
		t.Errorf("from the server as it is: got %+v, %v", found, err)
	}
	names, err := os.ReadDir(filepath.Dir(fx.dir))
	if err != nil || len(names) != 1 {
		t.Errorf("beside the folder are %v, %v", names, err)
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for endpoint, ok := range map[string]bool{"https://updates.example.com": true, "http://127.0.0.1:5100": true, "http://localhost:1": true,
		"http://[::1]:1": true, "http://updates.example.com": false, "ftp://x": false, "": false, "https://a@x": false, "/x": false} {
		if _, err := install.NewServer(endpoint, "shop", "id", install.ServerOptions{}); (err == nil) != ok {
			t.Errorf("%q: got %v", endpoint, err)
		}
	}
	if _, err := install.NewServer("http://updates.example.com", "shop", "id", install.ServerOptions{PlainHTTP: true}); err != nil {
		t.Error(err)
	}
}

// Whatever an archive has, its files are below the folder, each once.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "./a/b.yaml", Typeflag: tar.TypeReg, Size: 3}, tar.Header{Name: "a", Typeflag: tar.TypeDir}))
	f.Add(archive(f, tar.Header{Name: "../b.yaml", Typeflag: tar.TypeReg}))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := install.Unpack(data)
		seen := map[string]bool{}
		for _, one := range files {
			if err != nil || !filepath.IsLocal(one.Path) || seen[one.Path] {
				t.Errorf("got the file %q, and the error %v", one.Path, err)
			}
			seen[one.Path] = true
		}
	})
}
