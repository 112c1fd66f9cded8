// Package gitops makes the files that stand for integrations in a shared configuration repository: for each a ConfigMap without secrets and
// a resource from which its secret is made in the cluster, a SealedSecret or an ExternalSecret. No file is a Secret.
//
// The platform does not publish the keys of these files. They are described in docs/design/config-repository.md.
package gitops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Integration is what is written of an integration.
type Integration struct {
	Name     string
	Type     string                   // kind and subtype, such as registry.ecr
	Config   map[string]string        // of the ConfigMap, beside what all have; none is secret
	Secret   map[string]secret.String // by key
	Runtimes []string                 // that may use it; none for all
}

// Target is where the files of one folder are used.
type Target struct {
	Namespace string
	Sealer    *Sealer // nil for an ExternalSecret
	External  External
}

// External is a store of secrets outside of the cluster, which External Secrets reads.
type External struct {
	Kind   string // SecretStore or ClusterSecretStore
	Store  string // its name
	Prefix string // of the keys in it, which end with the name of the integration
}

// The labels of the files. Source: the labels of the platform's own git integrations.
const (
	labelType = "io.codefresh.integration-type"
	labelName = "io.codefresh.integration-name"
)

// The longest names of objects and of namespaces, in bytes. Source: RFC 1123, as the API server checks it.
const (
	maxName      = 253
	maxNamespace = 63
)

// isLabel reports whether a text is a label of RFC 1123.
func isLabel(text string) bool {
	for _, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return text != "" && text[0] != '-' && text[len(text)-1] != '-'
}

// isObjectName reports whether a text can be the name of an object of Kubernetes: labels with dots between them.
func isObjectName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return len(text) <= maxName
}

// CheckNamespace checks the name of a namespace. Errors: one for its owner.
func CheckNamespace(label string) error {
	if len(label) > maxNamespace || !isLabel(label) {
		return errors.New("must be the name of a namespace: lower-case letters, digits and -, at most 63")
	}
	return nil
}

// AllFolder is the folder of what all runtimes use.
const AllFolder = "resources/all-runtimes-all-clusters"

// Folder returns the folder of a runtime.
//
// Errors: one for the owner of the runtime, whose name cannot be a folder.
func Folder(runtime string) (string, error) {
	for part := range strings.SplitSeq(runtime, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return "", fmt.Errorf("the name of the runtime %s cannot be a folder of a repository", runtime)
		}
	}
	return "resources/runtimes/" + runtime, nil
}

// Files returns the content of the files of an integration by their paths. target returns where the files of a runtime are used, "" for
// those of all. random is read for session keys.
//
// Errors: one for the owner of the integration, whose name or runtimes do not fit, and those of target and of random.
func Files(i Integration, target func(runtime string) (Target, error), random io.Reader) (map[string][]byte, error) {
	if !isObjectName(i.Name) {
		return nil, fmt.Errorf("the name %s cannot be that of an object of Kubernetes: it has lower-case letters, digits, - and . only", i.Name)
	}
	if len(i.Runtimes) == 0 {
		files := map[string][]byte{}
		return files, add(files, AllFolder, "", i, target, random)
	}
	files := map[string][]byte{}
	for _, runtime := range i.Runtimes {
		folder, err := Folder(runtime)
		if err == nil {
			err = add(files, folder, runtime, i, target, random)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func add(files map[string][]byte, folder, runtime string, i Integration, target func(string) (Target, error), random io.Reader) error {
	at, err := target(runtime)
	if err != nil {
		return err
	}
	base := folder + "/" + i.Name + "." + strings.ReplaceAll(i.Type, ".", "-")
	data := map[string]string{"name": i.Name, "type": i.Type, "secretName": secretName(i), "runtimes": "*"}
	if len(i.Runtimes) > 0 {
		data["runtimes"] = strings.Join(i.Runtimes, ",")
	}
	maps.Copy(data, i.Config)
	config := object{APIVersion: "v1", Kind: "ConfigMap", Metadata: metadataOf(i, i.Name, at.Namespace), Data: data}
	if files[base+".config.yaml"], err = encode(config); err != nil {
		return err
	}
	hidden := object{Metadata: metadataOf(i, secretName(i), at.Namespace)}
	if at.Sealer != nil {
		hidden.APIVersion, hidden.Kind = "bitnami.com/v1alpha1", "SealedSecret"
		hidden.Spec, err = sealed(i, at, random)
	} else {
		hidden.APIVersion, hidden.Kind = "external-secrets.io/v1", "ExternalSecret"
		hidden.Spec = external(i, at)
	}
	if err == nil {
		files[base+".secret.yaml"], err = encode(hidden)
	}
	return err
}

// secretName returns the name of the secret that the cluster makes.
func secretName(i Integration) string { return i.Name }

type metadata struct {
	Name      string            `yaml:"name,omitempty"`
	Namespace string            `yaml:"namespace,omitempty"`
	Labels    map[string]string `yaml:"labels"`
}

type object struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   metadata          `yaml:"metadata"`
	Data       map[string]string `yaml:"data,omitempty"`
	Spec       any               `yaml:"spec,omitempty"`
}

func metadataOf(i Integration, label, namespace string) metadata {
	return metadata{Name: label, Namespace: namespace, Labels: labelsOf(i)}
}

func labelsOf(i Integration) map[string]string {
	return map[string]string{labelType: i.Type, labelName: i.Name}
}

func encode(o object) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := e.Encode(o)
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encoding the file of an integration: %w", err)
	}
	return out.Bytes(), nil
}

type sealedSpec struct {
	EncryptedData map[string]string `yaml:"encryptedData"`
	Template      sealedTemplate    `yaml:"template"`
}

type sealedTemplate struct {
	Metadata metadata `yaml:"metadata"`
	Type     string   `yaml:"type"`
}

func sealed(i Integration, at Target, random io.Reader) (sealedSpec, error) {
	s := sealedSpec{EncryptedData: map[string]string{},
		Template: sealedTemplate{Metadata: metadataOf(i, secretName(i), at.Namespace), Type: "Opaque"}}
	for _, key := range slices.Sorted(maps.Keys(i.Secret)) {
		text, err := at.Sealer.Seal(random, at.Namespace, secretName(i), i.Secret[key])
		if err != nil {
			return s, err
		}
		s.EncryptedData[key] = text
	}
	return s, nil
}

type externalSpec struct {
	RefreshInterval string          `yaml:"refreshInterval"`
	SecretStoreRef  externalStore   `yaml:"secretStoreRef"`
	Target          externalTarget  `yaml:"target"`
	Data            []externalValue `yaml:"data"`
}

type externalStore struct {
	Kind string `yaml:"kind"`
	Name string `yaml:"name"`
}

type externalTarget struct {
	Name     string           `yaml:"name"`
	Template externalTemplate `yaml:"template"`
}

type externalTemplate struct {
	Type     string   `yaml:"type"`
	Metadata metadata `yaml:"metadata"`
}

type externalValue struct {
	SecretKey string         `yaml:"secretKey"`
	RemoteRef externalRemote `yaml:"remoteRef"`
}

type externalRemote struct {
	Key      string `yaml:"key"`
	Property string `yaml:"property"`
}

// external returns the ExternalSecret that reads each key of an integration from the entry PREFIX+NAME of the store.
func external(i Integration, at Target) externalSpec {
	s := externalSpec{RefreshInterval: "1h", SecretStoreRef: externalStore{at.External.Kind, at.External.Store},
		Target: externalTarget{secretName(i), externalTemplate{"Opaque", metadata{Labels: labelsOf(i)}}}}
	for _, key := range slices.Sorted(maps.Keys(i.Secret)) {
		s.Data = append(s.Data, externalValue{key, externalRemote{at.External.Prefix + i.Name, key}})
	}
	return s
}
