package rewrite

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Rename is an entry of images in a kustomization: every image with the name gets the new name, and keeps its tag and its digest.
type Rename struct {
	Name    string `yaml:"name"`
	NewName string `yaml:"newName"`
}

// Proxy is where the images of an application are pulled with a licence.
type Proxy struct {
	Host       string // of the proxy, such as proxy.example.com
	Slug       string // of the application
	Vendor     string // host of what the vendor has pushed; "" if there is none
	StandardAt string // host under which manifests name the vendor's images, if it is another one than Vendor; "" for none

	// Names are the names that the vendor's registries have at the proxy, by host with port. A host with a port needs one, since paths of
	// images have no colon.
	Names map[string]string
}

// For returns the name of an image at the proxy, without tag and digest.
func (p Proxy) For(r Reference) string { return p.at(r.Name()) }

// at returns the name at the proxy for one without tag and digest.
func (p Proxy) at(name string) string {
	if host, path, ok := strings.Cut(name, "/"); ok && p.Names[host] != "" {
		name = p.Names[host] + "/" + path
	}
	return p.Host + "/proxy/" + p.Slug + "/" + name
}

// Serves reports whether an image is written with the host of the proxy or of the vendor's registry, so that it stays as it is.
func (p Proxy) Serves(r Reference) bool {
	return r.Host != "" && (r.Host == p.Host || r.Host == p.Vendor)
}

// Has reports whether an image can have a name at the proxy: its host has no port, or a name there.
func (p Proxy) Has(r Reference) bool { return !strings.Contains(r.Host, ":") || p.Names[r.Host] != "" }

// Renames returns the entries for the images that are private, by reference as written. An image that has the name of the proxy or of the
// vendor's host stays as it is, and so does one that can have no name at the proxy.
func (p Proxy) Renames(images []Image, private func(Reference) bool) []Rename {
	var all []Rename
	for _, image := range images {
		switch {
		case p.Serves(image.Reference):
		case p.StandardAt != "" && image.Host == p.StandardAt && p.Vendor != "":
			all = append(all, Rename{image.Name(), p.Vendor + "/" + image.Path})
		case p.Has(image.Reference) && private(image.Reference):
			for _, spelling := range image.Spellings() {
				// Each name is renamed as it is written: the proxy knows all spellings.
				all = append(all, Rename{spelling, p.at(spelling)})
			}
		}
	}
	return once(all)
}

// Local is a registry of the customer to which all images are copied.
type Local struct {
	Host      string // with port
	Namespace string // path before the names; "" for none
	// Flat names each image by the last part of its path alone, as older installers do. Else it keeps its whole path.
	Flat bool
}

// For returns the name of an image in the registry, without tag and digest.
func (l Local) For(r Reference) string {
	p := r.Repository()
	if l.Flat {
		p = path.Base(p)
	}
	if l.Namespace != "" {
		p = strings.Trim(l.Namespace, "/") + "/" + p
	}
	return l.Host + "/" + p
}

// Has reports whether an image is written with a name in the registry, below its namespace, so that it stays as it is.
func (l Local) Has(r Reference) bool {
	namespace := strings.Trim(l.Namespace, "/")
	return r.Registry() == l.Host && (namespace == "" || strings.HasPrefix(r.Repository(), namespace+"/"))
}

// Copy is an image that has to be in the registry of the customer.
type Copy struct {
	From Reference
	To   string // name in the registry, with the digest of From or else with its tag
}

// Renames returns the entries for all images, and what has to be copied. An image that Has reports stays as it is. One of the
// same registry outside of the namespace is copied like others.
//
// Errors: fault.InvalidParameter if two images of different repositories would get one name, with both names.
func (l Local) Renames(images []Image) ([]Rename, []Copy, error) {
	var all []Rename
	var copies []Copy
	taken := map[string]Reference{}
	for _, image := range images {
		if l.Has(image.Reference) {
			continue
		}
		to := l.For(image.Reference)
		if other, ok := taken[to]; ok && (other.Registry() != image.Registry() || other.Repository() != image.Repository()) {
			return nil, nil, fault.InvalidParameter.New("%s and %s would both be %s in the registry: use the layout with whole paths, or another"+
				" namespace", other.Name(), image.Name(), to)
		}
		taken[to] = image.Reference
		for _, spelling := range image.Spellings() {
			all = append(all, Rename{spelling, to})
		}
		switch {
		case image.Digest != "":
			to += "@" + image.Digest
		case image.Tag != "":
			to += ":" + image.Tag
		default:
			to += ":latest"
		}
		copies = append(copies, Copy{image.Reference, to})
	}
	return once(all), copies, nil
}

// once returns the entries sorted, with one for each name. Two entries of one name are equal, for the new name follows from the name.
func once(all []Rename) []Rename {
	slices.SortFunc(all, func(a, b Rename) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b Rename) bool { return a.Name == b.Name })
}

// Decision says why an image counts as private, or as public.
type Decision struct {
	Private bool
	Why     string // for the log of the version
}

// Verdict is what a registry has answered to a request for a manifest without credentials.
type Verdict uint8

// The verdicts.
const (
	Pulled     Verdict = iota // the registry gave the manifest
	NoPlatform                // the manifest list has no image for this platform
	Refused                   // any other answer, or none
)

// Decide decides on an image from the answer of its registry. Everything but a manifest, or a manifest list without this platform, makes it
// private: also a registry that cannot be reached.
func Decide(v Verdict, err error) Decision {
	switch v {
	case Pulled:
		return Decision{false, "it can be pulled without credentials"}
	case NoPlatform:
		return Decision{false, "its list has no image for this platform, and can be read without credentials"}
	}
	return Decision{true, fmt.Sprintf("it cannot be pulled without credentials: %v", err)}
}
