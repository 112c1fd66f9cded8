package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// eventLine returns the short form of an event: time, request id, caller, operation, resource and result, in columns
// that are separated by two spaces or more.
func eventLine(r *audit.Record) string {
	result := "ok"
	if r.ErrorCode != "" {
		result = reason(r) + alike(r)
	}
	return printable(fmt.Sprintf("%s  %-36s  %-32s  %-26s  %-44s  %s", stamp(r.Time), orDash(r.RequestID), callerName(r),
		orDash(r.Name), resourceName(r), result))
}

// callerName returns ACCOUNT/user/alice, ACCOUNT/assumed-role/ci/build-7, ACCOUNT/root, operator or anonymous; for a
// caller with a token of an identity provider the unique id.
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

// resourceName returns ACCOUNT/REGION/REPOSITORY[:TAG|@DIGEST] for a repository, as in image references on a host of
// all registries, and ACCOUNT/role/ci and the like for other resources.
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

// splitARN returns the owner, the region and the resource of an ARN, "" for each if the text is not an ARN.
func splitARN(arn string) (account, region, rest string) {
	a, _ := name.ParseARN(arn) // the zero ARN after an error
	return a.Owner(), a.Region, a.Resource
}

// imageName returns the tag or digest of a request, the first if the request has several, "" for none.
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
		return "" // another operation uses these member names for other types
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

// reason returns why a request failed; for a denial only the part that the other columns do not contain.
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

// alike returns how many requests the line of a request stands for; "" for one.
func alike(r *audit.Record) string {
	var all map[string]json.RawMessage
	var counted struct {
		Requests int64
		Scope    string
	}
	if json.Unmarshal([]byte(r.Additional.JSON()), &all) != nil || json.Unmarshal(all[audit.CountedMember], &counted) != nil {
		return ""
	}
	if counted.Scope != audit.CountedCause {
		return fmt.Sprintf(" (%d requests that failed for different reasons)", counted.Requests)
	}
	return fmt.Sprintf(" (%d requests like this one)", counted.Requests)
}

// printable replaces characters that control a terminal or break the line: clients choose parts of the text of the
// trail.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c != ' ' && !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
}
