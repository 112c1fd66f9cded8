package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestChart: the chart passes helm's linter, its objects are complete for each way of storage and TLS, and the server
// accepts the settings that
// it writes.
func TestChart(t *testing.T) {
	t.Parallel()
	helm := client(t, "helm")
	chart := root + "/deploy/helm/ecrin"
	if text := run(t, helm, "lint", "--strict", chart); strings.Contains(text, "[WARNING]") || strings.Contains(text, "[ERROR]") {
		t.Errorf("helm lint: got\n%s", text)
	}
	for what, c := range map[string]struct {
		set   string
		kinds string
	}{
		"defaults":   {"image.tag=1", "ConfigMap Service ServiceAccount StatefulSet"},
		"PostgreSQL": {"database.url=postgres://u:p@db/e,replicas=2", "ConfigMap Secret Service ServiceAccount StatefulSet"},
		"ingress": {"ingress.enabled=true,ingress.hosts={a.example.com},ingress.tlsSecret=t,metrics.serviceMonitor=true",
			"ConfigMap Ingress Service ServiceAccount ServiceMonitor StatefulSet"},
		"TLS, host port, no volume": {"tls.secret=t,hostPort=443,persistence.enabled=false,metrics.port=0,config.domains={ecr.example.com}",
			"ConfigMap Service ServiceAccount StatefulSet"},
	} {
		objects := render(t, helm, chart, c.set)
		var kinds []string
		for _, o := range objects {
			kinds = append(kinds, o.Kind)
		}
		for _, kind := range strings.Fields(c.kinds) {
			if strings.Count(strings.Join(kinds, " ")+" ", kind+" ") == 0 {
				t.Errorf("%s: got the objects %v, want one of the kind %s", what, kinds, kind)
			}
		}
		if len(kinds) != len(strings.Fields(c.kinds)) {
			t.Errorf("%s: got the objects %v, want %s", what, kinds, c.kinds)
		}
		for _, o := range objects {
			if o.Kind != "ConfigMap" {
				continue
			}
			text := strings.ReplaceAll(o.Data["ecrin.yaml"], "/tls/tls.", filepath.Join(t.TempDir(), "none."))
			path := filepath.Join(t.TempDir(), "ecrin.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			said, err := try(ecrin(t), "config", "check", "--config", path)
			if err != nil && !strings.Contains(said, "none.") {
				t.Errorf("%s: ecrin config check: %v\n%s\nfor\n%s", what, err, said, text)
			}
		}
	}
	for set, want := range map[string]string{
		"replicas=2": "needs database.url", "config.listen={x}": "config", "replicas=0": "replicas",
	} {
		if text, err := try(helm, "template", "x", chart, "--set", set); err == nil || !strings.Contains(text, want) {
			t.Errorf("--set %s: got %v and %q, want a refusal that names %q", set, err, text, want)
		}
	}
}

type object struct {
	Kind string
	Data map[string]string
}

// render returns the objects that helm renders with values.
func render(t *testing.T, helm, chart, set string) (all []object) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(run(t, helm, "template", "x", chart, "--set", set)))
	for {
		var o object
		if err := d.Decode(&o); err != nil {
			return all
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}
