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

// followEvery is how often ecrin audit --follow asks for what is new.
const followEvery = time.Second

// auditPage is how many events one call asks for at most.
const auditPage = 1000

// trailQuestion is what ecrin audit asks for.
type trailQuestion struct {
	in              ecrintypes.ListAuditEventsRequest
	since, until    string
	denied, changes bool
	follow, asJSON  bool
	limit, shown    int
	shared          audit.ID // of the event that was shown last
	now             time.Time
}

const auditHelp = `Print the audit trail: who asked for what, on which resource, and what the answer was. Every decision of the
server has its event, with docker as with the APIs: logins, pulls, pushes, calls of ECR, IAM and STS, ecrin's own.

An event is one line: the time it was answered (UTC), the request id, who asked, the operation of the API, what it was
done on, and "ok" or why not. The newest come first. With --follow the oldest come first, and the command goes on to
print what happens until it is stopped; without --since it begins now.

--since and --until take a time back from now (90s, 30m, 12h, 7d), a day (2026-08-01), or a time as the trail prints it
(2026-08-01T12:00:00Z). --principal takes a part of an ARN, of a session also of its role's, or a whole user name,
unique id or access key. --resource takes a part of an ARN, such as repository/team/app. --event takes the name of an
operation. Of several conditions all must hold.

What docker does has the names that the ECR API has for it: BatchGetImage is a manifest that was pulled,
GetDownloadUrlForLayer a layer; InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and MountLayer are layers that
were pushed, PutImage a manifest. An event between two accounts stands in the trail of each. It is shown once, unless
--json or --account is given.

--json prints the lines as they are in the files DATA/audit/*.ndjson, in the shape of CloudTrail. A denied event has the
reasons of the decision in them; ` + "`ecrin explain REQUEST-ID`" + ` tells them in words.`

func (c *commands) audit() *cobra.Command {
	q := trailQuestion{now: time.Now()}
	cmd := &cobra.Command{
		Use: "audit", Args: cobra.NoArgs, Short: "Show who did what, and what was denied", Long: auditHelp,
		Example: "  ecrin audit --denied --since 1h\n" +
			"  ecrin audit --changes --principal role/ci --since 2026-08-01\n" +
			"  ecrin audit --resource repository/team/app --event PutImage --limit 0\n" +
			"  ecrin audit --follow --json | jq -r .userIdentity.arn\n" +
			"  ecrin explain 0c9e5d2a-6f0b-4c1d-9a3e-5f2b7c8d9e01",
	}
	c.dataFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&q.follow, "follow", "f", false, "oldest first, and go on with what happens")
	f.StringVar(&q.since, "since", "", "from this `time` on: 1h, 2026-08-01, 2026-08-01T12:00:00Z")
	f.StringVar(&q.until, "until", "", "before this `time`")
	f.StringVar(&q.in.Principal, "principal", "", "by this `principal`: a part of its ARN; its name, id or access key")
	f.StringVar(&q.in.EventName, "event", "", "of this `operation`, such as PutImage")
	f.StringVar(&q.in.Resource, "resource", "", "on a resource with this `text` in its ARN")
	f.StringVar(&q.in.RequestId, "request-id", "", "with this `id`, as answers and logs have it")
	f.StringVar(&q.in.AccountId, "account", "", "in the trail of this `account` (of all without it)")
	f.BoolVar(&q.denied, "denied", false, "only what was denied")
	f.BoolVar(&q.changes, "changes", false, "only what changes something")
	f.IntVar(&q.limit, "limit", 50, "at most so `many`, 0 for all; with --follow all without it")
	f.BoolVar(&q.asJSON, "json", false, "print JSON, one line for each event")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if q.follow && !cmd.Flags().Changed("limit") {
			q.limit = 0
		}
		if err := q.check(); err != nil {
			return usageError{err}
		}
		s, err := c.connect()
		if err != nil {
			return err
		}
		return c.printTrail(cmd.Context(), s, &q)
	}
	return cmd
}

// check makes the request of the flags.
func (q *trailQuestion) check() error {
	switch {
	case q.follow && q.until != "":
		return errors.New("--follow goes on without end: it takes no --until")
	case q.limit < 0:
		return errors.New("--limit is 0 or more")
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

// momentOf reads a time, or how long before now it is. Events have whole seconds, so times have too.
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
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-08-01T12:00:00Z or 2026-08-01 nor a span such as 30m, 12h or 7d", text)
}

// printTrail asks page by page, with --follow for ever.
func (c *commands) printTrail(ctx context.Context, s *client.Client, q *trailQuestion) error {
	for {
		maxResults := int32(auditPage)
		if left := q.limit - q.shown; q.limit > 0 && left < auditPage {
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
			case <-time.After(followEvery):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// printEvent prints one event: the line as it is, or in short.
func (c *commands) printEvent(q *trailQuestion, line string) error {
	text := line
	if !q.asJSON {
		r, err := audit.Parse([]byte(line))
		if err != nil {
			return err
		}
		if r.SharedEventID != (audit.ID{}) && r.SharedEventID == q.shared {
			return nil // the line of the other account
		}
		q.shared = r.SharedEventID
		text = eventLine(&r)
	}
	q.shown++
	_, err := fmt.Fprintln(c.Out, text)
	return err
}
