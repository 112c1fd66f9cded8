package meta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// scope names values that a change makes stale: those of one cache, or one value of it. A transaction collects the scopes of
// its changes (tx.touch); after its commit, and before its answer, the caches drop what they name. A scope has a text, by
// which other processes drop the same. Fields that its kind does not have are zero.
type scope struct {
	kind       scopeKind
	repository int64          // of kinds below a repository
	ref        name.Reference // scopeImage, scopeTag and scopeHolding
	registry   name.Registry  // scopeRepository
	repo       name.Repo      // scopeRepository
	id         string         // scopeKeys and scopeTokens: one of them, "" for all
}

// scopeKind says which cache a scope is about. It is the first word of the scope's text.
type scopeKind string

// The kinds. What they drop is written in Store.drop.
const (
	scopeIdentity         scopeKind = "identity"          // IdentityGeneration grows
	scopeKeys             scopeKind = "keys"              // access keys
	scopeTokens           scopeKind = "tokens"            // docker tokens
	scopeSessions         scopeKind = "sessions"          // all sessions
	scopeSettings         scopeKind = "settings"          // all account settings
	scopeRegistryPolicies scopeKind = "registry-policies" // all policies of registries
	scopeResourceTags     scopeKind = "resource-tags"     // the resource tags of a repository
	scopeRepository       scopeKind = "repository"        // the settings and the policy of a repository
	scopeRepositories     scopeKind = "repositories"      // all repositories, with all that is in them
	scopeImage            scopeKind = "image"             // the manifest of a digest in a repository
	scopeTag              scopeKind = "tag"               // where a tag is, which is there after the change
	scopeHolding          scopeKind = "holding"           // how a repository holds a blob
	scopeImages           scopeKind = "images"            // all images, tags and blobs of a repository
	scopeEverything       scopeKind = "everything"        // all of the above
)

// text is the scope's words. A scope that has no such text is written as one that drops more.
func (s scope) text() string {
	switch s.kind {
	case scopeKeys, scopeTokens:
		if s.id == "" || strings.ContainsFunc(s.id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return string(s.kind)
		}
		return string(s.kind) + " " + s.id
	case scopeResourceTags, scopeImages:
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

// parseScope reads the text of a scope. ok is false for a text that this program does not know, such as that of a newer one:
// whoever reads it drops everything.
func parseScope(text string) (s scope, ok bool) {
	kind, rest, more := strings.Cut(text, " ")
	s.kind = scopeKind(kind)
	fields := strings.Split(rest, " ")
	if !more {
		fields = nil
	}
	var err error
	switch s.kind {
	case scopeIdentity, scopeSessions, scopeSettings, scopeRegistryPolicies, scopeRepositories, scopeEverything:
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
	case scopeResourceTags, scopeImages:
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

// scopesText is the text of the scopes of one commit, a line for each; scopes that come twice are written once.
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

// parseScopes reads what scopesText has written.
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

// drop takes what the scopes name from the caches of this process. A read that began before it is not kept (see shelf.gen).
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
		case scopeRegistryPolicies:
			c.registries.drop()
		case scopeResourceTags:
			c.resourceTags.drop(one.repository)
		case scopeRepository:
			c.repositories.drop(repositoryKey{one.registry, one.repo})
		case scopeRepositories:
			c.repositories.drop()
			c.dropImages()
			c.tagLists.drop()
		case scopeImage:
			c.heads.drop(headKey{one.repository, one.ref})
		case scopeTag:
			c.heads.drop(headKey{one.repository, one.ref})
			// A tag that only moves leaves the list as it was.
			c.tagLists.dropUnless(one.repository, func(list []byte) bool { return lists(list, one.ref.Tag.String()) })
		case scopeHolding:
			c.holdings.drop(holdingKey{one.repository, one.ref.Digest})
		case scopeImages:
			// Deletions are rare, so they drop the images of other repositories too.
			c.dropImages()
			c.tagLists.drop(one.repository)
		default:
			c.dropAll()
			s.generation.Add(1)
		}
	}
}

// dropOne drops one value of a cache whose keys are ids, or all for "".
func dropOne[V any](s *shelf[string, V], id string) {
	if id == "" {
		s.drop()
		return
	}
	s.drop(id)
}

// maxHoldings is how many blobs one image makes stale one by one; an image of more makes all of its repository stale.
const maxHoldings = 1000

// touchHoldings names the blobs of an image stale in its repository.
func (t *tx) touchHoldings(repository int64, blobs []name.Digest) {
	if len(blobs) > maxHoldings {
		t.touch(scope{kind: scopeImages, repository: repository})
		return
	}
	for _, d := range blobs {
		t.touch(scope{kind: scopeHolding, repository: repository, ref: name.Reference{Digest: d}})
	}
}

// touch names what the write makes stale. What a refused write has named is forgotten with it.
func (t *tx) touch(scopes ...scope) { t.scopes = append(t.scopes, scopes...) }
