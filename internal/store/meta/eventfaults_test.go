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
	for what, prepare := range sweptEventChanges {
		moreSweptChanges[what] = prepare
	}
}

// hook makes a webhook for one call of a sweep.
func (s *sweeper) hook() meta.Webhook {
	w, err := s.CreateWebhook(s.Ctx, meta.Webhook{Registry: metatest.Registry, Name: fmt.Sprint("hook", s.i), Sealed: []byte("x")}, 0)
	s.Must(err)
	return w
}

// lost makes a delivery that was given up.
func (s *sweeper) lost(w meta.Webhook) meta.Delivery {
	d := meta.Delivery{Event: meta.Event{ID: w.Position + 1, OrderKey: "k", Body: "{}"}, State: meta.DeliveryDead}
	s.Must(s.SaveDelivered(s.Ctx, w.ID, meta.Delivered{From: w.Position, Position: w.Position, Open: []meta.Delivery{d}}))
	return d
}

// sweptEventChanges are the changes of events and webhooks, for the sweep of moreSweptChanges.
var sweptEventChanges = map[string]func(s *sweeper) func(context.Context) error{
	"RecordEvents": func(s *sweeper) func(context.Context) error {
		o := event.Origin{Registry: metatest.Registry, Time: time.Now()}
		return func(ctx context.Context) error {
			return s.RecordEvents(ctx, []event.Event{event.WebhookTested(o, "x", ""), event.WebhookTested(o, "y", "")})
		}
	},
	"CreateWebhook": func(s *sweeper) func(context.Context) error {
		label := fmt.Sprint("new", s.i)
		return func(ctx context.Context) error {
			_, err := s.CreateWebhook(ctx, meta.Webhook{Registry: metatest.Registry, Name: label, Sealed: []byte("x")}, 1<<30)
			return err
		}
	},
	"UpdateWebhook": func(s *sweeper) func(context.Context) error {
		w, on, pattern := s.hook(), true, "{}"
		return func(ctx context.Context) error {
			_, err := s.UpdateWebhook(ctx, w, meta.WebhookChange{Enabled: &on, Pattern: &pattern, Sealed: []byte("y")})
			return err
		}
	},
	"DeleteWebhook": func(s *sweeper) func(context.Context) error {
		w := s.hook()
		s.lost(w)
		return func(ctx context.Context) error { return s.DeleteWebhook(ctx, w) }
	},
	"Redeliver": func(s *sweeper) func(context.Context) error {
		w := s.hook()
		d := s.lost(w)
		return func(ctx context.Context) error { return s.Redeliver(ctx, w.ID, d.ID) }
	},
	"SaveDelivered": func(s *sweeper) func(context.Context) error {
		w := s.hook()
		done := s.lost(w)
		open := []meta.Delivery{{Event: meta.Event{ID: w.Position + 2, Body: "{}"}, State: meta.DeliveryWaiting},
			{Event: meta.Event{ID: w.Position + 3, Body: "{}"}, State: meta.DeliveryDead}}
		d := meta.Delivered{From: w.Position, Position: w.Position + 3, Done: []int64{done.ID}, Open: open,
			Tried: time.Now(), Status: 500, Error: "x"}
		return func(ctx context.Context) error { return s.SaveDelivered(ctx, w.ID, d) }
	},
	"DeleteEvents": func(s *sweeper) func(context.Context) error {
		_, err := s.DeleteEvents(s.Ctx, time.Now().Add(time.Hour), 100)
		s.Must(err)
		o := event.Origin{Registry: metatest.Registry, Time: time.Now()}
		s.Must(s.RecordEvents(s.Ctx, []event.Event{event.WebhookTested(o, "x", "")}))
		return func(ctx context.Context) error {
			_, err := s.DeleteEvents(ctx, time.Now().Add(time.Hour), 100)
			return err
		}
	},
}
