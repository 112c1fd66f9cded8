package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// progressEvery is how often the progress of a copy is shown where it is no terminal.
const progressEvery = 10 * time.Second

// copyImages copies the images of an application to the registry of the customer, or shows what would be copied.
func (c *commands) copyImages(ctx context.Context, f rewriteFlags, in rewrite.Input, out rewrite.Output, _ *upstream.Client,
	asJSON bool) ([]rewrite.Copied, error) {
	sources, err := f.client(0)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	// The user has named the registry: it may be at a private address.
	own, err := f.clientTo([]string{"0.0.0.0/0", "::/0"}, 0)
	if err != nil {
		return nil, err
	}
	defer own.Close()
	endpoint, err := c.rewriteTarget(ctx, f, in)
	if err != nil {
		return nil, err
	}
	to, err := own.Registry(endpoint)
	if err != nil {
		return nil, err
	}
	private := map[string]bool{}
	for _, i := range out.Images {
		private[i.Image] = i.Private
	}
	t := &rewrite.Transfer{Sources: sources, To: to, Proxy: out.Proxy, License: in.License,
		Private: func(r rule.Reference) bool { return private[r.String()] }}
	if !asJSON {
		t.Each = c.copyProgress()
	}
	run := t.Run
	if f.dryRun {
		run = t.Plan
	}
	copied, err := run(ctx, out.Copies)
	if isTerminal(c.Err) && !asJSON {
		fmt.Fprint(c.Err, "\r\x1b[K")
	}
	if err != nil {
		return nil, fmt.Errorf("copying to %s: %w\nwhat was copied stays there: run the command again", endpoint.Host, err)
	}
	if f.dryRun {
		return copied, c.showCopies(copied, asJSON)
	}
	return copied, nil
}

// rewriteTarget returns the registry of the customer with its credentials: the user name and password of the flags, else what the
// configuration of credentials and the environment of the aws CLI have for the host, else none.
func (c *commands) rewriteTarget(ctx context.Context, f rewriteFlags, in rewrite.Input) (upstream.Endpoint, error) {
	e := upstream.Endpoint{Host: in.Local.Host, Username: in.LocalAuth.Username, Password: secret.New(in.LocalAuth.Password)}
	if in.LocalAuth.Password != "" {
		return e, nil
	}
	getenv := func(key string) string { return c.lookup(key, "") }
	config, err := credential.LoadConfig(f.config, getenv)
	if err != nil {
		return e, err
	}
	if f.role+f.profile+f.api != "" {
		own := credential.Rule{Match: in.Local.Host, Role: f.role, ExternalID: f.externalID, Profile: f.profile, Endpoint: f.api, CAFile: f.ca}
		config.Hosts = append([]credential.Rule{own}, config.Hosts...)
	}
	source := &credential.AWS{Config: config, Getenv: getenv}
	e.AWS, err = source.Upstream(ctx, in.Local.Host)
	if errors.Is(err, credential.ErrNone) {
		return e, nil
	}
	e.Kind = upstream.ECR
	return e, err
}

// copyProgress returns what shows the progress.
func (c *commands) copyProgress() func(rewrite.Progress) {
	live, shown := isTerminal(c.Err), time.Now()
	return func(p rewrite.Progress) {
		text := fmt.Sprintf("copying: %d of %d images, %s of %s", p.Done, p.Of, bytesText(p.Bytes), bytesText(p.Size))
		switch {
		case live:
			fmt.Fprintf(c.Err, "\r\x1b[K%s", text)
		case time.Since(shown) > progressEvery:
			shown = time.Now()
			c.say("%s", text)
		}
	}
}

// showCopies prints what would be copied.
func (c *commands) showCopies(copied []rewrite.Copied, asJSON bool) error {
	if asJSON {
		return c.printJSON(map[string]any{"copies": copied})
	}
	rows := [][]string{{"IMAGE", "TO", "SIZE", "MISSING", "MANIFESTS", "REFERRERS"}}
	var size, missing int64
	for _, i := range copied {
		size, missing = size+i.Size, missing+i.Missing
		rows = append(rows, []string{i.Image, i.To, bytesText(i.Size), bytesText(i.Missing), fmt.Sprint(i.Manifests), fmt.Sprint(i.Referrers)})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	c.say("%d images of %s, of which %s are missing; nothing was copied or written", len(copied), bytesText(size), bytesText(missing))
	return nil
}
