package iam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// paging is where a page of a listing begins and how long it may be.
type paging struct {
	after   string // position of the last entry of the page before; "" for the first page
	size    int
	listing pagetoken.Listing
}

// pageSize is the number of entries of a page without MaxItems. Source: IAM API reference, ListUsers.
const pageSize = 100

// paging reads Marker and MaxItems of a listing. A marker is good only in the listing that gave it: the operation, the
// account and the arguments that choose the entries are parts of it. Errors: fault.Validation.
func (s *Service) paging(c identity.Caller, operation, marker string, maxItems *int32, args ...string) (paging, error) {
	p := paging{size: pageSize, listing: s.pages.Listing(append([]string{operation, c.Account.String()}, args...)...)}
	if maxItems != nil {
		p.size = int(*maxItems)
	}
	if marker == "" {
		return p, nil
	}
	var err error
	if p.after, err = p.listing.Open(marker); err != nil {
		return paging{}, fault.Validation.New("Invalid Marker.").Because(err)
	}
	return p, nil
}

// more tells how a page ends. entries were asked for with one more than the page has, so that a last page is known to be
// the last one; key gives the position of an entry.
func more[T any](p paging, entries []T, key func(T) string) (page []T, truncated *bool, marker string) {
	if len(entries) <= p.size {
		return entries, new(false), ""
	}
	page = entries[:p.size]
	return page, new(true), p.listing.Seal(key(page[p.size-1]))
}

// cut takes a page out of all entries of a listing, which it puts into the order of their keys.
func cut[T any](p paging, all []T, key func(T) string) (page []T, truncated *bool, marker string) {
	slices.SortStableFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	at := func(v T) string { return position(key(v)) }
	rest := all
	if p.after != "" {
		// The last entry of the page before may be gone. Then the page begins where it was; of keys that a marker cannot tell
		// from it some may come again, so that none is left out.
		from := slices.IndexFunc(all, func(v T) bool { return at(v) == p.after }) + 1
		if from == 0 {
			last := p.after[:min(len(p.after), maxPosition)]
			for from < len(all) && key(all[from]) < last {
				from++
			}
		}
		rest = all[from:]
	}
	if len(rest) > p.size+1 {
		rest = rest[:p.size+1]
	}
	return more(p, rest, at)
}

// maxPosition is how many bytes of a key a marker holds. In all, a marker may have 320 characters.
// Source: IAM API reference, ListUsers.
const maxPosition = 160

// position is a key that is short enough for a marker, and another one for each key.
func position(key string) string {
	if len(key) <= maxPosition {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return key[:maxPosition] + hex.EncodeToString(sum[:16])
}

// entities reads one page of an account's entities of a kind, by name.
func (s *Service) entities(ctx context.Context, c identity.Caller, operation string, kind meta.EntityKind, pathPrefix, marker string, maxItems *int32) (page []meta.Entity, truncated *bool, next string, err error) {
	p, err := s.paging(c, operation, marker, maxItems, pathPrefix)
	if err != nil {
		return nil, nil, "", err
	}
	all, err := s.meta.Entities(ctx, c.Account, kind, pathPrefix, p.after, p.size+1)
	if err != nil {
		return nil, nil, "", err
	}
	page, truncated, next = more(p, all, func(e meta.Entity) string { return e.Name })
	return page, truncated, next, nil
}
