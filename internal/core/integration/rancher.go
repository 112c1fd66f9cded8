package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// MaxRancherRegistries limits the registries of an environment, so that its row with all passwords has less than 1 MiB.
const MaxRancherRegistries = 50

// Rancher is an environment of Rancher 1.x: the registries whose credentials its hosts pull with. It is stored as one object, so that
// what is read together is from one moment, and of two changes at a time one is done again with what the other has made.
type Rancher struct {
	Made       int64             `json:"made"` // number of ids that were given; none is given twice
	Hosts      []string          `json:"hosts,omitempty"`
	Registries []RancherRegistry `json:"registries,omitempty"`

	secrets map[string]string // by the ids of credentials
}

// RancherRegistry is a registry of an environment, which has a credential or none.
type RancherRegistry struct {
	ID          string             `json:"id"`
	Address     string             `json:"address"` // as it was given: HOST, HOST:PORT or a URL
	Name        string             `json:"name,omitempty"`
	Description string             `json:"description,omitempty"`
	CreatedAt   time.Time          `json:"createdAt"`
	Credential  *RancherCredential `json:"credential,omitempty"`
}

// RancherCredential is what is not secret of the credential of a registry.
type RancherCredential struct {
	ID        string    `json:"id"`
	User      string    `json:"user"`
	Email     string    `json:"email,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (r *Rancher) check() ([]meta.ObjectName, error) { return nil, nil }

// ReadRancher returns the environment of an object without the secrets. An object with the version 0 is an empty one.
func ReadRancher(o meta.Object) (*Rancher, error) {
	r := &Rancher{}
	if o.Version == 0 {
		return r, nil
	}
	return r, Read(o, r)
}

// OpenRancher returns the environment of an object, with the secrets.
//
// Errors: fault.IntegrationFailed (another master key has sealed them).
func (s *Service) OpenRancher(o meta.Object) (*Rancher, error) {
	r, err := ReadRancher(o)
	if err != nil || o.Version == 0 {
		return r, err
	}
	text, err := s.keys.OpenForeign(o.ARN(), o.Sealed)
	if err == nil {
		err = json.Unmarshal([]byte(text.Reveal()), &r.secrets)
	}
	if err != nil {
		return nil, fault.IntegrationFailed.New("the credentials of %s cannot be read with the master key of this server: delete the "+
			"environment and add it again", o.ARN()).Because(err)
	}
	return r, nil
}

// PutRancher stores an environment, with its secrets, in place of the object with the version of o.
//
// Errors: those of meta.Store.PutObject.
func (s *Service) PutRancher(ctx context.Context, o meta.Object, r *Rancher) (meta.Object, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return o, fmt.Errorf("encoding an environment: %w", err)
	}
	hidden, err := json.Marshal(r.secrets)
	if err != nil {
		return o, fmt.Errorf("encoding the credentials of an environment: %w", err)
	}
	o.Settings, o.Sealed = string(text), s.keys.SealForeign(o.ARN(), secret.New(string(hidden)))
	return s.meta.PutObject(ctx, o)
}

// id gives an id. The prefixes are those of Rancher: 1sp for registries, 1c for credentials.
func (r *Rancher) id(prefix string) string {
	r.Made++
	return prefix + strconv.FormatInt(r.Made, 10)
}

// Registry returns the registry with an id. Errors: fault.ObjectNotFound.
func (r *Rancher) Registry(id string) (*RancherRegistry, error) {
	for i := range r.Registries {
		if r.Registries[i].ID == id {
			return &r.Registries[i], nil
		}
	}
	return nil, fault.ObjectNotFound.New("the environment has no registry %s", name.Clip(id))
}

// CredentialOf returns the registry whose credential has an id. Errors: fault.ObjectNotFound.
func (r *Rancher) CredentialOf(id string) (*RancherRegistry, error) {
	for i := range r.Registries {
		if c := r.Registries[i].Credential; c != nil && c.ID == id {
			return &r.Registries[i], nil
		}
	}
	return nil, fault.ObjectNotFound.New("the environment has no credential %s", name.Clip(id))
}

// RancherHost returns the host of the address of a registry, HOST or HOST:PORT in lower case, without a scheme, a path and the port of
// https. Hosts of an environment find the credential of an image by it.
func RancherHost(address string) string {
	host := strings.ToLower(address)
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(host, "/")
	return strings.TrimSuffix(host, ":443")
}

// AddRegistry adds a registry to an environment.
//
// Errors: fault.InvalidParameter (no address), fault.ObjectAlreadyExists (the environment has one with the host of the address),
// fault.LimitExceeded.
func (r *Rancher) AddRegistry(one RancherRegistry, now time.Time) (*RancherRegistry, error) {
	if one.Address == "" {
		return nil, Bad("serverAddress", "must be present")
	}
	if len(r.Registries) >= MaxRancherRegistries {
		return nil, fault.LimitExceeded.New("an environment can have at most %d registries", MaxRancherRegistries)
	}
	host := RancherHost(one.Address)
	if slices.ContainsFunc(r.Registries, func(o RancherRegistry) bool { return RancherHost(o.Address) == host }) {
		return nil, fault.ObjectAlreadyExists.New("the environment already has a registry with the address %s", host)
	}
	one.ID, one.CreatedAt, one.Credential = r.id("1sp"), now, nil
	r.Registries = append(r.Registries, one)
	return &r.Registries[len(r.Registries)-1], nil
}

// Secret returns the secret of the credential of a registry. The environment must be one of OpenRancher.
func (r *Rancher) Secret(of *RancherRegistry) secret.String {
	return secret.New(r.secrets[of.Credential.ID])
}

// SetCredential changes the credential of a registry, or makes it. What is "" stays.
//
// Errors: fault.InvalidParameter (a new one needs user and secret).
func (r *Rancher) SetCredential(of *RancherRegistry, user, email, value string, now time.Time) error {
	if of.Credential == nil {
		switch {
		case user == "":
			return Bad("publicValue", "must be present")
		case value == "":
			return Bad("secretValue", "must be present")
		}
		of.Credential = &RancherCredential{ID: r.id("1c"), CreatedAt: now}
	}
	c := of.Credential
	c.UpdatedAt = now
	if user != "" {
		c.User = user
	}
	if email != "" {
		c.Email = email
	}
	if value != "" {
		if r.secrets == nil {
			r.secrets = map[string]string{}
		}
		r.secrets[c.ID] = value
	}
	return nil
}

// DeleteCredential deletes the credential of a registry, if there is one.
func (r *Rancher) DeleteCredential(of *RancherRegistry) {
	if of.Credential != nil {
		delete(r.secrets, of.Credential.ID)
		of.Credential = nil
	}
}

// DeleteRegistry deletes a registry and its credential.
func (r *Rancher) DeleteRegistry(of *RancherRegistry) {
	id := of.ID
	r.DeleteCredential(of)
	r.Registries = slices.DeleteFunc(r.Registries, func(o RancherRegistry) bool { return o.ID == id })
}
