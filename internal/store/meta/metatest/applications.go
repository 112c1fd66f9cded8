package metatest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Application stores an application with two channels, whose ids begin with its slug.
func (fx *Fixture) Application(slug string) (meta.Application, []meta.Channel) {
	fx.Helper()
	a, err := fx.PutApplication(fx.Ctx, meta.Application{ID: slug + "-id", Account: Account, Slug: slug, Name: slug, Sealed: []byte("x")},
		[]meta.Channel{{ID: slug + "-1", Name: "Unstable", Slug: "unstable", Default: true}, {ID: slug + "-2", Name: "Stable", Slug: "stable"}})
	fx.Must(err)
	all, err := fx.Channels(fx.Ctx, a.ID)
	fx.Must(err)
	return a, all
}

// customer stores a customer of an application on its channels.
func (fx *Fixture) customer(a meta.Application, id string, channels ...meta.Channel) meta.Customer {
	fx.Helper()
	c := meta.Customer{ID: id, Application: a.ID, Account: a.Account, Name: id, Sealed: []byte("x"), LicenseHash: "hash of " + id,
		Details: "{}"}
	for i, of := range channels {
		c.Channels = append(c.Channels, meta.CustomerChannel{Channel: of.ID, Default: i == 0})
	}
	c, err := fx.PutCustomer(fx.Ctx, c)
	fx.Must(err)
	return c
}

// testApplications: an application has one slug in its account, channels with one slug each, and goes with all that it has.
func testApplications(fx *Fixture) {
	a, channels := fx.Application("shop")
	twin := meta.Application{ID: "other", Account: Account, Slug: "shop", Sealed: []byte("x")}
	if _, err := fx.PutApplication(fx.Ctx, twin, nil); !errors.Is(err, fault.ObjectAlreadyExists) {
		fx.Errorf("a second application with the slug: got %v", err)
	}
	if len(channels) != 2 || channels[0].Slug != "unstable" || !channels[0].Default || channels[1].Application != a.ID {
		fx.Errorf("the channels are %+v", channels)
	}
	for _, of := range []string{"shop-2", "stable"} {
		if c, err := fx.Channel(fx.Ctx, a.ID, of); err != nil || c.Name != "Stable" {
			fx.Errorf("the channel %s: got %+v, %v", of, c, err)
		}
	}
	if _, err := fx.PutChannel(fx.Ctx, meta.Channel{ID: "n", Application: a.ID, Slug: "stable"}); !errors.Is(err, fault.ObjectAlreadyExists) {
		fx.Errorf("a second channel with the slug: got %v", err)
	}
	if _, err := fx.PutChannel(fx.Ctx, meta.Channel{ID: "n", Application: "none", Slug: "x"}); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("a channel of no application: got %v", err)
	}
	stable := channels[1]
	yes, text, label := true, "for customers", "Stable"
	// None of the changes undoes another one.
	for _, change := range []meta.ChannelChange{{SemverRequired: &yes}, {Description: &text}, {Name: &label}} {
		changed, err := fx.UpdateChannel(fx.Ctx, stable.ID, change)
		fx.Must(err)
		stable = changed
	}
	c, err := fx.Channel(fx.Ctx, a.ID, "stable")
	if err != nil || c != stable || !c.SemverRequired || c.Description != text || c.Name != label {
		fx.Errorf("the changed channel: got %+v, %v, want %+v", c, err, stable)
	}
	if _, err := fx.UpdateChannel(fx.Ctx, "none", meta.ChannelChange{Name: &label}); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("changing no channel: got %v", err)
	}
	big := fx.customer(a, "c1", channels...)
	if err := fx.ArchiveChannel(fx.Ctx, stable); !errors.Is(err, fault.ObjectInUse) {
		fx.Errorf("archiving a channel with a customer: got %v", err)
	}
	if err := fx.DeleteApplication(fx.Ctx, a, false); !errors.Is(err, fault.ObjectInUse) {
		fx.Errorf("deleting an application with a customer: got %v", err)
	}
	big.Channels = big.Channels[:1]
	_, err = fx.PutCustomer(fx.Ctx, big)
	fx.Must(err)
	fx.Must(fx.ArchiveChannel(fx.Ctx, stable))
	if all, err := fx.Channels(fx.Ctx, a.ID); err != nil || len(all) != 1 {
		fx.Errorf("after archiving one of two channels: got %+v, %v", all, err)
	}
	if all, err := fx.Applications(fx.Ctx, Account); err != nil || len(all) != 1 || all[0].Slug != "shop" {
		fx.Errorf("the applications: got %+v, %v", all, err)
	}
	if got, err := fx.ApplicationByID(fx.Ctx, Account, a.ID); err != nil || got.Slug != "shop" {
		fx.Errorf("by its id: got %+v, %v", got, err)
	}
	fx.Must(fx.DeleteApplication(fx.Ctx, a, true))
	if _, err := fx.Customer(fx.Ctx, a, "c1"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("a customer of a deleted application: got %v", err)
	}
	if _, err := fx.ApplicationByID(fx.Ctx, Account, a.ID); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("the deleted application: got %v", err)
	}
}

// testReleases: releases count from 1, change until they are promoted, and each channel counts its promotions.
func testReleases(fx *Fixture) {
	a, channels := fx.Application("shop")
	release := func(sequence int64, files string, images ...meta.ReleaseImage) (meta.Release, error) {
		return fx.PutRelease(fx.Ctx, meta.Release{Application: a.ID, Sequence: sequence, Files: []byte(files), Spec: "json", Images: images,
			CreatedBy: map[bool]string{true: "maker"}[sequence == 0]})
	}
	nginx := meta.ReleaseImage{Repository: "docker.io/library/nginx", Tag: "1"}
	one, err := release(0, "one", nginx)
	fx.Must(err)
	two, err := release(0, "two", meta.ReleaseImage{Repository: "docker.io/library/nginx"})
	fx.Must(err)
	if one.Sequence != 1 || two.Sequence != 2 {
		fx.Errorf("the releases have the sequences %d and %d", one.Sequence, two.Sequence)
	}
	edited, err := release(2, "again")
	fx.Must(err)
	if !edited.CreatedAt.Equal(two.CreatedAt) || edited.CreatedBy != "maker" {
		fx.Errorf("the changed release was made at %s by %q, want %s and maker", edited.CreatedAt, edited.CreatedBy, two.CreatedAt)
	}
	if got, err := fx.Release(fx.Ctx, a.ID, 2); err != nil || string(got.Files) != "again" || got.Bytes != 5 {
		fx.Errorf("the changed release: got %+v, %v", got, err)
	}
	if _, err := release(3, "new"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("changing a release that does not exist: got %v", err)
	}
	domain := "images.example.com"
	channels[1], err = fx.UpdateChannel(fx.Ctx, channels[1].ID, meta.ChannelChange{ProxyDomain: &domain})
	fx.Must(err)
	by := meta.Promotion{Application: a.ID, Release: 1, Label: "1.0.0", Notes: "first", Required: true, ProxyDomain: "proxy.example.com",
		RegistryDomain: "registry.example.com"}
	all, err := fx.Promote(fx.Ctx, by, channels, nil)
	fx.Must(err)
	if len(all) != 2 || all[0].Sequence != 1 || all[1].Sequence != 1 || all[1].Channel != channels[1].ID {
		fx.Errorf("the promotions are %+v", all)
	}
	if _, err := release(1, "late"); !errors.Is(err, fault.ObjectInUse) {
		fx.Errorf("changing a promoted release: got %v", err)
	}
	stable := channels[1]
	stable.SemverRequired = true
	yes := true
	stable, err = fx.UpdateChannel(fx.Ctx, stable.ID, meta.ChannelChange{SemverRequired: &yes})
	fx.Must(err)
	again := meta.Promotion{Application: a.ID, Release: 2, Label: "1.0.0"}
	if _, err := fx.Promote(fx.Ctx, again, []meta.Channel{stable}, nil); !errors.Is(err, fault.ObjectAlreadyExists) {
		fx.Errorf("a second release with the version label: got %v", err)
	}
	if _, err := fx.Promote(fx.Ctx, again, channels, nil); !errors.Is(err, fault.TargetChanged) {
		fx.Errorf("promoting to a channel that asks for other labels now: got %v, want TargetChanged", err)
	}
	again.Release = 9
	if _, err := fx.Promote(fx.Ctx, again, channels, nil); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("promoting no release: got %v", err)
	}
	again.Release, again.Label = 2, "1.1.0"
	all, err = fx.Promote(fx.Ctx, again, []meta.Channel{stable}, nil)
	fx.Must(err)
	if all[0].Sequence != 2 { // the refused promotion took no number
		fx.Errorf("the second promotion has the sequence %d, want 2", all[0].Sequence)
	}
	list := func(above int64, demoted bool) (labels []string) {
		found, err := fx.Promotions(fx.Ctx, stable.ID, above, demoted, 10)
		fx.Must(err)
		for _, p := range found {
			labels = append(labels, p.Label)
		}
		return labels
	}
	_, err = fx.Demote(fx.Ctx, stable.ID, 1, false)
	fx.Must(err)
	if got := list(0, false); !slices.Equal(got, []string{"1.1.0"}) {
		fx.Errorf("after the first version was demoted: got %v", got)
	}
	if got := list(0, true); !slices.Equal(got, []string{"1.0.0", "1.1.0"}) {
		fx.Errorf("with demoted ones: got %v", got)
	}
	newest := func(below int64, demoted bool) (labels []string) {
		found, err := fx.NewestPromotions(fx.Ctx, stable.ID, below, demoted, 10)
		fx.Must(err)
		for _, p := range found {
			labels = append(labels, p.Label)
		}
		return labels
	}
	for _, one := range []struct {
		below   int64
		demoted bool
		want    []string
	}{{0, true, []string{"1.1.0", "1.0.0"}}, {0, false, []string{"1.1.0"}}, {2, true, []string{"1.0.0"}}, {2, false, nil}} {
		if got := newest(one.below, one.demoted); !slices.Equal(got, one.want) {
			fx.Errorf("the newest versions below %d, demoted %v: got %v, want %v", one.below, one.demoted, got, one.want)
		}
	}
	channelsOf := func(tags []string, digest string) []string {
		got, first, err := fx.ChannelsOfImage(fx.Ctx, a.ID, "docker.io/library/nginx", tags, digest)
		fx.Must(err)
		if (len(got) == 0) != first.IsZero() {
			fx.Errorf("the channels of the tags %v are %v, first on %v", tags, got, first)
		}
		return got
	}
	if got := channelsOf([]string{"1"}, ""); !slices.Equal(got, []string{channels[0].ID}) {
		fx.Errorf("the channels of the image, which one has demoted: got %v", got)
	}
	if got, err := fx.RecentImages(fx.Ctx, a.ID, 10); err != nil || len(got) == 0 || got[0].Repository != "docker.io/library/nginx" {
		fx.Errorf("the images of the newest releases: got %+v, %v", got, err)
	}
	if got, err := fx.RecentImages(fx.Ctx, "none", 10); err != nil || len(got) != 0 {
		fx.Errorf("the images of no application: got %+v, %v", got, err)
	}
	p, err := fx.Demote(fx.Ctx, stable.ID, 1, true)
	fx.Must(err)
	if !p.DemotedAt.IsZero() || len(channelsOf([]string{"0", "1"}, "")) != 2 || len(channelsOf([]string{"2"}, "")) != 0 {
		fx.Errorf("offered again: got %+v, %v", p, channelsOf([]string{"0", "1"}, ""))
	}
	for channel, want := range map[string]string{channels[0].ID: "proxy.example.com", stable.ID: "images.example.com"} {
		p, err := fx.Promotion(fx.Ctx, channel, 1)
		fx.Must(err)
		if p.ProxyDomain != want || p.RegistryDomain != "registry.example.com" {
			fx.Errorf("the hosts of a promotion are %q and %q, want %q", p.ProxyDomain, p.RegistryDomain, want)
		}
	}
	for _, c := range []struct {
		above, upTo int64
		required    bool
		limit       int
		want        []string
	}{{0, 0, false, 9, []string{"1.1.0", "1.0.0"}}, {1, 0, false, 9, []string{"1.1.0"}}, {0, 1, false, 9, []string{"1.0.0"}},
		{0, 0, true, 9, []string{"1.0.0"}}, {0, 0, false, 1, []string{"1.1.0"}}} {
		found, err := fx.Offers(fx.Ctx, stable.ID, c.above, c.upTo, c.required, c.limit)
		fx.Must(err)
		var got []string
		for _, p := range found {
			got = append(got, p.Label)
		}
		if !slices.Equal(got, c.want) {
			fx.Errorf("the offers %+v: got %v", c, got)
		}
	}
	page, err := fx.Releases(fx.Ctx, a.ID, 0, 1)
	fx.Must(err)
	if len(page) != 1 || page[0].Sequence != 2 || page[0].Files != nil || !page[0].Promoted {
		fx.Errorf("the newest release: got %+v", page)
	}
	if page, err = fx.Releases(fx.Ctx, a.ID, 2, 5); err != nil || len(page) != 1 || page[0].Sequence != 1 {
		fx.Errorf("the page below: got %+v, %v", page, err)
	}
}

// testCustomers: a customer changes only with its version, each change is one more of its licence, and its passwords lead to it.
func testCustomers(fx *Fixture) {
	a, channels := fx.Application("shop")
	b, others := fx.Application("other")
	c := fx.customer(a, "c1", channels...)
	if c.Sequence != 1 || len(c.Channels) != 2 {
		fx.Errorf("the new customer is %+v", c)
	}
	old := c
	c.ExpiresAt, c.CustomID = time.UnixMilli(5_000_000).UTC(), "crm-7"
	c, err := fx.PutCustomer(fx.Ctx, c)
	fx.Must(err)
	if c.Sequence != 2 {
		fx.Errorf("the changed licence has the sequence %d, want 2", c.Sequence)
	}
	if _, err := fx.PutCustomer(fx.Ctx, old); !errors.Is(err, fault.TargetChanged) {
		fx.Errorf("changing an earlier version: got %v", err)
	}
	for _, id := range []string{"c1", "crm-7"} {
		got, err := fx.Customer(fx.Ctx, a, id)
		if err != nil || got.ID != "c1" || !got.ExpiresAt.Equal(c.ExpiresAt) || len(got.Channels) != 2 || !got.Channels[0].Default {
			fx.Errorf("the customer %s: got %+v, %v", id, got, err)
		}
		if _, err := fx.Customer(fx.Ctx, b, id); !errors.Is(err, fault.ObjectNotFound) {
			fx.Errorf("the customer %s of another application: got %v", id, err)
		}
	}
	wrong := c
	wrong.Channels = []meta.CustomerChannel{{Channel: others[0].ID}}
	if _, err := fx.PutCustomer(fx.Ctx, wrong); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("a channel of another application: got %v", err)
	}
	fx.customer(a, "c2", channels[0])
	page, err := fx.Customers(fx.Ctx, a, meta.CustomerKey{}, false, 1)
	fx.Must(err)
	rest, err := fx.Customers(fx.Ctx, a, meta.CustomerKey{Name: page[0].Name, ID: page[0].ID}, false, 5)
	fx.Must(err)
	if len(page) != 1 || page[0].ID != "c1" || len(rest) != 1 || rest[0].ID != "c2" {
		fx.Errorf("the pages are %+v and %+v", page, rest)
	}
	first, err := fx.CustomersOn(fx.Ctx, a, channels[0].ID, meta.CustomerKey{}, false, 5)
	fx.Must(err)
	other, err := fx.CustomersOn(fx.Ctx, a, channels[1].ID, meta.CustomerKey{}, false, 5)
	fx.Must(err)
	last, err := fx.CustomersOn(fx.Ctx, a, channels[0].ID, meta.CustomerKey{Name: "c1", ID: "c1"}, false, 1)
	fx.Must(err)
	if len(first) != 2 || len(other) != 1 || other[0].ID != "c1" || len(last) != 1 || last[0].ID != "c2" {
		fx.Errorf("on the channels: got %+v and %+v, after the first %+v", first, other, last)
	}
	on, err := fx.ChannelsOfCustomers(fx.Ctx, a, meta.CustomerKey{Name: "c1", ID: "c1"}, meta.CustomerKey{Name: "c1", ID: "c1"})
	fx.Must(err)
	if len(on) != 1 || len(on["c1"]) != 2 || !on["c1"][0].Default {
		fx.Errorf("the channels of the first customer: got %+v", on)
	}
	second, total, err := fx.CustomersAt(fx.Ctx, a, false, 1, 5)
	fx.Must(err)
	named, err := fx.CustomersNamed(fx.Ctx, a, "c1", false, 5)
	fx.Must(err)
	if len(second) != 1 || second[0].ID != "c2" || total != 2 || len(named) != 1 || named[0].ID != "c1" {
		fx.Errorf("from the second on: got %+v of %d; with the name c1: got %+v", second, total, named)
	}
	if slug, err := fx.SlugOfCustomer(fx.Ctx, Account, "c1"); err != nil || slug != "shop" {
		fx.Errorf("the application of a customer: got %q, %v, want shop", slug, err)
	}
	if _, err := fx.SlugOfCustomer(fx.Ctx, Account, "c9"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("the application of no customer: got %v", err)
	}

	token := meta.CustomerToken{Customer: "c1", Name: "east", Hash: "hash of a token"}
	stray := meta.CustomerToken{Customer: "none", Name: "x", Hash: "y"}
	if _, err := fx.PutCustomerToken(fx.Ctx, stray); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("a token of no customer: got %v", err)
	}
	_, err = fx.PutCustomerToken(fx.Ctx, token)
	fx.Must(err)
	if _, err := fx.PutCustomerToken(fx.Ctx, token); !errors.Is(err, fault.ObjectAlreadyExists) {
		fx.Errorf("a second token with the name: got %v", err)
	}
	licensed := func(hash, wantToken string) {
		fx.Helper()
		l, err := fx.Licensed(fx.Ctx, hash)
		if err != nil || l.ID != "c1" || l.Slug != "shop" || l.Account != Account || l.Token != wantToken || l.CustomID != "crm-7" {
			fx.Errorf("who has %s: got %+v, %v", hash, l, err)
		}
	}
	licensed("hash of c1", "")
	licensed("hash of a token", "east")
	used := time.UnixMilli(9_000_000).UTC()
	fx.Must(fx.CustomerTokensUsed(fx.Ctx, []meta.CustomerTokenUse{{Customer: "c1", Name: "east", At: used, Address: "203.0.113.7"},
		{Customer: "c1", Name: "east", At: used.Add(-time.Hour), Address: "203.0.113.8"}, {Customer: "c1", Name: "gone", At: used},
		{Customer: "c1", At: used, Address: "203.0.113.9"}, {Customer: "c1", At: used.Add(-1), Address: "203.0.113.8"}, {Customer: "none",
			At: used}}))
	if got, err := fx.Customer(fx.Ctx, a, "c1"); err != nil || !got.UsedAt.Equal(used) || got.UsedFrom != "203.0.113.9" {
		fx.Errorf("the last use of the licence: got %v from %q, %v, want %v", got.UsedAt, got.UsedFrom, err, used)
	}
	all, err := fx.CustomerTokens(fx.Ctx, "c1")
	fx.Must(err)
	if len(all) != 1 || !all[0].LastUsedAt.Equal(used) || all[0].LastAddress != "203.0.113.7" {
		fx.Errorf("the tokens are %+v", all)
	}
	fx.Must(fx.RotateCustomerToken(fx.Ctx, "c1", "east", "another hash"))
	licensed("another hash", "east")
	if _, err := fx.Licensed(fx.Ctx, "hash of a token"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("the token before its rotation: got %v", err)
	}
	fx.Must(fx.DeleteCustomerToken(fx.Ctx, "c1", "east"))
	for _, err := range []error{fx.DeleteCustomerToken(fx.Ctx, "c1", "east"), fx.RotateCustomerToken(fx.Ctx, "c1", "east", "z")} {
		if !errors.Is(err, fault.ObjectNotFound) {
			fx.Errorf("a token that is gone: got %v", err)
		}
	}
	c.ArchivedAt = time.UnixMilli(7_000_000).UTC()
	_, err = fx.PutCustomer(fx.Ctx, c)
	fx.Must(err)
	if all, err := fx.Customers(fx.Ctx, a, meta.CustomerKey{}, false, 5); err != nil || len(all) != 1 {
		fx.Errorf("without the archived customer: got %+v, %v", all, err)
	}
	if l, err := fx.Licensed(fx.Ctx, "hash of c1"); err != nil || l.ArchivedAt.IsZero() {
		fx.Errorf("an archived customer: got %+v, %v", l, err)
	}
}

// testEntitlements: those of all customers of an application and those of one are found together, and a change is seen by decisions.
func testEntitlements(fx *Fixture) {
	a, channels := fx.Application("shop")
	fx.customer(a, "c1", channels[0])
	generation := fx.IdentityGeneration()
	for i, customer := range []string{"c1", "", "c1"} {
		_, err := fx.PutEntitlement(fx.Ctx, meta.Entitlement{ID: fmt.Sprint("e", i), Application: a.ID, Customer: customer, Rule: "{}"})
		fx.Must(err)
	}
	if fx.IdentityGeneration() == generation {
		fx.Errorf("entitlements were added, and decisions keep those before")
	}
	stray := meta.Entitlement{ID: "e9", Application: a.ID, Customer: "none"}
	if _, err := fx.PutEntitlement(fx.Ctx, stray); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("an entitlement of no customer: got %v", err)
	}
	ids := func(customer string) (ids []string) {
		all, err := fx.Entitlements(fx.Ctx, a.ID, customer)
		fx.Must(err)
		for _, e := range all {
			ids = append(ids, e.ID)
		}
		return ids
	}
	if one, all := ids("c1"), ids(""); !slices.Equal(one, []string{"e1", "e0", "e2"}) || !slices.Equal(all, []string{"e1"}) {
		fx.Errorf("of the customer: got %v, of all: %v", one, all)
	}
	generation = fx.IdentityGeneration()
	fx.Must(fx.DeleteEntitlement(fx.Ctx, a.ID, "e0"))
	if fx.IdentityGeneration() == generation || !slices.Equal(ids("c1"), []string{"e1", "e2"}) {
		fx.Errorf("after a deletion: got %v", ids("c1"))
	}
	if err := fx.DeleteEntitlement(fx.Ctx, a.ID, "e0"); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("deleting it again: got %v", err)
	}
}

// testSharedRegistries: an integration is shared with one application or with all, and goes with what it was shared with.
func testSharedRegistries(fx *Fixture) {
	a, _ := fx.Application("shop")
	b, _ := fx.Application("other")
	one := func(label string) meta.SharedRegistry {
		i, err := fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: label, Kind: "OCI", Settings: "{}",
			Sealed: []byte("x")}, 50)
		fx.Must(err)
		return meta.SharedRegistry{Account: Account, Integration: i.ID, CreatedBy: "by"}
	}
	hub, mirror := one("hub"), one("mirror")
	fx.Must(fx.ShareRegistry(fx.Ctx, hub))
	mirror.Application = a.ID
	fx.Must(fx.ShareRegistry(fx.Ctx, mirror))
	mirror.Uncached = true
	fx.Must(fx.ShareRegistry(fx.Ctx, mirror)) // changes it
	check := func(what, application string, want int) {
		fx.Helper()
		if all, err := fx.RegistriesFor(fx.Ctx, Account, application); err != nil || len(all) != want {
			fx.Errorf("%s: got %+v, %v, want %d", what, all, err, want)
		}
	}
	check("of the application", a.ID, 2)
	check("of another one", b.ID, 1)
	all, err := fx.SharedRegistries(fx.Ctx, Account)
	if err != nil || len(all) != 2 || all[0].Uncached || !all[1].Uncached || all[1].Application != a.ID || all[0].CreatedAt.IsZero() {
		fx.Errorf("how they are shared: got %+v, %v", all, err)
	}
	for what, wrong := range map[string]meta.SharedRegistry{
		"no integration": {Account: Account, Integration: 1},
		"no application": {Account: Account, Integration: hub.Integration, Application: "none"},
	} {
		err := fx.ShareRegistry(fx.Ctx, wrong)
		if !errors.Is(err, fault.IntegrationNotFound) && !errors.Is(err, fault.ObjectNotFound) {
			fx.Errorf("%s: got %v", what, err)
		}
	}
	withAll := meta.SharedRegistry{Account: Account, Integration: mirror.Integration}
	if err := fx.UnshareRegistry(fx.Ctx, withAll); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("what is not shared with all: got %v", err)
	}
	fx.Must(fx.DeleteApplication(fx.Ctx, a, true))
	if all, err = fx.SharedRegistries(fx.Ctx, Account); err != nil || len(all) != 1 {
		fx.Errorf("after the application is deleted: got %+v, %v", all, err)
	}
	i, err := fx.Integration(fx.Ctx, Account, "hub")
	fx.Must(err)
	fx.Must(fx.DeleteIntegration(fx.Ctx, i))
	check("after the integration is deleted", b.ID, 0)
	fx.Must(fx.ShareRegistry(fx.Ctx, withAll))
	fx.Must(fx.UnshareRegistry(fx.Ctx, withAll))
	check("after all is unshared", b.ID, 0)
}
