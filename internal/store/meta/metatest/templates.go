package metatest

import (
	"fmt"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// template returns a template with a prefix for some cases.
func template(prefix string, cases meta.CreationCase) meta.Template {
	return meta.Template{Registry: Registry, Prefix: prefix, Cases: cases}
}

func testTemplates(fx *Fixture) {
	want := meta.Template{Registry: Registry, Prefix: "team/a/", Description: "語", Cases: meta.ForPush | meta.ForReplication,
		Mutability: meta.Mutability{Mode: meta.ImmutableWithExclusion, Filters: []string{"dev-*", "*"}}, Encryption: meta.EncryptionAES256,
		Policy:    meta.BoundPolicy{Text: `{"Statement": []}`, IDs: map[string]string{"arn:aws:iam::111122223333:user/a": "AIDAA"}},
		Lifecycle: `{"rules":[]}`, Tags: []meta.ResourceTag{{Key: "a", Value: "<1>"}}, Role: "arn:aws:iam::111122223333:role/r"}
	got, err := fx.CreateTemplate(fx.Ctx, want, 2)
	fx.Must(err)
	if got.Revision == 0 || got.CreatedAt.IsZero() || got.CreatedAt != got.UpdatedAt {
		fx.Errorf("CreateTemplate: got %+v, want a revision and equal times", got)
	}
	want.Revision, want.CreatedAt, want.UpdatedAt = got.Revision, got.CreatedAt, got.UpdatedAt
	fx.Equal(got, want, "CreateTemplate")
	for _, prefix := range []string{"team/a", "team/a/"} {
		got, err := fx.Template(fx.Ctx, Registry, prefix)
		fx.Must(err)
		fx.Equal(got, want, "Template %s", prefix)
		_, err = fx.CreateTemplate(fx.Ctx, template(prefix, meta.ForPush), 2)
		fx.Want(err, fault.TemplateAlreadyExists, "%s again", prefix)
	}
	_, err = fx.CreateTemplate(fx.Ctx, template("ROOT", meta.ForPush), 2)
	fx.Must(err)
	_, err = fx.CreateTemplate(fx.Ctx, template("more", meta.ForPush), 2)
	fx.Want(err, fault.LimitExceeded, "a third template of at most two")
	_, err = fx.Template(fx.Ctx, Registry, "more")
	fx.Want(err, fault.TemplateNotFound, "a refused template")
	_, err = fx.Template(fx.Ctx, name.Registry{Account: Account, Region: london}, "team/a")
	fx.Want(err, fault.TemplateNotFound, "in another region")
	_, err = fx.CreateTemplate(fx.Ctx, meta.Template{Registry: name.Registry{Account: nowhere, Region: london}, Prefix: "x"}, 2)
	fx.Want(err, fault.AccountNotFound, "in an unknown account")

	changed := want
	changed.Description, changed.Tags, changed.Policy = "", nil, meta.BoundPolicy{}
	changed, err = fx.UpdateTemplate(fx.Ctx, changed)
	fx.Must(err)
	got, err = fx.Template(fx.Ctx, Registry, "team/a")
	fx.Must(err)
	fx.Equal(got, changed, "after UpdateTemplate")
	_, err = fx.UpdateTemplate(fx.Ctx, want)
	fx.Want(err, fault.TargetChanged, "an update of an old revision")
	fx.Want(fx.DeleteTemplate(fx.Ctx, want), fault.TargetChanged, "a deletion of an old revision")
	fx.Must(fx.DeleteTemplate(fx.Ctx, got))
	_, err = fx.Template(fx.Ctx, Registry, "team/a")
	fx.Want(err, fault.TemplateNotFound, "a deleted template")
	page, err := fx.Templates(fx.Ctx, Registry, "", 10)
	fx.Must(err)
	fx.Equal(len(page), 1, "templates after the deletion")
}

func testTemplatePages(fx *Fixture) {
	prefixes := []string{"ROOT", "a", "a/b", "a0"}
	for _, prefix := range prefixes {
		_, err := fx.CreateTemplate(fx.Ctx, template(prefix, meta.ForPush), 10)
		fx.Must(err)
	}
	for size := 1; size <= 5; size++ {
		var all []string
		for after := ""; ; {
			page, err := fx.Templates(fx.Ctx, Registry, after, size)
			fx.Must(err)
			if len(page) == 0 {
				break
			}
			for _, v := range page {
				all = append(all, v.Prefix)
			}
			after = page[len(page)-1].Prefix
		}
		fx.Equal(all, prefixes, "pages of %d", size)
	}
}

// The template with the longest prefix that has the case applies; a longer one without the case does not hide it.
func testTemplateFor(fx *Fixture) {
	for _, v := range []meta.Template{template("ROOT", meta.ForPush), template("team", meta.ForPush|meta.ForPullThrough),
		template("team/a/", meta.ForReplication), template("team/a/b", meta.ForPush)} {
		_, err := fx.CreateTemplate(fx.Ctx, v, 10)
		fx.Must(err)
	}
	for _, c := range []struct {
		repo name.Repo
		in   meta.CreationCase
		want string // "" for none
	}{
		{name.MustRepo("app"), meta.ForPush, "ROOT"},
		{name.MustRepo("app"), meta.ForPullThrough, ""},
		{name.MustRepo("team"), meta.ForPush, "ROOT"},
		{name.MustRepo("teams/app"), meta.ForPush, "ROOT"}, // a prefix ends at a slash
		{name.MustRepo("team/app"), meta.ForPush, "team"},
		{name.MustRepo("team/app"), meta.ForPullThrough, "team"},
		{name.MustRepo("team/app"), meta.ForReplication, ""},
		{name.MustRepo("team/a/x"), meta.ForReplication, "team/a/"},
		{name.MustRepo("team/a/x"), meta.ForPush, "team"},
		{name.MustRepo("team/a/b"), meta.ForPush, "team"},
		{name.MustRepo("team/a/b/c"), meta.ForPush, "team/a/b"},
		{name.MustRepo("team/a/b/c"), meta.ForPullThrough, "team"},
		{name.MustRepo("team/a/b/c"), meta.ForReplication, "team/a/"},
	} {
		v, err := fx.TemplateFor(fx.Ctx, Registry, c.repo, c.in)
		if c.want == "" {
			fx.Want(err, fault.TemplateNotFound, "%s in the case %d", c.repo, c.in)
			continue
		}
		fx.Must(err)
		fx.Equal(v.Prefix, c.want, "%s in the case %d", c.repo, c.in)
	}
}

func testCreateByTemplate(fx *Fixture) {
	v := template("team", meta.ForPush)
	v.Mutability, v.Policy = meta.Mutability{Mode: meta.Immutable}, meta.BoundPolicy{Text: `{"Statement": []}`}
	v.Tags, v.Role = []meta.ResourceTag{{Key: "a", Value: "1"}}, "arn:aws:iam::111122223333:role/r"
	v, err := fx.CreateTemplate(fx.Ctx, v, 10)
	fx.Must(err)
	app := name.MustRepo("team/app")
	r, err := fx.CreateByTemplate(fx.Ctx, Registry, app, meta.ForPush, false)
	fx.Must(err)
	want := v.Repository(Registry, app)
	want.ID, want.CreatedAt = r.ID, r.CreatedAt
	fx.Equal(r, want, "CreateByTemplate")
	got, err := fx.Repository(fx.Ctx, Registry, app)
	fx.Must(err)
	fx.Equal(got, want, "the created repository")
	tags, err := fx.ResourceTags(fx.Ctx, r)
	fx.Must(err)
	fx.Equal(tags, v.Tags, "its resource tags")
	_, err = fx.CreateByTemplate(fx.Ctx, Registry, app, meta.ForPush, false)
	fx.Want(err, fault.RepositoryAlreadyExists, "the same repository again")
	_, err = fx.CreateByTemplate(fx.Ctx, Registry, name.MustRepo("team/new"), meta.ForReplication, false)
	fx.Want(err, fault.TemplateNotFound, "in a case without a template")
	plain, err := fx.CreateByTemplate(fx.Ctx, Registry, name.MustRepo("team/new"), meta.ForReplication, true)
	fx.Must(err)
	fx.Equal(plain.Mutability.Mode+plain.Encryption+plain.Policy.Text, meta.Mutable+meta.EncryptionAES256, "the settings without a template")

	v.Role = "" // resource tags need a role
	_, err = fx.UpdateTemplate(fx.Ctx, v)
	fx.Must(err)
	_, err = fx.CreateByTemplate(fx.Ctx, Registry, name.MustRepo("team/x"), meta.ForPush, true)
	fx.Want(err, fault.InvalidParameter, "with resource tags and no role")
	_, err = fx.Repository(fx.Ctx, Registry, name.MustRepo("team/x"))
	fx.Want(err, fault.RepositoryNotFound, "after the refusal")
}

func testTemplateRaces(fx *Fixture) {
	won := race(fx, 8, fault.LimitExceeded, func(i int) error {
		_, err := fx.CreateTemplate(fx.Ctx, template(fmt.Sprint("p", i), meta.ForPush), 3)
		return err
	})
	fx.Equal(won, 3, "templates of at most 3")
	_, err := fx.CreateTemplate(fx.Ctx, template("team", meta.ForPush), 4)
	fx.Must(err)
	won = race(fx, 8, fault.RepositoryAlreadyExists, func(int) error {
		_, err := fx.CreateByTemplate(fx.Ctx, Registry, name.MustRepo("team/app"), meta.ForPush, false)
		return err
	})
	fx.Equal(won, 1, "repositories of one name")
	v, err := fx.Template(fx.Ctx, Registry, "team")
	fx.Must(err)
	both(fx, "an update and a deletion of one revision", []fault.Code{fault.TargetChanged, fault.TargetChanged},
		func() error { _, err := fx.UpdateTemplate(fx.Ctx, v); return err }, func() error { return fx.DeleteTemplate(fx.Ctx, v) })
}

func testPullExclusions(fx *Fixture) {
	check := func(want ...string) {
		fx.Helper()
		for range 2 { // from the database and from the cache
			all, err := fx.PullExclusions(fx.Ctx, Registry)
			fx.Must(err)
			var got []string
			for _, x := range all {
				got = append(got, x.Principal)
			}
			fx.Equal(got, want, "PullExclusions")
		}
	}
	a, b := "arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:user/b"
	check()
	x, err := fx.PutPullExclusion(fx.Ctx, Registry, b, 2)
	fx.Must(err)
	if x.Principal != b || x.CreatedAt.IsZero() {
		fx.Errorf("PutPullExclusion: got %+v, want %s and a time", x, b)
	}
	check(b)
	_, err = fx.PutPullExclusion(fx.Ctx, Registry, b, 2)
	fx.Want(err, fault.ExclusionAlreadyExists, "the same principal again")
	_, err = fx.PutPullExclusion(fx.Ctx, Registry, a, 2)
	fx.Must(err)
	check(a, b)
	_, err = fx.PutPullExclusion(fx.Ctx, Registry, a+"2", 2)
	fx.Want(err, fault.LimitExceeded, "a third exclusion of at most two")
	_, err = fx.PutPullExclusion(fx.Ctx, name.Registry{Account: nowhere, Region: london}, a, 2)
	fx.Want(err, fault.AccountNotFound, "in an unknown account")
	fx.Must(fx.DeletePullExclusion(fx.Ctx, Registry, b))
	check(a)
	fx.Want(fx.DeletePullExclusion(fx.Ctx, Registry, b), fault.ExclusionNotFound, "a deleted exclusion")
}

func testProtection(fx *Fixture) {
	r := fx.Repo("team/app")
	im := fx.Image(r, "x", "v1", "v2")
	fx.Must(fx.SetProtection(fx.Ctx, r, meta.ProtectsItself))
	fx.Want(fx.DeleteRepository(fx.Ctx, r, true), fault.RepositoryProtected, "deletion with force")
	got, err := fx.Repository(fx.Ctx, Registry, r.Name)
	fx.Must(err)
	fx.Equal(got.Protection, meta.ProtectsItself, "Protection")
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("v2").Tag, name.Digest{}, true, Principal)
	fx.Must(err)
	fx.Must(fx.SetProtection(fx.Ctx, r, meta.ProtectsContents))
	_, err = fx.DeleteTag(fx.Ctx, r, Tag("v1").Tag, name.Digest{}, false, Principal)
	fx.Want(err, fault.RepositoryProtected, "deletion of a tag")
	_, err = fx.DeleteImage(fx.Ctx, r, im.Digest, meta.AnyTags, Principal)
	fx.Want(err, fault.RepositoryProtected, "deletion of an image")
	fx.Want(fx.DeleteRepository(fx.Ctx, r, true), fault.RepositoryProtected, "deletion with force, while images are protected")
	fx.Must(fx.SetProtection(fx.Ctx, r, meta.Unprotected))
	_, err = fx.DeleteImage(fx.Ctx, r, im.Digest, meta.AnyTags, Principal)
	fx.Must(err)
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	fx.Want(fx.SetProtection(fx.Ctx, r, meta.ProtectsItself), fault.RepositoryNotFound, "protection of a deleted repository")

	account(fx, other)
	foreign, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: name.Registry{Account: other, Region: london},
		Name: name.MustRepo("app"), Mutability: meta.Mutability{Mode: meta.Mutable}}, nil)
	fx.Must(err)
	fx.Must(fx.SetProtection(fx.Ctx, foreign, meta.ProtectsItself))
	fx.Want(fx.DeleteAccount(fx.Ctx, other, true), fault.AccountNotEmpty, "deletion of an account with a protected repository")
	fx.Must(fx.SetProtection(fx.Ctx, foreign, meta.Unprotected))
	fx.Must(fx.DeleteAccount(fx.Ctx, other, true))
}

// A protection and a deletion at the same time: one of them is refused.
func testProtectionRace(fx *Fixture) {
	for i := range 10 {
		r := fx.Repo(fmt.Sprint("app", i))
		both(fx, "protection and deletion", []fault.Code{fault.RepositoryNotFound, fault.RepositoryProtected},
			func() error { return fx.SetProtection(fx.Ctx, r, meta.ProtectsItself) },
			func() error { return fx.DeleteRepository(fx.Ctx, r, true) })
	}
}

// Changes of templates, and the creation of a repository by one, have events; refused ones have none.
func testTemplateEvents(fx *Fixture) {
	v, err := fx.CreateTemplate(fx.Ctx, template("team", meta.ForPush), 1)
	fx.Must(err)
	_, err = fx.CreateTemplate(fx.Ctx, template("more", meta.ForPush), 1)
	fx.Want(err, fault.LimitExceeded, "a second template of at most one")
	_, err = fx.CreateByTemplate(fx.Ctx, Registry, name.MustRepo("team/app"), meta.ForPush, false)
	fx.Must(err)
	changed, err := fx.UpdateTemplate(fx.Ctx, v)
	fx.Must(err)
	fx.Want(fx.DeleteTemplate(fx.Ctx, v), fault.TargetChanged, "a deletion of an old revision")
	fx.Must(fx.DeleteTemplate(fx.Ctx, changed))
	got, _ := happened(fx, 0)
	set, deleted := "Ecrin Policy Action SET CREATION_TEMPLATE", "Ecrin Policy Action DELETE CREATION_TEMPLATE"
	fx.Equal(got, []string{set, "Ecrin Repository Action CREATE team/app", set, deleted}, "the events")
}

// The settings of an account are deleted with it: an account that is created again has none.
func testTemplatesOfDeletedAccount(fx *Fixture) {
	account(fx, other)
	there := name.Registry{Account: other, Region: london}
	_, err := fx.CreateTemplate(fx.Ctx, meta.Template{Registry: there, Prefix: "ROOT", Cases: meta.ForPush}, 10)
	fx.Must(err)
	_, err = fx.PutPullExclusion(fx.Ctx, there, "arn:aws:iam::444455556666:role/a", 10)
	fx.Must(err)
	all, err := fx.PullExclusions(fx.Ctx, there)
	fx.Must(err)
	fx.Equal(len(all), 1, "exclusions before the deletion")
	fx.Must(fx.DeleteAccount(fx.Ctx, other, false))
	account(fx, other)
	_, err = fx.Template(fx.Ctx, there, "ROOT")
	fx.Want(err, fault.TemplateNotFound, "the template of a deleted account")
	all, err = fx.PullExclusions(fx.Ctx, there)
	fx.Must(err)
	fx.Equal(len(all), 0, "exclusions of a deleted account")
}
