package credential

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Node says how the kubelet of a node gets credentials by the tokens of the service accounts of its pods. The fields without a default are
// required.
type Node struct {
	Distribution string   // one of Distributions
	Hosts        []string // HOST or HOST:PORT of the registries, also with a * as in matchImages
	Role         string   // ARN of the role that is assumed, unless a service account names another
	Endpoint     string   // URL of the ECR API; "" for that of the hosts
	Region       string   // of the registries; "" for that of the hosts
	CA           []byte   // PEM of authorities that are trusted beside those of the system; nil for none
	Audience     string   // of the tokens
	CacheType    string   // ServiceAccount or Token
	Dir, BinDir  string   // folders of the configuration and of the provider
}

// Distributions are the distributions of Kubernetes whose ways to start a kubelet are known; other stands for all others.
var Distributions = []string{"kubeadm", "k3s", "rke2", "k0s", "other"}

// CacheTypes are the values of cacheType. With Token, the kubelet asks for credentials for each token, so for each pod.
var CacheTypes = []string{"ServiceAccount", "Token"}

// The folders of a node by default.
const (
	NodeDir    = "/etc/ecrin/kubelet"
	NodeBinDir = "/usr/local/lib/ecrin"
)

const nodeMark = "# Written by ecrin credential kubelet, which also replaces it.\n"

// NodeFile is a file of a node.
type NodeFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`

	flags []string // that the file gives to the kubelet
}

// Ours reports whether the content of a file may be replaced: it has the mark of this program, or is a certificate in its folder.
func (f NodeFile) Ours(content []byte) bool {
	return string(content) == f.Content || bytes.HasPrefix(content, []byte(nodeMark)) || filepath.Base(f.Path) == "ca.pem"
}

// Enough reports whether a file that was written by hand gives the kubelet all of its flags already.
func (f NodeFile) Enough(content []byte) bool {
	for _, flag := range f.flags {
		_, value, _ := strings.Cut(flag, "=")
		if !bytes.Contains(content, []byte(value)) {
			return false
		}
	}
	return len(f.flags) > 0
}

// providerConfig is the configuration of the kubelet. Source: kubelet.config.k8s.io/v1, CredentialProviderConfig.
type providerConfig struct {
	APIVersion string           `yaml:"apiVersion"`
	Kind       string           `yaml:"kind"`
	Providers  []configProvider `yaml:"providers"`
}

type configProvider struct {
	Name                 string           `yaml:"name"`
	MatchImages          []string         `yaml:"matchImages"`
	DefaultCacheDuration string           `yaml:"defaultCacheDuration"`
	APIVersion           string           `yaml:"apiVersion"`
	Args                 []string         `yaml:"args,omitempty"`
	Env                  []configVariable `yaml:"env,omitempty"`
	TokenAttributes      *configToken     `yaml:"tokenAttributes,omitempty"`
}

type configVariable struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type configToken struct {
	Audience  string   `yaml:"serviceAccountTokenAudience"`
	CacheType string   `yaml:"cacheType"`
	Require   *bool    `yaml:"requireServiceAccount"`
	Required  []string `yaml:"requiredServiceAccountAnnotationKeys,omitempty"`
	Optional  []string `yaml:"optionalServiceAccountAnnotationKeys,omitempty"`
}

// nodeRules is the configuration of the provider that Files writes.
type nodeRules struct {
	Hosts []nodeRule `yaml:"hosts"`
}

type nodeRule struct {
	Match    string `yaml:"match"`
	Role     string `yaml:"role,omitempty"`
	Region   string `yaml:"region,omitempty"`
	Endpoint string `yaml:"endpoint,omitempty"`
	CAFile   string `yaml:"ca_file,omitempty"`
}

// Files returns the files of the node: the configuration of the kubelet, that of the provider, the authorities, and the file by which the
// distribution gives the kubelet its flags, if it has one. They have no secret.
//
// Errors: what is wrong with the fields.
func (n *Node) Files() ([]NodeFile, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	require := true // without a token there is no credential
	kubelet := providerConfig{APIVersion: kubeletConfigAPI, Kind: kubeletConfigKind, Providers: []configProvider{{
		Name: ProviderName, APIVersion: KubeletAPI, MatchImages: n.Hosts, DefaultCacheDuration: "1h",
		Args: []string{"--config=" + filepath.Join(n.Dir, "credentials.yaml")},
		TokenAttributes: &configToken{Audience: n.Audience, CacheType: n.CacheType, Require: &require,
			Optional: []string{RoleAnnotation, OwnRoleAnnotation}},
	}}}
	var rules nodeRules
	for _, host := range n.Hosts {
		one := nodeRule{Match: host, Role: n.Role, Region: n.Region, Endpoint: n.Endpoint}
		if n.CA != nil {
			one.CAFile = "ca.pem"
		}
		rules.Hosts = append(rules.Hosts, one)
	}
	first, err := marshalYAML(kubelet)
	if err != nil {
		return nil, err
	}
	second, err := marshalYAML(rules)
	if err != nil {
		return nil, err
	}
	if _, err := ParseConfig([]byte(second)); err != nil {
		return nil, err
	}
	all := []NodeFile{{Path: n.ConfigPath(), Content: nodeMark + first},
		{Path: filepath.Join(n.Dir, "credentials.yaml"), Content: nodeMark + second}}
	if n.CA != nil {
		all = append(all, NodeFile{Path: filepath.Join(n.Dir, "ca.pem"), Content: string(n.CA)})
	}
	flags := n.Flags()
	switch n.Distribution {
	case "kubeadm":
		all = append(all, NodeFile{"/etc/default/kubelet", nodeMark + "KUBELET_EXTRA_ARGS=\"" + strings.Join(flags, " ") + "\"\n", flags})
	case "k3s", "rke2":
		var b strings.Builder
		b.WriteString(nodeMark)
		for _, flag := range flags {
			key, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
		all = append(all, NodeFile{"/etc/rancher/" + n.Distribution + "/config.yaml.d/50-ecrin.yaml", b.String(), flags})
	}
	return all, nil
}

func marshalYAML(v any) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return b.String(), nil
}

func (n *Node) check() error {
	switch {
	case !slices.Contains(Distributions, n.Distribution):
		return fmt.Errorf("the distribution is one of %s, got %q", strings.Join(Distributions, ", "), oneLine(n.Distribution))
	case len(n.Hosts) == 0:
		return errors.New("which registries are the credentials for?")
	case !slices.Contains(CacheTypes, n.CacheType):
		return fmt.Errorf("the type of the cache is one of %s, got %q", strings.Join(CacheTypes, ", "), oneLine(n.CacheType))
	case n.Audience == "" || strings.ContainsAny(n.Audience, " \t\r\n"):
		return fmt.Errorf("the audience is a text without spaces, got %q", oneLine(n.Audience))
	case !validRole(n.Role):
		return fmt.Errorf("the role is arn:aws:iam::ACCOUNT:role/NAME, got %q", oneLine(n.Role))
	case !filepath.IsAbs(n.Dir) || !filepath.IsAbs(n.BinDir) || strings.ContainsAny(n.Dir+n.BinDir, " \"'$\n"):
		return fmt.Errorf("folders of a node are absolute, without spaces and quotes, got %q and %q", n.Dir, n.BinDir)
	}
	return nil
}

// ConfigPath returns the path of the configuration of the kubelet.
func (n *Node) ConfigPath() string { return filepath.Join(n.Dir, "credential-provider.yaml") }

// Flags returns the flags that the kubelet needs.
func (n *Node) Flags() []string {
	return []string{configFlag + "=" + n.ConfigPath(), binDirFlag + "=" + n.BinDir}
}

// Next says how the kubelet gets its flags, and what makes it read them.
func (n *Node) Next() string {
	return map[string]string{
		"kubeadm": "systemctl restart kubelet (on Debian; elsewhere /etc/default/kubelet is /etc/sysconfig/kubelet)",
		"k3s":     "systemctl restart k3s, or k3s-agent on an agent",
		"rke2":    "systemctl restart rke2-server, or rke2-agent on an agent",
		"k0s":     "k0s install worker --force --kubelet-extra-args=\"" + strings.Join(n.Flags(), " ") + "\", and start it again",
		"other":   "start the kubelet with " + strings.Join(n.Flags(), " "),
	}[n.Distribution]
}

// Source: kubelet.config.k8s.io/v1.
const (
	kubeletConfigAPI  = "kubelet.config.k8s.io/v1"
	kubeletConfigKind = "CredentialProviderConfig"
	configFlag        = "--image-credential-provider-config"
	binDirFlag        = "--image-credential-provider-bin-dir"
)
