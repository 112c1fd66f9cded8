package jobs_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// BenchmarkJobs measures enqueuing and executing small jobs, each enqueued in a transaction of its own.
func BenchmarkJobs(b *testing.B) {
	s, err := meta.OpenSQLite(b.Context(), b.TempDir(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	for i := range b.N {
		if err := s.Enqueue(b.Context(), meta.NewJob{Kind: "a", Key: fmt.Sprint(i), Input: `{"n":1}`}); err != nil {
			b.Fatal(err)
		}
	}
	enqueued := time.Now()
	var n atomic.Int64
	r := jobs.New(jobs.Options{Meta: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	r.Add(jobs.Kind{Name: "a", Parallel: 8, Work: func(context.Context, *jobs.Job) error { n.Add(1); return nil }})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	for n.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/enqueued.Sub(began).Seconds(), "enqueued/s")
	b.ReportMetric(float64(b.N)/time.Since(enqueued).Seconds(), "executed/s")
	stop()
	<-ended
}
