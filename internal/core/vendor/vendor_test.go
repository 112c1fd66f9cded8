package vendor_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	for range 1000 {
		id := vendor.NewID(now)
		if len(id) != 27 || seen[id] || !identity.IsCustomerPassword(id) || !identity.IsCustomerPassword(identity.CustomerTokenPrefix+id) {
			t.Fatalf("the id %q", id)
		}
		seen[id] = true
		if later := vendor.NewID(now.Add(time.Second)); later <= id {
			t.Fatalf("%s of a second later is not above %s", later, id)
		}
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"MySampleECRApp": "mysampleecrapp", "Big: Corp #1": "big-corp-1", "  ": "", "Ä": "",
		strings.Repeat("a", 62) + " b c": strings.Repeat("a", 62), "new Channel": "new-channel"} {
		if got := vendor.Slug(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// open returns a Service over a new store with an account, and a clock that is read at each call.
func open(t *testing.T) (*vendor.Service, *metatest.Fixture, *identity.Service, *time.Time) {
	t.Helper()
	clock := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return clock }
	dir := t.TempDir()
	ring, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	metatest.Prepare(t, dir)
	m, err := meta.OpenSQLite(t.Context(), dir, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	s := vendor.New(vendor.Options{Meta: m, Keys: ring, Now: now, Domains: []string{"registry.example.com"},
		Hosts:   endpoint.NewMap([]string{"registry.example.com"}, metatest.Registry),
		Warning: 48 * time.Hour, Inactive: 24 * time.Hour})
	return s, metatest.NewFixture(t, m), identity.New(m, ring, now, identity.Options{}), &clock
}

func TestLicencesOfACustomer(t *testing.T) {
	t.Parallel()
	s, fx, id, clock := open(t)
	ctx := t.Context()
	a, err := s.CreateApplication(ctx, metatest.Account, "MySampleECRApp", "", "arn:aws:iam::1:root")
	fx.Must(err)
	channels, err := fx.Channels(ctx, a.ID)
	fx.Must(err)
	if a.Slug != "mysampleecrapp" || len(channels) != 3 || channels[0].Name != "Unstable" || !channels[0].Default ||
		channels[2].Name != "Stable" {
		t.Errorf("the application is %+v with %+v", a, channels)
	}
	end := clock.Add(24*time.Hour + time.Millisecond)
	c, err := s.NewCustomer(ctx, a, meta.Customer{Name: "Big: Corp #1", ExpiresAt: end, CreatedBy: "x",
		Channels: []meta.CustomerChannel{{Channel: channels[2].ID, Default: true}}},
		vendor.Details{Email: "it@big.example", Type: "paid", Features: license.Features{Airgap: true},
			Fields: map[string]license.Field{"seats": {Value: license.Number(25), Type: "Integer"}}})
	fx.Must(err)
	domain := "images.example.com"
	_, err = fx.UpdateChannel(ctx, channels[2].ID, meta.ChannelChange{ProxyDomain: &domain})
	fx.Must(err)
	public, err := s.PublicKey(ctx)
	fx.Must(err)
	root, err := license.ParsePublicPEM(public)
	fx.Must(err)
	password, err := s.LicenseID(c)
	fx.Must(err)
	for _, v := range []license.Version{license.V1, license.V2} {
		text, err := s.License(ctx, a, c, v, vendor.Places{Endpoint: "https://updates.example.com", Proxy: "proxy.example.com"})
		fx.Must(err)
		l, err := license.Parse(text, root)
		fx.Must(err)
		expiry, err := l.Expiry()
		fx.Must(err)
		if l.ID != password.Reveal() || l.Sequence != 1 || l.AppSlug != a.Slug || l.Name != "big-corp-1" || l.Channel().Name != "Stable" ||
			l.Fields["seats"].Value.String() != "25" || !l.Features.Airgap || !expiry.Equal(clock.Add(24*time.Hour)) {
			t.Errorf("%s: the licence is %+v, which ends on %v", v, l, expiry)
		}
		if l.ProxyDomain != domain || l.Channel().ProxyDomain != domain {
			t.Errorf("%s: the domains of the proxy are %q and %q, want that of the channel", v, l.ProxyDomain, l.Channel().ProxyDomain)
		}
	}
	caller, err := id.CustomerCaller(ctx, password.Reveal())
	want := "arn:aws:ecrin::" + metatest.Account.String() + ":customer/mysampleecrapp/" + c.ID
	if err != nil || caller.ARN != want || caller.Account != a.Account {
		t.Errorf("the caller with the licence: got %+v, %v", caller, err)
	}
	*clock = clock.Add(24 * time.Hour)
	_, err = id.CustomerCaller(ctx, password.Reveal())
	if !errors.Is(err, fault.LicenseInvalid) || !strings.Contains(err.Error(), "has expired on") {
		t.Errorf("at the end of the licence: got %v", err)
	}
}

func TestP18TokensOfACustomer(t *testing.T) {
	t.Parallel()
	s, fx, id, _ := open(t)
	ctx := t.Context()
	a, err := s.CreateApplication(ctx, metatest.Account, "shop", "", "x")
	fx.Must(err)
	c, err := s.NewCustomer(ctx, a, meta.Customer{Name: "c"}, vendor.Details{})
	fx.Must(err)
	_, east, err := s.NewToken(ctx, c, "east", "x")
	fx.Must(err)
	_, west, err := s.NewToken(ctx, c, "west", "x")
	fx.Must(err)
	valid := func(token string, want bool) {
		t.Helper()
		caller, err := id.CustomerCaller(ctx, token)
		if (err == nil) != want || err == nil && caller.Token == "" || err != nil && !errors.Is(err, fault.LicenseInvalid) {
			t.Errorf("got %+v, %v, want it valid: %v", caller, err, want)
		}
	}
	valid(east.Reveal(), true)
	valid(west.Reveal(), true)
	fresh, err := s.RotateToken(ctx, c, "east")
	fx.Must(err)
	valid(east.Reveal(), false)
	valid(fresh.Reveal(), true)
	valid(west.Reveal(), true)
	fx.Must(fx.DeleteCustomerToken(ctx, c.ID, "west"))
	valid(west.Reveal(), false)
	valid(fresh.Reveal(), true)
	if _, _, err := s.NewToken(ctx, c, "East Side", "x"); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("a token with another name: got %v", err)
	}
}

func TestApplicationsAndCustomersThatAreRefused(t *testing.T) {
	t.Parallel()
	s, fx, _, clock := open(t)
	ctx := t.Context()
	for _, of := range []struct{ label, slug string }{{"", ""}, {"Ä", ""}, {"a", "A"}, {"a", "proxy"}, {"library", ""},
		{strings.Repeat("a", 256), "a"}} {
		if _, err := s.CreateApplication(ctx, metatest.Account, of.label, of.slug, "x"); !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("%+v: got %v", of, err)
		}
	}
	a, err := s.CreateApplication(ctx, metatest.Account, "shop", "", "x")
	fx.Must(err)
	if _, err := s.NewCustomer(ctx, a, meta.Customer{}, vendor.Details{}); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("a customer without a name: got %v", err)
	}
	if _, err := s.NewCustomer(ctx, a, meta.Customer{Name: "c"}, vendor.Details{Type: "free"}); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("a customer of another type: got %v", err)
	}
	c, err := s.NewCustomer(ctx, a, meta.Customer{Name: "c"}, vendor.Details{Type: "test"})
	if err != nil || !c.ExpiresAt.Equal(clock.Add(48*time.Hour)) {
		t.Errorf("a customer for tests ends on %v, %v, want 48 hours", c.ExpiresAt, err)
	}
}
