package meta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// scope names cached values that a change makes stale: all values of one cache, or one of them. A transaction
// collects the scopes of its changes (tx.touch); after its commit, and before the change is acknowledged, the caches
// drop the named values. Other processes read a scope from its text and drop the same values. Fields that do not
// apply to the kind are zero.
type scope struct {
	kind       scopeKind
	repository int64          // kinds that concern one repository
	ref        name.Reference // scopeImage, scopeTag and scopeHolding
	registry   name.Registry  // scopeRepository
	repo       name.Repo      // scopeRepository
	id         string         // scopeKeys and scopeTokens: the id of one, "" for all
}

// scopeKind says which cache a scope concerns. It is the first word of the scope's text.
type scopeKind string

// The kinds. Store.drop defines what they drop.
const (
	scopeIdentity         scopeKind = "identity"          // IdentityGeneration grows
	scopeKeys             scopeKind = "keys"              // access keys
	scopeTokens           scopeKind = "tokens"            // docker tokens
	scopeSessions         scopeKind = "sessions"          // all sessions
	scopeSettings         scopeKind = "settings"          // all account settings and pull time update exclusions
	scopeRegistryPolicies scopeKind = "registry-policies" // all policies of registries
	scopeCacheRules       scopeKind = "cache-rules"       // all rules of pull-through caches
	scopeResourceTags     scopeKind = "resource-tags"     // the resource tags of a repository
	scopeAccess           scopeKind = "access"            // the grants of access to a repository, 0 for all
	scopeRepository       scopeKind = "repository"        // the settings and the policy of a repository
	scopeRepositories     scopeKind = "repositories"      // all repositories with their contents
	scopeImage            scopeKind = "image"             // the manifest of a digest in a repository
	scopeTag              scopeKind = "tag"               // the image of a tag that exists after the change
	scopeHolding          scopeKind = "holding"           // how a repository holds a blob
	scopeImages           scopeKind = "images"            // all images, tags and blobs of a repository
	scopeOffers           scopeKind = "offers"            // which channels offer which images, of all applications
	scopeJobs             scopeKind = "jobs"              // nothing: a job was queued, see JobsQueued
	scopeEvents           scopeKind = "events"            // nothing: an event was stored, see EventsStored
	scopeEverything       scopeKind = "everything"        // all of the above
)

// text encodes a scope. An id that the encoding cannot hold is left out, which makes the scope larger.
func (s scope) text() string {
	switch s.kind {
	case scopeKeys, scopeTokens:
		if s.id == "" || strings.ContainsFunc(s.id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return string(s.kind)
		}
		return string(s.kind) + " " + s.id
	case scopeResourceTags, scopeImages, scopeAccess:
		return string(s.kind) + " " + strconv.FormatInt(s.repository, 10)
	case scopeImage, scopeHolding:
		return fmt.Sprintf("%s %d %s", s.kind, s.repository, s.ref.Digest)
	case scopeTag:
		return fmt.Sprintf("%s %d %s", s.kind, s.repository, s.ref.Tag)
	case scopeRepository:
		return fmt.Sprintf("%s %s %s %s", s.kind, s.registry.Account, s.registry.Region, s.repo)
	}
	return string(s.kind)
}

// parseScope decodes the text of a scope. ok is false if the text is unknown, for example written by a newer program;
// then everything must be dropped.
func parseScope(text string) (s scope, ok bool) {
	kind, rest, more := strings.Cut(text, " ")
	s.kind = scopeKind(kind)
	fields := strings.Split(rest, " ")
	if !more {
		fields = nil
	}
	var err error
	switch s.kind {
	case scopeIdentity, scopeSessions, scopeSettings, scopeRegistryPolicies, scopeRepositories, scopeCacheRules, scopeOffers, scopeJobs,
		scopeEvents, scopeEverything:
		return s, fields == nil
	case scopeKeys, scopeTokens:
		s.id = rest
		return s, len(fields) < 2
	case scopeRepository:
		if len(fields) != 3 {
			return scope{}, false
		}
		var err1, err2, err3 error
		s.registry.Account, err1 = name.ParseAccount(fields[0])
		s.registry.Region, err2 = name.ParseRegion(fields[1])
		s.repo, err3 = name.ParseRepo(fields[2])
		return s, err1 == nil && err2 == nil && err3 == nil
	case scopeResourceTags, scopeImages, scopeAccess:
		if len(fields) != 1 {
			return scope{}, false
		}
	case scopeImage, scopeHolding, scopeTag:
		if len(fields) != 2 {
			return scope{}, false
		}
		if s.kind == scopeTag {
			s.ref.Tag, err = name.ParseTag(fields[1])
		} else {
			s.ref.Digest, err = name.ParseDigest(fields[1])
		}
		if err != nil {
			return scope{}, false
		}
	default:
		return scope{}, false
	}
	s.repository, err = strconv.ParseInt(fields[0], 10, 64)
	return s, err == nil
}

// scopesText encodes the scopes of one commit, one line for each; duplicates are written once.
func scopesText(all []scope) string {
	var b strings.Builder
	seen := make(map[scope]bool, len(all))
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			b.WriteString(s.text())
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// parseScopes decodes the result of scopesText.
func parseScopes(text string) []scope {
	var all []scope
	for line := range strings.Lines(text) {
		s, ok := parseScope(strings.TrimSuffix(line, "\n"))
		if !ok {
			s = scope{kind: scopeEverything}
		}
		all = append(all, s)
	}
	return all
}

// drop removes the values that the scopes name from the caches of this process. A value whose read began before drop
// is not kept (see shelf.gen).
func (s *Store) drop(scopes []scope) {
	c := &s.cache
	for _, one := range scopes {
		switch one.kind {
		case scopeIdentity:
			s.generation.Add(1)
		case scopeKeys:
			dropOne(&c.keys, one.id)
		case scopeTokens:
			dropOne(&c.tokens, one.id)
		case scopeSessions:
			c.sessions.drop()
		case scopeSettings:
			c.settings.drop()
			c.exclusions.drop()
		case scopeRegistryPolicies:
			c.registries.drop()
		case scopeCacheRules:
			c.cacheRules.drop()
		case scopeResourceTags:
			c.resourceTags.drop(one.repository)
		case scopeAccess:
			if one.repository == 0 {
				c.grants.drop()
				continue
			}
			c.grants.drop(one.repository)
		case scopeRepository:
			c.repositories.drop(repositoryKey{one.registry, one.repo})
		case scopeRepositories:
			c.repositories.drop()
			c.dropImages()
			c.tagLists.drop()
		case scopeImage:
			c.heads.drop(headKey{one.repository, one.ref})
			c.leading.drop(one.repository) // an index leads to the images below it
		case scopeTag:
			c.heads.drop(headKey{one.repository, one.ref})
			c.leading.drop(one.repository)
			// A tag that only moves does not change the list.
			c.tagLists.dropUnless(one.repository, func(list []byte) bool { return containsTag(list, one.ref.Tag.String()) })
		case scopeHolding:
			c.holdings.drop(holdingKey{one.repository, one.ref.Digest})
		case scopeImages:
			// Deletions are rare: they drop the images of other repositories too.
			c.dropImages()
			c.tagLists.drop(one.repository)
		case scopeOffers:
			c.offers.drop()
		case scopeJobs:
			wake(s.jobs)
		case scopeEvents:
			wake(s.events)
		default:
			c.dropAll()
			s.generation.Add(1)
			wake(s.jobs)
			wake(s.events)
		}
	}
}

// wake gives a channel a value, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// dropOne drops the value with the key id, or all values if id is "".
func dropOne[V any](s *shelf[string, V], id string) {
	if id == "" {
		s.drop()
		return
	}
	s.drop(id)
}

// maxHoldings limits the scopes of the blobs of one image; for an image with more blobs the whole repository is
// dropped.
const maxHoldings = 1000

// touchHoldings adds the scopes of blobs of a repository.
func (t *tx) touchHoldings(repository int64, blobs []name.Digest) {
	if len(blobs) > maxHoldings {
		t.touch(scope{kind: scopeImages, repository: repository})
		return
	}
	for _, d := range blobs {
		t.touch(scope{kind: scopeHolding, repository: repository, ref: name.Reference{Digest: d}})
	}
}

// touch adds scopes that the current write makes stale. Scopes of a refused write are discarded.
func (t *tx) touch(scopes ...scope) { t.scopes = append(t.scopes, scopes...) }
