package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"
)

// MaxOutput is the largest result of a chart in bytes.
const MaxOutput = 32 << 20

// Options say for which release and which cluster a chart is rendered.
type Options struct {
	Release, Namespace string
	Upgrade            bool // there is a version of the release already
	Revision           int  // from 1
	KubeVersion        string
	APIVersions        []string // such as apps/v1, and apps/v1/Deployment; nil for those of Kubernetes itself
	Now                time.Time
}

// Render returns the objects of the chart as YAML documents, each after a line with its file: the definitions of kinds, then the objects in
// the order in which helm installs kinds, then those of hooks. values is a document with the values that differ from those of the chart.
//
// Errors: a template fails, with its place; the chart is not for this version of Kubernetes; the result has more than MaxOutput bytes; that
// of ctx.
func (c *Chart) Render(ctx context.Context, values []byte, o Options) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // of a function of the library that templates use
			err = fmt.Errorf("rendering the chart: %v", r)
		}
	}()
	given := map[string]any{}
	if err := yaml.Unmarshal(values, &given); err != nil {
		return nil, fmt.Errorf("the values: %w", err)
	}
	if given == nil {
		given = map[string]any{}
	}
	o.KubeVersion = cmp.Or(o.KubeVersion, defaultKube)
	if o.APIVersions == nil {
		o.APIVersions = defaultAPIs
	}
	if c.KubeVersion != "" && !fits(c.KubeVersion, o.KubeVersion) {
		return nil, fmt.Errorf("the chart needs a version of Kubernetes %s, and this is %s", c.KubeVersion, o.KubeVersion)
	}
	if err := c.choose(given, ""); err != nil {
		return nil, err
	}
	if err := c.imports(); err != nil {
		return nil, err
	}
	all, err := c.coalesced(given, false)
	if err != nil {
		return nil, err
	}
	files, err := c.execute(ctx, all, o)
	if err != nil {
		return nil, err
	}
	return c.documents(files)
}

// execute executes the templates, and returns the results by path.
func (c *Chart) execute(ctx context.Context, values map[string]any, o Options) (map[string]string, error) {
	if o.Now.IsZero() {
		o.Now = time.Unix(0, 0).UTC()
	}
	all := map[string]renderable{}
	c.collect(all, map[string]any{"Values": values, "Capabilities": newCapabilities(o), "Release": map[string]any{"Name": o.Release,
		"Namespace": o.Namespace, "IsUpgrade": o.Upgrade, "IsInstall": !o.Upgrade, "Revision": max(1, o.Revision), "Service": "Helm"}})
	r := &renderer{ctx: ctx, left: MaxOutput, includes: map[string]int{}, now: o.Now}
	t := template.New("gotpl").Option("missingkey=zero")
	t.Funcs(r.functions(t))
	// Templates that are deeper come first, so that those of the chart itself define last, and count.
	paths := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")), cmp.Compare(b, a))
	})
	for _, p := range paths {
		if _, err := t.New(p).Parse(all[p].text); err != nil {
			return nil, fmt.Errorf("reading the template %s: %w", p, err)
		}
	}
	out := map[string]string{}
	for _, p := range paths {
		if strings.HasPrefix(path.Base(p), "_") {
			continue
		}
		one := all[p]
		one.values["Template"] = map[string]any{"Name": p, "BasePath": one.base}
		b := r.buffer()
		if err := t.ExecuteTemplate(b, p, one.values); err != nil {
			var said *saidError
			if errors.As(err, &said) {
				return nil, fmt.Errorf("%s: %s", p, said.text)
			}
			return nil, err
		}
		out[p] = strings.ReplaceAll(b.String(), "<no value>", "")
	}
	return out, nil
}

// renderable is a template with the values that it has.
type renderable struct {
	text, base string
	values     map[string]any
}

// about is .Chart.
type about struct {
	Metadata
	IsRoot bool
}

// collect adds the templates of a chart and of those in it. It returns the values of its templates.
func (c *Chart) collect(all map[string]renderable, parent map[string]any) map[string]any {
	charts := map[string]any{}
	next := map[string]any{"Chart": about{c.Metadata, c.parent == nil}, "Files": newFiles(c.files), "Release": parent["Release"],
		"Capabilities": parent["Capabilities"], "Values": map[string]any{}, "Subcharts": charts}
	if c.parent == nil {
		next["Values"] = parent["Values"]
	} else if above, ok := table(parent["Values"]); ok {
		if own, ok := table(above[c.Name]); ok {
			next["Values"] = own
		}
	}
	for _, one := range c.charts {
		charts[one.Name] = one.collect(all, next)
	}
	for _, f := range c.templates {
		if strings.EqualFold(c.Type, "library") && !strings.HasPrefix(path.Base(f.name), "_") {
			continue
		}
		all[path.Join(c.folder(), f.name)] = renderable{string(f.data), path.Join(c.folder(), "templates"), next}
	}
	return next
}

// separator separates documents. Source: Helm, pkg/releaseutil.
var separator = regexp.MustCompile(`(?:^|\s*\n)---\s*`)

// document is an object that a chart has rendered.
type document struct {
	path, text, kind string
}

// documents returns the text of what the templates have rendered.
func (c *Chart) documents(files map[string]string) ([]byte, error) {
	var objects, hooks []document
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(p, "NOTES.txt") {
			continue
		}
		for _, text := range separator.Split(strings.TrimSpace(files[p]), -1) {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			var head struct {
				Kind     string `json:"kind"`
				Metadata *struct {
					Annotations map[string]string `json:"annotations"`
				} `json:"metadata"`
			}
			if err := yaml.Unmarshal([]byte(text), &head); err != nil {
				return nil, fmt.Errorf("what %s renders: %w", p, err)
			}
			d := document{p, text, head.Kind}
			if head.Metadata != nil && head.Metadata.Annotations[HookAnnotation] != "" {
				if known(head.Metadata.Annotations[HookAnnotation]) {
					hooks = append(hooks, d)
				}
				continue
			}
			objects = append(objects, d)
		}
	}
	var b strings.Builder
	for _, f := range c.definitions() {
		fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", f.name, f.data)
	}
	for _, list := range [][]document{objects, hooks} {
		slices.SortStableFunc(list, func(a, b document) int { return compareKinds(a.kind, b.kind) })
		for _, d := range list {
			fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", d.path, d.text)
		}
	}
	if b.Len() > MaxOutput {
		return nil, errTooLarge
	}
	return []byte(b.String()), nil
}

// Annotations of hooks. Source: Helm, pkg/release.
const (
	HookAnnotation       = "helm.sh/hook"
	HookWeightAnnotation = "helm.sh/hook-weight"
	HookDeleteAnnotation = "helm.sh/hook-delete-policy"
)

// hooks are the events of hooks.
var hooks = []string{"pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback",
	"post-rollback", "test", "test-success"}

// known reports whether the events of a hook are all known. helm leaves others out.
func known(events string) bool {
	for e := range strings.SplitSeq(events, ",") {
		if !slices.Contains(hooks, strings.ToLower(strings.TrimSpace(e))) {
			return false
		}
	}
	return true
}

// order is the order in which helm installs kinds. Source: Helm, pkg/releaseutil.
var order = []string{"PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy",
	"PodDisruptionBudget",
	"ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume", "PersistentVolumeClaim",
	"CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding", "ClusterRoleBindingList", "Role", "RoleList",
	"RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment",
	"HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress", "APIService"}

func compareKinds(a, b string) int {
	i, j := slices.Index(order, a), slices.Index(order, b)
	switch {
	case i < 0 && j < 0:
		return cmp.Compare(a, b)
	case i < 0:
		return 1
	case j < 0:
		return -1
	}
	return cmp.Compare(i, j)
}
