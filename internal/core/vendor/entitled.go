package vendor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
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

// In returns what reports whether a customer of an application of the account may pull an image of a repository by one of its references;
// nil if no entitlement reaches the repository. The customers are those of now, and their rights those of each call.
//
// Errors: those of the store; the returned function: those of guard.Guard.Allowed.
func (h *Holders) In(ctx context.Context, r meta.Repository) (func(context.Context, []name.Reference) (bool, error), error) {
	all, err := h.Meta.Applications(ctx, r.Registry.Account)
	if err != nil {
		return nil, err
	}
	type holder struct {
		of meta.Application
		meta.Customer
	}
	var holders []holder
	alike := map[string]bool{} // customers with the same rights have the same answers
	for _, a := range all {
		err := h.customers(ctx, a, func(c meta.Customer) (bool, error) {
			rights, err := h.rights(ctx, a, c, r)
			if err == nil && rights != "" && !alike[rights] {
				alike[rights] = true
				holders = append(holders, holder{a, c})
			}
			return true, err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(holders) == 0 {
		return nil, nil
	}
	return func(ctx context.Context, refs []name.Reference) (bool, error) {
		for _, c := range holders {
			if ok, err := h.holds(ctx, c.of, c.Customer, r, refs); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	}, nil
}

// rights returns a key of the entitlements of a customer that reach a repository, or "" if none does.
func (h *Holders) rights(ctx context.Context, a meta.Application, c meta.Customer, r meta.Repository) (string, error) {
	all, err := h.Meta.Entitlements(ctx, a.ID, c.ID)
	if err != nil {
		return "", err
	}
	key := ""
	for _, e := range all {
		var rule entitlement.Rule
		if err := json.Unmarshal([]byte(e.Rule), &rule); err != nil {
			return "", fmt.Errorf("reading the entitlement %s: %w", e.ID, err)
		}
		if !rule.Reaches(r.Name.String()) {
			continue
		}
		key += "\n" + a.ID + e.Rule + e.CreatedAt.String()
		if rule.ReleasedBefore == entitlement.LicenseEnd {
			key += c.ExpiresAt.String()
		}
	}
	return key, nil
}

// customers calls each for the customers of an application whose licence has not ended, in the order of their names, until it returns
// false or fails.
func (h *Holders) customers(ctx context.Context, a meta.Application, each func(meta.Customer) (bool, error)) error {
	for after := (meta.CustomerKey{}); ; {
		page, err := h.Meta.Customers(ctx, a, after, false, holdersPage)
		if err != nil {
			return err
		}
		for _, c := range page {
			after = meta.CustomerKey{Name: c.Name, ID: c.ID}
			if !c.ExpiresAt.IsZero() && !h.Now().Before(c.ExpiresAt) {
				continue
			}
			if more, err := each(c); err != nil || !more {
				return err
			}
		}
		if len(page) < holdersPage {
			return nil
		}
	}
}

func (h *Holders) ofApplication(ctx context.Context, a meta.Application, r meta.Repository, refs []name.Reference, found []string) (
	[]string, error) {
	err := h.customers(ctx, a, func(c meta.Customer) (bool, error) {
		holds, err := h.holds(ctx, a, c, r, refs)
		if err == nil && holds {
			found = append(found, fmt.Sprintf("%s of %s", c.Name, a.Slug))
		}
		return len(found) <= maxHolders, err
	})
	return found, err
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
