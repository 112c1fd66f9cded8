package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Task is work that a process repeats for its own memory and files. Nothing of it is stored.
type Task struct {
	Name  string        // as that of a Kind
	What  string        // for people
	Every time.Duration // between two runs
	Retry time.Duration // between two runs after a failure, Every if 0 or longer than that
	First bool          // it runs at the start, otherwise after Every
	Last  bool          // it runs once more when the server stops, for at most 5 s
	Run   func(ctx context.Context) error
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
		select {
		case <-next.C:
			err := t.once(ctx)
			if ctx.Err() == nil {
				report(t.Name, err)
			}
			if next.Reset(t.Every); err != nil {
				next.Reset(t.Retry)
			}
			continue
		case <-ctx.Done():
		}
		if t.Last {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
			defer cancel()
			report(t.Name, t.once(last))
		}
		return
	}
}

// once runs the task. A panic in it becomes an error.
func (t *task) once(ctx context.Context) (err error) {
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
	return t.Run(ctx)
}

func (t *task) state() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}
