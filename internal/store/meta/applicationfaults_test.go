package meta_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

func init() {
	for what, prepare := range sweptApplicationChanges {
		moreSweptChanges[what] = prepare
	}
	for what, prepare := range sweptApplicationReads {
		sweptReads[what] = prepare
	}
}

// application makes an application with two channels for one call of a sweep.
func (s *sweeper) application() (meta.Application, []meta.Channel) {
	return s.Application(fmt.Sprint("app", s.i))
}

// release makes a release of an application for one call of a sweep.
func (s *sweeper) release(a meta.Application) meta.Release {
	r, err := s.PutRelease(s.Ctx, meta.Release{Application: a.ID, Files: []byte("x"), Spec: "json",
		Images: []meta.ReleaseImage{{Repository: "docker.io/library/nginx", Tag: "1"}}})
	s.Must(err)
	return r
}

// tried makes a release that was tried on a cluster for one call of a sweep.
func (s *sweeper) tried() meta.Compatibility {
	a, _ := s.application()
	c, err := s.Store.PutCompatibility(s.Ctx, meta.Compatibility{Application: a.ID, Sequence: s.release(a).Sequence, Distribution: "kind",
		Version: "1", SuccessAt: time.Now()})
	s.Must(err)
	return c
}

// licensed makes a customer with one token for one call of a sweep.
func (s *sweeper) licensed() (meta.Application, meta.Customer) {
	a, channels := s.application()
	c, err := s.PutCustomer(s.Ctx, meta.Customer{ID: s.id("c"), Application: a.ID, Account: a.Account, Name: "c", Sealed: []byte("x"),
		LicenseHash: s.id("h"), Details: "{}", Channels: []meta.CustomerChannel{{Channel: channels[0].ID}}})
	s.Must(err)
	_, err = s.PutCustomerToken(s.Ctx, meta.CustomerToken{Customer: c.ID, Name: "east", Hash: s.id("t")})
	s.Must(err)
	return a, c
}

// told returns an event for one call of a sweep.
func told(id string) event.Event {
	o := event.Origin{Registry: metatest.Registry, Time: time.Now()}
	copy(o.ID[:], id)
	return event.VendorChanged(o, event.Vendor{Action: event.LicenseExpired, Application: "shop"})
}

// seen makes an installation for one call of a sweep.
func (s *sweeper) seen() meta.Instance {
	a, c := s.licensed()
	i := meta.Instance{Application: a.ID, Customer: c.ID, ID: "east", Channel: c.Channels[0].Channel, Sequence: 1}
	_, err := s.Store.PutInstance(s.Ctx, i, nil)
	s.Must(err)
	all, err := s.Store.Instances(s.Ctx, a.ID, meta.InstanceKey{}, 1)
	s.Must(err)
	return all[0]
}

// sweptApplicationReads are the reads of what vendors ship.
var sweptApplicationReads = map[string]func(s *sweeper) func(context.Context) (int, error){
	"CustomersAt": func(s *sweeper) func(context.Context) (int, error) {
		a, _ := s.licensed()
		return func(ctx context.Context) (int, error) {
			all, total, err := s.Store.CustomersAt(ctx, a, false, 0, 5)
			return len(all) + total + channelsOf(all), err
		}
	},
	"CustomersNamed": func(s *sweeper) func(context.Context) (int, error) {
		a, _ := s.licensed()
		return func(ctx context.Context) (int, error) {
			all, err := s.Store.CustomersNamed(ctx, a, "c", false, 5)
			return len(all) + channelsOf(all), err
		}
	},
	"OfferedCharts": func(s *sweeper) func(context.Context) (int, error) {
		a, channels := s.application()
		r, err := s.Store.PutRelease(s.Ctx, meta.Release{Application: a.ID, Files: []byte("x"), Charts: []meta.ReleaseChart{
			{Name: "web", Version: "1", Path: "a"}, {Name: "web", Version: "2", Path: "b"}}})
		s.Must(err)
		_, err = s.Store.Promote(s.Ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: "1"}, channels, nil)
		s.Must(err)
		return func(ctx context.Context) (int, error) {
			return length(s.Store.OfferedCharts(ctx, channels[0].ID, "web", 0, 5))
		}
	},
	"ReleaseCharts": func(s *sweeper) func(context.Context) (int, error) {
		a, _ := s.application()
		_, err := s.Store.PutRelease(s.Ctx, meta.Release{Application: a.ID, Files: []byte("x"), Charts: []meta.ReleaseChart{
			{Name: "web", Version: "1", Path: "a"}, {Name: "web", Version: "2", Path: "b"}}})
		s.Must(err)
		return func(ctx context.Context) (int, error) {
			all, err := s.Store.ReleaseCharts(ctx, a.ID, 1, 2)
			return len(all[1]), err
		}
	},
	"Compatibility": func(s *sweeper) func(context.Context) (int, error) {
		c := s.tried()
		return func(ctx context.Context) (int, error) {
			all, err := s.Store.Compatibility(ctx, c.Application, c.Sequence, c.Sequence)
			return len(all[c.Sequence]), err
		}
	},
	"Instances": func(s *sweeper) func(context.Context) (int, error) {
		i := s.seen()
		return func(ctx context.Context) (int, error) {
			return length(s.Store.Instances(ctx, i.Application, meta.InstanceKey{}, 5))
		}
	},
	"SilentInstances": func(s *sweeper) func(context.Context) (int, error) {
		s.seen()
		return func(ctx context.Context) (int, error) {
			return length(s.Store.SilentInstances(ctx, time.Now().Add(time.Hour), 1))
		}
	},
	"TurningInstances": func(s *sweeper) func(context.Context) (int, error) {
		i := s.seen()
		c, err := s.Store.Channel(s.Ctx, i.Application, i.Channel)
		s.Must(err)
		for range 2 {
			r := s.release(meta.Application{ID: i.Application})
			_, err = s.Store.Promote(s.Ctx, meta.Promotion{Application: i.Application, Release: r.Sequence, Label: "1"}, []meta.Channel{c}, nil)
			s.Must(err)
		}
		return func(ctx context.Context) (int, error) {
			return length(s.Store.TurningInstances(ctx, meta.InstanceKey{}, 1))
		}
	},
	"LicenseEnds": func(s *sweeper) func(context.Context) (int, error) {
		a, channels := s.application()
		_, err := s.Store.PutCustomer(s.Ctx, meta.Customer{ID: s.id("c"), Application: a.ID, Account: a.Account, Name: "c", Sealed: []byte("x"),
			LicenseHash: s.id("h"), Details: "{}", ExpiresAt: time.Now(), Channels: []meta.CustomerChannel{{Channel: channels[0].ID}}})
		s.Must(err)
		return func(ctx context.Context) (int, error) {
			return length(s.Store.LicenseEnds(ctx, meta.ToldNothing, time.Now().Add(time.Hour), 1))
		}
	},
}

func channelsOf(all []meta.Customer) (n int) {
	for _, c := range all {
		n += len(c.Channels)
	}
	return n
}

// shared makes an application and an integration that is shared with all, for one call of a sweep.
func (s *sweeper) shared() (meta.Application, meta.SharedRegistry) {
	a, _ := s.application()
	i, err := s.CreateIntegration(s.Ctx, meta.Integration{Account: a.Account, Name: s.id("i"), Kind: "OCI", Settings: "{}",
		Sealed: []byte("x")}, 1000)
	s.Must(err)
	r := meta.SharedRegistry{Account: a.Account, Integration: i.ID}
	s.Must(s.Store.ShareRegistry(s.Ctx, r))
	return a, r
}

// sweptApplicationChanges are the changes of applications, for the sweep of moreSweptChanges.
var sweptApplicationChanges = map[string]func(s *sweeper) func(context.Context) error{
	"PutApplication": func(s *sweeper) func(context.Context) error {
		a := meta.Application{ID: s.id("a"), Account: metatest.Account, Slug: s.id("s"), Sealed: []byte("x")}
		return func(ctx context.Context) error {
			_, err := s.Store.PutApplication(ctx, a, []meta.Channel{{ID: s.id("c"), Slug: "stable"}})
			return err
		}
	},
	"DeleteApplication": func(s *sweeper) func(context.Context) error {
		a, _ := s.licensed()
		return func(ctx context.Context) error { return s.DeleteApplication(ctx, a, true) }
	},
	"PutApplicationHost": func(s *sweeper) func(context.Context) error {
		a, _ := s.application()
		h := meta.ApplicationHost{Host: s.id("h") + ".example.com", Account: a.Account, Application: a.ID}
		return func(ctx context.Context) error {
			_, err := s.Store.PutApplicationHost(ctx, h)
			return err
		}
	},
	"DeleteApplicationHost": func(s *sweeper) func(context.Context) error {
		a, _ := s.application()
		h := meta.ApplicationHost{Host: s.id("h") + ".example.com", Account: a.Account, Application: a.ID}
		_, err := s.Store.PutApplicationHost(s.Ctx, h)
		s.Must(err)
		return func(ctx context.Context) error { return s.Store.DeleteApplicationHost(ctx, a.ID, h.Host) }
	},
	"PutChannel": func(s *sweeper) func(context.Context) error {
		a, _ := s.application()
		return func(ctx context.Context) error {
			_, err := s.PutChannel(ctx, meta.Channel{ID: s.id("n"), Application: a.ID, Slug: "beta"})
			return err
		}
	},
	"UpdateChannel": func(s *sweeper) func(context.Context) error {
		_, channels := s.application()
		text := "new"
		return func(ctx context.Context) error {
			_, err := s.UpdateChannel(ctx, channels[1].ID, meta.ChannelChange{Description: &text})
			return err
		}
	},
	"ArchiveChannel": func(s *sweeper) func(context.Context) error {
		_, channels := s.application()
		return func(ctx context.Context) error { return s.ArchiveChannel(ctx, channels[1]) }
	},
	"PutInstance": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		return func(ctx context.Context) error {
			_, err := s.PutInstance(ctx, meta.Instance{Application: a.ID, Customer: c.ID, ID: "east"}, nil)
			return err
		}
	},
	"PutPullLines": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		return func(ctx context.Context) error {
			return s.PutPullLines(ctx, []meta.PullLine{{Application: a.ID, Customer: c.ID, At: time.Now()}, {Application: a.ID, At: time.Now()}})
		}
	},
	"PutPulledImages": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		old := meta.PulledImage{Application: a.ID, Customer: c.ID, Image: "a/b", Reference: "1", Digest: "x", At: time.Now()}
		s.Must(s.PutPulledImages(s.Ctx, []meta.PulledImage{old}))
		return func(ctx context.Context) error {
			return s.PutPulledImages(ctx, []meta.PulledImage{{Application: a.ID, Customer: c.ID, Image: "a/b", Reference: "2", At: time.Now()},
				{Application: a.ID, Customer: c.ID, Image: "a/b", Reference: "1", Digest: "y", At: time.Now().Add(time.Hour)}})
		}
	},
	"AddEgress": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		e := meta.Egress{Application: a.ID, Month: 202611, Customer: c.ID, Kind: "PROXY", Image: "a/b", Pulls: 1, Sent: 10}
		s.Must(s.AddEgress(s.Ctx, []meta.Egress{e}))
		_, err := s.PutEgressThreshold(s.Ctx, meta.EgressThreshold{Application: a.ID, Bytes: 15, Region: "us-east-1"})
		s.Must(err)
		return func(ctx context.Context) error { return s.AddEgress(ctx, []meta.Egress{e}) }
	},
	"PutEgressThreshold": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		s.Must(s.AddEgress(s.Ctx, []meta.Egress{{Application: a.ID, Month: meta.MonthOf(time.Now()), Customer: c.ID, Image: "a/b", Sent: 10}}))
		return func(ctx context.Context) error {
			_, err := s.PutEgressThreshold(ctx, meta.EgressThreshold{Application: a.ID, Customer: c.ID, Bytes: 5, Region: "us-east-1"})
			return err
		}
	},
	"PutPullDenials": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		return func(ctx context.Context) error {
			return s.PutPullDenials(ctx, []meta.PullDenial{{Application: a.ID, Customer: c.ID, Image: "a/b", Region: "us-east-1", At: time.Now()}})
		}
	},
	"TellLicense": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		return func(ctx context.Context) error {
			return s.TellLicense(ctx, meta.LicenseEnd{Customer: c.ID}, meta.ToldExpired, told(s.id("e")))
		}
	},
	"TellInactive": func(s *sweeper) func(context.Context) error {
		i := s.seen()
		return func(ctx context.Context) error { return s.TellInactive(ctx, i, told(s.id("e"))) }
	},
	"TellBehind": func(s *sweeper) func(context.Context) error {
		i := meta.ToldInstance{Instance: s.seen()}
		return func(ctx context.Context) error { return s.TellBehind(ctx, i, true, told(s.id("e"))) }
	},
	"PutRelease": func(s *sweeper) func(context.Context) error {
		a, _ := s.application()
		return func(ctx context.Context) error {
			_, err := s.Store.PutRelease(ctx, meta.Release{Application: a.ID, Files: []byte("x"),
				Images: []meta.ReleaseImage{{Repository: "a/b", Tag: "1"}, {Repository: "a/b", Tag: "2"}}})
			return err
		}
	},
	"PutRelease/changed": func(s *sweeper) func(context.Context) error {
		a, _ := s.application()
		r := s.release(a)
		r.Files, r.Images = []byte("other"), []meta.ReleaseImage{{Repository: "a/b", Tag: "1"}}
		return func(ctx context.Context) error { _, err := s.Store.PutRelease(ctx, r); return err }
	},
	"PutCompatibility": func(s *sweeper) func(context.Context) error {
		c := s.tried()
		c.Distribution = "eks"
		return func(ctx context.Context) error { _, err := s.Store.PutCompatibility(ctx, c); return err }
	},
	"PutCompatibility/changed": func(s *sweeper) func(context.Context) error {
		c := s.tried()
		c.FailureAt = time.Now()
		return func(ctx context.Context) error { _, err := s.Store.PutCompatibility(ctx, c); return err }
	},
	"Promote": func(s *sweeper) func(context.Context) error {
		a, channels := s.application()
		p := meta.Promotion{Application: a.ID, Release: s.release(a).Sequence, Label: "1"}
		return func(ctx context.Context) error { _, err := s.Store.Promote(ctx, p, channels, nil); return err }
	},
	"Demote": func(s *sweeper) func(context.Context) error {
		a, channels := s.application()
		_, err := s.Promote(s.Ctx, meta.Promotion{Application: a.ID, Release: s.release(a).Sequence, Label: "1"}, channels, nil)
		s.Must(err)
		return func(ctx context.Context) error { _, err := s.Store.Demote(ctx, channels[0].ID, 1, false); return err }
	},
	"PutCustomer": func(s *sweeper) func(context.Context) error {
		a, channels := s.application()
		c := meta.Customer{ID: s.id("c"), Application: a.ID, Account: a.Account, Name: "c", Sealed: []byte("x"), LicenseHash: s.id("h"),
			Channels: []meta.CustomerChannel{{Channel: channels[0].ID, Default: true}, {Channel: channels[1].ID}}}
		return func(ctx context.Context) error { _, err := s.Store.PutCustomer(ctx, c); return err }
	},
	"PutCustomer/changed": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		c.Name, c.Channels = "other", nil
		return func(ctx context.Context) error { _, err := s.Store.PutCustomer(ctx, c); return err }
	},
	"PutCustomerToken": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		return func(ctx context.Context) error {
			_, err := s.Store.PutCustomerToken(ctx, meta.CustomerToken{Customer: c.ID, Name: "west", Hash: s.id("w")})
			return err
		}
	},
	"RotateCustomerToken": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		return func(ctx context.Context) error { return s.RotateCustomerToken(ctx, c.ID, "east", s.id("r")) }
	},
	"DeleteCustomerToken": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		return func(ctx context.Context) error { return s.DeleteCustomerToken(ctx, c.ID, "east") }
	},
	"CustomerTokensUsed": func(s *sweeper) func(context.Context) error {
		_, c := s.licensed()
		return func(ctx context.Context) error {
			return s.CustomerTokensUsed(ctx, []meta.CustomerTokenUse{{Customer: c.ID, Name: "east", At: time.UnixMilli(9), Address: "::1"}})
		}
	},
	"PutEntitlement": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		return func(ctx context.Context) error {
			_, err := s.Store.PutEntitlement(ctx, meta.Entitlement{ID: s.id("e"), Application: a.ID, Customer: c.ID, Rule: "{}"})
			return err
		}
	},
	"DeleteEntitlement": func(s *sweeper) func(context.Context) error {
		a, c := s.licensed()
		_, err := s.PutEntitlement(s.Ctx, meta.Entitlement{ID: s.id("e"), Application: a.ID, Customer: c.ID, Rule: "{}"})
		s.Must(err)
		return func(ctx context.Context) error { return s.DeleteEntitlement(ctx, a.ID, s.id("e")) }
	},
	"ShareRegistry": func(s *sweeper) func(context.Context) error {
		a, r := s.shared()
		return func(ctx context.Context) error {
			r.Application, r.Uncached = a.ID, true
			return s.Store.ShareRegistry(ctx, r)
		}
	},
	"UnshareRegistry": func(s *sweeper) func(context.Context) error {
		_, r := s.shared()
		return func(ctx context.Context) error { return s.Store.UnshareRegistry(ctx, r) }
	},
}
