package ocitest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
)

// Media types that tests push.
const (
	ImageType  = "application/vnd.oci.image.manifest.v1+json"
	IndexType  = "application/vnd.oci.image.index.v1+json"
	ConfigType = "application/vnd.oci.image.config.v1+json"
	LayerType  = "application/vnd.oci.image.layer.v1.tar"
	EmptyType  = "application/vnd.oci.empty.v1+json"
	DockerType = "application/vnd.docker.distribution.manifest.v2+json"
)

// SHA256 returns the sha256 digest of b.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// SHA512 returns the sha512 digest of b.
func SHA512(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// Bytes returns n pseudo-random bytes that depend on seed only.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// Descriptor refers to content, as in a manifest.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is what an image of an index runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// Describe returns the descriptor of content.
func Describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: SHA256(content), Size: len(content)}
}

// Manifest is an image manifest or an index. Empty members are omitted.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Descriptor       `json:"config,omitempty"`
	Layers        []Descriptor      `json:"layers,omitempty"`
	Manifests     []Descriptor      `json:"manifests,omitempty"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// JSON returns the manifest as JSON.
func (m Manifest) JSON() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// Repo is a repository, with a client.
type Repo struct {
	Client
	Name string // without the client's prefix
}

// Repo returns the repository with the given name. It does not create the repository.
func (c Client) Repo(name string) Repo { return Repo{c, name} }

// Path returns a path below the repository, for example Path("/tags/list").
func (r Repo) Path(rest string) string { return "/v2/" + r.Prefix + r.Name + rest }

// PutBlob uploads a blob with POST and PUT and returns its digest.
func (r Repo) PutBlob(t testing.TB, content []byte) string {
	t.Helper()
	d := SHA256(content)
	begun := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted)
	r.Do(t, http.MethodPut, begun.Location(t, "digest", d), content, "Content-Type", "application/octet-stream").Want(t, http.StatusCreated)
	return d
}

// Begin starts an upload and returns its URL.
func (r Repo) Begin(t testing.TB) string {
	t.Helper()
	return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted).Location(t)
}

// PutManifest pushes a manifest under a reference and returns the response.
func (r Repo) PutManifest(t testing.TB, reference, mediaType string, body []byte) *Answer {
	t.Helper()
	return r.Do(t, http.MethodPut, r.Path("/manifests/"+reference), body, "Content-Type", mediaType)
}

// Manifest gets a manifest.
func (r Repo) Manifest(t testing.TB, reference string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/manifests/"+reference), nil)
}

// Blob gets a blob.
func (r Repo) Blob(t testing.TB, digest string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/blobs/"+digest), nil)
}

// Tags lists tags; query is "" or, for example, "n=2".
func (r Repo) Tags(t testing.TB, query string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/tags/list?"+query), nil)
}

// Image is an image with all its content.
type Image struct {
	Digest   string // of the manifest
	Manifest []byte
	Config   []byte
	Layers   [][]byte
}

// NewImage returns a small image that depends on its arguments only.
func NewImage(seed uint64, layers ...int) Image {
	im := Image{Config: []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"seed":"` +
		hex.EncodeToString(Bytes(seed, 8)) + `"}`)}
	config := Describe(ConfigType, im.Config)
	m := Manifest{SchemaVersion: 2, MediaType: ImageType, Config: &config}
	for i, n := range layers {
		layer := Bytes(seed*1000+uint64(i)+1, n)
		im.Layers = append(im.Layers, layer)
		m.Layers = append(m.Layers, Describe(LayerType, layer))
	}
	im.Manifest = m.JSON()
	im.Digest = SHA256(im.Manifest)
	return im
}

// Descriptor returns the image's entry in an index.
func (im Image) Descriptor() Descriptor { return Describe(ImageType, im.Manifest) }

// PushBlobs uploads config and layers.
func (r Repo) PushBlobs(t testing.TB, im Image) {
	t.Helper()
	for _, b := range append([][]byte{im.Config}, im.Layers...) {
		r.PutBlob(t, b)
	}
}

// Push uploads a whole image under a reference; "" means its digest.
func (r Repo) Push(t testing.TB, reference string, im Image) {
	t.Helper()
	r.PushBlobs(t, im)
	if reference == "" {
		reference = im.Digest
	}
	r.PutManifest(t, reference, ImageType, im.Manifest).Want(t, http.StatusCreated)
}

// Query encodes a query of names and values, given in turn.
func Query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	return q.Encode()
}
