package rancher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// Updater writes new tokens into the credentials of the registries of an environment at half of their life, and after 6 hours at most. A
// failure changes nothing in Rancher; the next attempt follows after 2 seconds, then after twice as long, up to 5 minutes.
type Updater struct {
	API *Client
	// Tokens gets the tokens of all registries, by one call.
	Tokens func(ctx context.Context) ([]credential.Credential, error)
	// Verify asks a registry whether it accepts a token; nil for no check. A token that is refused is not written. A registry that cannot
	// be reached from here is no reason to keep the old one, for the hosts of the environment may reach it.
	Verify func(ctx context.Context, c credential.Credential) error
	Create bool // registries and credentials that Rancher does not have
	Log    *slog.Logger

	Now    func() time.Time                                 // nil means time.Now
	Wait   func(ctx context.Context, d time.Duration) error // nil means to wait for that time by the clock
	Jitter func() float64                                   // from 0 to 1; nil means at random

	mu        sync.Mutex
	held      []credential.Credential          // of the last call
	delivered map[string]credential.Credential // what Rancher has, by host
	lastErr   error                            // of the last attempt
}

const (
	// noEmail is the address of credentials, which Rancher wants and no registry reads. Source: the updater rancher-ecr-credentials.
	noEmail = "not-really@required.anymore"
	// target is the name of what is refreshed in the log.
	target = "Rancher"
)

// Once updates the credentials once.
//
// Errors: [ErrUnusable]; those of the call for tokens and of the requests to Rancher; a registry is not in the environment.
func (u *Updater) Once(ctx context.Context) error { return u.refresher().Once(ctx) }

// Run updates the credentials until the context ends. It does not stop because of a failure.
//
// Errors: that of the context.
func (u *Updater) Run(ctx context.Context) error { return u.refresher().Run(ctx) }

// Check asks Rancher whether the access key may do what the updater does.
//
// Errors: [ErrUnusable]; a request failed.
func (u *Updater) Check(ctx context.Context) error {
	_, err := u.API.schemas(ctx, u.Create)
	return err
}

// refresher returns what has the times of the attempts. All registries are one target, since one call gets their tokens.
func (u *Updater) refresher() *credential.Refresher {
	return &credential.Refresher{Source: source{u}, Deliver: u.deliver, Hosts: []string{target}, Now: u.Now, Wait: u.Wait, Jitter: u.Jitter,
		Log: func(format string, args ...any) {
			level := slog.LevelInfo
			if u.failed() != nil {
				level = slog.LevelError
			}
			u.Log.Log(context.Background(), level, fmt.Sprintf(format, args...))
		}}
}

func (u *Updater) now() time.Time {
	if u.Now == nil {
		return time.Now()
	}
	return u.Now()
}

func (u *Updater) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lastErr
}

// source is the source of the tokens for the refresher.
type source struct{ u *Updater }

// Credential gets new tokens and returns the one that ends first, which decides when they are renewed. Tokens that are not yet due, and
// which Rancher has not taken, are used again.
func (s source) Credential(ctx context.Context, _ string) (credential.Credential, error) {
	u := s.u
	first, err := u.first(ctx)
	if err != nil {
		u.mu.Lock()
		u.lastErr = err
		u.mu.Unlock()
	}
	return first, err
}

func (u *Updater) first(ctx context.Context) (credential.Credential, error) {
	soonest := func(a, b credential.Credential) int { return a.RenewAt().Compare(b.RenewAt()) }
	if u.failed() != nil && len(u.held) > 0 {
		if first := slices.MinFunc(u.held, soonest); u.now().Before(first.RenewAt()) {
			return first, nil
		}
	}
	u.held = nil
	tokens, err := u.Tokens(ctx)
	if err != nil {
		return credential.Credential{}, err
	}
	slices.SortStableFunc(tokens, func(a, b credential.Credential) int { return strings.Compare(a.Host, b.Host) })
	tokens = slices.CompactFunc(tokens, func(a, b credential.Credential) bool { return a.Host == b.Host })
	if len(tokens) == 0 {
		return credential.Credential{}, errors.New("the answer has no token")
	}
	u.Log.Debug("got tokens", "count", len(tokens))
	u.held = tokens
	return slices.MinFunc(tokens, soonest), nil
}

// deliver writes the tokens that are held into Rancher, each as far as it can be.
func (u *Updater) deliver(ctx context.Context, _ []credential.Credential) error {
	err := u.write(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lastErr = err
	return err
}

func (u *Updater) write(ctx context.Context) error {
	schemas, err := u.API.schemas(ctx, u.Create)
	if err != nil {
		return err
	}
	registries, err := u.API.list(ctx, schemas[registryType].Links.Collection, nil)
	if err != nil {
		return fmt.Errorf("listing the registries of the environment: %w", err)
	}
	var all []error
	for _, c := range u.held {
		if u.has(c) {
			continue
		}
		err := u.verified(ctx, c)
		if errors.Is(err, credential.ErrRefused) {
			u.held = nil // a further attempt gets others
			all = append(all, err)
			break
		}
		if err != nil {
			u.Log.Debug("the registry could not be asked about the new token, which is written all the same", "host", c.Host, "error", err.Error())
		}
		if err := u.update(ctx, schemas, registries, c); err != nil {
			all = append(all, err)
			continue
		}
		u.mu.Lock()
		if u.delivered == nil {
			u.delivered = map[string]credential.Credential{}
		}
		u.delivered[c.Host] = c
		u.mu.Unlock()
	}
	return errors.Join(all...)
}

// has reports whether a token was written by an attempt that could not write another.
func (u *Updater) has(c credential.Credential) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	had, ok := u.delivered[c.Host]
	return ok && had.Password.Equal(c.Password) && had.From.Equal(c.From)
}

func (u *Updater) verified(ctx context.Context, c credential.Credential) error {
	if u.Verify == nil {
		return nil
	}
	return u.Verify(ctx, c)
}

// update writes one token into the credentials of all registries whose address names its host.
func (u *Updater) update(ctx context.Context, schemas map[string]schema, registries []object, c credential.Credential) error {
	var matched []object
	for _, r := range registries {
		if host, err := credential.ParseHost(r.ServerAddress); err == nil && host == c.Host {
			matched = append(matched, r)
		}
	}
	if len(matched) == 0 && !u.Create {
		return u.missing(ctx, schemas, registries, c.Host)
	}
	if len(matched) == 0 {
		in := map[string]string{"type": registryType, "serverAddress": c.Host, "name": c.Host}
		var made object
		if _, err := u.API.call(ctx, http.MethodPost, schemas[registryType].Links.Collection, in, &made); err != nil {
			return fmt.Errorf("creating the registry %s: %w", c.Host, err)
		}
		if made.ID == "" {
			return fmt.Errorf("%w: the answer has no id of the new registry %s", ErrUnusable, c.Host)
		}
		u.Log.Info("created a registry in Rancher", "host", c.Host, "registry", made.ID)
		matched = append(matched, made)
	}
	var all []error
	for _, r := range matched {
		all = append(all, u.put(ctx, schemas[credentialType].Links.Collection, r, c))
	}
	return errors.Join(all...)
}

// put writes a token into the credential of a registry.
func (u *Updater) put(ctx context.Context, collection string, registry object, c credential.Credential) error {
	credentials, err := u.API.list(ctx, collection, url.Values{"registryId": {registry.ID}})
	if err != nil {
		return fmt.Errorf("listing the credentials of %s: %w", c.Host, err)
	}
	credentials = slices.DeleteFunc(credentials, func(o object) bool { return o.RegistryID != registry.ID })
	value := map[string]string{"publicValue": c.Username, "secretValue": c.Password.Reveal(), "email": noEmail}
	switch {
	case len(credentials) == 1:
		if _, err := u.API.call(ctx, http.MethodPut, credentials[0].Links.Self, value, nil); err != nil {
			return fmt.Errorf("updating the credential of %s: %w", c.Host, err)
		}
	case len(credentials) == 0 && u.Create:
		value["type"], value["registryId"] = credentialType, registry.ID
		if _, err := u.API.call(ctx, http.MethodPost, collection, value, nil); err != nil {
			return fmt.Errorf("creating the credential of %s: %w", c.Host, err)
		}
	default:
		return fmt.Errorf("the registry %s (%s) has %d credentials in Rancher, want exactly 1", c.Host, registry.ID, len(credentials))
	}
	u.Log.Info("updated the credential of a registry in Rancher", "host", c.Host, "registry", registry.ID, "ends",
		c.ExpiresAt.UTC().Format(time.RFC3339))
	return nil
}

// missing returns the error for a registry that the environment does not have, and logs what it has.
func (u *Updater) missing(ctx context.Context, schemas map[string]schema, registries []object, host string) error {
	environment := u.API.URL.Redacted()
	if projects := schemas[projectType].Links.Collection; projects != "" {
		if list, err := u.API.list(ctx, projects, nil); err == nil && len(list) > 0 { // else the URL must do
			var names []string
			for _, p := range list {
				names = append(names, cmp.Or(p.Name, p.ID))
			}
			environment = strings.Join(names, ", ")
		}
	}
	addresses := []string{}
	for _, r := range registries {
		addresses = append(addresses, r.ServerAddress)
	}
	u.Log.Warn("Failed to find Rancher registry to update for ECR Host", "host", host, "environment", environment, "addresses", addresses,
		"hint", "add the registry with this address, with its port, to this environment, or set AUTO_CREATE=true")
	return fmt.Errorf("failed to find configured registry %s in the environment %s", host, environment)
}
