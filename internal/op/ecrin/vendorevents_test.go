package ecrin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Changes of customers and of what channels offer have events, by which webhooks can be filtered. A refused change has none, and no event
// has a licence.
func TestVendorsChangesHaveEvents(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "shop"},
		new(ecrintypes.VendorApplicationResponse))
	s.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop",
		Files: []ecrintypes.ReleaseFile{{Path: "a.yaml", Content: "a: 1"}}}, new(ecrintypes.ReleaseResponse))
	for _, undo := range []bool{false, true} {
		if !undo {
			s.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: 1,
				ChannelIds: []string{"beta", "stable"}, VersionLabel: "1.0.0"}, new(ecrintypes.PromoteReleaseResponse))
		}
		s.Operator(t, "DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: "shop", ChannelId: "stable", ChannelSequence: 1,
			Undo: &undo}, new(ecrintypes.DemoteReleaseResponse))
	}
	var made ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &made)
	for _, archived := range []bool{true, false} {
		s.Operator(t, "UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: made.Customer.CustomerId,
			Archived: &archived}, new(ecrintypes.CustomerResponse))
	}
	var out ecrintypes.ListEventsResponse
	s.Operator(t, "ListEvents", &ecrintypes.ListEventsRequest{Since: &awswire.Time{Time: time.Now().Add(-time.Hour)},
		Pattern: `{"detail-type":["Ecrin Vendor Action"]}`}, &out)
	var got []string
	for _, text := range out.Events {
		var e struct {
			Detail map[string]any
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Detail["action-type"], " ", e.Detail["application"], " ", e.Detail["channel"], " ",
			e.Detail["version"], " ", e.Detail["customer-name"]))
		if strings.Contains(text, made.LicenseId) {
			t.Errorf("an event has a licence: %s", text)
		}
	}
	want := []string{"RELEASE_PROMOTED shop beta 1.0.0 <nil>", "RELEASE_PROMOTED shop stable 1.0.0 <nil>",
		"RELEASE_DEMOTED shop stable <nil> <nil>",
		"RELEASE_RESTORED shop stable <nil> <nil>", "CUSTOMER_CREATED shop <nil> <nil> Big", "CUSTOMER_ARCHIVED shop <nil> <nil> Big",
		"CUSTOMER_UPDATED shop <nil> <nil> Big"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
