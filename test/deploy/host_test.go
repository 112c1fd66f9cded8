package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// TestSystemdUnit: the unit is valid, and its exposure as systemd rates it is low.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	analyze := client(t, "systemd-analyze")
	dir := t.TempDir()
	unit := strings.Replace(string(read(t, "deploy/systemd/ecrin.service")), "/usr/bin/ecrin", ecrin(t), 1)
	path := filepath.Join(dir, "ecrin.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := try(analyze, "verify", "--man=no", path); err != nil || strings.Contains(text, "ecrin.service") {
		t.Errorf("systemd-analyze verify: got %v\n%s", err, text)
	}
	if text, err := try(analyze, "security", "--offline=true", "--threshold=25", path); err != nil {
		t.Errorf("systemd-analyze security: got an exposure above 2.5: %v\n%s", err, text)
	}
	run(t, ecrin(t), "config", "check", "--config", root+"/deploy/packages/ecrin.yaml")
}

// TestDebianPackage: the package installs in a new Debian, with the user, the service and the settings, its program runs,
// and a removal leaves
// the data.
func TestDebianPackage(t *testing.T) {
	slowtest.Only(t, "it makes a root folder of Debian, in about two minutes")
	if os.Getuid() != 0 {
		t.Fatal("debootstrap needs root: run make slow as root")
	}
	debootstrap := client(t, "debootstrap")
	dist := t.TempDir()
	run(t, "make", "-C", root, "packages", "DIST="+dist, "ARCHES=amd64", "VERSION=0.0.1")
	found, err := filepath.Glob(filepath.Join(dist, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("make packages: got %v and %v, want one package", found, err)
	}
	debian := filepath.Join(workDir, "debian")
	run(t, debootstrap, "--variant=minbase", "--include=adduser", "bookworm", debian)
	body, err := os.ReadFile(found[0])
	if err == nil {
		err = os.WriteFile(filepath.Join(debian, "ecrin.deb"), body, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) string { return run(t, append([]string{"chroot", debian}, args...)...) }
	inside("dpkg", "-i", "/ecrin.deb")
	if got := inside("/usr/bin/ecrin", "version"); !strings.Contains(got, "linux/amd64") {
		t.Errorf("ecrin version in the new Debian: got %q, want its platform", got)
	}
	if got := inside("stat", "-c", "%U %a", "/var/lib/ecrin"); got != "ecrin 700\n" {
		t.Errorf("the data directory: got %q, want that of ecrin with the mode 700", got)
	}
	inside("touch", "/var/lib/ecrin/kept")
	inside("dpkg", "--purge", "ecrin")
	inside("stat", "/var/lib/ecrin/kept")
}
