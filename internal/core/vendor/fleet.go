package vendor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Sighting is what an installation of a customer says of itself. Texts that are too long are cut.
type Sighting struct {
	Instance   string // its id; "" for the token of the caller, or the one installation of a licence
	Cluster    string
	Channel    string // id, slug or name; "" for the default channel of the licence
	Sequence   int64  // of the channel, of the version that runs; 0 for none
	Kubernetes string // version
	Status     string
	Address    string // of the client
}

const (
	maxSightingText = 128
	// seenEvery is how often an installation is stored that says the same as before, or anything else.
	seenEvery = 10 * time.Second
	maxSeen   = 10_000 // installations of which the last time is in memory
)

// lastSeen has when installations were stored last. It is safe for concurrent use.
type lastSeen struct {
	mu sync.Mutex
	at map[string]time.Time
}

// due reports whether an installation is to be stored, and notes that it was.
func (l *lastSeen) due(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.at[key]; ok && now.Sub(at) < seenEvery && !now.Before(at) {
		return false
	}
	if l.at == nil || len(l.at) >= maxSeen {
		l.at = map[string]time.Time{}
	}
	l.at[key] = now
	return true
}

func clipText(s string) string { return name.Clip(s[:min(len(s), maxSightingText)]) }

// Seen stores that an installation of the customer who calls was seen now. It is called after a request was answered, such as a check for
// updates: it stores an installation at most each 10 seconds, and 100 of a customer.
//
// Errors: fault.AccessDenied, fault.LicenseInvalid, and those of meta.Store.PutInstance.
func (s *Service) Seen(ctx context.Context, by identity.Caller, slug string, g Sighting) error {
	a, c, err := s.licensee(ctx, by, slug)
	if err != nil {
		return err
	}
	of, _, err := s.channelOf(ctx, a, c, g.Channel)
	if err != nil {
		return err
	}
	id := clipText(g.Instance)
	if id == "" {
		id = by.Token
	}
	if id == "" {
		id = "default"
	}
	if !s.seen.due(c.ID+" "+id, s.now()) {
		return nil
	}
	i := meta.Instance{Application: a.ID, Customer: c.ID, ID: id, Cluster: clipText(g.Cluster), Channel: of.ID,
		Sequence: max(0, g.Sequence), Kubernetes: clipText(g.Kubernetes), Status: clipText(g.Status), Address: clipText(g.Address)}
	_, err = s.meta.PutInstance(ctx, i, func(is meta.Sighted) (all []event.Event) {
		v := event.Vendor{Application: a.Slug, CustomerID: c.ID, CustomerName: c.Name, InstanceID: id, Channel: of.Slug, Sequence: i.Sequence}
		if is.First {
			v.Action = event.InstanceCreated
			all = append(all, s.tell(a.Account, v))
		}
		if is.Ready {
			v.Action = event.InstanceReady
			all = append(all, s.tell(a.Account, v))
		}
		return all
	})
	return err
}

// Fleet is an installation with what it runs and what it could run.
type Fleet struct {
	meta.Instance
	CustomerName string
	ChannelSlug  string
	Running      meta.Promotion // zero if it is not known
	Behind       int            // versions that are offered to it after the one that it runs
	Newest       string         // label of the newest version that is offered to it; "" for none
	Images       []meta.ReleaseImage
	Pulled       []meta.PulledImage // by the customer
	PulledLast   meta.Promotion     // the version that the customer has pulled; zero if it is not known
}

// Fleet returns at most limit installations of an application after a key, in the order of the ids of customers and
// installations. A customer who has pulled, and of whom no installation was seen, has one without an id.
func (s *Service) Fleet(ctx context.Context, a meta.Application, after meta.InstanceKey, limit int) ([]Fleet, error) {
	pulls := s.pullsOf(a)
	rows, err := pulls.known(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	all := make([]Fleet, 0, len(rows))
	for _, i := range rows {
		f, err := s.fleetOf(ctx, a, i)
		if err == nil {
			f.Pulled, err = pulls.pulled(ctx, i.Customer)
		}
		if err == nil {
			f.PulledLast, err = pulls.version(ctx, i.Channel, i.Customer)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (s *Service) fleetOf(ctx context.Context, a meta.Application, i meta.Instance) (Fleet, error) {
	f := Fleet{Instance: i}
	c, err := s.meta.Customer(ctx, a, i.Customer)
	if err != nil {
		return f, err
	}
	if f.CustomerName = c.Name; i.Channel == "" {
		return f, nil
	}
	of, err := s.meta.Channel(ctx, a.ID, i.Channel)
	if err != nil {
		return f, err
	}
	f.ChannelSlug = of.Slug
	pinned := int64(0)
	for _, one := range c.Channels {
		if one.Channel == of.ID {
			pinned = one.Pinned
		}
	}
	if err := s.newest(ctx, of, pinned, &f); err != nil {
		return f, err
	}
	if i.Sequence == 0 {
		return f, nil
	}
	switch p, err := s.meta.Promotion(ctx, of.ID, i.Sequence); {
	case errors.Is(err, fault.ObjectNotFound): // it says a version that there is not
		return f, nil
	case err != nil:
		return f, err
	default:
		f.Running = p
	}
	f.Images, err = s.meta.ReleaseImages(ctx, a.ID, f.Running.Release)
	return f, err
}

// newest sets how many versions an installation is behind, and the newest one. On a channel with semantic versions these decide.
func (s *Service) newest(ctx context.Context, of meta.Channel, pinned int64, f *Fleet) error {
	limit, installed := 1, semver.Version{}
	if of.SemverRequired {
		limit = maxOffers
	}
	all, err := s.meta.Offers(ctx, of.ID, 0, pinned, false, limit)
	if err != nil {
		return err
	}
	if !of.SemverRequired {
		f.Behind, err = s.meta.VersionsAfter(ctx, of.ID, f.Sequence, pinned)
	} else {
		if p, err := s.meta.Promotion(ctx, of.ID, f.Sequence); err == nil {
			installed, _ = semver.Parse(p.Label)
		} else if !errors.Is(err, fault.ObjectNotFound) {
			return err
		}
		f.Behind = len(later(slices.Clone(all), f.Sequence, installed))
		all = later(all, 0, semver.Version{})
	}
	if len(all) > 0 {
		f.Newest = all[0].Label
	}
	return err
}
