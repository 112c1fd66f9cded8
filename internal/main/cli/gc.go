package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const gcHelp = `Remove what nothing refers to from the running server, and show how many bytes that freed. Pushes and pulls go
on meanwhile. The server does the same every hour (gc_interval), so this command is for space that is needed now.

Removed are repositories and images that were deleted longer ago than the grace period (gc_grace, a week); until then
"ecrin repository restore" and "ecrin image restore" bring them back. Blobs to which no image refers are removed after the
grace period too, then the bytes of blobs that no repository holds, and uploads that nobody continued for a week.

A blob that is to go is first hidden for a day, so that a push that has found it can end. With a shorter grace period it is
hidden for that time only: --grace 0s frees all at once, and a push that runs at that moment may have to be repeated.

After an upgrade from a version without collections nothing that can be restored is removed for a grace period, and after
a day without a collection (a stopped server, a restored backup) for a day. With --grace nothing is kept back.

The server removes it in a job ("ecrin job list"), which goes on if this command is interrupted, continues after a restart
of the server, and ends with "ecrin job cancel". --dry-run needs no job.`

// collected is what ecrin gc --json prints.
type collected struct {
	DryRun       bool   `json:"dryRun"`
	Grace        string `json:"grace"`
	Repositories int64  `json:"repositories"`
	Images       int64  `json:"images"`
	Blobs        int64  `json:"blobs"`
	Bytes        int64  `json:"bytes"`
	Uploads      int64  `json:"uploads"`
	Failed       int64  `json:"failed"`
	Pinned       bool   `json:"pinned"`
	Job          string `json:"job,omitempty"` // id, unless it is a dry run

	// HeldUntil is the time before which nothing that can be restored is removed; absent if nothing is held back.
	HeldUntil *time.Time `json:"heldUntil,omitzero"`
}

func (c *commands) gc() *cobra.Command {
	cmd := &cobra.Command{
		Use: "gc", Args: cobra.NoArgs, Short: "Remove what nothing refers to, and free its space", Long: gcHelp,
		Example: "  ecrin gc --dry-run\n  ecrin gc\n  ecrin gc --grace 24h --json",
	}
	c.dataFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "only show what would be removed")
	grace := cmd.Flags().Duration("grace", 0, "how long ago something was deleted, a `duration` such as 24h; by default that of the server")
	full := cmd.Flags().Bool("full", false, "compare all stored blobs with the records; the server does so after a crash")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in := ecrintypes.CollectStorageRequest{Full: full, DryRun: dry}
		if cmd.Flags().Changed("grace") {
			if *grace < 0 || *grace > 10*365*24*time.Hour {
				return usageError{fmt.Errorf("--grace is a duration from 0s to ten years, got %s", *grace)}
			}
			seconds := int64(*grace / time.Second)
			in.GraceSeconds = &seconds
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		all := collected{DryRun: *dry}
		for {
			var out ecrintypes.CollectStorageResponse
			if err := s.Call(cmd.Context(), "CollectStorage", &in, &out); err != nil {
				return err
			}
			all.Repositories, all.Images = all.Repositories+int64(out.Repositories), all.Images+int64(out.Images)
			all.Blobs, all.Bytes = all.Blobs+int64(out.Blobs), all.Bytes+out.Bytes
			all.Uploads, all.Pinned = all.Uploads+int64(out.Uploads), all.Pinned || out.Pinned
			all.Failed += int64(out.Failed)
			if out.HeldUntil != nil {
				all.HeldUntil = &out.HeldUntil.Time
			}
			all.Job = out.JobId
			all.Grace = (time.Duration(out.GraceSeconds) * time.Second).String()
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
			progress := "so far"
			if all.Job != "" {
				progress = "by job " + all.Job + " so far"
			}
			c.say("%s, %s and %s with %s %s", counted(all.Repositories, "repository", "repositories"), counted(all.Images, "image", "images"),
				counted(all.Blobs, "blob", "blobs"), bytesText(all.Bytes), progress)
		}
		if *asJSON {
			return c.printJSON(all)
		}
		verb := "removed"
		if *dry {
			verb = "a collection would remove"
		}
		c.say("%s %s, %s and %s with %s", verb, counted(all.Repositories, "repository", "repositories"),
			counted(all.Images, "image", "images"), counted(all.Blobs, "blob", "blobs"), bytesText(all.Bytes))
		if all.Failed > 0 {
			c.say("%s could not be deleted: the log of the server says why", counted(all.Failed, "blob", "blobs"))
		}
		switch {
		case all.HeldUntil != nil:
			c.say("what can be restored is kept until %s, because of an upgrade or because no collection has run for a day; "+
				"with --grace nothing is kept back", all.HeldUntil.UTC().Format(time.RFC3339))
		case all.Pinned:
			c.say("a backup is running, so that no blob was deleted: repeat the command after it")
		case *dry:
			c.say("what was deleted in the last %s is kept", all.Grace)
		}
		return nil
	}
	return cmd
}

// counted returns a number with the noun for it.
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// bytesText returns a size for people.
func bytesText(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return counted(n, "byte", "bytes")
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
