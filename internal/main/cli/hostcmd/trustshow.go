package hostcmd

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/trust"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
)

// authority is a CA in the output of `ecrin trust show`.
type authority struct {
	Name        string            `json:"name"`
	SHA256      string            `json:"sha256"`
	Until       time.Time         `json:"until"`
	Constrained bool              `json:"constrained"` // by name constraints
	Names       []string          `json:"names"`       // each with everything below it
	Addresses   []string          `json:"addresses"`
	Server      string            `json:"server,omitempty"` // URL of the server whose CA this is
	TrustedBy   []trust.Installed `json:"trustedBy"`
}

func newTrustShow(o Options) *cobra.Command {
	var ca, root string
	var asJSON bool
	cmd := quiet(&cobra.Command{
		Use:     "show",
		Aliases: []string{"list"},
		Short:   "Show which CAs of ecrin this machine trusts, and what for",
		Long: `Show the CAs that ecrin has made and that the clients of this machine trust, with
the names that each can speak for, and the server's own CA if one runs here.

To trust a CA means: whoever has its key (DATA/tls/ca-key.pem on the server) can
pretend to be any of these names to the clients in the list. The certificates of
earlier versions have no name constraints, so that this is every name there is.`,
		Example: `  ecrin trust show
  ecrin trust show --json | jq '.authorities[] | select(.constrained | not)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.showTrust(cmd.Context(), ca, root, asJSON) },
	})
	cmd.Flags().StringVar(&ca, "ca", "", "also show this CA, a PEM `file`; default: the server's")
	cmd.Flags().StringVar(&root, "root", "/", "the root `folder` of the machine, such as a mounted image")
	cmd.Flags().BoolVar(&asJSON, "json", false,
		"print JSON: {\"authorities\": [{\"name\", \"sha256\", \"until\", \"constrained\", \"names\", \"addresses\", \"server\", \"trustedBy\"}]}")
	return cmd
}

func (o Options) showTrust(ctx context.Context, ca, root string, asJSON bool) error {
	installed, err := trust.List(root)
	if err != nil {
		o.say("%v", err) // the others are shown
	}
	all := []*authority{}
	of := func(c *x509.Certificate) *authority {
		a := describe(c)
		if i := slices.IndexFunc(all, func(o *authority) bool { return o.SHA256 == a.SHA256 }); i >= 0 {
			return all[i]
		}
		all = append(all, a)
		return a
	}
	server, err := o.Resolve(ctx)
	if ca == "" && err == nil {
		ca = server.CAPath
	} else if ca != "" {
		server.URL = ""
	}
	if ca != "" {
		content, err := o.readCA(ctx, ca)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(content)
		if block == nil {
			return fmt.Errorf("the file %s has no certificate in PEM form", ca)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("reading the CA %s: %w", ca, err)
		}
		of(c).Server = server.URL
	}
	for _, i := range installed {
		a := of(i.CA)
		a.TrustedBy = append(a.TrustedBy, i)
	}
	if asJSON {
		return o.printJSON(map[string]any{"authorities": all})
	}
	if len(all) == 0 {
		o.say("this machine trusts no CA of ecrin")
		return nil
	}
	for _, a := range all {
		a.print(o)
	}
	o.warn(all)
	return nil
}

func describe(c *x509.Certificate) *authority {
	scope, constrained := tlsauto.ScopeOf(c)
	a := &authority{
		Name: c.Subject.CommonName, SHA256: fingerprint(c.Raw), Until: c.NotAfter, Constrained: constrained,
		Names: []string{}, Addresses: []string{}, TrustedBy: []trust.Installed{},
	}
	if constrained {
		a.Names = scope.DNS
		for _, p := range scope.Addresses {
			a.Addresses = append(a.Addresses, strings.TrimSuffix(strings.TrimSuffix(p.String(), "/32"), "/128"))
		}
	}
	return a
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func (a *authority) print(o Options) {
	fmt.Fprintf(o.Out, "%s, until %s\n  SHA-256     %s\n", a.Name, a.Until.Format(time.DateOnly), a.SHA256)
	if a.Server != "" {
		fmt.Fprintf(o.Out, "  signs for   %s\n", a.Server)
	}
	if a.Constrained {
		fmt.Fprintf(o.Out, "  names       %s, and all names below these\n", strings.Join(a.Names, ", "))
		fmt.Fprintf(o.Out, "  addresses   %s\n", strings.Join(a.Addresses, ", "))
	} else {
		fmt.Fprintf(o.Out, "  names       EVERY name and address: it has no name constraints\n")
	}
	if len(a.TrustedBy) == 0 {
		fmt.Fprintf(o.Out, "  trusted by  no client of this machine (ecrin trust install)\n")
	}
	for _, i := range a.TrustedBy {
		host := "every name that it permits"
		if i.Host != "" {
			host = i.Host
		}
		fmt.Fprintf(o.Out, "  trusted by  %s for %s (%s)\n", i.Target, host, i.Path)
	}
}

// warn says what it means to trust these CAs.
func (o Options) warn(all []*authority) {
	now, trusted, open := time.Now(), false, false
	for _, a := range all {
		if len(a.TrustedBy) == 0 {
			continue
		}
		trusted = true
		open = open || !a.Constrained
		switch days := int(a.Until.Sub(now).Hours() / 24); {
		case days < 0:
			o.say("%s has ended: install its successor (ecrin trust install)", a.Name)
		case days < 60:
			o.say("%s ends in %d days: install its successor (ecrin trust install)", a.Name, days)
		}
	}
	if open {
		o.say("a CA without name constraints is trusted here: whoever has its key can pretend to be any site to these clients; replace it on the server " +
			"(docs/configuration.md, the private CA), then run ecrin trust install here")
	}
	if trusted {
		o.say("whoever has the key of one of these CAs (DATA/tls/ca-key.pem on the server) can pretend to be its names to the clients that trust it")
	}
}
