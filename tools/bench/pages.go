package main

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// consoleServer is the server of the rows about pages of the console.
type consoleServer struct {
	*door
	data  string
	key   account
	http  *http.Client // with a session
	pages []string     // addresses, one of each form
}

// Of the pages of the console.
const (
	slowestPage  = "the slowest page, p95"
	slowestFirst = "the slowest page, first after a start"
	heaviestPage = "the heaviest page, with style and scripts"

	samplesOfPage = 20
)

// pageRows measure every page of the console that links lead to.
func (b *bench) pageRows() []row {
	content := fmt.Sprintf("%s tags in one repository, %s repositories, %s requests in the trail, %s customers", thousands(b.many),
		thousands(b.many/10), thousands(10*b.many), thousands(b.many/100))
	return []row{
		{name: "pages of the console: " + content, unit: "ms", rounds: 1, prepare: b.openConsole, contenders: []contender{
			{name: slowestPage, run: b.pageTimes}, {name: slowestFirst, run: b.firstPages},
		}, targets: []target{{who: slowestPage, of: value, less: true, goal: 100}, {who: slowestFirst, of: value, less: true, goal: 100}}},
		{name: "weight of pages of the console", unit: "kB", rounds: 1, prepare: b.openConsole, contenders: []contender{
			{name: heaviestPage, run: b.pageWeights},
		}, targets: []target{{who: heaviestPage, of: value, less: true, goal: 150}}},
	}
}

// startConsole starts the server, and signs in.
func (b *bench) startConsole(ctx context.Context) error {
	c := b.console
	p, err := b.startEcrin(ctx, c.data, "")
	if err != nil {
		return err
	}
	c.door = &door{process: p}
	if c.key, err = b.readAccount(ctx, c.data); err != nil {
		return err
	}
	if err := c.login(ctx, c.key); err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	c.http = &http.Client{Jar: jar, Transport: &http.Transport{DisableCompression: true}}
	a, err := c.http.PostForm(c.url()+"/console/signin", url.Values{"by": {"key"}, "accessKeyId": {c.key.ID},
		"secretAccessKey": {c.key.Secret}})
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.Request.URL.Path == "/console/signin" {
		return errors.New("signing in to the console was refused")
	}
	return nil
}

// openConsole starts a server with much of everything, unless it runs.
func (b *bench) openConsole(ctx context.Context) error {
	if b.console != nil {
		return nil
	}
	b.console = &consoleServer{data: filepath.Join(b.dir, "console-data")}
	c := b.console
	if err := b.startConsole(ctx); err != nil {
		return err
	}
	if err := c.api(ctx, c.key, "CreateRepository", map[string]string{"repositoryName": manyRep}, &struct{}{}); err != nil {
		return err
	}
	if err := c.push(manyRep, fewTags); err != nil {
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	b.say("filling a repository with %d images", b.many)
	if err := fill(ctx, c.data, ownAccount, c.key.Region, manyRep, 0, b.many); err != nil {
		return err
	}
	if err := b.startConsole(ctx); err != nil {
		return err
	}
	b.say("making %d repositories and %d customers", b.many/10, b.many/100)
	g, making := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range b.many / 10 {
		g.Go(func() error {
			in := map[string]string{"repositoryName": fmt.Sprintf("bench/repo-%05d", i)}
			return c.api(making, c.key, "CreateRepository", in, &struct{}{})
		})
	}
	ecrin := func(ctx context.Context, args ...string) error {
		_, err := b.runEcrin(ctx, c.data, args...)
		return err
	}
	if err := ecrin(ctx, "app", "create", "bench"); err != nil {
		return err
	}
	for i := range b.many / 100 {
		g.Go(func() error { return ecrin(making, "customer", "create", "bench", fmt.Sprintf("Customer %04d", i)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.say("making %d requests", 10*b.many)
	for made := 0; made < 10*b.many; {
		o, err := load(c.dial, connections, 10*b.length, http.StatusOK, manifestOf(c.door, manyRep, b.many)())
		if err != nil {
			return err
		}
		made += o.requests
	}
	return c.crawl(ctx)
}

// page gets a page, and returns its text, the bytes that were sent, and the time that it took.
func (c *consoleServer) page(ctx context.Context, path string) (text string, sent int, took time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+path, nil)
	if err != nil {
		return "", 0, 0, err
	}
	r.Header.Set("Accept-Encoding", "gzip")
	began := time.Now()
	a, err := c.http.Do(r)
	if err != nil {
		return "", 0, 0, err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	took = time.Since(began)
	if err != nil || a.StatusCode != http.StatusOK {
		return "", 0, took, errors.Join(err, fmt.Errorf("%s: %s", path, a.Status))
	}
	text = string(body)
	if a.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(strings.NewReader(text))
		if err != nil {
			return "", 0, took, err
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			return "", 0, took, err
		}
		text = string(plain)
	}
	return text, len(body), took, nil
}

var (
	linkOf = regexp.MustCompile(`href="(/console/[^"#]*)`)
	parts  = regexp.MustCompile(`sha256:[0-9a-f]+|bench/[a-z0-9-]+|/tags/[^/?]+|/customers/[^/?]+|/denied/[^/?]+`)
)

// formOf returns what the addresses of pages of one kind have in common.
func formOf(address string) string {
	path, query, _ := strings.Cut(address, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return address
	}
	var keys []string
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return parts.ReplaceAllString(path, "…") + "?" + strings.Join(keys, "&")
}

// crawl finds one page of each form. The repository with many tags is the first.
func (c *consoleServer) crawl(ctx context.Context) error {
	base := "/console/" + ownAccount + "/" + c.key.Region + "/repositories"
	seen, queue := map[string]bool{}, []string{base + "/" + manyRep, base}
	for len(queue) > 0 && len(c.pages) < 120 {
		at := queue[0]
		queue = queue[1:]
		if seen[formOf(at)] || strings.Contains(at, ".csv") || strings.Contains(at, "/console/a/") {
			continue
		}
		seen[formOf(at)] = true
		text, _, _, err := c.page(ctx, at)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(text, "<!doctype html>") {
			continue // a file to download
		}
		c.pages = append(c.pages, at)
		for _, m := range linkOf.FindAllStringSubmatch(text, -1) {
			queue = append(queue, html.UnescapeString(m[1]))
		}
	}
	return nil
}

// pageFigure is a page with a figure.
type pageFigure struct {
	page   string
	figure float64
}

// worst returns the greatest figure, and writes the greatest into the report.
func (b *bench) worst(what, unit string, all []pageFigure) measure {
	slices.SortFunc(all, func(x, y pageFigure) int { return cmp.Compare(y.figure, x.figure) })
	var lines []string
	for _, one := range all[:min(len(all), 8)] {
		lines = append(lines, fmt.Sprintf("%.1f %s %s", one.figure, unit, one.page))
	}
	b.note("%s, of %d pages:\n%s", what, len(all), strings.Join(lines, "\n"))
	return measure{Value: all[0].figure, P50: all[len(all)/2].figure}
}

func (b *bench) pageTimes(ctx context.Context) (measure, error) {
	var all []pageFigure
	for _, at := range b.console.pages {
		var times []float64
		for range samplesOfPage {
			_, _, took, err := b.console.page(ctx, at)
			if err != nil {
				return measure{}, err
			}
			times = append(times, ms(took))
		}
		slices.Sort(times)
		all = append(all, pageFigure{at, times[samplesOfPage*95/100]})
	}
	return b.worst(slowestPage, "ms", all), nil
}

// firstPages gets each page once from a server that was started again: its templates are not parsed, and nothing is in memory.
func (b *bench) firstPages(ctx context.Context) (measure, error) {
	if err := b.console.stop(); err != nil {
		return measure{}, err
	}
	if err := b.startConsole(ctx); err != nil {
		return measure{}, err
	}
	var all []pageFigure
	for _, at := range b.console.pages {
		_, _, took, err := b.console.page(ctx, at)
		if err != nil {
			return measure{}, err
		}
		all = append(all, pageFigure{at, ms(took)})
	}
	return b.worst(slowestFirst, "ms", all), nil
}

var assetOf = regexp.MustCompile(`(?:href|src)="(/console/a/[^"]*)`)

func (b *bench) pageWeights(ctx context.Context) (measure, error) {
	var all []pageFigure
	assets := map[string]int{}
	for _, at := range b.console.pages {
		text, sent, _, err := b.console.page(ctx, at)
		if err != nil {
			return measure{}, err
		}
		for _, m := range assetOf.FindAllStringSubmatch(text, -1) {
			if _, ok := assets[m[1]]; !ok {
				if _, assets[m[1]], _, err = b.console.page(ctx, m[1]); err != nil {
					return measure{}, err
				}
			}
			sent += assets[m[1]]
		}
		all = append(all, pageFigure{at, float64(sent) / 1000})
	}
	return b.worst(heaviestPage, "kB", all), nil
}
