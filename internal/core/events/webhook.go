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
	Details string   `json:"details,omitempty"`
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

// rotate adds a secret, which is new if none is given, and returns it. The one before signs for some time.
func (t *target) rotate(now time.Time, given secret.String) secret.String {
	s := given.Reveal()
	if s == "" {
		b := make([]byte, 32)
		rand.Read(b)
		s = "whsec_" + base64.RawURLEncoding.EncodeToString(b)
	}
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

// The length of secrets that owners choose, in bytes.
const minSecret, maxSecret = 16, 256

// checkSecret checks a secret that the owner has chosen; a zero one is none.
//
// Errors: fault.InvalidParameter.
func checkSecret(key secret.String) error {
	if n := len(key.Reveal()); n != 0 && (n < minSecret || n > maxSecret) {
		return fault.InvalidParameter.New("Invalid parameter at 'webhookSecret' failed to satisfy constraint: 'must have %d to %d bytes'",
			minSecret, maxSecret)
	}
	return nil
}

// NewWebhook is a webhook to be created.
type NewWebhook struct {
	Registry name.Registry
	Name     string
	URL      secret.String
	Pattern  string        // "" for all events
	Secret   secret.String // that signs; zero for a new one
	Details  string        // of who made it: kept with the URL, for Target
	By       string        // ARN
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
	if err == nil {
		err = checkSecret(n.Secret)
	}
	if err != nil {
		return meta.Webhook{}, secret.String{}, err
	}
	w := meta.Webhook{Registry: n.Registry, Name: n.Name, Host: host, Pattern: n.Pattern, Enabled: true, CreatedBy: n.By}
	t := target{URL: n.URL.Reveal(), Details: n.Details}
	key := t.rotate(s.now(), n.Secret)
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
	Secret  secret.String
	Details *string
}

// Update changes a webhook, and ends its pause after failures. It returns the new secret if one was made.
//
// Errors: fault.InvalidParameter, and those of meta.Store.UpdateWebhook.
func (s *Service) Update(ctx context.Context, w meta.Webhook, c Change) (meta.Webhook, secret.String, error) {
	var key secret.String
	change := meta.WebhookChange{Pattern: c.Pattern, Enabled: c.Enabled}
	if err := checkSecret(c.Secret); err != nil {
		return meta.Webhook{}, key, err
	}
	if c.Pattern != nil {
		if err := checkPattern(*c.Pattern); err != nil {
			return meta.Webhook{}, key, err
		}
	}
	fresh := c.Rotate || c.Secret != (secret.String{})
	if c.URL != nil || fresh || c.Details != nil {
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
		if fresh {
			key = t.rotate(s.now(), c.Secret)
		}
		if c.Details != nil {
			t.Details = *c.Details
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

// Target returns the URL of a webhook, which is a secret of its owner, and what was given with it.
//
// Errors: one without a code if the webhook cannot be unsealed.
func (s *Service) Target(w meta.Webhook) (u secret.String, details string, err error) {
	t, err := s.open(w)
	return secret.New(t.URL), t.Details, err
}

// Try sends an event of a test to a URL, now and once, signed with a secret or with one that nobody knows.
//
// Errors: fault.InvalidParameter (the URL), fault.Throttled (too many tests run).
func (s *Service) Try(ctx context.Context, r name.Registry, u, key secret.String, by string) (Tested, error) {
	host, err := hostOf(u.Reveal())
	if err == nil {
		err = checkSecret(key)
	}
	if err != nil {
		return Tested{}, err
	}
	t := target{URL: u.Reveal()}
	t.rotate(s.now(), key)
	return s.try(ctx, meta.Webhook{Registry: r, Name: "try", Host: host}, t, by)
}

// Test sends an event of its own to a webhook, now and once.
//
// Errors: fault.Throttled (too many tests run), and an error without a code if the webhook cannot be unsealed.
func (s *Service) Test(ctx context.Context, w meta.Webhook, by string) (Tested, error) {
	t, err := s.open(w)
	if err != nil {
		return Tested{}, err
	}
	return s.try(ctx, w, t, by)
}

func (s *Service) try(ctx context.Context, w meta.Webhook, t target, by string) (Tested, error) {
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
