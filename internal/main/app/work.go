package app

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/replication"
	"github.com/ecrin-dev/ecrin/internal/door/trail"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// checkpointWork moves the log of the database into its file, every checkpointEvery. The database does so by itself when the log is
// long, but does not report a failure.
const (
	checkpointWork  = "checkpoint"
	checkpointEvery = 5 * time.Second
)

// addWork makes the runner with all background work of the server.
func (a *App) addWork(now func() time.Time, copies *replication.Service, keyID string) {
	_, err := os.Lstat(filepath.Join(a.config.Data, RunningFile))
	killed := err == nil // a clean stop removes the file
	r := jobs.New(jobs.Options{Meta: a.meta, Now: now, Log: a.log, Report: a.report, Attempted: a.attempted()})
	a.registry.AddWork(r, a.config.GCInterval, killed)
	a.identity.AddWork(r)
	copies.AddWork(r)
	a.configs.AddWork(r)
	a.events.AddWork(r)
	a.usage.AddWork(r)
	a.vendors.AddWork(r)
	r.AddTask(jobs.Task{Name: audit.LinesWork, What: "moving audit lines from the database to the files", Every: audit.PumpEvery, First: true,
		Run: a.pump.Flush, Stop: a.pump.Flush})
	summarize := func(all bool) func(context.Context) error {
		return func(context.Context) error { a.record.Summarize(all); return nil }
	}
	r.AddTask(jobs.Task{Name: trail.SummaryWork, What: "writing the lines of counted requests", Every: trail.SummarizeEvery,
		Run: summarize(false), Stop: summarize(true)})
	r.AddTask(jobs.Task{Name: checkpointWork, What: "moving the log of the database into its file", Every: checkpointEvery,
		Run: a.meta.Checkpoint})
	if a.config.Database.Reveal() != "" { // with SQLite no other process can replace it
		r.AddTask(jobs.Task{Name: masterKeyWork, What: "comparing the master key with that of the database", Every: masterKeyEvery,
			Run: a.checkKey(keyID)})
	}
	a.jobs = r
	maps.Copy(a.health.works, r.Works())
}

// countPulls adds the metrics of pulls through rules.
func (a *App) countPulls(m *web.Metrics) {
	c := a.pull.Counts()
	m.Count("ecrin_pullthrough_hits_total", "Manifests of repositories with a pull through cache rule that were stored already.", c.Hits.Load)
	m.Count("ecrin_pullthrough_misses_total", "Manifests and layers that were fetched from other registries.", c.Misses.Load)
	m.Count("ecrin_pullthrough_stale_total", "Tags and referrers that were served although the other registry failed.", c.Stale.Load)
	m.Count("ecrin_pullthrough_fetched_bytes_total", "Bytes of manifests and layers that other registries sent.", c.Fetched.Load)
	m.Count("ecrin_pullthrough_saved_bytes_total", "Bytes of stored manifests and layers that were asked for and not fetched again.",
		c.Saved.Load)
	m.Count("ecrin_pullthrough_sent_bytes_total", "Bytes of layers that were sent while they arrived.", c.Sent.Load)
}

// countCopies adds the metrics of replications.
func (a *App) countCopies(m *web.Metrics) {
	m.Count("ecrin_replication_sent_bytes_total", "Bytes of layers that were sent to destinations outside of the installation.", a.copies.Sent)
	for _, kind := range []string{integration.ECR, integration.Ecrin, integration.OCI} {
		m.MeasureOf("ecrin_replication_lag_seconds",
			"How long the oldest image has waited for its replication, by the kind of destination; local is this installation.",
			"kind", strings.ToLower(kind), func() float64 { return a.copies.Lag(kind).Seconds() })
	}
	m.MeasureOf("ecrin_replication_lag_seconds",
		"How long the oldest image has waited for its replication, by the kind of destination; local is this installation.",
		"kind", "local", func() float64 { return a.jobs.Stats(meta.ReplicationKind).Age.Seconds() })
}

// countWork adds the metrics of background work.
func (a *App) countWork(m *web.Metrics) {
	for _, work := range slices.Sorted(maps.Keys(a.health.works)) {
		m.CountOf("ecrin_background_failures_total", "Failed attempts of background work, by kind of work.", "work", work,
			func() uint64 { return a.health.count(work) })
	}
	m.Measure("ecrin_webhook_lag_seconds", "How long the event waits that has waited longest for a webhook.",
		func() float64 { return a.events.Lag().Seconds() })
	for _, kind := range a.jobs.Kinds() {
		m.CountOf("ecrin_jobs_succeeded_total", "Attempts of jobs that succeeded, by kind.", "kind", kind,
			func() uint64 { return a.jobs.Stats(kind).Succeeded })
		m.CountOf("ecrin_jobs_failed_total", "Attempts of jobs that failed, by kind.", "kind", kind,
			func() uint64 { return a.jobs.Stats(kind).Failed })
		m.MeasureOf("ecrin_jobs_running", "Jobs that this process executes, by kind.", "kind", kind,
			func() float64 { return float64(a.jobs.Stats(kind).Running) })
		m.SumOf("ecrin_jobs_seconds_total", "Time of the attempts of jobs, by kind.", "kind", kind,
			func() float64 { return a.jobs.Stats(kind).Time.Seconds() })
		m.MeasureOf("ecrin_jobs_live", "Jobs that are queued or run, of all processes, by kind; at most 10,000 are counted.", "kind", kind,
			func() float64 { return float64(a.jobs.Stats(kind).Live) })
		m.MeasureOf("ecrin_jobs_age_seconds", "How long the job that has waited longest has been due, by kind.", "kind", kind,
			func() float64 { return a.jobs.Stats(kind).Age.Seconds() })
	}
}
