package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// listType returns the content type of listings.
func (x Target) listType() string {
	if x.Quirks.Page100 {
		return "text/plain; charset=utf-8"
	}
	return "application/json; charset=utf-8"
}

func tags(t *testing.T, x Target) {
	r := x.NewRepo(t)
	get := func(query string) ([]string, *ocitest.Answer) {
		t.Helper()
		a := r.Tags(t, query).Want(t, http.StatusOK).WantHeader(t, "Content-Type", x.listType())
		var list struct {
			Name string
			Tags []string
		}
		a.JSON(t, &list)
		if list.Name != r.Prefix+r.Name || list.Tags == nil {
			t.Errorf("%s: got %s, want the name %s and a list", a.Asked, a.Body, r.Prefix+r.Name)
		}
		return list.Tags, a
	}
	if got, a := get(""); len(got) > 0 || a.Next(t) != "" {
		t.Errorf("tags of an empty repository: %v, next %s", got, a.Next(t))
	}
	im := ocitest.NewImage(60, 10)
	r.PushBlobs(t, im)
	want := []string{"0", "1.0", "1.0-rc", "A", "Z", "_", "a", "a-b", "latest", "z"} // in the order of bytes
	for _, i := range []int{5, 2, 9, 0, 7, 1, 3, 8, 6, 4} {
		r.PutManifest(t, want[i], ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	}
	if got, a := get(""); !slices.Equal(got, want) || a.Next(t) != "" {
		t.Errorf("tags: got %v and next %q, want %v and none", got, a.Next(t), want)
	}
	for _, n := range []int{1, 3, 5, 9, 10, 11} {
		var all []string
		pages := 0
		for next := r.Path(fmt.Sprintf("/tags/list?n=%d", n)); next != ""; pages++ {
			var list struct{ Tags []string }
			a := r.Do(t, http.MethodGet, next, nil).Want(t, http.StatusOK).JSON(t, &list)
			if len(list.Tags) > n || len(list.Tags) == 0 || pages > len(want) {
				t.Fatalf("n=%d: page %d has %d tags", n, pages, len(list.Tags))
			}
			all, next = append(all, list.Tags...), a.Next(t)
		}
		if wantPages := (len(want) + n - 1) / n; !slices.Equal(all, want) || pages != wantPages {
			t.Errorf("n=%d: got %v in %d pages, want %v in %d", n, all, pages, want, wantPages)
		}
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"n=0", []string{}}, {"n=0&last=a", []string{}}, {"last=a", want[7:]}, {"last=a&n=2", want[7:9]}, {"last=M", want[4:]},
		{"last=z", []string{}}, {"n=1000", want}, {"n=5&last=", want[:5]}, {"last=%ff", []string{}}, {"last='%20OR%201=1", want},
	} {
		if c.query == "last='%20OR%201=1" {
			c.want = want // an apostrophe sorts before all tags
		}
		if got, a := get(c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", a.Asked, got, c.want)
		}
	}
	if _, a := get("n=0"); a.Next(t) != "" {
		t.Errorf("n=0 has a next page %s", a.Next(t))
	}
	for _, n := range []string{"-1", "abc", "1.5", "", "0x10", "1e3", "99999999999999999999999"} {
		x.wantBadParameter(t, r.Tags(t, "n="+n))
	}
	x.wantBadParameter(t, r.Tags(t, "last="+strings.Repeat("a", 5000)))
	for _, n := range []string{"1001", "1000000", "999999999999999999"} {
		if x.Quirks.Page100 {
			x.wantBadParameter(t, r.Tags(t, "n="+n))
		} else if got, _ := get("n=" + n); !slices.Equal(got, want) {
			t.Errorf("n=%s: got %v, want %v", n, got, want)
		}
	}
}

func catalog(t *testing.T, x Target) {
	if x.Catalog == nil {
		return
	}
	mine := map[string]bool{}
	for range 5 {
		mine[x.NewRepo(t).Name] = true
	}
	var whole []string
	for next := "/v2/_catalog"; next != ""; { // with the quirk, one response does not have all repositories
		var list struct{ Repositories []string }
		a := x.Catalog.Do(t, http.MethodGet, next, nil).Want(t, http.StatusOK).WantHeader(t, "Content-Type", x.listType()).JSON(t, &list)
		whole, next = append(whole, list.Repositories...), a.Next(t)
	}
	found := 0
	for _, name := range whole {
		if mine[name] {
			found++
		}
	}
	if found != len(mine) || !slices.IsSorted(whole) {
		t.Errorf("catalog: got %v, want all of %v, sorted", whole, mine)
	}
	for _, n := range []int{1, 2, len(whole)} {
		var all []string
		for next := fmt.Sprintf("/v2/_catalog?n=%d", n); next != ""; {
			var list struct{ Repositories []string }
			a := x.Catalog.Do(t, http.MethodGet, next, nil).Want(t, http.StatusOK).JSON(t, &list)
			if len(list.Repositories) > n || len(all) > len(whole) {
				t.Fatalf("catalog with n=%d: a page has %v after %v", n, list.Repositories, all)
			}
			all, next = append(all, list.Repositories...), a.Next(t)
		}
		if !slices.Equal(all, whole) {
			t.Errorf("catalog with n=%d: got %v, want %v", n, all, whole)
		}
	}
	a := x.Catalog.Do(t, http.MethodGet, "/v2/_catalog?n=0", nil).Want(t, http.StatusOK)
	if string(a.Body) != `{"repositories":[]}` || a.Next(t) != "" {
		t.Errorf("catalog with n=0: got %s, next %q", a.Body, a.Next(t))
	}
	x.wantBadParameter(t, x.Catalog.Do(t, http.MethodGet, "/v2/_catalog?n=-1", nil))
	if !x.Quirks.Page100 {
		x.Catalog.Do(t, http.MethodGet, "/v2/_catalog?n=999999999999999999", nil).Want(t, http.StatusOK)
	}
}

// index decodes a list of referrers.
func index(t *testing.T, a *ocitest.Answer) []ocitest.Descriptor {
	t.Helper()
	a.Want(t, http.StatusOK).WantHeader(t, "Content-Type", ocitest.IndexType)
	var got ocitest.Manifest
	a.JSON(t, &got)
	if got.SchemaVersion != 2 || got.MediaType != ocitest.IndexType || got.Manifests == nil {
		t.Errorf("%s: got %s, want an image index", a.Asked, a.Body)
	}
	return got.Manifests
}

func referrers(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(70, 10)
	subject := im.Descriptor()
	list := func(query string) *ocitest.Answer {
		return r.Do(t, http.MethodGet, r.Path("/referrers/"+subject.Digest+query), nil)
	}
	if got := index(t, list("")); len(got) > 0 {
		t.Errorf("referrers of an unknown digest: %v", got)
	}
	r.Do(t, http.MethodGet, r.Path("/referrers/latest"), nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")

	// Referrers may be pushed before their subject.
	notes := map[string]string{"org.opencontainers.image.created": "2026-08-01T00:00:00Z", "note": "<ü & more>"}
	var want []ocitest.Descriptor
	for i := range 5 {
		m := ocitest.Manifest{ArtifactType: fmt.Sprintf("application/vnd.example.kind%d", i%2), Subject: &subject,
			Annotations: map[string]string{"n": fmt.Sprint(i)}}
		if i == 0 {
			m.Annotations = notes
		}
		body := artifact(t, r, "", m)
		d := ocitest.Describe(ocitest.ImageType, body)
		d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
		want = append(want, d)
	}
	r.Push(t, "v1", im)
	// The artifact type of an image is the type of its configuration; that of an index is its own, if set.
	config := ocitest.Describe(ocitest.ConfigType, im.Config)
	body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config, Layers: []ocitest.Descriptor{},
		Subject: &subject}.JSON()
	r.PutManifest(t, ocitest.SHA256(body), ocitest.ImageType, body).Want(t, http.StatusCreated).WantHeader(t, "OCI-Subject", subject.Digest)
	d := ocitest.Describe(ocitest.ImageType, body)
	d.ArtifactType = ocitest.ConfigType
	want = append(want, d)
	for _, kind := range []string{"", "application/vnd.example.kind0"} {
		body = ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, ArtifactType: kind,
			Manifests: []ocitest.Descriptor{subject}, Subject: &subject}.JSON()
		r.PutManifest(t, "index", ocitest.IndexType, body).Want(t, http.StatusCreated).WantHeader(t, "OCI-Subject", subject.Digest)
		d = ocitest.Describe(ocitest.IndexType, body)
		d.ArtifactType = kind
		want = append(want, d)
	}
	byDigest := func(a, b ocitest.Descriptor) int { return strings.Compare(a.Digest, b.Digest) }
	slices.SortFunc(want, byDigest)
	if diff := cmp.Diff(want, index(t, list("")), cmp.Transformer("nil", func(m map[string]string) string {
		return fmt.Sprint(m)
	})); diff != "" {
		t.Errorf("referrers (-want +got):\n%s", diff)
	}
	for kind, n := range map[string]int{"application/vnd.example.kind0": 4, "application/vnd.example.kind1": 2,
		ocitest.ConfigType: 1, "application/none": 0} {
		a := list("?"+ocitest.Query("artifactType", kind)).WantHeader(t, "OCI-Filters-Applied", "artifactType")
		got := index(t, a)
		if len(got) != n {
			t.Errorf("%d referrers of type %s, want %d", len(got), kind, n)
		}
		for _, d := range got {
			if d.ArtifactType != kind {
				t.Errorf("filter %s: got a referrer of type %s", kind, d.ArtifactType)
			}
		}
	}
	list("").WantHeader(t, "OCI-Filters-Applied", "")
	// A deleted referrer is not listed any more; the referrers of a deleted subject still are.
	r.Do(t, http.MethodDelete, r.Path("/manifests/"+want[0].Digest), nil).Want(t, http.StatusAccepted)
	if got := index(t, list("")); len(got) != len(want)-1 || slices.ContainsFunc(got, func(d ocitest.Descriptor) bool {
		return d.Digest == want[0].Digest
	}) {
		t.Errorf("after deleting %s: got %v", want[0].Digest, got)
	}
	other := x.NewRepo(t)
	if got := index(t, other.Do(t, http.MethodGet, other.Path("/referrers/"+subject.Digest), nil)); len(got) > 0 {
		t.Errorf("another repository lists referrers: %v", got)
	}
}

// A list of referrers larger than the maximum size of a manifest is split into pages, with and without a
// filter.
func referrerPages(t *testing.T, x Target) {
	r := x.NewRepo(t)
	subject := ocitest.NewImage(72, 10).Descriptor()
	var want, filtered []string
	for i := range 7 {
		kind := fmt.Sprintf("application/vnd.example.kind%d+json", i/5) // five of the first type, two of the second
		body := artifact(t, r, "", ocitest.Manifest{ArtifactType: kind, Subject: &subject,
			Annotations: map[string]string{"note": strings.Repeat(fmt.Sprint(i), 1<<20)}})
		want = append(want, ocitest.SHA256(body))
		if i < 5 {
			filtered = append(filtered, ocitest.SHA256(body))
		}
	}
	slices.Sort(want)
	slices.Sort(filtered)
	for query, want := range map[string][]string{"": want,
		"?" + ocitest.Query("artifactType", "application/vnd.example.kind0+json"): filtered} {
		var got []string
		pages := 0
		for next := r.Path("/referrers/" + subject.Digest + query); next != ""; pages++ {
			a := r.Do(t, http.MethodGet, next, nil)
			if query != "" {
				a.WantHeader(t, "OCI-Filters-Applied", "artifactType")
			}
			for _, d := range index(t, a) {
				got = append(got, d.Digest)
			}
			if len(a.Body) > 4<<20 || pages > len(want) {
				t.Fatalf("%s: page %d has %d bytes", a.Asked, pages, len(a.Body))
			}
			next = a.Next(t)
		}
		if !slices.Equal(got, want) || pages < 2 {
			t.Errorf("referrers%s: got %v in %d pages, want %v in several", query, got, pages, want)
		}
	}
	r.Do(t, http.MethodGet, r.Path("/referrers/"+subject.Digest+"?last=latest"), nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
}

// A client without support for the referrers API keeps an index under a tag that is made from the subject's
// digest. The registry serves that index like any other, and the API lists the same referrers, since the
// registry reads subjects itself.
func fallbackTag(t *testing.T, x Target) {
	r := x.NewRepo(t)
	im := ocitest.NewImage(71, 10)
	r.Push(t, "v1", im)
	subject := im.Descriptor()
	body := artifact(t, r, "", ocitest.Manifest{Subject: &subject})
	entry := ocitest.Describe(ocitest.ImageType, body)
	entry.ArtifactType = "application/vnd.example.thing"
	fallback := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{entry}}.JSON()
	tag := strings.Replace(subject.Digest, ":", "-", 1)
	a := r.PutManifest(t, tag, ocitest.IndexType, fallback).Want(t, http.StatusCreated)
	a.WantHeader(t, "OCI-Subject", "")
	if got := r.Manifest(t, tag).Want(t, http.StatusOK); string(got.Body) != string(fallback) {
		t.Errorf("the index of the fallback tag: got %s, want %s", got.Body, fallback)
	}
	got := index(t, r.Do(t, http.MethodGet, r.Path("/referrers/"+subject.Digest), nil))
	if len(got) != 1 || got[0].Digest != entry.Digest {
		t.Errorf("referrers beside a fallback tag: got %v, want the artifact once", got)
	}
	r.Do(t, http.MethodDelete, r.Path("/manifests/"+tag), nil).Want(t, http.StatusAccepted)
}
