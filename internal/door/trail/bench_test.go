package trail_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/door/trail"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// installation is the OCI distribution API over a data directory, with a repository, an image "1.0" and a password.
type installation struct {
	handler  func(ociapi.Trail) web.Handler
	trail    *trail.Trail
	password string
}

func newInstallation(b *testing.B) *installation {
	b.Helper()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	ctx, dir := b.Context(), b.TempDir()
	store, err := meta.OpenSQLite(ctx, dir, time.Now)
	check(err)
	b.Cleanup(func() { check(store.Close()) })
	keys, err := identity.LoadKeyring(dir, "", true)
	check(err)
	id := identity.New(store, keys, time.Now, identity.Options{})
	reg := name.Registry{Account: name.MustAccount(home), Region: name.MustRegion(region)}
	_, err = id.EnsureDefault(ctx, reg.Account)
	check(err)
	blobs, err := fsblob.Open(filepath.Join(dir, "blobs"))
	check(err)
	quiet := slog.New(slog.DiscardHandler)
	service := registry.New(store, blobs, registry.Options{Now: time.Now, Log: quiet, CreateOnPush: true})
	log, err := audit.OpenLogs(filepath.Join(dir, "audit"), audit.Options{Logger: quiet})
	check(err)
	b.Cleanup(func() { check(log.Close()) })
	d := &installation{trail: trail.New(log, audit.NewPump(log.Owners, store), id, time.Now)}
	decisions := guard.New(store, id, time.Now, guard.Options{})
	d.handler = func(t ociapi.Trail) web.Handler {
		return ociapi.New(ociapi.Options{
			Registry: service, Identity: id, Guard: decisions, Trail: t, Hosts: endpoint.NewMap(nil, reg),
			Links:  ociapi.NewLayerLinks(func(b []byte) []byte { return b }, id, time.Now),
			Encode: func(policy.Request, policy.Why) string { return "" },
		})
	}
	list, err := store.AccessKeys(ctx, reg.Account)
	check(err)
	caller, err := id.KeyCaller(ctx, list[0].ID)
	check(err)
	password, _, err := id.IssueToken(ctx, caller, reg.Region)
	check(err)
	d.password = password.Reveal()
	server := httptest.NewServer(d.server(noTrail{}))
	defer server.Close()
	client := ocitest.Client{Base: server.URL, HTTP: server.Client(), Password: d.password}
	client.Repo("team/app").Push(b, "1.0", ocitest.NewImage(1, 100))
	return d
}

// noTrail writes no lines.
type noTrail struct{}

func (noTrail) Begin(ctx context.Context, _ *guard.Event) context.Context { return ctx }
func (noTrail) End(context.Context, *guard.Event)                         {}

func (d *installation) server(t ociapi.Trail) http.Handler {
	return web.NewServer(d.handler(t), web.Options{Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		Metrics: web.NewMetrics(), Now: time.Now})
}

// BenchmarkManifestGET measures a manifest GET without and with the trail, in process and over a loopback connection.
func BenchmarkManifestGET(b *testing.B) {
	d := newInstallation(b)
	for _, with := range []struct {
		name  string
		trail ociapi.Trail
	}{{"without", noTrail{}}, {"trail", d.trail}} {
		b.Run(with.name, func(b *testing.B) {
			b.ReportAllocs()
			s := d.server(with.trail)
			for b.Loop() {
				r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost/v2/team/app/manifests/1.0", nil)
				r.SetBasicAuth("AWS", d.password)
				r.Header["Accept"] = []string{"application/json, " + ocitest.ImageType, ocitest.IndexType}
				w := httptest.NewRecorder()
				if s.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("got %d %s", w.Code, w.Body)
				}
			}
		})
		b.Run(with.name+", loopback", func(b *testing.B) {
			server := httptest.NewServer(d.server(with.trail))
			defer server.Close()
			b.RunParallel(func(pb *testing.PB) {
				client := ocitest.Client{Base: server.URL, HTTP: ocitest.NewHTTP(b), Password: d.password}
				for pb.Next() {
					if a := client.Do(b, http.MethodGet, "/v2/team/app/manifests/1.0", nil, "Accept", ocitest.ImageType); a.Status != http.StatusOK {
						b.Errorf("got %d %s", a.Status, a.Body)
					}
				}
			})
		})
	}
}
