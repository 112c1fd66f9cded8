package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// eventLine is an event in short: time, request id, caller, operation, resource, result; columns by two spaces or more.
func eventLine(r *audit.Record) string {
	result := "ok"
	if r.ErrorCode != "" {
		result = reason(r)
	}
	return harmless(fmt.Sprintf("%s  %-36s  %-32s  %-26s  %-44s  %s", stamp(r.Time), orDash(r.RequestID), callerName(r), orDash(r.Name), resourceName(r), result))
}

// callerName is ACCOUNT/user/alice, ACCOUNT/assumed-role/ci/build-7, ACCOUNT/root, operator, anonymous; of who comes with a
// token of an identity provider its unique id.
func callerName(r *audit.Record) string {
	i := &r.Identity
	account, _, rest := splitARN(i.ARN)
	switch {
	case i.Type == audit.Anonymous:
		return "anonymous"
	case rest == "":
		return orDash(i.PrincipalID)
	case account == "":
		return rest
	}
	return account + "/" + rest
}

// resourceName is ACCOUNT/REGION/REPOSITORY[:TAG|@DIGEST] of a repository, as docker names it on a host of all registries;
// ACCOUNT/role/ci and the like of others.
func resourceName(r *audit.Record) string {
	if len(r.Resources) == 0 {
		return "-"
	}
	arn := r.Resources[0].ARN
	account, region, rest := splitARN(arn)
	if repository, ok := strings.CutPrefix(rest, "repository/"); ok {
		return account + "/" + region + "/" + repository + imageName(r)
	}
	if account == "" {
		return orDash(rest)
	}
	return account + "/" + rest
}

// splitARN gives the owner, the region and the resource of an ARN; "" for each if the text is no ARN.
func splitARN(arn string) (account, region, rest string) {
	a, _ := name.ParseARN(arn) // of another text the zero ARN
	return a.Owner(), a.Region, a.Resource
}

// imageName is what a request names in the repository, the first when it names more.
func imageName(r *audit.Record) string {
	type id struct {
		ImageTag    string `json:"imageTag"`
		ImageDigest string `json:"imageDigest"`
		LayerDigest string `json:"layerDigest"`
	}
	var p struct {
		id
		ImageIds     []id     `json:"imageIds"`
		SubjectID    id       `json:"subjectId"`
		LayerDigests []string `json:"layerDigests"`
	}
	if json.Unmarshal([]byte(r.Request.JSON()), &p) != nil {
		return "" // members of another operation that are called the same; the resource is told without
	}
	one := p.id
	switch {
	case len(p.ImageIds) > 0:
		one = p.ImageIds[0]
	case p.SubjectID != id{}:
		one = p.SubjectID
	case len(p.LayerDigests) > 0:
		one.LayerDigest = p.LayerDigests[0]
	}
	switch {
	case one.ImageTag != "":
		return ":" + one.ImageTag
	case one.ImageDigest != "":
		return "@" + one.ImageDigest
	case one.LayerDigest != "":
		return "@" + one.LayerDigest
	}
	return ""
}

// reason is why a request failed; of a denial the part that the line does not say already.
func reason(r *audit.Record) string {
	if r.ErrorCode != "AccessDenied" {
		return r.ErrorCode + ": " + r.ErrorMessage
	}
	if _, because, ok := strings.Cut(r.ErrorMessage, " because "); ok {
		return "denied: " + because
	}
	if _, explicit, ok := strings.Cut(r.ErrorMessage, " with an explicit deny"); ok {
		return "denied: an explicit deny" + explicit
	}
	return "denied: " + r.ErrorMessage
}

// harmless replaces what steers a terminal or breaks the line: clients choose what stands in the trail.
func harmless(s string) string {
	return strings.Map(func(c rune) rune {
		if c != ' ' && !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
