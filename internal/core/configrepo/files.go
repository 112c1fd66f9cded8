package configrepo

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/rule/gitops"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// render returns the files of an integration.
//
// Errors: fault.IntegrationFailed, whose text is for its owner, and those of integration.Service.Parts.
func (s *Service) render(ctx context.Context, i meta.Integration, v Settings) (map[string][]byte, error) {
	p, err := s.remotes.Parts(ctx, i)
	if err != nil {
		return nil, err
	}
	now := s.now()
	files, err := gitops.Files(describe(i, p), func(runtime string) (gitops.Target, error) { return target(v, runtime, now) }, rand.Reader)
	if err != nil {
		return nil, fault.IntegrationFailed.New("%s", err.Error())
	}
	return files, nil
}

// target returns where the files of a runtime are used.
func target(v Settings, runtime string, now time.Time) (t gitops.Target, err error) {
	t.Namespace = v.Namespace
	certificate := v.Certificate
	if n := slices.IndexFunc(v.Runtimes, func(r Runtime) bool { return r.Name == runtime }); n >= 0 {
		if own := v.Runtimes[n].Namespace; own != "" {
			t.Namespace = own
		}
		if own := v.Runtimes[n].Certificate; own != "" {
			certificate = own
		}
	}
	if v.Store != "" {
		t.External = gitops.External{Kind: v.StoreKind, Store: v.Store, Prefix: v.Prefix}
		return t, nil
	}
	if t.Sealer, err = gitops.NewSealer(certificate); err != nil {
		return t, err
	}
	if t.Sealer.Expired(now) {
		return t, fmt.Errorf("the certificate of Sealed Secrets has ended on %s: get the new one by kubeseal --fetch-cert, and set it",
			t.Sealer.End().UTC().Format(time.DateOnly))
	}
	return t, nil
}

// describe returns what is written of an integration: what the platform's own form has, with its names.
func describe(i meta.Integration, p integration.Parts) gitops.Integration {
	out := gitops.Integration{Name: i.Name, Runtimes: i.Scope, Config: map[string]string{}, Secret: map[string]secret.String{}}
	set := func(key, value string) {
		if value != "" {
			out.Config[key] = value
		}
	}
	hide := func(key, value string) {
		if value != "" {
			out.Secret[key] = secret.New(value)
		}
	}
	v := p.Settings
	switch i.Kind {
	case integration.ECR, integration.Ecrin:
		out.Type = "registry." + strings.ToLower(i.Kind)
		set("region", v.Region)
		set("registryId", v.RegistryID)
		set("domain", v.Host)
		if i.Kind == integration.Ecrin {
			set("endpoint", v.API)
		}
		hide("aws-region", v.Region)
		if p.ByRole() {
			// The runtime assumes the role as itself: it needs no key of the one that does so here.
			set("authMode", "role")
			role, external := v.RoleARN, v.ExternalID
			if p.Cloud.RoleARN != "" {
				role, external = p.Cloud.RoleARN, p.Cloud.ExternalID
				set("secondRole", v.RoleARN)
				set("secondExternalId", v.ExternalID)
			} else {
				set("secondRole", v.SecondRole)
				set("secondExternalId", v.SecondID)
			}
			set("role", role)
			set("externalId", external)
			hide("role", role)
			return out
		}
		set("authMode", "accessKey")
		key, hidden := v.AccessKeyID, p.Secrets
		if p.Cloud.AccessKeyID != "" {
			key, hidden = p.Cloud.AccessKeyID, p.CloudSecrets
		}
		set("accessKeyId", masked(key))
		hide("aws-access-key", key)
		hide("aws-secret-key", hidden.SecretAccessKey)
		hide("aws-session-token", hidden.SessionToken)
	case integration.OCI:
		out.Type = "registry." + strings.ReplaceAll(strings.ToLower(report.RegistryType(v.Host, false)), "_", "-")
		set("domain", v.Host)
		set("username", v.Username)
		hide("domain", v.Host)
		hide("username", v.Username)
		hide("password", p.Secrets.Password)
	default:
		out.Type = "git." + v.Provider
		if i.Kind == integration.Issues {
			out.Type = "issue." + v.Provider
		}
		set("url", v.URL)
		set("username", v.Username)
		hide("url", v.URL)
		hide("username", v.Username)
		hide("token", p.Secrets.Password)
		set("knownHosts", v.KnownHosts)
		hide("sshPrivateKey", p.Secrets.Key)
	}
	return out
}

// masked returns the id of a key as the platform shows it: its last four characters.
func masked(key string) string {
	const shown = 4
	if len(key) <= shown {
		return strings.Repeat("*", len(key))
	}
	return strings.Repeat("*", len(key)-shown) + key[len(key)-shown:]
}
