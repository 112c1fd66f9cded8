package ecrin

import (
	"context"
	"errors"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ofRegistry returns an ask about what ecrin keeps for a registry, such as webhook/NAME.
func ofRegistry(at ecr.Registry, what string) guard.Ask {
	arn := name.ARN{Partition: at.Region.Partition(), Service: "ecrin", Region: at.Region.String(), Account: at.Account, Resource: what}
	return guard.Ask{Owner: guard.OwnedBy(at.Account), Region: at.Region, Resource: arn.String()}
}

// OnNewWebhook resolves the registry of a webhook to be created.
func OnNewWebhook(s *Service, _ context.Context, req guard.Request, in *ecrintypes.CreateWebhookRequest) (t guard.Target[ecr.Registry],
	err error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, ofRegistry(at, "webhook/"+in.WebhookName)), err
}

// OnWebhooks resolves the registry whose webhooks are listed.
func OnWebhooks(s *Service, _ context.Context, req guard.Request, in *ecrintypes.ListWebhooksRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, ofRegistry(at, "webhook/*")), err
}

// OnEvents resolves the registry whose events are read.
func OnEvents(s *Service, _ context.Context, req guard.Request, in *ecrintypes.ListEventsRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, ofRegistry(at, "event/*")), err
}

// webhookNamed is an input with the members registryId and webhookName.
type webhookNamed interface {
	GetRegistryId() string
	GetWebhookName() string
}

// OnWebhook resolves a webhook of a registry by its name.
func OnWebhook[In webhookNamed](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[meta.Webhook], err error) {
	at, err := s.registryOf(req, in.GetRegistryId())
	if err != nil {
		return t, err
	}
	w, err := s.meta.Webhook(ctx, at.Registry, in.GetWebhookName())
	if err != nil && !errors.Is(err, fault.WebhookNotFound) {
		return t, err
	}
	t = guard.On(w, ofRegistry(at, "webhook/"+in.GetWebhookName()))
	t.Absent = err
	return t, nil
}

func webhookOf(w meta.Webhook) ecrintypes.Webhook {
	return ecrintypes.Webhook{
		WebhookName: w.Name, AccountId: w.Registry.Account.String(), Region: w.Registry.Region.String(), Host: w.Host, Pattern: w.Pattern,
		Enabled: w.Enabled, Delivered: w.Delivered, Failures: int32(w.Failures), LastStatus: statusOf(w.Status), LastError: w.Error,
		LastAttemptAt: awswire.At(w.Tried), PausedUntil: awswire.At(w.Due), RetryAt: awswire.At(w.Retry),
		CreatedAt: awswire.Time{Time: w.Created}, CreatedBy: w.CreatedBy,
	}
}

// statusOf returns the status of an answer, nil if there was none.
func statusOf(status int) *int32 {
	if status == 0 {
		return nil
	}
	n := int32(status)
	return &n
}

// CreateWebhook makes a webhook, which gets the events of the registry from now on. The secret is in this answer only.
//
// Errors: those of events.Service.Create.
func (s *Service) CreateWebhook(ctx context.Context, by identity.Caller, at ecr.Registry,
	in *ecrintypes.CreateWebhookRequest) (*ecrintypes.CreateWebhookResponse, error) {
	w, key, err := s.events.Create(ctx, events.NewWebhook{Registry: at.Registry, Name: in.WebhookName, URL: secret.New(in.WebhookUrl),
		Pattern: in.Pattern, Secret: secret.New(in.WebhookSecret), Details: in.Details, By: by.ARN})
	if err != nil {
		return nil, err
	}
	return &ecrintypes.CreateWebhookResponse{Webhook: webhookOf(w), Secret: key.Reveal()}, nil
}

// UpdateWebhook changes a webhook. One that was disabled gets the events from now on.
//
// Errors: fault.InvalidParameter, and those of events.Service.Update.
func (s *Service) UpdateWebhook(ctx context.Context, _ identity.Caller, w meta.Webhook,
	in *ecrintypes.UpdateWebhookRequest) (*ecrintypes.UpdateWebhookResponse, error) {
	c := events.Change{Enabled: in.Enabled, Rotate: in.NewSecret != nil && *in.NewSecret}
	if in.WebhookUrl != "" {
		u := secret.New(in.WebhookUrl)
		c.URL = &u
	}
	if in.WebhookSecret != "" {
		c.Secret = secret.New(in.WebhookSecret)
	}
	if in.Details != "" {
		c.Details = &in.Details
	}
	all := in.AllEvents != nil && *in.AllEvents
	switch {
	case all && in.Pattern != "":
		return nil, ecr.BadMember("AllEvents", "must not be true together with a pattern")
	case all, in.Pattern != "":
		c.Pattern = &in.Pattern
	}
	w, key, err := s.events.Update(ctx, w, c)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.UpdateWebhookResponse{Webhook: webhookOf(w), Secret: key.Reveal()}, nil
}

// DeleteWebhook deletes a webhook. What it has not received is not sent any more.
//
// Errors: fault.WebhookNotFound.
func (s *Service) DeleteWebhook(ctx context.Context, _ identity.Caller, w meta.Webhook,
	_ *ecrintypes.WebhookRequest) (*ecrintypes.DeleteWebhookResponse, error) {
	return &ecrintypes.DeleteWebhookResponse{}, s.meta.DeleteWebhook(ctx, w)
}

// ListWebhooks lists the webhooks of a registry by name.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListWebhooks(ctx context.Context, _ identity.Caller, at ecr.Registry,
	in *ecrintypes.ListWebhooksRequest) (*ecrintypes.ListWebhooksResponse, error) {
	scope, after := "ListWebhooks "+at.Registry.String(), ""
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.Webhooks(ctx, at.Registry, after, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListWebhooksResponse{Webhooks: []ecrintypes.Webhook{}}
	for i, w := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].Name)
			break
		}
		out.Webhooks = append(out.Webhooks, webhookOf(w))
	}
	return out, nil
}

// TestWebhook sends a test to a webhook, now and once. What the receiver answers besides the status is not shown.
//
// Errors: those of events.Service.Test.
func (s *Service) TestWebhook(ctx context.Context, by identity.Caller, w meta.Webhook,
	_ *ecrintypes.WebhookRequest) (*ecrintypes.TestWebhookResponse, error) {
	r, err := s.events.Test(ctx, w, by.ARN)
	return tested(r, err)
}

// GetWebhookUrl returns the URL of a webhook, which other operations do not show, with what was given for it.
//
// Errors: those of events.Service.Target.
func (s *Service) GetWebhookUrl(_ context.Context, _ identity.Caller, w meta.Webhook, _ *ecrintypes.WebhookRequest) (
	*ecrintypes.GetWebhookUrlResponse, error) {
	u, details, err := s.events.Target(w)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.GetWebhookUrlResponse{WebhookUrl: u.Reveal(), Details: details}, nil
}

// OnTriedURL resolves the registry for which a URL is tried.
func OnTriedURL(s *Service, _ context.Context, req guard.Request, in *ecrintypes.TryWebhookUrlRequest) (guard.Target[ecr.Registry], error) {
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(at, ofRegistry(at, "webhook/*")), err
}

// TryWebhookUrl sends a test to a URL that is that of no webhook yet, now and once.
//
// Errors: those of events.Service.Try.
func (s *Service) TryWebhookUrl(ctx context.Context, by identity.Caller, at ecr.Registry, in *ecrintypes.TryWebhookUrlRequest) (
	*ecrintypes.TestWebhookResponse, error) {
	r, err := s.events.Try(ctx, at.Registry, secret.New(in.WebhookUrl), secret.New(in.WebhookSecret), by.ARN)
	return tested(r, err)
}

func tested(r events.Tested, err error) (*ecrintypes.TestWebhookResponse, error) {
	if err != nil {
		return nil, err
	}
	return &ecrintypes.TestWebhookResponse{Received: r.Error == "", Status: statusOf(r.Status), Error: r.Error,
		Milliseconds: r.Took.Milliseconds()}, nil
}

// deliveryStates are the states of deliveries by their names.
var deliveryStates = map[ecrintypes.DeliveryState]meta.DeliveryState{"WAITING": meta.DeliveryWaiting, "DEAD": meta.DeliveryDead}

// ListWebhookDeliveries lists the events that a webhook has not received, the last one first: those that were given up, or with the state
// WAITING those that will be sent again.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListWebhookDeliveries(ctx context.Context, _ identity.Caller, w meta.Webhook,
	in *ecrintypes.ListWebhookDeliveriesRequest) (*ecrintypes.ListWebhookDeliveriesResponse, error) {
	state := in.State
	if state == "" {
		state = "DEAD"
	}
	scope, below := "ListWebhookDeliveries "+strconv.FormatInt(w.ID, 10)+" "+string(state), int64(0)
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
	}
	limit := min(pageSize(in.MaxResults, 100), maxBodies)
	rows, err := s.meta.Deliveries(ctx, w.ID, deliveryStates[state], below, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListWebhookDeliveriesResponse{Deliveries: []ecrintypes.Delivery{}}
	for i, d := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].ID)
			break
		}
		one := ecrintypes.Delivery{DeliveryId: strconv.FormatInt(d.ID, 10), State: state, Attempts: int32(d.Attempts),
			Since: awswire.Time{Time: d.Since}, LastStatus: statusOf(d.Status), LastError: d.Error, Event: d.Body}
		if d.State == meta.DeliveryWaiting {
			one.DueAt = awswire.At(d.Due)
		}
		out.Deliveries = append(out.Deliveries, one)
	}
	return out, nil
}

// RedeliverWebhook sends an event again that was given up.
//
// Errors: fault.InvalidParameter (deliveryId), and those of meta.Store.Redeliver.
func (s *Service) RedeliverWebhook(ctx context.Context, _ identity.Caller, w meta.Webhook,
	in *ecrintypes.RedeliverWebhookRequest) (*ecrintypes.RedeliverWebhookResponse, error) {
	id, err := strconv.ParseInt(in.DeliveryId, 10, 64)
	if err != nil {
		return nil, ecr.BadMember("DeliveryId", "must be an id of ListWebhookDeliveries")
	}
	return &ecrintypes.RedeliverWebhookResponse{}, s.meta.Redeliver(ctx, w.ID, id)
}
