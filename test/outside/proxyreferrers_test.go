package outside_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// signed pushes an artifact that refers to an image, and returns its digest and that of its layer.
func signed(t testing.TB, repo ocitest.Repo, tag, kind string, subject ocitest.Descriptor) (digest, layer string) {
	t.Helper()
	config := ocitest.Describe(ocitest.EmptyType, []byte("{}"))
	repo.PutBlob(t, []byte("{}"))
	text := []byte("signature " + kind + " of " + subject.Digest)
	layer = repo.PutBlob(t, text)
	body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: kind, Config: &config,
		Layers: []ocitest.Descriptor{ocitest.Describe("text/plain", text)}, Subject: &subject}.JSON()
	digest = ocitest.SHA256(body)
	if tag == "" {
		tag = digest
	}
	repo.PutManifest(t, tag, ocitest.ImageType, body).Want(t, http.StatusCreated)
	return digest, layer
}

// behind starts a vendor whose images are in a registry behind a front, shared with the application shop as the integration far.
func behind(t testing.TB) (s *shop, f *front, there *apptest.Server) {
	t.Helper()
	there = apptest.Start(t, apptest.Options{})
	f = before(t, there)
	s = &shop{far: &far{near: near(t, nil, f)}}
	add(t, s.near, byKey("far", f, there.Root(t)))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, nil)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "far"}, nil)
	return s, f, there
}

// entitled makes a customer who may pull the images with some tags, and returns its licence.
func (s *shop) entitled(t testing.TB, label, repositories string, tags ...string) string {
	t.Helper()
	id, license := s.customer(t, "shop", label)
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: id, ImageTags: tags,
		Repositories: []string{repositories}}, nil)
	return license
}

// Referrers are listed and pulled, with their layers, by whoever may pull their image, and by nobody else: of an external registry, and of
// a repository of the vendor. So is the signature of a referrer.
func TestReferrersAreEntitledAsTheirImages(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	for _, c := range []struct {
		what, path, known string
		repo              ocitest.Repo
	}{
		{"an external registry", "proxy/shop/far/demo/one/", f.Host + "/demo/one", there.Root(t).CreateRepository(t, "demo/one")},
		{"a repository of the vendor", "demo/own/", "demo/own", s.near.Root(t).CreateRepository(t, "demo/own")},
	} {
		one, two := ocitest.NewImage(1, 500), ocitest.NewImage(2, 700)
		c.repo.Push(t, "1.0", one)
		c.repo.Push(t, "2.0", two)
		of1, layer1 := signed(t, c.repo, "", "application/sbom", one.Descriptor())
		of2, layer2 := signed(t, c.repo, "", "application/sbom", two.Descriptor())
		body := get(t, s.near, s.entitled(t, "all "+c.known, c.known), http.MethodGet, c.path+"manifests/"+of1).Want(t, 200).Body
		above, layerAbove := signed(t, c.repo, "", "application/signature", ocitest.Describe(ocitest.ImageType, body))
		cosign := strings.Replace(one.Digest, ":", "-", 1) + ".sig"
		text := ocitest.NewImage(9, 90)
		c.repo.Push(t, cosign, text)
		first, none := s.entitled(t, "first "+c.known, c.known, "1.*"), s.entitled(t, "none "+c.known, "others/*")
		get(t, s.near, first, http.MethodGet, c.path+"manifests/1.0").Want(t, 200)
		for _, path := range []string{"referrers/" + one.Digest, "referrers/" + of1} { // in the order of a client: the list first
			if a := get(t, s.near, first, http.MethodGet, c.path+path); a.Status != 200 || !strings.Contains(string(a.Body), "sha256:") {
				t.Errorf("%s, %s: got %d %s, want a list", c.what, path, a.Status, a.Body)
			}
		}
		for _, r := range []struct {
			what, path  string
			first, none int
		}{
			{"a referrer", "manifests/" + of1, 200, 403},
			{"its layer", "blobs/" + layer1, 200, 403},
			{"the signature of the referrer", "manifests/" + above, 200, 403},
			{"the layer of the signature", "blobs/" + layerAbove, 200, 403},
			{"a signature by its tag", "manifests/" + cosign, 200, 403},
			{"the same by its digest", "manifests/" + text.Digest, 200, 403},
			{"the layer of it", "blobs/" + ocitest.SHA256(text.Layers[0]), 200, 403},
			{"the referrers of another image", "referrers/" + two.Digest, 403, 403},
			{"the referrer of another image", "manifests/" + of2, 403, 403},
			{"its layer", "blobs/" + layer2, 403, 403},
		} {
			for who, want := range map[string]int{first: r.first, none: r.none} {
				if a := get(t, s.near, who, http.MethodGet, c.path+r.path); a.Status != want {
					t.Errorf("%s, %s: got %d %s, want %d", c.what, r.what, a.Status, a.Body, want)
				}
			}
		}
	}
}

// A list of referrers is that of the registry byte for byte, with what it says about its filter; a link to a further page, wherever it
// points to, leads to this server. A registry without the API is asked for the tag of the list; without either the answer is 404. While it
// does not answer, what was fetched is listed.
func TestReferrersPassByteForByte(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	repo := there.Root(t).CreateRepository(t, "demo/one")
	im := ocitest.NewImage(1, 500)
	repo.Push(t, "1.0", im)
	signature, _ := signed(t, repo, "", "application/signature", im.Descriptor())
	license := s.entitled(t, "big", f.Host+"/demo/*")
	path := "proxy/shop/far/demo/one/referrers/" + im.Digest
	get(t, s.near, license, http.MethodGet, "proxy/shop/far/demo/one/manifests/1.0").Want(t, 200)
	text := func(more string) string {
		return `{ "manifests":[{"digest":"` + signature + `","size":10,"mediaType":"application/vnd.oci.image.manifest.v1+json",
			"x-unknown":["kept"]}], "mediaType": "application/vnd.oci.image.index.v1+json", "schemaVersion" :2` + more + `}`
	}
	var links, queries []string
	answer := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/referrers/") {
			return false
		}
		queries = append(queries, r.URL.RawQuery)
		w.Header().Set("Content-Type", ocitest.IndexType)
		w.Header().Set("X-Secret", "canary-header")
		if kind := r.URL.Query().Get("artifactType"); kind != "" {
			w.Header().Set("OCI-Filters-Applied", "artifactType")
		}
		if len(links) > 0 {
			w.Header().Add("Link", links[0])
		}
		fmt.Fprint(w, text(`,"page":"`+r.URL.Query().Get("page")+`"`))
		return true
	}
	f.set(answer)
	a := get(t, s.near, license, http.MethodGet, path+"?artifactType=application%2Fsignature")
	if a.Status != 200 || string(a.Body) != text(`,"page":""`) || a.Header.Get("OCI-Filters-Applied") != "artifactType" ||
		a.Header.Get("Content-Type") != ocitest.IndexType || a.Header.Get("X-Secret") != "" || a.Header.Get("Link") != "" {
		t.Errorf("a list: got %d %s with %s", a.Status, a.Body, shown(a.Header))
	}
	if a := get(t, s.near, license, http.MethodGet, path); a.Header.Get("OCI-Filters-Applied") != "" {
		t.Errorf("without a filter: got %s", shown(a.Header))
	}
	for _, target := range []string{"/v2/demo/one/referrers/" + im.Digest, "https://" + f.Host + "/x", "https://attacker.invalid/v2/",
		"http://169.254.169.254/latest/meta-data", "//attacker.invalid/v2/"} {
		links = []string{"<" + target + `?page=2&artifactType=a%2Fb>; title="x"; rel="next"`}
		a := get(t, s.near, license, http.MethodGet, path)
		if want := "</v2/" + path + `?artifactType=a%2Fb&page=2>; rel="next"`; a.Header.Get("Link") != want {
			t.Errorf("a link to %s: got %q, want %q", target, a.Header.Get("Link"), want)
		}
		a = get(t, s.near, license, http.MethodGet, strings.TrimPrefix(a.Next(t), "/v2/")).Want(t, 200)
		if string(a.Body) != text(`,"page":"2"`) || queries[len(queries)-1] != "artifactType=a%2Fb&page=2" {
			t.Errorf("the page after a link to %s: got %s for %q", target, a.Body, queries[len(queries)-1])
		}
	}
	for what, link := range map[string]string{"another relation": `</x?page=2>; rel="prev"`, "without a query": `</x>; rel="next"`} {
		links = []string{link}
		if a := get(t, s.near, license, http.MethodGet, path); a.Status != 200 || a.Header.Get("Link") != "" {
			t.Errorf("a link %s: got %d with %q", what, a.Status, a.Header.Get("Link"))
		}
	}
	links = nil
	f.set(down)
	if a := get(t, s.near, license, http.MethodGet, path); a.Status != 200 || !strings.Contains(string(a.Body), signature) {
		t.Errorf("without the registry: got %d %s, want what was fetched", a.Status, a.Body)
	}
}

// A registry without the referrers API is asked for the tag that stands for the list; without either the answer is 404.
func TestReferrersByTheTagOfTheList(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	repo := there.Root(t).CreateRepository(t, "demo/one")
	im := ocitest.NewImage(1, 500)
	repo.Push(t, "1.0", im)
	signature, layer := signed(t, repo, "", "application/signature", im.Descriptor())
	all, first := s.entitled(t, "all", f.Host+"/demo/*"), s.entitled(t, "first", f.Host+"/demo/*", "1.*")
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/referrers/") {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return true
		}
		return false
	})
	path := "proxy/shop/far/demo/one/"
	get(t, s.near, first, http.MethodGet, path+"manifests/1.0").Want(t, 200)
	list := []byte(`{"schemaVersion":2, "mediaType":"` + ocitest.IndexType + `", "manifests":[
		{"mediaType":"` + ocitest.ImageType + `","digest":"` + signature + `","size":` + fmt.Sprint(len(there.Root(t).Docker(t).Repo("demo/one").
		Manifest(t, signature).Body)) + `,"artifactType":"application/signature"}]}`)
	other := ocitest.NewImage(3, 50)
	repo.Push(t, "1.1", other)
	get(t, s.near, all, http.MethodGet, path+"referrers/"+other.Digest).WantError(t, 404, "MANIFEST_UNKNOWN")
	tag := strings.Replace(im.Digest, ":", "-", 1)
	repo.PutManifest(t, tag, ocitest.IndexType, list).Want(t, http.StatusCreated)
	for _, who := range []string{first, all} {
		a := get(t, s.near, who, http.MethodGet, path+"referrers/"+im.Digest+"?artifactType=application%2Fother")
		if a.Status != 200 || string(a.Body) != string(list) || a.Header.Get("OCI-Filters-Applied") != "" {
			t.Errorf("got %d %s with %s, want the index as it is", a.Status, a.Body, shown(a.Header))
		}
		for _, what := range []string{"manifests/" + signature, "blobs/" + layer, "manifests/" + tag, "manifests/" + ocitest.SHA256(list)} {
			get(t, s.near, who, http.MethodGet, path+what).Want(t, 200)
		}
	}
}

// What a registry sends as a list of referrers leads the server nowhere: redirects to addresses that it may not reach are not followed,
// lists that are too large or none are refused, and digests in a list are fetched from the registry alone.
func TestReferrersLeadNowhere(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	repo := there.Root(t).CreateRepository(t, "demo/one")
	im := ocitest.NewImage(1, 500)
	repo.Push(t, "1.0", im)
	license := s.entitled(t, "big", f.Host+"/demo/*")
	get(t, s.near, license, http.MethodGet, "proxy/shop/far/demo/one/manifests/1.0").Want(t, 200)
	for i, c := range []struct {
		what   string
		answer func(w http.ResponseWriter)
		want   int
	}{
		{"a redirect to metadata", func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 502},
		{"a redirect without TLS", func(w http.ResponseWriter) {
			w.Header().Set("Location", there.URL+"/v2/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 502},
		{"a large list", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocitest.IndexType)
			for range 5 << 10 {
				fmt.Fprint(w, strings.Repeat(" ", 1<<10))
			}
		}, 502},
		{"no JSON", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocitest.IndexType)
			fmt.Fprint(w, "<html>")
		}, 502},
		{"a web page", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}, 502},
		{"a compressed list", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocitest.IndexType)
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "{}")
		}, 502},
		{"URLs of other hosts", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocitest.IndexType)
			fmt.Fprint(w, `{"schemaVersion":2,"manifests":[{"digest":"sha256:`+strings.Repeat("a", 64)+
				`","size":1,"urls":["http://169.254.169.254/latest"]},{"digest":"../../../etc","size":-1}]}`)
		}, 200},
	} {
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/referrers/") {
				c.answer(w)
				return true
			}
			return false
		})
		a := get(t, s.near, license, http.MethodGet, fmt.Sprintf("proxy/shop/far/demo/one/referrers/%s?n=%d", im.Digest, i))
		if a.Status != c.want || strings.Contains(string(a.Body), "html") {
			t.Errorf("%s: got %d %.200s, want %d", c.what, a.Status, a.Body, c.want)
		}
	}
	long := "proxy/shop/far/demo/one/referrers/" + im.Digest + "?n=" + strings.Repeat("1", 5<<10)
	if a := get(t, s.near, license, http.MethodGet, long); a.Status != 400 {
		t.Errorf("a long query: got %d %.200s, want 400", a.Status, a.Body)
	}
}

// indexOf returns an index of images, with what it refers to; nil for nothing.
func indexOf(kind string, subject *ocitest.Descriptor, images ...ocitest.Image) []byte {
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, ArtifactType: kind, Subject: subject}
	for _, im := range images {
		m.Manifests = append(m.Manifests, im.Descriptor())
	}
	return m.JSON()
}

// Referrers of an index and of its children, and referrers that are indexes themselves with what is below them, are listed and pulled as
// oras does it, by whoever may pull the image: of an external registry, and of a repository of the vendor.
func TestReferrersOfIndexesAndChildren(t *testing.T) {
	t.Parallel()
	s, f, there := behind(t)
	for _, c := range []struct {
		what, path, known string
		repo              ocitest.Repo
	}{
		{"an external registry", "proxy/shop/far/demo/multi/", f.Host + "/demo/multi", there.Root(t).CreateRepository(t, "demo/multi")},
		{"a repository of the vendor", "demo/own-multi/", "demo/own-multi", s.near.Root(t).CreateRepository(t, "demo/own-multi")},
	} {
		push := func(tag string, seed uint64) (body []byte, child ocitest.Image) {
			amd, arm := ocitest.NewImage(seed, 300), ocitest.NewImage(seed+1, 400)
			for _, im := range []ocitest.Image{amd, arm} {
				c.repo.Push(t, im.Digest, im)
			}
			body = indexOf("", nil, amd, arm)
			c.repo.PutManifest(t, tag, ocitest.IndexType, body).Want(t, http.StatusCreated)
			return body, arm
		}
		one, child := push("1.0", 11)
		two, other := push("2.0", 21)
		subject := ocitest.Describe(ocitest.IndexType, one)
		ofIndex, layerOfIndex := signed(t, c.repo, "", "application/sbom", subject)
		ofChild, layerOfChild := signed(t, c.repo, "", "application/sbom", child.Descriptor())
		ofOther, layerOfOther := signed(t, c.repo, "", "application/sbom", other.Descriptor())
		proofs := []ocitest.Image{ocitest.NewImage(31, 200), ocitest.NewImage(32, 210)}
		for _, im := range proofs {
			c.repo.Push(t, im.Digest, im)
		}
		list := indexOf("application/proofs", &subject, proofs...)
		ofIndexes := ocitest.SHA256(list)
		c.repo.PutManifest(t, ofIndexes, ocitest.IndexType, list).Want(t, http.StatusCreated)
		first, none := s.entitled(t, "first "+c.known, c.known, "1.*"), s.entitled(t, "none "+c.known, "others/*")
		// oras discover: the index by its tag, its referrers, those of each child, each manifest with all that is below it.
		get(t, s.near, first, http.MethodHead, c.path+"manifests/1.0", "Accept", ocitest.IndexType).Want(t, 200)
		for path, want := range map[string][]string{"referrers/" + ocitest.SHA256(one): {ofIndex, ofIndexes}, "referrers/" +
			child.Digest: {ofChild},
			"referrers/" + ocitest.SHA256(one) + "?artifactType=application%2Fproofs": {ofIndexes}} {
			a := get(t, s.near, first, http.MethodGet, c.path+path)
			for _, digest := range want {
				if a.Status != 200 || !strings.Contains(string(a.Body), digest) || a.Header.Get("Content-Type") != ocitest.IndexType {
					t.Errorf("%s, %s: got %d %s, want a list with %s", c.what, path, a.Status, a.Body, digest)
				}
			}
		}
		for _, r := range []struct {
			what, path  string
			first, none int
		}{
			{"a referrer of the index", "manifests/" + ofIndex, 200, 403},
			{"its layer", "blobs/" + layerOfIndex, 200, 403},
			{"a referrer of a child", "manifests/" + ofChild, 200, 403},
			{"its layer", "blobs/" + layerOfChild, 200, 403},
			{"a referrer that is an index", "manifests/" + ofIndexes, 200, 403},
			{"the first image of it", "manifests/" + proofs[0].Digest, 200, 403},
			{"the second image of it", "manifests/" + proofs[1].Digest, 200, 403},
			{"a layer of the second image", "blobs/" + ocitest.SHA256(proofs[1].Layers[0]), 200, 403},
			{"its configuration", "blobs/" + ocitest.SHA256(proofs[1].Config), 200, 403},
			{"the referrers of a child of another index", "referrers/" + other.Digest, 403, 403},
			{"the referrers of another index", "referrers/" + ocitest.SHA256(two), 403, 403},
			{"a referrer of a child of another index", "manifests/" + ofOther, 403, 403},
			{"its layer", "blobs/" + layerOfOther, 403, 403},
		} {
			for who, want := range map[string]int{first: r.first, none: r.none} {
				for _, method := range []string{http.MethodHead, http.MethodGet} {
					if method == http.MethodHead && strings.HasPrefix(r.path, "referrers/") {
						continue // the API has no such request
					}
					if a := get(t, s.near, who, method, c.path+r.path, "Accept", ocitest.IndexType+", "+ocitest.ImageType); a.Status != want {
						t.Errorf("%s, %s %s: got %d %s, want %d", c.what, method, r.what, a.Status, a.Body, want)
					}
				}
			}
		}
	}
}
