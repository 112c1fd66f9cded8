package registry

import (
	"slices"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// maxActions limits the images of one event, and maxActionTags the tags of an image in it. Source: ECR user guide, logging with
	// CloudTrail, PolicyExecutionEvent.
	maxActions    = 10
	maxActionTags = 100
	// awsInternal is the source of events that AWS causes itself. Source: as above.
	awsInternal = "AWS Internal"
	// maxDryRunEvents limits the events of one preview, and so the images in them.
	maxDryRunEvents = 10
)

// acted is an image on which a rule acts, or that is left although a rule is due for it.
type acted struct {
	image  *lifecycle.Image
	rule   *lifecycle.Rule
	code   string // of ECR, why the image is left
	reason string // likewise
}

// executionLines returns the audit lines of a deletion by a lifecycle policy. rules are the rules that delete the images; left are images
// that ECR would report as failures, which the first line has.
//
// Source: ECR user guide, logging with CloudTrail, PolicyExecutionEvent.
func executionLines(r Repository, l meta.Lifecycle, gone []meta.Expiry, rules map[name.Digest]*lifecycle.Rule, left []acted,
	now time.Time) []byte {
	all := make([]acted, len(gone))
	for i, e := range gone {
		all[i] = acted{image: e.Image, rule: rules[e.Image.Digest]}
	}
	return lifecycleLines("PolicyExecutionEvent", r, l, all, left, now)
}

// lifecycleLines returns audit lines with at most maxActions images each.
func lifecycleLines(event string, r Repository, l meta.Lifecycle, all, left []acted, now time.Time) (lines []byte) {
	account := r.Registry.Account.String()
	for len(all) > 0 || len(left) > 0 {
		some := all[:min(maxActions, len(all))]
		all = all[len(some):]
		record := audit.Record{
			EventID: audit.NewID(), Time: now, Source: "ecr.amazonaws.com", Name: event, Type: audit.TypeServiceEvent,
			Region: r.Registry.Region.String(), Identity: audit.Identity{Type: audit.AWSService, Account: account, InvokedBy: awsInternal},
			SourceIP: awsInternal, UserAgent: awsInternal,
			Resources: []audit.Resource{{Account: account, ARN: r.ARN(), Type: "AWS::ECR::Repository"}},
		}
		var policy audit.Params
		var acting, actions, failures []audit.Params
		named := map[*lifecycle.Rule]bool{}
		for _, a := range some {
			actions = append(actions, actedParams(a))
		}
		for _, a := range left {
			p := actedParams(a)
			p.String("failureCode", a.code)
			p.String("failureReason", a.reason)
			failures = append(failures, p)
		}
		for _, a := range append(slices.Clone(some), left...) {
			if !named[a.rule] {
				named[a.rule] = true
				acting = append(acting, ruleParams(a.rule))
			}
		}
		policy.Objects("lifecycleEventRules", acting)
		policy.Int("lastEvaluatedAt", millis(l.EvaluatedAt))
		policy.String("policyId", strconv.FormatInt(l.Generation, 10))
		record.Service.String("repositoryName", r.Name.String())
		record.Service.Object("lifecycleEventPolicy", policy)
		record.Service.Objects("lifecycleEventImageActions", actions)
		record.Service.Objects("lifecycleEventFailureDetails", failures)
		lines, left = record.AppendLines(lines, account), nil
	}
	return lines
}

func actedParams(a acted) (p audit.Params) {
	p.Object("lifecycleEventImage", imageParams(a.image))
	p.Int("rulePriority", int64(a.rule.Priority))
	return p
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func imageParams(im *lifecycle.Image) (p audit.Params) {
	status, tags := "Untagged", []string{}
	for _, tag := range im.Tags[:min(len(im.Tags), maxActionTags)] {
		status, tags = "Tagged", append(tags, tag.Name)
	}
	p.String("digest", im.Digest.String())
	p.String("tagStatus", status)
	p.Strings("tagList", tags)
	p.Int("pushedAt", millis(im.PushedAt))
	return p
}

func ruleParams(r *lifecycle.Rule) (p audit.Params) {
	p.Int("rulePriority", int64(r.Priority))
	p.String("description", r.Description)
	if r.Document == lifecycle.Extension {
		p.String("document", "ecrin-lifecycle-1")
	}
	var s audit.Params
	s.String("tagStatus", [...]string{"Any", "Tagged", "Untagged"}[r.Status])
	if r.Keep != nil {
		s.String("countType", "Image count more than")
		s.Int("countNumber", int64(r.Keep.Count))
	} else if len(r.Older) > 0 {
		s.String("countType", [...]string{"", "Since image pushed", "Since image pulled", "Since tag moved",
			"Since image transitioned"}[r.Older[0].Clock])
		s.String("countUnit", "Days")
		s.Int("countNumber", int64(r.Older[0].Days))
	}
	p.Object("lifecycleEventSelection", s)
	p.String("action", r.Action.String())
	return p
}
