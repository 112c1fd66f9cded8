package kube_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
)

// A pod that is being deleted, and one that its controller replaces (the kubelet evicted it), say nothing about whether the Deployment
// will run. One whose image cannot be pulled does.
func TestPodsThatAreReplacedAreNoFailure(t *testing.T) {
	const pull = `"phase":"Pending","containerStatuses":[{"name":"web","state":{"waiting":{"reason":"ImagePullBackOff","message":"not found"}}}]`
	tests := []struct {
		name, metadata, status string
		want                   kube.Health
	}{
		{"being deleted, killed by the kubelet", `"deletionTimestamp":"2026-11-29T15:03:35Z",`, `"phase":"Failed"`,
			kube.Health{State: kube.Changing, Why: "1 of 1 pods are new, 0 are available"}},
		{"being deleted, its image cannot be pulled", `"deletionTimestamp":"2026-11-29T15:03:35Z",`, pull,
			kube.Health{State: kube.Changing, Why: "1 of 1 pods are new, 0 are available"}},
		{"evicted", "", `"phase":"Failed","reason":"Evicted","message":"The node was low on memory."`,
			kube.Health{State: kube.Changing, Why: "1 of 1 pods are new, 0 are available"}},
		{"image that cannot be pulled", "", pull,
			kube.Health{State: kube.Failed, Why: "pod web-1-a: container web: ImagePullBackOff: not found"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string]string{
				"/apis/apps/v1": `{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true}]}`,
				"/apis/apps/v1/namespaces/n/deployments/web": `{"apiVersion":"apps/v1","kind":"Deployment",
					"metadata":{"name":"web","namespace":"n","uid":"u1","generation":1,"annotations":{"deployment.kubernetes.io/revision":"1"}},
					"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}}},
					"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1}}`,
				"/apis/apps/v1/namespaces/n/replicasets": `{"items":[{"metadata":{"name":"web-1","uid":"u2",
					"annotations":{"deployment.kubernetes.io/revision":"1"},"ownerReferences":[{"uid":"u1","controller":true}]}}]}`,
				"/api/v1/namespaces/n/pods": fmt.Sprintf(`{"items":[{"metadata":{%s"name":"web-1-a",
					"ownerReferences":[{"uid":"u2","controller":true}]},"status":{%s}}]}`, tt.metadata, tt.status),
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, ok := answers[r.URL.Path]
				if !ok {
					t.Errorf("unexpected request for %s", r.URL.Path)
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body)
			}))
			t.Cleanup(server.Close)
			config := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(config, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","current-context":"c",
				"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{}}],
				"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, server.URL), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := kube.Open(kube.Config{Kubeconfig: config})
			if err != nil {
				t.Fatal(err)
			}
			tt.want.ObjectKey = kube.ObjectKey{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "n", Name: "web"}
			got, err := kube.NewObjects(c).Health(t.Context(), tt.want.ObjectKey)
			if err != nil || got != tt.want {
				t.Errorf("got %v: %d %s, %v, want %d %s", got, got.State, got.Why, err, tt.want.State, tt.want.Why)
			}
		})
	}
}
