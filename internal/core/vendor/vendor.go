// Package vendor keeps what vendors ship to customers: applications with their channels and releases, customers, and their licences.
package vendor

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Keys seals secrets, and opens them.
type Keys interface {
	// SealForeign seals a text, which opens only with the same context.
	SealForeign(context string, s secret.String) []byte
	// OpenForeign opens what SealForeign has sealed.
	OpenForeign(context string, sealed []byte) (secret.String, error)
}

// Service keeps applications and customers. It is safe for concurrent use.
type Service struct {
	meta  *meta.Store
	keys  Keys
	hosts *endpoint.Map
	own   []string // domains of the installation alone
	now   func() time.Time

	places     Places // of the settings
	hostRights []HostRight
	names      hostNames

	charts *chartCache
	seen   lastSeen

	warning, inactive time.Duration
}

// Options holds the parameters of New. All but Domains are required.
type Options struct {
	Meta    *meta.Store
	Keys    Keys
	Hosts   *endpoint.Map
	Domains []string // that the installation has beside those of AWS
	// Places are the public addresses that licences and releases name; an empty one is that of the request.
	Places Places
	// HostRights are the names that accounts may give to their applications.
	HostRights []HostRight
	Now        func() time.Time

	Warning  time.Duration // how long before its end an event tells about a licence; 0 for none
	Inactive time.Duration // after which an installation that was not seen is inactive; 0 for never
}

// New returns a Service.
func New(o Options) *Service {
	s := &Service{charts: newChartCache(), meta: o.Meta, keys: o.Keys, hosts: o.Hosts, now: o.Now, places: o.Places,
		hostRights: o.HostRights, warning: o.Warning, inactive: o.Inactive}
	for _, d := range o.Domains {
		s.own = append(s.own, strings.ToLower(strings.Trim(d, ".")))
	}
	return s
}

// keyBits is the size of the keys of applications and of the root key.
const keyBits = 2048

// base62 are the digits of ids, in the order of their values.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// idEpoch is the second from which ids count.
const idEpoch = 1_400_000_000

// NewID returns an id of 27 letters and digits: 32 bits of the time in seconds and 128 random bits. The order of ids by bytes is that of
// their seconds.
//
// Source: the form of KSUIDs.
func NewID(now time.Time) string {
	var raw [20]byte
	at := uint32(now.Unix() - idEpoch)
	raw[0], raw[1], raw[2], raw[3] = byte(at>>24), byte(at>>16), byte(at>>8), byte(at)
	rand.Read(raw[4:])
	n, digit, base := new(big.Int).SetBytes(raw[:]), new(big.Int), big.NewInt(62)
	var text [27]byte
	for i := len(text) - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = base62[digit.Int64()]
	}
	return string(text[:])
}

var notSlug = lazyregexp.New(`[^a-z0-9]+`)

// Slug returns the slug of a name: lower-case letters and digits, with - for what is between words. It is "" for a name without any.
func Slug(name string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return strings.TrimRight(s[:min(len(s), maxSlug)], "-")
}

// The limits of texts, in characters.
const (
	maxName = 255
	maxSlug = 63
)

var slugText = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// invalid returns the error of a member of a request.
func invalid(member, format string, a ...any) error {
	return fault.InvalidParameter.New("Invalid parameter at '%s' failed to satisfy constraint: '%s'", member, fmt.Sprintf(format, a...))
}

// CreateApplication makes an application with the channels Unstable, Beta and Stable, and its key. slug "" is that of the name.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutApplication.
func (s *Service) CreateApplication(ctx context.Context, account name.Account, label, slug, by string) (meta.Application, error) {
	if slug == "" {
		slug = Slug(label)
	}
	switch {
	case label == "" || len(label) > maxName:
		return meta.Application{}, invalid("applicationName", "1 to %d characters", maxName)
	case !slugText.MatchString(slug):
		return meta.Application{}, invalid("slug", "1 to %d lower-case letters, digits and hyphens", maxSlug)
	case slug == "proxy" || slug == "library":
		return meta.Application{}, invalid("slug", "%s has a meaning in names of images: take another one", slug)
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return meta.Application{}, err
	}
	a := meta.Application{ID: NewID(s.now()), Account: account, Slug: slug, Name: label, CreatedBy: by}
	if a.PublicKey, err = license.PublicPEM(&key.PublicKey); err != nil {
		return meta.Application{}, err
	}
	a.Sealed = s.keys.SealForeign(a.ARN(), privateText(key))
	var channels []meta.Channel
	for i, label := range []string{"Unstable", "Beta", "Stable"} {
		// The ids are in the order of the channels, which the second alone does not give.
		channels = append(channels, meta.Channel{ID: NewID(s.now().Add(time.Duration(i-2) * time.Second)), Name: label, Slug: Slug(label),
			Default: i == 0})
	}
	return s.meta.PutApplication(ctx, a, channels)
}

// SlugOf returns the slug of an application that is named by its id or its slug. A slug is returned as it is: whether there is an
// application with it is for the operation to say, which decides first.
//
// Errors: fault.ObjectNotFound (the id).
func (s *Service) SlugOf(ctx context.Context, account name.Account, idOrSlug string) (string, error) {
	if slugText.MatchString(idOrSlug) {
		return idOrSlug, nil
	}
	a, err := s.meta.ApplicationByID(ctx, account, idOrSlug)
	return a.Slug, err
}

// SlugOfCustomer returns the slug of the application of a customer.
//
// Errors: fault.ObjectNotFound.
func (s *Service) SlugOfCustomer(ctx context.Context, account name.Account, id string) (string, error) {
	return s.meta.SlugOfCustomer(ctx, account, id)
}

// privateText returns a private key as text, to be sealed.
func privateText(k *rsa.PrivateKey) secret.String {
	return secret.New(base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(k)))
}

func parsePrivate(s secret.String) (*rsa.PrivateKey, error) {
	der, err := base64.StdEncoding.DecodeString(s.Reveal())
	if err != nil {
		return nil, errors.New("a stored key is damaged")
	}
	k, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, errors.New("a stored key is damaged")
	}
	return k, nil
}

// root returns the root key, and makes it at the first call.
func (s *Service) root(ctx context.Context) (*rsa.PrivateKey, error) {
	stored, err := s.meta.LicenseRoot(ctx)
	if errors.Is(err, fault.ObjectNotFound) {
		var k *rsa.PrivateKey
		if k, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
			return nil, err
		}
		var public string
		if public, err = license.PublicPEM(&k.PublicKey); err != nil {
			return nil, err
		}
		stored, err = s.meta.PutLicenseRoot(ctx, meta.LicenseRoot{Sealed: s.keys.SealForeign(meta.LicenseRootContext, privateText(k)),
			PublicKey: public})
	}
	if err != nil {
		return nil, err
	}
	text, err := s.keys.OpenForeign(meta.LicenseRootContext, stored.Sealed)
	if err != nil {
		return nil, err
	}
	return parsePrivate(text)
}

// PublicKey returns the public half of the root key as PEM: with it installers verify licences.
func (s *Service) PublicKey(ctx context.Context) (string, error) {
	k, err := s.root(ctx)
	if err != nil {
		return "", err
	}
	return license.PublicPEM(&k.PublicKey)
}

// Details are the settings of a customer that no query reads.
type Details struct {
	Email    string                   `json:"email,omitempty"`
	Type     string                   `json:"type"`
	Features license.Features         `json:"features"`
	Fields   map[string]license.Field `json:"fields,omitempty"`
}

// types are the types of customers.
var types = []string{"dev", "trial", "paid", "community", "single-tenant", "test"}

// maxTest is how long the licence of a customer of the type test is valid.
const maxTest = 48 * time.Hour

// NewCustomer makes a customer with its licence. Its Sealed and LicenseHash are set here, and its ID if it has none.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutCustomer.
func (s *Service) NewCustomer(ctx context.Context, a meta.Application, c meta.Customer, d Details) (meta.Customer, error) {
	c.ID, c.Application, c.Account = cmp.Or(c.ID, NewID(s.now())), a.ID, a.Account
	id := NewID(s.now())
	c.Sealed, c.LicenseHash = s.keys.SealForeign(c.SealContext(), secret.New(id)), identity.HashCustomerPassword(id)
	c.Version = 0
	return s.put(ctx, c, d)
}

// ChangeCustomer stores a changed customer.
//
// Errors: those of NewCustomer.
func (s *Service) ChangeCustomer(ctx context.Context, c meta.Customer, d Details) (meta.Customer, error) {
	return s.put(ctx, c, d)
}

func (s *Service) put(ctx context.Context, c meta.Customer, d Details) (meta.Customer, error) {
	if d.Type == "" {
		d.Type = "dev"
	}
	known := false
	for _, t := range types {
		known = known || t == d.Type
	}
	switch {
	case c.Name == "" || len(c.Name) > maxName:
		return c, invalid("customerName", "1 to %d characters", maxName)
	case !known:
		return c, invalid("customerType", "one of %s", strings.Join(types, ", "))
	case len(c.CustomID) > maxName || len(d.Email) > maxName:
		return c, invalid("customId", "at most %d characters", maxName)
	}
	if d.Type == "test" && (c.ExpiresAt.IsZero() || c.ExpiresAt.After(s.now().Add(maxTest))) {
		c.ExpiresAt = s.now().Add(maxTest)
	}
	c.ExpiresAt = c.ExpiresAt.Truncate(time.Second)
	text, err := json.Marshal(d)
	if err != nil {
		return c, err
	}
	c.Details = string(text)
	return s.meta.PutCustomer(ctx, c)
}

// LicenseID returns the id of the licence of a customer.
func (s *Service) LicenseID(c meta.Customer) (secret.String, error) {
	return s.keys.OpenForeign(c.SealContext(), c.Sealed)
}

// Places are the addresses that a licence names.
type Places struct {
	Endpoint string // URL of the server of updates
	Proxy    string // host of the proxy
	Registry string // host of what the vendor has pushed
}

// PlacesAt returns the addresses of the settings; for those that they do not have, the ones at the host of a request.
func (s *Service) PlacesAt(host string, secure bool) Places {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return Places{Endpoint: cmp.Or(s.places.Endpoint, scheme+host), Proxy: cmp.Or(s.places.Proxy, host),
		Registry: cmp.Or(s.places.Registry, host)}
}

// License returns the licence of a customer as a file.
//
// Errors: those of meta.Store and license.Encode.
func (s *Service) License(ctx context.Context, a meta.Application, c meta.Customer, v license.Version, p Places) ([]byte, error) {
	var d Details
	if err := json.Unmarshal([]byte(c.Details), &d); err != nil {
		return nil, fmt.Errorf("the details of the customer %s: %w", c.ID, err)
	}
	id, err := s.LicenseID(c)
	if err != nil {
		return nil, err
	}
	l := license.License{Name: cmpSlug(c.Name, c.ID), ID: id.Reveal(), Sequence: c.Sequence, Type: d.Type, AppSlug: a.Slug,
		Endpoint: p.Endpoint, ProxyDomain: p.Proxy, CustomerID: c.ID, CustomerName: c.Name, CustomerEmail: d.Email, Features: d.Features,
		Fields: map[string]license.Field{}}
	for _, of := range c.Channels {
		channel, err := s.meta.Channel(ctx, a.ID, of.Channel)
		if err != nil {
			return nil, err
		}
		l.Channels = append(l.Channels, license.Channel{ID: channel.ID, Name: channel.Name, Slug: channel.Slug, Default: of.Default,
			Endpoint: p.Endpoint, ProxyDomain: cmp.Or(channel.ProxyDomain, p.Proxy), SemverRequired: channel.SemverRequired})
	}
	l.ProxyDomain = cmp.Or(l.Channel().ProxyDomain, p.Proxy) // installers read this one first
	for label, f := range d.Fields {
		l.Fields[label] = f
	}
	end := ""
	if !c.ExpiresAt.IsZero() {
		end = c.ExpiresAt.UTC().Format(time.RFC3339)
	}
	l.Fields[license.FieldExpiry] = license.Field{Title: "Expiration", Description: "License Expiration", Value: license.Text(end),
		Type: "String"}
	signer, err := s.signer(ctx, a)
	if err != nil {
		return nil, err
	}
	return license.Encode(l, v, signer)
}

// signer returns what signs with the key of an application.
func (s *Service) signer(ctx context.Context, a meta.Application) (*license.Signer, error) {
	root, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	text, err := s.keys.OpenForeign(a.ARN(), a.Sealed)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(text)
	if err != nil {
		return nil, err
	}
	return license.NewSigner(key, root)
}

// Sign signs a document that is no licence with the key of an application.
func (s *Service) Sign(ctx context.Context, a meta.Application, message []byte) (license.Detached, error) {
	signer, err := s.signer(ctx, a)
	if err != nil {
		return license.Detached{}, err
	}
	return signer.Document(message)
}

// cmpSlug returns the slug of a name, or the lower-case id for a name without letters and digits of ASCII.
func cmpSlug(label, id string) string {
	if s := Slug(label); s != "" {
		return s
	}
	return strings.ToLower(id)
}

// NewToken makes a token of a customer. It is shown once.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutCustomerToken.
func (s *Service) NewToken(ctx context.Context, c meta.Customer, label, by string) (meta.CustomerToken, secret.String, error) {
	if !slugText.MatchString(label) {
		return meta.CustomerToken{}, secret.String{}, invalid("tokenName", "1 to %d lower-case letters, digits and hyphens", maxSlug)
	}
	token := identity.CustomerTokenPrefix + NewID(s.now())
	k, err := s.meta.PutCustomerToken(ctx, meta.CustomerToken{Customer: c.ID, Name: label, Hash: identity.HashCustomerPassword(token),
		CreatedBy: by})
	return k, secret.New(token), err
}

// RotateToken replaces a token of a customer. The one before is not valid any more. Errors: fault.ObjectNotFound.
func (s *Service) RotateToken(ctx context.Context, c meta.Customer, label string) (secret.String, error) {
	token := identity.CustomerTokenPrefix + NewID(s.now())
	return secret.New(token), s.meta.RotateCustomerToken(ctx, c.ID, label, identity.HashCustomerPassword(token))
}

// Entitle lets a customer, or with "" all customers of an application, pull images.
//
// Errors: fault.InvalidParameter, and those of meta.Store.PutEntitlement.
func (s *Service) Entitle(ctx context.Context, a meta.Application, customer string, r entitlement.Rule, by string) (
	meta.Entitlement, error) {
	if err := r.Check(); err != nil {
		return meta.Entitlement{}, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return meta.Entitlement{}, err
	}
	return s.meta.PutEntitlement(ctx, meta.Entitlement{ID: NewID(s.now()), Application: a.ID, Customer: customer, Rule: string(text),
		CreatedBy: by})
}
