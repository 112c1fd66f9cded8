package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// With --data, repositories of every account and region that a path names are read and written, also beside those of the default registry.
func TestBundlesOfEveryAccountAndRegion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, image := s.Root(t), ocitest.NewImage(7, 2000, 3000)
	root.CreateRepository(t, "team/base").Push(t, "1.0", image)
	root.In("eu-west-2").CreateRepository(t, "team/app").Push(t, "1.0", image)
	s.NewAccount(t, owner).In("eu-west-1").CreateRepository(t, "vendorapp").Push(t, "latest", image)
	p := bundled(t)
	p["host"], p["data"], p["next"] = strings.TrimPrefix(s.URL, "http://"), s.Dir, filepath.Join(t.TempDir(), "next.tar")
	p["west"], p["theirs"] = p["host"]+"/"+root.ID+"/eu-west-2", p["host"]+"/"+owner+"/eu-west-1"
	step := func(wantCode int, line string, want ...string) {
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
	}
	const keys = " --data $data --receipts $receipts --key-file $bundlekey"
	step(0, "export $west/team/app $theirs/vendorapp $host/team/base --output $bundle"+keys, "made 3 images, 4 blobs")
	step(0, "bundle create $west/team/app:1.0 --output $next"+keys, "made 1 image")
	step(0, "bundle inventory $west/team/app $theirs/vendorapp --output $have"+keys, " in 2 images")
	to := "import $bundle --key $bundlepub --last-segment --data $data --receipts $receipts --to "
	for _, repo := range []string{"app", "vendorapp", "base"} {
		root.In("eu-central-1").CreateRepository(t, repo)
	}
	p["central"] = p["host"] + "/" + root.ID + "/eu-central-1"
	step(0, to+"$central", "imported 3 images")
	step(0, "bundle inventory $central/app --output $have"+keys, " in 1 image;")
	step(1, "export $host/999999999999/eu-west-1/x --output $joined"+keys, "999999999999")
}
