package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const verifyHelp = `Read all blobs and manifests that the running server has stored, and compare them with their
digests. Pushes and pulls go on meanwhile.

A damaged blob is moved to DATA/blobs/quarantine, and the next push of it stores it again; so it is
with a blob that is missing. A damaged manifest is reported only: push the image again under the
same digest, or restore the database.

With DIR, read a backup instead. That needs no server and changes nothing.

The exit status is 1 if anything is damaged or missing.`

// verified is what ecrin verify --json prints.
type verified struct {
	Blobs     int64               `json:"blobs"`
	Manifests int64               `json:"manifests"`
	Bytes     int64               `json:"bytes"`
	Damages   []ecrintypes.Damage `json:"damages"`
	Database  *bool               `json:"database,omitempty"` // of a backup: it has one
}

func (c *commands) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [DIR]", Args: cobra.MaximumNArgs(1), Short: "Compare everything that is stored with its digests", Long: verifyHelp,
		Example: "  ecrin verify\n  ecrin verify --rate 20 --json\n  ecrin verify /backup/ecrin",
	}
	c.dataFlag(cmd)
	rate := cmd.Flags().Int64("rate", 100, "how many `MiB` are read in a second at most; 0 for no limit")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *rate < 0 || *rate > 1<<20 {
			return usageError{fmt.Errorf("--rate is a number of MiB from 0 to %d, got %d", 1<<20, *rate)}
		}
		if len(args) == 1 {
			return c.verifyBackup(cmd, args[0], *rate<<20, *asJSON)
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := ecrintypes.VerifyStorageRequest{}
		if *rate > 0 {
			perSecond := *rate << 20
			in.BytesPerSecond = &perSecond
		}
		all := verified{Damages: []ecrintypes.Damage{}}
		for {
			var out ecrintypes.VerifyStorageResponse
			if err := s.Call(cmd.Context(), "VerifyStorage", &in, &out); err != nil {
				return err
			}
			all.Blobs, all.Manifests, all.Bytes = all.Blobs+int64(out.Blobs), all.Manifests+int64(out.Manifests), all.Bytes+out.Bytes
			all.Damages = append(all.Damages, out.Damages...)
			if !*asJSON {
				c.showDamages(out.Damages)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		return c.verified(all, *asJSON)
	}
	return cmd
}

// verifyBackup verifies a backup.
func (c *commands) verifyBackup(cmd *cobra.Command, dir string, rate int64, asJSON bool) error {
	all := verified{Damages: []ecrintypes.Damage{}}
	out, err := app.VerifyBackup(cmd.Context(), dir, rate, func(d app.BackupDamage) {
		one := ecrintypes.Damage{Digest: d.Digest, Kind: ecrintypes.DamageKindBLOB, Reason: d.Reason}
		if d.Manifest {
			one.Kind = ecrintypes.DamageKindMANIFEST
		}
		all.Damages = append(all.Damages, one)
		if !asJSON {
			c.showDamages(all.Damages[len(all.Damages)-1:])
		}
	})
	if err != nil {
		return err
	}
	if !out.Database {
		c.say("%s has no %s, which is right only if the metadata is in PostgreSQL: only the blobs were compared", dir, app.DatabaseFile)
	}
	all.Blobs, all.Manifests, all.Bytes, all.Database = out.Blobs, out.Manifests, out.Bytes, &out.Database
	return c.verified(all, asJSON)
}

// verified prints the result of a verification, and returns an error if anything is damaged.
func (c *commands) verified(all verified, asJSON bool) error {
	if asJSON {
		if err := c.printJSON(all); err != nil {
			return err
		}
	}
	read := fmt.Sprintf("%s and %s, %d MiB", count(all.Blobs, "blob"), count(all.Manifests, "manifest"), all.Bytes>>20)
	if len(all.Damages) > 0 {
		return fmt.Errorf("%d damaged or missing; %s were read", len(all.Damages), read)
	}
	c.say("no damage: %s were read", read)
	return nil
}

// count returns a number with what it counts, in the plural unless it is 1.
func count[N int | int64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (c *commands) showDamages(damages []ecrintypes.Damage) {
	for _, d := range damages {
		rest := ""
		if d.Quarantined {
			rest = " (moved to the quarantine)"
		}
		fmt.Fprintf(c.Out, "%s %s: %s%s\n", strings.ToLower(string(d.Kind)), d.Digest, d.Reason, rest)
	}
}
