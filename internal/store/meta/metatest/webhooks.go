package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (fx *Fixture) webhook(label string) meta.Webhook {
	fx.Helper()
	w, err := fx.CreateWebhook(fx.Ctx, meta.Webhook{Registry: Registry, Name: label, Host: "example.com", Sealed: []byte("sealed"),
		Enabled: true, CreatedBy: Principal}, 3)
	fx.Must(err)
	return w
}

func (fx *Fixture) record(text string) int64 {
	fx.Helper()
	fx.Must(fx.RecordEvents(fx.Ctx, []event.Event{event.WebhookTested(event.Origin{Registry: Registry, Time: time.Now()}, text, "")}))
	id, err := fx.NewestEvent(fx.Ctx, Registry)
	fx.Must(err)
	return id
}

// dueWebhooks returns the ids of the webhooks that have something to send, by pages of one.
func (fx *Fixture) dueWebhooks(now time.Time) (ids []int64) {
	fx.Helper()
	for after := int64(0); ; {
		due, last, _, err := fx.WebhooksDue(fx.Ctx, now, after, 1)
		fx.Must(err)
		for _, w := range due {
			ids = append(ids, w.ID)
		}
		if last == 0 {
			return ids
		}
		after = last
	}
}

func testWebhooks(fx *Fixture) {
	fx.record("earlier")
	a := fx.webhook("a")
	now := time.Now().Add(time.Hour)
	fx.Equal(fx.dueWebhooks(now), []int64(nil), "due webhooks without an event since they were created")
	b := fx.webhook("b")
	_, err := fx.CreateWebhook(fx.Ctx, a, 9)
	fx.Want(err, fault.WebhookAlreadyExists, "a second webhook with the same name")
	fx.webhook("c")
	_, err = fx.CreateWebhook(fx.Ctx, meta.Webhook{Registry: Registry, Name: "d"}, 3)
	fx.Want(err, fault.LimitExceeded, "a webhook beyond the limit")
	stranger := a
	stranger.Registry.Account = name.MustAccount("999999999999")
	_, err = fx.CreateWebhook(fx.Ctx, stranger, 9)
	fx.Want(err, fault.AccountNotFound, "a webhook of an unknown account")

	all, err := fx.Webhooks(fx.Ctx, Registry, "a", 1)
	fx.Must(err)
	fx.Equal(all, []meta.Webhook{b}, "the second page of webhooks")
	other := name.Registry{Account: Account, Region: name.MustRegion("us-east-1")}
	_, err = fx.Webhook(fx.Ctx, other, "a")
	fx.Want(err, fault.WebhookNotFound, "a webhook of another region")

	e := fx.record("later")
	off, pattern := false, `{"source":["aws.ecr"]}`
	b, err = fx.UpdateWebhook(fx.Ctx, b, meta.WebhookChange{Enabled: &off, Pattern: &pattern, Sealed: []byte("other")})
	fx.Must(err)
	got, err := fx.WebhookByID(fx.Ctx, b.ID)
	fx.Must(err)
	fx.Equal(got, b, "the updated webhook")
	if b.Pattern != pattern || b.Enabled || string(b.Sealed) != "other" || b.Host != "example.com" {
		fx.Errorf("the updated webhook: got %+v", b)
	}
	stale := b
	stale.Sealed = []byte("sealed")
	_, err = fx.UpdateWebhook(fx.Ctx, stale, meta.WebhookChange{Enabled: &off})
	fx.Want(err, fault.TargetChanged, "a change of a webhook that another request has changed")
	if got := fx.dueWebhooks(now); len(got) != 2 || got[0] != a.ID {
		fx.Errorf("due webhooks: got %v, want two without the disabled one", got)
	}
	on := true
	b, err = fx.UpdateWebhook(fx.Ctx, b, meta.WebhookChange{Enabled: &on})
	fx.Must(err)
	if b.Position < e {
		fx.Errorf("position of a webhook that was enabled again: got %d, want it after the event %d", b.Position, e)
	}
	fx.Must(fx.DeleteWebhook(fx.Ctx, b))
	fx.Want(fx.DeleteWebhook(fx.Ctx, b), fault.WebhookNotFound, "deleting twice")
	_, err = fx.UpdateWebhook(fx.Ctx, b, meta.WebhookChange{})
	fx.Want(err, fault.WebhookNotFound, "updating a deleted webhook")
}

func testDeliveries(fx *Fixture) {
	w := fx.webhook("a")
	now := time.Now().Truncate(time.Second).UTC()
	var ids []int64
	var open []meta.Delivery
	for i := range 3 {
		id := fx.record(fmt.Sprint(i))
		ids = append(ids, id)
		open = append(open, meta.Delivery{Event: meta.Event{ID: id, OrderKey: "k", Body: fmt.Sprint(i)}, State: meta.DeliveryWaiting, Since: now,
			Due: now.Add(time.Minute)})
	}
	d := meta.Delivered{From: w.Position, Position: ids[2], Open: open, Failures: 2, Retry: now.Add(time.Minute), Tried: now, Status: 500,
		Error: "the receiver answered 500"}
	fx.Must(fx.SaveDelivered(fx.Ctx, w.ID, d))
	fx.Want(fx.SaveDelivered(fx.Ctx, w.ID, d), fault.TargetChanged, "saving a turn that began at another position")
	w, err := fx.WebhookByID(fx.Ctx, w.ID)
	fx.Must(err)
	if w.Position != ids[2] || w.Failures != 2 || w.Status != 500 || w.Error == "" || !w.Tried.Equal(now) || !w.Retry.Equal(d.Retry) {
		fx.Errorf("the webhook after a turn: got %+v", w)
	}
	fx.Equal(fx.dueWebhooks(now), []int64(nil), "due webhooks before the retry")
	fx.Equal(fx.dueWebhooks(now.Add(time.Hour)), []int64{w.ID}, "due webhooks at the retry")
	waiting, err := fx.WaitingDeliveries(fx.Ctx, w.ID)
	fx.Must(err)
	if len(waiting) != 3 || waiting[0].ID != ids[0] || waiting[0].Body != "" || !waiting[0].Since.Equal(now) {
		fx.Errorf("waiting deliveries: got %+v", waiting)
	}
	body, found, err := fx.DeliveryBody(fx.Ctx, w.ID, ids[1])
	fx.Must(err)
	fx.Equal([]any{body, found}, []any{"1", true}, "the body of a delivery")

	waiting[1].State, waiting[1].Attempts, waiting[1].Error = meta.DeliveryDead, 9, "given up"
	fx.Must(fx.SaveDelivered(fx.Ctx, w.ID, meta.Delivered{From: ids[2], Position: ids[2], Done: ids[:1], Open: waiting[1:2], Count: 1,
		Before: w.Retry, Retry: now.Add(time.Minute)}))
	dead, err := fx.Deliveries(fx.Ctx, w.ID, meta.DeliveryDead, 0, 10)
	fx.Must(err)
	if len(dead) != 1 || dead[0].ID != ids[1] || dead[0].Body != "1" || dead[0].Attempts != 9 || dead[0].Error != "given up" {
		fx.Errorf("dead deliveries: got %+v", dead)
	}
	fx.Want(fx.Redeliver(fx.Ctx, w.ID, ids[2]), fault.DeliveryNotFound, "repeating a delivery that waits")
	before, err := fx.WebhookByID(fx.Ctx, w.ID)
	fx.Must(err)
	fx.Must(fx.Redeliver(fx.Ctx, w.ID, ids[1]))
	// A turn that began before does not know of it.
	fx.Must(fx.SaveDelivered(fx.Ctx, w.ID, meta.Delivered{From: ids[2], Position: ids[2], Before: before.Retry, Retry: farAway}))
	fx.Equal(fx.dueWebhooks(time.Now().Add(time.Second)), []int64{w.ID}, "due webhooks after a delivery was repeated")
	again, err := fx.Deliveries(fx.Ctx, w.ID, meta.DeliveryWaiting, 0, 10)
	fx.Must(err)
	if len(again) != 2 || again[1].ID != ids[1] || again[1].Attempts != 0 {
		fx.Errorf("waiting deliveries, the last event first: got %+v", again)
	}
	if w, err = fx.WebhookByID(fx.Ctx, w.ID); err != nil || w.Delivered != 1 {
		fx.Errorf("received events: got %d, error %v, want 1", w.Delivered, err)
	}
	fx.Must(fx.DeleteWebhook(fx.Ctx, w))
	if _, found, err := fx.DeliveryBody(fx.Ctx, w.ID, ids[1]); found || err != nil {
		fx.Errorf("a delivery of a deleted webhook: got found %v, error %v", found, err)
	}
}

// Of the deliveries that were given up, the newest are kept.
func testDeadDeliveries(fx *Fixture) {
	w := fx.webhook("a")
	var open []meta.Delivery
	for i := range meta.MaxDead + 5 {
		open = append(open, meta.Delivery{Event: meta.Event{ID: w.Position + int64(i) + 1, OrderKey: "k", Body: "{}"}, State: meta.DeliveryDead})
	}
	fx.Must(fx.SaveDelivered(fx.Ctx, w.ID, meta.Delivered{From: w.Position, Position: w.Position + 5000, Open: open}))
	dead, err := fx.Deliveries(fx.Ctx, w.ID, meta.DeliveryDead, 0, 2*meta.MaxDead)
	fx.Must(err)
	if len(dead) != meta.MaxDead || dead[0].ID != open[len(open)-1].ID {
		fx.Errorf("dead deliveries: got %d, the newest %d, want %d and %d", len(dead), dead[0].ID, meta.MaxDead, open[len(open)-1].ID)
	}
}

// A later account with the same number gets neither events nor webhooks of a deleted one.
func testDeleteAccountEvents(fx *Fixture) {
	id := name.MustAccount("444455556666")
	reg := name.Registry{Account: id, Region: Registry.Region}
	fx.Must(fx.CreateAccount(fx.Ctx, meta.Account{ID: id, CreatedAt: time.Now()}, Key(id, "AKIAEXAMPLEEXAMPLE44")))
	w, err := fx.CreateWebhook(fx.Ctx, meta.Webhook{Registry: reg, Name: "a", Sealed: []byte("x")}, 0)
	fx.Must(err)
	fx.Must(fx.SaveDelivered(fx.Ctx, w.ID, meta.Delivered{From: w.Position, Position: w.Position + 1,
		Open: []meta.Delivery{{Event: meta.Event{ID: w.Position + 1, Body: "{}"}, State: meta.DeliveryDead}}}))
	fx.Must(fx.RecordEvents(fx.Ctx, []event.Event{event.WebhookTested(event.Origin{Registry: reg, Time: time.Now()}, "a", "")}))
	fx.Must(fx.DeleteAccount(fx.Ctx, id, false))
	events, err := fx.Events(fx.Ctx, reg, 0, 10)
	fx.Must(err)
	_, found, err := fx.DeliveryBody(fx.Ctx, w.ID, w.Position+1)
	fx.Must(err)
	if _, err := fx.Webhook(fx.Ctx, reg, "a"); err == nil || len(events) != 0 || found {
		fx.Errorf("after the deletion of the account: got events %v, delivery %v, webhook error %v", events, found, err)
	}
}
