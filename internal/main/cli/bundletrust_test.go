package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Whose bundles and inventories are trusted, what may not be distributed, and how people read the counts.
func TestBundlesForPeople(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	p := installable(t, s)
	for name, path := range bundled(t) {
		p[name] = path
	}
	p["host"], p["data"] = strings.TrimPrefix(s.URL, "http://"), s.Dir
	dir := t.TempDir()
	for _, name := range []string{"app.tar", "foreign.tar", "with.tar", "next.tar", "revoked", "revokedroot", "other.key", "other.pem"} {
		p[strings.ReplaceAll(name, ".", "")] = filepath.Join(dir, name)
	}
	step := func(wantCode int, line string, want ...string) string {
		t.Helper()
		code, out, errs := run(t, strings.Fields(os.Expand(line, func(name string) string { return p[name] }))...)
		if code != wantCode {
			t.Fatalf("ecrin %s: got %d\n%s%s", line, code, out, errs)
		}
		for _, one := range want {
			if !strings.Contains(out+errs, one) {
				t.Errorf("ecrin %s: no %q in\n%s%s", line, one, out, errs)
			}
		}
		return out
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(p[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// The key of the application signs, by the server; its root key verifies, and each of the two can be revoked.
	step(0, "bundle create --app parts --channel unstable --data $data --output $apptar --receipts $receipts", "made 1 image, 3 blobs, ",
		" in 1 file; each")
	step(0, "bundle verify $apptar --key $appkey", "every byte is right")
	step(0, "bundle verify $apptar --key $appkey --license $applicense", "1 of 1")
	step(1, "bundle verify $apptar --key $bundlepub", "signed by a key that is not trusted here")
	for _, one := range []string{"verify $apptar", "inspect $apptar", "import $apptar --to $host --data $data",
		"join $apptar --output $withtar"} {
		step(1, "bundle "+one+" --key $bundlepub --license $applicense", "--license ", "those of exporters", "ecrin license key")
	}
	shown := step(0, "bundle inspect $apptar --key $appkey --json")
	_, id, _ := strings.Cut(shown, `"keyId": "`)
	write("revoked", "# stolen\n"+id[:32]+" # the key of parts\n")
	step(1, "bundle import $apptar --key $appkey --to $host --revoked $revoked --data $data", "signed by a key that is revoked", "nothing was")
	write("revokedroot", "not an id\n")
	step(1, "bundle verify $apptar --key $appkey --revoked $revokedroot", "line 1 of the revoked keys is no id of a key")

	// An inventory counts only if a key of the receivers has signed it, once such keys are named.
	step(0, "bundle inventory $host/parts/api --data $data --output $have --key-file $bundlekey --receipts $receipts",
		"read and hashed 2 blobs of ", " in 1 image; signed")
	other, err := bundle.NewOwnKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := other.Public()
	if err != nil {
		t.Fatal(err)
	}
	write("otherpem", public)
	create := "bundle create $host/parts/api:1.0 --data $data --key-file $bundlekey --receipts $receipts --have $have "
	step(1, create+"--output $nexttar --have-key $otherpem", "signed by a key that is not trusted here")
	step(0, create+"--output $nexttar --have-key $otherpem --have-key $bundlepub", "left out: 2 blobs of ", "made 1 image, 1 blob, ")

	// Layers that may not be distributed are counted, and inside with a switch.
	repo := s.Root(t).CreateRepository(t, "parts/windows")
	im := ocitest.NewImage(9, 700)
	layer := []byte("a layer of Windows")
	repo.PushBlobs(t, im)
	repo.PutBlob(t, layer)
	foreign := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","digest":%q,"size":%d,`+
		`"urls":["https://windows.example.com/layer"]},`, ocitest.SHA256(layer), len(layer))
	m := strings.Replace(string(im.Manifest), `"layers":[`, `"layers":[`+foreign, 1)
	repo.PutManifest(t, "1", ocitest.ImageType, []byte(m)).Want(t, 201)
	create = "bundle create $host/parts/windows:1 --data $data --key-file $bundlekey --receipts $receipts "
	step(0, create+"--output $foreigntar", "left out: 1 layer of 18 bytes that may not be distributed: --non-distributable", "3 blobs")
	step(0, create+"--output $withtar --non-distributable", "4 blobs")
	step(0, "bundle inspect $foreigntar --key $bundlepub", "not inside: 1 layer that may not be distributed")
	step(0, "bundle inspect $withtar --key $bundlepub", "4 blobs of ")
}
