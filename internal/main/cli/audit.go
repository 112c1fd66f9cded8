package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// followInterval is the time between two calls of ecrin audit --follow when there are no new events.
const followInterval = time.Second

// maxAuditPage limits the events of one call.
const maxAuditPage = 1000

// auditQuery holds the flags of ecrin audit, and the request that they describe.
type auditQuery struct {
	in              ecrintypes.ListAuditEventsRequest
	since, until    string
	denied, changes bool
	follow, asJSON  bool
	limit, shown    int
	shared          audit.ID // SharedEventID of the last printed event
	now             time.Time
}

const auditHelp = `Print the audit trail: which principal called which operation on which resource, and with what result. Every decision
of the server has an event, for docker as for the APIs: logins, pulls, pushes, calls of ECR, IAM, STS and ecrin.

An event is one line: the time of the response (UTC), the request id, the caller, the operation of the API, the resource,
and "ok" or the reason of the failure. The newest events are printed first. With --follow the oldest are printed first,
and the command prints new events until it is stopped; without --since it starts with events from now on.

--since and --until accept a duration before now (90s, 30m, 12h, 7d), a day (2026-08-01), or a time as the trail prints
it (2026-08-01T12:00:00Z). --principal accepts a part of an ARN, for a session also of the ARN of its role, or a whole
user name, unique id or access key. --resource accepts a part of an ARN, such as repository/team/app. --event accepts the
name of an operation. An event must match all flags.

Requests of docker have the names of the corresponding operations of the ECR API: BatchGetImage is the pull of a
manifest, GetDownloadUrlForLayer of a layer; InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and MountLayer
belong to the push of a layer, PutImage is the push of a manifest. An event that concerns two accounts is in the trails
of both. It is printed once, unless --json or --account is given.

--json prints the lines as they are in the files DATA/audit/*.ndjson and DATA/audit/strangers/*.ndjson, in the format of CloudTrail. A denied event contains
the decision and its condition keys; ` + "`ecrin explain REQUEST-ID`" + ` prints the reasons as text.`

func (c *commands) audit() *cobra.Command {
	q := auditQuery{now: time.Now()}
	cmd := &cobra.Command{
		Use: "audit", Args: cobra.NoArgs, Short: "Print the audit trail: requests, their callers and results", Long: auditHelp,
		Example: "  ecrin audit --denied --since 1h\n" +
			"  ecrin audit --changes --principal role/ci --since 2026-08-01\n" +
			"  ecrin audit --resource repository/team/app --event PutImage --limit 0\n" +
			"  ecrin audit --follow --json | jq -r .userIdentity.arn\n" +
			"  ecrin explain 0c9e5d2a-6f0b-4c1d-9a3e-5f2b7c8d9e01",
	}
	c.dataFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&q.follow, "follow", "f", false, "print the oldest events first, then new events as they happen")
	f.StringVar(&q.since, "since", "", "events from this `time` on: 1h, 2026-08-01, 2026-08-01T12:00:00Z")
	f.StringVar(&q.until, "until", "", "events before this `time`")
	f.StringVar(&q.in.Principal, "principal", "", "events of this `principal`: a part of its ARN; its name, id or access key")
	f.StringVar(&q.in.EventName, "event", "", "events of this `operation`, such as PutImage")
	f.StringVar(&q.in.Resource, "resource", "", "events on a resource with this `text` in its ARN")
	f.StringVar(&q.in.RequestId, "request-id", "", "events of the request with this `id`, as in responses and logs")
	f.StringVar(&q.in.AccountId, "account", "", "events in the trail of this `account` (default: all accounts)")
	f.BoolVar(&q.denied, "denied", false, "only denied requests")
	f.BoolVar(&q.changes, "changes", false, "only requests that change something")
	f.IntVar(&q.limit, "limit", 50, "at most this `number` of events, 0 for all; with --follow the default is all")
	f.BoolVar(&q.asJSON, "json", false, "print JSON, one line for each event")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if q.follow && !cmd.Flags().Changed("limit") {
			q.limit = 0
		}
		if err := q.check(); err != nil {
			return usageError{err}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		return c.printTrail(cmd.Context(), s, &q)
	}
	return cmd
}

// check checks the flags and sets the members of the request.
func (q *auditQuery) check() error {
	switch {
	case q.follow && q.until != "":
		return errors.New("--follow prints new events without end: it cannot be used with --until")
	case q.limit < 0:
		return errors.New("--limit must be 0 or more")
	}
	if q.follow && q.since == "" {
		q.since = "0s"
	}
	for _, t := range []struct {
		flag, text string
		to         **awswire.Time
	}{{"--since", q.since, &q.in.Since}, {"--until", q.until, &q.in.Until}} {
		if t.text == "" {
			continue
		}
		at, err := momentOf(t.text, q.now)
		if err != nil {
			return fmt.Errorf("%s: %w", t.flag, err)
		}
		*t.to = &awswire.Time{Time: at}
	}
	for _, f := range []struct {
		set bool
		to  **bool
	}{{q.denied, &q.in.Denied}, {q.changes, &q.in.Changes}, {q.follow, &q.in.OldestFirst}} {
		if f.set {
			*f.to = &f.set
		}
	}
	return nil
}

// momentOf parses a time, or a duration before now. The result has whole seconds, like the times of events.
func momentOf(text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)).Truncate(time.Second), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).Truncate(time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Truncate(time.Second), nil
		}
	}
	return time.Time{},
		fmt.Errorf("%q is neither a time such as 2026-08-01T12:00:00Z or 2026-08-01 nor a duration such as 30m, 12h or 7d", text)
}

// printTrail prints the events page by page; with --follow it returns only when ctx ends, or after an error.
func (c *commands) printTrail(ctx context.Context, s *client.Client, q *auditQuery) error {
	for {
		maxResults := int32(maxAuditPage)
		if left := q.limit - q.shown; q.limit > 0 && left < maxAuditPage {
			maxResults = int32(left)
		}
		q.in.MaxResults = &maxResults
		var page ecrintypes.ListAuditEventsResponse
		if err := s.Call(ctx, "ListAuditEvents", &q.in, &page); err != nil {
			return err
		}
		for _, line := range page.Events {
			if err := c.printEvent(q, line); err != nil {
				return err
			}
		}
		q.in.NextToken = page.NextToken
		switch {
		case q.limit > 0 && q.shown >= q.limit:
			return nil
		case !q.follow && page.NextToken == "":
			if q.shown == 0 && !q.asJSON {
				c.say("the audit trail has no such event")
			}
			return nil
		case q.follow && len(page.Events) == 0:
			select {
			case <-time.After(followInterval):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// printEvent prints one event: the line itself with --json, its short form otherwise.
func (c *commands) printEvent(q *auditQuery, line string) error {
	text := line
	if !q.asJSON {
		r, err := audit.Parse([]byte(line))
		if err != nil {
			return err
		}
		if r.SharedEventID != (audit.ID{}) && r.SharedEventID == q.shared {
			return nil // the line of the other account is already printed
		}
		q.shared = r.SharedEventID
		text = eventLine(&r)
	}
	q.shown++
	_, err := fmt.Fprintln(c.Out, text)
	return err
}
