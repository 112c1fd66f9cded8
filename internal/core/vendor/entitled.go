package vendor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// maxHolders limits the customers that a refusal names; the search ends with one more.
	maxHolders = 5
	// holdersPage is the number of customers that one query reads.
	holdersPage = 500
)

// Holders finds the customers who would lose an image.
type Holders struct {
	Meta    *meta.Store
	Allowed func(context.Context, identity.Caller, guard.Origin, guard.Ask) (bool, error) // that of guard.Guard
	Now     func() time.Time
}

// Check refuses to delete an image by the given references: its tags, or its digest, if a customer of an application of the account may
// pull it by one of them now. An account without applications has none. A customer who gets its right meanwhile is not found.
//
// Errors: fault.ImageEntitled, which names up to five customers; those of guard.Guard.Allowed.
func (h *Holders) Check(ctx context.Context, r meta.Repository, refs []name.Reference) error {
	all, err := h.Meta.Applications(ctx, r.Registry.Account)
	if err != nil || len(all) == 0 {
		return err
	}
	var found []string
	for _, a := range all {
		if found, err = h.ofApplication(ctx, a, r, refs, found); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	more := ""
	if len(found) > maxHolders {
		found, more = found[:maxHolders], " and others"
	}
	what := refs[0].Digest.String()
	if tag := refs[0].Tag; tag != (name.Tag{}) {
		what = "the tag " + tag.String()
	}
	return fault.ImageEntitled.New("%s of %s is entitled to customers, who would lose it: %s%s; delete the entitlements first, or delete it "+
		"with `ecrin image delete --force`", what, r.Name, strings.Join(found, ", "), more)
}

func (h *Holders) ofApplication(ctx context.Context, a meta.Application, r meta.Repository, refs []name.Reference, found []string) (
	[]string, error) {
	for after := (meta.CustomerKey{}); ; {
		page, err := h.Meta.Customers(ctx, a, after, false, holdersPage)
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			if len(found) > maxHolders {
				return found, nil
			}
			after = meta.CustomerKey{Name: c.Name, ID: c.ID}
			if !c.ExpiresAt.IsZero() && !h.Now().Before(c.ExpiresAt) {
				continue
			}
			holds, err := h.holds(ctx, a, c, r, refs)
			if err != nil {
				return nil, err
			}
			if holds {
				found = append(found, fmt.Sprintf("%s of %s", c.Name, a.Slug))
			}
		}
		if len(page) < holdersPage {
			return found, nil
		}
	}
}

// holds reports whether a customer may pull an image by one of the references.
func (h *Holders) holds(ctx context.Context, a meta.Application, c meta.Customer, r meta.Repository, refs []name.Reference) (bool, error) {
	by := identity.Caller{Kind: identity.Customer, Account: a.Account, ARN: meta.CustomerARN(a.Account, a.Slug, c.ID), UserID: c.ID}
	ask := guard.Ask{Action: "ecr:BatchGetImage", Resource: r.ARN(), Owner: guard.OwnedBy(a.Account),
		Region: r.Registry.Region, Known: guard.Known{Repository: &r}}
	for _, ref := range refs {
		ask.Image = guard.Image{Reference: ref, Stored: true}
		if ok, err := h.Allowed(ctx, by, guard.Origin{Secure: true}, ask); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}
