package guard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/faulttest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// request is what a request does with the store before it acts: it identifies its key, reads its repository and decides.
func (f *fixture) request(key string, a access) error {
	ctx := f.t.Context()
	c, err := f.KeyCaller(ctx, key)
	if err != nil {
		return err
	}
	r, err := f.meta.Repository(ctx, name.Registry{Account: a.Owner.Account(), Region: a.Region}, a.repo)
	if err != nil {
		return err
	}
	a.Repository = &r
	return f.guard.Decide(ctx, c, a.From, new(guard.Record), a.Ask)
}

// keyOf creates an access key that no request has used.
func (f *fixture) keyOf(e meta.Entity) string {
	f.t.Helper()
	k, err := f.CreateUserKey(f.t.Context(), e)
	f.must(err)
	return k.ID
}

// granted returns a user with an identity policy that allows all of ECR.
func (f *fixture) granted(i int) meta.Entity {
	f.t.Helper()
	u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
	f.inline(u, allow("ecr:*", "*"))
	return u
}

const pullDenied = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:BatchGetImage"}]}`

// conditional allows everything and denies pulls under a condition.
func conditional(condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*","Condition":` + condition + `}]}`
}

// denials are callers that would be allowed to pull if the named policy were not there. Each creates what it needs and
// returns the access key of the caller and the access.
var denials = map[string]func(f *fixture, i int, repo string) (key string, a access){
	"no policy": func(f *fixture, i int, repo string) (string, access) {
		return f.keyOf(f.entity(home, meta.User, fmt.Sprint("user", i), nil)), pull(home, repo)
	},
	"inline policy of the user": func(f *fixture, i int, repo string) (string, access) {
		u := f.granted(i)
		f.must(f.meta.PutInline(f.t.Context(), u.ID, meta.Inline{Name: "no", Text: deny("ecr:BatchGetImage")}, 10240))
		return f.keyOf(u), pull(home, repo)
	},
	"policy of a group": func(f *fixture, i int, repo string) (string, access) {
		u, g := f.granted(i), f.entity(home, meta.Group, fmt.Sprint("group", i), nil)
		f.inline(g, deny("ecr:*"))
		f.must(f.meta.AddMember(f.t.Context(), g.ID, u.ID, 10, 0))
		return f.keyOf(u), pull(home, repo)
	},
	"managed policy": func(f *fixture, i int, repo string) (string, access) {
		u := f.granted(i)
		f.n++
		p := meta.Entity{ID: fmt.Sprintf("ANPA%017d", f.n), Account: home, Kind: meta.ManagedPolicy, Name: fmt.Sprint("no", i),
			Path: "/", CreatedAt: f.now()}
		f.must(f.meta.CreateManagedPolicy(f.t.Context(), p, deny("ecr:*"), nil, 1000))
		f.must(f.meta.Attach(f.t.Context(), u.ID, p.ARN(), 10))
		return f.keyOf(u), pull(home, repo)
	},
	"boundary": func(f *fixture, i int, repo string) (string, access) {
		u := f.entity(home, meta.User, fmt.Sprint("user", i), func(e *meta.Entity) { e.Boundary = "arn:aws:iam::aws:policy/IAMReadOnlyAccess" })
		f.inline(u, allow("ecr:*", "*"))
		return f.keyOf(u), pull(home, repo)
	},
	"session policy": func(f *fixture, i int, repo string) (string, access) {
		r := f.entity(home, meta.Role, fmt.Sprint("role", i), nil)
		f.inline(r, allow("ecr:*", "*"))
		cred, err := f.IssueSession(f.t.Context(), identity.Caller{}, meta.Session{
			Account: home, Kind: meta.RoleSession, Principal: r.ID, Name: "s",
			Policies: []string{allow("ecr:PutImage", "*")}}, time.Hour)
		f.must(err)
		return cred.AccessKey, pull(home, repo)
	},
	"service control policy": func(f *fixture, i int, repo string) (string, access) {
		f.must(f.meta.PutControlPolicy(f.t.Context(), meta.ControlPolicy{Name: "no", Kind: meta.ServiceControl, Account: home,
			Text: deny("ecr:BatchGetImage"), UpdatedAt: f.now()}))
		return f.keyOf(f.granted(i)), pull(home, repo)
	},
	"resource control policy": func(f *fixture, i int, repo string) (string, access) {
		f.must(f.meta.PutControlPolicy(f.t.Context(), meta.ControlPolicy{Name: "no", Kind: meta.ResourceControl, Account: home,
			Text:      `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Resource":"*"}]}`,
			UpdatedAt: f.now()}))
		return f.keyOf(f.granted(i)), pull(home, repo)
	},
	"repository policy": func(f *fixture, i int, repo string) (string, access) {
		r, err := f.meta.Repository(f.t.Context(), name.Registry{Account: home, Region: region}, repoNamed(repo))
		f.must(err)
		f.setPolicy(r, pullDenied)
		return f.keyOf(f.granted(i)), pull(home, repo)
	},
	"registry policy": func(f *fixture, i int, repo string) (string, access) {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Resource":"*"}]}`
		f.must(f.meta.PutRegistryPolicy(f.t.Context(), name.Registry{Account: home, Region: region}, meta.BoundPolicy{Text: text}))
		return f.keyOf(f.granted(i)), pull(home, repo)
	},
	"tag of the repository": func(f *fixture, i int, repo string) (string, access) {
		u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
		f.inline(u, conditional(`{"StringEquals":{"aws:ResourceTag/team":"core"}}`))
		return f.keyOf(u), pull(home, repo)
	},
	"tag of the image": func(f *fixture, i int, repo string) (string, access) {
		u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
		f.inline(u, conditional(`{"StringEquals":{"ecrin:ImageTag":"v1"}}`))
		return f.keyOf(u), f.taggedIn(repo, "v1")
	},
	"tag of the user": func(f *fixture, i int, repo string) (string, access) {
		u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
		f.must(f.meta.PutEntityTags(f.t.Context(), u.ID, map[string]string{"team": "edge"}, 50))
		f.inline(u, conditional(`{"StringEquals":{"aws:PrincipalTag/team":"edge"}}`))
		return f.keyOf(u), pull(home, repo)
	},
	"another account": func(f *fixture, i int, repo string) (string, access) {
		u := f.entity(other, meta.User, fmt.Sprint("user", i), nil)
		f.inline(u, allow("*", "*"))
		return f.keyOf(u), pull(home, repo)
	},
	"deleted role": func(f *fixture, i int, repo string) (string, access) {
		r := f.entity(home, meta.Role, fmt.Sprint("role", i), nil)
		f.inline(r, allow("ecr:*", "*"))
		cred, err := f.IssueSession(f.t.Context(), identity.Caller{}, meta.Session{Account: home, Kind: meta.RoleSession,
			Principal: r.ID, Name: "s"}, time.Hour)
		f.must(err)
		f.must(f.meta.DeleteInline(f.t.Context(), r.ID, "inline"))
		f.must(f.meta.DeleteEntity(f.t.Context(), r))
		return cred.AccessKey, pull(home, repo)
	},
	"inactive key": func(f *fixture, i int, repo string) (string, access) {
		key := f.keyOf(f.granted(i))
		f.must(f.meta.SetAccessKeyActive(f.t.Context(), key, false))
		return key, pull(home, repo)
	},
}

// A caller whom any policy denies stays denied whatever statement of the decision fails.
func TestDenialsStayClosedWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for what, prepare := range denials {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			faulttest.Closed(t, faultmeta.In(f.dir), func(i int) faulttest.Call {
				repo := fmt.Sprint("team/app-", i)
				f.repository(home, repo, "")
				key, a := prepare(f, i, repo)
				return faulttest.Call{Do: func() error { return f.request(key, a) }}
			})
		})
	}
}

// A caller who is allowed is refused when a statement of the decision fails, and allowed again afterwards.
func TestDecisionsFailWithTheStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	faulttest.Sweep(t, faultmeta.In(f.dir), func(i int) faulttest.Call {
		repo := fmt.Sprint("team/app-", i)
		f.repository(home, repo, grant("*", "ecr:*"))
		u := f.entity(home, meta.User, fmt.Sprint("user", i), nil)
		f.inline(u, conditional(`{"StringEquals":{"aws:ResourceTag/team":"edge"}}`))
		g := f.entity(home, meta.Group, fmt.Sprint("group", i), nil)
		f.must(f.meta.AddMember(t.Context(), g.ID, u.ID, 10, 0))
		key := f.keyOf(u)
		return faulttest.Call{Do: func() error { return f.request(key, pull(home, repo)) }}
	})
}
