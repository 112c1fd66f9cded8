package event

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The detail types of the events of ECR. Source: ECR user guide, ecr-eventbridge and image-scanning-enhanced-events; the
// one of backfills is ecrin's.
const (
	imageAction     = "ECR Image Action"
	referrerAction  = "ECR Referrer Action"
	imageScan       = "ECR Image Scan"
	scanChange      = "ECR Scan Resource Change"
	replication     = "ECR Replication Action"
	pullThrough     = "ECR Pull Through Cache Action"
	backfillChanged = "ECR Replication Backfill Action"
)

// The results of an action.
const (
	succeeded = "SUCCESS"
	failed    = "FAILED"
)

func result(ok bool) string {
	if ok {
		return succeeded
	}
	return failed
}

// Media has the media types of a manifest and of what it is about: the artifact type, or else the type of the config.
type Media struct{ Manifest, Artifact string }

// ImagePushed returns the events of the push of an image: one for each tag that the push moved to it, or one without a
// tag if there are none.
func ImagePushed(o Origin, i Image, tags []name.Tag) []Event { return o.action("PUSH", i, nil, tags) }

// ImageDeleted returns the events of the deletion of an image: one for each tag that was deleted with it, or one without
// a tag if there were none.
func ImageDeleted(o Origin, i Image, tags []name.Tag) []Event {
	return o.action("DELETE", i, nil, tags)
}

// ReferrerPushed returns the events of the push of an image that has a subject, such as a signature or an SBOM, as
// [ImagePushed] does. It replaces ImagePushed for such images.
func ReferrerPushed(o Origin, i Image, m Media, tags []name.Tag) []Event {
	return o.action("PUSH", i, &m, tags)
}

// ReferrerDeleted returns the events of the deletion of an image that has a subject, as [ImageDeleted] does. It replaces
// ImageDeleted for such images.
func ReferrerDeleted(o Origin, i Image, m Media, tags []name.Tag) []Event {
	return o.action("DELETE", i, &m, tags)
}

// action returns one event for each tag, or one without a tag. media is nil for images that are not referrers.
func (o Origin) action(action string, i Image, media *Media, tags []name.Tag) []Event {
	if len(tags) == 0 {
		tags = []name.Tag{{}}
	}
	all := make([]Event, len(tags))
	for n, tag := range tags {
		detail := object{
			text("result", succeeded),
			text("repository-name", i.Repository.String()),
			text("image-digest", i.Digest.String()),
			text("action-type", action),
		}.optional("image-tag", tag.String())
		detailType := imageAction
		if media != nil {
			detailType = referrerAction
			detail = detail.optional("manifest-media-type", media.Manifest).optional("artifact-media-type", media.Artifact)
		}
		one := o
		one.ID = o.ID.sibling(n)
		all[n] = one.event(SourceECR, detailType, i, detail)
	}
	return all
}

// ImageArchived returns the event of the change of an image to the storage class ARCHIVE.
func ImageArchived(o Origin, i Image, m Media) Event {
	return o.storageClass(imageAction, i, m, ecrtypes.TargetStorageClassARCHIVE, time.Time{})
}

// ImageRestored returns the event of the change of an image back to the storage class STANDARD. activated is the time at
// which the image could be pulled again.
func ImageRestored(o Origin, i Image, m Media, activated time.Time) Event {
	return o.storageClass(imageAction, i, m, ecrtypes.TargetStorageClassSTANDARD, activated)
}

// ReferrerArchived is [ImageArchived] for an image that has a subject.
func ReferrerArchived(o Origin, i Image, m Media) Event {
	return o.storageClass(referrerAction, i, m, ecrtypes.TargetStorageClassARCHIVE, time.Time{})
}

// ReferrerRestored is [ImageRestored] for an image that has a subject.
func ReferrerRestored(o Origin, i Image, m Media, activated time.Time) Event {
	return o.storageClass(referrerAction, i, m, ecrtypes.TargetStorageClassSTANDARD, activated)
}

func (o Origin) storageClass(detailType string, i Image, m Media, class ecrtypes.TargetStorageClass, activated time.Time) Event {
	detail := object{
		text("action-type", "UPDATE_STORAGE_CLASS"),
		text("target-storage-class", string(class)),
		text("image-digest", i.Digest.String()),
		text("repository-name", i.Repository.String()),
		text("result", succeeded),
	}.optional("manifest-media-type", m.Manifest).optional("artifact-media-type", m.Artifact)
	if !activated.IsZero() {
		detail = append(detail, text("last-activated-at", instant(activated)))
	}
	return o.event(SourceECR, detailType, i, detail)
}

// Findings has the number of findings of a scan by severity.
type Findings struct{ Critical, High, Medium, Low, Informational, Undefined int64 }

// maxTags is the maximum number of tags in one event: 131 KB. Source: the quota of ECR for tags of an image.
const maxTags = 1000

// ImageScanned returns the event of a basic scan that has ended. complete is false for a scan that failed. tags are the
// tags of the image. Of more than 1,000 the event has the first, and the number of the others.
func ImageScanned(o Origin, i Image, complete bool, f Findings, tags []name.Tag) Event {
	status := ecrtypes.ScanStatusFAILED
	if complete {
		status = ecrtypes.ScanStatusCOMPLETE
	}
	counts := object{}
	for _, c := range []struct {
		severity ecrtypes.FindingSeverity
		n        int64
	}{
		{ecrtypes.FindingSeverityCRITICAL, f.Critical}, {ecrtypes.FindingSeverityHIGH, f.High},
		{ecrtypes.FindingSeverityMEDIUM, f.Medium}, {ecrtypes.FindingSeverityLOW, f.Low},
		{ecrtypes.FindingSeverityINFORMATIONAL, f.Informational}, {ecrtypes.FindingSeverityUNDEFINED, f.Undefined},
	} {
		if c.n != 0 {
			counts = append(counts, count(string(c.severity), c.n))
		}
	}
	kept := tags[:min(len(tags), maxTags)]
	names := make([]string, len(kept))
	for n, tag := range kept {
		names[n] = tag.String()
	}
	detail := object{
		text("scan-status", string(status)),
		text("repository-name", i.Repository.String()),
		{"finding-severity-counts", counts},
		text("image-digest", i.Digest.String()),
		texts("image-tags", names),
	}
	if omitted := len(tags) - len(kept); omitted > 0 {
		detail = append(detail, count("omitted-image-tags", int64(omitted)))
	}
	return o.event(SourceECR, imageScan, i, detail, o.arn(i.Repository))
}

// ScanFrequency is the change of the scan frequency of one repository.
type ScanFrequency struct {
	Repository    name.Repo
	Now, Previous ecrtypes.ScanFrequency
}

// maxScanChanges is the maximum number of repositories in one event of scan frequencies; with names of 256 characters
// they have 220 KB.
const maxScanChanges = 250

// ScanFrequenciesChanged returns the events of a change of the registry's scanning configuration: one for each 250
// repositories whose frequency changed, none if there are none.
func ScanFrequenciesChanged(o Origin, changes []ScanFrequency) (all []Event) {
	for n := 0; len(changes) > 0; n++ {
		part := changes[:min(len(changes), maxScanChanges)]
		changes = changes[len(part):]
		repositories := make(list, len(part))
		for i, c := range part {
			repositories[i] = object{
				text("repository-name", c.Repository.String()),
				text("repository-arn", o.arn(c.Repository)),
				text("scan-frequency", string(c.Now)),
				text("previous-scan-frequency", string(c.Previous)),
			}
		}
		one := o
		one.ID = o.ID.sibling(n)
		all = append(all, one.event(SourceECR, scanChange, Image{}, object{
			text("action-type", "SCAN_FREQUENCY_CHANGE"),
			{"repositories", repositories},
			text("resource-type", "REPOSITORY"),
			text("scan-type", string(ecrtypes.ScanTypeENHANCED)),
		}))
	}
	return all
}

// Replicated returns the event of the replication of an image with one tag, or without one if tag is zero. o is the
// registry of the destination, which the event is for; ok tells whether the copy succeeded.
func Replicated(o Origin, i Image, tag name.Tag, from name.Registry, ok bool) Event {
	return o.event(SourceECR, replication, i, object{
		text("result", result(ok)),
		text("repository-name", i.Repository.String()),
		text("image-digest", i.Digest.String()),
		text("source-account", from.Account.String()),
		text("action-type", "REPLICATE"),
		text("source-region", from.Region.String()),
	}.optional("image-tag", tag.String()), o.arn(i.Repository))
}

// CachePull is what a pull through cache rule did for one image.
type CachePull struct {
	Prefix        string // of the rule
	Image         Image  // without a digest if the upstream did not give one
	Tag           name.Tag
	Upstream      string // host of the upstream registry
	FailureCode   string // "" after a success
	FailureReason string
}

// CacheSynced returns the event of an image that was fetched from an upstream registry, or could not be.
func CacheSynced(o Origin, p CachePull) Event {
	return o.event(SourceECR, pullThrough, p.Image, object{
		text("rule-version", "1"),
		text("sync-status", result(p.FailureCode == "")),
		text("ecr-repository-prefix", p.Prefix),
		text("repository-name", p.Image.Repository.String()),
		text("upstream-registry-url", p.Upstream),
	}.optional("image-tag", p.Tag.String()).optional("image-digest", p.Image.Digest.String()).
		optional("failure-code", p.FailureCode).optional("failure-reason", p.FailureReason), o.arn(p.Image.Repository))
}

// Backfill is a replication backfill that has ended.
type Backfill struct {
	ID                       string
	Destination              name.Registry
	Status                   ecrtypes.ReplicationBackfillStatus // COMPLETE, FAILED or STOPPED
	Total, Completed, Failed int64                              // replications
	FailureCode              string                             // "" unless Status is FAILED
}

// BackfillFinished returns the event of a replication backfill that has ended, for the registry of the source.
func BackfillFinished(o Origin, b Backfill) Event {
	return o.event(SourceECR, backfillChanged, Image{}, object{
		text("result", result(b.Status == ecrtypes.ReplicationBackfillStatusCOMPLETE)),
		text("replication-backfill-id", b.ID),
		text("action-type", "REPLICATION_BACKFILL"),
		text("status", string(b.Status)),
		text("destination-account", b.Destination.Account.String()),
		text("destination-region", b.Destination.Region.String()),
		count("total-replication-count", b.Total),
		count("completed-replication-count", b.Completed),
		count("failed-replication-count", b.Failed),
	}.optional("failure-code", b.FailureCode))
}
