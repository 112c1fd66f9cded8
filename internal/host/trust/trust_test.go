package trust_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/host/trust"
	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// newCA creates a CA; each call returns a different one.
func newCA(t *testing.T) []byte {
	t.Helper()
	a, err := tlsauto.New(t.TempDir(), tlsauto.Options{Scope: tlsauto.Scope{DNS: []string{"test"}}})
	if err != nil {
		t.Fatal(err)
	}
	return a.CAPEM()
}

// tree lists the files under root with their content.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		files[rel] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func write(t *testing.T, root, path, content string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// apply executes a plan and returns the commands that it ran.
func apply(t *testing.T, plan trust.Plan, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatalf("planning: %v", err)
	}
	var ran []string
	run := func(_ context.Context, argv []string) error { ran = append(ran, strings.Join(argv, " ")); return nil }
	if err := plan.Apply(t.Context(), run, nil); err != nil {
		t.Fatalf("applying: %v", err)
	}
	return ran
}

var clients = []trust.Target{trust.Docker, trust.Containerd, trust.Containers}

const host = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"

func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	root, ca := t.TempDir(), newCA(t)
	o := trust.Options{Root: root, Hosts: []string{host, "Reg.test:5100"}, CAPEM: ca, Targets: clients}
	plan, err := trust.Install(o)
	if len(tree(t, root)) != 0 {
		t.Error("making a plan wrote files")
	}
	apply(t, plan, err)

	want := map[string]string{}
	for _, h := range []string{host, "reg.test:5100"} {
		want["etc/docker/certs.d/"+h+"/ca.crt"] = string(ca)
		want["etc/containerd/certs.d/"+h+"/ca.crt"] = string(ca)
		want["etc/containers/certs.d/"+h+"/ca.crt"] = string(ca)
		want["etc/containerd/certs.d/"+h+"/hosts.toml"] = "# Written by ecrin trust, which also removes it.\nserver = \"https://" + h + "\"\n\n" +
			"[host.\"https://" + h + "\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n  ca = \"/etc/containerd/certs.d/" + h + "/ca.crt\"\n"
	}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Errorf("after installing (-want +got):\n%s", diff)
	}

	plan, err = trust.Install(o)
	if err != nil || plan.Pending() != 0 {
		t.Errorf("installing again: %d actions pending, error %v, want none:\n%s", plan.Pending(), err, plan.Script())
	}
	plan, err = trust.Uninstall(o)
	apply(t, plan, err)
	if got := tree(t, root); len(got) != 0 {
		t.Errorf("after removing there is still %v", got)
	}
	if entries, err := os.ReadDir(filepath.Join(root, "etc/docker/certs.d")); err != nil || len(entries) != 0 {
		t.Errorf("the registries' folders are left behind: %v %v", entries, err)
	}
	if plan, err = trust.Uninstall(o); err != nil || plan.Pending() != 0 {
		t.Errorf("removing again: %d actions pending, error %v, want none", plan.Pending(), err)
	}
}

func TestCertificatesOfOthersStay(t *testing.T) {
	t.Parallel()
	root, old, ca := t.TempDir(), newCA(t), newCA(t)
	foreign := readFile(t, "testdata/other-ca.pem")
	const path = "etc/docker/certs.d/" + host + "/ca.crt"
	o := trust.Options{Root: root, Hosts: []string{host}, CAPEM: ca, Targets: []trust.Target{trust.Docker}}

	write(t, root, path, "A comment.\n"+foreign)
	plan, err := trust.Uninstall(o)
	if err != nil || plan.Pending() != 0 {
		t.Errorf("removing what is not there: %d pending, error %v, want none", plan.Pending(), err)
	}
	plan, err = trust.Install(o)
	apply(t, plan, err)
	if got, want := tree(t, root)[path], "A comment.\n"+foreign+string(ca); got != want {
		t.Errorf("installed beside another's:\n%s\nwant:\n%s", got, want)
	}

	write(t, root, path, foreign+string(old)+string(ca))
	plan, err = trust.Install(o)
	apply(t, plan, err)
	if got, want := tree(t, root)[path], foreign+string(ca); got != want {
		t.Errorf("a CA of ecrin's that was replaced is still trusted:\n%s\nwant:\n%s", got, want)
	}
	o.CAPEM = nil
	plan, err = trust.Uninstall(o)
	apply(t, plan, err)
	if got := tree(t, root)[path]; got != foreign {
		t.Errorf("after removing without naming the CA:\n%s\nwant the other's alone:\n%s", got, foreign)
	}
}

func TestForeignHostsFileStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const path, content = "etc/containerd/certs.d/" + host + "/hosts.toml", "server = \"https://mirror.test\"\n"
	write(t, root, path, content)
	o := trust.Options{Root: root, Hosts: []string{host}, CAPEM: newCA(t), Targets: []trust.Target{trust.Containerd}}
	plan, err := trust.Install(o)
	apply(t, plan, err)
	if !strings.Contains(plan.Script(), "add these lines") {
		t.Errorf("the plan does not say what to add:\n%s", plan.Script())
	}
	plan, err = trust.Uninstall(o)
	apply(t, plan, err)
	if diff := cmp.Diff(map[string]string{path: content}, tree(t, root)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigPathReminder(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]bool{
		"version = 2\n": true, "= 1": true, "disabled_plugins = [\"cri\"]\n": false,
		"[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n": false,
	} {
		root := t.TempDir()
		write(t, root, "etc/containerd/config.toml", content)
		plan, err := trust.Install(trust.Options{Root: root, Hosts: []string{host}, CAPEM: newCA(t), Targets: []trust.Target{trust.Containerd}})
		if got := strings.Contains(plan.Script(), "config_path names it"); err != nil || got != want {
			t.Errorf("with %q: reminds %v, error %v, want %v", content, got, err, want)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "etc/docker/daemon.json", `{"debug": true, "insecure-registries": ["old.test"]}`)
	o := trust.Options{Root: root, Hosts: []string{"reg.test:5100", "localhost:5100"}, PlainHTTP: true, Targets: append(clients, trust.System)}
	plan, err := trust.Install(o)
	before := tree(t, root)["etc/docker/daemon.json"]
	if ran := apply(t, plan, err); len(ran) != 0 {
		t.Errorf("ran %v, want nothing", ran)
	}
	got := tree(t, root)
	if got["etc/docker/daemon.json"] != before {
		t.Error("daemon.json was changed; only the administrator may change it")
	}
	hosts, err := clientconf.ParseHostsFile([]byte(got["etc/containerd/certs.d/reg.test:5100/hosts.toml"]))
	if err != nil || len(hosts.Hosts) != 1 || hosts.Hosts[0].URL != "http://reg.test:5100" || hosts.Server.URL != "http://reg.test:5100" {
		t.Errorf("hosts.toml reads as %+v, %v", hosts, err)
	}
	if conf := got["etc/containers/registries.conf.d/50-ecrin-reg.test-5100.conf"]; !strings.Contains(conf,
		"location = \"reg.test:5100\"\ninsecure = true") {
		t.Errorf("registries.conf.d has %q", conf)
	}
	for _, a := range plan.Actions {
		if a.Target != trust.Docker {
			continue
		}
		if strings.Contains(a.Why, "localhost") {
			if !a.Done {
				t.Errorf("docker needs nothing for a loopback address, got %+v", a)
			}
			continue
		}
		_, doc, _ := strings.Cut(a.Shell, "<<'EOF'\n")
		doc, _, _ = strings.Cut(doc, "\nEOF")
		daemon, err := clientconf.ParseDockerDaemon([]byte(doc))
		if err != nil || !slices.Equal(daemon.InsecureRegistries, []string{"old.test", "reg.test:5100"}) ||
			!strings.Contains(doc, `"debug": true`) {
			t.Errorf("the instruction's daemon.json is\n%s\n(%v), want both registries and the rest kept", doc, err)
		}
	}
	plan, err = trust.Uninstall(o)
	apply(t, plan, err)
	if got := tree(t, root); len(got) != 1 {
		t.Errorf("after removing there is %v, want daemon.json alone", got)
	}
}

func TestSystemStores(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	for _, tc := range []struct{ dir, file, bundle, command, after string }{
		{"usr/local/share/ca-certificates", "ecrin.crt", "etc/ssl/certs/ca-certificates.crt", "update-ca-certificates",
			"update-ca-certificates --fresh"},
		{"etc/pki/ca-trust/source/anchors", "ecrin.pem", "etc/pki/tls/certs/ca-bundle.crt", "update-ca-trust extract", "update-ca-trust extract"},
		{"etc/pki/trust/anchors", "ecrin.pem", "var/lib/ca-certificates/ca-bundle.pem", "update-ca-certificates", "update-ca-certificates"},
		{"etc/ca-certificates/trust-source/anchors", "ecrin.crt", "etc/ssl/certs/ca-certificates.crt",
			"update-ca-trust extract", "update-ca-trust extract"},
	} {
		t.Run(strings.ReplaceAll(tc.dir, "/", " "), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := os.MkdirAll(filepath.Join(root, tc.dir), 0o755); err != nil {
				t.Fatal(err)
			}
			o := trust.Options{Root: root, CAPEM: ca, Targets: []trust.Target{trust.System}}
			chroot := "chroot " + root + " "

			plan, err := trust.Install(o)
			if err != nil {
				t.Fatal(err)
			}
			fail := errors.New("no such command")
			if err := plan.Apply(t.Context(), func(context.Context, []string) error { return fail }, nil); !errors.Is(err, fail) {
				t.Errorf("a command that fails: got error %v", err)
			}
			if got := tree(t, root)[filepath.Join(tc.dir, tc.file)]; got != string(ca) {
				t.Errorf("the store's folder has %v", tree(t, root))
			}
			plan, err = trust.Install(o)
			if diff := cmp.Diff([]string{chroot + tc.command}, apply(t, plan, err)); diff != "" {
				t.Errorf("commands after a failure (-want +got):\n%s", diff)
			}
			write(t, root, tc.bundle, string(ca)) // as the command does
			if plan, err = trust.Install(o); err != nil || plan.Pending() != 0 {
				t.Errorf("installing again: %d pending, error %v, want none", plan.Pending(), err)
			}
			plan, err = trust.Uninstall(o)
			if diff := cmp.Diff([]string{chroot + tc.after}, apply(t, plan, err)); diff != "" {
				t.Errorf("commands of the removal (-want +got):\n%s", diff)
			}
			if got := tree(t, root)[filepath.Join(tc.dir, tc.file)]; got != "" {
				t.Errorf("the CA is still in the store's folder")
			}
		})
	}
	for _, os := range []string{"darwin", "windows", "linux"} {
		plan, err := trust.Install(trust.Options{Root: t.TempDir(), CAPEM: ca, Targets: []trust.Target{trust.System}, OS: os})
		if err != nil || len(plan.Actions) != 1 || plan.Actions[0].Kind != trust.Note {
			t.Errorf("%s: got %+v, %v, want one note", os, plan.Actions, err)
		}
	}
}

// TestScript runs the printed commands in a shell, with a replaced sudo and paths below the test's folder, and
// compares the result with that of Apply.
func TestScript(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell on this machine")
	}
	byApply, byShell := t.TempDir(), filepath.Join(t.TempDir(), "it's a folder")
	ca := newCA(t)
	for _, plain := range []bool{false, true} {
		o := trust.Options{Hosts: []string{host, "reg.test:5100", "[::1]:5100"}, CAPEM: ca, PlainHTTP: plain, Targets: clients}
		o.Root = byApply
		plan, err := trust.Install(o)
		apply(t, plan, err)
		o.Root = byShell
		if plan, err = trust.Install(o); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(sh, "-ec", "sudo() { \"$@\"; }\n"+plan.Script()).CombinedOutput(); err != nil {
			t.Fatalf("the script fails: %v\n%s\n%s", err, out, plan.Script())
		}
		if diff := cmp.Diff(tree(t, byApply), tree(t, byShell)); diff != "" {
			t.Errorf("plain HTTP %v: by Apply and by the shell (-apply +shell):\n%s", plain, diff)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	for name, o := range map[string]trust.Options{
		"no CA":          {Hosts: []string{"a.test"}, Targets: clients},
		"CA no PEM":      {Hosts: []string{"a.test"}, Targets: clients, CAPEM: []byte("x")},
		"a leaf":         {Hosts: []string{"a.test"}, Targets: clients, CAPEM: []byte(readFile(t, "testdata/leaf.pem"))},
		"no host":        {Targets: clients, CAPEM: ca},
		"a URL as host":  {Hosts: []string{"https://a.test"}, Targets: clients, CAPEM: ca},
		"a path upwards": {Hosts: []string{"../../x"}, Targets: clients, CAPEM: ca},
	} {
		if plan, err := trust.Install(o); err == nil {
			t.Errorf("%s: got a plan, want an error:\n%s", name, plan.Script())
		}
	}
	if _, err := trust.ParseTarget("rkt"); err == nil {
		t.Error("target rkt: got no error")
	}
	if got, err := trust.ParseTarget("podman"); got != trust.Containers || err != nil {
		t.Errorf("target podman: got %q, %v", got, err)
	}
}

// List finds the CAs of ecrin wherever Install puts them, those of earlier versions too, and no others.
func TestListFindsTheInstalledCAs(t *testing.T) {
	t.Parallel()
	root, ca := t.TempDir(), newCA(t)
	write(t, root, "usr/local/share/ca-certificates/other.crt", readFile(t, "testdata/other-ca.pem"))
	plan, err := trust.Install(trust.Options{Root: root, Hosts: []string{host}, CAPEM: ca, Targets: trust.Targets})
	apply(t, plan, err)
	write(t, root, "etc/ssl/certs/ca-certificates.crt", readFile(t, "testdata/other-ca.pem")+string(ca)) // as update-ca-certificates does
	write(t, root, "etc/docker/certs.d/reg.test:5100/ca.crt",
		readFile(t, "testdata/unconstrained-ca.pem")+readFile(t, "testdata/other-ca.pem"))
	found, err := trust.List(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range found {
		rel, _ := filepath.Rel(root, i.Path)
		got = append(got, fmt.Sprintf("%s %s %s %v", i.Target, i.Host, rel, tlsauto.Unconstrained(i.CA)))
	}
	want := []string{
		"docker " + host + " etc/docker/certs.d/" + host + "/ca.crt false",
		"docker reg.test:5100 etc/docker/certs.d/reg.test:5100/ca.crt true",
		"containerd " + host + " etc/containerd/certs.d/" + host + "/ca.crt false",
		"containers " + host + " etc/containers/certs.d/" + host + "/ca.crt false",
		"system  usr/local/share/ca-certificates/ecrin.crt false",
		"system  etc/ssl/certs/ca-certificates.crt false",
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if found, err := trust.List(t.TempDir()); err != nil || len(found) != 0 {
		t.Errorf("on an empty machine: got %v, %v, want none", found, err)
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if got := trust.Detect(root); len(got) != 0 {
		t.Errorf("on an empty machine: %v", got)
	}
	write(t, root, "usr/bin/skopeo", "")
	write(t, root, "etc/docker/daemon.json", "{}")
	if diff := cmp.Diff([]trust.Target{trust.Docker, trust.Containers}, trust.Detect(root)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"localhost:5100", host, "[::1]:5100", "..", "a/b", "a:0", "a:99999", "-a", "A.TEST", "a..b", "[::1]x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := trust.ParseHost(s)
		if err != nil {
			return
		}
		if filepath.Base(h) != h || h == ".." || h == "." || strings.ContainsAny(h, "\"\\/\n\x00") {
			t.Errorf("ParseHost(%q) = %q, which is not safe in a path", s, h)
		}
		if again, err := trust.ParseHost(h); err != nil || again != h {
			t.Errorf("ParseHost(%q) = %q, %v", h, again, err)
		}
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
