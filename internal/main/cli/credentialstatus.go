package cli

import (
	"cmp"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/main/cli/credcmd"
)

func (c *commands) credential() *cobra.Command {
	cmd := credcmd.NewCredentialCommand(c.credentials())
	cmd.AddCommand(c.credentialStatus())
	return cmd
}

func (c *commands) credentialStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Args: cobra.NoArgs, Short: "Show the registry credentials of the service accounts of a cluster",
		Long: `Show for each service account of a cluster which registries it has credentials for: the pull secret, its source and age, when it ends, the
last pull and the last error. Pulls and their errors are known from events, which a cluster keeps for an hour by default. A line without a
service account is a secret of the refresher that no service account names. It reads service accounts, pull secrets, pods and events, and shows
no credential.`,
		Example: "  ecrin credential status\n  ecrin credential status --namespace shop --json"}
	var cluster kubeFlags
	cluster.add(cmd)
	namespace := cmd.Flags().String("namespace", "", "`namespace` (default: all)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		at, err := cluster.open(slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err != nil {
			return err
		}
		all, err := kube.Read(cmd.Context(), at, *namespace)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(all)
		case len(all) == 0:
			c.say("no service account has a pull secret or has pulled an image")
			return nil
		}
		now := time.Now()
		rows := [][]string{{"NAMESPACE", "ACCOUNT", "HOST", "SECRET", "SOURCE", "AGE", "ENDS", "LAST PULL", "LAST ERROR"}}
		for _, s := range all {
			rows = append(rows, []string{s.Namespace, orDash(s.ServiceAccount), orDash(s.Host), orDash(s.Secret), orDash(s.Source),
				since(s.RefreshedAt, now), ends(s.ExpiresAt, now), since(s.LastPull, now), orDash(strings.Join(strings.Fields(s.LastError), " "))})
		}
		return c.table(rows)
	}
	return cmd
}

// since returns how long ago a time was, such as 5m0s; - for the zero time.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return round(now.Sub(t))
}

// ends returns in which time a credential ends.
func ends(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !now.Before(t):
		return "ended " + round(now.Sub(t)) + " ago"
	}
	return "in " + round(t.Sub(now))
}

// round returns a duration in seconds, or in minutes above an hour.
func round(d time.Duration) string {
	if d >= time.Hour {
		return cmp.Or(strings.TrimSuffix(d.Round(time.Minute).String(), "0s"), "0s")
	}
	return d.Round(time.Second).String()
}
