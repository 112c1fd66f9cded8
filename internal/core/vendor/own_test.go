package vendor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
)

// sealing returns a Service that can seal cookies, and a clock that is read at each call.
func sealing(t testing.TB) (*vendor.Service, *time.Time) {
	t.Helper()
	clock := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ring, err := identity.LoadKeyring(t.TempDir(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	return vendor.New(vendor.Options{Keys: ring, Now: func() time.Time { return clock }}), &clock
}

// A cookie of a customer is valid for an hour, on a server with the same master key, and is no password itself.
func TestSealOwn(t *testing.T) {
	t.Parallel()
	v, now := sealing(t)
	cookie := v.SealOwn("ecrin_ct_secret").Reveal()
	hash, err := v.OpenOwn(cookie)
	if err != nil || len(hash) != 64 || strings.Contains(cookie, "secret") || strings.Contains(cookie, hash) {
		t.Fatalf("got %q, %v, of %q", hash, err, cookie)
	}
	*now = now.Add(time.Hour)
	if hash, err := v.OpenOwn(cookie); err == nil {
		t.Errorf("after an hour: got %q", hash)
	}
}

// What a stranger sends for a cookie of a customer stands for nobody.
func FuzzOpenOwn(f *testing.F) {
	for _, s := range []string{"", "AAAA", strings.Repeat("A", 1024), strings.Repeat("A", 1025), "=", "é", "\x00"} {
		f.Add(s)
	}
	v, _ := sealing(f)
	f.Fuzz(func(t *testing.T, cookie string) {
		if hash, err := v.OpenOwn(cookie); err == nil || hash != "" {
			t.Errorf("%q stands for %q", cookie, hash)
		}
	})
}
