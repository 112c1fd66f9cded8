// Package lifecycle reads lifecycle policies and says what they do with the images of a repository.
//
// There are two documents. [Parse] reads the lifecycle policy of ECR, with ECR's grammar and refusals. [ParseExtension]
// reads ecrin's extension, which clients of ECR do not see: more conditions, exclusions and groups. Both give a [Policy], and
// [Join] puts the extension before the policy of ECR. [Evaluate] is the only function that applies a policy: previews,
// executions and the command line show and do the same.
//
// Sources: ECR user guide, lifecycle policies, their parameters and examples; docs/design/lifecycle.md.
package lifecycle

import (
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Policy is a list of rules. It is immutable and safe for concurrent use. A nil Policy has no rules.
type Policy struct {
	rules   []*Rule      // in the order in which they are applied
	protect []*TagFilter // images with a tag that one of them matches are never acted on
}

// Rules returns the rules in the order in which they are applied. The caller must not change them.
func (p *Policy) Rules() []*Rule {
	if p == nil {
		return nil
	}
	return p.rules
}

// Protections returns the filters of the extension that protect images from all rules: those with a tag that one of them
// matches. The caller must not change them.
func (p *Policy) Protections() []*TagFilter {
	if p == nil {
		return nil
	}
	return p.protect
}

// Join returns a policy with the rules of first before those of second, and the protections of both. Either may be nil.
// An image that a rule of first sees is not acted on by a rule of second.
func Join(first, second *Policy) *Policy {
	var both Policy
	for _, p := range []*Policy{first, second} {
		if p != nil {
			both.rules = append(both.rules, p.rules...)
			both.protect = append(both.protect, p.protect...)
		}
	}
	return &both
}

// Document is one of the two documents with rules.
type Document uint8

const (
	ECR       Document = iota + 1 // the lifecycle policy of ECR
	Extension                     // the extension of ecrin
)

// Rule is a rule of a policy. It sees the images of its storage class that have its tag status, match Patterns and Tags,
// and that Exclude does not match. It is due for those of them for which all conditions of Older and Keep hold.
type Rule struct {
	Document    Document
	Priority    int    // 1 or more; the rule with the lowest number of its document is applied first
	Description string // "" when absent
	Class       StorageClass
	Status      TagStatus
	Patterns    []Pattern    // of ECR: each must match a tag of the image, which may be the same or different ones
	Tags        *TagFilter   // of the extension: must match a tag of the image; nil matches all images
	EveryTag    bool         // Tags must match all tags of the image
	Exclude     []*TagFilter // of the extension: none may match a tag of the image
	Older       []Age        // all must hold; of ECR at most one
	Keep        *Keep        // nil keeps no image for its position
	Action      Action
}

// Name returns the rule in words, such as "rule 3" or "extension rule 3".
func (r *Rule) Name() string {
	if r.Document == Extension {
		return "extension rule " + strconv.Itoa(r.Priority)
	}
	return "rule " + strconv.Itoa(r.Priority)
}

// TagStatus says which images a rule sees by the presence of tags.
type TagStatus uint8

const (
	AnyStatus TagStatus = iota
	Tagged
	Untagged
)

// StorageClass is the storage class of an image. The zero value is the standard class.
type StorageClass uint8

const (
	Standard StorageClass = iota
	Archived
)

// Action is what a rule does with an image. The zero value is nothing.
type Action uint8

const (
	None    Action = iota
	Expire         // the image is deleted
	Archive        // the image moves to the archive class
)

// String returns the name of the action in policies of the extension.
func (a Action) String() string { return [...]string{"none", "expire", "archive"}[a] }

// Clock is the event from which an age is counted.
type Clock uint8

const (
	Pushed   Clock = iota + 1 // the push, or the restoration from the archive
	Pulled                    // the last pull, or without a pull since then, as Pushed
	TagMoved                  // the last move of a tag that the rule matches; see Image.UntaggedAt for images without tags
	Archival                  // the transition to the archive class
)

// Age is a condition: the event of Clock was more than Days days of 24 hours ago.
type Age struct {
	Clock Clock
	Days  int // 1 or more
}

// Keep is a condition: the image is not among the first Count images that the rule sees, in the given order.
type Keep struct {
	Count int // 1 or more
	Order Order
	Group int    // the capture of Tags.Regexp whose text names a group; each group keeps Count images; 0 is one group for all
	Name  string // of the capture, or its number
}

// Order is the order of images for Keep. In all orders, equal images are in the order of their push, newest first, and then of
// their digests, highest first.
type Order uint8

const (
	NewestPush     Order = iota // by Pushed
	NewestPull                  // by Pulled
	NewestTagMove               // by TagMoved; in a group, by the tags of the group
	HighestVersion              // by the precedence of the tags that the rule matches
)

// Protection is a set of reasons why an image must not be acted on.
type Protection uint8

const (
	Pinned      Protection = 1 << iota // a user has pinned the image
	InUse                              // the image runs somewhere
	Restoring                          // the image is being restored from the archive
	Undeletable                        // the images of the repository must not be deleted
	Entitled                           // customers of a vendor may pull the image
)

// Image is an image of a repository, as [Evaluate] gets it. Times are used to the microsecond; the zero time is unknown.
type Image struct {
	Digest      name.Digest
	Tags        []Tag // in any order
	Bytes       int64 // 0 or more
	Class       StorageClass
	PushedAt    time.Time
	PulledAt    time.Time     // zero for never
	ArchivedAt  time.Time     // the last transition to the archive class; zero for never
	ActivatedAt time.Time     // the last restoration from the archive class; zero for never
	UntaggedAt  time.Time     // of an image without tags, when its last tag was moved or deleted; zero for never or unknown
	Children    []name.Digest // the images that an index names; those that the repository does not have are ignored
	Subject     name.Digest   // of a referrer; ignored if the repository does not have it
	Protection  Protection
}

// Tag is a tag of an image.
type Tag struct {
	Name    string
	MovedAt time.Time // when the tag was moved to the image; zero counts as the push of the image
}

// pushed returns the time from which the age since the push is counted. Source: ECR user guide: a restored image counts as
// new.
func (im *Image) pushed() time.Time {
	if !im.ActivatedAt.IsZero() {
		return im.ActivatedAt
	}
	return im.PushedAt
}

// pulled returns the time from which the age since the last pull is counted.
func (im *Image) pulled() time.Time {
	if im.PulledAt.IsZero() || im.PulledAt.Before(im.ActivatedAt) {
		return im.pushed()
	}
	return im.PulledAt
}

// moved returns the time of the last move of one tag.
func (im *Image) moved(t Tag) time.Time {
	if t.MovedAt.IsZero() {
		return im.pushed()
	}
	return t.MovedAt
}

// untagged returns the time from which the age since the last move of a tag is counted for an image without tags.
func (im *Image) untagged() time.Time {
	if im.UntaggedAt.IsZero() {
		return im.pushed()
	}
	return im.UntaggedAt
}
