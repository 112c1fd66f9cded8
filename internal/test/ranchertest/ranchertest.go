// Package ranchertest serves the v1 API of a Rancher 1.x inside a test, as far as an updater of credentials uses it.
package ranchertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Server is a Rancher with the environment Staging: Basic authentication, schemas, lists in pages of two objects, objects that were removed
// and are still listed, and secrets that are not returned. The fields are set before requests, and read after them.
type Server struct {
	*httptest.Server
	NoPut   bool   // the schemas have no PUT
	NoPost  bool   // the schemas have no POST
	Links   string // scheme and host of links; "" for the right ones
	Foreign int    // requests without the access key
	Puts    int    // updates
	Objects []map[string]string

	mu sync.Mutex
}

// The access key of the environment.
const (
	AccessKey = "0123456789ABCDEF0123"
	SecretKey = "the-secret-key-of-rancher"
)

// New starts a Rancher that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	f := &Server{}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	f.Objects = append(f.Objects, map[string]string{"id": "1a5", "type": "project", "name": "Staging", "state": "active"})
	return f
}

// Add adds a registry with a credential to the environment and returns the id of the credential.
func (f *Server) Add(address, state string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	registry := f.make(map[string]string{"type": "registry", "serverAddress": address, "state": state})
	return f.make(map[string]string{"type": "registryCredential", "registryId": registry, "publicValue": "AWS", "secretValue": "old",
		"email": "none", "state": state})
}

func (f *Server) make(o map[string]string) string {
	o["id"] = fmt.Sprintf("1x%d", len(f.Objects))
	f.Objects = append(f.Objects, o)
	return o["id"]
}

// Credentials returns USER:PASSWORD of the registries, by their addresses.
func (f *Server) Credentials() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	address, all := map[string]string{}, map[string]string{}
	for _, o := range f.Objects {
		switch o["type"] {
		case "registry":
			address[o["id"]] = o["serverAddress"]
		case "registryCredential":
			all[address[o["registryId"]]] = o["publicValue"] + ":" + o["secretValue"]
		}
	}
	return all
}

var plurals = map[string]string{"registries": "registry", "registrycredentials": "registryCredential", "projects": "project"}

func (f *Server) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	base := "http://" + r.Host
	if f.Links != "" {
		base = f.Links
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-API-Schemas", base+"/v1/schemas")
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	failed := func(status int, code string) {
		answer(status, map[string]any{"type": "error", "status": status, "code": code, "message": code})
	}
	if key, value, _ := r.BasicAuth(); key != AccessKey || value != SecretKey {
		f.Foreign++
		failed(http.StatusUnauthorized, "Unauthorized")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] != "v1" {
		failed(http.StatusNotFound, "NotFound")
		return
	}
	if len(parts) == 1 {
		answer(http.StatusOK, map[string]any{"type": "apiVersion", "id": "v1", "links": map[string]string{"self": base + "/v1"}})
		return
	}
	if parts[1] == "schemas" {
		answer(http.StatusOK, map[string]any{"type": "collection", "resourceType": "schema", "data": f.schemas(base)})
		return
	}
	kind, ok := plurals[parts[1]]
	if !ok || len(parts) > 3 {
		failed(http.StatusNotFound, "NotFound")
		return
	}
	if len(parts) == 2 && r.Method == http.MethodGet {
		answer(http.StatusOK, f.list(base, parts[1], kind, r))
		return
	}
	in := map[string]string{}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		failed(http.StatusBadRequest, "InvalidBodyContent")
		return
	}
	if len(parts) == 2 && r.Method == http.MethodPost && !f.NoPost {
		in["type"], in["state"] = kind, "registering"
		id := f.make(in)
		answer(http.StatusCreated, shown(base, parts[1], f.find(id)))
		return
	}
	if o := f.find(parts[len(parts)-1]); o != nil && r.Method == http.MethodPut && !f.NoPut {
		for _, key := range []string{"publicValue", "secretValue", "email"} {
			o[key] = in[key]
		}
		f.Puts++
		answer(http.StatusOK, shown(base, parts[1], o))
		return
	}
	failed(http.StatusMethodNotAllowed, "MethodNotAllowed")
}

func (f *Server) find(id string) map[string]string {
	for _, o := range f.Objects {
		if o["id"] == id {
			return o
		}
	}
	return nil
}

func (f *Server) schemas(base string) (all []map[string]any) {
	for plural, kind := range plurals {
		methods := []string{"GET", "PUT", "DELETE"}
		if f.NoPut {
			methods = []string{"GET"}
		}
		ofCollection := []string{"GET", "POST"}
		if f.NoPost {
			ofCollection = []string{"GET"}
		}
		all = append(all, map[string]any{"id": kind, "type": "schema", "pluralName": plural, "collectionMethods": ofCollection,
			"resourceMethods": methods,
			"links":           map[string]string{"self": base + "/v1/schemas/" + kind, "collection": base + "/v1/" + plural}})
	}
	return all
}

// list returns a page of a collection: two objects from the one that marker names.
func (f *Server) list(base, plural, kind string, r *http.Request) map[string]any {
	data, next := []any{}, any(nil)
	marker := r.URL.Query().Get("marker")
	for _, o := range f.Objects {
		if id := r.URL.Query().Get("registryId"); o["type"] != kind || id != "" && o["registryId"] != id {
			continue
		}
		if marker != "" && o["id"] != marker {
			continue
		}
		if marker = ""; len(data) == 2 {
			q := r.URL.Query()
			q.Set("marker", o["id"])
			next = base + "/v1/" + plural + "?" + q.Encode()
			break
		}
		data = append(data, shown(base, plural, o))
	}
	return map[string]any{"type": "collection", "resourceType": kind, "data": data, "pagination": map[string]any{"limit": 2, "next": next}}
}

// shown returns an object as it is read: without its secret.
func shown(base, plural string, o map[string]string) map[string]any {
	out := map[string]any{"links": map[string]string{"self": base + "/v1/" + plural + "/" + o["id"]}, "actions": map[string]string{}}
	for key, value := range o {
		out[key] = value
	}
	if _, ok := out["secretValue"]; ok {
		out["secretValue"] = nil
	}
	return out
}
