package registry

import (
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
)

// executionLines returns the audit lines of a deletion by a lifecycle policy. rules are the rules that delete the images.
//
// Source: ECR user guide, logging with CloudTrail, PolicyExecutionEvent.
func executionLines(r Repository, l meta.Lifecycle, gone []meta.Expiry, rules map[name.Digest]*lifecycle.Rule,
	now time.Time) (lines []byte) {
	account := r.Registry.Account.String()
	for len(gone) > 0 {
		some := gone[:min(maxActions, len(gone))]
		gone = gone[len(some):]
		record := audit.Record{
			EventID: audit.NewID(), Time: now, Source: "ecr.amazonaws.com", Name: "PolicyExecutionEvent", Type: audit.TypeServiceEvent,
			Region: r.Registry.Region.String(), Identity: audit.Identity{Type: audit.AWSService, Account: account, InvokedBy: awsInternal},
			SourceIP: awsInternal, UserAgent: awsInternal,
			Resources: []audit.Resource{{Account: account, ARN: r.ARN(), Type: "AWS::ECR::Repository"}},
		}
		var policy audit.Params
		var acting []audit.Params
		var actions []audit.Params
		named := map[*lifecycle.Rule]bool{}
		for _, e := range some {
			rule := rules[e.Image.Digest]
			if rule != nil && !named[rule] {
				named[rule] = true
				acting = append(acting, ruleParams(rule))
			}
			var action audit.Params
			action.Object("lifecycleEventImage", imageParams(e.Image))
			action.Int("rulePriority", int64(e.Priority))
			actions = append(actions, action)
		}
		policy.Objects("lifecycleEventRules", acting)
		policy.Int("lastEvaluatedAt", millis(l.EvaluatedAt))
		policy.String("policyId", strconv.FormatInt(l.Generation, 10))
		record.Service.String("repositoryName", r.Name.String())
		record.Service.Object("lifecycleEventPolicy", policy)
		record.Service.Objects("lifecycleEventImageActions", actions)
		lines = record.AppendLines(lines, account)
	}
	return lines
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
