package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	// maxTurn is the time after which a job begins no further turn, so that other webhooks have theirs.
	maxTurn = 20 * time.Second
	// maxBatch is how many events a turn reads.
	maxBatch = 50
	// maxLines is how many events of one webhook are sent at once. They have different order keys.
	maxLines = 4

	// maxAttempts and maxAge are the attempts and the time after which an event is given up.
	maxAttempts = 30
	maxAge      = 24 * time.Hour
	// retryPause is the time before the second attempt; it doubles, up to maxRetryPause.
	retryPause    = 10 * time.Second
	maxRetryPause = time.Hour

	// maxFailures is the number of events in succession whose first attempt fails, after which the receiver counts as failing: then one event
	// is tried at a time, after a pause of downPause, which doubles up to maxDownPause.
	maxFailures  = 5
	downPause    = 10 * time.Second
	maxDownPause = 5 * time.Minute
)

// deliver is the work of the job of a webhook: turns until nothing is to be sent.
func (s *Service) deliver(ctx context.Context, j *jobs.Job) error {
	id, err := strconv.ParseInt(j.Key(), 10, 64)
	if err != nil {
		return jobs.Permanent(fmt.Errorf("reading the id of a webhook: %w", err))
	}
	if _, busy := s.busy.LoadOrStore(id, true); busy {
		return nil // the lease of a job has ended that still runs, because the clock jumped: another look follows
	}
	defer s.busy.Delete(id)
	end := time.NewTimer(maxTurn)
	defer end.Stop()
	for {
		more, err := s.turn(ctx, id)
		switch {
		case errors.Is(err, fault.WebhookNotFound), errors.Is(err, fault.TargetChanged):
			return nil // deleted, or changed meanwhile: the next look begins with what is stored now
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !more:
			return nil
		}
		select {
		case <-end.C:
			return nil
		default:
		}
	}
}

// item is an event that is to be sent to a webhook.
type item struct {
	meta.Delivery
	stored  bool // it has a row of deliveries
	tried   bool // in this turn
	done    bool
	changed bool
}

// line are the events of one order key, in their order. Only the first one is sent; if that fails, the others wait.
type line []*item

// lines are the events of a turn.
type lines struct {
	all   []*item
	keys  []string
	byKey map[string]line
}

func (l *lines) add(i *item) {
	l.all = append(l.all, i)
	if l.byKey[i.OrderKey] == nil {
		l.keys = append(l.keys, i.OrderKey)
	}
	l.byKey[i.OrderKey] = append(l.byKey[i.OrderKey], i)
}

// turn sends what is due of a webhook, up to maxBatch new events, and stores the result in one transaction. more reports whether there may
// be more to send now.
func (s *Service) turn(ctx context.Context, id int64) (more bool, err error) {
	w, err := s.meta.WebhookByID(ctx, id)
	now := s.now()
	if err != nil || !w.Enabled || w.Due.After(now) {
		return false, err
	}
	result := meta.Delivered{From: w.Position, Position: w.Position, Failures: w.Failures, Before: w.Retry, Retry: w.Retry}
	t, err := s.open(w)
	if err != nil {
		s.log.Error("a webhook cannot be used", "webhook", w.Name, "registry", w.Registry.String(), "error", err)
		result.Due, result.Tried, result.Error = now.Add(maxDownPause), now, "the server cannot read the secret of the webhook"
		return false, s.meta.SaveDelivered(ctx, id, result)
	}
	down := w.Failures >= maxFailures
	queue, full, err := s.collect(ctx, w, &result, now, down)
	if err != nil {
		return false, err
	}
	st := &sender{Service: s, w: w, t: t, failures: w.Failures, down: down}
	st.run(ctx, queue, now)
	result.Failures, result.Tried, result.Status, result.Error = st.failures, st.tried, st.status, st.text
	now = s.now()
	if st.failures >= maxFailures {
		result.Due = now.Add(jobs.PauseAfter(downPause, maxDownPause, st.failures-maxFailures+1))
	}
	if waiting := queue.settle(&result); waiting >= meta.MaxWaiting && result.Due.IsZero() && result.Retry.After(now) {
		result.Due = result.Retry // nothing can be read before
	}
	changed := result.Position != w.Position || len(result.Done)+len(result.Open) > 0 || !result.Tried.IsZero() ||
		!result.Retry.Equal(w.Retry) || !result.Due.Equal(w.Due)
	if changed {
		// Also at the stop of the server: what was received is not sent again.
		if err := s.meta.SaveDelivered(context.WithoutCancel(ctx), id, result); err != nil {
			return false, err
		}
	}
	due := !result.Retry.IsZero() && !result.Retry.After(now)
	return result.Due.IsZero() && changed && (full || due), nil
}

// collect returns what waits for a webhook and the next events that its pattern matches. full reports whether there may be more events. Of
// a webhook that is down, one event is read at most, and none while others wait.
func (s *Service) collect(ctx context.Context, w meta.Webhook, result *meta.Delivered, now time.Time, down bool) (*lines, bool, error) {
	waiting, err := s.meta.WaitingDeliveries(ctx, w.ID)
	if err != nil {
		return nil, false, err
	}
	queue := &lines{byKey: map[string]line{}}
	for _, d := range waiting {
		i := &item{Delivery: d, stored: true}
		if d.Attempts > 0 && now.Sub(d.Since) >= maxAge {
			i.State, i.changed = meta.DeliveryDead, true
		}
		queue.add(i)
	}
	limit := min(maxBatch, meta.MaxWaiting-len(waiting))
	if limit <= 0 || down && len(waiting) > 0 {
		return queue, false, nil
	}
	var pattern *event.Pattern
	if w.Pattern != "" {
		if pattern, err = event.ParsePattern(w.Pattern); err != nil {
			return nil, false, fmt.Errorf("reading the pattern of the webhook %s: %w", w.Name, err)
		}
	}
	events, err := s.meta.Events(ctx, w.Registry, w.Position, limit)
	if err != nil {
		return nil, false, err
	}
	for _, e := range events {
		result.Position = e.ID
		if pattern != nil {
			d, err := event.ReadDocument([]byte(e.Body))
			if err != nil {
				return nil, false, fmt.Errorf("reading event %d: %w", e.ID, err)
			}
			if !pattern.Match(d) {
				continue
			}
		}
		queue.add(&item{Delivery: meta.Delivery{Event: e, State: meta.DeliveryWaiting, Since: now, Due: now}})
		if down {
			return queue, false, nil
		}
	}
	return queue, len(events) == limit, nil
}

// first returns the first event of a line that waits, nil if there is none.
func (l line) first() *item {
	for _, i := range l {
		if !i.done && i.State == meta.DeliveryWaiting {
			return i
		}
	}
	return nil
}

// settle puts into the result what the turn has changed, and when the next event that waits is due. It returns how many wait.
func (q *lines) settle(result *meta.Delivered) (waiting int) {
	for _, i := range q.all {
		if !i.done && i.State == meta.DeliveryWaiting {
			waiting++
		}
		switch {
		case i.done && i.stored:
			result.Done = append(result.Done, i.ID)
			result.Count++
		case i.done:
			result.Count++
		case i.stored && !i.changed:
		default:
			if i.stored {
				i.Body = ""
			}
			result.Open = append(result.Open, i.Delivery)
		}
	}
	result.Retry = time.Time{}
	for _, key := range q.keys {
		if i := q.byKey[key].first(); i != nil && (result.Retry.IsZero() || i.Due.Before(result.Retry)) {
			result.Retry = i.Due
		}
	}
	return waiting
}

// sender sends the events of a turn.
type sender struct {
	*Service
	w    meta.Webhook
	t    target
	down bool // one event only

	mu       sync.Mutex
	failures int
	tried    time.Time // the last attempt
	status   int
	text     string
}

// run sends the lines whose first event is due, maxLines at once.
func (s *sender) run(ctx context.Context, q *lines, now time.Time) {
	var due []line
	var oldest *item
	for _, key := range q.keys {
		l := q.byKey[key]
		i := l.first()
		if i == nil || i.Due.After(now) && !s.down {
			continue
		}
		if due = append(due, l); oldest == nil || i.Due.Before(oldest.Due) {
			oldest = i
		}
	}
	if s.down {
		if oldest != nil {
			s.attempt(ctx, oldest)
		}
		return
	}
	places := make(chan struct{}, maxLines)
	var wait sync.WaitGroup
	for _, l := range due {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			for i := l.first(); i != nil && !i.tried; i = l.first() {
				if !s.attempt(ctx, i) {
					return
				}
			}
		})
	}
	wait.Wait()
}

// attempt sends an event, unless the receiver has begun to fail or the server stops. It returns whether the next event of its line may be
// sent: after a success, or if the event was given up.
func (s *sender) attempt(ctx context.Context, i *item) bool {
	s.mu.Lock()
	stop := !s.down && s.failures >= maxFailures || ctx.Err() != nil
	s.mu.Unlock()
	if stop {
		return false
	}
	if i.Body == "" {
		body, found, err := s.meta.DeliveryBody(ctx, s.w.ID, i.ID)
		if err != nil || !found {
			return false
		}
		i.Body = body
	}
	status, err := s.send(ctx, s.w, s.t, []byte(i.Body))
	var f *failure
	if err != nil && !errors.As(err, &f) {
		return false // the server stops
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	i.tried, s.tried, s.status, s.text = true, now, status, ""
	if err == nil {
		i.done, s.failures = true, 0
		return true
	}
	// An event that fails again and again says nothing about the receiver: it counts once, so that it does not delay the others.
	if i.Attempts == 0 || s.down {
		s.failures++
	}
	i.Attempts++
	i.Status, i.Error, i.changed, s.text = status, f.text, true, f.text
	i.Due = now.Add(jobs.PauseAfter(retryPause, maxRetryPause, i.Attempts))
	if i.Attempts >= maxAttempts || now.Sub(i.Since) >= maxAge {
		i.State = meta.DeliveryDead
		return true
	}
	return false
}
