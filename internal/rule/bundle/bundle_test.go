package bundle_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func digest(n int) string { return bundle.Digest([]byte(fmt.Sprint(n))) }

// statement returns a set with one image and layers of some sizes.
func statement(sizes ...int64) *bundle.Statement {
	s := &bundle.Statement{Format: bundle.StatementFormat, Set: "abcdefghijklmnop1234", CreatedAt: time.Unix(1_700_000_000, 0).UTC(),
		Name:   "shop",
		Images: []bundle.Image{{Name: "localhost:5100/shop/api:1.0", Ref: bundle.Ref{Digest: digest(0), MediaType: manifestType}}},
		Blobs:  []bundle.Blob{{Digest: digest(0), Size: 300, MediaType: manifestType}},
		Files:  []bundle.File{{Path: "a/b.yaml", Size: 10, Digest: digest(-1)}}}
	for n, size := range sizes {
		s.Blobs = append(s.Blobs, bundle.Blob{Digest: digest(n + 1), Size: size})
	}
	return s
}

func encoded(t testing.TB, s *bundle.Statement) []byte {
	t.Helper()
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStatementsThatAreNotValid(t *testing.T) {
	t.Parallel()
	if _, err := bundle.ParseStatement(encoded(t, statement(1000))); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*bundle.Statement){
		"its format is": func(s *bundle.Statement) { s.Format = "x" },
		"no id":         func(s *bundle.Statement) { s.Set = "../../etc/passwd" },
		"no name":       func(s *bundle.Statement) { s.Name = "a\x1b[2J" },
		"there twice":   func(s *bundle.Statement) { s.Blobs = append(s.Blobs, s.Blobs[1]) },
		"is there twice": func(s *bundle.Statement) {
			s.Needs = []bundle.Need{{Digest: s.Blobs[1].Digest, Size: 1000}}
		},
		"bytes":                      func(s *bundle.Statement) { s.Blobs[1].Size = -1 },
		"has 9000000000000000 bytes": func(s *bundle.Statement) { s.Blobs[1].Size = 9_000_000_000_000_000 },
		"a digest is":                func(s *bundle.Statement) { s.Blobs[1].Digest = "sha256:../x" },
		"is not inside":              func(s *bundle.Statement) { s.Images[0].Digest = digest(7) },
		"is not HOST/REPOSITORY":     func(s *bundle.Statement) { s.Images[0].Name = "nginx:1" },
		"no name of an image":        func(s *bundle.Statement) { s.Images[0].Name = "localhost/../x:1" },
		"is there twice ":            func(s *bundle.Statement) { s.Images = append(s.Images, s.Images[0]) },
		"no path below":              func(s *bundle.Statement) { s.Files[0].Path = "../x" },
		"no path below ":             func(s *bundle.Statement) { s.Files[0].Path = "/x" },
		"no path below  ":            func(s *bundle.Statement) { s.Files[0].Path = "c:x" },
		"the file":                   func(s *bundle.Statement) { s.Files = append(s.Files, s.Files[0]) },
		"the files have":             func(s *bundle.Statement) { s.Files[0].Size = 1 << 40 },
	} {
		s := statement(1000)
		change(s)
		if _, err := s.Encode(); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.ParseStatement(b); err == nil {
			t.Errorf("%s: the statement was parsed", want)
		}
	}
	b := encoded(t, statement(1000))
	for _, bad := range [][]byte{append(bytes.Clone(b), '{', '}'), bytes.Replace(b, []byte(`"set"`), []byte(`"sett"`), 1), nil} {
		if _, err := bundle.ParseStatement(bad); err == nil {
			t.Errorf("%.40q was parsed", bad)
		}
	}
}

// Parts have at most the size, all members once and in order, and are found again; what is missing, doubled or of another set is refused.
func TestParts(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	s := statement(100, 900_000, 900_000, 900_000, 5_000_000, 0, 700)
	b, sig := encoded(t, s), []byte("signature")
	parts, err := bundle.Split(s, b, sig, size)
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	for i := range parts {
		for j := range parts[i].Members {
			if m := &parts[i].Members[j]; m.Blob != "" {
				m.Digest = digest(100 + pieces)
				pieces++
			}
		}
		list, err := parts[i].Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.ParsePart(list); err != nil {
			t.Fatal(err)
		}
		space := int64(bundle.End) + bundle.Member{Path: bundle.PartPath, Size: int64(len(list))}.Space() +
			bundle.Member{Path: bundle.PartSigPath, Size: 2000}.Space()
		for _, m := range parts[i].Members {
			space += m.Space()
		}
		if space > size {
			t.Errorf("part %d has %d bytes, want at most %d", i+1, space, size)
		}
	}
	if len(parts) < 4 || len(parts) > 6 || pieces < 3 {
		t.Errorf("got %d parts with %d pieces", len(parts), pieces)
	}
	places, err := bundle.Arrange(s, b, sig, parts)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(places[bundle.BlobPath(digest(5))]); got != pieces {
		t.Errorf("the large layer is in %d places, want its %d pieces", got, pieces)
	}
	clone := func() []bundle.Part {
		all := make([]bundle.Part, len(parts))
		for i, p := range parts {
			all[i] = p
			all[i].Members = append([]bundle.Member(nil), p.Members...)
		}
		return all
	}
	for want, change := range map[string]func([]bundle.Part) []bundle.Part{
		"these are missing: 2":   func(p []bundle.Part) []bundle.Part { return append(p[:1:1], p[2:]...) },
		"these are missing: 1":   func(p []bundle.Part) []bundle.Part { return p[1:] },
		"part 1 is there twice":  func(p []bundle.Part) []bundle.Part { return append(p, p[0]) },
		"is of the set":          func(p []bundle.Part) []bundle.Part { p[1].Set = "anotherset1234567"; return p },
		"is of the set ":         func(p []bundle.Part) []bundle.Part { p[1].Statement = digest(9); return p },
		"is in two parts":        func(p []bundle.Part) []bundle.Part { p[1].Members = append(p[1].Members, p[0].Members[5]); return p },
		"not the one of the sta": func(p []bundle.Part) []bundle.Part { p[0].Members[5].Size++; return p },
		"not the one of the st ": func(p []bundle.Part) []bundle.Part { p[0].Members[5].Path = "blobs/sha256/x"; return p },
		"is not in the parts":    func(p []bundle.Part) []bundle.Part { p[0].Members = p[0].Members[:5]; return p },
		"do not make it": func(p []bundle.Part) []bundle.Part {
			for i := range p {
				for j := range p[i].Members {
					if p[i].Members[j].Blob != "" {
						p[i].Members[j].Offset += 512
						return p
					}
				}
			}
			return p
		},
	} {
		if _, err := bundle.Arrange(s, b, sig, change(clone())); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := bundle.Split(s, b, sig, bundle.MinPart-1); err == nil {
		t.Error("a part below the least size is made")
	}
}

// Unsigned, unknown and revoked keys are refused, and so is what is changed by one bit. A licence narrows the trust to its application.
func TestSignatures(t *testing.T) {
	t.Parallel()
	root, app, other := rsaKey(t), rsaKey(t), rsaKey(t)
	document := []byte("a document")
	signed := func(app, root *rsa.PrivateKey, k bundle.Kind) []byte {
		signer, err := license.NewSigner(app, root)
		if err != nil {
			t.Fatal(err)
		}
		d, err := signer.Document(bundle.Message(k, bundle.Digest(document)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Signature{Algorithm: bundle.RSA, PublicKey: d.PublicKey, Signature: d.Signature, RootKeyID: d.RootKeyID,
			Endorsement: d.Endorsement}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text, err := license.PublicPEM(&root.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var keys bundle.Keys
	if err := keys.Add(text); err != nil {
		t.Fatal(err)
	}
	good := signed(app, root, bundle.OfStatement)
	id, err := keys.Verify(bundle.OfStatement, document, good)
	if err != nil {
		t.Fatal(err)
	}
	for what, one := range map[string]struct {
		signature []byte
		document  string
		want      error
	}{
		"unsigned":               {nil, "a document", bundle.ErrUnsigned},
		"empty signature":        {[]byte("{}"), "a document", bundle.ErrUnsigned},
		"no JSON":                {[]byte("x"), "a document", bundle.ErrUnsigned},
		"another algorithm":      {bytes.Replace(good, []byte(bundle.RSA), []byte("none"), 1), "a document", bundle.ErrUnsigned},
		"another root":           {signed(app, other, bundle.OfStatement), "a document", bundle.ErrUnknownKey},
		"another kind":           {signed(app, root, bundle.OfPart), "a document", bundle.ErrSignature},
		"another document":       {good, "a documenu", bundle.ErrSignature},
		"the key of an exporter": {exported(t, document), "a document", bundle.ErrUnknownKey},
	} {
		if _, err := keys.Verify(bundle.OfStatement, []byte(one.document), one.signature); !errors.Is(err, one.want) {
			t.Errorf("%s: got %v, want %v", what, err, one.want)
		}
	}
	if err := keys.Revoke("# keys\n" + id + " # stolen\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Verify(bundle.OfStatement, document, good); !errors.Is(err, bundle.ErrRevoked) {
		t.Errorf("a revoked key: got %v", err)
	}
	if err := keys.Revoke("no id"); err == nil {
		t.Error("a line that is no id is accepted")
	}

	signer, err := license.NewSigner(app, root)
	if err != nil {
		t.Fatal(err)
	}
	file, err := license.Encode(license.License{ID: "id", AppSlug: "shop", Name: "big"}, license.V1, signer)
	if err != nil {
		t.Fatal(err)
	}
	var narrow bundle.Keys
	if err := errors.Join(narrow.Add(text), narrow.AddLicense(file)); err != nil {
		t.Fatal(err)
	}
	if _, err := narrow.Verify(bundle.OfStatement, document, good); err != nil {
		t.Errorf("the application of the licence: %v", err)
	}
	if _, err := narrow.Verify(bundle.OfStatement, document, signed(other, root, bundle.OfStatement)); !errors.Is(err, bundle.ErrUnknownKey) {
		t.Errorf("another application of the vendor: got %v, want %v", err, bundle.ErrUnknownKey)
	}
	var foreign bundle.Keys
	otherText, err := license.PublicPEM(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.Add(otherText); err != nil {
		t.Fatal(err)
	}
	if err := foreign.AddLicense(file); err == nil || !strings.Contains(err.Error(), "ecrin license key") {
		t.Errorf("a licence of another vendor: got %v", err)
	}
}

// Once a key is named, a licence is only trusted if it is signed by a vendor of these keys: the key of an exporter verifies none.
func TestLicenseIsVerifiedOnceAKeyIsNamed(t *testing.T) {
	t.Parallel()
	file := func(root *rsa.PrivateKey) []byte {
		signer, err := license.NewSigner(rsaKey(t), root)
		if err != nil {
			t.Fatal(err)
		}
		file, err := license.Encode(license.License{ID: "id", AppSlug: "shop", Name: "big"}, license.V1, signer)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	root := rsaKey(t)
	vendor, err := license.PublicPEM(&root.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	own, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	exporter, err := own.Public()
	if err != nil {
		t.Fatal(err)
	}
	good, evil := file(root), file(rsaKey(t))
	for what, one := range map[string]struct {
		keys     []string
		licenses [][]byte
		right    bool
	}{
		"no key":                                  {nil, [][]byte{evil}, true},
		"the vendor's":                            {[]string{vendor}, [][]byte{good}, true},
		"the vendor's and an exporter's":          {[]string{exporter, vendor}, [][]byte{good}, true},
		"two licences of one vendor":              {[]string{vendor}, [][]byte{good, file(root)}, true},
		"an exporter's":                           {[]string{exporter}, [][]byte{good}, false},
		"a stranger's licence, an exporter's key": {[]string{exporter}, [][]byte{evil}, false},
		"a stranger's second licence":             {[]string{vendor}, [][]byte{good, evil}, false},
		"a stranger's licence, both keys":         {[]string{vendor, exporter}, [][]byte{evil}, false},
	} {
		var keys bundle.Keys
		for _, text := range one.keys {
			if err := keys.Add(text); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		for _, text := range one.licenses {
			err = errors.Join(err, keys.AddLicense(text))
		}
		if (err == nil) != one.right || err != nil && !strings.Contains(err.Error(), "ecrin license key") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// A field of a licence can have any text, and its signature stands for no bundle.
func TestSignatureOfALicenceIsNoneOfABundle(t *testing.T) {
	t.Parallel()
	root, app := rsaKey(t), rsaKey(t)
	signer, err := license.NewSigner(app, root)
	if err != nil {
		t.Fatal(err)
	}
	message := string(bundle.Message(bundle.OfStatement, bundle.Digest([]byte("a document"))))
	for _, value := range []string{message, "\xff" + message} {
		file, err := license.Encode(license.License{ID: "id", AppSlug: "shop", Name: "big", Fields: map[string]license.Field{
			"x": {Value: license.Text(value)}}}, license.V2, signer)
		if value != message && err != nil {
			continue // a field that is no text is not signed at all
		}
		if err != nil {
			t.Fatal(err)
		}
		_, after, ok := strings.Cut(string(file), "v2: ")
		if !ok {
			t.Fatalf("the licence has no signature of a field:\n%s", file)
		}
		signature, _, _ := strings.Cut(after, "\n")
		text, err := license.PublicPEM(&app.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		if err := json.Unmarshal([]byte(`"`+strings.Trim(signature, `"' `)+`"`), &raw); err != nil {
			t.Fatal(err)
		}
		if (license.Detached{PublicKey: text, Signature: raw}).Verify([]byte(message)) == nil {
			t.Errorf("the signature of the field %q stands for a bundle", value)
		}
	}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func exported(t *testing.T, document []byte) []byte {
	t.Helper()
	key, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := key.Sign(bundle.OfStatement, bundle.Digest(document))
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An inventory that was changed is refused, and only what all receivers have is left out.
func TestInventories(t *testing.T) {
	t.Parallel()
	key, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	of := func(blobs ...bundle.Held) *bundle.Inventory {
		return &bundle.Inventory{Format: bundle.InventoryFormat, Receiver: "r.example.com", CreatedAt: time.Unix(1, 0).UTC(), Blobs: blobs}
	}
	a, b := digest(1), digest(2)
	if a > b {
		a, b = b, a
	}
	first, second := of(bundle.Held{Digest: a, Size: 1, At: []string{"x"}}, bundle.Held{Digest: b, Size: 2, At: []string{"x"}}),
		of(bundle.Held{Digest: a, Size: 5}, bundle.Held{Digest: b, Size: 2, At: []string{"y"}, From: "set"})
	file, err := first.Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, base, err := bundle.OpenInventory(file, nil); err != nil || len(got.Blobs) != 2 || base.KeyID != key.ID() {
		t.Errorf("got %v, %v, %v", got, base, err)
	}
	var other bundle.Keys
	stranger, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := stranger.Public()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Add(public); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bundle.OpenInventory(file, &other); !errors.Is(err, bundle.ErrUnknownKey) {
		t.Errorf("got %v, want %v", err, bundle.ErrUnknownKey)
	}
	changed, err := of(bundle.Held{Digest: a, Size: 9}).Seal(key)
	if err != nil {
		t.Fatal(err)
	}
	var f, g map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(file, &f), json.Unmarshal(changed, &g)); err != nil {
		t.Fatal(err)
	}
	f["inventory"] = g["inventory"]
	mixed, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := bundle.OpenInventory(mixed, nil); !errors.Is(err, bundle.ErrSignature) {
		t.Errorf("got %v, want %v", err, bundle.ErrSignature)
	}
	common := bundle.Common([]*bundle.Inventory{first, second})
	if len(common) != 1 || common[b].From != "set" || strings.Join(common[b].At, " ") != "x y" {
		t.Errorf("got %v, want the one that both have with one size", common)
	}
	if len(bundle.Common(nil)) != 0 {
		t.Error("no inventory has something")
	}
}

func FuzzParseStatement(f *testing.F) {
	f.Add(encoded(f, statement(1, 2, 3)))
	f.Add([]byte(`{"format":"ecrin.dev/bundle/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := bundle.ParseStatement(b)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatalf("a statement that was parsed is not encoded: %v", err)
		}
		parts, err := bundle.Split(s, again, nil, 1<<30)
		if err != nil {
			return
		}
		for i := range parts {
			for j := range parts[i].Members {
				if parts[i].Members[j].Blob != "" {
					parts[i].Members[j].Digest = digest(j)
				}
			}
		}
		if _, err := bundle.Arrange(s, again, nil, parts); err != nil {
			t.Fatalf("the parts of a set are not its parts: %v", err)
		}
	})
}

func FuzzParsePart(f *testing.F) {
	s := statement(1000)
	parts, err := bundle.Split(s, encoded(f, s), nil, 2<<20)
	if err != nil {
		f.Fatal(err)
	}
	b, err := parts[0].Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := bundle.ParsePart(b)
		if err == nil {
			_, _ = bundle.Arrange(s, b, nil, []bundle.Part{*p})
		}
	})
}

func FuzzOpenInventory(f *testing.F) {
	f.Add([]byte(`{"inventory":"e30=","signature":{"algorithm":"ed25519","publicKey":"","signature":""}}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _, _ = bundle.OpenInventory(b, nil) })
}
