package ecrin_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// Two changes of a channel at the same time are both made.
func TestChangesOfAChannelAreNotLost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	var made ecrintypes.VendorApplicationResponse
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "shop"}, &made)
	for range 50 {
		first := ecrintypes.UpdateChannelRequest{ApplicationSlug: "shop", ChannelId: "stable", ChannelName: "First", Description: new("first"),
			SemverRequired: new(false)}
		s.Operator(t, "UpdateChannel", &first, new(ecrintypes.ChannelResponse))
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Operator(t, "UpdateChannel", &ecrintypes.UpdateChannelRequest{ApplicationSlug: "shop", ChannelId: "stable", ChannelName: "Second"},
				new(ecrintypes.ChannelResponse))
		}()
		s.Operator(t, "UpdateChannel", &ecrintypes.UpdateChannelRequest{ApplicationSlug: "shop", ChannelId: "stable",
			Description: new("second"), SemverRequired: new(true)}, new(ecrintypes.ChannelResponse))
		<-done
		var all ecrintypes.ListChannelsResponse
		s.Operator(t, "ListChannels", &ecrintypes.ApplicationRequest{ApplicationSlug: "shop"}, &all)
		for _, c := range all.Channels {
			if c.ChannelSlug == "stable" && (c.ChannelName != "Second" || c.Description != "second" || !c.SemverRequired) {
				t.Fatalf("after two changes at the same time: got %q, %q, %v, want both", c.ChannelName, c.Description, c.SemverRequired)
			}
		}
	}
}

// An archived customer on a channel that was archived later can be changed; it gets a channel that is offered when it comes back.
func TestCustomersOnArchivedChannels(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "shop"},
		new(ecrintypes.VendorApplicationResponse))
	var made ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big",
		Channels: []ecrintypes.CustomerChannel{{ChannelId: "beta"}}}, &made)
	change := func(in ecrintypes.UpdateCustomerRequest) ecrintypes.Customer {
		t.Helper()
		in.ApplicationSlug, in.CustomerId = "shop", made.Customer.CustomerId
		var out ecrintypes.CustomerResponse
		s.Operator(t, "UpdateCustomer", &in, &out)
		return out.Customer
	}
	change(ecrintypes.UpdateCustomerRequest{Archived: new(true)})
	s.Operator(t, "ArchiveChannel", &ecrintypes.ChannelRequest{ApplicationSlug: "shop", ChannelId: "beta"}, new(ecrintypes.ChannelResponse))
	if c := change(ecrintypes.UpdateCustomerRequest{CustomerName: "Bigger"}); c.CustomerName != "Bigger" || len(c.Channels) != 1 {
		t.Errorf("an archived customer after a change: got %+v, want its new name and its channel", c)
	}
	c := change(ecrintypes.UpdateCustomerRequest{Archived: new(false), Channels: []ecrintypes.CustomerChannel{{ChannelId: "stable"}}})
	if c.ArchivedAt != nil || len(c.Channels) != 1 || c.Channels[0].ChannelSlug != "stable" {
		t.Errorf("a customer that came back to another channel: got %+v", c)
	}
}
