// Package apply brings accounts, principals, policies, registries and repositories of a server to the state that a file describes.
//
// What the file names gets the settings that the file states. Settings that it leaves out, and everything that it does not name, stay as
// they are. So a file can be applied again and again, and several files can describe different parts of one server.
package apply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// MaxFile is the size of a file in bytes that Parse reads.
const MaxFile = 4 << 20

// File is a parsed file.
type File struct {
	Accounts map[string]Account `yaml:"accounts"`
}

// Account is an account with what belongs to it.
type Account struct {
	Alias      string              `yaml:"alias"`
	Policies   map[string]Document `yaml:"policies"` // customer managed policies by name
	Groups     map[string]Group    `yaml:"groups"`
	Users      map[string]User     `yaml:"users"`
	Roles      map[string]Role     `yaml:"roles"`
	Registries map[string]Registry `yaml:"registries"` // by region
}

// Permissions are what a group, a user and a role have alike.
type Permissions struct {
	Policies []string            `yaml:"policies"` // ARNs, or the names of customer managed policies of the account; nil leaves them
	Inline   map[string]Document `yaml:"inline"`
}

// Group is a group of IAM.
type Group struct {
	Permissions `yaml:",inline"`
	Path        string `yaml:"path"`
}

// User is a user of IAM.
type User struct {
	Permissions `yaml:",inline"`
	Path        string   `yaml:"path"`
	Groups      []string `yaml:"groups"` // nil leaves them
	Boundary    string   `yaml:"boundary"`
	Keys        bool     `yaml:"keys"` // whether the user has an access key, which ecrin env --user prints
}

// Role is a role of IAM.
type Role struct {
	Permissions `yaml:",inline"`
	Path        string   `yaml:"path"`
	Trust       Document `yaml:"trust"`
	Boundary    string   `yaml:"boundary"`
	Duration    int32    `yaml:"duration"` // maximum of a session in seconds; 0 leaves it
}

// Registry is the registry of an account in a region.
type Registry struct {
	Policy       *Document             `yaml:"policy"`
	Replication  []ReplicationRule     `yaml:"replication"` // nil leaves the rules
	Caches       map[string]Cache      `yaml:"caches"`      // by the prefix of repositories
	Templates    map[string]Template   `yaml:"templates"`   // by prefix
	Repositories map[string]Repository `yaml:"repositories"`
}

// ReplicationRule is a rule of a registry.
type ReplicationRule struct {
	Prefixes     []string      `yaml:"prefixes"` // of repositories; none selects all
	Destinations []Destination `yaml:"destinations"`
}

// Destination is a registry to which images are copied.
type Destination struct {
	Region  string `yaml:"region"`
	Account string `yaml:"account"` // "" for that of the rule
}

// Cache is a pull-through cache rule.
type Cache struct {
	Upstream   string `yaml:"upstream"` // HOST or HOST:PORT
	Prefix     string `yaml:"prefix"`   // there; "" means ROOT
	Credential string `yaml:"credential"`
	Role       string `yaml:"role"`
}

// Settings are those of a repository that a template has too.
type Settings struct {
	Mutability string            `yaml:"mutability"` // MUTABLE, IMMUTABLE, …_WITH_EXCLUSION; "" leaves it
	Exclusions []string          `yaml:"exclusions"`
	Policy     *Document         `yaml:"policy"`
	Lifecycle  *Document         `yaml:"lifecycle"`
	Tags       map[string]string `yaml:"tags"`
}

// Repository is a repository.
type Repository struct {
	Settings   `yaml:",inline"`
	Protection string `yaml:"protection"` // NONE, REPOSITORY or REPOSITORY_AND_IMAGES; "" leaves it
}

// Template is a repository creation template.
type Template struct {
	Settings    `yaml:",inline"`
	For         []string `yaml:"for"` // PULL_THROUGH_CACHE, REPLICATION, CREATE_ON_PUSH
	Description string   `yaml:"description"`
}

// Document is a policy document: a mapping of YAML, or a text of JSON. Its value is compact JSON.
type Document string

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Document) UnmarshalYAML(n *yaml.Node) error {
	var value any
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		if err := json.Unmarshal([]byte(n.Value), &value); err != nil {
			return fmt.Errorf("line %d: a policy is a mapping, or a text of JSON: %w", n.Line, err)
		}
	} else if err := n.Decode(&value); err != nil {
		return err
	}
	if _, ok := value.(map[string]any); !ok {
		return fmt.Errorf("line %d: a policy is a mapping, or a text of JSON", n.Line)
	}
	b := &bytes.Buffer{}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("line %d: the policy cannot be written as JSON: %w", n.Line, err)
	}
	*d = Document(bytes.TrimSpace(b.Bytes()))
	return nil
}

// unknownKey is what the YAML library says of a key that a type does not have.
var unknownKey = lazyregexp.New(`field (\S+) not found in type \S+`)

// Parse parses a file. Unknown keys are errors, with their lines.
//
// Errors: the file is longer than MaxFile, is no YAML of this form, or has an account, region or name that is not valid.
func Parse(r io.Reader) (File, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return File{}, err
	}
	if len(text) > MaxFile {
		return File{}, fmt.Errorf("the file has more than %d bytes", MaxFile)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var f File
	if err := d.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return File{}, errors.New("the file is empty")
		}
		return File{}, errors.New(unknownKey.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n"),
			`there is no key "$1" here`))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return File{}, errors.New("the file has more than one document: only the first would be read")
	}
	return f, f.check()
}

// check checks the names whose form the server would only refuse after other changes were made.
func (f File) check() error {
	var wrong []error
	add := func(where string, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", where, err))
		}
	}
	for id, a := range sorted(f.Accounts) {
		_, err := name.ParseAccount(id)
		add("accounts."+id, err)
		for region, r := range sorted(a.Registries) {
			where := "accounts." + id + ".registries." + region
			_, err := name.ParseRegion(region)
			add(where, err)
			for repo, settings := range sorted(r.Repositories) {
				_, err := name.ParseRepo(repo)
				add(where+".repositories."+repo, err)
				add(where+".repositories."+repo, settings.check())
			}
			for prefix, t := range sorted(r.Templates) {
				if len(t.For) == 0 {
					add(where+".templates."+prefix, errors.New("for: at least one of PULL_THROUGH_CACHE, REPLICATION, CREATE_ON_PUSH is needed"))
				}
				add(where+".templates."+prefix, t.check())
			}
			for prefix, c := range sorted(r.Caches) {
				if c.Upstream == "" {
					add(where+".caches."+prefix, errors.New("upstream is missing"))
				}
			}
		}
		for user, u := range sorted(a.Users) {
			for _, g := range u.Groups {
				if g == "" {
					add("accounts."+id+".users."+user, errors.New("groups: a name is empty"))
				}
			}
		}
		for role, r := range sorted(a.Roles) {
			if r.Trust == "" {
				add("accounts."+id+".roles."+role, errors.New("trust is missing: who may assume the role"))
			}
		}
	}
	return errors.Join(wrong...)
}

func (s Settings) check() error {
	withExclusion := s.Mutability == "MUTABLE_WITH_EXCLUSION" || s.Mutability == "IMMUTABLE_WITH_EXCLUSION"
	if withExclusion != (len(s.Exclusions) > 0) {
		return errors.New("exclusions are given if, and only if, mutability ends in _WITH_EXCLUSION")
	}
	return nil
}

// sorted iterates over a map in the order of its keys.
func sorted[V any](m map[string]V) func(func(string, V) bool) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return func(yield func(string, V) bool) {
		for _, k := range keys {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
