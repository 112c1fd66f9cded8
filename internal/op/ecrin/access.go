package ecrin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/assertion"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Reached is a repository, with the ask of its resource and whose principals a caller sees.
type Reached struct {
	ask  guard.Ask
	from guard.Origin
	own  name.Account // whose principals are listed; zero for those of all accounts
}

// OnReached resolves the repository whose access is listed.
func OnReached(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListRepositoryAccessRequest) (t guard.Target[Reached],
	err error) {
	of, err := OnRepository(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Asks, t.Absent = of.Asks, of.Absent
	t.Value = Reached{ask: of.Asks[0], from: guard.Origin{Secure: true}}
	if t.Value.ask.Image, err = imageOf(&ecrintypes.ExplainAccessRequest{ImageTag: in.ImageTag, ImageDigest: in.ImageDigest},
		t.Value.ask); err != nil {
		return t, err
	}
	t.Value.ask.Image.Stored = t.Value.ask.Image.Stored && in.Permission == ecrintypes.PermissionPULL
	if req.By.Kind != identity.Operator {
		t.Value.own = req.By.Account
	}
	return t, nil
}

// permitted are the actions on a repository that a permission needs.
var permitted = map[ecrintypes.Permission][]string{
	ecrintypes.PermissionPULL: assertion.PullActions,
	ecrintypes.PermissionPUSH: assertion.PushActions,
}

// accessAfter is the place in a list of principals: the last one of a page.
type accessAfter struct {
	Account string
	Kind    ecrintypes.AccessKind
	Name    string
}

// ListRepositoryAccess returns who may pull from a repository, or push to it, and who may not: callers without credentials; a stranger,
// who stands for any principal of an account that no policy names and whose own account allows it everything; the accounts that the
// policies of the repository and its registry name, by their root users; and all users and roles, the operator those of all accounts and
// others those of their own; and customers of the vendor
// that owns the repository. Each is decided as the server decides requests, by the present policies. A principal of another account that
// only its own account does not allow it is delegated: that account can allow it alone.
//
// Users and roles of other accounts that have a grant of access are listed to everyone who may list.
//
// Errors: fault.InvalidParameter (the token), fault.RepositoryNotFound.
func (s *Service) ListRepositoryAccess(ctx context.Context, _ identity.Caller, at Reached, in *ecrintypes.ListRepositoryAccessRequest) (
	*ecrintypes.ListRepositoryAccessResponse, error) {
	scope := fmt.Sprintf("access %s %s %s %s", at.ask.Resource, in.Permission, in.ImageTag, in.ImageDigest)
	var after accessAfter
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	out := &ecrintypes.ListRepositoryAccessResponse{Access: []ecrintypes.RepositoryAccess{}}
	limit := pageSize(in.MaxResults, 100)
	list := accessList{s: s, after: after, add: func(p accessAfter, principal string) (bool, error) {
		if len(out.Access) == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(after)
			return false, nil
		}
		one, err := s.accessOf(ctx, at, in.Permission, principal)
		if errors.Is(err, fault.NoSuchEntity) { // deleted meanwhile
			return true, nil
		}
		one.Kind, one.AccountId = p.Kind, p.Account
		if p.Kind == ecrintypes.AccessKindCUSTOMER { // which belongs to no account
			one.AccountId = ""
		}
		out.Access, after = append(out.Access, one), p
		return true, err
	}}
	return out, list.walk(ctx, at)
}

// accessList walks over principals in the order of their account, kind and name.
type accessList struct {
	s     *Service
	after accessAfter
	add   func(p accessAfter, principal string) (more bool, err error)
}

// stranger is the name of a principal of an account that no policy names.
const stranger = "STRANGER"

func (l accessList) walk(ctx context.Context, at Reached) error {
	if l.after.Kind == "" {
		if more, err := l.add(accessAfter{Kind: ecrintypes.AccessKindANONYMOUS}, "*"); err != nil || !more {
			return err
		}
	}
	if l.after.Account == "" && l.after.Kind != ecrintypes.AccessKindSTRANGER {
		if more, err := l.add(accessAfter{Kind: ecrintypes.AccessKindSTRANGER}, stranger); err != nil || !more {
			return err
		}
	}
	granted, roots, err := l.granted(ctx, at)
	if err != nil {
		return err
	}
	accounts, named, err := l.accounts(ctx, at, granted, roots)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		id := a.String()
		if id < l.after.Account {
			continue
		}
		begun := id == l.after.Account
		if !begun && named[a] {
			if more, err := l.add(accessAfter{id, ecrintypes.AccessKindACCOUNT, ""}, identity.RootARN(a)); err != nil || !more {
				return err
			}
		}
		if at.own != (name.Account{}) && a != at.own {
			if more, err := l.grantees(granted[a]); err != nil || !more {
				return err
			}
			continue
		}
		if a == at.ask.Owner.Account() {
			from := ""
			if begun && l.after.Kind == ecrintypes.AccessKindCUSTOMER {
				from = l.after.Name
			}
			if !begun || l.after.Kind <= ecrintypes.AccessKindCUSTOMER { // ACCOUNT < CUSTOMER < ROLE < USER
				if more, err := l.customers(ctx, a, from); err != nil || !more {
					return err
				}
			}
		}
		for _, kind := range []struct {
			is  meta.EntityKind
			api ecrintypes.AccessKind
		}{{meta.Role, ecrintypes.AccessKindROLE}, {meta.User, ecrintypes.AccessKindUSER}} {
			from := ""
			if begun && l.after.Kind == kind.api {
				from = l.after.Name
			} else if begun && l.after.Kind > kind.api {
				continue
			}
			if more, err := l.entities(ctx, a, kind.is, kind.api, from); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// granted returns the users and roles that have a grant of access to the repository, by their accounts and in the order of the list, and
// the accounts whose root users have one.
func (l accessList) granted(ctx context.Context, at Reached) (of map[name.Account][]meta.Entity, roots []name.Account, err error) {
	grants, err := l.s.meta.AccessGrants(ctx, at.ask.Repository.ID)
	of = map[name.Account][]meta.Entity{}
	for _, g := range grants {
		if !l.s.now().Before(g.EndsAt) {
			continue
		}
		if a, err := name.ParseAccount(g.Principal); err == nil {
			roots = append(roots, a)
			continue
		}
		e, err := l.s.meta.EntityByID(ctx, g.Principal)
		if errors.Is(err, fault.NoSuchEntity) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if !slices.ContainsFunc(of[e.Account], func(have meta.Entity) bool { return have.ID == e.ID }) {
			of[e.Account] = append(of[e.Account], e)
		}
	}
	for _, all := range of {
		slices.SortFunc(all, func(a, b meta.Entity) int { return compareAccess(placeOf(a), placeOf(b)) })
	}
	return of, roots, err
}

// placeOf returns the place of a user or role in the list.
func placeOf(e meta.Entity) accessAfter {
	kind := ecrintypes.AccessKindUSER
	if e.Kind == meta.Role {
		kind = ecrintypes.AccessKindROLE
	}
	return accessAfter{e.Account.String(), kind, e.Name}
}

func compareAccess(a, b accessAfter) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// grantees lists the users and roles of another account that have a grant.
func (l accessList) grantees(all []meta.Entity) (more bool, err error) {
	for _, e := range all {
		p := placeOf(e)
		if p.Account == l.after.Account && compareAccess(p, l.after) <= 0 {
			continue
		}
		if more, err := l.add(p, e.ARN()); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// accounts returns the accounts to be listed, and for which of them the root user stands.
func (l accessList) accounts(ctx context.Context, at Reached, granted map[name.Account][]meta.Entity, roots []name.Account) (
	all []name.Account, named map[name.Account]bool, err error) {
	named = map[name.Account]bool{at.ask.Owner.Account(): true}
	for _, a := range roots {
		named[a] = true
	}
	registry, err := l.s.meta.RegistryPolicy(ctx, at.ask.Repository.Registry)
	if err != nil && !errors.Is(err, fault.RegistryPolicyNotFound) {
		return nil, nil, err
	}
	for _, one := range []struct {
		text string
		kind policy.Kind
	}{{at.ask.Repository.Policy.Text, policy.Repository}, {registry.Text, policy.Registry}} {
		if one.text == "" {
			continue
		}
		d, err := policy.ParseStored(one.text, one.kind)
		if err != nil {
			return nil, nil, err
		}
		for _, st := range d.Statements {
			for p := range st.Principal.All() {
				if p.Account != (name.Account{}) {
					named[p.Account] = true
				}
			}
		}
	}
	exist, err := l.s.meta.Accounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range exist {
		if at.own == (name.Account{}) || a.ID == at.own || named[a.ID] || len(granted[a.ID]) > 0 {
			all = append(all, a.ID)
		}
	}
	slices.SortFunc(all, func(a, b name.Account) int { return cmp.Compare(a.String(), b.String()) })
	return all, named, nil
}

// customers lists the customers of the applications of an account, after the one with the given name.
func (l accessList) customers(ctx context.Context, account name.Account, after string) (more bool, err error) {
	const page = 100
	all, err := l.s.meta.Applications(ctx, account)
	if err != nil {
		return false, err
	}
	slices.SortFunc(all, func(a, b meta.Application) int { return cmp.Compare(a.Slug, b.Slug) })
	slug, key, _ := strings.Cut(after, "\n")
	called, id, _ := strings.Cut(key, "\n")
	for _, a := range all {
		if a.Slug < slug {
			continue
		}
		from := meta.CustomerKey{}
		if a.Slug == slug {
			from = meta.CustomerKey{Name: called, ID: id}
		}
		for {
			list, err := l.s.meta.Customers(ctx, a, from, false, page)
			if err != nil {
				return false, err
			}
			for _, c := range list {
				from = meta.CustomerKey{Name: c.Name, ID: c.ID}
				at := accessAfter{account.String(), ecrintypes.AccessKindCUSTOMER, a.Slug + "\n" + c.Name + "\n" + c.ID}
				if more, err := l.add(at, meta.CustomerARN(account, a.Slug, c.ID)); err != nil || !more {
					return false, err
				}
			}
			if len(list) < page {
				break
			}
		}
	}
	return true, nil
}

func (l accessList) entities(ctx context.Context, a name.Account, kind meta.EntityKind, api ecrintypes.AccessKind, after string) (
	more bool, err error) {
	const page = 100
	for {
		all, err := l.s.meta.Entities(ctx, a, kind, "/", after, page)
		if err != nil {
			return false, err
		}
		for _, e := range all {
			after = e.Name
			if more, err := l.add(accessAfter{a.String(), api, e.Name}, e.ARN()); err != nil || !more {
				return false, err
			}
		}
		if len(all) < page {
			return true, nil
		}
	}
}

// accessOf decides a permission for a principal. Of several actions it has the first that is denied, otherwise the last.
func (s *Service) accessOf(ctx context.Context, at Reached, p ecrintypes.Permission, principal string) (out ecrintypes.RepositoryAccess,
	err error) {
	var asks []guard.Ask
	for _, action := range permitted[p] {
		ask := at.ask
		ask.Action = action
		if ask.Image.Stored {
			all, err := s.asksForImage(ctx, ask)
			if err != nil {
				return out, err
			}
			asks = append(asks, all...)
			continue
		}
		asks = append(asks, ask)
	}
	explained := s.guard.Explain
	if principal == stranger {
		explained = func(ctx context.Context, _ string, from guard.Origin, asks ...guard.Ask) (policy.Request, policy.Why, error) {
			return s.guard.ExplainStranger(ctx, from, asks...)
		}
	}
	r, why, err := explained(ctx, principal, at.from, asks...)
	out.Principal, out.Action = principal, asks[len(asks)-1].Action
	switch {
	case errors.Is(err, fault.InvalidInput): // whatever policies say
		out.Reason = "denied: " + fault.From(err).Public
		return out, nil
	case err != nil:
		return out, err
	}
	e := explain.Of(&r, why)
	out.Allowed, out.Action, out.Reason = e.Allowed, e.Action, explain.Sentence(e)
	if principal != stranger && !out.Allowed && r.Caller.Account != (name.Account{}) && r.Caller.Account != r.ResourceAccount {
		_, why, err = s.guard.ExplainDelegated(ctx, principal, at.from, asks...)
		out.Delegated = err == nil && why.Allowed()
	}
	return out, err
}
