package vendor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// actions returns the events of the registry as ACTION NAME.
func actions(t *testing.T, m *meta.Store) (all []string) {
	t.Helper()
	events, err := m.Events(t.Context(), metatest.Registry, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		var body struct {
			Detail map[string]any
		}
		if err := json.Unmarshal([]byte(e.Body), &body); err != nil {
			t.Fatal(err)
		}
		if action, _ := body.Detail["action-type"].(string); strings.HasPrefix(action, "LICENSE_") || strings.HasPrefix(action, "INSTANCE_") {
			all = append(all, fmt.Sprint(action, " ", body.Detail["customer-name"]))
		}
	}
	return all
}

// A licence is told once to end soon, and once to have ended, whoever looks and however often. A later end is told again.
func TestEventsOfLicences(t *testing.T) {
	t.Parallel()
	s, fx, _, clock := open(t)
	ctx := t.Context()
	a, err := s.CreateApplication(ctx, metatest.Account, "Shop", "", "x")
	fx.Must(err)
	make := func(label string, end time.Time) meta.Customer {
		t.Helper()
		c, err := s.NewCustomer(ctx, a, meta.Customer{Name: label, ExpiresAt: end}, vendor.Details{})
		fx.Must(err)
		return c
	}
	soon := make("soon", clock.Add(47*time.Hour))
	make("late", clock.Add(49*time.Hour))
	make("never", time.Time{})
	make("short", clock.Add(30*time.Minute))
	archived := make("archived", clock.Add(time.Hour))
	archived.ArchivedAt = *clock
	_, err = fx.PutCustomer(ctx, archived)
	fx.Must(err)
	want := func(what string, all ...string) {
		t.Helper()
		var processes sync.WaitGroup
		for range 4 {
			processes.Go(func() {
				for range 3 {
					if err := s.Tell(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		processes.Wait()
		if got := strings.Join(actions(t, fx.Store), "\n"); got != strings.Join(all, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, strings.Join(all, "\n"))
		}
	}
	told := []string{"LICENSE_EXPIRING short", "LICENSE_EXPIRING soon"}
	want("at first", told...)
	*clock = clock.Add(time.Hour)
	told = append(told, "LICENSE_EXPIRED short", "LICENSE_EXPIRING late")
	want("an hour later", told...)
	now, err := fx.Customer(ctx, a, soon.ID)
	fx.Must(err)
	now.Name = "soon, renamed"
	now, err = fx.PutCustomer(ctx, now)
	fx.Must(err)
	want("after a change that leaves the end", told...)
	now.ExpiresAt = now.ExpiresAt.Add(time.Minute)
	_, err = fx.PutCustomer(ctx, now)
	fx.Must(err)
	told = append(told, "LICENSE_EXPIRING soon, renamed")
	want("after a change of the end", told...)
	*clock = clock.Add(1000 * time.Hour)
	told = append(told, "LICENSE_EXPIRED soon, renamed", "LICENSE_EXPIRED late")
	want("when all have ended", told...)
}

// An installation is told to be new, ready, behind and inactive, each once until it was otherwise in between.
func TestEventsOfInstallations(t *testing.T) {
	t.Parallel()
	s, fx, id, clock := open(t)
	ctx := t.Context()
	a, err := s.CreateApplication(ctx, metatest.Account, "Shop", "", "x")
	fx.Must(err)
	channels, err := fx.Channels(ctx, a.ID)
	fx.Must(err)
	c, err := s.NewCustomer(ctx, a, meta.Customer{Name: "Big", Channels: []meta.CustomerChannel{{Channel: channels[2].ID, Default: true}}},
		vendor.Details{})
	fx.Must(err)
	license, err := s.LicenseID(c)
	fx.Must(err)
	by, err := id.CustomerCaller(ctx, license.Reveal())
	fx.Must(err)
	var told []string
	want := func(what string, all ...string) {
		t.Helper()
		for range 2 {
			fx.Must(s.Tell(ctx))
		}
		told = append(told, all...)
		if got := strings.Join(actions(t, fx.Store), "\n"); got != strings.Join(told, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, strings.Join(told, "\n"))
		}
	}
	see := func(sequence int64, status string) {
		t.Helper()
		*clock = clock.Add(time.Minute)
		fx.Must(s.Seen(ctx, by, "shop", vendor.Sighting{Instance: "east", Sequence: sequence, Status: status}))
	}
	promote := func(label string) {
		t.Helper()
		r, err := fx.PutRelease(ctx, meta.Release{Application: a.ID, Files: []byte("x"), Spec: "json"})
		fx.Must(err)
		_, err = fx.Promote(ctx, meta.Promotion{Application: a.ID, Release: r.Sequence, Label: label}, channels[2:], nil)
		fx.Must(err)
	}
	promote("1.0.0")
	see(1, "updating")
	want("when it is seen", "INSTANCE_CREATED Big")
	see(1, "ready")
	see(1, "ready")
	see(1, "degraded")
	see(1, "ready") // within the hour
	want("when it is ready", "INSTANCE_READY Big")
	promote("1.1.0")
	promote("1.2.0")
	want("when there are new versions", "INSTANCE_BEHIND Big")
	see(2, "ready")
	want("with one of them")
	see(3, "ready")
	want("with the newest")
	promote("1.3.0")
	want("when there is another one", "INSTANCE_BEHIND Big")
	*clock = clock.Add(25 * time.Hour)
	want("when it is not seen for a day", "INSTANCE_INACTIVE Big")
	see(4, "updating")
	see(4, "ready")
	want("when it is back", "INSTANCE_READY Big")
	*clock = clock.Add(25 * time.Hour)
	want("when it is gone again", "INSTANCE_INACTIVE Big")
	for i := range 3 * meta.MaxInstances {
		*clock = clock.Add(time.Second)
		fx.Must(s.Seen(ctx, by, "shop", vendor.Sighting{Instance: fmt.Sprint("made-up-", i), Sequence: 4, Status: "ready"}))
	}
	if got := len(actions(t, fx.Store)) - len(told); got > 2*meta.MaxInstances {
		t.Errorf("a customer that makes up installations without end: got %d events, want at most two for each of %d", got, meta.MaxInstances)
	}
}

// tellDir is the variable by which the test starts itself as the process that is killed.
const tellDir = "ECRIN_VENDOR_TELL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(tellDir); dir != "" {
		if err := tellAndSay(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func service(dir string) (*vendor.Service, *meta.Store, error) {
	ring, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		return nil, nil, err
	}
	m, err := meta.OpenSQLite(context.Background(), dir, time.Now)
	if err != nil {
		return nil, nil, err
	}
	return vendor.New(vendor.Options{Meta: m, Keys: ring, Now: time.Now, Hosts: endpoint.NewMap(nil, metatest.Registry)}), m, nil
}

// tellAndSay tells about licences, and says so when it has told about some.
func tellAndSay(dir string) error {
	s, m, err := service(dir)
	if err != nil {
		return err
	}
	go func() {
		for {
			if n, err := m.NewestEvent(context.Background(), metatest.Registry); err != nil || n > 0 {
				fmt.Println("told")
				return
			}
		}
	}()
	if err := s.Tell(context.Background()); err != nil {
		return err
	}
	select {}
}

// A process that is killed while it tells leaves each licence told once, or not at all: then the next process tells it.
func TestKilledWhileTelling(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	metatest.Prepare(t, dir)
	_, m, err := service(dir)
	if err != nil {
		t.Fatal(err)
	}
	fx := metatest.NewFixture(t, m)
	a, _ := fx.Application("shop")
	const customers = 400
	for i := range customers {
		_, err := m.PutCustomer(t.Context(), meta.Customer{ID: fmt.Sprint("c", i), Application: a.ID, Account: a.Account,
			Name: fmt.Sprint("n", i), Sealed: []byte("x"), LicenseHash: fmt.Sprint("h", i), Details: "{}", ExpiresAt: time.Now().Add(-time.Hour)})
		fx.Must(err)
	}
	fx.Must(m.Close())
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tellDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if line != "told\n" || err != nil {
		t.Fatalf("the process that is killed: got %q, error %v", line, err)
	}
	s, m, err := service(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before := len(actions(t, m))
	for range 2 {
		fx.Must(s.Tell(t.Context()))
	}
	seen := map[string]int{}
	for _, one := range actions(t, m) {
		seen[one]++
	}
	if len(seen) != customers || len(actions(t, m)) != customers {
		t.Errorf("got %d events of %d licences, %d before the second process, want one of each of %d", len(actions(t, m)), len(seen), before,
			customers)
	}
}
