package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

const (
	// minDiagnosisAge is the age up to which checks are given again in any case: they connect to the server and look up names, and a
	// caller cannot make the server do that without end.
	minDiagnosisAge = 2 * time.Second
	maxDiagnosis    = 20 * time.Second
	diagnosisWait   = 3 * time.Second // for one connection
)

// diagnosis checks the machine of the server for the API. One run at once serves all that ask for it.
type diagnosis struct {
	options func() (o doctor.Options, ok bool) // ok is false before the server runs
	now     func() time.Time

	mu      sync.Mutex
	checks  []ecrintypes.ServerCheck
	at      time.Time
	running chan struct{} // closed at the end of the run; nil without one
}

// Diagnose implements ecrin.Doctor.
func (d *diagnosis) Diagnose(ctx context.Context, maxAge time.Duration) ([]ecrintypes.ServerCheck, time.Time, error) {
	begun := d.now()
	for {
		d.mu.Lock()
		if !d.at.IsZero() && (d.now().Sub(d.at) <= max(maxAge, minDiagnosisAge) || d.at.After(begun)) {
			defer d.mu.Unlock()
			return slices.Clone(d.checks), d.at, nil
		}
		running := d.running
		if running == nil {
			d.running = make(chan struct{})
			d.mu.Unlock()
			d.run(context.WithoutCancel(ctx)) // the result is for others too, whose requests may outlive this one
			continue
		}
		d.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, time.Time{}, context.Cause(ctx)
		}
	}
}

// run makes the checks once.
func (d *diagnosis) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxDiagnosis)
	defer cancel()
	var all []ecrintypes.ServerCheck
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		close(d.running)
		d.checks, d.at, d.running = all, d.now(), nil
	}()
	o, ok := d.options()
	if !ok {
		all = append(all, ecrintypes.ServerCheck{Name: "server", Status: ecrintypes.DiagnosisStatusFAIL, Detail: "has not started yet",
			Fix: "Wait until it is ready, and look again."})
		return
	}
	for _, c := range doctor.Run(ctx, o) {
		if strings.HasPrefix(c.Name, "AWS ") {
			continue // these are settings of people, and the server is none
		}
		all = append(all, ecrintypes.ServerCheck{Name: c.Name, Status: ecrintypes.DiagnosisStatus(strings.ToUpper(string(c.Status))),
			Detail: c.Detail, Fix: c.Fix})
	}
}

// errNoProgram is why a check that needs another program is not made: the server starts none.
var errNoProgram = errors.New("the server starts no other program; ecrin doctor on this machine does")

// doctorOptions returns how the machine of the server is checked.
func (a *App) doctorOptions() (doctor.Options, bool) {
	running := a.running.Load()
	if running == nil {
		return doctor.Options{}, false
	}
	return doctor.Options{URL: running.URL, Account: a.config.Registry.Account, Region: a.config.Registry.Region, Domains: running.Domains,
		IAMSTS: running.IAMSTS, CAPath: running.CA, DataDir: a.config.Data, Free: durable.FreeBytes, Timeout: diagnosisWait,
		Command:  func(context.Context, string, ...string) (string, error) { return "", errNoProgram },
		Helper:   func(context.Context, string, string) (string, error) { return "", errNoProgram },
		Getenv:   func(string) string { return "" },
		PathDirs: []string{}}, true
}
