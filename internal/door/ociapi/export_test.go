package ociapi

// Row is one row of the operation table in the form that tests compare.
type Row struct {
	Method, Path string // with <name>, <reference>, <digest> and <id>
	Name         string
	Actions      string // groups joined by " and ", alternatives by " or "
	On           string
}

// Rows returns the rows of the operation table, except those of signed links and of the token endpoint.
func Rows() []Row {
	paths := [routes]string{
		routeBase: "/v2/", routeCatalog: "/v2/_catalog", routeTags: "/v2/<name>/tags/list", routeManifest: "/v2/<name>/manifests/<reference>",
		routeBlob: "/v2/<name>/blobs/<digest>", routeUploads: "/v2/<name>/blobs/uploads/", routeUpload: "/v2/<name>/blobs/uploads/<id>",
		routeReferrers: "/v2/<name>/referrers/<digest>",
	}
	resources := map[resource]string{onNothing: "-", onRepository: "repository", onImage: "repository",
		onNewImage: "repository", onDeletedImage: "repository", onSubject: "repository", onAllRepositories: "repository/*"}
	var rows []Row
	for _, op := range operations {
		if op.route == routeLink {
			continue // its callers have no docker token; links_test.go of package awsapi tests it
		}
		if op.route == routeToken {
			continue // only with anonymous callers; token_test.go tests it
		}
		actions := op.action
		if op.or != "" {
			actions += " or " + op.or
		}
		rows = append(rows, Row{op.method, paths[op.route], op.name, actions, resources[op.on]})
	}
	return rows
}

// MaxUploadsPerPrincipal is maxUploadsPerPrincipal.
const MaxUploadsPerPrincipal = maxUploadsPerPrincipal

// ByteRanges is byteRanges.
func ByteRanges(value string, size int64) string { return byteRanges(value, size) }
