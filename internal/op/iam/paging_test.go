package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// listing is one listing of the service. Each of args is a name, ARN or path prefix of the fixture.
type listing struct {
	operation string
	args      [2]string // both have entries; both are "" for listings without arguments
	ask       func(c identity.Caller, arg, marker string, maxItems *int32) (keys []string, truncated *bool, next string, err error)
	want      []string // under the first argument
}

func keysOf[T any](all []T, key func(T) string) (keys []string) {
	for _, v := range all {
		keys = append(keys, key(v))
	}
	return keys
}

// listings fills a fixture and returns its listings. All listings but one have five entries.
func (w *fixture) listings(t *testing.T) []listing {
	ctx := t.Context()
	var users, groups, roles, profiles, keys []string
	for i, suffix := range []string{"e", "B", "a", "D", "c"} {
		u, g, r, p := "u-"+suffix, "g-"+suffix, "r-"+suffix, "p-"+suffix
		do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: u, Path: "/x/"})
		do(t, w.CreateGroup, w.root, iamtypes.CreateGroupRequest{GroupName: g, Path: "/x/"})
		do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: r, Path: "/x/", AssumeRolePolicyDocument: trustEC2})
		do(t, w.CreateInstanceProfile, w.root, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: p, Path: "/x/"})
		do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: "g-e", UserName: u})
		if g != "g-e" {
			do(t, w.AddUserToGroup, w.root, iamtypes.AddUserToGroupRequest{GroupName: g, UserName: "u-e"})
		}
		do(t, w.AddRoleToInstanceProfile, w.root, iamtypes.AddRoleToInstanceProfileRequest{InstanceProfileName: p, RoleName: "r-e"})
		users, groups, roles, profiles = append(users, u), append(groups, g), append(roles, r), append(profiles, p)
		if i < 2 {
			w.at = w.at.Add(time.Second)
			keys = append(keys, do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "u-e"}).AccessKey.AccessKeyId)
		}
	}
	for _, names := range [][]string{users, groups, roles, profiles} {
		slices.Sort(names)
	}
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{})
	do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example"})
	var tags []iamtypes.Tag
	var tagKeys []string
	for _, r := range "abcde" {
		// Keys of the maximum length, in characters of three bytes, that differ in the last character only.
		key := strings.Repeat("語", 127) + string(r)
		tags, tagKeys = append(tags, iamtypes.Tag{Key: key}), append(tagKeys, key)
	}
	do(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: "u-e", Tags: tags})
	do(t, w.TagRole, w.root, iamtypes.TagRoleRequest{RoleName: "r-e", Tags: tags})
	do(t, w.TagInstanceProfile, w.root, iamtypes.TagInstanceProfileRequest{InstanceProfileName: "p-e", Tags: tags})
	do(t, w.TagOpenIDConnectProvider, w.root, iamtypes.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, Tags: tags})
	do(t, w.CreateAccountAlias, w.root, iamtypes.CreateAccountAliasRequest{AccountAlias: "alias"})

	user := func(u iamtypes.User) string { return u.UserName }
	group := func(g iamtypes.Group) string { return g.GroupName }
	profile := func(p iamtypes.InstanceProfile) string { return p.InstanceProfileName }
	tag := func(t iamtypes.Tag) string { return t.Key }
	type key = string
	return []listing{
		{"ListUsers", [2]string{"/x/", "/"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListUsers(ctx, c, &iamtypes.ListUsersRequest{PathPrefix: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Users, user), out.IsTruncated, out.Marker, nil
		}, users},
		{"ListGroups", [2]string{"/x/", "/"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListGroups(ctx, c, &iamtypes.ListGroupsRequest{PathPrefix: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Groups, group), out.IsTruncated, out.Marker, nil
		}, groups},
		{"ListRoles", [2]string{"/x/", "/"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListRoles(ctx, c, &iamtypes.ListRolesRequest{PathPrefix: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Roles, func(r iamtypes.Role) string { return r.RoleName }), out.IsTruncated, out.Marker, nil
		}, roles},
		{"ListInstanceProfiles", [2]string{"/x/", "/"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key,
			*bool, string, error) {
			out, err := w.ListInstanceProfiles(ctx, c, &iamtypes.ListInstanceProfilesRequest{PathPrefix: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.InstanceProfiles, profile), out.IsTruncated, out.Marker, nil
		}, profiles},
		{"ListInstanceProfilesForRole", [2]string{"r-e", "r-a"},
			func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
				out, err := w.ListInstanceProfilesForRole(ctx, c,
					&iamtypes.ListInstanceProfilesForRoleRequest{RoleName: arg, Marker: marker, MaxItems: maxItems})
				if err != nil {
					return nil, nil, "", err
				}
				return keysOf(out.InstanceProfiles, profile), out.IsTruncated, out.Marker, nil
			}, profiles},
		{"GetGroup", [2]string{"g-e", "g-a"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.GetGroup(ctx, c, &iamtypes.GetGroupRequest{GroupName: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Users, user), out.IsTruncated, out.Marker, nil
		}, users},
		{"ListGroupsForUser", [2]string{"u-e", "u-a"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key,
			*bool, string, error) {
			out, err := w.ListGroupsForUser(ctx, c, &iamtypes.ListGroupsForUserRequest{UserName: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Groups, group), out.IsTruncated, out.Marker, nil
		}, groups},
		{"ListAccessKeys", [2]string{"u-e", "u-a"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListAccessKeys(ctx, c, &iamtypes.ListAccessKeysRequest{UserName: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.AccessKeyMetadata, func(k iamtypes.AccessKeyMetadata) string {
				return k.AccessKeyId
			}), out.IsTruncated, out.Marker, nil
		}, keys},
		{"ListUserTags", [2]string{"u-e", "u-a"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListUserTags(ctx, c, &iamtypes.ListUserTagsRequest{UserName: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Tags, tag), out.IsTruncated, out.Marker, nil
		}, tagKeys},
		{"ListRoleTags", [2]string{"r-e", "r-a"}, func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListRoleTags(ctx, c, &iamtypes.ListRoleTagsRequest{RoleName: arg, Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return keysOf(out.Tags, tag), out.IsTruncated, out.Marker, nil
		}, tagKeys},
		{"ListInstanceProfileTags", [2]string{"p-e", "p-a"},
			func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
				out, err := w.ListInstanceProfileTags(ctx, c,
					&iamtypes.ListInstanceProfileTagsRequest{InstanceProfileName: arg, Marker: marker, MaxItems: maxItems})
				if err != nil {
					return nil, nil, "", err
				}
				return keysOf(out.Tags, tag), out.IsTruncated, out.Marker, nil
			}, tagKeys},
		{"ListOpenIDConnectProviderTags", [2]string{github, "arn:aws:iam::111122223333:oidc-provider/a.example"},
			func(c identity.Caller, arg, marker string, maxItems *int32) ([]key, *bool, string, error) {
				out, err := w.ListOpenIDConnectProviderTags(ctx, c,
					&iamtypes.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: arg, Marker: marker, MaxItems: maxItems})
				if err != nil {
					return nil, nil, "", err
				}
				return keysOf(out.Tags, tag), out.IsTruncated, out.Marker, nil
			}, tagKeys},
		{"ListAccountAliases", [2]string{}, func(c identity.Caller, _, marker string, maxItems *int32) ([]key, *bool, string, error) {
			out, err := w.ListAccountAliases(ctx, c, &iamtypes.ListAccountAliasesRequest{Marker: marker, MaxItems: maxItems})
			if err != nil {
				return nil, nil, "", err
			}
			return out.AccountAliases, out.IsTruncated, out.Marker, nil
		}, []string{"alias"}},
	}
}

// The pages of any size together have each entry of the listing once.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for _, l := range w.listings(t) {
		whole, truncated, next, err := l.ask(w.root, l.args[0], "", nil)
		if err != nil || truncated == nil || *truncated || next != "" {
			t.Errorf("%s in one page: got truncated %v, marker %q, %v, want a last page", l.operation, truncated, next, err)
		}
		if !slices.Equal(whole, l.want) {
			t.Errorf("%s in one page: got %q, want %q", l.operation, whole, l.want)
		}
		for size := range int32(7) {
			size++
			var got []string
			marker, pages := "", 0
			for {
				keys, truncated, next, err := l.ask(w.root, l.args[0], marker, &size)
				if err != nil {
					t.Fatalf("%s, page %d of %d entries: %v", l.operation, pages, size, err)
				}
				got, pages, marker = append(got, keys...), pages+1, next
				if truncated == nil || *truncated != (next != "") || len(keys) > int(size) || next != "" && len(keys) < int(size) || len(next) > 320 {
					t.Fatalf("%s, pages of %d: got %d entries, truncated %v, marker of %d characters", l.operation, size, len(keys), truncated, len(next))
				}
				if next == "" || pages > 10 {
					break
				}
			}
			if !slices.Equal(got, l.want) {
				t.Errorf("%s, pages of %d: got %q, want %q", l.operation, size, got, l.want)
			}
			if want := (len(l.want) + int(size) - 1) / int(size); pages != want {
				t.Errorf("%s, pages of %d: got %d pages, want %d", l.operation, size, pages, want)
			}
		}
	}
}

// A marker is valid only in the listing that returned it.
func TestMarkersOfOtherListings(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	all := w.listings(t)
	for _, name := range []string{"r-e", "u-e", "g-e"} { // so that the other account has the same names
		do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: name})
		do(t, w.CreateGroup, w.stranger, iamtypes.CreateGroupRequest{GroupName: name})
		do(t, w.CreateRole, w.stranger, iamtypes.CreateRoleRequest{RoleName: name, AssumeRolePolicyDocument: trustEC2})
	}
	do(t, w.CreateInstanceProfile, w.stranger, iamtypes.CreateInstanceProfileRequest{InstanceProfileName: "p-e"})
	invalid := func(what string, l listing, c identity.Caller, arg, marker string) {
		t.Helper()
		keys, _, _, err := l.ask(c, arg, marker, nil)
		wantCode(t, fmt.Sprintf("%s, %s: %q", l.operation, what, keys), err, fault.Validation)
		if err != nil && fault.From(err).Public != "Invalid Marker." {
			t.Errorf("%s, %s: the text is %q, want Invalid Marker.", l.operation, what, fault.From(err).Public)
		}
	}
	for i, l := range all {
		_, _, marker, err := l.ask(w.root, l.args[0], "", new(int32(1)))
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string]string{"no marker at all": "x", "not base64": "!!", "short": "AAAA",
			"made up": strings.Repeat("A", 40)} {
			invalid(what, l, w.root, l.args[0], bad)
		}
		if marker == "" {
			continue // a listing with one entry has no marker
		}
		if _, _, _, err := l.ask(w.root, l.args[0], marker, nil); err != nil {
			t.Errorf("%s: its own marker: %v", l.operation, err)
		}
		invalid("longer", l, w.root, l.args[0], marker+"AA")
		invalid("changed", l, w.root, l.args[0], "A"+strings.ToLower(marker[1:]))
		invalid("of another argument", l, w.root, l.args[1], marker)
		if !strings.HasPrefix(l.args[0], "arn:") { // an ARN is valid in one account only
			invalidIn := l.args[0]
			if l.operation == "ListAccessKeys" {
				invalidIn = "u-e"
			}
			invalid("of another account", l, w.stranger, invalidIn, marker)
		}
		next := all[(i+1)%len(all)]
		invalid("of "+l.operation, next, w.root, next.args[0], marker)
	}
}

// Entries that are made or deleted between two pages do not move other entries.
func TestPagesMeanwhile(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for _, name := range []string{"b", "d", "f"} {
		w.user(t, name)
	}
	first := do(t, w.ListUsers, w.root, iamtypes.ListUsersRequest{MaxItems: new(int32(2))})
	w.user(t, "a")
	w.user(t, "e")
	do(t, w.DeleteUser, w.root, iamtypes.DeleteUserRequest{UserName: "d"}) // the last entry of the page
	second := do(t, w.ListUsers, w.root, iamtypes.ListUsersRequest{MaxItems: new(int32(2)), Marker: first.Marker})
	got := keysOf(append(first.Users, second.Users...), func(u iamtypes.User) string { return u.UserName })
	if want := []string{"b", "d", "e", "f"}; !slices.Equal(got, want) || *second.IsTruncated {
		t.Errorf("got %q, truncated %v, want %q", got, *second.IsTruncated, want)
	}
}

// A marker contains only the beginning of a long key. If the entry of the marker was deleted, no other entry is
// omitted.
func TestPagesOfLongKeysMeanwhile(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "u")
	long := strings.Repeat("語", 127)
	var tags []iamtypes.Tag
	for _, key := range []string{"a", long + "a", long + "b", long + "c", "\U0001f40b"} {
		tags = append(tags, iamtypes.Tag{Key: key})
	}
	do(t, w.TagUser, w.root, iamtypes.TagUserRequest{UserName: "u", Tags: tags})
	page := func(size int32, marker string) *iamtypes.ListUserTagsResponse {
		return do(t, w.ListUserTags, w.root, iamtypes.ListUserTagsRequest{UserName: "u", MaxItems: &size, Marker: marker})
	}
	for _, c := range []struct {
		size int32    // of the previous page
		gone string   // the last entry of the previous page, which is deleted
		want []string // the entries of the next page
	}{
		{3, "", []string{long + "c", "\U0001f40b"}},
		{3, long + "b", []string{long + "a", long + "c", "\U0001f40b"}}, // the first entry is repeated
		{1, "a", []string{long + "a", long + "c", "\U0001f40b"}},
	} {
		marker := page(c.size, "").Marker
		if c.gone != "" {
			do(t, w.UntagUser, w.root, iamtypes.UntagUserRequest{UserName: "u", TagKeys: []string{c.gone}})
		}
		got := keysOf(page(100, marker).Tags, func(t iamtypes.Tag) string { return t.Key })
		if !slices.Equal(got, c.want) {
			t.Errorf("after a page of %d, %q gone: got %q, want %q", c.size, c.gone, got, c.want)
		}
	}
}

func TestPathPrefix(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for name, path := range map[string]string{"a": "", "b": "/x/", "c": "/x/y/", "d": "/xy/", "e": "/X/", "f": "/x_/", "g": "/x%/"} {
		do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: name, Path: path})
	}
	for prefix, want := range map[string]string{"": "abcdefg", "/": "abcdefg", "/x": "bcdfg", "/x/": "bc", "/x/y/": "c",
		"/X": "e", "/z": "", "/x_": "f", "/x%": "g", "/_": ""} {
		got := strings.Join(keysOf(do(t, w.ListUsers, w.root, iamtypes.ListUsersRequest{PathPrefix: prefix}).Users, func(u iamtypes.User) string {
			return u.UserName
		}), "")
		if got != want {
			t.Errorf("users under %q: got %q, want %q", prefix, got, want)
		}
	}
}
