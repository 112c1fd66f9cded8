package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// setUpKubelet writes what a node needs into a folder, and returns the arguments of its kubelet.
func setUpKubelet(t *testing.T) (dir string, args []string) {
	t.Helper()
	dir = t.TempDir()
	n := testNode("other")
	n.Dir, n.BinDir = dir, dir
	files, err := n.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.WriteFile(f.Path, []byte(f.Content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ProviderName), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, n.Flags()
}

func checkKubelet(args []string) []Finding {
	return CheckKubelet(KubeletSetup{Args: args, Audience: "sts.amazonaws.com", Getenv: func(string) string { return "" }})
}

// What ecrin writes has no problem, and each check finds the one thing that is broken, alone.
func TestCheckKubelet(t *testing.T) {
	t.Parallel()
	_, args := setUpKubelet(t)
	for _, f := range checkKubelet(args) {
		if f.Problem != "" || f.Fix != "" || f.Detail == "" {
			t.Errorf("of what is right: got %+v, want no problem", f)
		}
	}
	edit := func(file, old, with string) func(string, []string) []string {
		return func(dir string, args []string) []string {
			path := filepath.Join(dir, file)
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), old) {
				t.Fatalf("%s has no %q (%v):\n%s", file, old, err, text)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, with, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			return args
		}
	}
	config := func(old, with string) func(string, []string) []string {
		return edit("credential-provider.yaml", strings.ReplaceAll(old, "NAME", ProviderName), with)
	}
	const annotations = "      optionalServiceAccountAnnotationKeys:\n        - eks.amazonaws.com/ecr-role-arn\n        - ecrin.dev/ecr-role-arn\n"
	for _, one := range []struct {
		label  string // of the check that must find it
		text   string // in the problem
		change func(dir string, args []string) []string
	}{
		{"flags", "neither flag", func(string, []string) []string { return []string{"--v=4"} }},
		{"flags", "without --image-credential-provider-bin-dir", func(_ string, a []string) []string { return a[:1] }},
		{"flags", "without --image-credential-provider-config", func(_ string, a []string) []string { return a[1:] }},
		{"configuration", "no such file", func(dir string, a []string) []string {
			return append(a, "--image-credential-provider-config", filepath.Join(dir, "none"))
		}},
		{"configuration", "kind", config("CredentialProviderConfig", "Config")},
		{"configuration", "apiVersion", config("kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1")},
		{"configuration", "matchImage", config("matchImages", "matchImage")},
		{"providers", "no provider is", func(dir string, a []string) []string {
			if err := os.Rename(filepath.Join(dir, ProviderName), filepath.Join(dir, "other")); err != nil {
				t.Fatal(err)
			}
			return config("name: NAME", "name: other")(dir, a)
		}},
		{"providers", "two providers", config("providers:\n", "providers:\n  - {name: "+ProviderName+", apiVersion: "+KubeletAPI+
			", defaultCacheDuration: 1h, matchImages: [ecr.example.com:5100]}\n")},
		{"providers", "there is no provider", func(dir string, a []string) []string {
			if err := os.WriteFile(filepath.Join(dir, "credential-provider.yaml"),
				[]byte("apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return a
		}},
		{"program", "there is no program", func(dir string, a []string) []string {
			if err := os.Remove(filepath.Join(dir, ProviderName)); err != nil {
				t.Fatal(err)
			}
			return a
		}},
		{"program", "cannot be executed", func(dir string, a []string) []string {
			if err := os.Chmod(filepath.Join(dir, ProviderName), 0o600); err != nil {
				t.Fatal(err)
			}
			return a
		}},
		{"apiVersion", "v1beta1", config("credentialprovider.kubelet.k8s.io/v1", "credentialprovider.kubelet.k8s.io/v1beta1")},
		{"defaultCacheDuration", `""`, config("    defaultCacheDuration: 1h\n", "")},
		{"defaultCacheDuration", "-1h", config("1h", "-1h")},
		{"matchImages", "in its path", config("- ecr.example.com:5100\n", "- ecr.example.com:5100\n      - a.example.com/team/*\n")},
		{"matchImages", "in its port", config("- ecr.example.com:5100\n", "- ecr.example.com:5100\n      - a.example.com:*\n")},
		{"matchImages", "scheme", config("- ecr.example.com:5100\n", "- ecr.example.com:5100\n      - https://a.example.com\n")},
		{"registry ecr.example.com:5100", "has no port", config("- ecr.example.com:5100", "- ecr.example.com")},
		{"registry ecr.example.com:5100", "no pattern matches", config("- ecr.example.com:5100", "- other.example.com:5100")},
		{"arguments", "does not know the argument", config("--config=", "--conf=")},
		{"arguments", "field rolle not found", edit("credentials.yaml", "role:", "rolle:")},
		{"audience", "is missing", config("serviceAccountTokenAudience: sts.amazonaws.com", `serviceAccountTokenAudience: ""`)},
		{"audience", "the tokens are for other", config("serviceAccountTokenAudience: sts.amazonaws.com", "serviceAccountTokenAudience: other")},
		{"cacheType", "Pod", config("cacheType: Token", "cacheType: Pod")},
		{"cacheType", `""`, config("      cacheType: Token\n", "")},
		{"requireServiceAccount", "is missing", config("      requireServiceAccount: true\n", "")},
		{"requireServiceAccount", "annotations are required", config("requireServiceAccount: true\n      optional",
			"requireServiceAccount: false\n      required")},
		{"annotations", "there twice", config("- ecrin.dev/ecr-role-arn", "- eks.amazonaws.com/ecr-role-arn")},
		{"annotations", "no key", config("- ecrin.dev/ecr-role-arn", "- a b")},
		{"annotations", "no annotation with a role", func(dir string, a []string) []string {
			edit("credentials.yaml", "    role: arn:aws:iam::111122223333:role/pull\n", "")(dir, a)
			return config(annotations, "")(dir, a)
		}},
	} {
		dir, args := setUpKubelet(t)
		var found []Finding
		for _, f := range checkKubelet(one.change(dir, args)) {
			if f.Problem != "" {
				found = append(found, f)
			}
		}
		if len(found) != 1 || !strings.HasSuffix(found[0].Name, one.label) || !strings.Contains(found[0].Problem, one.text) ||
			found[0].Fix == "" {
			t.Errorf("%s, %s: got %+v, want this problem alone, with a fix", one.label, one.text, found)
		}
	}
}

// A helper of docker in the place of a provider is named as what it is.
func TestCheckKubeletWrongProgram(t *testing.T) {
	t.Parallel()
	dir, args := setUpKubelet(t)
	path := filepath.Join(dir, "credential-provider.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "name: "+ProviderName, "name: docker-credential-ecr-login", 1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range checkKubelet(args) {
		if f.Name == "docker-credential-ecr-login program" && strings.Contains(f.Problem, "helper of docker") {
			return
		}
	}
	t.Errorf("got %+v, want the program to be named", checkKubelet(args))
}
