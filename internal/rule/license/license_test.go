package license_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/license"
)

var keys = sync.OnceValue(func() [3]*rsa.PrivateKey {
	var k [3]*rsa.PrivateKey
	for i := range k {
		k[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return k
})

func signer(t *testing.T) (*license.Signer, *rsa.PublicKey) {
	t.Helper()
	s, err := license.NewSigner(keys()[0], keys()[1])
	if err != nil {
		t.Fatal(err)
	}
	return s, &keys()[1].PublicKey
}

func sample() license.License {
	return license.License{Name: "big-corp", ID: "2HKXWE5CM7bqkR5T2sKfVniMJfD", Sequence: 3, Type: "paid", AppSlug: "mysampleecrapp",
		Endpoint: "https://updates.example.com", ProxyDomain: "proxy.example.com", CustomerID: "2HKXWE5CM7bqkR5T2sKfVniMJfE",
		CustomerName: "Big: Corp #1", CustomerEmail: "it@big.example",
		Channels: []license.Channel{{ID: "c1", Name: "Beta", Slug: "beta"}, {ID: "c2", Name: "Unstable", Slug: "unstable", Default: true}},
		Features: license.Features{Airgap: true, KotsInstall: true},
		Fields: map[string]license.Field{
			license.FieldExpiry: {Title: "Expiration", Value: license.Text("2027-01-31T00:00:00Z"), Type: "String"},
			"seats":             {Value: license.Number(25), Type: "Integer"},
			"sso":               {Value: license.Flag(true), Type: "Boolean", Hidden: true},
			"number_text":       {Value: license.Text("0123"), Type: "String"},
		}}
}

// stock verifies a licence as its published readers do: written from the published form alone, without the package.
func stock(text []byte, root *rsa.PublicKey) (map[string]any, error) {
	var file struct {
		APIVersion string `yaml:"apiVersion"`
		Spec       struct {
			Signature    string
			ChannelName  string                    `yaml:"channelName"`
			Entitlements map[string]map[string]any `yaml:"entitlements"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	first := "licenseSignature"
	second := "keySignature"
	if strings.HasSuffix(file.APIVersion, "v1beta2") {
		first, second = "v2LicenseSignature", "v2KeySignature"
	}
	bytesOf := func(s any) []byte { b, _ := base64.StdEncoding.DecodeString(fmt.Sprint(s)); return b }
	object := func(b []byte) map[string]any { m := map[string]any{}; _ = json.Unmarshal(b, &m); return m }
	check := func(k *rsa.PublicKey, message, signature []byte) error {
		h := sha256.Sum256(message)
		return rsa.VerifyPSS(k, crypto.SHA256, h[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
	}
	outer := object(bytesOf(file.Spec.Signature))
	inner := object(bytesOf(outer["innerSignature"]))
	public := fmt.Sprint(inner["publicKey"])
	block, _ := pem.Decode([]byte(public))
	if block == nil {
		return nil, fmt.Errorf("no key in %v", inner)
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := check(root, []byte(public), bytesOf(object(bytesOf(inner[second]))["signature"])); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	data := bytesOf(outer["licenseData"])
	if err := check(k.(*rsa.PublicKey), data, bytesOf(inner[first])); err != nil {
		return nil, fmt.Errorf("licence: %w", err)
	}
	for name, f := range file.Spec.Entitlements {
		version := "v1"
		if first == "v2LicenseSignature" {
			version = "v2"
		}
		if err := check(k.(*rsa.PublicKey), []byte(fmt.Sprint(f["value"])), bytesOf(f["signature"].(map[string]any)[version])); err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	signed := object(data)["spec"].(map[string]any)
	if signed["channelName"] != file.Spec.ChannelName {
		return nil, fmt.Errorf("channelName is %q, and %q was signed", file.Spec.ChannelName, signed["channelName"])
	}
	return signed, nil
}

func TestP19StockReaderVerifiesBothVersions(t *testing.T) {
	t.Parallel()
	s, root := signer(t)
	for _, v := range []license.Version{license.V1, license.V2} {
		text, err := license.Encode(sample(), v, s)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := stock(text, root)
		if err != nil {
			t.Fatalf("%s: %v\n%s", v, err, text)
		}
		if got := signed["licenseID"]; got != sample().ID {
			t.Errorf("%s: the signed id is %v", v, got)
		}
		_, kots := signed["isKotsInstallEnabled"]
		_, customer := signed["customerID"]
		if kots != (v == license.V1) || customer != (v == license.V2) {
			t.Errorf("%s has isKotsInstallEnabled: %v, customerID: %v", v, kots, customer)
		}
		edited := strings.Replace(string(text), "channelName: Unstable", "channelName: Stable", 2)
		if edited == string(text) {
			t.Fatal("nothing was edited")
		}
		if _, err := stock([]byte(edited), root); err == nil {
			t.Errorf("%s: the stock reader takes an edited licence", v)
		}
		if _, err := stock(text, &keys()[2].PublicKey); err == nil {
			t.Errorf("%s: the stock reader takes the licence of another vendor", v)
		}
	}
}

func TestLicenceIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	s, root := signer(t)
	for _, v := range []license.Version{license.V1, license.V2} {
		text, err := license.Encode(sample(), v, s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := license.Parse(text, root)
		if err != nil {
			t.Fatalf("%s: %v\n%s", v, err, text)
		}
		want := sample()
		if v == license.V1 {
			want.CustomerID = ""
		} else {
			want.Features.KotsInstall = false
		}
		if d := cmp.Diff(want, got.License, cmp.AllowUnexported(license.Value{})); d != "" || got.Version != v || len(got.Changed) > 0 {
			t.Errorf("%s: changed %v, %s", v, got.Changed, d)
		}
		if end, err := got.Expiry(); err != nil || !end.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("the end is %v, %v", end, err)
		}
		if c := got.Channel(); c.ID != "c2" {
			t.Errorf("the default channel is %+v", c)
		}
	}
}

func TestEditedLicence(t *testing.T) {
	t.Parallel()
	s, root := signer(t)
	text, err := license.Encode(sample(), license.V1, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, from, to string
		changed        []string
	}{
		{"another channel", "  channelName: Unstable\n", "  channelName: Stable\n", []string{"spec.channelName"}},
		{"the end", `"2027-01-31T00:00:00Z"`, `"2099-01-31T00:00:00Z"`, []string{"spec.entitlements." + license.FieldExpiry}},
		{"more seats", "value: 25", "value: 250", []string{"spec.entitlements.seats"}},
		{"another customer", "name: big-corp", "name: small-corp", []string{"metadata.name"}},
		{"a member more", "  appSlug:", "  isGitOpsSupported: true\n  appSlug:", []string{"spec.isGitOpsSupported"}},
		{"a member less", "  isAirgapSupported: true\n", "", []string{"spec.isAirgapSupported"}},
	} {
		edited := strings.Replace(string(text), tt.from, tt.to, 1)
		if edited == string(text) {
			t.Errorf("%s: nothing was edited in\n%s", tt.name, text)
			continue
		}
		got, err := license.Parse([]byte(edited), root)
		if err != nil || !slices.Equal(got.Changed, tt.changed) {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got.Changed, err, tt.changed)
		}
		if d := cmp.Diff(sample().Fields, got.Fields, cmp.AllowUnexported(license.Value{})); d != "" {
			t.Errorf("%s: the fields are not the signed ones: %s", tt.name, d)
		}
	}
}

// forge returns a licence whose parts were signed by other keys.
func TestForgedLicence(t *testing.T) {
	t.Parallel()
	_, root := signer(t)
	k := keys()
	own, err := license.NewSigner(k[2], k[2]) // signs itself
	if err != nil {
		t.Fatal(err)
	}
	forged, err := license.Encode(sample(), license.V1, own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := license.Parse(forged, root); err == nil || !strings.Contains(err.Error(), "another vendor's key") {
		t.Errorf("a licence signed by another vendor: %v", err)
	}
	s, _ := signer(t)
	good, err := license.Encode(sample(), license.V2, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 { // one character of the signature each
		at := strings.Index(string(good), "signature: eyJ") + len("signature: eyJ") + i*37
		bad := []byte(string(good))
		bad[at] ^= 1
		if v, err := license.Parse(bad, root); err == nil && v.ID == sample().ID && len(v.Changed) == 0 && !slices.Equal(bad, good) {
			t.Errorf("with another character at %d it is accepted: %s", at, bad[at-10:at+10])
		}
	}
}

func TestFilesThatAreNoLicences(t *testing.T) {
	t.Parallel()
	_, root := signer(t)
	for name, text := range map[string]string{
		"nothing":             "",
		"another kind":        "apiVersion: kots.io/v1beta1\nkind: Config\nspec: {}\n",
		"another version":     "apiVersion: kots.io/v1beta9\nkind: License\nspec: {signature: YQ==}\n",
		"no signature":        "apiVersion: kots.io/v1beta1\nkind: License\nspec: {licenseID: a}\n",
		"a blank signature":   "apiVersion: kots.io/v1beta1\nkind: License\nspec: {signature: IA==}\n",
		"a wrong signature":   "apiVersion: kots.io/v1beta1\nkind: License\nspec: {signature: e30=}\n",
		"two documents":       "apiVersion: kots.io/v1beta1\n---\na: b\n",
		"anchors":             "a: &x [1]\nb: *x\n",
		"a key twice":         "kind: License\nkind: License\n",
		"too large":           strings.Repeat("#", license.MaxSize+1),
		"deep":                strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"a value of an array": "apiVersion: kots.io/v1beta1\nkind: License\nspec: {entitlements: {a: {value: []}}}\n",
	} {
		if v, err := license.Parse([]byte(text), root); err == nil {
			t.Errorf("%s: accepted as %+v", name, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	s, err := license.NewSigner(keys()[0], keys()[1])
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []license.Version{license.V1, license.V2} {
		text, err := license.Encode(sample(), v, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := license.Parse(text, &keys()[1].PublicKey)
		if err == nil && v.ID != sample().ID {
			t.Errorf("a licence that nobody signed: %+v", v)
		}
	})
}
