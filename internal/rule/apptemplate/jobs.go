package apptemplate

import (
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The longest name of a job. Source: Kubernetes, names of CronJobs.
const maxJobName = 52

// Job runs a command: once when a workflow says so, or at the times of Schedule.
type Job struct {
	Name         string
	FromServices string // the service whose image it runs; "" if it has one of its own
	Image        string // as that of a service
	HasRepo      bool
	Command      []string
	Args         []string
	Requests     Resources
	Limits       Resources
	Parallelism  int // pods at once, 0 for one
	Completions  int // pods that end well, 0 for one
	Timeout      int // seconds after which it has failed, 0 for none
	GoOn         bool
	Schedule     string // of a cron job: five fields, or a word such as @daily
	Concurrency  string // of a cron job: Allow, Forbid or Replace; "" for Forbid
	Line         int
}

// Built reports whether the job runs an image of its own that is built from the repository of the application.
func (j Job) Built() bool { return j.FromServices == "" && j.HasRepo }

// Workflow is the order in which an environment is set up, changed or removed.
type Workflow struct {
	Name  string // setup, patch or teardown
	Steps []Step
}

// Step is what happens at the same time.
type Step struct {
	Name  string
	Tasks []string // services.NAME, services.all, jobs.NAME, and others that concern no container
}

// The names of workflows.
const (
	Setup    = "setup"    // of an environment that is made
	Patch    = "patch"    // of one that is deployed again
	teardown = "teardown" // of one that is removed
)

// schedule is the form of the times of a cron job. Source: Kubernetes, CronJob, schedule.
var schedule = lazyregexp.New(`^(?:@(?:yearly|annually|monthly|weekly|daily|midnight|hourly)|` +
	`[0-9*/,A-Za-z?LW#-]+(?: +[0-9*/,A-Za-z?LW#-]+){4})$`)

// jobs reads jobs, or cron jobs, which have a schedule.
func (t *Template) jobs(v value, keys []string) (all []Job) {
	names := map[string]bool{}
	for _, one := range few(v, v.list()) {
		m := one.mapping(keys)
		if !m.there() {
			continue
		}
		j := Job{Name: unique(m.need("name", ""), names), Command: m.get("command").words(), Args: m.get("args").words(), Line: m.node.Line,
			Image: m.get("image").text(), HasRepo: m.get("has_repo").flag(), Parallelism: m.get("parallelism").number(1, 10_000),
			Completions: m.get("completions").number(1, 10_000), Timeout: m.get("completed_timeout").number(1, 1<<30)}
		if len(j.Name) > maxJobName {
			m.get("name").fail("has more than %d characters, to which a deployment adds its own", maxJobName)
		}
		if halt := m.get("halt_on_error"); halt.there() {
			j.GoOn = !halt.flag()
		}
		own := resourcesOf(m)
		j.Requests, j.Limits = own.Requests, own.Limits
		if slices.Contains(keys, "schedule") {
			at := m.need("schedule", ": it has the times at which the cron job runs")
			if j.Schedule = strings.TrimSpace(at.text()); at.there() && !schedule.MatchString(j.Schedule) {
				at.fail("must be five fields, such as 0 3 * * *, or a word such as @daily, got %s", at.kind())
			}
			policy := m.get("concurrency_policy")
			if j.Concurrency = policy.text(); policy.there() && !slices.Contains([]string{"Allow", "Forbid", "Replace"}, j.Concurrency) {
				policy.fail("must be Allow, Forbid or Replace, got %s", policy.kind())
			}
		}
		t.jobImage(m, &j)
		all = append(all, j)
	}
	return all
}

// jobImage checks the image of a job: that of a service, or one of its own.
func (t *Template) jobImage(m mapping, j *Job) {
	from, image := m.get("from_services"), m.get("image")
	j.FromServices = from.text()
	switch {
	case !from.there() && !image.there() && !j.HasRepo:
		m.need("from_services", ": it has the service whose image the job runs; image has one of its own")
	case from.there() && (image.there() || j.HasRepo):
		from.fail("and image, or has_repo: true: a job runs the image of a service, or one of its own")
	case from.there() && j.FromServices != "":
		switch s := t.service(j.FromServices); {
		case s == nil:
			from.fail("there is no service %q", name.Clip(j.FromServices))
		case s.Static:
			from.fail("the service %s is static, and has no image", name.Clip(j.FromServices))
		}
	case image.there():
		s := Service{Name: j.Name, Image: j.Image, HasRepo: j.HasRepo}
		s.check(m)
	}
}

// workflows reads workflows, and checks their tasks.
func (t *Template) workflows(v value) {
	for _, one := range few(v, v.list()) {
		m := one.mapping([]string{"name", "parallelize", "order_from", "wait_for_all_tasks_to_complete"})
		label := m.need("name", "")
		w := Workflow{Name: label.text()}
		switch {
		case !label.there() || w.Name == "":
		case !slices.Contains([]string{Setup, Patch, teardown}, w.Name):
			label.warn("is %q, and not setup, patch or teardown: it does nothing", name.Clip(w.Name))
		case slices.ContainsFunc(t.Workflows, func(o Workflow) bool { return o.Name == w.Name }):
			label.fail("the name is there twice")
		}
		steps := m.get("parallelize")
		for _, step := range few(steps, steps.list()) {
			s := step.mapping([]string{"step", "tasks", "halt_on_error", "wait_for_finish", "metadata", "timeout"})
			out := Step{Name: s.get("step").text()}
			tasks := s.get("tasks")
			for _, task := range few(tasks, tasks.list()) {
				out.Tasks = append(out.Tasks, t.task(task))
			}
			w.Steps = append(w.Steps, out)
		}
		order := m.get("order_from")
		if order.there() && steps.there() {
			order.fail("and parallelize: a workflow has one of them")
		}
		for _, task := range few(order, order.list()) {
			text := t.task(task)
			w.Steps = append(w.Steps, Step{text, []string{text}})
		}
		t.Workflows = append(t.Workflows, w)
	}
}

// task reads and checks a task.
func (t *Template) task(v value) string {
	text := v.text()
	kind, label, _ := strings.Cut(text, ".")
	switch kind {
	case "services":
		if label != "all" && t.service(label) == nil {
			v.fail("there is no service %q", name.Clip(label))
		}
	case "jobs":
		if !slices.ContainsFunc(t.Jobs, func(j Job) bool { return j.Name == label }) {
			v.fail("there is no job %q", name.Clip(label))
		}
	case "release", "app_imports", "infrastructure", "builds", "charts", "cron_jobs":
	default:
		v.fail("must be services.NAME, services.all or jobs.NAME, got %s", v.kind())
	}
	return text
}

// workflow returns the steps of a workflow; nil if there is none.
func (t *Template) workflow(label string) []Step {
	for _, w := range t.Workflows {
		if w.Name == label {
			return w.Steps
		}
	}
	return nil
}
