// Package event makes the events that webhooks and "ecrin events" deliver, decides by event patterns which of them are
// delivered, and signs deliveries.
//
// An [Event] has the envelope of Amazon EventBridge. The events of ECR have the source aws.ecr and the members and order
// of ECR's own; events that ECR does not have are from the source ecrin. A [Pattern] is an event pattern of EventBridge.
// docs/design/events.md lists the shapes and the limits.
//
// The package is pure: the caller gives the id and the time of an event, and the random numbers and clocks are its own.
package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Source is the origin of an event.
type Source string

// The sources.
const (
	SourceECR   Source = "aws.ecr" // events that ECR has too, in its shape
	SourceEcrin Source = "ecrin"   // events that ECR does not have
)

// ID identifies an event. It is written as a UUID. A receiver that gets an event twice recognizes it by its ID.
type ID [16]byte

// String returns the id in the form of a UUID.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// sibling returns the id of event number n of a change that has several: id itself for 0. The ids of a change are the
// same each time that they are computed, so that a transaction that runs twice makes the same events.
func (id ID) sibling(n int) ID {
	if n == 0 {
		return id
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(id[:], uint64(n)))
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80 // version 8: a UUID of the program's own making
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Origin is what all events of a change have in common.
type Origin struct {
	ID       ID // chosen at random for each change; if a change has several events, the ids of the others derive from it
	Registry name.Registry
	Time     time.Time // written in UTC, in whole seconds
}

// Image is the image that an event is about.
type Image struct {
	Repository name.Repo
	Digest     name.Digest
}

// OrderKey names the events that are delivered in the order of their changes: those of one image, of one repository
// without its images, or of one registry without its repositories. Its form is account/region, followed by /repository
// and by /digest where the event has them. It has at most 446 bytes.
type OrderKey string

// Event is one event, ready to be encoded. Its constructors make it; the zero Event is not an event.
type Event struct {
	ID         ID
	DetailType string
	Source     Source
	Registry   name.Registry
	Time       time.Time
	OrderKey   OrderKey
	resources  []string
	detail     object
}

// event returns an event about a repository, or about a digest in it, or about the registry if both are zero.
func (o Origin) event(source Source, detailType string, about Image, detail object, resources ...string) Event {
	key := o.Registry.String()
	if about.Repository != (name.Repo{}) {
		key += "/" + about.Repository.String()
	}
	if about.Digest != (name.Digest{}) {
		key += "/" + about.Digest.String()
	}
	return Event{
		ID: o.ID, DetailType: detailType, Source: source, Registry: o.Registry, Time: o.Time, OrderKey: OrderKey(key),
		resources: resources, detail: detail,
	}
}

// arn returns the ARN of a repository of the registry.
func (o Origin) arn(repo name.Repo) string { return o.Registry.RepositoryARN(repo.String()) }

// arns returns the resources of an event about a repository: none for the zero Repo.
func (o Origin) arns(repo name.Repo) []string {
	if repo == (name.Repo{}) {
		return nil
	}
	return []string{o.arn(repo)}
}

// AppendJSON appends the event as one JSON object without a newline. Equal events have equal encodings.
//
// The object has at most 262,144 bytes, which is not measured: the limits of texts (maxText) and lists (maxTags,
// maxScanChanges) keep every event below. Source: EventBridge, PutEvents, 256 KB for an entry.
func (e Event) AppendJSON(dst []byte) []byte {
	return e.envelope().appendJSON(dst)
}

// envelope returns the whole event as an object, in EventBridge's order.
func (e Event) envelope() object {
	return object{
		text("version", "0"),
		text("id", e.ID.String()),
		text("detail-type", e.DetailType),
		text("source", string(e.Source)),
		text("account", e.Registry.Account.String()),
		text("time", e.Time.UTC().Format("2006-01-02T15:04:05Z")),
		text("region", e.Registry.Region.String()),
		texts("resources", e.resources),
		{"detail", e.detail},
	}
}
