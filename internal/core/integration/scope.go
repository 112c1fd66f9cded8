package integration

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// keysSince is the first version of runtimes that can use an integration by access key.
const keysSince = "0.1.27"

// byRole reports whether an integration gets its credentials by a role.
func (s Settings) byRole() bool { return s.RoleARN != "" || s.Cloud != "" || s.WebIdentity }

// usable checks that a runtime can use an integration: a hosted one has no role of its own that a trust policy could name, and an old one
// does not know access keys. Errors: fault.InvalidParameter.
func usable(kind string, s Settings, label string, r Runtime) error {
	switch {
	case kind != ECR && kind != Ecrin:
	case s.byRole() && r.Hosted:
		return Bad("runtimes", "an integration by role cannot be used by the hosted runtime "+label+
			": hosted runtimes need an integration by access key")
	case !s.byRole() && semver.Key(r.Version) < semver.Key(keysSince):
		return Bad("runtimes", "an integration by access key needs runtimes of the version "+keysSince+" or later: "+label+" has "+r.Version)
	}
	return nil
}

// checkScope checks that the runtimes of the scope of an integration can use it. A runtime may change later, so that the use checks it
// again.
//
// Errors: fault.InvalidParameter, fault.ObjectNotFound.
func (s *Service) checkScope(ctx context.Context, i meta.Integration, settings Settings) error {
	for _, label := range i.Scope {
		if err := s.checkRuntime(ctx, i, settings, label); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkRuntime(ctx context.Context, i meta.Integration, settings Settings, label string) error {
	o, err := s.meta.Object(ctx, i.Account, meta.KindRuntime, label)
	if err != nil {
		return err
	}
	var r Runtime
	if err := Read(o, &r); err != nil {
		return err
	}
	return usable(i.Kind, settings, label, r)
}

// ForRuntime returns the integration of a name for a runtime; runtime "" is none, for which every integration of the account may be used.
//
// Errors: fault.IntegrationNotFound (it does not exist, or the runtime is not in its scope), fault.ObjectNotFound (of the runtime),
// fault.InvalidParameter (the runtime cannot use one of this mode).
func (s *Service) ForRuntime(ctx context.Context, account name.Account, label, runtime string) (meta.Integration, error) {
	i, err := s.meta.Integration(ctx, account, label)
	if err != nil || runtime == "" {
		return i, err
	}
	if len(i.Scope) > 0 && !slices.Contains(i.Scope, runtime) {
		return meta.Integration{}, fault.IntegrationNotFound.New("the integration %s is not for the runtime %s: its scope is %s",
			i.Name, name.Clip(runtime), strings.Join(i.Scope, ", "))
	}
	settings, err := SettingsOf(i)
	if err == nil {
		err = s.checkRuntime(ctx, i, settings, runtime)
	}
	if err != nil {
		return meta.Integration{}, err
	}
	return i, nil
}

// ForIngress returns the integration of a name for the runtimes of an account whose ingress host, HOST or HOST:PORT, a request was sent to:
// one that any of them may use. A host of no runtime may use every integration of the account.
//
// Errors: those of ForRuntime.
func (s *Service) ForIngress(ctx context.Context, account name.Account, label, host string) (i meta.Integration, err error) {
	all, err := s.meta.Objects(ctx, account, meta.KindRuntime)
	if err != nil {
		return i, err
	}
	var at []string
	for _, o := range all {
		var r Runtime
		if err := Read(o, &r); err != nil {
			return i, err
		}
		if u, err := url.Parse(r.IngressHost); err == nil && u.Host != "" && strings.EqualFold(u.Host, host) {
			at = append(at, o.Name)
		}
	}
	if len(at) == 0 {
		at = []string{""}
	}
	for _, runtime := range at {
		if i, err = s.ForRuntime(ctx, account, label, runtime); err == nil {
			break
		}
	}
	return i, err
}

// ForHost returns the integrations of an account that a runtime may use for a registry host, in the order in which they are tried: by role
// before by key before by password before anonymous, and by name. runtime "" is none.
func (s *Service) ForHost(ctx context.Context, account name.Account, host, runtime string) (all []meta.Integration, err error) {
	stored, err := s.meta.Integrations(ctx, account)
	if err != nil {
		return nil, err
	}
	weight := map[string]int{}
	for _, i := range stored {
		settings, err := SettingsOf(i)
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(settings.Host, host) {
			continue
		}
		_, err = s.ForRuntime(ctx, account, i.Name, runtime)
		switch {
		case errors.Is(err, fault.IntegrationNotFound), errors.Is(err, fault.InvalidParameter):
			continue
		case err != nil:
			return nil, err
		}
		weight[i.Name] = settings.strength()
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b meta.Integration) int { return weight[a.Name] - weight[b.Name] })
	return all, nil
}

// Try calls do with the registries of integrations, one after the other, until one does not deny it: another identity is used only after a
// denial, never after another error, which might pass and would then be hidden by what a weaker identity sees.
//
// Errors: that of the last call of do; those of Remote; fault.IntegrationNotFound for an empty list.
func (s *Service) Try(ctx context.Context, all []meta.Integration, do func(*Remote) error) error {
	err := error(fault.IntegrationNotFound.New("no integration of the account is for this registry"))
	for _, i := range all {
		var r *Remote
		if r, err = s.Remote(ctx, i); err != nil {
			return err
		}
		if err = do(r); !errors.Is(err, upstream.Denied) {
			return err
		}
	}
	return err
}
