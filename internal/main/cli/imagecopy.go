package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const imageCopyHelp = `Copy an image to another repository of the server, also of another region or account, with the images of an
index. No bytes are moved: the copy is there at once, whatever its size.

The caller needs the permissions to pull the image and to push it under its new tags. Without a tag in DESTINATION the copy gets the
tag of SOURCE; a source that is named by its digest is copied without a tag.

With --to-integration the copy goes to the registry of an integration ("ecrin integration list"), and DESTINATION is a repository
there; so it does if an integration stands for the ACCOUNT/REGION in DESTINATION, as in replication rules. The server copies it in the
background, with signatures and other referrers, and sends only what is missing there. The command waits for the end and shows the
progress; if it is interrupted, the copy goes on. The caller needs the permissions to pull the image and ecrin:UseIntegration on the
integration, and ecrin:DescribeJob to wait.`

func sourceAndDestination(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usageError{fmt.Errorf("a SOURCE and a DESTINATION are needed, got %d arguments", len(args))}
	}
	return nil
}

func (c *commands) imageCopy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "copy SOURCE DESTINATION", Args: sourceAndDestination, Long: imageCopyHelp,
		Short: "Copy an image to another repository, region, account or installation",
		Example: "  ecrin image copy staging/app:1.4 production/app\n" +
			"  ecrin image copy team/app:1.4 111122223333/eu-west-1/team/app:stable --tag 1.4\n" +
			"  ecrin image copy team/app:1.4 team/app --to-integration branch",
	}
	tags := cmd.Flags().StringArray("tag", nil, "a further `tag` of the copy; may be repeated")
	by := cmd.Flags().String("to-integration", "", "copy to the registry of the integration with this `name`")
	noWait := cmd.Flags().Bool("no-wait", false, "do not wait for the end of a copy to another installation")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reg := &registry{}
		s, from, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if from.tag == (name.Tag{}) && from.digest == (name.Digest{}) {
			return usageError{fmt.Errorf("SOURCE is REPOSITORY:TAG or REPOSITORY@DIGEST, got %q", args[0])}
		}
		to, err := parseImage(s, args[1])
		if err != nil {
			return err
		}
		if to.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("DESTINATION is REPOSITORY[:TAG], because the digest of a copy is that of its source; got %q", args[1])}
		}
		in := &ecrintypes.CopyImageRequest{
			RegistryId: reg.account, RepositoryName: from.repo.String(), ImageTag: from.tag.String(), ImageDigest: from.digest.String(),
			DestinationRepositoryName: to.repo.String(), DestinationTags: *tags,
		}
		if to.named && *by != "" {
			return usageError{fmt.Errorf("DESTINATION is REPOSITORY[:TAG] with --to-integration, got %q", args[1])}
		}
		if in.DestinationIntegration = *by; to.named {
			in.DestinationRegistryId, in.DestinationRegion = to.registry.Account.String(), to.registry.Region.String()
		}
		if to.tag != (name.Tag{}) {
			in.DestinationTags = append([]string{to.tag.String()}, in.DestinationTags...)
		}
		var out ecrintypes.CopyImageResponse
		if err := s.Call(cmd.Context(), "CopyImage", in, &out); err != nil {
			return err
		}
		shown := strings.TrimSuffix(args[1], ":"+to.tag.String())
		if out.JobId != "" {
			return c.sent(cmd.Context(), s, out, shown, !*noWait, *asJSON)
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("copied %s to %s %s", out.ImageDigest, shown, asTags(out.ImageTags))
		return nil
	}
	return cmd
}

// asTags returns how a copy is tagged, for people.
func asTags(tags []string) string {
	if len(tags) == 0 {
		return "without a tag"
	}
	return "as " + strings.Join(tags, ", ")
}

// sentImage is a copy to another installation, for --json.
type sentImage struct {
	ecrintypes.CopyImageResponse
	Job *ecrintypes.Job `json:"job,omitempty"` // absent if it was not waited for
}

// sent waits for the end of a copy to another installation, and shows it.
func (c *commands) sent(ctx context.Context, s *client.Client, out ecrintypes.CopyImageResponse, to string, wait, asJSON bool) error {
	if !wait {
		if asJSON {
			return c.printJSON(sentImage{CopyImageResponse: out})
		}
		c.say("the job %s copies %s to %s: ecrin job show %s", out.JobId, out.ImageDigest, to, out.JobId)
		return nil
	}
	j, err := c.waitForJob(ctx, s, out.JobId)
	if err != nil {
		return err
	}
	if asJSON {
		if err := c.printJSON(sentImage{out, &j}); err != nil {
			return err
		}
	}
	if j.State != ecrintypes.JobStateDONE {
		return fmt.Errorf("the copy has ended as %s: %s: when the cause is gone, run \"ecrin job retry %s\"", j.State, j.Error, j.JobId)
	}
	if !asJSON {
		c.say("copied %s to %s %s: %s", out.ImageDigest, to, asTags(out.ImageTags), progressOf(j))
	}
	return nil
}

// waitForJob returns a job after it has ended. On a terminal it shows the progress, and elsewhere the failures of attempts.
func (c *commands) waitForJob(ctx context.Context, s *client.Client, id string) (ecrintypes.Job, error) {
	const first, most = 100 * time.Millisecond, 2 * time.Second
	live, last := isTerminal(c.Err), ""
	show := func(text string) {
		switch {
		case text == last:
		case live:
			fmt.Fprintf(c.Err, "\r\x1b[K%s", text)
		case text != "":
			c.say("%s", text)
		}
		last = text
	}
	defer show("")
	for pause := first; ; pause = min(2*pause, most) {
		var out ecrintypes.JobResponse
		if err := s.Call(ctx, "DescribeJob", &ecrintypes.JobRequest{JobId: id}, &out); err != nil {
			return ecrintypes.Job{}, fmt.Errorf("waiting for the job %s, which goes on: %w", id, err)
		}
		switch j := out.Job; {
		case j.State == ecrintypes.JobStateDONE, j.State == ecrintypes.JobStateFAILED, j.State == ecrintypes.JobStateCANCELED:
			return j, nil
		case j.State == ecrintypes.JobStateQUEUED && j.Error != "" && j.DueAt != nil:
			show(printable(fmt.Sprintf("waiting until %s: %s", stamp(j.DueAt.Time), j.Error)))
		case live:
			show("copying: " + progressOf(j))
		}
		select {
		case <-ctx.Done():
			return ecrintypes.Job{}, fmt.Errorf("waiting for the job %s, which goes on: %w", id, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
