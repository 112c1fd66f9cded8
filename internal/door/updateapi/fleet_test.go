package updateapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// fleet returns the installations of the application, as short texts.
func (s *shop) fleet() (all []string) {
	s.t.Helper()
	in := ecrintypes.ListInstancesRequest{ApplicationSlug: "shop", MaxResults: new(int32(60))}
	for {
		var out ecrintypes.ListInstancesResponse
		s.do("ListInstances", &in, &out)
		for _, i := range out.Instances {
			all = append(all, fmt.Sprintf("%s/%s runs %s of %s, %d behind %s", i.CustomerName, i.InstanceId, i.VersionLabel, i.ChannelSlug,
				i.VersionsBehind, i.NewestVersion))
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return all
		}
	}
}

// Checks for updates tell what each installation of a customer runs, and the fleet which are behind. What an installation says is bounded,
// and so is how many a customer has.
func TestFleet(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.promote("1.0.0", false, "stable")
	s.promote("1.1.0", false, "stable")
	id, big := s.customer("Big", ecrintypes.CustomerChannel{ChannelId: "stable"})
	check := func(password, instance string, sequence int) {
		t.Helper()
		a := s.get(fmt.Sprintf("/release/shop/pending?channelSequence=%d", sequence), password, "X-Replicated-InstanceID", instance,
			"X-Replicated-ClusterID", "c1", "X-Replicated-AppStatus", "ready", "X-Replicated-K8sVersion", "v1.35.4")
		if a.status != 200 {
			t.Fatalf("a check: got %d %s", a.status, a.body)
		}
	}
	if got := s.fleet(); got != nil {
		t.Errorf("before any check: got %q", got)
	}
	check(big, "east", 1)
	check(big, "west", 2)
	check(big, "new", 0)
	want := []string{"Big/east runs 1.0.0 of stable, 1 behind 1.1.0", "Big/new runs  of stable, 2 behind 1.1.0",
		"Big/west runs 1.1.0 of stable, 0 behind 1.1.0"}
	if got := s.fleet(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after three checks: got %q, want %q", got, want)
	}
	s.promote("1.2.0", false, "stable")
	s.clock = s.clock.Add(time.Minute)
	check(big, "east", 3)
	check(big, "new", 99) // it says a version that there is not
	want = []string{"Big/east runs 1.2.0 of stable, 0 behind 1.2.0", "Big/new runs  of stable, 0 behind 1.2.0",
		"Big/west runs 1.1.0 of stable, 1 behind 1.2.0"}
	if got := s.fleet(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after an update: got %q, want %q", got, want)
	}
	for i := range meta.MaxInstances {
		s.clock = s.clock.Add(time.Second)
		check(big, fmt.Sprintf("many-%03d", i), 1)
	}
	if got := s.fleet(); len(got) != meta.MaxInstances || got[0] != "Big/many-000 runs 1.0.0 of stable, 2 behind 1.2.0" {
		t.Errorf("after many installations: got %d, the first %q, want %d of the newest", len(got), got[0], meta.MaxInstances)
	}
	if a := s.get("/release/shop/pending", "2HKXWE5CM7bqkR5T2sKfVniMJfD", "X-Replicated-InstanceID", "stranger"); a.status != 401 {
		t.Errorf("a check with an unknown licence: got %d, want 401", a.status)
	}
	if got := s.fleet(); len(got) != meta.MaxInstances {
		t.Errorf("after a check with an unknown licence: got %d installations, want %d", len(got), meta.MaxInstances)
	}
	s.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, Archived: new(true)},
		new(ecrintypes.CustomerResponse))
	if got := s.fleet(); len(got) != 0 {
		t.Errorf("after the customer was archived: got %q", got)
	}
}
