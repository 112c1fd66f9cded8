package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"
)

const connections = 32

// The peers of ecrin's rows that are ecrin itself, and the handler that does the minimum.
const (
	bareHandler = "bare handler"
	asRoot      = "ecrin, as root"
	tenTags     = "ecrin with 10 tags"
	oneTag      = "ecrin, one tag"
	fewInTurn   = "ecrin with few tags"
	withSQLite  = "ecrin with SQLite"
)

// rows returns the cases of the design's table of speeds, in its order. Where that table has no target for a case, the target is what
// was reached before.
func (b *bench) rows() []row {
	d := distribution
	all := []row{
		{name: "manifest GET by tag, 32 connections", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, connections, manifestOf(b.ecrin, few, fewTags))},
			{name: d, run: b.get(b.dist, connections, manifestOf(b.dist, few, fewTags))},
			{name: bareHandler, run: b.get(b.bare, connections, manifestOf(b.bare, few, fewTags))},
		}, targets: []target{{peer: d, of: value, goal: 5}, {peer: bareHandler, of: value, goal: 0.65}}},
		{name: "manifest GET by tag, user with ten policies", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.getAsUser(connections, func(d *door) requests { return manifestOf(d, few, fewTags) })},
			{name: asRoot, run: b.get(b.ecrin, connections, manifestOf(b.ecrin, few, fewTags))},
		}, targets: []target{{peer: asRoot, of: value, goal: 0.95}}},
		{name: "manifest GET by tag, one of " + thousands(b.many), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, connections, oneOf(b.ecrin, b.many/2))},
			{name: tenTags, run: b.get(b.ecrin, connections, manifestOf(b.ecrin, few, fewTags))},
		}, targets: []target{{peer: tenTags, of: value, goal: 0.9}}},
		{name: "manifest GET by tag, any of " + thousands(b.many), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, connections, manifestOf(b.ecrin, manyRep, b.many))},
			{name: oneTag, run: b.get(b.ecrin, connections, oneOf(b.ecrin, b.many/2))},
			{name: d, run: b.get(b.dist, connections, manifestOf(b.dist, few, fewTags))},
		}, targets: []target{{peer: oneTag, of: value, goal: 0.8}, {of: memory, what: "resident", less: true, goal: 120, unit: "MB"},
			{peer: d, of: value, goal: 3}}},
		{name: "blob GET 1 KB, 32 connections", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, connections, blobOf(b.ecrin, digestOf(imageLayer)))},
			{name: d, run: b.get(b.dist, connections, blobOf(b.dist, digestOf(imageLayer)))},
		}, targets: []target{{peer: d, of: value, goal: 15}}},
		b.uploadRow("in one piece", 1.15, b.monolithic),
		b.uploadRow("in chunks of 10 MiB", 1.3, b.chunked),
		b.uploadRow("in one streamed PATCH", 1.3, b.streamed),
		{name: fmt.Sprintf("%d uploads of %d MB at once", b.parallel, b.midBytes/1e6), unit: "MB/s", contenders: []contender{
			{name: "ecrin", run: b.uploads(b.ecrin)}, {name: d, run: b.uploads(b.dist)},
		}, targets: []target{{peer: d, of: value, goal: 1.5}, {peer: d, of: value, what: "worst round", goal: 1.5, worst: true},
			{of: memory, what: "peak", less: true, goal: 60, unit: "MB"}}},
		{name: "tags/list, 100 of " + thousands(b.many), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, 4, b.tagPages())},
		}, targets: []target{{of: cpu, less: true, goal: 0.2, unit: "ms CPU"}}},
		{name: "tags/list, all " + thousands(b.many), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.ecrin, 4, fixed(b.ecrin, "/v2/"+manyRep+"/tags/list"))},
		}, targets: []target{{of: cpu, less: true, goal: 10 * float64(b.many) / 1e5, unit: "ms CPU"}}},
		{name: "DescribeImages, 100 of " + thousands(b.many), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.describe},
		}, targets: []target{{of: cpu, less: true, goal: 1.5, unit: "ms CPU"}}},
		{name: "policy decisions, ten statements, one core", unit: "1/s", contenders: []contender{
			{name: "ecrin", run: b.repeat(decision())},
		}, targets: []target{{of: cpuMicro, less: true, goal: 0.6, unit: "µs CPU"},
			{of: allocs, less: true, goal: 0, unit: "allocations"}}},
		{name: "SigV4 checks, one core", unit: "1/s", contenders: []contender{
			{name: "ecrin", run: b.repeat(signature())},
		}, targets: []target{{of: value, goal: 20_000}}},
		// From here on, the repositories have more tags than the names of the rows above say.
		{name: "PUT of a tag, 8 writers", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.putTags(b.ecrin, few)}, {name: d, run: b.putTags(b.dist, few)},
		}, targets: []target{{peer: d, of: value, goal: 5}}},
		{name: fmt.Sprintf("PUT of a tag, 8 writers, at %s tags", thousands(b.many)), unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.putTags(b.ecrin, manyRep)}, {name: fewInTurn, run: b.putTags(b.ecrin, few)},
		}, targets: []target{{peer: fewInTurn, of: value, goal: 0.9}}},
		{name: "mount of a layer from another repository, no byte sent", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.mounts},
		}, targets: []target{{of: value, goal: 1}}},
		{name: fmt.Sprintf("start with %s images", thousands(b.many)), unit: "ms", contenders: []contender{
			{name: "ecrin", run: b.starts},
		}, targets: []target{{of: value, less: true, goal: 100}, {of: memory, what: "idle", less: true, goal: 30, unit: "MB"}}},
		{name: "resident memory within a minute after a load", unit: "MB", contenders: []contender{
			{name: "ecrin", run: b.rest},
		}, targets: []target{{of: value, less: true, goal: maxIdleMB}}, rounds: 1},
	}
	if b.postgres == nil {
		return all
	}
	return append(all,
		row{name: "manifest GET by tag, PostgreSQL, 32 connections", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.postgres, connections, manifestOf(b.postgres, few, fewTags))},
			{name: withSQLite, run: b.get(b.ecrin, connections, manifestOf(b.ecrin, few, fewTags))},
		}, targets: []target{{peer: withSQLite, of: value, goal: 0.5}}},
		row{name: "manifest GET by tag, PostgreSQL, one connection", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.get(b.postgres, 1, manifestOf(b.postgres, few, fewTags))},
			{name: withSQLite, run: b.get(b.ecrin, 1, manifestOf(b.ecrin, few, fewTags))},
		}, targets: []target{{peer: withSQLite, of: value, goal: 0.3}}},
		row{name: "PUT of a tag, 8 writers, PostgreSQL", unit: "req/s", contenders: []contender{
			{name: "ecrin", run: b.putTags(b.postgres, few)}, {name: d, run: b.putTags(b.dist, few)},
			{name: withSQLite, run: b.putTags(b.ecrin, few)},
		}, targets: []target{{peer: d, of: value, goal: 1.5}, {peer: withSQLite, of: value, goal: 0.3}}},
	)
}

// thousands returns a number with commas.
func thousands(n int) string { return figure(float64(n)) }

const distribution = "distribution"

// requests returns the streams of a load, one per connection. They are made for each measurement, since ecrin's
// address and token change when it restarts.
type requests func() func(connection int) stream

func fixed(d *door, path string) requests {
	return func() func(int) stream {
		return func(int) stream { return again(d.request(http.MethodGet, path, 0)) }
	}
}

// manifestOf requests random tags among n. The requests are prepared, so that the client spends no time on
// them.
func manifestOf(d *door, repo string, n int) requests {
	return func() func(int) stream {
		front, back := d.splitRequest("/v2/" + repo + "/manifests/")
		return func(i int) stream {
			random := rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano())))
			buf := make([]byte, 0, 2048)
			return func() ([]byte, io.Reader) {
				buf = append(append(append(buf[:0], front...), tagOf(random.IntN(n))...), back...)
				return buf, nil
			}
		}
	}
}

// splitRequest returns the header of a GET before and after the last element of its path.
func (d *door) splitRequest(path string) (front, back []byte) {
	whole := d.request(http.MethodGet, path, 0)
	n := len(http.MethodGet) + 1 + len(path)
	return whole[:n:n], whole[n:]
}

func oneOf(d *door, n int) requests { return fixed(d, "/v2/"+manyRep+"/manifests/"+tagOf(n)) }

func blobOf(d *door, digest string) requests { return fixed(d, "/v2/"+few+"/blobs/"+digest) }

// tagPages requests pages that begin at random tags.
func (b *bench) tagPages() requests {
	return func() func(int) stream {
		front, back := b.ecrin.splitRequest("/v2/" + manyRep + "/tags/list?n=100&last=")
		return func(int) stream {
			return func() ([]byte, io.Reader) {
				return append(append(front[:len(front):len(front)], tagOf(rand.IntN(max(b.many-100, 1)))...), back...), nil
			}
		}
	}
}

// get loads a server with requests whose response has the status 200.
func (b *bench) get(d *door, n int, r requests) func(context.Context) (measure, error) {
	return func(context.Context) (measure, error) { return b.load(d, n, http.StatusOK, r()) }
}

// load measures a load after a warm-up.
func (b *bench) load(d *door, n, want int, streams func(int) stream) (measure, error) {
	return b.loadFor(b.length, d, n, want, streams)
}

func (b *bench) loadFor(length time.Duration, d *door, n, want int, streams func(int) stream) (measure, error) {
	if _, err := load(d.dial, n, length/10, want, streams); err != nil {
		return measure{}, err
	}
	before, err := d.cpu()
	if err != nil {
		return measure{}, err
	}
	o, err := load(d.dial, n, length, want, streams)
	if err != nil {
		return measure{}, err
	}
	after, err := d.cpu()
	return measure{
		Value: o.rate(), CPU: us(after-before) / float64(o.requests), P50: ms(o.at(.5)), P99: ms(o.at(.99)), Memory: d.memory("VmRSS"),
	}, err
}

// putTags puts new tags on an existing image.
func (b *bench) putTags(d *door, repo string) func(context.Context) (measure, error) {
	body := imageManifest(0)
	return func(context.Context) (measure, error) {
		b.pushed++
		turn := b.pushed
		number := 0
		return b.load(d, 8, http.StatusCreated, func(i int) stream {
			number++
			first := number // first tag of this connection, in the warm-up and after it
			n := 0
			return func() ([]byte, io.Reader) {
				n++
				tag := fmt.Sprintf("put-%d-%d-%d", turn, first, n)
				return append(d.request(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, len(body), "Content-Type: "+manifestType), body...), nil
			}
		})
	}
}

// describe requests random pages of the large repository, by signed requests.
func (b *bench) describe(ctx context.Context) (measure, error) {
	type input struct {
		RepositoryName string `json:"repositoryName"`
		MaxResults     int    `json:"maxResults,omitempty"`
		NextToken      string `json:"nextToken,omitempty"`
	}
	var calls [][]byte
	token := ""
	for range 10 {
		in := input{manyRep, 100, token}
		header, body, err := b.ecrin.sign(ctx, b.account, "DescribeImages", in)
		if err != nil {
			return measure{}, err
		}
		calls = append(calls, append(header, body...))
		in.MaxResults = min(1000, b.many/10) // so that the next measured page is far from this one
		var out struct{ NextToken string }
		if err := b.ecrin.api(ctx, b.account, "DescribeImages", in, &out); err != nil {
			return measure{}, err
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	return b.load(b.ecrin, 4, http.StatusOK, func(i int) stream {
		n := i
		return func() ([]byte, io.Reader) {
			n++
			return calls[n%len(calls)], nil
		}
	})
}

// mounts mounts the layer of one repository into another, without sending its bytes.
func (b *bench) mounts(context.Context) (measure, error) {
	path := "/v2/" + uploadRepo(0) + "/blobs/uploads/?from=" + few + "&mount=" + digestOf(b.big)
	return b.load(b.ecrin, 8, http.StatusCreated, func(int) stream { return again(b.ecrin.request(http.MethodPost, path, 0)) })
}

// starts stops ecrin and starts it again.
func (b *bench) starts(ctx context.Context) (measure, error) {
	if err := b.ecrin.stop(); err != nil {
		return measure{}, err
	}
	if err := b.openEcrin(ctx); err != nil {
		return measure{}, err
	}
	time.Sleep(time.Second) // the memory of the idle server is measured
	return measure{Value: ms(b.ecrin.ready), Memory: b.ecrin.memory("VmRSS")}, nil
}

// maxIdleMB is the wanted resident size of an idle server, in MB.
const maxIdleMB = 30

// rest loads ecrin with pulls of random tags, and measures its memory when it has been idle for at most a minute.
func (b *bench) rest(ctx context.Context) (m measure, err error) {
	if m, err = b.get(b.ecrin, connections, manifestOf(b.ecrin, manyRep, b.many))(ctx); err != nil {
		return m, err
	}
	for end := time.Now().Add(20 * b.length); ; { // a minute, if the loads have their full duration
		m = measure{Value: b.ecrin.memory("VmRSS")}
		if m.Value <= maxIdleMB || time.Now().After(end) {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-time.After(b.length / 3):
		}
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
