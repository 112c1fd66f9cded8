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
	Images      map[string]string // by service: the reference with its tag and digest
}

// The annotations of objects that a deployment makes.
const (
	ImageNote  = "ecrin.dev/image" // the reference as the template means it, with its tag
	Managed    = "app.kubernetes.io/managed-by"
	Instance   = "app.kubernetes.io/instance"
	managedBy  = "ecrin-application"
	partOfNote = "app.kubernetes.io/part-of"
)

// Objects returns a Deployment for each service that runs a container, and a Service for each that has ports, in the order of the template.
// An image is written with its digest, the tag beside it.
func (t *Template) Objects(d Deployment) []map[string]any {
	var all []map[string]any
	for _, s := range t.Services {
		image := d.Images[s.Name]
		if s.Static || image == "" {
			continue
		}
		label := strings.ReplaceAll(strings.ToLower(s.Name), "_", "-")
		selector := map[string]any{"app.kubernetes.io/name": label, Instance: d.Environment}
		labels := map[string]any{"app.kubernetes.io/name": label, Instance: d.Environment, Managed: managedBy}
		if app, err := Repository(t.App); err == nil && !strings.Contains(app.String(), "/") && len(app.String()) < 64 {
			labels[partOfNote] = app.String()
		}
		meta := func() map[string]any {
			return map[string]any{"name": label, "namespace": d.Namespace, "labels": labels}
		}
		tagged, _, _ := strings.Cut(image, "@")
		deployment := meta()
		deployment["annotations"] = map[string]any{ImageNote: tagged}
		pod := map[string]any{"containers": []any{s.container(label, image)}}
		if d.PullSecret != "" {
			pod["imagePullSecrets"] = []any{map[string]any{"name": d.PullSecret}}
		}
		all = append(all, map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": deployment, "spec": map[string]any{
			"replicas": max(s.Replicas, 1),
			"selector": map[string]any{"matchLabels": selector},
			"template": map[string]any{"metadata": map[string]any{"labels": labels, "annotations": map[string]any{ImageNote: tagged}}, "spec": pod},
		}})
		if len(s.Ports) > 0 {
			all = append(all, map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": meta(), "spec": map[string]any{
				"selector": selector, "ports": s.servicePorts(), "type": s.serviceType()}})
		}
	}
	return all
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

// ImageOf returns the image that a service is built into; nil for a service that runs the image of others, or none.
func (t *Template) ImageOf(s Service) *Image {
	for _, i := range t.Images() {
		if s.Built() && i.Logical == t.logical(s.Image, s.Name) {
			return &i
		}
	}
	return nil
}
