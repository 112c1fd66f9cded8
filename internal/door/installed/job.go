package installed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/look"
)

// maxLines is how many lines of what a job says are kept.
const maxLines = 200

// quick is how long the answer to a form waits for its job, so that most forms lead to a page with the result.
const quick = time.Second

// job is something that takes a while: one runs at a time.
type job struct {
	title    string
	sequence int64  // of the version that it is about; -1 for none
	to       string // the page that shows its result, below the key
	begun    time.Time
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when it has ended

	// Under the lock of the server.
	lines []string
	ended time.Time
	said  string // the result
	bad   bool   // the result is worse than was hoped for
	err   error
}

// errStopped is the cause of the end of a job that a person has stopped.
var errStopped = errors.New("it was stopped; a deployment that had begun is not complete, and can be resumed")

// task does the work of a job with the installation, whose folder is locked, and says the result.
type task func(context.Context, *install.Installation) (said string, bad bool, err error)

// start begins a job: it takes the lock of the folder, checks that what the person saw is still so, and works in the background.
//
// Errors: errRunning, errLocked; those of check and install.Open.
func (s *Server) start(j *job, check func(*install.Installation) error, do task) error {
	s.mu.Lock()
	if s.job != nil && s.job.ended.IsZero() {
		s.mu.Unlock()
		return errRunning
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	j.begun, j.cancel, j.done = s.Now(), cancel, make(chan struct{})
	before := s.job
	s.job = j // takes the place of the one job
	s.mu.Unlock()
	o := s.Install
	told := o.Say
	o.Say = func(format string, args ...any) {
		s.line(j, fmt.Sprintf(format, args...))
		if told != nil {
			told(format, args...)
		}
	}
	i, err := install.Open(s.Dir, o)
	if errors.Is(err, install.ErrBusy) {
		err = errLocked
	}
	if err == nil {
		if err = check(i); err != nil {
			i.Close()
		}
	}
	if err != nil {
		s.mu.Lock()
		s.job = before
		s.mu.Unlock()
		cancel(err)
		return err
	}
	s.work.Go(func() {
		said, bad, err := do(ctx, i)
		i.Close()
		if err != nil && errors.Is(context.Cause(ctx), errStopped) {
			err = errStopped
		}
		cancel(nil)
		s.mu.Lock()
		j.said, j.bad, j.err, j.ended = said, bad, err, s.Now()
		s.mu.Unlock()
		close(j.done)
	})
	return nil
}

// line keeps a line of what a job says.
func (s *Server) line(j *job, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.lines = append(j.lines, text)
	if len(j.lines) > maxLines {
		j.lines = slices.Delete(j.lines, 0, len(j.lines)-maxLines)
	}
}

// run starts a job and answers with its result if it has one soon, else with its progress.
func (x *request) run(j *job, check func(*install.Installation) error, do task) error {
	if err := x.start(j, check, do); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-time.After(quick):
	case <-x.r.Context().Done():
	}
	x.mu.Lock()
	ended, said, bad, failed := !j.ended.IsZero(), j.said, j.bad, j.err
	x.mu.Unlock()
	if !ended || failed != nil {
		return x.redirect("/job")
	}
	x.say(flash{Text: said, Bad: bad})
	return x.redirect(j.to)
}

// unchanged is a check that what the page showed of the installation is still so.
func (x *request) unchanged(of func(*install.Installation) int64) func(*install.Installation) error {
	seen, err := strconv.ParseInt(x.form.Get("seen"), 10, 64)
	return func(i *install.Installation) error {
		if err != nil || seen != of(i) {
			return errChanged
		}
		return nil
	}
}

// current returns the version that was deployed last, newest the newest version; -1 for none.
func current(i *install.Installation) int64 {
	_, at := i.Versions()
	return at
}

func newest(i *install.Installation) int64 {
	all, _ := i.Versions()
	return int64(len(all)) - 1
}

func anything(*install.Installation) error { return nil }

// jobView is a job as pages show it.
type jobView struct {
	Title        string
	To           string // its page
	Result       string // the page with its result
	Lines        []string
	Begun, Ended time.Time
	Running      bool
	Said, Error  string
	Bad          bool
	Deploys      bool

	Look  string // the address that has the progress of then; "" if the job has ended
	Pause int    // seconds
}

// lookAt returns the job that runs or has ended last; nil for none.
func (s *Server) lookAt() *jobView {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job
	if j == nil {
		return nil
	}
	v := &jobView{Title: j.title, To: s.base() + "/job", Result: s.base() + j.to, Lines: slices.Clone(j.lines), Begun: j.begun, Ended: j.ended,
		Running: j.ended.IsZero(), Said: j.said, Bad: j.bad, Deploys: j.sequence >= 0}
	if j.err != nil {
		v.Error = j.err.Error()
	}
	return v
}

// pauses are the seconds between two looks at a job: a page that stays open asks less and less.
var pauses = []int{1, 1, 2, 2, 3, 5, 10, 20}

// jobPage shows the job that runs or has ended last, with what it says.
func (x *request) jobPage() error {
	if _, err := x.installation(); err != nil {
		return err
	}
	v := x.lookAt()
	if v == nil {
		v = &jobView{}
	}
	if v.Running {
		n, _ := strconv.Atoi(x.r.URL.Query().Get("n")) // 0 for what is no number
		n = min(max(n, 0), len(pauses)-1)
		v.Pause, v.Look = pauses[n], v.To+"?"+look.Values("part", "job", "n", strconv.Itoa(n+1))
	}
	return x.render(http.StatusOK, "job", &view{Title: "Progress", Main: v, Crumbs: []link{{Text: "Version history", To: x.base() + "/"}}})
}

// onJob stops the job.
func (x *request) onJob() error {
	if x.form.Get("do") != "stop" {
		return errNothing
	}
	x.mu.Lock()
	j := x.job
	x.mu.Unlock()
	if j != nil {
		j.cancel(errStopped)
		select {
		case <-j.done:
		case <-time.After(quick):
		}
	}
	return x.redirect("/job")
}
