package pullthrough_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The credentials of a rule go to its registry and to no other host, and are in no file and no log of the installation.
func TestCredentialsStayWithTheRegistry(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-the-access-token"
	im := ocitest.NewImage(1, 100_000)
	layer := ocitest.SHA256(im.Layers[0])
	var leaked, served atomic.Int64
	storage := newFar(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
		served.Add(1)
		_, _ = w.Write(im.Layers[0])
	})
	f := newFar(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != canary {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/v2/app/blobs/"+layer {
			http.Redirect(w, r, "https://"+storage.Host+"/layer", http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Type", ocitest.ImageType)
		_, _ = w.Write(im.Manifest)
	})
	s := near(t, nil, nil, f, storage)
	root := s.Root(t)
	arn := putSecret(t, s, "ecr-pullthroughcache/far", `{"username":"u","accessToken":"`+canary+`"}`)
	in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("cache"), UpstreamRegistryUrl: &f.Host, CredentialArn: &arn}
	if _, err := root.ECR().CreatePullThroughCacheRule(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	repo := root.Docker(t).Repo("cache/app")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	if got := repo.Blob(t, layer).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Layers[0]) {
		t.Errorf("the layer: got %d other bytes", len(got.Body))
	}
	if leaked.Load() != 0 || served.Load() != 1 {
		t.Errorf("the host of the layers got %d requests, %d with credentials; want 1 and none", served.Load(), leaked.Load())
	}
	var list ecrintypes.ListSecretsResponse
	s.Operator(t, "ListSecrets", ecrintypes.ListSecretsRequest{}, &list)
	if len(list.Secrets) != 1 || list.Secrets[0].Arn != arn {
		t.Errorf("ListSecrets: got %+v, want %s", list, arn)
	}
	if again := putSecret(t, s, "ecr-pullthroughcache/far", `{"username":"u","accessToken":"another"}`); again != arn {
		t.Errorf("another value: got the ARN %s, want %s", again, arn)
	}
	s.Stop(t)
	if bytes.Contains([]byte(s.Log.String()), []byte(canary)) {
		t.Error("the log has the access token")
	}
	if err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s has the access token", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// A client that goes away does not end the fetch for the others, and the end of the server does.
func TestFetchesEndWithTheServer(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 2<<20)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	layer := ocitest.SHA256(im.Layers[0])
	lie(f, layer, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "2097152")
		_, _ = w.Write(im.Layers[0][:1<<20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	docker := root.Docker(t)
	repo := docker.Repo("cache/app")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+repo.Path("/blobs/"+layer), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("AWS", docker.Password)
	got, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := got.Body.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("the first byte: %v", err)
	}
	cancel()
	got.Body.Close()
	begun := time.Now()
	s.Stop(t)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the server stopped after %s", took)
	}
	if n := f.count(layer); n != 1 {
		t.Errorf("got %d requests for the layer, want 1", n)
	}
}
