package guard

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// tagClasses returns the classes of the tags of an image about which the policies decide alike; nil if each tag can be a class of
// its own. offers is nil if decisions do not depend on releases.
func tagClasses(policies *policy.Policies, keys *policy.Context, offers *meta.ImageOffers, d name.Digest) meta.TagClasses {
	if offers == nil {
		if c := policy.ClassesOf(policies, imageTag, keys); c != nil {
			return c
		}
		return nil
	}
	c := policy.ClassesOf(policies, imageTag, keys, entitlement.KeyChannel, entitlement.KeyReleased)
	if c == nil {
		return nil
	}
	return releaseClasses{Classes: c, offers: offers, digest: d.String(),
		channels: policies.Mentions(entitlement.KeyChannel), times: policies.Mentions(entitlement.KeyReleased)}
}

// releaseClasses are classes of tags that differ by releases too: tags of one class have the same channels and the same time of the
// first release, as far as policies use them. Most tags are named by no release, and differ by nothing of it.
type releaseClasses struct {
	*policy.Classes
	offers          *meta.ImageOffers
	digest          string
	channels, times bool // what policies use
}

// ID returns the ID of the classes of the policies, with that of the offers.
func (c releaseClasses) ID() string {
	return fmt.Sprint(c.offers.ID(), c.channels, c.times, c.Classes.ID())
}

// Of returns the class of a tag.
func (c releaseClasses) Of(tag string) string {
	channels, first := c.offers.Of([]string{tag}, c.digest)
	if !c.channels {
		channels = nil
	}
	if !c.times {
		first = time.Time{}
	}
	return fmt.Sprint(channels, first.UnixMicro(), c.Classes.Of(tag))
}
