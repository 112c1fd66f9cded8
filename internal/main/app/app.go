// Package app builds and runs the server of a configuration. The command and the end-to-end tests use it.
package app

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/core/replication"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/deliver/report"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/door/console"
	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/door/rancherapi"
	"github.com/ecrin-dev/ecrin/internal/door/reportapi"
	"github.com/ecrin-dev/ecrin/internal/door/trail"
	"github.com/ecrin-dev/ecrin/internal/door/updateapi"
	"github.com/ecrin-dev/ecrin/internal/door/vendorapi"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/oidc"
	"github.com/ecrin-dev/ecrin/internal/net/otlp"
	"github.com/ecrin-dev/ecrin/internal/net/tlsauto"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/op/ecrin"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/sts"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
)

// Running describes a running server. It is the content of DATA/serve.json, which the command line reads.
type Running struct {
	URL     string   `json:"url"`     // for clients on this machine, such as http://localhost:5100
	Address string   `json:"address"` // of the first listener
	PID     int      `json:"pid"`
	Boot    string   `json:"boot,omitempty"` // of the machine's start, see BootID
	Account string   `json:"account"`        // the default account
	Region  string   `json:"region"`         // of the default registry
	Domains []string `json:"domains"`
	Regions []string `json:"regions,omitempty"` // of tls.regions, with the default one
	IAMSTS  bool     `json:"iamSts,omitempty"`  // tls.iam_sts
	CA      string   `json:"ca,omitempty"`      // file of the private CA, with --tls=auto
	Metrics []string `json:"metrics,omitempty"` // addresses of metrics_listen
	Created bool     `json:"created"`           // this start made the data directory's default account
}

// RunningFile is the name of the file in the data directory that describes the running server.
const RunningFile = "serve.json"

// AuditFolder is the name of the folder in the data directory that holds the audit trail.
const AuditFolder = "audit"

// StrangersFolder is the name of the folder in AuditFolder that holds the lines of strangers.
const StrangersFolder = audit.StrangersFolder

// TLSFolder is the name of the folder in the data directory that holds the private CA of --tls=auto.
const TLSFolder = "tls"

// BlobsFolder is the name of the folder in the data directory that holds the blobs.
const BlobsFolder = "blobs"

// SpoolFolder is the name of the folder in the data directory that holds large bodies while they arrive.
const SpoolFolder = "spool"

// The budget of the spool. A body of the API has up to 32 MiB.
const (
	maxSpoolFiles = 256
	maxSpoolBytes = 2 << 30
)

// App is a server that has been built and does not serve yet.
type App struct {
	config    config.Checked
	log       *slog.Logger
	meta      *meta.Store
	registry  *registry.Service
	pull      *pullthrough.Service
	remotes   *integration.Service
	configs   *configrepo.Service
	copies    *replication.Service
	identity  *identity.Service
	trail     *audit.Logs
	pump      *audit.Pump
	record    *trail.Trail
	health    *health
	jobs      *jobs.Runner
	events    *events.Service
	usage     *usage.Service
	now       func() time.Time
	vendors   *vendor.Service
	requests  atomic.Uint64  // that were answered
	traces    *otlp.Exporter // nil without the setting traces.url
	http      *http.Server
	opsHTTP   *http.Server // for the addresses of metrics_listen
	authority *tlsauto.Authority
	hosts     *endpoint.Map
	created   bool
	url       string                  // of the running server, as it describes itself
	running   atomic.Pointer[Running] // nil before it runs
	listeners []net.Listener
	opsListen []net.Listener
	held      atomic.Pointer[string] // why the server is not ready yet
}

// New listens on the addresses, opens the data directory and builds the server. Connections wait until Run. The caller
// must call Run or Close. If an address is not available, New does not create the data directory.
func New(ctx context.Context, c config.Checked, log *slog.Logger, now func() time.Time) (_ *App, err error) {
	a := &App{config: c, log: log, health: newHealth(log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if err := a.listen(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("creating the data directory: %w", err)
	}
	if err := checkDatabaseFile(c); err != nil {
		return nil, err
	}
	if a.meta, err = openMeta(ctx, c, now); err != nil {
		return nil, err
	}
	if err := a.build(ctx, now); err != nil {
		return nil, err
	}
	return a, nil
}

// openMeta opens the database of the configuration.
func openMeta(ctx context.Context, c config.Checked, now func() time.Time) (*meta.Store, error) {
	if c.Database.Reveal() == "" {
		return meta.OpenSQLite(ctx, c.Data, now)
	}
	return meta.OpenPostgreSQL(ctx, meta.PostgreSQL{URL: c.Database, Dir: c.Data, Now: now})
}

func (a *App) build(ctx context.Context, now func() time.Time) error {
	c := a.config
	// A new master key is made only for a new data directory: it could not unseal data that another key has sealed.
	accounts, err := a.meta.Accounts(ctx)
	if err != nil {
		return err
	}
	if err := a.claim(ctx, len(accounts)); err != nil {
		return err
	}
	keys, err := loadKeys(ctx, a.meta, c.Data, os.Getenv(identity.MasterKeyVariable), len(accounts) == 0)
	if err != nil {
		return err
	}
	blobs, err := fsblob.Open(filepath.Join(c.Data, BlobsFolder))
	if err != nil {
		return err
	}
	place, err := fsblob.ID(filepath.Join(c.Data, BlobsFolder))
	if err != nil {
		return err
	}
	id := identity.New(a.meta, keys, now, identity.Options{Organization: c.Organization, Management: c.Management,
		MaxTokens: c.MaxTokensPerPrincipal, MaxSessions: c.MaxSessionsPerPrincipal})
	if a.created, err = id.EnsureDefault(ctx, c.Registry.Account); err != nil {
		return err
	}
	if err := a.recordKey(ctx, keys); err != nil {
		return err
	}
	a.log.Info("master key", "id", keys.ID())
	a.identity = id
	a.hosts = endpoint.NewMap(c.Domains, c.Registry)
	if c.CreateOnPush {
		a.log.Warn("create_on_push is replaced by creation templates, which have settings and belong to a registry: " +
			"aws ecr create-repository-creation-template --prefix ROOT --applied-for CREATE_ON_PUSH")
	}
	roots, err := egressRoots(c.EgressCA)
	if err != nil {
		return err
	}
	// The marker is a value of the installation that all its processes have, and that says nothing else about it.
	marker := hex.EncodeToString(keys.MAC("loop of requests", []byte(place))[:16])
	guarded := egress.Options{Allow: c.Egress, Deny: c.NoEgress, Roots: roots, Hosts: c.Hosts, Marker: marker}
	if len(c.DNS) > 0 {
		guarded.Resolver = egress.NameServers(c.DNS)
	}
	outward := egress.New(guarded)
	if a.events, err = events.New(events.Options{Meta: a.meta, Keys: keys, Egress: outward, Now: now, Log: a.log, Keep: c.EventsKeep,
		KeepFor: c.EventsKeepFor, Pulls: c.Pulls, Denials: c.Denials}); err != nil {
		return err
	}
	a.now = now
	a.usage = usage.New(a.meta, now, usage.PullOptions{KeepFor: c.PullLogKeepFor, Keep: c.PullLogKeep, Log: a.log})
	a.trace(roots)
	holders := &vendor.Holders{Meta: a.meta, Now: now}
	a.registry = registry.New(a.meta, blob.Placed(blobs, a.meta.CheckPlace), registry.Options{
		Now: now, Log: a.log, Quirks: c.Quirks, CreateOnPush: c.CreateOnPush,
		SparseIndexes: c.SparseIndexes, Grace: c.GCGrace, Pulled: a.events.Pulled, Stored: a.countStored,
		MaxUploads: registry.UploadLimits{PerPrincipal: c.MaxUploadsPerPrincipal, PerRepository: c.MaxUploadsPerRepository},
		Entitled:   holders,
		Pace:       &jobs.Pace{Requests: a.requests.Load},
	})
	mac := func(purpose string) func([]byte) []byte {
		return func(data []byte) []byte { return keys.MAC(purpose, data) }
	}
	links := ociapi.NewLayerLinks(mac("layer links"), id, now)
	if a.trail, err = audit.OpenLogs(filepath.Join(c.Data, AuditFolder),
		audit.Options{Keep: int64(c.AuditKeep) << 20, Now: now, Logger: a.log, Report: a.report}); err != nil {
		return err
	}
	a.pump = audit.NewPump(a.trail.Owners, a.meta)
	decisions := guard.New(a.meta, id, now, guard.Options{Organization: c.Organization, AnonymousWrite: c.AnonymousWrite})
	holders.Allowed = decisions.Allowed
	tokens := sts.New(sts.Options{Meta: a.meta, Identity: id, Guard: decisions, OIDC: oidc.New(outward, now)})
	users := iam.New(iam.Options{
		Meta: a.meta, Identity: id, Now: now,
		Pages: pagetoken.New(mac("page tokens of iam")), TaskMAC: mac("deletion tasks of iam"),
	})
	a.remotes = integration.New(integration.Options{Meta: a.meta, Keys: keys, WebIdentities: c.Web, Guard: outward, Own: a.hosts.Own,
		Local:  configrepo.AllowedIn(c.ConfigPaths),
		Client: upstream.New(upstream.Options{Guard: outward, Now: now}),
		Once: upstream.New(upstream.Options{Guard: outward, Now: now, Limits: upstream.Limits{Attempts: 1, Answer: 10 * time.Second,
			Document: 20 * time.Second}})})
	a.pull = pullthrough.New(pullthrough.Options{Meta: a.meta, Registry: a.registry, Guard: decisions, Keys: keys, Now: now, Log: a.log,
		Client: upstream.New(upstream.Options{Guard: outward, Now: now}), Place: place, Remotes: a.remotes, Counted: a.usage.CountCache})
	a.configs = configrepo.New(configrepo.Options{Meta: a.meta, Keys: keys, Remotes: a.remotes, Guard: outward,
		Local: c.ConfigPaths, Now: now})
	record := trail.New(a.trail, a.pump, id, now)
	record.OnDenied(a.countDenied)
	a.record = record
	repositories := ecr.New(ecr.Options{
		Meta: a.meta, Registry: a.registry, Identity: id, Guard: decisions, Hosts: a.hosts, Links: links, PullThrough: a.pull,
		Pages: pagetoken.New(mac("page tokens of ecr")),
	})
	copies := replication.New(replication.Options{Meta: a.meta, Registry: a.registry, Guard: decisions, Remotes: a.remotes, Now: now})
	a.copies = copies
	vendors := vendor.New(vendor.Options{Meta: a.meta, Keys: keys, Hosts: a.hosts, Domains: c.Domains, Now: now,
		Places:     vendor.Places{Endpoint: strings.TrimSuffix(c.LicenseEndpoint, "/"), Proxy: c.ProxyDomain, Registry: c.RegistryDomain},
		HostRights: c.HostRights, Warning: c.LicenseWarning, Inactive: c.InactiveAfter})
	a.vendors = vendors
	own := ecrin.New(ecrin.Options{
		Copies: copies, Remotes: a.remotes, Configs: a.configs, Vendor: vendors, AccessFor: c.MaxAccessGrant,
		Meta: a.meta, Identity: id, Guard: decisions, ECR: repositories, Registry: a.registry, Keys: keys, Events: a.events,
		Trail: record, Hosts: a.hosts, Pages: pagetoken.New(mac("page tokens of ecrin")), Reserved: awsapi.Reserved, Now: now,
		Doctor: &diagnosis{options: a.doctorOptions, now: now},
	})
	reports := report.New(report.Options{Meta: a.meta, Registry: a.registry, ECR: repositories, Guard: decisions,
		Remotes: a.remotes, Identity: id,
		Hosts: a.hosts, Egress: outward, Pages: pagetoken.New(mac("page tokens of reports")), Now: now})
	bodies, err := spool.Open(filepath.Join(c.Data, SpoolFolder), spool.Options{MaxFiles: maxSpoolFiles, MaxBytes: maxSpoolBytes})
	if err != nil {
		return err
	}
	a.spill(filepath.Join(c.Data, SpoolFolder))
	metrics := web.NewMetrics()
	metrics.Count("ecrin_damaged_blobs_total", "Stored blobs that were found damaged and moved to DATA/blobs/quarantine.",
		a.registry.DamagedBlobs)
	a.addWork(now, copies, keys.ID())
	a.countWork(metrics)
	a.countPulls(metrics)
	a.countCopies(metrics)
	a.countSpans(metrics)
	metrics.Count("ecrin_pull_log_dropped_total", "Lines of the pull log that were not written because too many waited.", a.usage.DroppedPulls)
	metrics.Count("ecrin_audit_lines_lost_total", "Lines of the audit trail that were lost because they could not be written.", a.trail.Lost)
	metrics.Count("ecrin_collected_bytes_total", "Bytes of blobs that nothing referred to and that were deleted.", a.registry.CollectedBytes)
	pushes, rates := web.ManifestPlaces(), web.NewRates("the licence", c.CustomerRequests, now)
	doors := &doors{
		oci: ociapi.New(ociapi.Options{
			Registry: a.registry, PullThrough: a.pull, Identity: id, Guard: decisions, Trail: record, Hosts: a.hosts, Links: links, Spool: bodies,
			Pushes: pushes, Charts: vendors, Anonymous: c.Anonymous, Asking: c.MaxAccessGrant > 0, Encode: tokens.Encode,
			Integrations: a.remotes, Vendor: vendors, Rates: rates,
		}),
		aws: awsapi.New(awsapi.Options{
			ECR: repositories, Ecrin: own, IAM: users, STS: tokens, Reports: reports, Identity: id, Guard: decisions, Trail: record,
			Hosts: a.hosts, Spool: bodies, Pushes: pushes, IgnoreUnknown: c.Quirks.IgnoreUnknownMembers,
		}),
		ops: ops{
			metrics: metrics, ready: a.ready, reader: metricsReader{token: c.MetricsToken, own: len(c.MetricsListen) > 0},
		},
		marker:  marker,
		refresh: a.meta.Refresh,
		prove:   a.prove,
	}
	doors.reports = reportapi.New(reportapi.Options{Operations: doors.aws, Keys: id, Trail: record, Hosts: a.hosts})
	if c.RancherAPI {
		doors.rancher = rancherapi.New(rancherapi.Options{Operations: doors.aws, Keys: id, Trail: record, Hosts: a.hosts})
	}
	doors.vendors = vendorapi.New(vendorapi.Options{Operations: doors.aws, Keys: id, Names: vendors, Hosts: a.hosts, Spool: bodies})
	doors.updates = updateapi.New(updateapi.Options{Vendor: vendors, Identity: id, Trail: record, Hosts: a.hosts, Now: now, Rates: rates})
	doors.console = console.New(console.Options{Operations: doors.aws, Identity: id, Customers: vendors, Rights: repositories, Trail: record,
		Hosts: a.hosts, Version: version(), Grace: c.GCGrace, Now: now, Rates: rates, SSO: signOn(c.SignOn, outward, now)})
	alone := doors.ops
	alone.reader = metricsReader{all: true}
	a.http = a.server(doors, a.connectionLimits(), metrics, now, a.listeners)
	// What floods the addresses of the registry leaves those of the metrics alone.
	a.opsHTTP = a.server(alone, web.ConnectionLimits{Max: 256, MaxPerAddress: 256, MaxIdle: 256}, metrics, now, a.opsListen)
	return a.secure(now)
}

// signOn returns the single sign-on of the console; the zero value without one.
func signOn(c config.SignOn, outward *egress.Guard, now func() time.Time) console.SingleSignOn {
	if c.Issuer == "" {
		return console.SingleSignOn{}
	}
	o := oidc.SignOnOptions{Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: c.ClientSecret}
	return console.SingleSignOn{Provider: oidc.NewSignOn(outward, o, now), Issuer: c.Issuer, Role: c.Role, Title: c.Title}
}

// server returns an HTTP server for a handler, whose limits of connections hold for the listeners together.
func (a *App) server(h web.Handler, l web.ConnectionLimits, m *web.Metrics, now func() time.Time, listeners []net.Listener) *http.Server {
	connections := web.NewConnections(l, m, a.log)
	for i := range listeners {
		listeners[i] = connections.Listener(listeners[i])
	}
	return &http.Server{
		Handler: web.NewServer(h, web.Options{Log: a.log, Metrics: m, Proxies: a.config.Proxies, Now: now, Ended: a.countRequest,
			Traced: a.traced()}),
		ReadHeaderTimeout: 20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ConnState:         connections.State,
		ConnContext:       connections.Context,
	}
}

// Trim drops cached values that can be read again, so that their memory is free.
func (a *App) Trim() { a.meta.Trim() }

// Close releases what New opened. It is for an App on which Run is not called.
func (a *App) Close() error {
	var errs []error
	if a.pull != nil {
		a.pull.Close()
	}
	if a.remotes != nil {
		a.remotes.Close()
	}
	for _, l := range append(a.listeners, a.opsListen...) {
		errs = append(errs, l.Close())
	}
	if a.trail != nil {
		errs = append(errs, a.trail.Close())
	}
	if a.meta != nil {
		errs = append(errs, a.meta.Close())
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends, then waits up to StopTimeout for the requests in flight, and closes the stores. It calls
// ready once, when connections are accepted.
//
// Errors: a listener that fails; requests in flight after StopTimeout; background work or stores that fail.
func (a *App) Run(ctx context.Context, ready func(Running)) error {
	running := a.describe()
	a.url = running.URL
	a.running.Store(&running)
	file := filepath.Join(a.config.Data, RunningFile)
	err := writeRunning(file, running)
	full := durable.IsFull(err)
	if err != nil && !full {
		return errors.Join(err, a.Close())
	}

	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var work sync.WaitGroup
	if full {
		a.log.Error("the disk is full: pulls are served, writes are refused until there is space, and commands do not find this server",
			"error", err)
		work.Go(func() { a.describeLater(background, file, running) })
	}
	work.Go(func() { a.jobs.Run(background) })

	if a.traces != nil {
		go a.traces.Run() // Stop waits for its end
	}

	g, failed := errgroup.WithContext(ctx)
	for _, l := range a.listeners {
		g.Go(func() error {
			serve := a.http.Serve
			if a.http.TLSConfig != nil {
				serve = func(l net.Listener) error { return a.http.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	for _, l := range a.opsListen {
		g.Go(func() error {
			if err := a.opsHTTP.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	ready(running)
	<-failed.Done()
	// The order matters: requests use the background work, and both use the stores.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.StopTimeout)
	defer cancel()
	stopErr := a.http.Shutdown(stopping)
	if stopErr != nil {
		stopErr = errors.Join(fmt.Errorf("requests were still in flight after %s: %w", a.config.StopTimeout, stopErr), a.http.Close())
	}
	stopErr = errors.Join(stopErr, a.opsHTTP.Close())
	serveErr := g.Wait()
	stopBackground()
	work.Wait()
	if a.traces != nil {
		a.traces.Stop(stopping)
	}
	a.pull.Close()
	a.remotes.Close()
	err = a.meta.CheckPlace()
	// While the file is there, the next start compares all blobs with the records. A request that was ended may have stored bytes and not
	// recorded them.
	unclean := stopErr != nil || a.registry.Unrecorded()
	if err == nil && !unclean { // with an error the file may be that of another server
		if err = os.Remove(file); errors.Is(err, fs.ErrNotExist) {
			err = nil // the disk has been full all the time
		}
	}
	return errors.Join(serveErr, stopErr, err, a.trail.Close(), a.meta.Close())
}

// writeRunning writes the file that describes the running server.
func writeRunning(file string, r Running) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = durable.WriteFile(file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing where the server is: %w", err)
	}
	return nil
}

// describeLater repeats writeRunning until the disk has space again.
func (a *App) describeLater(ctx context.Context, file string, r Running) {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if err := writeRunning(file, r); err == nil {
			a.log.Info("the disk has space again: commands find this server")
			return
		} else if !durable.IsFull(err) {
			a.log.Error("commands do not find this server", "error", err)
			return
		}
	}
}

func (a *App) listen() error {
	for _, address := range a.config.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listening on %s (choose another with --listen): %w", address, err)
		}
		a.listeners = append(a.listeners, l)
	}
	for _, address := range a.config.MetricsListen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("listening on %s (choose another with --metrics-listen): %w", address, err)
		}
		a.opsListen = append(a.opsListen, l)
	}
	return nil
}

// BootID returns the id of the machine's start, "" where the system has none. It is the same in all containers of a machine.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// describe describes the server before it runs: package http sets TLSConfig later.
func (a *App) describe() Running {
	address := a.listeners[0].Addr().String()
	scheme := "http"
	if a.http.TLSConfig != nil {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "localhost"
	}
	r := Running{
		URL: scheme + "://" + net.JoinHostPort(host, port), Address: address, PID: os.Getpid(), Boot: BootID(),
		Account: a.config.Registry.Account.String(), Region: a.config.Registry.Region.String(), Domains: a.config.Domains, Created: a.created,
	}
	for _, l := range a.opsListen {
		r.Metrics = append(r.Metrics, l.Addr().String())
	}
	if a.authority != nil {
		r.CA, r.IAMSTS = a.authority.CAPath(), a.config.TLS.IAMSTS
	}
	for _, region := range a.config.TLSRegions {
		r.Regions = append(r.Regions, region.String())
	}
	return r
}

// egressRoots returns the CAs that are trusted when the server dials out: those of the system and of the PEM file; nil,
// which means those of the system, if file is "".
func egressRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the private CAs of egress_ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file %s of egress_ca contains no PEM certificate", file)
	}
	return pool, nil
}
