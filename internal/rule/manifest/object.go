package manifest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The members that are read. Others are ignored, as the specifications require.
var (
	topMembers = []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "fsLayers",
	}
	descriptorMembers = []string{"mediaType", "digest", "size", "artifactType", "annotations", "urls"}
	fsLayerMembers    = []string{"blobSum"}
)

// object holds the known members of a JSON object. The value of a member that is null is "null"; the value of an absent
// member is nil.
type object map[string]json.RawMessage

// readObject returns the known members of raw, which must be valid JSON. at is the place of raw, for errors.
//
// A known member that is written twice is refused, because readers use different ones of the two. A member that differs
// from a known member only in case is refused too, because encoding/json and similar decoders use it as the known
// member.
func readObject(at string, raw json.RawMessage, known []string) (object, error) {
	o := object{}
	err := eachMember(at, raw, func(key string, value json.RawMessage) error {
		for _, k := range known {
			switch {
			case key == k && o[k] != nil:
				return Invalid("%s has member %s twice", at, k)
			case key == k:
				o[k] = bytes.Clone(value)
			case strings.EqualFold(key, k):
				return Invalid("%s has member %q in place of %s", at, key, k)
			}
		}
		return nil
	})
	return o, err
}

// null reports whether a member is absent or null.
func (o object) null(member string) bool {
	return o[member] == nil || string(o[member]) == "null"
}

// text reads a string. An absent or null member is "".
func (o object) text(member string) (s string, err error) {
	if o.null(member) {
		return "", nil
	}
	if json.Unmarshal(o[member], &s) != nil {
		return "", Invalid("%s must be a string", member)
	}
	return s, nil
}

// annotations reads an object of strings. The result is nil if it is absent, null or empty.
func (o object) annotations() (map[string]string, error) {
	if o.null("annotations") {
		return nil, nil
	}
	var all map[string]string
	err := eachMember("annotations", o["annotations"], func(key string, value json.RawMessage) error {
		if all == nil {
			all = map[string]string{}
		}
		if _, ok := all[key]; ok {
			return Invalid("annotations has member %q twice", name.Clip(key))
		}
		if len(all) == MaxChildren {
			return Invalid("annotations has more than %d members", MaxChildren)
		}
		var s string
		if string(value) == "null" || json.Unmarshal(value, &s) != nil {
			return Invalid("annotation %q must be a string", name.Clip(key))
		}
		all[key] = s
		return nil
	})
	return all, err
}

// urls reads an array of strings. The result is nil if it is absent, null or empty.
func (o object) urls() (all []string, err error) {
	if o.null("urls") {
		return nil, nil
	}
	err = eachElement("urls", o["urls"], func(_ int, value json.RawMessage) error {
		var s string
		if json.Unmarshal(value, &s) != nil || s == "" {
			return Invalid("urls must hold strings that are not empty")
		}
		all = append(all, s)
		return nil
	})
	return all, err
}

// descriptor reads one descriptor. The result is nil if it is absent or null.
func (o object) descriptor(member string) (*Descriptor, error) {
	if o.null(member) {
		return nil, nil
	}
	d, err := readDescriptor(member, o[member])
	return &d, err
}

// descriptors reads an array of descriptors. The result is nil if it is absent, null or empty.
func (o object) descriptors(member string) (all []Descriptor, err error) {
	if o.null(member) {
		return nil, nil
	}
	err = eachElement(member, o[member], func(i int, value json.RawMessage) error {
		d, err := readDescriptor(member+"["+strconv.Itoa(i)+"]", value)
		all = append(all, d)
		return err
	})
	return all, err
}

// readDescriptor reads a descriptor. Source: OCI image specification, content descriptors, required properties.
func readDescriptor(at string, raw json.RawMessage) (d Descriptor, err error) {
	o, err := readObject(at, raw, descriptorMembers)
	if err != nil {
		return d, err
	}
	if d.MediaType, err = o.text("mediaType"); err != nil || d.MediaType == "" {
		return d, Invalid("%s.mediaType must be a string that is not empty", at)
	}
	digest, err := o.text("digest")
	if err != nil {
		return d, Invalid("%s.digest must be a string", at)
	}
	if d.Digest, err = name.ParseDigest(digest); err != nil {
		return d, Invalid("%s.digest %q is not a digest", at, name.Clip(digest))
	}
	if o.null("size") || json.Unmarshal(o["size"], &d.Size) != nil || d.Size < 0 {
		return d, Invalid("%s.size must be a whole number, 0 or more", at)
	}
	if d.ArtifactType, err = o.text("artifactType"); err != nil {
		return d, err
	}
	if d.Annotations, err = o.annotations(); err != nil {
		return d, err
	}
	d.URLs, err = o.urls()
	return d, err
}

// fsLayers reads the layers of a schema 1 manifest, which have no size and no media type.
func (o object) fsLayers() (all []Descriptor, err error) {
	if o["fsLayers"] == nil {
		return nil, Invalid("member fsLayers is required")
	}
	err = eachElement("fsLayers", o["fsLayers"], func(i int, value json.RawMessage) error {
		at := "fsLayers[" + strconv.Itoa(i) + "]"
		layer, err := readObject(at, value, fsLayerMembers)
		if err != nil {
			return err
		}
		sum, _ := layer.text("blobSum") // a member that is not a string is not a digest either
		digest, err := name.ParseDigest(sum)
		if err != nil {
			return Invalid("%s.blobSum %q is not a digest", at, name.Clip(sum))
		}
		all = append(all, Descriptor{MediaType: schema1Layer, Digest: digest, Size: -1})
		return nil
	})
	return all, err
}

// eachMember calls f for the members of a JSON object, in order. value is valid only during the call.
func eachMember(at string, raw json.RawMessage, f func(key string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return Invalid("%s must be a JSON object", at)
	}
	var value json.RawMessage
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return Invalid("Invalid JSON syntax")
		}
		if err := d.Decode(&value); err != nil {
			return Invalid("Invalid JSON syntax")
		}
		if err := f(key.(string), value); err != nil {
			return err
		}
	}
	return nil
}

// eachElement calls f for the elements of a JSON array, in order. It refuses more than MaxChildren elements before it
// reads the rest, because an array of many small elements takes more memory decoded than encoded.
func eachElement(at string, raw json.RawMessage, f func(i int, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return Invalid("%s must be a JSON array", at)
	}
	var value json.RawMessage
	for i := 0; d.More(); i++ {
		if i == MaxChildren {
			return Invalid("%s has more than %d elements", at, MaxChildren)
		}
		if err := d.Decode(&value); err != nil {
			return Invalid("Invalid JSON syntax")
		}
		if err := f(i, value); err != nil {
			return err
		}
	}
	return nil
}

// deeperThan reports whether arrays and objects in body, which must be valid JSON, are nested deeper than limit.
func deeperThan(body []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
