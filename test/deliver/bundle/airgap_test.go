package bundle_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// airgapped is a vendor with the application Shop, and a customer with a cluster and a registry.
type airgapped struct {
	*bench
	image ocitest.Image
	own   string // registry of the customer, with its namespace
}

func newAirgapped(t *testing.T, to *apptest.Server) *airgapped {
	t.Helper()
	b := &bench{bin: program(t), dir: t.TempDir(), from: apptest.Start(t, apptest.Options{}), to: to}
	x := &airgapped{bench: b, image: ocitest.NewImage(1, 6<<20, 3<<20, 1000), own: b.to.URL + "/apps"}
	do := func(operation string, in, out any) {
		t.Helper()
		b.from.Operator(t, operation, in, out)
	}
	b.from.Root(t).CreateRepository(t, "shop/api").Push(t, "1.0", x.image)
	b.to.Root(t).CreateRepository(t, "apps/shop/api")
	do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, new(ecrintypes.VendorApplicationResponse))
	do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{{Path: "web.yaml",
		Content: fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n"+
			"  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: %q}]}\n",
			strings.TrimPrefix(b.from.Running.URL, "http://")+"/shop/api:1.0")}}}, new(ecrintypes.ReleaseResponse))
	do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: 1, ChannelIds: []string{"unstable"},
		VersionLabel: "1.0"}, new(ecrintypes.PromoteReleaseResponse))
	var c ecrintypes.CreateCustomerResponse
	do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big",
		Features: []ecrintypes.CustomerFeature{ecrintypes.CustomerFeatureAirgap}}, &c)
	var l ecrintypes.GetLicenseResponse
	do("GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "shop", CustomerId: c.Customer.CustomerId}, &l)
	var k ecrintypes.GetLicenseKeyResponse
	do("GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &k)
	api := httptest.NewServer(kubestand.New(b.to.HTTP))
	t.Cleanup(api.Close)
	for name, text := range map[string]string{"license.yaml": l.License, "vendor.pem": k.PublicKey, "password": b.to.Root(t).Password(t),
		"kubeconfig": kubestand.Kubeconfig(api.URL)} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.must(t, "release", "airgap", "shop", "unstable", "--data", b.from.Dir, "--output", "shop.airgap")
	b.from.Stop(t) // the vendor is not there any more
	return x
}

// install returns the arguments that install into a folder.
func (x *airgapped) install(dir string) []string {
	return []string{"install", "license.yaml", "--key", "vendor.pem", "--airgap", "shop.airgap", "--registry", x.own, "--username", "AWS",
		"--password-file", "password", "--kubeconfig", "kubeconfig", "--namespace", "shop", "--dir", dir, "--skip-checks"}
}

// connects are the addresses that a trace of a program has connections to.
var connects = regexp.MustCompile(`connect\([0-9]+, (\{sa_family=AF_INET6?, [^}]*\})`)

// P15: the vendor makes the bundle, and the customer installs it with the network off. The system calls of the program show that it
// connects to the registry of the customer and to the cluster, and to nothing else; no name is asked for.
func TestP15InstallWithTheNetworkOff(t *testing.T) {
	x := newAirgapped(t, apptest.Start(t, apptest.Options{}))
	kubeconfig, err := os.ReadFile(filepath.Join(x.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	api := regexp.MustCompile(`127\.0\.0\.1:([0-9]+)`).FindStringSubmatch(string(kubeconfig))
	port := func(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }
	trace := filepath.Join(x.dir, "trace")
	cmd := x.command(x.install("app")...)
	if path, err := exec.LookPath("strace"); err == nil {
		cmd.Args = append([]string{path, "-f", "-e", "trace=connect", "-o", trace, x.bin}, cmd.Args[1:]...)
		cmd.Path = path
	} else {
		t.Log("strace is missing: the connections are not looked at")
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the version 1.0 is deployed") {
		t.Fatalf("ecrin install: %v\n%s", err, out)
	}
	if cmd.Path != x.bin {
		calls, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		all := connects.FindAllStringSubmatch(string(calls), -1)
		for _, one := range all {
			to := one[1]
			if !strings.Contains(to, `inet_addr("127.0.0.1")`) ||
				!strings.Contains(to, "htons("+port(x.to.URL)+")") && !strings.Contains(to, "htons("+api[1]+")") {
				t.Errorf("the program connects to %s, and may only to the registry at %s and the cluster at %s", to, port(x.to.URL), api[1])
			}
		}
		if len(all) < 2 {
			t.Errorf("the trace has %d connections:\n%s", len(all), calls)
		}
	}
	list := x.must(t, "update", "list", "--dir", "app")
	if !strings.Contains(list, "Airgap Install") || !strings.Contains(list, "deployed") {
		t.Errorf("the history is\n%s", list)
	}
	if tags, err := x.to.Root(t).Docker(t).Repo("apps/shop/api").VerifyAll(t.Context()); err != nil || tags != 1 {
		t.Errorf("the registry has %d tags, %v", tags, err)
	}
	if _, errs, err := x.run("update", "check", "--dir", "app"); err == nil || !strings.Contains(errs, "ecrin update airgap FILE") {
		t.Errorf("a check: %v, %s", err, errs)
	}
}

// Kill -9 at any point of an airgap installation: the same command goes on to its end, and until then no tag names what is not whole.
func TestAirgapInstallationIsKilled(t *testing.T) {
	x := newAirgapped(t, apptest.Start(t, apptest.Options{}))
	random := seedtest.New(seedtest.Seed(t), 0)
	kills := 0
	for wait := 30; ; wait += wait/3 + 20 {
		if x.killed(t, time.Duration(wait+int(random.Uint64N(60)))*time.Millisecond, x.install("app")...) {
			break
		}
		kills++
		there := x.to.Root(t).Docker(t).Repo("apps/shop/api")
		if answer := there.Tags(t, ""); answer.Status == 200 {
			if _, err := there.VerifyAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("killed %d times", kills)
	if kills < 3 {
		t.Errorf("the program was killed %d times before it ended, want more", kills)
	}
	list := x.must(t, "update", "list", "--dir", "app")
	if strings.Count(list, "Airgap Install") != 1 || !strings.Contains(list, "Currently deployed version") {
		t.Errorf("the history is\n%s", list)
	}
	if _, err := os.Stat(filepath.Join(x.dir, "app", "airgap")); !os.IsNotExist(err) {
		t.Errorf("the unpacked bundle stays: %v", err)
	}
}

// small mounts a file system of a size, and returns what mounts it again with other options.
func small(t *testing.T, dir, options string) func(options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small file system is mounted, which needs root")
	}
	mount := func(options string) {
		t.Helper()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
			t.Skipf("no file system can be mounted: %v\n%s", err, out)
		}
	}
	mount(options)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return mount
}

// A disk that is full where the bundle is unpacked, at any point: it is said before or when it happens, nothing is pushed and nothing
// stays; with room the same command installs.
func TestAirgapFullDiskWhereItIsUnpacked(t *testing.T) {
	x := newAirgapped(t, apptest.Start(t, apptest.Options{}))
	dir := filepath.Join(x.dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mount := small(t, dir, "size=4m")
	_, errs, err := x.run(x.install("small/app")...)
	if err == nil || !strings.Contains(errs, "there is no room to unpack it") || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("4 MB: %v\n%s", err, errs)
	}
	// The room is taken by others while it is unpacked.
	mount("remount,size=13m")
	cmd := x.command(x.install("small/app")...)
	var text bytes.Buffer
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(dir, "fill")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if all, err := os.ReadDir(filepath.Join(dir, "app", "airgap")); err == nil && len(all) > 0 {
			_ = os.WriteFile(fill, make([]byte, 13<<20), 0o600) // what fits
			break
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Log("the bundle was unpacked before the disk was full")
	} else if !strings.Contains(text.String(), "no room") && !strings.Contains(text.String(), "no space left") {
		t.Errorf("filled meanwhile: %v\n%s", err, text.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "app", "airgap")); !os.IsNotExist(err) {
		t.Errorf("the unpacked bundle stays: %v", err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	mount("remount,size=40m")
	if _, errs, err := x.run(x.install("small/app")...); err != nil && !strings.Contains(errs, "use ecrin update") {
		t.Errorf("with room: %v\n%s", err, errs)
	}
}

// A disk that is full at the registry of the customer: no tag is moved, the error says what to do, and with room the same command ends. So
// with bundles of the own format.
func TestFullDiskAtTheReceivingRegistry(t *testing.T) {
	dir := t.TempDir()
	mount := small(t, dir, "size=60m")
	to := apptest.Start(t, apptest.Options{Dir: dir})
	x := newAirgapped(t, to)
	x.from.Restart(t)
	x.from.Root(t).CreateRepository(t, "team/app").Push(t, "1", ocitest.NewImage(5, 5<<20, 2<<20))
	x.must(t, "bundle", "create", host(x.from)+"/team/app:1", "--data", x.from.Dir, "--output", "own.tar")
	key := x.key(t)
	to.Root(t).CreateRepository(t, "team/app")

	fill := filepath.Join(dir, "fill")
	_ = os.WriteFile(fill, make([]byte, 60<<20), 0o600) // what fits
	info, err := os.Stat(fill)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(fill, info.Size()-3<<20); err != nil { // for the first bytes
		t.Fatal(err)
	}
	load := []string{"bundle", "import", "own.tar", "--key", key, "--to", host(to), "--data", to.Dir}
	for what, args := range map[string][]string{"an airgap installation": x.install("app"), "an import": load} {
		_, errs, err := x.run(args...)
		if err == nil || !strings.Contains(errs, "no tag was moved") || !strings.Contains(errs, "run the command again") {
			t.Errorf("%s with a full disk: %v\n%s", what, err, errs)
		}
	}
	for _, repo := range []string{"apps/shop/api", "team/app"} {
		if tags, err := to.Root(t).Docker(t).Repo(repo).VerifyAll(t.Context()); err == nil && tags > 0 {
			t.Errorf("%s has %d tags on a full disk", repo, tags)
		}
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	mount("remount,size=200m")
	x.must(t, load...)
	x.must(t, x.install("app")...)
	for _, repo := range []string{"apps/shop/api", "team/app"} {
		if tags, err := to.Root(t).Docker(t).Repo(repo).VerifyAll(t.Context()); err != nil || tags != 1 {
			t.Errorf("%s has %d tags, %v", repo, tags, err)
		}
	}
}
