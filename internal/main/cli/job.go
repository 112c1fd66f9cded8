package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const jobHelp = `Show and steer the background work of the server: collections, lifecycle policies, replication, deliveries of events.

A job is stored with the change that causes it. It is repeated after a failure, with growing pauses, and continues where it was
when the server stops. Jobs that have ended are shown for a week. The operator sees the jobs of all accounts and those of the
installation; other callers see those of their account.`

func (c *commands) job() *cobra.Command {
	cmd := &cobra.Command{Use: "job", Short: "Show and steer background work", Long: jobHelp,
		Example: "  ecrin job list --state FAILED\n  ecrin job show 1867349023457280001\n  ecrin job retry 1867349023457280001"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.jobList(),
		c.jobCommand("show", "Show a job", "DescribeJob"),
		c.jobCommand("retry", "Run a job now that failed, was canceled, or waits for its next attempt", "RetryJob"),
		c.jobCommand("cancel", "Cancel a job; one that runs ends within seconds", "CancelJob"))
	return cmd
}

func (c *commands) jobList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List jobs, the last created first"}
	kind := cmd.Flags().String("kind", "", "only jobs of this `kind`, such as collection")
	state := cmd.Flags().String("state", "", "only jobs in this `state`: QUEUED, RUNNING, DONE, FAILED or CANCELED")
	account := cmd.Flags().String("account", "", "only jobs of this `account`, 12 digits")
	limit := cmd.Flags().Int("limit", 100, "at most this `number` of jobs")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 {
			return usageError{fmt.Errorf("--limit is a number from 1 on, got %d", *limit)}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := ecrintypes.ListJobsRequest{AccountId: *account, Kind: *kind, State: ecrintypes.JobState(strings.ToUpper(*state))}
		all := ecrintypes.ListJobsResponse{Jobs: []ecrintypes.Job{}}
		for {
			page := int32(min(*limit-len(all.Jobs), 1000))
			in.MaxResults = &page
			var out ecrintypes.ListJobsResponse
			if err := s.Call(cmd.Context(), "ListJobs", &in, &out); err != nil {
				return err
			}
			all.Jobs = append(all.Jobs, out.Jobs...)
			if in.NextToken = out.NextToken; in.NextToken == "" || len(all.Jobs) >= *limit {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Jobs) == 0 {
			c.say("there is no such job")
			return nil
		}
		rows := [][]string{{"ID", "KIND", "ABOUT", "STATE", "PROGRESS", "WHEN"}}
		for _, j := range all.Jobs {
			rows = append(rows, []string{j.JobId, j.Kind, aboutJob(j), string(j.State), progressOf(j), whenOf(j)})
		}
		return c.table(rows)
	}
	return cmd
}

// aboutJob returns what a job is about, for people.
func aboutJob(j ecrintypes.Job) string {
	if j.About != "" {
		return j.AccountId + " " + j.About
	}
	return strings.TrimSpace(j.AccountId + " " + j.Key)
}

// progressOf returns how far a job is, for people.
func progressOf(j ecrintypes.Job) string {
	switch {
	case j.Transfer != nil:
		return fmt.Sprintf("%d of %d layers, %s of %s, %s sent", j.Transfer.LayersDone, j.Transfer.LayersTotal, bytesText(j.Transfer.BytesDone),
			bytesText(j.Transfer.BytesTotal), bytesText(j.Transfer.BytesSent))
	case j.Total != nil:
		return fmt.Sprintf("%d of %d", j.Done, *j.Total)
	case j.Done > 0:
		return fmt.Sprint(j.Done)
	}
	return "-"
}

// whenOf returns the time that matters in the state of a job.
func whenOf(j ecrintypes.Job) string {
	switch {
	case j.DueAt != nil && j.FailedAttempts > 0:
		return "again " + stamp(j.DueAt.Time)
	case j.DueAt != nil:
		return "due " + stamp(j.DueAt.Time)
	case j.State == "RUNNING" && j.StartedAt != nil:
		return "since " + stamp(j.StartedAt.Time)
	case j.EndedAt != nil:
		return "ended " + stamp(j.EndedAt.Time)
	}
	return stamp(j.CreatedAt.Time)
}

// jobCommand returns a command that calls an operation on one job, and shows the job.
func (c *commands) jobCommand(verb, short, operation string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " ID", Args: exactly("ID"), Short: short}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.JobResponse
		if err := s.Call(cmd.Context(), operation, &ecrintypes.JobRequest{JobId: args[0]}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Job)
		}
		return c.showJob(out.Job)
	}
	return cmd
}

func (c *commands) showJob(j ecrintypes.Job) error {
	rows := [][]string{{"job", j.JobId}, {"kind", j.Kind}}
	if about := aboutJob(j); about != "" {
		rows = append(rows, []string{"about", about})
	}
	rows = append(rows, []string{"state", strings.ToLower(string(j.State)) + ", " + whenOf(j)}, []string{"progress", progressOf(j)})
	if j.StartedAt != nil && j.EndedAt != nil && !j.EndedAt.Before(j.StartedAt.Time) {
		rows = append(rows, []string{"took", j.EndedAt.Sub(j.StartedAt.Time).Round(time.Millisecond).String()})
	}
	if j.FailedAttempts > 0 {
		rows = append(rows, []string{"failed", counted(int64(j.FailedAttempts), "attempt", "attempts")})
	}
	if j.Error != "" {
		rows = append(rows, []string{"error", j.Error})
	}
	return c.table(rows)
}
