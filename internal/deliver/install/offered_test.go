package install_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// A version that the vendor has demoted is not offered: it is not deployed, and no change makes a further version of it.
func TestDemotedVersions(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	ref := fx.host + "/shop/api:1.0"
	demoted := func(sequence int64, demoted bool) {
		t.Helper()
		fx.do("DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: "shop", ChannelId: "unstable", ChannelSequence: sequence,
			Undo: new(!demoted)}, new(ecrintypes.DemoteReleaseResponse))
	}
	fx.release("1.0", ref, false)
	i := fx.create()
	fx.deploy(i, 0)
	check := func(want string, found int) {
		t.Helper()
		if got, err := i.Check(t.Context()); err != nil || len(got) != found {
			t.Errorf("a check: got %+v, %v, want %d versions", got, err, found)
		}
		if got := fx.history(i); got != want {
			t.Errorf("the history is %q, want %q", got, want)
		}
	}
	notOffered := func(want ...bool) {
		t.Helper()
		all, _ := i.Versions()
		for n, v := range all {
			if v.NotOffered != want[n] {
				t.Errorf("the version %d: not offered is %t, want %t", n, v.NotOffered, want[n])
			}
		}
	}
	fx.release("2.0", ref, true)
	const two = "0 1.0 Online Install deployed, 1 2.0 Upstream Update pending; current 0"
	check(two, 1)
	notOffered(false, false)

	demoted(2, true)
	check(two, 0)
	notOffered(false, true)
	if err := i.Deploy(t.Context(), 1, wait); err == nil || !strings.Contains(err.Error(), "does not offer the version 1 (2.0) any more") {
		t.Errorf("the demoted version: got %v", err)
	}
	demoted(2, false)
	check(two, 0)
	notOffered(false, false)
	fx.deploy(i, 1)
	demoted(2, true)
	fx.deploy(i, 1) // it stays with who has it
	if err := i.Rollback(t.Context(), -1, wait); err != nil {
		t.Fatal(err)
	}

	fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer, CustomerName: "Bigger"},
		new(ecrintypes.CustomerResponse))
	check("0 1.0 Online Install deployed, 1 2.0 Upstream Update deployed, 2 1.0 License Change pending; current 0", 1)
	notOffered(false, true, false)
	if err := i.Deploy(t.Context(), 1, wait); err == nil || !strings.Contains(err.Error(), "any more") {
		t.Errorf("the demoted version, which was deployed: got %v", err)
	}
	fx.deploy(i, 2)
	demoted(2, false)
	check("0 1.0 Online Install deployed, 1 2.0 Upstream Update deployed, 2 1.0 License Change deployed, 3 2.0 Upstream Update pending; "+
		"current 2", 1)
}
