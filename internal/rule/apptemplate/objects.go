package apptemplate

import (
	"fmt"
	"strconv"
	"strings"
)

// Deployment says how the services of a template become objects of Kubernetes.
type Deployment struct {
	Environment string
	Namespace   string
	PullSecret  string            // name of the pull secret; "" for none
	Images      map[string]string // by the Key of what runs: the reference with its tag and digest
	Workflow    string            // Setup or Patch
	Run         string            // lower-case letters and digits, which the names of Jobs end with: each deployment runs its own
}

// Key returns the name of a service in [Deployment].Images.
func (s Service) Key() string { return s.Name }

// Key returns the name of a job in [Deployment].Images: that of the service whose image it runs, or one of its own.
func (j Job) Key() string {
	switch {
	case j.FromServices != "":
		return j.FromServices
	case j.Schedule != "":
		return "cron_jobs." + j.Name
	}
	return "jobs." + j.Name
}

// Stage is what is deployed at the same time. The next stage begins when its Deployments run and its Jobs have ended.
type Stage struct {
	Name    string
	Objects []map[string]any
}

// GoOnNote is the annotation of a Job whose failure does not end a deployment.
const GoOnNote = "ecrin.dev/go-on-after-failure"

// The annotations of objects that a deployment makes.
const (
	ImageNote  = "ecrin.dev/image" // the reference as the template means it, with its tag
	Managed    = "app.kubernetes.io/managed-by"
	Instance   = "app.kubernetes.io/instance"
	managedBy  = "ecrin-application"
	partOfNote = "app.kubernetes.io/part-of"
)

// Stages returns what a deployment consists of: a Deployment for each service that runs a container, and a Service for each that has
// ports, in the order of the workflow, with the Jobs that it has; then the services that it does not name, and the cron jobs. Without the
// workflow, all services are one stage, and no job runs. Images are written with their digest, the tag beside it.
func (t *Template) Stages(d Deployment) []Stage {
	var all []Stage
	done := map[string]bool{}
	add := func(to *Stage, label string) {
		s := t.service(label)
		if s == nil || done[label] || s.Static || d.Images[s.Key()] == "" {
			return
		}
		done[label] = true
		to.Objects = append(to.Objects, t.ofService(d, *s)...)
	}
	for _, step := range t.workflow(d.Workflow) {
		stage := Stage{Name: step.Name}
		for _, task := range step.Tasks {
			kind, label, _ := strings.Cut(task, ".")
			switch {
			case task == "services.all":
				for _, s := range t.Services {
					add(&stage, s.Name)
				}
			case kind == "services":
				add(&stage, label)
			case kind == "jobs" && !done[task]:
				done[task] = true
				for _, j := range t.Jobs {
					if j.Name == label && d.Images[j.Key()] != "" {
						stage.Objects = append(stage.Objects, t.ofJob(d, j))
					}
				}
			}
		}
		if len(stage.Objects) > 0 {
			all = append(all, stage)
		}
	}
	last := Stage{Name: "all others"}
	for _, s := range t.Services {
		add(&last, s.Name)
	}
	for _, j := range t.CronJobs {
		if d.Images[j.Key()] != "" {
			last.Objects = append(last.Objects, t.ofJob(d, j))
		}
	}
	if len(last.Objects) > 0 {
		all = append(all, last)
	}
	return all
}

// small returns a name of the template as one of Kubernetes.
func small(label string) string { return strings.ReplaceAll(strings.ToLower(label), "_", "-") }

// labels returns the labels of the objects of a service or job.
func (t *Template) labels(d Deployment, label string) map[string]any {
	labels := map[string]any{"app.kubernetes.io/name": label, Instance: d.Environment, Managed: managedBy}
	if app, err := Repository(t.App); err == nil && !strings.Contains(app.String(), "/") && len(app.String()) < 64 {
		labels[partOfNote] = app.String()
	}
	return labels
}

// pod returns the template of pods that run an image.
func (d Deployment) pod(labels map[string]any, image string, spec map[string]any) map[string]any {
	if d.PullSecret != "" {
		spec["imagePullSecrets"] = []any{map[string]any{"name": d.PullSecret}}
	}
	return map[string]any{"metadata": map[string]any{"labels": labels, "annotations": map[string]any{ImageNote: tagOf(image)}}, "spec": spec}
}

// tagOf returns a reference without its digest.
func tagOf(image string) string {
	tagged, _, _ := strings.Cut(image, "@")
	return tagged
}

func (t *Template) ofService(d Deployment, s Service) []map[string]any {
	label, image := small(s.Name), d.Images[s.Key()]
	selector := map[string]any{"app.kubernetes.io/name": label, Instance: d.Environment}
	labels := t.labels(d, label)
	meta := func() map[string]any {
		return map[string]any{"name": label, "namespace": d.Namespace, "labels": labels}
	}
	deployment := meta()
	deployment["annotations"] = map[string]any{ImageNote: tagOf(image)}
	all := []map[string]any{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": deployment, "spec": map[string]any{
		"replicas": max(s.Replicas, 1),
		"selector": map[string]any{"matchLabels": selector},
		"template": d.pod(labels, image, map[string]any{"containers": []any{s.container(label, image)}}),
	}}}
	if len(s.Ports) > 0 {
		all = append(all, map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": meta(), "spec": map[string]any{
			"selector": selector, "ports": s.servicePorts(), "type": s.serviceType()}})
	}
	return all
}

// ofJob returns the Job of a job, whose name is another one in each deployment, or the CronJob of a cron job. Their pods are not those of a
// service with the same name.
func (t *Template) ofJob(d Deployment, j Job) map[string]any {
	image := d.Images[j.Key()]
	label := small(j.Name)
	labels := t.labels(d, "job-"+label)
	c := Service{Command: j.Command, Args: j.Args, Requests: j.Requests, Limits: j.Limits}.container(label, image)
	spec := map[string]any{"backoffLimit": 0, "parallelism": max(j.Parallelism, 1), "completions": max(j.Completions, 1),
		"template": d.pod(labels, image, map[string]any{"restartPolicy": "Never", "containers": []any{c}})}
	if j.Timeout > 0 {
		spec["activeDeadlineSeconds"] = j.Timeout
	}
	notes := map[string]any{ImageNote: tagOf(image)}
	meta := map[string]any{"name": label, "namespace": d.Namespace, "labels": labels, "annotations": notes}
	if j.Schedule != "" {
		concurrency := j.Concurrency
		if concurrency == "" {
			concurrency = "Forbid"
		}
		return map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": map[string]any{"schedule": j.Schedule,
			"concurrencyPolicy": concurrency, "jobTemplate": map[string]any{"spec": spec}}}
	}
	if j.GoOn {
		notes[GoOnNote] = "true"
	}
	meta["name"] = label + "-" + d.Run
	return map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}
}

func (s Service) container(label, image string) map[string]any {
	c := map[string]any{"name": label, "image": image}
	if len(s.Command) > 0 {
		c["command"] = texts(s.Command)
	}
	if len(s.Args) > 0 {
		c["args"] = texts(s.Args)
	}
	var ports []any
	for _, p := range s.Ports {
		ports = append(ports, map[string]any{"containerPort": p.Target})
	}
	if len(ports) > 0 {
		c["ports"] = ports
	}
	for key, p := range map[string]*Probe{"readinessProbe": s.Readiness, "livenessProbe": s.Liveness, "startupProbe": s.Startup} {
		if p != nil {
			c[key] = p.object()
		}
	}
	resources := map[string]any{}
	for key, r := range map[string]Resources{"limits": s.Limits, "requests": s.Requests} {
		of := map[string]any{}
		if r.CPU != "" {
			of["cpu"] = r.CPU
		}
		if r.Memory != "" {
			of["memory"] = r.Memory
		}
		if len(of) > 0 {
			resources[key] = of
		}
	}
	if len(resources) > 0 {
		c["resources"] = resources
	}
	return c
}

// object returns the probe as Kubernetes has it.
func (p *Probe) object() map[string]any {
	o := map[string]any{}
	switch {
	case len(p.Command) > 0:
		o["exec"] = map[string]any{"command": texts(p.Command)}
	case p.Path != "":
		o["httpGet"] = map[string]any{"path": p.Path, "port": p.Port}
	default:
		o["tcpSocket"] = map[string]any{"port": p.Port}
	}
	for key, n := range map[string]int{"initialDelaySeconds": p.Delay, "periodSeconds": p.Period, "timeoutSeconds": p.Timeout,
		"failureThreshold": p.Failures} {
		if n > 0 {
			o[key] = n
		}
	}
	return o
}

func (s Service) servicePorts() (all []any) {
	for i, p := range s.Ports {
		port := p.Port
		if port == 0 {
			port = p.Target
		}
		all = append(all, map[string]any{"name": fmt.Sprintf("port-%s", strconv.Itoa(i)), "port": port, "targetPort": p.Target})
	}
	return all
}

func (s Service) serviceType() string {
	for _, p := range s.Ports {
		if p.Node {
			return "NodePort"
		}
	}
	return "ClusterIP"
}

func texts(all []string) (out []any) {
	for _, t := range all {
		out = append(out, t)
	}
	return out
}

// ImageOfJob returns the image of its own that a job is built into; nil for a job that runs another one.
func (t *Template) ImageOfJob(j Job) *Image {
	for _, i := range t.Images() {
		if j.Built() && i.Logical == t.logical(j.Image, j.Name) {
			return &i
		}
	}
	return nil
}

// ImageOf returns the image that a service is built into; nil for a service that runs the image of others, or none.
func (t *Template) ImageOf(s Service) *Image {
	for _, i := range t.Images() {
		if s.Built() && i.Logical == t.logical(s.Image, s.Name) {
			return &i
		}
	}
	return nil
}
