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

// paging is the start and the maximum size of a page of a listing.
type paging struct {
	after   string // position of the last entry of the previous page; "" for the first page
	size    int
	listing pagetoken.Listing
}

// pageSize is the maximum number of entries of a page if the request has no MaxItems. Source: IAM API reference,
// ListUsers.
const pageSize = 100

// paging returns the paging of a request with its Marker and MaxItems. A marker is valid only in the listing that
// returned it: for the same operation, account and arguments that select the entries. Errors: fault.Validation.
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

// more returns a page of entries, whether there are more entries, and the marker of the next page. entries has one
// entry more than the page if there is a next page. key returns the position of an entry.
func more[T any](p paging, entries []T, key func(T) string) (page []T, truncated *bool, marker string) {
	if len(entries) <= p.size {
		return entries, new(false), ""
	}
	page = entries[:p.size]
	return page, new(true), p.listing.Seal(key(page[p.size-1]))
}

// cut sorts all entries of a listing by key and returns one page of them, like more.
func cut[T any](p paging, all []T, key func(T) string) (page []T, truncated *bool, marker string) {
	slices.SortStableFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	at := func(v T) string { return position(key(v)) }
	rest := all
	if p.after != "" {
		// If the last entry of the previous page was deleted, the page begins at its position. A marker contains only
		// the beginning of a long key. Entries with the same beginning may be repeated, so that no entry is omitted.
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

// maxPosition is the maximum number of bytes of a key in a marker. A marker has at most 320 characters.
// Source: IAM API reference, ListUsers.
const maxPosition = 160

// position returns a text that identifies a key and is short enough for a marker.
func position(key string) string {
	if len(key) <= maxPosition {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return key[:maxPosition] + hex.EncodeToString(sum[:16])
}

// entities returns one page of an account's entities of a kind, by name.
func (s *Service) entities(ctx context.Context, c identity.Caller, operation string, kind meta.EntityKind, pathPrefix,
	marker string, maxItems *int32) (page []meta.Entity, truncated *bool, next string, err error) {
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
