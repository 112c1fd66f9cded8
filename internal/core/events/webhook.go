package events

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const (
	// MaxWebhooks limits the webhooks of an account, in all regions together.
	MaxWebhooks = 20
	maxURL      = 2048 // bytes
	// overlap is how long the previous secret of a webhook also signs, after a new one was made.
	overlap = 24 * time.Hour
)

// target is where a webhook is and what signs its events. It is sealed in the database: paths and queries of such URLs are often secrets
// too.
type target struct {
	URL     string   `json:"url"`
	Secrets []signer `json:"secrets"` // the newest first
}

type signer struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until,omitzero"` // zero for the newest one
}

// live returns the secrets that sign at a time.
func (t target) live(now time.Time) (all []secret.String) {
	for _, s := range t.Secrets {
		if s.Until.IsZero() || now.Before(s.Until) {
			all = append(all, secret.New(s.Secret))
		}
	}
	return all
}

// rotate adds a new secret and returns it. The one before signs for some time.
func (t *target) rotate(now time.Time) secret.String {
	b := make([]byte, 32)
	rand.Read(b)
	s := "whsec_" + base64.RawURLEncoding.EncodeToString(b)
	all := []signer{{Secret: s}}
	if len(t.Secrets) > 0 {
		all = append(all, signer{Secret: t.Secrets[0].Secret, Until: now.Add(overlap)})
	}
	t.Secrets = all
	return secret.New(s)
}

// sealing returns the context of the sealed value of a webhook, so that a value in the row of another webhook does not open.
func sealing(r name.Registry, label string) string { return r.String() + "/" + label }

func (s *Service) seal(w meta.Webhook, t target) ([]byte, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encoding the target of a webhook: %w", err)
	}
	return s.box.Seal(b, sealing(w.Registry, w.Name)), nil
}

func (s *Service) open(w meta.Webhook) (t target, err error) {
	b, err := s.box.Open(w.Sealed, sealing(w.Registry, w.Name))
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return target{}, fmt.Errorf("unsealing the webhook %s (was the master key changed?): %w", w.Name, err)
	}
	return t, nil
}

// hostOf checks the URL of a webhook, and returns its host with the port.
//
// Errors: fault.InvalidParameter. The text has no part of the URL, which may be a secret.
func hostOf(text string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fault.InvalidParameter.New("Invalid parameter at 'webhookUrl' failed to satisfy constraint: '%s'", why)
	}
	if len(text) > maxURL {
		return refuse(fmt.Sprintf("must have at most %d bytes", maxURL))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return refuse("must be a URL of printable ASCII characters")
	case u.Scheme != "https":
		return refuse("must begin with https://")
	case u.Hostname() == "" || u.Opaque != "":
		return refuse("must have a host, as https://HOST/PATH")
	case u.User != nil:
		return refuse("must have no user name or password: deliveries are signed instead")
	case u.Fragment != "":
		return refuse("must have no fragment: servers do not receive it")
	}
	return u.Host, nil
}

// checkPattern checks an event pattern; "" is one for all events.
//
// Errors: fault.InvalidParameter, with the path of the mistake.
func checkPattern(text string) error {
	if text == "" {
		return nil
	}
	_, err := event.ParsePattern(text)
	return err
}

// NewWebhook is a webhook to be created.
type NewWebhook struct {
	Registry name.Registry
	Name     string
	URL      secret.String
	Pattern  string // "" for all events
	By       string // ARN
}

// Create makes a webhook, which gets the events of its registry from now on, and returns the secret that signs them. The secret is returned
// this once.
//
// Errors: fault.InvalidParameter (URL, pattern), and those of meta.Store.CreateWebhook.
func (s *Service) Create(ctx context.Context, n NewWebhook) (meta.Webhook, secret.String, error) {
	host, err := hostOf(n.URL.Reveal())
	if err == nil {
		err = checkPattern(n.Pattern)
	}
	if err != nil {
		return meta.Webhook{}, secret.String{}, err
	}
	w := meta.Webhook{Registry: n.Registry, Name: n.Name, Host: host, Pattern: n.Pattern, Enabled: true, CreatedBy: n.By}
	t := target{URL: n.URL.Reveal()}
	key := t.rotate(s.now())
	if w.Sealed, err = s.seal(w, t); err != nil {
		return meta.Webhook{}, secret.String{}, err
	}
	w, err = s.meta.CreateWebhook(ctx, w, MaxWebhooks)
	return w, key, err
}

// Change is what Update changes; nil fields keep their values.
type Change struct {
	URL     *secret.String
	Pattern *string
	Enabled *bool
	Rotate  bool // a new secret is made; the present one also signs for a day
}

// Update changes a webhook, and ends its pause after failures. It returns the new secret if one was made.
//
// Errors: fault.InvalidParameter, and those of meta.Store.UpdateWebhook.
func (s *Service) Update(ctx context.Context, w meta.Webhook, c Change) (meta.Webhook, secret.String, error) {
	var key secret.String
	change := meta.WebhookChange{Pattern: c.Pattern, Enabled: c.Enabled}
	if c.Pattern != nil {
		if err := checkPattern(*c.Pattern); err != nil {
			return meta.Webhook{}, key, err
		}
	}
	if c.URL != nil || c.Rotate {
		t, err := s.open(w)
		if err != nil {
			return meta.Webhook{}, key, err
		}
		if c.URL != nil {
			host, err := hostOf(c.URL.Reveal())
			if err != nil {
				return meta.Webhook{}, key, err
			}
			t.URL, change.Host = c.URL.Reveal(), &host
		}
		if c.Rotate {
			key = t.rotate(s.now())
		}
		if change.Sealed, err = s.seal(w, t); err != nil {
			return meta.Webhook{}, key, err
		}
	}
	w, err := s.meta.UpdateWebhook(ctx, w, change)
	return w, key, err
}

// Tested is the result of a test of a webhook.
type Tested struct {
	Status int    // of the answer; 0 if there was none
	Error  string // "" for success
	Took   time.Duration
}

// Test sends an event of its own to a webhook, now and once.
//
// Errors: fault.Throttled (too many tests run), and an error without a code if the webhook cannot be unsealed.
func (s *Service) Test(ctx context.Context, w meta.Webhook, by string) (Tested, error) {
	account := w.Registry.Account
	s.mu.Lock()
	full := s.tests[account] >= maxTests
	if !full {
		s.tests[account]++
	}
	s.mu.Unlock()
	if full {
		return Tested{}, fault.Throttled.New("%d tests of webhooks of the account run: repeat when one has ended", maxTests)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tests[account]--; s.tests[account] == 0 {
			delete(s.tests, account)
		}
	}()
	t, err := s.open(w)
	if err != nil {
		return Tested{}, err
	}
	var id event.ID
	rand.Read(id[:])
	at := s.now()
	body := event.WebhookTested(event.Origin{ID: id, Registry: w.Registry, Time: at}, w.Name, by).AppendJSON(nil)
	status, err := s.send(ctx, w, t, body)
	if err != nil && ctx.Err() != nil {
		return Tested{}, context.Cause(ctx)
	}
	out := Tested{Status: status, Took: s.now().Sub(at)}
	if err != nil {
		var f *failure
		if !errors.As(err, &f) {
			return Tested{}, err
		}
		out.Error = f.text
	}
	return out, nil
}
