package report

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// baseOf returns the URL of a provider without a slash at its end; a text without a scheme is a host. Errors: fault.InvalidParameter.
func baseOf(key, text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", badVariables(fmt.Errorf("%s must be a URL https://HOST", key))
	}
	return strings.TrimRight(text, "/"), nil
}

// failed returns the error of a provider as one of a report.
func failed(err error) error {
	if e, ok := errors.AsType[*forge.Error](err); ok {
		return fault.IntegrationFailed.New("%s", e.Public).Because(err)
	}
	return err
}

// siteOf returns the service of an integration of git or of issues; nil for none.
//
// Errors: fault.IntegrationFailed (it is of another kind, or its secrets cannot be read).
func (s *Service) siteOf(i *meta.Integration, kind string) (*forge.Site, error) {
	if i == nil {
		return nil, nil
	}
	if i.Kind != kind {
		return nil, fault.IntegrationFailed.New("the integration %s is of the kind %s: one of the kind %s is needed here", i.Name, i.Kind, kind)
	}
	site, err := s.remotes.Site(*i)
	site.From = "the integration " + i.Name
	return &site, err
}

// named returns the integration of a name that a report uses, and adds the question whether the caller may use it.
//
// Errors: fault.InvalidParameter (the runtime cannot use it). What does not exist is an Absent of t.
func (s *Service) named(ctx context.Context, req guard.Request, t *guard.Target[Reported], called string) (*meta.Integration, error) {
	i, err := s.remotes.ForIngress(ctx, t.Value.Account, called, req.Host.String())
	if errors.Is(err, fault.IntegrationNotFound) {
		if t.Absent == nil {
			t.Absent = err
		}
		i = meta.Integration{Account: t.Value.Account, Name: called}
	} else if err != nil {
		return nil, err
	}
	if req.By.Kind != identity.Operator {
		t.Asks = append(t.Asks, guard.Ask{Action: "ecrin:UseIntegration", Owner: guard.OwnedBy(i.Account), Region: req.Region, Resource: i.ARN()})
	}
	return &i, nil
}
