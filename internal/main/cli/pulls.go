package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// sheet writes rows as CSV. A cell that a spreadsheet would execute begins with an apostrophe, which spreadsheets do not show.
type sheet struct{ w *csv.Writer }

func newSheet(w io.Writer) sheet { return sheet{csv.NewWriter(w)} }

func (s sheet) row(cells ...string) error {
	for i, cell := range cells {
		if text := strings.TrimLeft(cell, " "); text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
			cells[i] = "'" + cell
		}
	}
	return s.w.Write(cells)
}

func (s sheet) end() error {
	s.w.Flush()
	return s.w.Error()
}

// csvFlag adds the flag --csv to a command that has --json.
func csvFlag(cmd *cobra.Command) *bool {
	asCSV := cmd.Flags().Bool("csv", false, "print a table in CSV, with a line of names, for spreadsheets")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	return asCSV
}

func (c *commands) appPulls() *cobra.Command {
	var customer, image, since, until string
	var failed, stranger bool
	var asCSV *bool
	status := 0
	cmd := c.vendorCommand("pulls APP", "List the requests of customers for images and charts, the newest first",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListPullsRequest{AccountId: account, ApplicationSlug: args[0], ImagePrefix: image, Failed: &failed,
				WithoutLicense: &stranger}
			if status != 0 {
				in.HttpStatus = new(int32(status))
			}
			now := time.Now()
			for flag, to := range map[string]struct {
				text string
				at   **awswire.Time
			}{"since": {since, &in.StartTime}, "until": {until, &in.EndTime}} {
				if to.text == "" {
					continue
				}
				at, err := momentOf(to.text, now)
				if err != nil {
					return nil, nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
				}
				*to.at = awswire.At(at)
			}
			if customer != "" && stranger {
				return nil, nil, usageError{errors.New("want --customer or --without-license, not both")}
			}
			var err error
			if customer != "" {
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			if *asCSV {
				return nil, func() error { return c.pullsAsCSV(ctx, s, in) }, nil
			}
			all := ecrintypes.ListPullsResponse{Pulls: []ecrintypes.Pull{}}
			rows := [][]string{{"TIME", "CUSTOMER", "TOKEN", "ACTION", "IMAGE", "STATUS", "ERROR", "BYTES", "ADDRESS"}}
			err = eachPull(ctx, s, in, func(p ecrintypes.Pull) error {
				all.Pulls = append(all.Pulls, p)
				status := fmt.Sprint(p.HttpStatus)
				if p.UpstreamStatus != nil {
					status += fmt.Sprintf(" (upstream %d)", *p.UpstreamStatus)
				}
				rows = append(rows, []string{stamp(p.At.Time), orDash(cmp.Or(p.CustomerName, p.CustomerId)), orDash(p.TokenName), string(p.Action),
					orDash(pulledName(p)), status, orDash(p.ErrorCode), bytesText(p.SentBytes), p.Address})
				return nil
			})
			return all, c.tabled(rows, "nothing was pulled in this time; requests appear within 5 s"), err
		})
	cmd.Long = `List what customers pulled, and what they were refused: one line for each request for a manifest, a layer or a chart. Requests that name the
application and have no valid licence are lines without a customer; many clients send their first request without credentials, so that the
first line of a pull may be a 401.`
	cmd.Example = "  ecrin app pulls shop --customer \"Big Corp\" --since 7d\n  ecrin app pulls shop --failed --image registry.example.com/\n" +
		"  ecrin app pulls shop --since 30d --csv >pulls.csv"
	flags := cmd.Flags()
	flags.StringVar(&customer, "customer", "", "`name` or id of a customer")
	flags.BoolVar(&stranger, "without-license", false, "only requests without a valid licence")
	flags.StringVar(&image, "image", "", "`begin` of the name of the image")
	flags.BoolVar(&failed, "failed", false, "only requests that failed")
	flags.IntVar(&status, "status", 0, "`status` of HTTP")
	flags.StringVar(&since, "since", "", "`time` or duration, such as 2026-08-01 or 12h (default: 24h)")
	flags.StringVar(&until, "until", "", "`time` or duration (default: now)")
	asCSV = csvFlag(cmd)
	return cmd
}

// pulledName returns the image of a request with its tag or digest.
func pulledName(p ecrintypes.Pull) string {
	switch {
	case p.Reference == "":
		return p.Image
	case strings.Contains(p.Reference, ":"):
		return p.Image + "@" + p.Reference
	}
	return p.Image + ":" + p.Reference
}

// eachPull calls do with each line that a request selects.
func eachPull(ctx context.Context, s caller, in *ecrintypes.ListPullsRequest, do func(ecrintypes.Pull) error) error {
	for {
		var out ecrintypes.ListPullsResponse
		if err := s.Call(ctx, "ListPulls", in, &out); err != nil {
			return err
		}
		for _, p := range out.Pulls {
			if err := do(p); err != nil {
				return err
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return nil
		}
	}
}

// pullsAsCSV prints lines while they are read: there can be a million of them.
func (c *commands) pullsAsCSV(ctx context.Context, s caller, in *ecrintypes.ListPullsRequest) error {
	to := newSheet(c.Out)
	err := to.row("time", "customer_id", "customer", "token", "kind", "action", "image", "reference", "digest", "bytes",
		"address", "user_agent",
		"status", "error", "upstream_status", "upstream_error", "request_id")
	if err == nil {
		err = eachPull(ctx, s, in, func(p ecrintypes.Pull) error {
			upstream := ""
			if p.UpstreamStatus != nil {
				upstream = fmt.Sprint(*p.UpstreamStatus)
			}
			return to.row(stamp(p.At.Time), p.CustomerId, p.CustomerName, p.TokenName, string(p.Kind), string(p.Action), p.Image, p.Reference,
				p.ImageDigest, strconv.FormatInt(p.SentBytes, 10), p.Address, p.UserAgent, fmt.Sprint(p.HttpStatus), p.ErrorCode, upstream,
				p.UpstreamCode, p.RequestId)
		})
	}
	return errors.Join(err, to.end())
}

func (c *commands) appEgress() *cobra.Command {
	var customer, month, by string
	var months bool
	var asCSV *bool
	cmd := c.vendorCommand("egress APP", "Show what was sent to customers in a month, by customer and image",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListEgressRequest{AccountId: account, ApplicationSlug: args[0], Month: month}
			switch by {
			case "":
			case "customer":
				in.GroupBy = ecrintypes.EgressGroupCUSTOMER
			case "image":
				in.GroupBy = ecrintypes.EgressGroupIMAGE
			default:
				return nil, nil, usageError{fmt.Errorf("--by: want customer or image, got %q", by)}
			}
			var err error
			if customer != "" {
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			if months {
				if month != "" || by != "" || *asCSV {
					return nil, nil, usageError{errors.New("--months has one row for each month, without --month, --by and --csv")}
				}
				return c.egressMonths(ctx, s, in)
			}
			all := ecrintypes.ListEgressResponse{Egress: []ecrintypes.Egress{}}
			for {
				var out ecrintypes.ListEgressResponse
				if err := s.Call(ctx, "ListEgress", in, &out); err != nil {
					return nil, nil, err
				}
				all.Egress = append(all.Egress, out.Egress...)
				if in.NextToken = out.NextToken; in.NextToken == "" {
					break
				}
			}
			slices.SortStableFunc(all.Egress, func(a, b ecrintypes.Egress) int { return cmp.Compare(b.SentBytes, a.SentBytes) })
			if *asCSV {
				return nil, func() error { return c.egressAsCSV(all.Egress) }, nil
			}
			rows := [][]string{{"MONTH", "CUSTOMER", "IMAGE", "PULLS", "BYTES"}}
			for _, e := range all.Egress {
				who, what := cmp.Or(e.CustomerName, e.CustomerId, "(all)"), cmp.Or(e.Image, "(others)")
				if in.GroupBy == ecrintypes.EgressGroupCUSTOMER {
					what = "(all)"
				}
				rows = append(rows, []string{e.Month, who, what, strconv.FormatInt(e.Pulls, 10), bytesText(e.SentBytes)})
			}
			return all, c.tabled(rows, "nothing was sent in this month; requests are counted within 5 s"), nil
		})
	cmd.Long = `Show what was sent to the customers of an application in a month of UTC, the most first: the bytes of manifests, layers and charts, and
how many manifests were pulled. It is kept for three years, longer than the log of pulls.`
	cmd.Example = "  ecrin app egress shop\n  ecrin app egress shop --month 2026-10 --by customer\n" +
		"  ecrin app egress shop --by image --csv >egress.csv\n  ecrin app egress shop --months --customer \"Big Corp\""
	flags := cmd.Flags()
	flags.StringVar(&customer, "customer", "", "`name` or id of a customer")
	flags.StringVar(&month, "month", "", "`month`, such as 2026-10 (default: the present one)")
	flags.BoolVar(&months, "months", false, "one row for each month, with the threshold")
	flags.StringVar(&by, "by", "", "`what` has a row: customer or image (default: each image of each customer)")
	asCSV = csvFlag(cmd)
	return cmd
}

// egressMonths returns what was sent in each month, to all customers or one.
func (c *commands) egressMonths(ctx context.Context, s caller, of *ecrintypes.ListEgressRequest) (any, func() error, error) {
	var out ecrintypes.ListEgressMonthsResponse
	err := s.Call(ctx, "ListEgressMonths", &ecrintypes.ListEgressMonthsRequest{AccountId: of.AccountId, ApplicationSlug: of.ApplicationSlug,
		CustomerId: of.CustomerId}, &out)
	rows := [][]string{{"MONTH", "BYTES"}}
	for _, m := range out.Months {
		rows = append(rows, []string{m.Month, bytesText(m.SentBytes)})
	}
	return out, func() error {
		if err := c.tabled(rows, "nothing was sent yet; requests are counted within 5 s")(); err != nil || out.Threshold == nil {
			return err
		}
		c.say("there is an event in each month with more than %s", bytesText(out.Threshold.Bytes))
		return nil
	}, err
}

func (c *commands) appThreshold() *cobra.Command {
	cmd := &cobra.Command{Use: "threshold", Short: "Have an event when customers got a number of bytes in a month",
		Example: "  ecrin app threshold set shop 500GiB\n  ecrin app threshold list shop"}
	cmd.AddCommand(c.thresholdSet(), c.thresholdList())
	return cmd
}

func (c *commands) egressAsCSV(all []ecrintypes.Egress) error {
	to := newSheet(c.Out)
	err := to.row("month", "customer_id", "customer", "kind", "image", "pulls", "bytes")
	for _, e := range all {
		if err == nil {
			err = to.row(e.Month, e.CustomerId, e.CustomerName, string(e.Kind), e.Image, strconv.FormatInt(e.Pulls, 10),
				strconv.FormatInt(e.SentBytes, 10))
		}
	}
	return errors.Join(err, to.end())
}

func (c *commands) thresholdSet() *cobra.Command {
	customer := ""
	cmd := c.vendorCommand("set APP SIZE", "Have an event in each month in which customers got a number of bytes; 0 ends it",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.PutEgressThresholdRequest{AccountId: account, ApplicationSlug: args[0]}
			var err error
			if in.Bytes, err = parseSize(args[1]); err != nil {
				return nil, nil, usageError{fmt.Errorf("want a size such as 500GiB, got %q", args[1])}
			}
			if customer != "" {
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			var out ecrintypes.EgressThresholdResponse
			err = s.Call(ctx, "PutEgressThreshold", in, &out)
			show := c.said("there is an event when %s got %s in a month", cmp.Or(customer, "all customers"), bytesText(in.Bytes))
			if in.Bytes == 0 {
				show = c.said("there is no threshold for %s any more", cmp.Or(customer, "all customers"))
			}
			return out, show, err
		})
	cmd.Long = `Set how much the customers of an application, or one of them, may get in a month of UTC before there is an event with the action-type
EGRESS_THRESHOLD: one in each month, for webhooks and ecrin events. Nothing is refused.`
	cmd.Example = "  ecrin app threshold set shop 500GiB\n  ecrin app threshold set shop 20GiB --customer \"Big Corp\""
	cmd.Flags().StringVar(&customer, "customer", "", "`name` or id of a customer (default: all together)")
	return cmd
}

func (c *commands) thresholdList() *cobra.Command {
	return c.vendorCommand("list APP", "List the thresholds, and what was sent in this month",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListEgressThresholdsRequest{AccountId: account, ApplicationSlug: args[0]}
			all := ecrintypes.ListEgressThresholdsResponse{Thresholds: []ecrintypes.EgressThreshold{}}
			rows := [][]string{{"CUSTOMER", "THRESHOLD", "SENT", "REACHED"}}
			for {
				var out ecrintypes.ListEgressThresholdsResponse
				if err := s.Call(ctx, "ListEgressThresholds", in, &out); err != nil {
					return nil, nil, err
				}
				for _, h := range out.Thresholds {
					all.Thresholds = append(all.Thresholds, h)
					rows = append(rows, []string{cmp.Or(h.CustomerName, h.CustomerId, "(all)"), bytesText(h.Bytes), bytesText(h.SentBytes),
						stampOrDash(h.ReachedAt)})
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return all, c.tabled(rows, "there are no thresholds"), nil
				}
			}
		})
}
