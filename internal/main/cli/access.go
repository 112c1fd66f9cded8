package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const accessHelp = `Ask for access to a repository, and decide about it.

A pull or push that is denied says with which command access is asked for. The owner of the repository gets an event, sees the request in
ecrin access list, and approves it until a time, with a preview of the statement that this adds. What was granted ends by itself.`

func (c *commands) accessRequests() *cobra.Command {
	cmd := &cobra.Command{Use: "access", Short: "Ask for access to a repository, and decide about it", Long: accessHelp,
		Example: "  ecrin access request pull:111122223333/eu-west-1/team/app --reason 'nightly builds' --profile ci\n" +
			"  ecrin access list --status open\n  ecrin access approve 1234567890 --for 7d"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.accessRequest(), c.accessList(), c.accessShow(), c.accessApprove(),
		c.accessDecide("refuse", "Refuse a request, which cannot be asked again for a day", "RefuseAccessRequest", "refused"),
		c.accessDecide("withdraw", "Withdraw a request of your own", "WithdrawAccessRequest", "withdrew"),
		c.accessDecide("revoke", "End what was granted, now", "RevokeAccess", "revoked"))
	return cmd
}

func (c *commands) accessRequest() *cobra.Command {
	cmd := &cobra.Command{Use: "request ADDRESS|REPOSITORY", Args: exactly("ADDRESS"), Short: "Ask the owner of a repository for access",
		Long: "Ask the owner of a repository for access, with the address that a denied pull or push has shown, or with the name of the\n" +
			"repository. Access is asked for the user or the role that calls.",
		Example: "  ecrin access request push:111122223333/eu-west-1/team/app --profile ci\n" +
			"  ecrin access request team/app --action push --reason 'releases' --profile ci"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	action := cmd.Flags().String("action", "", "`pull` or push; the default is that of the address, or pull")
	reason := cmd.Flags().String("reason", "", "`text` for the owner, at most 256 characters")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := &ecrintypes.RequestAccessRequest{Reason: *reason}
		permission := ecrintypes.Permission(strings.ToUpper(*action))
		if permission != "" && permission != ecrintypes.PermissionPULL && permission != ecrintypes.PermissionPUSH {
			return usageError{fmt.Errorf("--action must be pull or push, got %q", *action)}
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		if verb, of, ok := strings.Cut(args[0], ":"); ok {
			if *action != "" {
				verb = *action
			}
			in.Address = strings.ToLower(verb) + ":" + of
		} else {
			in.RegistryId, in.RepositoryName, in.Permission = reg.account, args[0], ecrintypes.PermissionPULL
			if permission != "" {
				in.Permission = permission
			}
		}
		var out ecrintypes.RequestAccessResponse
		if err := s.Call(cmd.Context(), "RequestAccess", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if out.Merged {
			c.say("the request %s is open already; it was asked %d times", out.Request.AccessRequestId, out.Request.Asked)
			return nil
		}
		c.say("asked the owner of %s to let %s %s: request %s", out.Request.RepositoryName, out.Request.PrincipalArn,
			strings.ToLower(string(out.Request.Permission)), out.Request.AccessRequestId)
		return nil
	}
	return cmd
}

func (c *commands) accessList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs,
		Short: "List requests for access to the repositories of a registry, the newest first"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	status := cmd.Flags().String("status", "", "only those with this `status`: open, granted, refused, withdrawn, ended or expired")
	own := cmd.Flags().Bool("own", false, "those of the caller, in all registries")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.ListAccessRequestsRequest{RegistryId: reg.account, Status: ecrintypes.AccessStatus(strings.ToUpper(*status))}
		if *own {
			in.Own = own
		}
		all := ecrintypes.ListAccessRequestsResponse{Requests: []ecrintypes.AccessRequest{}}
		for {
			var out ecrintypes.ListAccessRequestsResponse
			if err := s.Call(cmd.Context(), "ListAccessRequests", in, &out); err != nil {
				return err
			}
			all.Requests = append(all.Requests, out.Requests...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		rows := [][]string{{"ID", "STATUS", "UNTIL", "ADDRESS", "PRINCIPAL", "ASKED", "REASON"}}
		for _, r := range all.Requests {
			rows = append(rows, []string{r.AccessRequestId, strings.ToLower(string(r.Status)), stampOrDash(r.Until), r.Address, r.PrincipalArn,
				strconv.FormatInt(r.Asked, 10), orDash(r.Reason)})
		}
		return c.tabled(rows, "there are no requests for access")()
	}
	return cmd
}

// narrowing are the flags that narrow what is granted.
type narrowing struct{ actions, tags []string }

func narrowingFlags(cmd *cobra.Command) *narrowing {
	n := &narrowing{}
	cmd.Flags().StringSliceVar(&n.actions, "actions", nil, "only these `actions` of those that are asked for, such as ecr:BatchGetImage")
	cmd.Flags().StringSliceVar(&n.tags, "tags", nil, "only images with tags that match one of these `patterns`, such as '1.*'")
	return n
}

func (c *commands) accessShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Args: exactly("ID"), Short: "Show a request for access, and what its approval would change"}
	reg, asJSON, narrow := registryFlags(cmd), c.jsonFlag(cmd), narrowingFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		out, err := describeAccess(cmd, s, args[0], narrow)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.printAccess(out)
		return nil
	}
	return cmd
}

func describeAccess(cmd *cobra.Command, s *client.Client, id string, n *narrowing) (out ecrintypes.DescribeAccessRequestResponse,
	err error) {
	err = s.Call(cmd.Context(), "DescribeAccessRequest", &ecrintypes.DescribeAccessRequestRequest{AccessRequestId: id, Actions: n.actions,
		ImageTags: n.tags}, &out)
	return out, err
}

// printAccess prints a request and its preview.
func (c *commands) printAccess(d ecrintypes.DescribeAccessRequestResponse) {
	r := d.Request
	fmt.Fprintf(c.Out, "request %s: %s, until %s\n%s asks to %s %s/%s/%s", r.AccessRequestId, strings.ToLower(string(r.Status)),
		stampOrDash(r.Until), r.PrincipalArn, strings.ToLower(string(r.Permission)), r.RegistryId, r.Region, r.RepositoryName)
	fmt.Fprintf(c.Out, ", asked %d times since %s\n", r.Asked, stamp(r.CreatedAt.Time))
	if r.Reason != "" {
		fmt.Fprintf(c.Out, "reason: %s\n", r.Reason)
	}
	if r.DecidedBy != "" {
		fmt.Fprintf(c.Out, "decided by %s at %s %s\n", r.DecidedBy, stampOrDash(r.DecidedAt), r.Note)
	}
	if d.Preview == nil {
		return
	}
	if d.Preview.PolicyText != "" {
		fmt.Fprintf(c.Out, "\nan approval adds, until its end:\n%s\n", d.Preview.PolicyText)
	}
	for _, one := range d.Preview.Decisions {
		fmt.Fprintf(c.Out, "%-34s %s -> %s  %s\n", one.Action, allowedText(one.AllowedBefore), allowedText(one.AllowedAfter), one.Reason)
	}
	if d.Preview.Note != "" {
		fmt.Fprintf(c.Out, "note: %s\n", d.Preview.Note)
	}
}

func allowedText(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

func (c *commands) accessApprove() *cobra.Command {
	cmd := &cobra.Command{Use: "approve ID", Args: exactly("ID"), Short: "Grant what a request asks for, until a time",
		Long: "Grant what a request asks for, until a time. The command shows what the approval adds. On a terminal it asks, and approves if\n" +
			"APPROVE is typed; otherwise it needs --yes.",
		Example: "  ecrin access approve 1234567890 --for 7d --tags '1.*'\n  ecrin access approve 1234567890 --until 2026-12-31 --yes"}
	reg, asJSON, narrow := registryFlags(cmd), c.jsonFlag(cmd), narrowingFlags(cmd)
	until := cmd.Flags().String("until", "", "`time` at which the access ends, 2026-12-31 or 2026-12-31T12:00:00Z")
	length := cmd.Flags().String("for", "", "`duration` for which access is granted, such as 7d or 12h")
	note := cmd.Flags().String("note", "", "`text` for who has asked, at most 256 characters")
	yes := cmd.Flags().Bool("yes", false, "approve without a question")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		end, err := endOf(*until, *length, time.Now())
		if err != nil {
			return usageError{err}
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		if !*yes {
			d, err := describeAccess(cmd, s, args[0], narrow)
			if err != nil {
				return err
			}
			shown := *c
			shown.Out = c.Err // the answer of the command is on standard output
			shown.printAccess(d)
			if !terminal(cmd.InOrStdin()) {
				return errors.New("nothing is granted yet: repeat with --yes")
			}
			if err := c.typed(cmd, "APPROVE", "access is granted until "+stamp(end)); err != nil {
				return err
			}
		}
		in := &ecrintypes.ApproveAccessRequestRequest{AccessRequestId: args[0], Until: awswire.Time{Time: end}, Actions: narrow.actions,
			ImageTags: narrow.tags, Note: *note}
		var out ecrintypes.AccessRequestResponse
		if err := s.Call(cmd.Context(), "ApproveAccessRequest", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("%s may %s %s until %s", out.Request.PrincipalArn, strings.ToLower(string(out.Request.Permission)), out.Request.RepositoryName,
			stampOrDash(out.Request.Until))
		return nil
	}
	return cmd
}

// endOf returns the end of a grant by one of two flags: a time or a day in UTC, or a duration that may be in days.
func endOf(until, length string, now time.Time) (time.Time, error) {
	switch {
	case (until == "") == (length == ""):
		return time.Time{}, errors.New("give the end of the access: --until TIME or --for DURATION")
	case length != "":
		if n, ok := strings.CutSuffix(length, "d"); ok {
			if days, err := strconv.ParseUint(n, 10, 16); err == nil {
				return now.Add(time.Duration(days) * 24 * time.Hour), nil
			}
		}
		d, err := time.ParseDuration(length)
		if err != nil || d <= 0 {
			return time.Time{}, fmt.Errorf("--for must be a duration, 7d or 12h, got %q", length)
		}
		return now.Add(d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, until); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--until must be a day or a time, 2026-12-31 or 2026-12-31T12:00:00Z, got %q", until)
}

// accessDecide returns a command that calls an operation on a request, with a note.
func (c *commands) accessDecide(use, short, operation, done string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " ID", Args: exactly("ID"), Short: short}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	note := cmd.Flags().String("reason", "", "`text` that the request keeps, at most 256 characters")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		var out ecrintypes.AccessRequestResponse
		if err := s.Call(cmd.Context(), operation, &ecrintypes.DecideAccessRequest{AccessRequestId: args[0], Note: *note}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("%s the request %s of %s for %s", done, args[0], out.Request.PrincipalArn, out.Request.RepositoryName)
		return nil
	}
	return cmd
}
