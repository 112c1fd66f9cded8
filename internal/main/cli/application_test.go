package cli_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// A template is made of a file of compose, is valid, and is not overwritten.
func TestApplicationInit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "shop")
	compose := filepath.Join(dir, "docker-compose.yml")
	writeFile(t, compose, "services:\n  web: {build: web, volumes: [a:/a]}\n  redis: {image: redis:7}\n")
	code, _, errs := run(t, "application", "init", dir, "--repo", "Org/shop")
	if code != 0 || !strings.Contains(errs, "wrote ") {
		t.Fatalf("init: got %d, %s", code, errs)
	}
	if code, _, errs := run(t, "application", "init", dir); code != 1 || !strings.Contains(errs, "stays as it is") {
		t.Errorf("init again: got %d, %s", code, errs)
	}
	code, out, errs := run(t, "application", "validate", dir, "--json")
	var got struct {
		Valid       bool
		Application string
		Images      []struct{ RepositoryName string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || !got.Valid || got.Application != "shop" || len(got.Images) != 1 ||
		got.Images[0].RepositoryName != "org/shop/web" {
		t.Errorf("validate: got %d, %v, %s, %s", code, err, out, errs)
	}
	settings, err := os.ReadFile(filepath.Join(dir, ".release.yaml"))
	if err != nil || !strings.Contains(string(settings), `compose: "docker-compose.yml"`) {
		t.Errorf(".release.yaml: got %s and %v", settings, err)
	}
	if code, _, errs := run(t, "application", "init", t.TempDir()); code != 2 || !strings.Contains(errs, "--from") {
		t.Errorf("init without a file of compose: got %d, %s", code, errs)
	}
	broken := t.TempDir()
	writeFile(t, filepath.Join(broken, "compose.yaml"), "services:\n  a: {}\n")
	code, out, _ = run(t, "application", "init", broken)
	const want = "compose.yaml:2:3: error: services.a: has neither an image nor a build"
	if entries, err := os.ReadDir(broken); code != 1 || !strings.Contains(out, want) || err != nil || len(entries) != 1 {
		t.Errorf("init of a broken file of compose: got %d, %s, %v", code, out, entries)
	}
}

// Variables have the values of .env beside the file, which are not printed; services with profiles are left out, and reported. A file .env
// that is none, or that is a link out of the folder, is an error.
func TestApplicationInitVariables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "compose.yaml"), "services:\n  web: {image: 'redis:${TAG}', command: '${WORD:-run}'}\n"+
		"  debug: {image: adminer, profiles: [debug]}\n")
	env := filepath.Join(dir, ".env")
	if code, out, _ := run(t, "application", "init", dir); code != 1 || !strings.Contains(out, "the variable ${TAG} has no default") {
		t.Errorf("without .env: got %d, %s", code, out)
	}
	writeFile(t, env, "TAG")
	if code, _, errs := run(t, "application", "init", dir); code != 1 || !strings.Contains(errs, ".env: line 1: want KEY=VALUE") {
		t.Errorf("a bad .env: got %d, %s", code, errs)
	}
	for to, want := range map[string]string{"/etc/hostname": "escapes", ".": ".env is no file"} {
		if err := errors.Join(os.Remove(env), os.Symlink(to, env)); err != nil {
			t.Fatal(err)
		}
		if code, _, errs := run(t, "application", "init", dir); code != 1 || !strings.Contains(errs, want) {
			t.Errorf(".env is a link to %s: got %d, %s, want %s", to, code, errs, want)
		}
	}
	if err := os.Remove(env); err != nil {
		t.Fatal(err)
	}
	writeFile(t, env, "TAG=7-secret\n")
	code, out, errs := run(t, "application", "init", dir)
	if code != 0 || strings.Contains(out+errs, "7-secret") || !strings.Contains(out, "the variable TAG has its value of .env") ||
		!strings.Contains(out, "services.debug: is left out, because compose starts it with the profiles debug only") {
		t.Errorf("got %d, %s, %s", code, out, errs)
	}
	text, err := os.ReadFile(filepath.Join(dir, ".release", "application_template.yaml"))
	if err != nil || !strings.Contains(string(text), "image: redis:7-secret") || strings.Contains(string(text), "debug") {
		t.Errorf("the template: got %s, %v", text, err)
	}
}

// Errors have the line, unknown keys are warnings, and another file of the template is found.
func TestApplicationValidate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, errs := run(t, "application", "validate", dir); code != 1 || !strings.Contains(errs, "ecrin application init") {
		t.Errorf("without a template: got %d, %s", code, errs)
	}
	file := filepath.Join(dir, ".release", "application_template.yaml")
	const head = "environment_templates:\n- name: ephemeral\nservices:\n- name: web\n"
	writeFile(t, file, head+"  Image: nginx\n  image: nginx\n")
	code, out, errs := run(t, "application", "validate", dir)
	want := file + ":5:3: warning: services[0].Image: the key is not known, and does nothing: did you mean image?\n    Image: nginx\n    ^\n"
	if code != 0 || !strings.Contains(out, want) {
		t.Errorf("a key with a capital: got %d, %s, %s", code, out, errs)
	}
	if code, _, errs := run(t, "application", "validate", file, "--strict"); code != 1 || !strings.Contains(errs, "has warnings") {
		t.Errorf("--strict: got %d, %s", code, errs)
	}
	writeFile(t, filepath.Join(dir, ".release.yaml"), "application_template: other.yaml\nComposed: x\n")
	writeFile(t, filepath.Join(dir, "other.yaml"), head+"  has_repo: true\n  image: ghcr.io/org/web\n")
	code, out, errs = run(t, "application", "validate", dir)
	if code != 1 || !strings.Contains(out, "other.yaml:6:10: error: services[0].image: has_repo is true") ||
		!strings.Contains(out, ".release.yaml:2:1: warning: Composed") || !strings.Contains(errs, "is not a valid application template") {
		t.Errorf("another file: got %d, %s, %s", code, out, errs)
	}
	link := filepath.Join(dir, "other.yaml")
	if err := errors.Join(os.Remove(link), os.Symlink("/etc/hostname", link)); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, "application", "validate", dir); code != 1 || out != "" || !strings.Contains(errs, "escapes") {
		t.Errorf("a link that leads out of the folder: got %d, %s, %s", code, out, errs)
	}
}
