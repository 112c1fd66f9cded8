package rewrite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/helm"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// maxRender is how long a chart may take to render.
const maxRender = time.Minute

// Charts renders charts by the templates of helm, without the program helm. It asks no cluster.
type Charts struct {
	Namespace   string // of the application
	KubeVersion string // "" for a usual one
	APIVersions []string
	Upgrade     bool
	Revision    int // of the releases, from 1
	Now         time.Time
}

// Template implements Helm.
func (c Charts) Template(ctx context.Context, one Chart, archive, values []byte) ([]byte, error) {
	loaded, err := helm.Load(archive)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxRender, fmt.Errorf("it is not rendered after %s", maxRender))
	defer cancel()
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	// A loop in a template that writes nothing cannot be ended: then its goroutine goes on until the process ends.
	go func() {
		text, err := loaded.Render(ctx, values, helm.Options{Release: one.Release, Namespace: cmp.Or(one.Namespace, c.Namespace, "default"),
			Upgrade: c.Upgrade, Revision: c.Revision, KubeVersion: c.KubeVersion, APIVersions: c.APIVersions, Now: c.Now})
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return r.text, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Annotations of objects of charts that are installed without helm: the name of the release, and the weight of the chart.
const (
	ChartAnnotation  = "ecrin.dev/chart"
	WeightAnnotation = "ecrin.dev/chart-weight"
)

// deployHooks are the events of hooks that deployments have. Others, such as tests, are left out.
var deployHooks = []string{"pre-install", "post-install", "pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback"}

// HookEvents returns the events of a hook that deployments have.
func HookEvents(annotation string) (all []string) {
	for e := range strings.SplitSeq(annotation, ",") {
		if e = strings.ToLower(strings.TrimSpace(e)); slices.Contains(deployHooks, e) {
			all = append(all, e)
		}
	}
	return all
}

// marked returns the objects of a chart with annotations that say so, and in the namespace of the chart. Hooks that deployments do not have
// are left out.
func (c Chart) marked(text []byte) ([]byte, error) {
	var b bytes.Buffer
	for _, d := range rule.Split(rule.File{Path: "chart.yaml", Data: text}) {
		var n yaml.Node
		if err := yaml.Unmarshal(d.Data, &n); err != nil {
			return nil, fmt.Errorf("the object that begins in line %d of what it renders: %w", d.Line, err)
		}
		if len(n.Content) == 0 || n.Content[0].Kind != yaml.MappingNode || len(n.Content[0].Content) == 0 {
			continue
		}
		kept, err := c.mark(n.Content[0])
		if err != nil {
			return nil, fmt.Errorf("the object that begins in line %d of what it renders: %w", d.Line, err)
		}
		if !kept {
			continue
		}
		b.WriteString("---\n")
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := errors.Join(e.Encode(&n), e.Close()); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// mark marks an object. It reports whether a deployment has it.
func (c Chart) mark(object *yaml.Node) (bool, error) {
	kind := member(object, "kind")
	if kind != nil && strings.HasSuffix(kind.Value, "List") {
		if items := member(object, "items"); items != nil && items.Kind == yaml.SequenceNode {
			for _, item := range items.Content {
				if item.Kind != yaml.MappingNode {
					return false, errors.New("an item of a list is no object")
				}
				if _, err := c.mark(item); err != nil {
					return false, err
				}
			}
			return true, nil
		}
	}
	meta := member(object, "metadata")
	if meta == nil || meta.Kind != yaml.MappingNode {
		return false, errors.New("it has no metadata")
	}
	notes := member(meta, "annotations")
	if notes == nil || notes.Kind != yaml.MappingNode {
		notes = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		set(meta, "annotations", notes)
	}
	if hook := member(notes, helm.HookAnnotation); hook != nil && hook.Value != "" && len(HookEvents(hook.Value)) == 0 {
		return false, nil
	}
	word := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
	set(notes, ChartAnnotation, word(c.Release))
	set(notes, WeightAnnotation, word(strconv.Itoa(c.Weight)))
	if c.Namespace != "" && kind != nil && !slices.Contains(ofCluster, kind.Value) {
		if own := member(meta, "namespace"); own == nil || own.Value == "" {
			set(meta, "namespace", word(c.Namespace))
		}
	}
	return true, nil
}

// ofCluster are kinds of Kubernetes itself that have no namespace.
var ofCluster = strings.Fields(`Namespace Node PersistentVolume ComponentStatus ClusterRole ClusterRoleBinding CustomResourceDefinition
StorageClass VolumeAttachment VolumeAttributesClass CSIDriver CSINode PriorityClass APIService IngressClass RuntimeClass
MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
MutatingAdmissionPolicy MutatingAdmissionPolicyBinding FlowSchema PriorityLevelConfiguration CertificateSigningRequest ClusterTrustBundle
DeviceClass ResourceSlice IPAddress ServiceCIDR StorageVersion StorageVersionMigration SelfSubjectReview SubjectAccessReview`)

// member returns the value of a key of an object; nil if there is none. An alias is what it names.
func member(of *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(of.Content); i += 2 {
		if of.Content[i].Value == key {
			v := of.Content[i+1]
			if v.Kind == yaml.AliasNode {
				copied := *v.Alias
				copied.Anchor, copied.Content = "", slices.Clone(copied.Content)
				*v = copied
			}
			return v
		}
	}
	return nil
}

// set sets the value of a key of an object.
func set(of *yaml.Node, key string, value *yaml.Node) {
	if v := member(of, key); v != nil {
		*v = *value
		return
	}
	of.Content = append(of.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}
