// Package bundle_test makes, carries and imports bundles with the real program: with other tools, killed at any point, and on a full disk.
package bundle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/seedtest"
)

// program builds the program.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ecrin")
	build := exec.Command("go", "build", "-o", path, "github.com/ecrin-dev/ecrin/cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return path
}

// bench is two servers, and a user with the program.
type bench struct {
	bin, dir string
	from, to *apptest.Server
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{bin: program(t), dir: t.TempDir(), from: apptest.Start(t, apptest.Options{}), to: apptest.Start(t, apptest.Options{})}
	if _, errs, err := b.run("bundle", "key"); err != nil {
		t.Fatal(errs)
	}
	return b
}

func host(s *apptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.bin, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "AWS_ENDPOINT_URL=", "AWS_PROFILE=")
	return cmd
}

func (b *bench) run(args ...string) (out, errs string, err error) {
	var o, e bytes.Buffer
	cmd := b.command(args...)
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

func (b *bench) must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := b.run(args...)
	if err != nil {
		t.Fatalf("ecrin %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// key writes the public key of the user, and returns its file.
func (b *bench) key(t *testing.T) string {
	t.Helper()
	path := filepath.Join(b.dir, "key.pem")
	if err := os.WriteFile(path, []byte(b.must(t, "bundle", "key")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// killed starts the program and kills it after a time. It reports whether it had ended by itself with success before.
func (b *bench) killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	cmd := b.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil && strings.Contains(errs.String(), "is there already") {
			return true // it was killed after it had made everything
		}
		if err != nil {
			t.Fatalf("ecrin %s: %v\n%s", strings.Join(args, " "), err, errs.String())
		}
		return true
	case <-time.After(after):
		if err := cmd.Process.Kill(); err != nil {
			t.Log(err) // it has just ended
		}
		return <-ended == nil
	}
}

// Kill -9 at any point of a creation and of an import: the same command continues, the result is whole and verified, and no tag names
// something that is not complete.
func TestKilledAtAnyPoint(t *testing.T) {
	b := newBench(t)
	key := b.key(t)
	repo := b.from.Root(t).CreateRepository(t, "team/app")
	images := 4
	for i := range images {
		repo.Push(t, fmt.Sprint(i), ocitest.NewImage(uint64(i), 8<<20, 3<<20, 1000))
	}
	random := seedtest.New(seedtest.Seed(t), 0)
	for _, more := range [][]string{nil, {"--part-size", "5MiB"}} {
		name := fmt.Sprintf("b%d.tar", len(more))
		create := append([]string{"export", host(b.from) + "/team/app", "--data", b.from.Dir, "--output", name}, more...)
		kills, resumed := 0, int64(0)
		for wait := 20; ; wait += 60 {
			if b.killed(t, time.Duration(wait+int(random.Uint64N(40)))*time.Millisecond, append(create, "--json")...) {
				break
			}
			kills++
			left, err := filepath.Glob(filepath.Join(b.dir, strings.TrimSuffix(name, ".tar")+"*.tar"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range left { // what has its name is whole
				b.must(t, "bundle", "verify", path, "--key", key)
			}
			if info, err := os.Stat(filepath.Join(b.dir, name+".partial")); err == nil {
				resumed = max(resumed, info.Size())
			}
		}
		paths, err := filepath.Glob(filepath.Join(b.dir, strings.TrimSuffix(name, ".tar")+"*.tar"))
		if err != nil {
			t.Fatal(err)
		}
		b.must(t, append([]string{"bundle", "verify", "--key", key}, paths...)...)
		if rest, _ := filepath.Glob(filepath.Join(b.dir, "*.p*a*")); len(rest) > len(paths) {
			t.Errorf("files are left: %v", rest)
		}
		t.Logf("%d parts: killed %d times, with at most %d bytes in a file", len(paths), kills, resumed)
		if kills < 2 {
			t.Errorf("the program was killed %d times before it ended, want more", kills)
		}

		at := fmt.Sprintf("%s/n%d", host(b.to), len(more))
		load := append([]string{"bundle", "import", "--key", key, "--to", at, "--data", b.to.Dir}, paths...)
		kills = 0
		for wait := 40; ; wait += 60 {
			if b.killed(t, time.Duration(wait+int(random.Uint64N(60)))*time.Millisecond, load...) {
				break
			}
			kills++
			there := b.to.Root(t).Docker(t).Repo(fmt.Sprintf("n%d/team/app", len(more)))
			if answer := there.Tags(t, ""); answer.Status == 200 {
				if _, err := there.VerifyAll(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		there := b.to.Root(t).Docker(t).Repo(fmt.Sprintf("n%d/team/app", len(more)))
		if tags, err := there.VerifyAll(t.Context()); err != nil || tags != images {
			t.Errorf("got %d tags, %v, want %d", tags, err, images)
		}
		t.Logf("import: killed %d times", kills)
	}
}

// A disk that is full at any point: the error says so, what was made is continued when there is room, and no file has the name of a bundle
// before it is whole.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a small file system is mounted, which needs root")
	}
	b := newBench(t)
	key := b.key(t)
	b.from.Root(t).CreateRepository(t, "team/app").Push(t, "1", ocitest.NewImage(1, 5<<20, 3<<20))
	small := t.TempDir()
	mount := func(options string) {
		t.Helper()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", small).CombinedOutput(); err != nil {
			t.Skipf("no file system can be mounted: %v\n%s", err, out)
		}
	}
	mount("size=3m")
	t.Cleanup(func() { _ = exec.Command("umount", small).Run() })
	out := filepath.Join(small, "a.tar")
	create := []string{"bundle", "create", host(b.from) + "/team/app:1", "--data", b.from.Dir, "--output", out}
	for _, free := range []string{"0", "4", "100", "2900"} { // KiB; what is before it is filled
		if _, err := os.Stat(out); err == nil {
			t.Fatal("a bundle is there that does not fit")
		}
		fill := filepath.Join(small, "fill")
		n := 0
		if _, err := fmt.Sscan(free, &n); err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(fill, make([]byte, (3<<20)-n<<10), 0o600) // what fits
		_, errs, err := b.run(create...)
		if err == nil || !strings.Contains(errs, "no space left") && !strings.Contains(errs, "no room") {
			t.Errorf("%s KiB: got %v, %s, want that there is no room", free, err, errs)
		}
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
	}
	mount("remount,size=40m")
	b.must(t, create...)
	b.must(t, "bundle", "verify", out, "--key", key)

	// Parts: the first fits.
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	mount("remount,size=5m")
	parts := append(create, "--part-size", "3MiB")
	if _, errs, err := b.run(parts...); err == nil || !strings.Contains(errs, "no room") {
		t.Errorf("parts: got %v, %s", err, errs)
	}
	b.must(t, "bundle", "verify", filepath.Join(small, "a.part001.tar"), "--key", key)
	mount("remount,size=40m")
	var made struct {
		Resumed int64 `json:"resumedBytes"`
	}
	if err := json.Unmarshal([]byte(b.must(t, append(parts, "--json")...)), &made); err != nil || made.Resumed < 2<<20 {
		t.Errorf("%d bytes were there before, %v, want those of the first part", made.Resumed, err)
	}
	all, err := filepath.Glob(filepath.Join(small, "a.part*.tar"))
	if err != nil {
		t.Fatal(err)
	}
	b.must(t, append([]string{"bundle", "verify", "--key", key}, all...)...)
}

// skopeo and containerd read a bundle as it is.
func TestOtherToolsReadABundle(t *testing.T) {
	b := newBench(t)
	key := b.key(t)
	repo := b.from.Root(t).CreateRepository(t, "team/app")
	im := runnable(t)
	repo.Push(t, "1.0", im)
	name := host(b.from) + "/team/app:1.0"
	b.must(t, "bundle", "create", name, "--data", b.from.Dir, "--output", "a.tar")
	b.must(t, "bundle", "create", name, "--data", b.from.Dir, "--output", "p.tar", "--part-size", "1MiB")
	parts, err := filepath.Glob(filepath.Join(b.dir, "p.part*.tar"))
	if err != nil || len(parts) < 2 {
		t.Fatal(parts, err)
	}
	b.must(t, append([]string{"bundle", "join", "--key", key, "--output", "joined.tar"}, parts...)...)
	for _, file := range []string{"a.tar", "joined.tar"} {
		path := filepath.Join(b.dir, file)
		if _, err := exec.LookPath("skopeo"); err != nil {
			t.Skip("skopeo is missing")
		}
		out, err := exec.Command("skopeo", "inspect", "--raw", "oci-archive:"+path+":"+name).Output()
		if err != nil || ocitest.SHA256(out) != im.Digest {
			t.Errorf("skopeo reads %q, %v", out, err)
		}
		copied := filepath.Join(t.TempDir(), "copied")
		if out, err := exec.Command("skopeo", "copy", "oci-archive:"+path+":"+name, "dir:"+copied).CombinedOutput(); err != nil {
			t.Errorf("skopeo copy: %v\n%s", err, out)
		}
		containerd(t, path, name, im.Digest)
	}
}

// containerd imports a bundle into a containerd of its own, as k3s and k0s do with theirs, and lists its image.
func containerd(t *testing.T, path, name, digest string) {
	t.Helper()
	ctr := startContainerd(t)
	if ctr == nil {
		t.Log("containerd is missing, or there is no root: not tried")
		return
	}
	if out, err := ctr("images", "import", "--all-platforms", "--no-unpack", path); err != nil {
		t.Fatalf("ctr images import: %v\n%s", err, out)
	}
	out, err := ctr("images", "list")
	if err != nil || !strings.Contains(out, name) || !strings.Contains(out, digest) {
		t.Errorf("containerd has %s, %v, want %s with %s", out, err, name, digest)
	}
}

// startContainerd starts a containerd of its own, and returns what runs ctr with it; nil if that is not possible. It ends with the test.
func startContainerd(t *testing.T) (ctr func(args ...string) (string, error)) {
	t.Helper()
	if _, err := exec.LookPath("containerd"); err != nil || os.Getuid() != 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "ctd") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	daemon := exec.Command("containerd", "--config", config)
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	ctr = func(args ...string) (string, error) {
		out, err := exec.Command("ctr", append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...).CombinedOutput()
		return string(out), err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := ctr("version"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("containerd does not answer: %s", log.String())
		}
	}
	return ctr
}

// An export of a repository with an image of two platforms is copied by skopeo to another registry and imported by containerd, with its
// digests. What ecrin packs afterwards for a receiver that has it lacks what did not change, and is imported by ecrin there and by
// containerd above what it has: a new tag, and one that has moved under its name.
func TestExportAndDeltaWithOtherTools(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is missing")
	}
	b := newBench(t)
	key := b.key(t)
	repo := b.from.Root(t).CreateRepository(t, "team/app")
	base := ocitest.NewImage(1, 1_200_000, 900_000)
	other := ocitest.NewImage(2, 300_000)
	for _, im := range []ocitest.Image{base, other} {
		repo.Push(t, im.Digest, im)
	}
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType}
	for i, im := range []ocitest.Image{base, other} {
		d := im.Descriptor()
		d.Platform = &ocitest.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i]}
		index.Manifests = append(index.Manifests, d)
	}
	whole := index.JSON()
	for _, tag := range []string{"1.0", "latest"} {
		repo.PutManifest(t, tag, ocitest.IndexType, whole).Want(t, 201)
	}
	name := host(b.from) + "/team/app:"
	b.must(t, "export", host(b.from)+"/team/app", "--data", b.from.Dir, "--output", "full.tar")
	full := filepath.Join(b.dir, "full.tar")
	there := b.to.Root(t).CreateRepository(t, "carried/team/app")
	for _, tag := range []string{"1.0", "latest"} {
		out, err := exec.Command("skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds",
			"AWS:"+b.to.Root(t).Password(t), "oci-archive:"+full+":"+name+tag, "docker://"+host(b.to)+"/carried/team/app:"+tag).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo copy of %s: %v\n%s", tag, err, out)
		}
		if got := there.Manifest(t, tag); ocitest.SHA256(got.Body) != ocitest.SHA256(whole) {
			t.Errorf("after skopeo, %s is %s, want the index as it was", tag, got.Body)
		}
	}
	if n, err := there.VerifyAll(t.Context()); err != nil || n != 2 {
		t.Errorf("after skopeo, the registry has %d tags, %v", n, err)
	}
	ctr := startContainerd(t)
	list := func(what, tag, digest string) {
		t.Helper()
		out, err := ctr("images", "list")
		if found := regexp.MustCompile(regexp.QuoteMeta(name+tag) + ` .*` + digest).MatchString(out); err != nil || !found {
			t.Errorf("%s: containerd has %s, %v, want %s with %s", what, out, err, name+tag, digest)
		}
	}
	load := func(file string) {
		t.Helper()
		if out, err := ctr("images", "import", "--all-platforms", "--no-unpack", file); err != nil {
			t.Fatalf("ctr images import %s: %v\n%s", file, err, out)
		}
	}
	if ctr != nil {
		load(full)
		list("the export", "1.0", ocitest.SHA256(whole))
		list("the export", "latest", ocitest.SHA256(whole))
	}
	b.must(t, "bundle", "inventory", host(b.to)+"/carried/team/app", "--data", b.to.Dir, "--output", "have.json")
	next := ocitest.Image{Config: base.Config, Layers: [][]byte{base.Layers[0], ocitest.Bytes(77, 50_000)}}
	config := ocitest.Describe(ocitest.ConfigType, next.Config)
	next.Manifest = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config, Layers: []ocitest.Descriptor{
		ocitest.Describe(ocitest.LayerType, next.Layers[0]), ocitest.Describe(ocitest.LayerType, next.Layers[1])}}.JSON()
	next.Digest = ocitest.SHA256(next.Manifest)
	repo.Push(t, "2.0", next)
	repo.PutManifest(t, "latest", ocitest.ImageType, next.Manifest).Want(t, 201)
	b.must(t, "bundle", "create", name+"2.0", name+"latest", "--data", b.from.Dir, "--have", "have.json", "--have-key", key, "--output",
		"delta.tar")
	delta := filepath.Join(b.dir, "delta.tar")
	info, err := os.Stat(delta)
	if err != nil || info.Size() > 200_000 {
		t.Fatalf("the delta has %d bytes, %v, want the new layer alone", info.Size(), err)
	}
	b.must(t, "bundle", "import", "delta.tar", "--key", key, "--to", host(b.to)+"/carried", "--data", b.to.Dir)
	for _, tag := range []string{"2.0", "latest"} {
		if got := there.Manifest(t, tag); ocitest.SHA256(got.Body) != next.Digest {
			t.Errorf("after the delta, %s is %s, want the new image", tag, got.Body)
		}
	}
	if n, err := there.VerifyAll(t.Context()); err != nil || n != 3 {
		t.Errorf("after the delta, the registry has %d tags, %v", n, err)
	}
	if ctr == nil {
		t.Log("containerd is missing, or there is no root: not tried")
		return
	}
	load(delta)
	list("the delta", "2.0", next.Digest)
	list("the delta", "latest", next.Digest)
	list("after the delta", "1.0", ocitest.SHA256(whole))
	if out, err := ctr("images", "check"); err != nil || strings.Contains(out, "incomplete") {
		t.Errorf("containerd checks its images: %s, %v", out, err)
	}
}

// runnable returns an image whose layers are archives.
func runnable(t *testing.T) ocitest.Image {
	t.Helper()
	im := ocitest.NewImage(1, 1_200_000, 900_000)
	return im
}
