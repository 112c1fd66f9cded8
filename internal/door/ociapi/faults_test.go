package ociapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// noise are the tables that the background work of a server changes, and that of what a collection will look at: a row too many is
// harmless.
var noise = []string{"audit_pending", "access_keys", "candidates", "collection", "jobs"}

// swept is a request whose statements fail: what it needs, its answer if nothing fails, and what the answer must be then.
type swept struct {
	method, path string
	body         []byte
	header       []string
	status       int
	right        func(*ocitest.Answer) bool // nil for every answer with the status
	reads        bool                       // the request changes nothing
}

// sweptRequests are one request for each operation of the API. r is a new repository.
var sweptRequests = map[string]func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept{
	"GET manifest": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodGet, path: "/manifests/v1", status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return slices.Equal(a.Body, im.Manifest) }}
	},
	"HEAD manifest": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodHead, path: "/manifests/v1", status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return a.Header.Get("Docker-Content-Digest") == im.Digest }}
	},
	"GET blob": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodGet, path: "/blobs/" + ocitest.SHA256(im.Layers[0]), status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return slices.Equal(a.Body, im.Layers[0]) }}
	},
	"HEAD blob": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodHead, path: "/blobs/" + ocitest.SHA256(im.Layers[0]), status: 200, reads: true}
	},
	"tags": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		r.Push(t, "v2", im)
		return swept{method: http.MethodGet, path: "/tags/list", status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return strings.Contains(string(a.Body), `["v1","v2"]`) }}
	},
	"a page of tags": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		r.Push(t, "v2", im)
		return swept{method: http.MethodGet, path: "/tags/list?n=5", status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return strings.Contains(string(a.Body), `["v1","v2"]`) }}
	},
	"referrers": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.PushBlobs(t, im)
		subject, config := im.Descriptor(), ocitest.Describe(ocitest.ConfigType, im.Config)
		for _, kind := range []string{"a/one", "a/two"} {
			m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: kind, Config: &config,
				Layers: []ocitest.Descriptor{}, Subject: &subject}.JSON()
			r.PutManifest(t, ocitest.SHA256(m), ocitest.ImageType, m).Want(t, http.StatusCreated)
		}
		return swept{method: http.MethodGet, path: "/referrers/" + im.Digest, status: 200, reads: true,
			right: func(a *ocitest.Answer) bool { return strings.Count(string(a.Body), `"artifactType"`) == 2 }}
	},
	"begin upload": func(*testing.T, ocitest.Repo, ocitest.Image) swept {
		return swept{method: http.MethodPost, path: "/blobs/uploads/", status: 202}
	},
	"upload at once": func(_ *testing.T, _ ocitest.Repo, im ocitest.Image) swept {
		return swept{method: http.MethodPost, path: "/blobs/uploads/?digest=" + ocitest.SHA256(im.Layers[0]), body: im.Layers[0], status: 201}
	},
	"mount": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		from := r
		from.Name = "from"
		from.PutBlob(t, im.Layers[0])
		return swept{method: http.MethodPost, path: "/blobs/uploads/?mount=" + ocitest.SHA256(im.Layers[0]) + "&from=from", status: 201}
	},
	"chunk": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		return swept{method: http.MethodPatch, path: r.Begin(t), body: im.Layers[0], status: 202,
			right: func(a *ocitest.Answer) bool { return a.Header.Get("Range") == fmt.Sprintf("0-%d", len(im.Layers[0])-1) }}
	},
	"status": func(t *testing.T, r ocitest.Repo, _ ocitest.Image) swept {
		return swept{method: http.MethodGet, path: r.Begin(t), status: 204, reads: true}
	},
	"cancel": func(t *testing.T, r ocitest.Repo, _ ocitest.Image) swept {
		return swept{method: http.MethodDelete, path: r.Begin(t), status: 204}
	},
	"complete": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		return swept{method: http.MethodPut, path: r.Begin(t) + "?digest=" + ocitest.SHA256(im.Layers[0]), body: im.Layers[0], status: 201}
	},
	"PUT manifest": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.PushBlobs(t, im)
		return swept{method: http.MethodPut, path: "/manifests/v1", body: im.Manifest, status: 201,
			header: []string{"Content-Type", ocitest.ImageType}}
	},
	"DELETE tag": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodDelete, path: "/manifests/v1", status: 202}
	},
	"DELETE image": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		r.Push(t, "v1", im)
		return swept{method: http.MethodDelete, path: "/manifests/" + im.Digest, status: 202}
	},
	"DELETE blob": func(t *testing.T, r ocitest.Repo, im ocitest.Image) swept {
		return swept{method: http.MethodDelete, path: "/blobs/" + r.PutBlob(t, im.Layers[0]), status: 202}
	},
}

func (q swept) send(t *testing.T, r ocitest.Repo) *ocitest.Answer {
	path := q.path
	for _, prefix := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if strings.HasPrefix(path, prefix) {
			path = r.Path(path)
		}
	}
	return r.Do(t, q.method, path, q.body, q.header...)
}

// Whatever statement fails during a request, an answer of success is true: a read has the whole content, and a change is
// stored as a whole. Any other answer says that the server failed, so that the client tries again.
func TestNoAnswerIsFalseWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptRequests {
		t.Run(what, func(t *testing.T) {
			slowtest.Sample(t, 4) // each has a server of its own
			t.Parallel()
			s := apptest.Start(t, apptest.Options{})
			root := s.Root(t)
			root.CreateRepository(t, "from")
			faulttest.Honest(t, faultmeta.In(s.Dir), func(i int) faulttest.Call {
				r := root.CreateRepository(t, fmt.Sprint("team/app-", i))
				q := prepare(t, r, ocitest.NewImage(uint64(i), 10))
				call := faulttest.Call{Do: func() error {
					a := q.send(t, r)
					switch {
					case a.Status == q.status && (q.right == nil || q.right(a)):
						return nil
					case a.Status < 500:
						t.Errorf("call %d, %s: got %d %v %s, want %d or a failure of the server", i, a.Asked, a.Status, a.Header, a.Body, q.status)
					}
					return fmt.Errorf("%d %s", a.Status, a.Body)
				}}
				if !q.reads {
					except := noise
					if what == "complete" || what == "upload at once" { // its bytes are left to the next collection
						except = append(slices.Clone(noise), "candidates")
					}
					call.State = faulttest.Changes(t, s.Dir, except...)
				}
				return call
			})
		})
	}
}

// A mount whose sources cannot be read fails, so that the client tries it again: it does not become an upload of what the registry holds.
func TestAMountWhoseSourcesCannotBeRead(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, data := s.Root(t), []byte("some layer")
	root.CreateRepository(t, "from").PutBlob(t, data)
	r, faults := root.CreateRepository(t, "to"), faultmeta.In(s.Dir)
	mount := func() *ocitest.Answer {
		return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/?mount="+ocitest.SHA256(data)), nil)
	}
	faults.ArmAll("SELECT b.repository FROM repository_blobs b", faultmeta.Before)
	a := mount()
	if failed, _ := faults.Disarm(); a.Status < 500 || len(failed) == 0 {
		t.Errorf("without the statements %q: got %d %v %s, want a failure of the server", failed, a.Status, a.Header, a.Body)
	}
	mount().Want(t, http.StatusCreated)
}

// A caller of another account stays refused whatever statement fails.
func TestNoStrangerIsServedWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range sweptRequests {
		t.Run(what, func(t *testing.T) {
			slowtest.Sample(t, 4) // each has a server of its own
			t.Parallel()
			s := apptest.Start(t, apptest.Options{})
			root := s.Root(t)
			root.CreateRepository(t, "from")
			stranger := s.NewAccount(t, bobID).Docker(t)
			faulttest.Closed(t, faultmeta.In(s.Dir), func(i int) faulttest.Call {
				r := root.CreateRepository(t, fmt.Sprint("team/app-", i))
				q := prepare(t, r, ocitest.NewImage(uint64(i), 10))
				his := stranger.Repo(r.Name)
				his.Prefix = "000000000000/us-east-1/"
				q.path = strings.Replace(q.path, "/v2/"+r.Name, "/v2/"+his.Prefix+r.Name, 1)
				changed := faulttest.Changes(t, s.Dir, append(noise, "images")...)
				return faulttest.Call{Do: func() error {
					a := q.send(t, his)
					if now := changed(); now != "" {
						t.Errorf("call %d, %s: the database has changed: %s", i, a.Asked, now)
					}
					if a.Status < 300 {
						return nil
					}
					return fmt.Errorf("%d", a.Status)
				}}
			})
		})
	}
}
