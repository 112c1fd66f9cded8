package ecrin

import (
	"context"
	"crypto/rand"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// telling returns a context whose first change also stores the events of changes of an application, in the region of the request.
func (s *Service) telling(ctx context.Context, at Shipped, all ...event.Vendor) context.Context {
	for _, v := range all {
		ctx = meta.WithEvents(ctx, s.told(at, v))
	}
	return ctx
}

// told returns the event of a change of an application, in the region of the request.
func (s *Service) told(at Shipped, v event.Vendor) event.Event {
	v.Application = at.Slug
	o := event.Origin{Registry: name.Registry{Account: at.Account, Region: at.Region}, Time: s.now()}
	rand.Read(o.ID[:])
	o.ID[6], o.ID[8] = o.ID[6]&0x0f|0x40, o.ID[8]&0x3f|0x80 // version 4: a random UUID
	return event.VendorChanged(o, v)
}
