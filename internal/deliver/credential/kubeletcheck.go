package credential

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// KubeletSetup is how a kubelet is started, and what it should do.
type KubeletSetup struct {
	Args       []string // of the kubelet; the last value of a flag counts, as --FLAG=VALUE or --FLAG VALUE
	Registries []string // HOST or HOST:PORT that it pulls from; those that the provider's own configuration names are added
	Audience   string   // that the trust policies of the roles have
	Getenv     func(string) string
}

// Finding is the outcome of one check. Problem is "" if it found none.
type Finding struct{ Name, Detail, Problem, Fix string }

// annotationKey is the form of a key of an annotation. Source: Kubernetes documentation, Annotations.
var annotationKey = lazyregexp.New(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)

// kubeletCheck collects findings.
type kubeletCheck struct {
	setup *KubeletSetup
	bin   string
	all   []Finding
}

// report adds a finding. problem "" is none.
func (k *kubeletCheck) report(label, detail, problem, fix string) {
	if problem == "" {
		fix = ""
	}
	k.all = append(k.all, Finding{label, detail, problem, fix})
}

// CheckKubelet checks the flags of a kubelet for credential providers, their configuration and programs, and returns a finding for each
// check. It starts no program. What the kubelet refuses when it starts, and what it silently ignores, are both problems.
//
// Source: pkg/credentialprovider/plugin of Kubernetes 1.35.
func CheckKubelet(s KubeletSetup) []Finding {
	k := &kubeletCheck{setup: &s, bin: flagValue(s.Args, binDirFlag)}
	path, problem := flagValue(s.Args, configFlag), ""
	switch {
	case path == "" && k.bin == "":
		problem = "the kubelet has neither flag, and calls no provider"
	case path == "":
		problem = "the kubelet has " + binDirFlag + " without " + configFlag
	case k.bin == "":
		problem = "the kubelet has " + configFlag + " without " + binDirFlag + ", and does not start"
	}
	k.report("flags", "both are set", problem, "start the kubelet with "+configFlag+"=FILE and "+binDirFlag+"=FOLDER")
	if path == "" {
		return k.all
	}
	c, err := readProviderConfig(path)
	if err != nil {
		k.report("configuration", "", err.Error(), "ecrin credential kubelet prints a right one")
		return k.all
	}
	k.report("configuration", path+" can be read", "", "")
	problem = ""
	seen, ours := map[string]bool{}, false
	for _, p := range c.Providers {
		if seen[p.Name] {
			problem = "two providers have the name " + oneLine(p.Name)
		}
		seen[p.Name] = true
		ours = ours || isECR(p.Name)
	}
	switch {
	case len(c.Providers) == 0:
		problem = "there is no provider"
	case problem == "" && !ours:
		problem = "no provider is " + ProviderName + " or ecr-credential-provider"
	}
	k.report("providers", fmt.Sprintf("%d, with names of their own", len(c.Providers)), problem,
		"name each provider once, as its program is named")
	for i := range c.Providers {
		k.provider(&c.Providers[i])
	}
	return k.all
}

// isECR reports whether a provider gets credentials for ECR and ecrin.
func isECR(label string) bool { return label == ProviderName || label == "ecr-credential-provider" }

// flagValue returns the last value of a flag.
func flagValue(args []string, flag string) (value string) {
	for i, arg := range args {
		if v, ok := strings.CutPrefix(arg, flag+"="); ok {
			value = strings.Trim(v, `"'`)
		} else if arg == flag && i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}

// readProviderConfig reads a configuration strictly, as the kubelet does.
func readProviderConfig(path string) (c providerConfig, err error) {
	content, err := readLimited(path, maxConfig)
	if err != nil {
		return c, err
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case c.Kind != kubeletConfigKind:
		return c, fmt.Errorf("%s has the kind %q, want %s", path, oneLine(c.Kind), kubeletConfigKind)
	case c.APIVersion != kubeletConfigAPI:
		return c, fmt.Errorf("%s has the apiVersion %q, want %s", path, oneLine(c.APIVersion), kubeletConfigAPI)
	}
	return c, nil
}

// provider checks one provider.
func (k *kubeletCheck) provider(p *configProvider) {
	of := func(what string) string { return oneLine(p.Name) + " " + what }
	k.report(of("program"), filepath.Join(k.bin, p.Name), k.program(p.Name),
		"ecrin credential install "+k.bin+" links "+ProviderName+"; the name of the provider is that of its file")
	problem := ""
	if p.APIVersion != KubeletAPI {
		problem = fmt.Sprintf("apiVersion is %q, want %s", oneLine(p.APIVersion), KubeletAPI)
	}
	k.report(of("apiVersion"), p.APIVersion, problem, "apiVersion: "+KubeletAPI)
	problem = ""
	if life, err := time.ParseDuration(p.DefaultCacheDuration); err != nil || life < 0 {
		problem = fmt.Sprintf("defaultCacheDuration is %q, want a duration", oneLine(p.DefaultCacheDuration))
	}
	k.report(of("defaultCacheDuration"), p.DefaultCacheDuration, problem, "defaultCacheDuration: 1h")
	k.report(of("matchImages"), strings.Join(p.MatchImages, ", "), badPattern(p.MatchImages),
		"a pattern is HOST, HOST:PORT or HOST/PATH, with * for parts of labels of the host alone")
	if !isECR(p.Name) {
		return
	}
	rules := k.rules(p, of("arguments"))
	hosts := append(slices.Clone(k.setup.Registries), rules.Named()...)
	problem = ""
	for _, host := range hosts {
		if slices.ContainsFunc(p.MatchImages, func(pattern string) bool { return matchesHost(pattern, host) }) {
			continue
		}
		problem = "no pattern matches " + host + ", so that the provider is not called for it"
		label, _, _ := strings.Cut(host, ":")
		if label != host && slices.ContainsFunc(p.MatchImages, func(pattern string) bool { return matchesHost(pattern, label) }) {
			problem = "the pattern for " + label + " has no port, and does not match " + host
		}
		k.report(of("registry "+host), "", problem, "add "+host+" to matchImages")
		problem = "reported"
	}
	if problem == "" && len(hosts) > 0 {
		k.report(of("registries"), "the patterns match "+strings.Join(hosts, ", "), "", "")
	}
	if p.TokenAttributes != nil {
		k.tokens(p, of, rules)
	}
}

// program returns what is wrong with the program of a provider.
func (k *kubeletCheck) program(label string) string {
	switch {
	case label == "" || label == "." || label == ".." || strings.ContainsAny(label, "/ "):
		return fmt.Sprintf("%q is no name of a program", oneLine(label))
	case strings.HasPrefix(label, "docker-credential-"):
		return label + " is a helper of docker, which does not know the protocol of the kubelet"
	case k.bin == "":
		return "" // reported with the flags
	}
	info, err := os.Stat(filepath.Join(k.bin, label))
	switch {
	case err != nil:
		return fmt.Sprintf("there is no program %s in %s", label, k.bin)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return filepath.Join(k.bin, label) + " cannot be executed"
	}
	return ""
}

// badPattern returns what is wrong with patterns of images.
func badPattern(patterns []string) string {
	if len(patterns) == 0 {
		return "there is none"
	}
	for _, one := range patterns {
		host, path, _ := strings.Cut(one, "/")
		_, port, _ := strings.Cut(host, ":")
		switch {
		case strings.Contains(one, "://"):
			return oneLine(one) + " has a scheme"
		case strings.Contains(path, "*"):
			return oneLine(one) + " has a * in its path, which the kubelet compares as it is"
		case strings.Contains(port, "*"):
			return oneLine(one) + " has a * in its port, which the kubelet compares as it is"
		case host == "":
			return fmt.Sprintf("%q has no host", oneLine(one))
		}
	}
	return ""
}

// matchesHost reports whether a pattern can match images of a host.
func matchesHost(pattern, host string) bool {
	pattern, _, _ = strings.Cut(pattern, "/")
	return MatchHost(strings.ToLower(pattern), host)
}

// rules reads the configuration that the arguments of our provider name.
func (k *kubeletCheck) rules(p *configProvider, label string) *Config {
	if p.Name != ProviderName {
		return &Config{}
	}
	file := ""
	for _, arg := range p.Args {
		value, ok := strings.CutPrefix(arg, "--config=")
		if !ok && arg != "get-credentials" {
			k.report(label, "", fmt.Sprintf("the provider does not know the argument %q", oneLine(arg)), `args: ["--config=FILE"]`)
			return &Config{}
		}
		file = value
	}
	if file == "" {
		k.report(label, "no file of rules", "", "")
		return &Config{}
	}
	c, err := LoadConfig(file, k.setup.Getenv)
	if err != nil {
		k.report(label, "", err.Error(), "ecrin credential kubelet prints a right file")
		return &Config{}
	}
	k.report(label, file+" can be read", "", "")
	return &c
}

// tokens checks tokenAttributes.
func (k *kubeletCheck) tokens(p *configProvider, of func(string) string, rules *Config) {
	a, problem := p.TokenAttributes, ""
	switch {
	case a.Audience == "":
		problem = "serviceAccountTokenAudience is missing"
	case a.Audience != k.setup.Audience:
		problem = fmt.Sprintf("the tokens are for %s, and the roles trust those for %s", oneLine(a.Audience), k.setup.Audience)
	}
	k.report(of("audience"), a.Audience, problem, "serviceAccountTokenAudience: "+k.setup.Audience+" (or name the other by --audience)")
	problem = ""
	if !slices.Contains(CacheTypes, a.CacheType) {
		problem = fmt.Sprintf("cacheType is %q, want one of %s", oneLine(a.CacheType), strings.Join(CacheTypes, ", "))
	}
	k.report(of("cacheType"), a.CacheType, problem, "cacheType: "+CacheTypes[0])
	problem = ""
	switch {
	case a.Require == nil:
		problem = "requireServiceAccount is missing"
	case !*a.Require && len(a.Required) > 0:
		problem = "requireServiceAccount is false, and annotations are required"
	}
	k.report(of("requireServiceAccount"), "is set", problem, "requireServiceAccount: true")
	problem = ""
	keys := append(slices.Clone(a.Required), a.Optional...)
	for i, key := range keys {
		switch {
		case !annotationKey.MatchString(key):
			problem = fmt.Sprintf("%q is no key of an annotation", oneLine(key))
		case slices.Contains(keys[:i], key):
			problem = key + " is there twice"
		}
	}
	own := slices.Contains(keys, RoleAnnotation) || p.Name == ProviderName && slices.Contains(keys, OwnRoleAnnotation)
	if problem == "" && !own && !k.hasRole(p, rules) {
		problem = "no annotation with a role is passed to the provider, and it has no role of its own"
	}
	k.report(of("annotations"), strings.Join(keys, ", "), problem, "optionalServiceAccountAnnotationKeys: ["+RoleAnnotation+"]")
}

// hasRole reports whether the provider has a role for service accounts without an annotation.
func (k *kubeletCheck) hasRole(p *configProvider, rules *Config) bool {
	return slices.ContainsFunc(p.Env, func(v configVariable) bool {
		return v.Value != "" && (v.Name == "AWS_ECR_ROLE_ARN" || v.Name == "ECRIN_ROLE_ARN" && p.Name == ProviderName)
	}) || slices.ContainsFunc(rules.Hosts, func(r Rule) bool { return len(r.chain()) > 0 })
}
