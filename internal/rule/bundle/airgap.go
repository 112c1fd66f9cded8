package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// The members of an airgap bundle, which is a compressed tar archive of them in this order: AirgapPath, AppPath, and the files of a
// registry of Docker Distribution below StorageFolder.
const (
	AirgapPath    = "airgap.yaml"
	AppPath       = "app.tar.gz"
	StorageFolder = "images/docker/registry/v2/"
)

// AirgapFormat is the format of the signed statement of an airgap bundle.
const AirgapFormat = "ecrin.dev/airgap/v1"

// storageFormat is the only value of the member format that is read and written: images are the storage of a registry.
const storageFormat = "docker"

// The limits of an airgap bundle, beside those of bundles.
const (
	MaxAirgap    = 4 << 20  // bytes of airgap.yaml
	MaxApp       = 64 << 20 // bytes of app.tar.gz
	maxRequired  = 1000     // releases that are required
	maxNotes     = 256 << 10
	maxCharts    = 1000
	maxReferrers = 10_000 // of an image
)

// AirgapSpec is the spec of airgap.yaml, without its signature. Source: kots.io/v1beta1, kind Airgap.
type AirgapSpec struct {
	VersionLabel     string          `yaml:"versionLabel" json:"versionLabel"`
	ReleaseNotes     string          `yaml:"releaseNotes" json:"releaseNotes"`
	UpdateCursor     string          `yaml:"updateCursor" json:"updateCursor"` // the sequence of the release on the channel
	ChannelID        string          `yaml:"channelID" json:"channelID"`
	ChannelName      string          `yaml:"channelName" json:"channelName"`
	AppSlug          string          `yaml:"appSlug" json:"appSlug"`
	Required         bool            `yaml:"isRequired" json:"isRequired"`
	RequiredReleases []AirgapRelease `yaml:"requiredReleases" json:"requiredReleases"` // earlier ones of the channel, the newest first
	SavedImages      []string        `yaml:"savedImages" json:"savedImages"`           // as the release has written them
	Format           string          `yaml:"format" json:"format"`
	UncompressedSize int64           `yaml:"airgapUncompressedSize" json:"airgapUncompressedSize"` // bytes of all members but airgap.yaml
	ChartNames       []string        `yaml:"replicatedChartNames" json:"replicatedChartNames"`
}

// AirgapRelease is a release that must be installed before a later one.
type AirgapRelease struct {
	VersionLabel string `yaml:"versionLabel" json:"versionLabel"`
	UpdateCursor string `yaml:"updateCursor" json:"updateCursor"`
}

// Airgap is the statement that is signed: what an airgap bundle has.
type Airgap struct {
	Format     string     `json:"format"`
	CreatedAt  time.Time  `json:"createdAt"`
	ReleasedAt time.Time  `json:"releasedAt"`
	Spec       AirgapSpec `json:"spec"`
	App        Blob       `json:"app"`    // app.tar.gz
	Images     []Image    `json:"images"` // of the members Name, Ref, Bytes, Referrers and Tags
}

// airgapFile is airgap.yaml.
type airgapFile struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   map[string]string `yaml:"metadata"`
	Spec       airgapFileSpec    `yaml:"spec"`
}

type airgapFileSpec struct {
	AirgapSpec `yaml:",inline"`
	Signature  string `yaml:"signature"` // base64 of airgapSignature
}

// airgapSignature is the signature in airgap.yaml: the statement as it was signed, and what verifies it.
type airgapSignature struct {
	Statement []byte    `json:"statement"`
	Signature Signature `json:"signature"`
}

// Sequence returns the sequence of the release on its channel.
func (s *AirgapSpec) Sequence() int64 {
	n, err := strconv.ParseInt(s.UpdateCursor, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Sequence returns the sequence of the release on its channel.
func (r AirgapRelease) Sequence() int64 {
	return (&AirgapSpec{UpdateCursor: r.UpdateCursor}).Sequence()
}

// Encode returns the bytes that are signed.
//
// Errors: those of Check.
func (a *Airgap) Encode() ([]byte, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// Check reports what is wrong with a statement.
func (a *Airgap) Check() error {
	s := &a.Spec
	switch {
	case a.Format != AirgapFormat:
		return fmt.Errorf("its format is %q, and this program reads %s", name.Clip(a.Format), AirgapFormat)
	case !text(s.AppSlug) || !text(s.ChannelID) || len(s.ChannelName) > maxText || len(s.VersionLabel) > maxText:
		return errors.New("it names no application, or no channel")
	case s.Sequence() <= 0:
		return fmt.Errorf("its updateCursor is %q, which is no sequence", name.Clip(s.UpdateCursor))
	case len(s.ReleaseNotes) > maxNotes || !utf8.ValidString(s.ReleaseNotes):
		return fmt.Errorf("the release notes have more than %d bytes, or are no text", maxNotes)
	case s.Format != storageFormat:
		return fmt.Errorf("its images are in the format %q, and this program reads %s: ask the vendor for a bundle of that format",
			name.Clip(s.Format), storageFormat)
	case len(s.RequiredReleases) > maxRequired || len(s.ChartNames) > maxCharts:
		return fmt.Errorf("there are more than %d releases that are required, or charts", maxRequired)
	case len(s.SavedImages) > MaxImages || len(a.Images) > MaxImages:
		return fmt.Errorf("there are more than %d images", MaxImages)
	case a.App.Size < 0 || a.App.Size > MaxApp:
		return fmt.Errorf("%s has more than %d bytes", AppPath, MaxApp)
	case s.UncompressedSize < a.App.Size || s.UncompressedSize > maxSize:
		return fmt.Errorf("its uncompressed size is %d bytes", s.UncompressedSize)
	}
	if _, err := name.ParseDigest(a.App.Digest); err != nil {
		return err
	}
	for _, r := range s.RequiredReleases {
		if r.Sequence() <= 0 || r.Sequence() >= s.Sequence() {
			return fmt.Errorf("the required release %q does not come before it", name.Clip(r.VersionLabel))
		}
	}
	return a.checkImages()
}

func (a *Airgap) checkImages() error {
	tags := map[string]string{} // digest by repository and tag in the storage
	seen := map[string]bool{}
	for _, i := range a.Images {
		r, err := i.reference()
		if err != nil {
			return err
		}
		if seen[i.Name] {
			return fmt.Errorf("the image %s is there twice", i.Name)
		}
		seen[i.Name] = true
		if len(i.Referrers)+len(i.Tags) > maxReferrers {
			return fmt.Errorf("%s has more than %d referrers", i.Name, maxReferrers)
		}
		named := append([]Ref{{Digest: i.Digest, MediaType: i.MediaType, Tag: r.Tag}}, i.Tags...)
		for _, one := range append(slices.Clone(named), i.Referrers...) {
			if _, err := name.ParseDigest(one.Digest); err != nil {
				return err
			}
			if one.MediaType == "" || len(one.MediaType) > maxText {
				return fmt.Errorf("the manifest %s of %s has no media type", one.Digest, i.Name)
			}
		}
		for n, one := range named {
			if n == 0 && one.Tag == "" {
				continue
			}
			if _, err := name.ParseTag(one.Tag); err != nil {
				return err
			}
			key := StorageRepository(r) + ":" + one.Tag
			if other, ok := tags[key]; ok && other != one.Digest {
				return fmt.Errorf("%s and another image would both be %s, for the bundle names images by the last part of their path: name one of "+
					"them by its digest, or make a bundle of the own format (ecrin bundle create)", i.Name, key)
			}
			tags[key] = one.Digest
		}
	}
	return a.checkSaved(seen)
}

// checkSaved checks that the saved images are the images, and no others.
func (a *Airgap) checkSaved(images map[string]bool) error {
	saved := map[string]bool{}
	for _, s := range a.Spec.SavedImages {
		r, err := rewrite.ParseReference(s)
		if err != nil {
			return err
		}
		whole := Whole(r)
		if !images[whole] {
			return fmt.Errorf("the saved image %s is not inside", s)
		}
		saved[whole] = true
	}
	if len(saved) != len(images) {
		return fmt.Errorf("%d images are inside, and %d are named as saved", len(images), len(saved))
	}
	return nil
}

// reference parses the name of an image.
func (i *Image) reference() (rewrite.Reference, error) {
	r, err := rewrite.ParseReference(i.Name)
	if err == nil && (r.Host == "" || (r.Tag == "") == (r.Digest == "") || r.Digest != "" && r.Digest != i.Digest) {
		err = fmt.Errorf("%s is not HOST/REPOSITORY:TAG or HOST/REPOSITORY@DIGEST", name.Clip(i.Name))
	}
	return r, err
}

// Whole returns the whole name of an image: HOST/REPOSITORY@DIGEST if it has a digest, else HOST/REPOSITORY:TAG.
func Whole(r rewrite.Reference) string {
	whole := r.Registry() + "/" + r.Repository()
	switch {
	case r.Digest != "":
		return whole + "@" + r.Digest
	case r.Tag != "":
		return whole + ":" + r.Tag
	}
	return whole + ":latest"
}

// File returns airgap.yaml for a statement that is signed.
//
// Errors: it has more than MaxAirgap bytes.
func (a *Airgap) File(statement []byte, s Signature) ([]byte, error) {
	signature, err := json.Marshal(airgapSignature{statement, s})
	if err != nil {
		return nil, err
	}
	b, err := yaml.Marshal(airgapFile{APIVersion: "kots.io/v1beta1", Kind: "Airgap", Metadata: map[string]string{"name": a.Spec.AppSlug},
		Spec: airgapFileSpec{a.Spec, base64.StdEncoding.EncodeToString(signature)}})
	if err == nil && len(b) > MaxAirgap {
		err = fmt.Errorf("%s has %d bytes, more than %d: the release has too many images for an airgap bundle", AirgapPath, len(b), MaxAirgap)
	}
	return b, err
}

// OpenAirgap parses airgap.yaml, and verifies its signature. It returns the id of the key.
//
// Errors: it is none; those of Keys.Verify; it was changed after it was signed.
func OpenAirgap(b []byte, keys *Keys) (a *Airgap, keyID string, err error) {
	if len(b) > MaxAirgap {
		return nil, "", fmt.Errorf("%s has more than %d bytes", AirgapPath, MaxAirgap)
	}
	var f airgapFile
	if err := safeyaml.Unmarshal(b, &f); err != nil {
		return nil, "", fmt.Errorf("%s: %w", AirgapPath, err)
	}
	if f.Kind != "Airgap" || !strings.HasPrefix(f.APIVersion, "kots.io/") {
		return nil, "", fmt.Errorf("%s is of the kind %q, not Airgap", AirgapPath, name.Clip(f.Kind))
	}
	raw, err := base64.StdEncoding.DecodeString(f.Spec.Signature)
	var s airgapSignature
	if err != nil || len(raw) == 0 || decode(raw, &s) != nil {
		return nil, "", fmt.Errorf("%w by ecrin", ErrUnsigned)
	}
	signature, err := s.Signature.Encode()
	if err != nil {
		return nil, "", err
	}
	if keyID, err = keys.Verify(OfAirgap, s.Statement, signature); err != nil {
		return nil, keyID, err
	}
	a = new(Airgap)
	if err = decode(s.Statement, a); err == nil {
		err = a.Check()
	}
	if err != nil {
		return nil, keyID, fmt.Errorf("the statement of the bundle: %w", err)
	}
	if member := differs(a.Spec, f.Spec.AirgapSpec); member != "" {
		return nil, keyID, fmt.Errorf("%s was changed after it was signed: its %s is another one", AirgapPath, member)
	}
	return a, keyID, nil
}

// differs returns the name of the first member in which two specs differ; "" for none.
func differs(a, b AirgapSpec) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		p, err1 := json.Marshal(x.Field(i).Interface())
		q, err2 := json.Marshal(y.Field(i).Interface())
		same := bytes.Equal(p, q) || x.Field(i).Kind() == reflect.Slice && x.Field(i).Len()+y.Field(i).Len() == 0
		if err1 != nil || err2 != nil || !same {
			return x.Type().Field(i).Tag.Get("yaml")
		}
	}
	return ""
}

// StorageRepository returns the repository of an image in the storage of an airgap bundle: the last part of its path.
func StorageRepository(r rewrite.Reference) string { return path.Base(r.Repository()) }

// StorageBlob returns the member that has a blob. Source: Docker Distribution, layout of storage.
func StorageBlob(d name.Digest) string {
	algorithm, hex, _ := strings.Cut(d.String(), ":")
	return StorageFolder + "blobs/" + algorithm + "/" + hex[:2] + "/" + hex + "/data"
}

// ParseStorageBlob returns the digest of the blob that a member has. ok is false for other members.
func ParseStorageBlob(member string) (d name.Digest, ok bool) {
	parts := strings.Split(strings.TrimPrefix(member, StorageFolder+"blobs/"), "/")
	if len(parts) != 4 {
		return d, false
	}
	d, err := name.ParseDigest(parts[0] + ":" + parts[2])
	return d, err == nil && StorageBlob(d) == member
}

// storageLink returns the folder of a repository with the form of a digest in paths.
func storageLink(repo, kind string, d name.Digest) string {
	return StorageFolder + "repositories/" + repo + "/" + kind + "/" + strings.Replace(d.String(), ":", "/", 1) + "/link"
}

// StorageLayer returns the member that says that a repository has a blob; its content is the digest.
func StorageLayer(repo string, d name.Digest) string { return storageLink(repo, "_layers", d) }

// StorageManifest returns the member that says that a repository has a manifest; its content is the digest.
func StorageManifest(repo string, d name.Digest) string {
	return storageLink(repo, "_manifests/revisions", d)
}

// StorageTag returns the members that say which manifest a tag names; their content is the digest.
func StorageTag(repo, tag string, d name.Digest) []string {
	return []string{storageLink(repo, "_manifests/tags/"+tag+"/index", d),
		StorageFolder + "repositories/" + repo + "/_manifests/tags/" + tag + "/current/link"}
}
