package iam_test

import (
	"fmt"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// tagged is a kind of entity with tags.
type tagged struct {
	tag    func(...iamtypes.Tag) error
	untag  func(...string) error
	list   func() []iamtypes.Tag
	folded bool // keys that differ in case only are equal
}

func (w *fixture) tagged(t *testing.T) map[string]tagged {
	w.user(t, "u")
	w.role(t, "r")
	do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p"})
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{})
	ctx := t.Context()
	return map[string]tagged{
		"user": {
			tag: func(tags ...iamtypes.Tag) error {
				_, err := w.TagUser(ctx, w.root, &iamtypes.TagUserRequest{UserName: "u", Tags: tags})
				return err
			},
			untag: func(keys ...string) error {
				_, err := w.UntagUser(ctx, w.root, &iamtypes.UntagUserRequest{UserName: "u", TagKeys: keys})
				return err
			},
			list: func() []iamtypes.Tag {
				return do(t, w.ListUserTags, w.root, iamtypes.ListUserTagsRequest{UserName: "u"}).Tags
			},
			folded: true,
		},
		"role": {
			tag: func(tags ...iamtypes.Tag) error {
				_, err := w.TagRole(ctx, w.root, &iamtypes.TagRoleRequest{RoleName: "r", Tags: tags})
				return err
			},
			untag: func(keys ...string) error {
				_, err := w.UntagRole(ctx, w.root, &iamtypes.UntagRoleRequest{RoleName: "r", TagKeys: keys})
				return err
			},
			list: func() []iamtypes.Tag {
				return do(t, w.ListRoleTags, w.root, iamtypes.ListRoleTagsRequest{RoleName: "r"}).Tags
			},
			folded: true,
		},
		"instance profile": {
			tag: func(tags ...iamtypes.Tag) error {
				_, err := w.TagInstanceProfile(ctx, w.root, &iamtypes.TagInstanceProfileRequest{InstanceProfileName: "p", Tags: tags})
				return err
			},
			untag: func(keys ...string) error {
				_, err := w.UntagInstanceProfile(ctx, w.root, &iamtypes.UntagInstanceProfileRequest{InstanceProfileName: "p", TagKeys: keys})
				return err
			},
			list: func() []iamtypes.Tag {
				return do(t, w.ListInstanceProfileTags, w.root, iamtypes.ListInstanceProfileTagsRequest{InstanceProfileName: "p"}).Tags
			},
		},
		"provider": {
			tag: func(tags ...iamtypes.Tag) error {
				_, err := w.TagOpenIDConnectProvider(ctx, w.root,
					&iamtypes.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, Tags: tags})
				return err
			},
			untag: func(keys ...string) error {
				_, err := w.UntagOpenIDConnectProvider(ctx, w.root,
					&iamtypes.UntagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, TagKeys: keys})
				return err
			},
			list: func() []iamtypes.Tag {
				return do(t, w.ListOpenIDConnectProviderTags, w.root,
					iamtypes.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: github}).Tags
			},
		},
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for kind, k := range w.tagged(t) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		same(t, kind+" at first", k.list(), []iamtypes.Tag{})
		must(k.tag(iamtypes.Tag{Key: "Team", Value: "a"}, iamtypes.Tag{Key: "b"}))
		same(t, kind, k.list(), []iamtypes.Tag{{Key: "Team", Value: "a"}, {Key: "b"}})
		must(k.tag(iamtypes.Tag{Key: "Team", Value: "x"}))
		same(t, kind+" with another value", k.list(), []iamtypes.Tag{{Key: "Team", Value: "x"}, {Key: "b"}})

		must(k.tag(iamtypes.Tag{Key: "team", Value: "y"}))
		want := []iamtypes.Tag{{Key: "Team", Value: "x"}, {Key: "b"}, {Key: "team", Value: "y"}}
		if k.folded {
			want = []iamtypes.Tag{{Key: "Team", Value: "y"}, {Key: "b"}}
		}
		same(t, kind+" with a key in another case", k.list(), want)

		must(k.untag("TEAM", "none"))
		if k.folded {
			want = want[1:]
		}
		same(t, kind+" without a key in another case", k.list(), want)
		must(k.untag("Team", "team", "b"))
		same(t, kind+" at last", k.list(), []iamtypes.Tag{})
	}
}

func TestTagsRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for kind, k := range w.tagged(t) {
		wantCode(t, kind+": a key twice", k.tag(iamtypes.Tag{Key: "a"}, iamtypes.Tag{Key: "a"}), fault.InvalidInput)
		wantCode(t, kind+": a reserved key", k.tag(iamtypes.Tag{Key: "aws:a"}), fault.InvalidInput)
		var fifty []iamtypes.Tag
		for i := range 50 {
			fifty = append(fifty, iamtypes.Tag{Key: fmt.Sprintf("k%02d", i)})
		}
		if err := k.tag(fifty...); err != nil {
			t.Errorf("%s: 50 tags: %v", kind, err)
		}
		wantCode(t, kind+": one more", k.tag(iamtypes.Tag{Key: "more"}), fault.LimitExceeded)
		if err := k.tag(iamtypes.Tag{Key: "k49", Value: "v"}); err != nil {
			t.Errorf("%s: another value for one of 50: %v", kind, err)
		}
		if got := k.list(); len(got) != 50 || got[49].Value != "v" {
			t.Errorf("%s: got %d tags, %v, want 50, the last with the value v", kind, len(got), got)
		}
	}
	for _, c := range []struct{ user, role string }{{"none", "none"}, {"U", "R"}} {
		refuse(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: c.user}, fault.NoSuchEntity, "The user with name")
		refuse(t, w.UntagUser, w.root, iamtypes.UntagUserRequest{UserName: c.user}, fault.NoSuchEntity)
		refuse(t, w.ListUserTags, w.root, iamtypes.ListUserTagsRequest{UserName: c.user}, fault.NoSuchEntity)
		refuse(t, w.TagRole, w.root, iamtypes.TagRoleRequest{RoleName: c.role}, fault.NoSuchEntity, "The role with name")
		refuse(t, w.UntagRole, w.root, iamtypes.UntagRoleRequest{RoleName: c.role}, fault.NoSuchEntity)
		refuse(t, w.ListRoleTags, w.root, iamtypes.ListRoleTagsRequest{RoleName: c.role}, fault.NoSuchEntity)
		refuse(t, w.TagInstanceProfile, w.root, iamtypes.TagInstanceProfileRequest{InstanceProfileName: c.role}, fault.NoSuchEntity)
		refuse(t, w.UntagInstanceProfile, w.root, iamtypes.UntagInstanceProfileRequest{InstanceProfileName: c.role}, fault.NoSuchEntity)
		refuse(t, w.ListInstanceProfileTags, w.root, iamtypes.ListInstanceProfileTagsRequest{InstanceProfileName: c.role},
			fault.NoSuchEntity)
	}
}
