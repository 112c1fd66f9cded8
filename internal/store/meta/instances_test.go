package meta_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// A new installation replaces one that was not seen for longest, also if several were seen last at the same time.
func TestNewInstallationReplacesOne(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	fx := metatest.NewFixture(t, openAt(t, t.TempDir(), func() time.Time { return now }))
	a, channels := fx.Application("shop")
	c, err := fx.PutCustomer(fx.Ctx, meta.Customer{ID: "c1", Application: a.ID, Account: a.Account, Name: "c1", Sealed: []byte("x"),
		LicenseHash: "h", Details: "{}", Channels: []meta.CustomerChannel{{Channel: channels[0].ID}}})
	fx.Must(err)
	put := func(id string) {
		_, err := fx.PutInstance(fx.Ctx, meta.Instance{Application: a.ID, Customer: c.ID, ID: id, Channel: channels[0].ID}, nil)
		fx.Must(err)
	}
	for i := range meta.MaxInstances {
		put(fmt.Sprintf("many-%03d", i))
	}
	now = now.Add(time.Minute)
	put("many-000")
	for _, id := range []string{"new-1", "new-2"} {
		put(id)
		all, err := fx.Instances(fx.Ctx, a.ID, meta.InstanceKey{}, 1000)
		fx.Must(err)
		if len(all) != meta.MaxInstances || all[0].ID != "many-000" {
			t.Fatalf("after the installation %s: got %d, the first %s, want %d with the one that was seen last", id, len(all), all[0].ID,
				meta.MaxInstances)
		}
	}
}
