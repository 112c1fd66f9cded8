package ecrin

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

const (
	// maxBodies limits the events in one answer, and maxBodyBytes their bytes, roughly.
	maxBodies    = 1000
	maxBodyBytes = 1 << 20
	// maxEventsRead limits the events that one call of ListEvents reads, and maxEventTime the time that it matches them: an answer may have
	// fewer events than it could, or none, although there are more.
	maxEventsRead = 1000
	maxEventTime  = 250 * time.Millisecond
)

// ListEvents returns events of a registry in their order: those after a position, or from a time on; with neither, none, and the position
// of now. The position of the answer continues; atEnd reports that there are no further events yet.
//
// Errors: fault.InvalidParameter (position, pattern).
func (s *Service) ListEvents(ctx context.Context, _ identity.Caller, at ecr.Registry,
	in *ecrintypes.ListEventsRequest) (*ecrintypes.ListEventsResponse, error) {
	var pattern *event.Pattern
	var err error
	if in.Pattern != "" {
		if pattern, err = event.ParsePattern(in.Pattern); err != nil {
			return nil, err
		}
	}
	after, known := int64(0), false
	switch {
	case in.Position != "" && in.Since != nil:
		return nil, ecr.BadMember("Since", "must not be given together with a position")
	case in.Position != "":
		if after, err = strconv.ParseInt(in.Position, 10, 64); err != nil {
			return nil, ecr.BadMember("Position", "must be a position of an earlier answer")
		}
		known = true
	case in.Since != nil:
		after, known = max(0, meta.EventsBefore(in.Since.Time)), true
	}
	out := &ecrintypes.ListEventsResponse{Events: []string{}, AtEnd: true}
	if !known {
		if after, err = s.meta.NewestEvent(ctx, at.Registry); err != nil {
			return nil, err
		}
		out.Position = strconv.FormatInt(after, 10)
		return out, nil
	}
	rows, err := s.meta.Events(ctx, at.Registry, after, maxEventsRead)
	if err != nil {
		return nil, err
	}
	limit, size, began := pageSize(in.MaxResults, 100), 0, time.Now()
	out.AtEnd = len(rows) < maxEventsRead
	for i, e := range rows {
		after = e.ID
		matches := pattern == nil
		if !matches {
			d, err := event.ReadDocument([]byte(e.Body))
			if err != nil {
				return nil, fmt.Errorf("reading event %d: %w", e.ID, err)
			}
			matches = pattern.Match(d)
		}
		if matches {
			out.Events = append(out.Events, e.Body)
			size += len(e.Body)
		}
		if len(out.Events) >= min(limit, maxBodies) || size >= maxBodyBytes || time.Since(began) > maxEventTime {
			out.AtEnd = out.AtEnd && i == len(rows)-1
			break
		}
	}
	out.Position = strconv.FormatInt(after, 10)
	return out, nil
}
