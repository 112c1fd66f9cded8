package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
)

// Pod is what the pull of an image of a pod depends on.
type Pod struct {
	Namespace, Name string
	Container       string
	Image           string
	ServiceAccount  string
	Node            string       // "" before it is scheduled
	Platform        string       // of the node, OS/ARCH; "" if it is not known
	Secrets         []PullSecret // in the order of the pod
	Pulled          bool         // the container has run with an image
	Message         string       // of the node, about the last pull that failed
}

// PullSecret is a pull secret that a pod names.
type PullSecret struct {
	Name    string
	Missing bool
	Type    string
	Config  []byte // a docker configuration; nil for another type
}

// ReadPod reads a pod and what the pull of the image of one container depends on. container "" means the first whose image could not be
// pulled, else the first.
//
// Errors: those of the API server; the pod has no such container.
func ReadPod(ctx context.Context, c *Cluster, namespace, label, container string) (Pod, error) {
	var p corev1.Pod
	if err := c.core.Get().Namespace(namespace).Resource("pods").Name(label).Timeout(requestTimeout).Do(ctx).Into(&p); err != nil {
		return Pod{}, fmt.Errorf("reading the pod %s/%s: %w", namespace, label, err)
	}
	out := Pod{Namespace: namespace, Name: label, ServiceAccount: p.Spec.ServiceAccountName, Node: p.Spec.NodeName}
	if err := out.choose(&p, container); err != nil {
		return Pod{}, err
	}
	for _, ref := range p.Spec.ImagePullSecrets {
		one := PullSecret{Name: ref.Name}
		s, err := c.secret(ctx, namespace, ref.Name)
		switch {
		case errors.IsNotFound(err):
			one.Missing = true
		case err != nil:
			return Pod{}, fmt.Errorf("reading the pull secret %s: %w", ref.Name, err)
		default:
			one.Type, one.Config = string(s.Type), configOf(s)
		}
		out.Secrets = append(out.Secrets, one)
	}
	if out.Node != "" {
		var n corev1.Node
		if err := c.core.Get().Resource("nodes").Name(out.Node).Timeout(requestTimeout).Do(ctx).Into(&n); err == nil { // it may not be readable
			if i := n.Status.NodeInfo; i.OperatingSystem != "" && i.Architecture != "" {
				out.Platform = i.OperatingSystem + "/" + i.Architecture
			}
		}
	}
	if out.Message == "" && !out.Pulled {
		out.Message = lastFailure(ctx, c, &p)
	}
	return out, nil
}

// choose finds the container and what its status says.
func (o *Pod) choose(p *corev1.Pod, container string) error {
	status := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	waits := func(s corev1.ContainerStatus) string {
		if s.State.Waiting != nil && (strings.Contains(s.State.Waiting.Reason, "ImagePull") || s.State.Waiting.Reason == "InvalidImageName") {
			return s.State.Waiting.Message
		}
		return ""
	}
	if at := slices.IndexFunc(status, func(s corev1.ContainerStatus) bool { return waits(s) != "" }); container == "" && at >= 0 {
		container = status[at].Name
	}
	all := slices.Concat(p.Spec.Containers, p.Spec.InitContainers)
	at := slices.IndexFunc(all, func(c corev1.Container) bool { return container == "" || c.Name == container })
	if at < 0 {
		return fmt.Errorf("the pod %s/%s has no container %s", p.Namespace, p.Name, container)
	}
	o.Container, o.Image = all[at].Name, all[at].Image
	for _, s := range status {
		if s.Name == o.Container {
			o.Message, o.Pulled = waits(s), s.ImageID != ""
		}
	}
	return nil
}

// configOf returns the docker configuration of a secret; nil if it is none.
func configOf(s *corev1.Secret) []byte {
	switch s.Type {
	case corev1.SecretTypeDockerConfigJson:
		return s.Data[corev1.DockerConfigJsonKey]
	case corev1.SecretTypeDockercfg:
		if old := s.Data[corev1.DockerConfigKey]; old != nil {
			return slices.Concat([]byte(`{"auths":`), old, []byte(`}`))
		}
	}
	return nil
}

// lastFailure returns the text of the last event about a pull of a pod that failed; "" if there is none, or events are not readable.
func lastFailure(ctx context.Context, c *Cluster, p *corev1.Pod) string {
	var events corev1.EventList
	only := fields.SelectorFromSet(fields.Set{"involvedObject.name": p.Name, "involvedObject.kind": "Pod"})
	q := c.core.Get().Namespace(p.Namespace).Resource("events").Param("fieldSelector", only.String())
	err := q.Timeout(requestTimeout).Do(ctx).Into(&events)
	if err != nil {
		return ""
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	for _, e := range slices.Backward(events.Items) {
		if e.Reason == "Failed" && strings.Contains(e.Message, "pull") && string(e.InvolvedObject.UID) == string(p.UID) {
			return e.Message
		}
	}
	return ""
}
