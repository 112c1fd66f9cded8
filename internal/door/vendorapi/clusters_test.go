package vendorapi_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// chartOf returns a packed Helm chart.
func chartOf(t *testing.T, metadata string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "web/Chart.yaml", Mode: 0o644, Size: int64(len(metadata))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(metadata)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each answer about a release has its packed charts, which clients wait for. Other archives are none.
func TestVendorsSeeTheChartsOfAReleaseAsPushed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	list := object(t, []members{
		{"name": "web.tgz", "path": "web.tgz", "content": chartOf(t, "name: web\nversion: 1.2.3\n"), "children": []any{}},
		{"name": "other.tgz", "path": "other.tgz", "content": []byte("no archive"), "children": []any{}},
	})
	spec := object(t, members{"spec_gzip": packed(t, list)})
	charts := []any{members{"name": "web", "version": "1.2.3", "status": "pushed", "error": ""}}
	without := object(t, members{"spec_gzip": packed(t, files)})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               any
	}{
		{"POST", "/v3/app/shop/release", without, 201, members{"release": members{"charts": []any{}}}},
		{"POST", "/v3/app/shop/release", spec, 201, members{"release": members{"charts": charts}}},
		{"GET", "/v3/app/shop/release/2", "", 200, members{"release": members{"charts": charts}}},
		{"GET", "/v3/app/shop/releases", "", 200, members{"releases": []any{members{"charts": charts}, members{"charts": []any{}}}}},
		{"PUT", "/v3/app/shop/release/1", spec, 200, members{"release": members{"charts": charts}}},
		{"PUT", "/v3/app/shop/release/2", without, 200, members{"release": members{"charts": []any{}}}},
		{"GET", "/v3/app/shop/releases", "", 200, members{"releases": []any{members{"charts": []any{}}, members{"charts": charts}}}},
	} {
		got := f.call(f.key, c.method, c.path, c.body)
		if s := differs("the answer", c.want, got.body); got.status != c.status || s != "" {
			t.Errorf("%s %s: got %d, %s", c.method, c.path, got.status, s)
		}
	}
}

// Installations count by the versions of Kubernetes that they have told, and by the distributions that these name.
func TestVendorsSeeTheClustersOfInstallations(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.app("shop")
	var made ecrintypes.CreateCustomerResponse
	f.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &made)
	for instance, version := range map[string]string{"a": "v1.35.4+k3s1", "b": "v1.34.1-eks-adc7111", "c": "v1.35.4+k3s1", "d": "",
		"e": "v1.34.2-gke.1043002", "f": "v1.34.3"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", f.URL+"/release/shop/pending", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(made.LicenseId, made.LicenseId)
		r.Header.Set("X-Replicated-InstanceID", instance)
		r.Header.Set("X-Replicated-K8sVersion", version)
		resp, err := f.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("a check for updates: got %d, want 200", resp.StatusCode)
		}
	}
	kind := func(distribution, version, cloud string, n float64) members {
		return members{"kubernetes_distribution": distribution, "kubernetes_version": version, "cloud_provider": cloud, "number_of_instances": n,
			"kots_version": "", "is_kurl": false, "is_airgap": false}
	}
	got := f.call(f.key, "GET", "/v3/app/shop/cluster-usage", "")
	if s := differs("the answer", members{"clusterUsageDetails": []any{kind("k3s", "v1.35.4+k3s1", "", 2),
		kind("eks", "v1.34.1-eks-adc7111", "aws", 1), kind("gke", "v1.34.2-gke.1043002", "gcp", 1), kind("", "v1.34.3", "", 1)}},
		got.body); got.status != 200 || s != "" {
		t.Errorf("got %d, %s in %s", got.status, s, got.text)
	}
}
