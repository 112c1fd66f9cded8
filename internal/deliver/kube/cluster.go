// Package kube brings registry credentials to clusters of Kubernetes: pull secrets that are kept fresh, and what can be seen of them.
//
// What the pods of a cluster run is told from here too. It is the only package that uses client-go.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// The rate of requests to an API server, each second, and the requests that may come at once. A refresh of 200 namespaces takes 8 s.
const (
	requestRate  = 50
	requestBurst = 100
)

// requestTimeout is the time for one request that is no watch.
const requestTimeout = 30 * time.Second

// Cluster calls the API server of a cluster.
type Cluster struct {
	core   *rest.RESTClient
	params runtime.ParameterCodec
	host   string
}

// Config names a cluster and who calls it.
type Config struct {
	Kubeconfig string // path; "" means KUBECONFIG, else ~/.kube/config, else the service account of the pod
	Context    string // of the kubeconfig; "" means its current one
	UserAgent  string
}

// Open returns a cluster. It makes no request.
//
// Errors: those of reading and checking the kubeconfig.
func Open(c Config) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.Context}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("preparing the types of Kubernetes: %w", err)
	}
	cfg.APIPath, cfg.GroupVersion = "/api", &corev1.SchemeGroupVersion
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.UserAgent, cfg.QPS, cfg.Burst = c.UserAgent, requestRate, requestBurst
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("preparing requests to the API server: %w", err)
	}
	return &Cluster{core: client, params: runtime.NewParameterCodec(scheme), host: cfg.Host}, nil
}

// Server returns the URL of the API server.
func (c *Cluster) Server() string { return c.host }

// Log sends what client-go has to say to a log. It concerns the whole process.
func Log(l *slog.Logger) { klog.SetSlogLogger(l) }

// list reads the objects of a kind: of a namespace, or of all for "".
func (c *Cluster) list(ctx context.Context, namespace, resource string, into runtime.Object) error {
	err := c.core.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Timeout(requestTimeout).Do(ctx).Into(into)
	if err != nil {
		return fmt.Errorf("listing %s: %w", resource, err)
	}
	return nil
}

// secret reads a secret. Errors: those of the API server, as they are.
func (c *Cluster) secret(ctx context.Context, namespace, label string) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := c.core.Get().Namespace(namespace).Resource("secrets").Name(label).Timeout(requestTimeout).Do(ctx).Into(s)
	return s, err
}

// ParseSelector reads a selector of labels, as kubectl takes it. Errors: it has another form.
func ParseSelector(text string) (labels.Selector, error) {
	s, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the selector %q: %w", text, err)
	}
	return s, nil
}
