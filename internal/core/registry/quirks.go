package registry

import (
	"fmt"
	"reflect"
	"strings"
)

// Quirks selects points where ECR departs from the OCI distribution specification, or has a limit that a private
// installation may not need. The zero value follows the specification. Each quirk has a line in
// docs/ecr-divergences.md; its tag is the name in the value of --strict-ecr.
type Quirks struct {
	// Status405 answers 405 UNSUPPORTED to a manifest that cannot be parsed and to a page size or token that is out of
	// range, where the specification requires 400. Tests that were written against ECR need it.
	Status405 bool `quirk:"status-405"`
	// Patch201 answers 201 to the PATCH of an upload, where the specification requires 202.
	Patch201 bool `quirk:"patch-201"`
	// NoUploadUUID omits the header Docker-Upload-UUID from the answers to uploads.
	NoUploadUUID bool `quirk:"no-upload-uuid"`
	// Page100 splits tags/list and _catalog into pages of 100 if the request has no n, refuses n above 1000, and
	// answers them as text/plain. Without Page100, a request without n receives the whole list.
	Page100 bool `quirk:"page-100"`
	// TagDeletesImage deletes an image when its last tag is deleted by the OCI distribution API. The ECR API always
	// does so; the specification keeps the manifest.
	TagDeletesImage bool `quirk:"tag-deletes-image"`
	// MountSetting permits a cross-repository mount only if the account setting BLOB_MOUNTING is ENABLED. Without
	// MountSetting, mounts are permitted unless the setting is DISABLED.
	MountSetting bool `quirk:"mount-setting"`
	// LayerNeedsImage serves a blob by the OCI distribution API only if an image of the repository refers to it.
	// GetDownloadUrlForLayer of the ECR API always requires that.
	LayerNeedsImage bool `quirk:"layer-needs-image"`
	// Referrers404 answers 404 to a request for the referrers of a digest in a repository that does not exist. The
	// specification forbids that to registries with the API, because clients then use the tags of older registries.
	Referrers404 bool `quirk:"referrers-404"`
	// Quotas enforces the adjustable quota of ECR of 1,000 tags for each image.
	Quotas bool `quirk:"quotas"`
	// KnownUpstreams permits pull through cache rules only for the registries that ECR knows.
	KnownUpstreams bool `quirk:"known-upstreams"`
	// IgnoreUnknownMembers ignores members that an API operation does not have. Without it they are errors.
	IgnoreUnknownMembers bool `quirk:"ignore-unknown-members"`
}

// ParseQuirks parses the value of --strict-ecr: "" or "none" for none, "all" for all, or names joined by commas.
//
// Errors: an unknown name.
func ParseQuirks(list string) (Quirks, error) {
	var q Quirks
	if list == "" || list == "none" {
		return q, nil
	}
	v := reflect.ValueOf(&q).Elem()
	for _, one := range strings.Split(list, ",") {
		known := false
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("quirk"); one == "all" || one == tag {
				v.Field(i).SetBool(true)
				known = true
			}
		}
		if !known {
			return Quirks{}, fmt.Errorf("no ECR departure is called %q: use all, none, or some of %s", one, strings.Join(QuirkNames(), ","))
		}
	}
	return q, nil
}

// QuirkNames returns the names that ParseQuirks accepts besides all and none.
func QuirkNames() []string {
	t := reflect.TypeFor[Quirks]()
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("quirk"))
	}
	return names
}
