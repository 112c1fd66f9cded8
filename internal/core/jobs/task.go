package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Task is work that a process repeats for its own memory and files. Nothing of it is stored.
type Task struct {
	Name  string          // as that of a Kind
	What  string          // for people
	Every time.Duration   // between two runs
	Retry time.Duration   // between two runs after a failure, Every if 0 or longer than that
	First bool            // it runs at the start, otherwise after Every
	Wake  <-chan struct{} // a value lets it run earlier; nil for none
	Run   func(ctx context.Context) error
	// Stop, if not nil, runs when the server stops, after the last Run and for at most 15 s.
	Stop func(ctx context.Context) error
}

type task struct {
	Task
	mu    sync.Mutex
	stats Stats
}

// AddTask adds a task.
func (r *Runner) AddTask(t Task) {
	if t.Retry == 0 || t.Retry > t.Every {
		t.Retry = t.Every
	}
	r.tasks = append(r.tasks, &task{Task: t, stats: Stats{Name: t.Name}})
}

func (t *task) run(ctx context.Context, report func(string, error)) {
	first := t.Every
	if t.First {
		first = 0
	}
	next := time.NewTimer(first)
	defer next.Stop()
	for {
		due := false
		select {
		case <-next.C:
			due = true
		case <-t.Wake:
			due = true
		case <-ctx.Done():
		}
		if due {
			err := t.once(ctx, t.Run)
			if ctx.Err() == nil {
				report(t.Name, err)
			}
			if next.Reset(t.Every); err != nil {
				next.Reset(t.Retry)
			}
			continue
		}
		if t.Stop != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
			defer cancel()
			report(t.Name, t.once(last, t.Stop))
		}
		return
	}
}

// once runs the task with a function of it. A panic in it becomes an error.
func (t *task) once(ctx context.Context, run func(context.Context) error) (err error) {
	began := time.Now()
	t.mu.Lock()
	t.stats.Running = 1
	t.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.stats.Running = 0
		if t.stats.Time += time.Since(began); err != nil {
			t.stats.Failed++
		} else {
			t.stats.Succeeded++
		}
	}()
	return run(ctx)
}

func (t *task) state() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}
