package registry

import (
	"fmt"
	"reflect"
	"strings"
)

// Quirks are the points where ECR departs from the OCI distribution specification or adds a limit that a private
// installation may not want. The zero value is the specification. Each has a line in docs/ecr-divergences.md; the tag is
// the name that --strict-ecr takes.
type Quirks struct {
	// Status405 answers 405 UNSUPPORTED to a manifest that cannot be read and to a page size or token that is out of
	// range, where the specification has 400. Who needs it: tests written against ECR.
	Status405 bool `quirk:"status-405"`
	// Patch201 answers 201 to an upload's PATCH, where the specification has 202.
	Patch201 bool `quirk:"patch-201"`
	// NoUploadUUID leaves Docker-Upload-UUID out of upload answers.
	NoUploadUUID bool `quirk:"no-upload-uuid"`
	// Page100 pages tags/list and _catalog by 100 where the client gives no n, refuses n above 1000, and answers them as
	// text/plain. Without it a list without n is whole.
	Page100 bool `quirk:"page-100"`
	// TagDeletesImage removes an image with its last tag when the tag is deleted on the OCI door. The ECR API does so
	// always; the specification keeps the manifest.
	TagDeletesImage bool `quirk:"tag-deletes-image"`
	// MountSetting allows a cross-repository mount only where the account setting BLOB_MOUNTING is ENABLED. Without it
	// mounting is on unless the setting is DISABLED.
	MountSetting bool `quirk:"mount-setting"`
	// LayerNeedsImage serves a blob to docker only once an image of the repository names it. The ECR API's
	// GetDownloadUrlForLayer always asks for that.
	LayerNeedsImage bool `quirk:"layer-needs-image"`
	// Quotas enforces ECR's adjustable quota of 1,000 tags for each image.
	Quotas bool `quirk:"quotas"`
	// IgnoreUnknownMembers accepts members that an API operation does not have, where ecrin names them in an error.
	IgnoreUnknownMembers bool `quirk:"ignore-unknown-members"`
}

// ParseQuirks reads what --strict-ecr was given: "" or "none" for none, "all" for all, or names joined by commas.
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

// QuirkNames lists the names that ParseQuirks knows.
func QuirkNames() []string {
	t := reflect.TypeFor[Quirks]()
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("quirk"))
	}
	return names
}
