package vendor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// tellKind is the kind of the schedule that tells what happens without a request: licences end, and installations are not seen.
	tellKind  = "vendor_events"
	tellEvery = time.Minute
	tellPage  = 200 // rows of a step
)

// AddWork adds the background work of what vendors ship.
func (s *Service) AddWork(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: tellKind, What: "telling about licences and installations", Parallel: 1, Every: tellEvery, AtStart: true,
		Work: func(ctx context.Context, _ *jobs.Job) error { return s.Tell(ctx) }})
}

// tell returns an event about what an account ships, in the default region of the installation: no request says another one.
func (s *Service) tell(account name.Account, v event.Vendor) event.Event {
	o := event.Origin{Registry: name.Registry{Account: account, Region: s.hosts.Default().Region}, Time: s.now()}
	rand.Read(o.ID[:])
	o.ID[6], o.ID[8] = o.ID[6]&0x0f|0x40, o.ID[8]&0x3f|0x80 // version 4: a random UUID
	return event.VendorChanged(o, v)
}

// Tell stores the events of what has happened without a request: licences that end soon or have ended, and installations that are behind or
// were not seen for long. Each is told once, by a row that changes in the transaction of the event.
func (s *Service) Tell(ctx context.Context) error {
	if err := s.tellLicenses(ctx, meta.ToldExpiring, s.now()); err != nil {
		return err
	}
	if err := s.tellLicenses(ctx, meta.ToldNothing, s.now().Add(s.warning)); err != nil {
		return err
	}
	if err := s.tellSilent(ctx); err != nil {
		return err
	}
	return s.tellBehind(ctx)
}

// tellLicenses tells about licences that end until a time, and about which so much was told.
func (s *Service) tellLicenses(ctx context.Context, told int, until time.Time) error {
	for {
		all, err := s.meta.LicenseEnds(ctx, told, until, tellPage)
		if err != nil {
			return err
		}
		for _, l := range all {
			to, action := meta.ToldExpiring, event.LicenseExpiring
			if !l.At.After(s.now()) {
				to, action = meta.ToldExpired, event.LicenseExpired
			}
			var events []event.Event
			if !l.Archived { // the licence has ended before
				events = append(events, s.tell(l.Account, event.Vendor{Action: action, Application: l.Slug, CustomerID: l.Customer,
					CustomerName: l.Name, ExpiresAt: l.At}))
			}
			if err := s.meta.TellLicense(ctx, l, to, events...); err != nil {
				return err
			}
		}
		if len(all) < tellPage {
			return nil
		}
	}
}

// about returns the event of an installation.
func about(action event.VendorAction, i meta.ToldInstance) event.Vendor {
	return event.Vendor{Action: action, Application: i.Slug, CustomerID: i.Customer, CustomerName: i.CustomerName, InstanceID: i.ID,
		Sequence: i.Sequence}
}

// tellSilent tells about installations that were not seen for long.
func (s *Service) tellSilent(ctx context.Context) error {
	if s.inactive == 0 {
		return nil
	}
	for {
		all, err := s.meta.SilentInstances(ctx, s.now().Add(-s.inactive), tellPage)
		if err != nil {
			return err
		}
		for _, i := range all {
			var events []event.Event
			if !i.Archived {
				events = append(events, s.tell(i.Account, about(event.InstanceInactive, i)))
			}
			if err := s.meta.TellInactive(ctx, i.Instance, events...); err != nil {
				return err
			}
		}
		if len(all) < tellPage {
			return nil
		}
	}
}

// tellBehind tells about installations that are behind: once until they run the newest version that they are offered.
func (s *Service) tellBehind(ctx context.Context) error {
	for after := (meta.InstanceKey{}); ; {
		all, err := s.meta.TurningInstances(ctx, after, tellPage)
		if err != nil {
			return err
		}
		for _, i := range all {
			after = meta.InstanceKey{Customer: i.Customer, ID: i.ID}
			f, err := s.fleetOf(ctx, meta.Application{ID: i.Application, Account: i.Account, Slug: i.Slug}, i.Instance)
			if errors.Is(err, fault.ObjectNotFound) { // the customer was deleted
				continue
			}
			if err != nil {
				return fmt.Errorf("looking whether an installation is behind: %w", err)
			}
			if behind := f.Behind > 0; behind != i.Behind {
				var events []event.Event
				if behind {
					v := about(event.InstanceBehind, i)
					v.Channel, v.Version, v.Behind, v.Newest = f.ChannelSlug, f.Running.Label, f.Behind, f.Newest
					events = append(events, s.tell(i.Account, v))
				}
				if err := s.meta.TellBehind(ctx, i, behind, events...); err != nil {
					return err
				}
			}
		}
		if len(all) < tellPage {
			return nil
		}
	}
}
