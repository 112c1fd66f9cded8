package install_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// packed returns a packed chart with the name shop, with names and contents of its files in turn.
func packed(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	files = append(files, "Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.0\n")
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: "shop/" + files[i], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const helmChart = `apiVersion: kots.io/v1beta2
kind: HelmChart
metadata: {name: shop}
spec:
  chart: {name: shop, chartVersion: 1.2.0}
  releaseName: front
  values: {image: 'HOST/shop/api:1.0', license: '{{repl LicenseFieldValue "licenseType" }}'}
`

// job returns a hook of a chart.
func job(name, event, weight, more string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name + "\n  annotations: {helm.sh/hook: '" + event +
		"', helm.sh/hook-weight: '" +
		weight + "'" + more + "}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: '{{ .Values.image }}', " +
		"args: ['{{ .Release.Revision }}']}]}}}\n"
}

const frontTemplate = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: '{{ .Release.Name }}-web'
  labels: {kube: '{{ .Capabilities.KubeVersion.Minor }}', jobs: '{{ .Capabilities.APIVersions.Has "batch/v1/Job" }}'}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: web, image: '{{ .Values.image }}'}]}
`

// chart makes a release with a chart, and promotes it.
func (fx *fixture) chart(label, object string, files ...string) {
	fx.t.Helper()
	var r ecrintypes.ReleaseResponse
	fx.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{
		{Path: "settings.yaml", Content: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"},
		{Path: "chart.yaml", Content: strings.ReplaceAll(object, "HOST", fx.host)},
		{Path: "shop-1.2.0.tgz", Data: packed(fx.t, files...)}}}, &r)
	fx.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: r.Release.Sequence,
		ChannelIds: []string{"unstable"}, VersionLabel: label}, new(ecrintypes.PromoteReleaseResponse))
}

// applied returns what was applied to the cluster, without what each version has.
func (fx *fixture) applied() string {
	all := slices.DeleteFunc(fx.cluster.Applied(), func(s string) bool {
		return strings.HasPrefix(s, "Namespace") || strings.HasPrefix(s, "Secret")
	})
	return strings.Join(all, ", ")
}

func TestChartIsInstalledWithItsHooks(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	files := []string{"values.yaml", "image: none\n", "templates/web.yaml", frontTemplate,
		"templates/before.yaml", job("migrate", "pre-install,pre-upgrade", "5", ""),
		"templates/settings.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: early, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: '-1'}}\n",
		"templates/after.yaml", job("seed", "post-install", "0", ", helm.sh/hook-delete-policy: hook-succeeded"),
		"templates/test.yaml", job("check", "test", "0", ""), "templates/gone.yaml", job("bye", "pre-delete", "0", ""),
		"templates/back.yaml", job("undo", "post-rollback", "0", ""),
		"templates/kept.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n"}
	fx.chart("1.0", helmChart, files...)
	i := fx.create()
	fx.deploy(i, 0)
	if got, want := fx.applied(),
		"ConfigMap plain, ConfigMap early, Job migrate, ConfigMap kept, Deployment front-web, Job seed"; got != want {
		t.Errorf("the installation applied %s, want %s", got, want)
	}
	if got, want := fx.running(), fx.host+"/shop/api:1.0="+fx.image.Digest; got != want {
		t.Errorf("%s runs, want %s", got, want)
	}
	for kind, want := range map[string]string{"Job": "migrate", "ConfigMap": "early kept plain"} {
		if got := fx.names(kind); got != want {
			t.Errorf("the cluster has %s %s, want %s", kind, got, want)
		}
	}
	text := fx.read(i, 0, "rendered/this-cluster/all.yaml")
	if !strings.Contains(text, `kube: "35"`) || !strings.Contains(text, `jobs: "true"`) || strings.Contains(text, "check") {
		t.Errorf("the chart was rendered for another cluster:\n%s", text)
	}

	fx.chart("2.0", helmChart, append(files[:len(files)-2:len(files)-2], "templates/own.yaml",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n")...)
	if _, err := i.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	fx.deploy(i, 1)
	// The Job of the version before is deleted first: the template of a Job does not change.
	if got, want := fx.applied(), "ConfigMap plain, Job migrate, ConfigMap own, Deployment front-web"; got != want {
		t.Errorf("the update applied %s, want %s", got, want)
	}
	if got := fx.names("ConfigMap"); got != "early kept own plain" {
		t.Errorf("after the update there are %s, want kept, and not what has gone", got)
	}
	if err := i.Rollback(t.Context(), -1, wait); err != nil {
		t.Fatal(err)
	}
	if got, want := fx.applied(), "ConfigMap plain, ConfigMap kept, Deployment front-web, Job undo"; got != want {
		t.Errorf("going back applied %s, want %s", got, want)
	}
	if got := fx.names("ConfigMap"); got != "early kept plain" {
		t.Errorf("after going back there are %s", got)
	}

	// Without the chart its objects go, those of its hooks too.
	fx.release("3.0", "nginx", false)
	if _, err := i.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	fx.deployAny(i, 2)
	if got := fx.names("Deployment") + "; " + fx.names("Job") + "; " + fx.names("ConfigMap"); got != "web; ; kept" {
		t.Errorf("without the chart there are %s", got)
	}
}

// deployAny deploys a version whose images need not be there.
func (fx *fixture) deployAny(i *install.Installation, sequence int64) {
	fx.t.Helper()
	var failed *install.FailedError
	if err := i.Deploy(fx.t.Context(), sequence, wait); err != nil && !errors.As(err, &failed) {
		fx.t.Fatal(err)
	}
}

// names returns the names of the objects of a kind, sorted.
func (fx *fixture) names(kind string) string {
	var all []string
	for _, text := range fx.cluster.Objects("shop", kind) {
		_, rest, _ := strings.Cut(string(text), `"name":"`)
		if _, meta, ok := strings.Cut(string(text), `"metadata":{`); ok {
			_, rest, _ = strings.Cut(meta, `"name":"`)
		}
		name, _, _ := strings.Cut(rest, `"`)
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestHookThatFailsFailsTheVersion(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.chart("1.0", helmChart, "values.yaml", "image: none\n", "templates/web.yaml", frontTemplate,
		"templates/before.yaml", job("migrate", "pre-install", "0", ", ends: badly, helm.sh/hook-delete-policy: hook-failed"))
	i := fx.create()
	var failed *install.FailedError
	err := i.Deploy(t.Context(), 0, wait)
	if !errors.As(err, &failed) || !strings.Contains(err.Error(),
		"the hook pre-install, Job migrate: Job has reached the specified backoff limit") {
		t.Errorf("got %v", err)
	}
	if got := fx.history(i); got != "0 1.0 Online Install failed; current 0" {
		t.Errorf("the history is %s", got)
	}
	if got := fx.names("Deployment") + fx.names("Job"); got != "" {
		t.Errorf("after the failure there is %s", got)
	}
}

// A deployment that ended while a hook ran goes on with that run of the hook: what it does is not done twice.
func TestHookGoesOnAfterAnInterruption(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.chart("1.0", helmChart, "values.yaml", "image: none\n", "templates/web.yaml", frontTemplate,
		"templates/first.yaml", job("first", "pre-install", "-1", ", helm.sh/hook-delete-policy: hook-succeeded"),
		"templates/before.yaml", job("migrate", "pre-install", "0", ", ends: never"))
	i := fx.create()
	if err := i.Deploy(t.Context(), 0, 50*time.Millisecond); !errors.Is(err, install.ErrNotReady) {
		t.Fatalf("a hook that does not end: got %v, want %v", err, install.ErrNotReady)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Deploy(ctx, 0, wait); err == nil {
		t.Fatal("a deployment that was ended has no error")
	}
	if got := fx.applied(); got != "ConfigMap plain, Job first, Job migrate" {
		t.Errorf("applied %s", got)
	}
	i.Close()
	i, err := install.Open(fx.dir, fx.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	fx.cluster.End("shop", "migrate")
	fx.deploy(i, 0)
	if got := fx.applied(); got != "ConfigMap plain, Deployment front-web" {
		t.Errorf("after the interruption applied %s, want no hook again", got)
	}
	if got := fx.names("Job"); got != "migrate" {
		t.Errorf("the Jobs are %s", got)
	}
}

// A chart that cannot be rendered makes a version that cannot be deployed, also not without the chart.
func TestVersionWithoutItsChartIsNotDeployed(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.chart("1.0", helmChart, "templates/a.yaml", `a: {{ randAlphaNum 5 }}`)
	i := fx.create()
	if v, _ := i.Version(0); v.Status != install.Failed || !strings.Contains(v.Error, "randAlphaNum makes another value each time") {
		t.Errorf("the version is %s: %s", v.Status, v.Error)
	}
	if err := i.Deploy(t.Context(), 0, wait); err == nil ||
		!strings.Contains(err.Error(), "the version cannot be deployed: chart.yaml: the chart shop") {
		t.Errorf("deploying it: %v", err)
	}
	if got := fx.applied(); got != "" {
		t.Errorf("applied %s", got)
	}
	fx.chart("2.0", strings.Replace(helmChart, "chartVersion: 1.2.0", "chartVersion: 9.9.9", 1), "templates/a.yaml", "")
	if _, err := i.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, _ := i.Version(1); !strings.Contains(v.Error, "the release has no archive of the chart shop 9.9.9") {
		t.Errorf("without an archive: %+v", v)
	}
}
