package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// progressEvery is how often the progress of a copy is shown where it is no terminal.
const progressEvery = 10 * time.Second

// copyImages copies the images of an application to the registry of the customer, or shows what would be copied.
func (c *commands) copyImages(ctx context.Context, f rewriteFlags, in rewrite.Input, out rewrite.Output,
	asJSON bool) ([]rewrite.Copied, error) {
	sources, err := f.client(0)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	var o egress.Options
	if f.ca != "" {
		if o.Roots, err = credential.Roots(f.ca); err != nil {
			return nil, err
		}
	}
	target := f.target
	target.Username, target.Password = in.LocalAuth.Username, in.LocalAuth.Password
	own := target.Client(o)
	defer own.Close()
	endpoint, err := target.Endpoint(ctx, f.config, f.ca, func(key string) string { return c.lookup(key, "") })
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
	c.endProgress(asJSON)
	if err != nil {
		return nil, fmt.Errorf("copying to %s: %w\nwhat was copied stays there: run the command again", endpoint.Host, err)
	}
	if f.dryRun {
		return copied, c.showCopies(copied, asJSON)
	}
	return copied, nil
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

// endProgress ends the line of copyProgress.
func (c *commands) endProgress(asJSON bool) {
	if isTerminal(c.Err) && !asJSON {
		fmt.Fprint(c.Err, "\r\x1b[K")
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
