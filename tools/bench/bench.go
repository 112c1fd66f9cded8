package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
)

// bench is the state of a run: the servers, their content, and the duration of the measurements.
type bench struct {
	dir         string
	self        string // this program
	ecrinPath   string
	data        string // ecrin's data directory
	many        int    // images in the large repository
	rounds      int
	length      time.Duration // of each load
	bigBytes    int           // of the large blob
	imageBytes  int           // of the image of the rows of whole clients
	midBytes    int           // of each of the parallel uploads
	parallel    int
	mediumBytes int    // of the medium blob
	big, medium []byte // these blobs

	profiles string // directory for profiles, or ""

	account, userKey          account
	ecrin, dist, bare, static *door
	postgres                  *door               // ecrin with PostgreSQL, nil where there is none
	database                  *pgtest.Server      // its server
	pushed                    int                 // tags that PUT rows have made
	secure, secureStatic      *door               // ecrin and nginx with TLS
	plain                     *door               // ecrin for the rows of whole clients
	plainKey                  account             // of its root user
	engines                   map[string]*process // daemons of docker and containerd, by program
	certificate               *certificate        // of both, nil as long as they are not started
	attacked                  *door               // ecrin beside an attacker
	parties                   parties             // its accounts
	working                   *door               // ecrin beside work of its own
	workingKey                account             // of its root user
	workingReady              bool                // it has what the client needs
	caches                    caches              // ecrin as a cache of another one
	proxy                     proxy
	console                   *consoleServer // nil as long as it is not started
	bundles                   []*door        // ecrin that has images for bundles, and that gets them
	say                       func(format string, a ...any)
	note                      func(format string, a ...any) // adds a line to the report
}

// The repositories. few has 10 tags of one image; many has an image for each tag.
const (
	few     = "bench/few"
	manyRep = "bench/many"
	fewTags = 10
)

func uploadRepo(i int) string { return fmt.Sprintf("bench/upload-%02d", i) }

// row is one case. Its contenders are measured alternately, round by round, so that a temporarily slow machine
// affects all of them.
type row struct {
	name       string
	unit       string
	contenders []contender
	targets    []target
	rounds     int // maximum number of rounds; 0 for no limit
	// prepare starts the servers of the row, unless they are running, before it is measured. A row without it uses those of setUp.
	prepare func(ctx context.Context) error
}

type contender struct {
	name string
	run  func(ctx context.Context) (measure, error)
	// parts is instead of run for a contender with several figures, which are named before the name of the contender: "GET, alone".
	parts func(ctx context.Context) (map[string]measure, error)
}

// measure measures once, and adds the figures to all.
func (c contender) measure(ctx context.Context, all map[string]measures) error {
	if c.parts == nil {
		m, err := c.run(ctx)
		all[c.name] = append(all[c.name], m)
		return err
	}
	parts, err := c.parts(ctx)
	for name, m := range parts {
		name += ", " + c.name
		all[name] = append(all[name], m)
	}
	return err
}

// setUp starts all servers and stores the same content in ecrin and distribution.
func (b *bench) setUp(ctx context.Context) (err error) {
	began := time.Now()
	if err := b.openEcrin(ctx); err != nil {
		return err
	}
	repos := []string{few, manyRep}
	for i := range b.parallel {
		repos = append(repos, uploadRepo(i))
	}
	for _, repo := range repos {
		if err := b.ecrin.api(ctx, b.account, "CreateRepository", map[string]string{"repositoryName": repo}, &struct{}{}); err != nil {
			return err
		}
	}
	if err := b.content(b.ecrin); err != nil {
		return err
	}
	if err := b.ecrin.push(manyRep, 0); err != nil {
		return err
	}
	if err := b.ecrin.stop(); err != nil {
		return err
	}
	b.say("filling a repository with %d images", b.many)
	if err := fill(ctx, b.data, "000000000000", b.account.Region, manyRep, 0, b.many); err != nil {
		return err
	}
	if err := b.openEcrin(ctx); err != nil {
		return err
	}
	if b.userKey, err = makeUser(ctx, b.ecrin, b.account, userName, statements...); err != nil {
		return err
	}
	if err := b.openPostgres(ctx); err != nil {
		return err
	}
	if err := b.openDistribution(ctx); err != nil {
		return err
	}
	if err := b.content(b.dist); err != nil {
		return err
	}
	file := filepath.Join(b.dir, "manifest.json")
	if err := os.WriteFile(file, imageManifest(0), 0o600); err != nil {
		return err
	}
	bare, err := b.startBare(ctx, file)
	if err != nil {
		return err
	}
	*b.bare = door{process: bare}
	static, err := b.startStatic(ctx)
	if err != nil {
		return err
	}
	*b.static = door{process: static}
	syscall.Sync()
	b.say("ready after %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// openEcrin starts ecrin and gets a token. After a restart the door is the same one, since contenders that were made before keep it.
func (b *bench) openEcrin(ctx context.Context) error {
	p, err := b.startEcrin(ctx, b.data, "")
	if err != nil {
		return err
	}
	*b.ecrin = door{process: p}
	if b.account, err = b.readAccount(ctx, b.data); err != nil {
		return err
	}
	return b.ecrin.login(ctx, b.account)
}

// openPostgres starts another ecrin, whose metadata is in a PostgreSQL server that runs beside it on the same disk.
func (b *bench) openPostgres(ctx context.Context) (err error) {
	if b.postgres == nil {
		return nil
	}
	if b.database, err = pgtest.Open(); err != nil {
		return err
	}
	url, err := b.database.CreateDatabase()
	if err != nil {
		return err
	}
	data := filepath.Join(b.dir, "postgres-data")
	p, err := b.startEcrin(ctx, data, url)
	if err != nil {
		return err
	}
	*b.postgres = door{process: p}
	root, err := b.readAccount(ctx, data)
	if err != nil {
		return err
	}
	if err := b.postgres.login(ctx, root); err != nil {
		return err
	}
	if err := b.postgres.api(ctx, root, "CreateRepository", map[string]string{"repositoryName": few}, &struct{}{}); err != nil {
		return err
	}
	return b.postgres.push(few, fewTags)
}

// openDistribution starts distribution, unless it is running.
func (b *bench) openDistribution(ctx context.Context) error {
	if b.dist.process != nil {
		return nil
	}
	p, err := b.startDistribution(ctx)
	b.dist.process = p
	return err
}

// content is what a registry needs for the rows: ten tags and a large blob.
func (b *bench) content(d *door) error {
	if err := d.push(few, fewTags); err != nil {
		return err
	}
	c, err := d.dial()
	if err != nil {
		return err
	}
	defer c.close()
	return errors.Join(d.putBlob(c, few, b.big, digestOf(b.big)), d.putBlob(c, few, b.medium, digestOf(b.medium)))
}

func (b *bench) stop() error {
	var errs []error
	for _, d := range append([]*door{b.ecrin, b.postgres, b.dist, b.bare, b.static, b.attacked, b.secure, b.secureStatic, b.plain, b.working,
		b.caches.cache, b.caches.far}, b.bundles...) {
		errs = append(errs, d.stopped())
	}
	if b.console != nil {
		errs = append(errs, b.console.stopped())
	}
	for _, p := range b.engines {
		errs = append(errs, p.stop())
	}
	if b.database != nil {
		b.database.Close()
	}
	return errors.Join(errs...)
}

// chosen returns the rows whose names match only.
func (b *bench) chosen(only *regexp.Regexp) []row {
	all := slices.Concat(b.rows(), b.staticRows(), b.clientRows(), b.attackRows(), b.backgroundRows(), b.cacheRows(), b.proxyRows(),
		b.bundleRows(), b.pageRows())
	return slices.DeleteFunc(all, func(r row) bool { return !only.MatchString(r.name) })
}

// run measures the rows whose names match only.
func (b *bench) run(ctx context.Context, only *regexp.Regexp) (*report, error) {
	r := &report{Rounds: b.rounds, Details: map[string]map[string]measures{}, units: map[string]string{}}
	b.note = func(format string, a ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, a...)) }
	for _, row := range b.chosen(only) {
		b.say("measuring: %s", row.name)
		if row.prepare != nil {
			err := row.prepare(ctx)
			if errors.Is(err, errNotHere) {
				r.skip(row, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: preparing: %w", row.name, err)
			}
		}
		all := map[string]measures{}
		end, err := b.profile(ctx, b.profiled(row), row.name, profileSeconds)
		if err != nil {
			return nil, err
		}
		for range min(b.rounds, cmp.Or(row.rounds, b.rounds)) {
			for _, c := range row.contenders {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if err := c.measure(ctx, all); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", row.name, c.name, err)
				}
			}
		}
		if err := end(); err != nil {
			return nil, err
		}
		r.add(row, all)
	}
	if b.postgres == nil {
		b.note("There is no PostgreSQL here: its rows were left out.")
	}
	if staticName() != nginx {
		b.note("There is no nginx on this machine: the static file server was Go's, and the rows with TLS were left out.")
	}
	return r, nil
}

var unsafeName = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// profiled returns the server whose profile is taken during a row, nil for none: the rows that stop it have none, and those with an
// attacker take it beside the attack.
func (b *bench) profiled(r row) *door {
	switch {
	case strings.HasPrefix(r.name, "start") || r.prepare != nil:
		return nil
	case strings.Contains(r.name, "PostgreSQL"):
		return b.postgres
	}
	return b.ecrin
}

// profile records a profile of the processor time of a server, if profiles are enabled. Of a row, it includes the time in which the other
// servers are measured.
func (b *bench) profile(ctx context.Context, of *door, name string, seconds int) (end func() error, err error) {
	if b.profiles == "" || of == nil || seconds == 0 {
		return func() error { return nil }, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- takeProfile(ctx, of.process.profile, seconds, filepath.Join(b.profiles, unsafeName.ReplaceAllString(name, "-")))
	}()
	return func() error {
		err := <-done
		cancel()
		return err
	}, nil
}

// profileSeconds covers the first rounds of a row.
const profileSeconds = 8

func takeProfile(ctx context.Context, address string, seconds int, path string) error {
	for _, one := range []struct{ kind, query string }{{"profile", fmt.Sprintf("?seconds=%d", seconds)}, {"allocs", ""}} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/debug/pprof/"+one.kind+one.query, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return fmt.Errorf("taking a profile: %w", err)
		}
		defer resp.Body.Close()
		f, err := os.Create(path + "." + one.kind)
		if err != nil {
			return err
		}
		if _, err = io.Copy(f, resp.Body); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
