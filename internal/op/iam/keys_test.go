package iam_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	user := w.user(t, "alice")
	create := iamtypes.CreateAccessKeyRequest{UserName: "alice"}
	first := do(t, w.CreateAccessKey, w.root, create).AccessKey
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(first.AccessKeyId) || len(first.SecretAccessKey) != 40 {
		t.Errorf("the key is %s with a secret of %d characters, want AKIA and 16, and 40", first.AccessKeyId, len(first.SecretAccessKey))
	}
	same(t, "CreateAccessKey", first, iamtypes.AccessKey{
		UserName: "alice", AccessKeyId: first.AccessKeyId, Status: "Active", SecretAccessKey: first.SecretAccessKey,
		CreateDate: &awswire.Time{Time: w.at},
	})
	c, err := w.id.KeyCaller(t.Context(), first.AccessKeyId)
	if err != nil || c.Kind != identity.User || c.Principal != user.UserId || c.ARN != user.Arn {
		t.Errorf("the key signs for %+v, %v, want %s", c, err, user.Arn)
	}
	w.at = w.at.Add(time.Second)
	second := do(t, w.CreateAccessKey, c, iamtypes.CreateAccessKeyRequest{}).AccessKey // for itself
	refuse(t, w.CreateAccessKey, w.root, create, fault.LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")

	want := []iamtypes.AccessKeyMetadata{
		{UserName: "alice", AccessKeyId: first.AccessKeyId, Status: "Active", CreateDate: first.CreateDate},
		{UserName: "alice", AccessKeyId: second.AccessKeyId, Status: "Active", CreateDate: &awswire.Time{Time: w.at}},
	}
	list := func() []iamtypes.AccessKeyMetadata {
		return do(t, w.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{UserName: "alice"}).AccessKeyMetadata
	}
	same(t, "ListAccessKeys", list(), want)
	same(t, "ListAccessKeys for itself", do(t, w.ListAccessKeys, c, iamtypes.ListAccessKeysRequest{}).AccessKeyMetadata, want)

	do(t, w.UpdateAccessKey, c, iamtypes.UpdateAccessKeyRequest{AccessKeyId: second.AccessKeyId, Status: "Inactive"})
	want[1].Status = "Inactive"
	same(t, "with an inactive one", list(), want)
	if _, err := w.id.KeyCaller(t.Context(), second.AccessKeyId); err == nil {
		t.Error("an inactive key still stands for its user")
	}
	do(t, w.UpdateAccessKey, w.root, iamtypes.UpdateAccessKeyRequest{UserName: "alice", AccessKeyId: second.AccessKeyId, Status: "Active"})
	if _, err := w.id.KeyCaller(t.Context(), second.AccessKeyId); err != nil {
		t.Errorf("a key that is active again: %v", err)
	}
	refuse(t, w.UpdateAccessKey, w.root, iamtypes.UpdateAccessKeyRequest{UserName: "alice", AccessKeyId: second.AccessKeyId,
		Status: "Expired"}, fault.InvalidInput, "Active or Inactive")

	do(t, w.DeleteAccessKey, w.root, iamtypes.DeleteAccessKeyRequest{UserName: "alice", AccessKeyId: first.AccessKeyId})
	if _, err := w.id.KeyCaller(t.Context(), first.AccessKeyId); err == nil {
		t.Error("a deleted key still stands for its user")
	}
	refuse(t, w.DeleteAccessKey, w.root, iamtypes.DeleteAccessKeyRequest{UserName: "alice", AccessKeyId: first.AccessKeyId},
		fault.NoSuchEntity, "The Access Key with id "+first.AccessKeyId+" cannot be found.")
	want = want[1:]
	want[0].Status = "Active"
	same(t, "after one was deleted", list(), want)
	do(t, w.CreateAccessKey, w.root, create)
}

// Without a name the root user manages its own keys, also the keys that the operator made.
func TestRootKeys(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	k := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{}).AccessKey
	if k.UserName != "root" {
		t.Errorf("the key is %q's, want root's", k.UserName)
	}
	c, err := w.id.KeyCaller(t.Context(), k.AccessKeyId)
	if err != nil || c.Kind != identity.Root || c.Account != home {
		t.Errorf("the key signs for %+v, %v, want the root user", c, err)
	}
	refuse(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{}, fault.LimitExceeded, "2")
	all := do(t, w.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{}).AccessKeyMetadata
	if len(all) != 2 || all[0].AccessKeyId != w.root.AccessKey && all[1].AccessKeyId != w.root.AccessKey {
		t.Errorf("root's keys are %+v, want %s and %s", all, w.root.AccessKey, k.AccessKeyId)
	}
	do(t, w.UpdateAccessKey, c, iamtypes.UpdateAccessKeyRequest{AccessKeyId: w.root.AccessKey, Status: "Inactive"})
	if _, err := w.id.KeyCaller(t.Context(), w.root.AccessKey); err == nil {
		t.Error("root's inactive key still stands for it")
	}
	do(t, w.DeleteAccessKey, c, iamtypes.DeleteAccessKeyRequest{AccessKeyId: w.root.AccessKey})
	do(t, w.DeleteAccessKey, c, iamtypes.DeleteAccessKeyRequest{AccessKeyId: k.AccessKeyId})
	same(t, "root's keys at last", do(t, w.ListAccessKeys, c, iamtypes.ListAccessKeysRequest{}),
		&iamtypes.ListAccessKeysResponse{AccessKeyMetadata: []iamtypes.AccessKeyMetadata{}, IsTruncated: new(false)})
}

// A key can be changed only with the name of its owner.
func TestKeysOfOthers(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "alice")
	w.user(t, "bob")
	do(t, w.CreateUser, w.stranger, iamtypes.CreateUserRequest{UserName: "alice"})
	alice := w.callerOf(t, "alice")
	key := alice.AccessKey
	for _, c := range []struct {
		what string
		by   identity.Caller
		user string
		want fault.Code
	}{
		{"another user's name", w.root, "bob", fault.NoSuchEntity},
		{"no such user", w.root, "carol", fault.NoSuchEntity},
		{"root's own", w.root, "", fault.NoSuchEntity},
		{"bob's own", w.callerOf(t, "bob"), "", fault.NoSuchEntity},
		{"a namesake in another account", w.stranger, "alice", fault.NoSuchEntity},
		{"temporary credentials without a name", identity.Caller{Kind: identity.User, Account: home, Principal: alice.Principal,
			SessionKey: "ASIAX"}, "", fault.Validation},
		{"root's temporary credentials without a name", identity.Caller{Kind: identity.Root, Account: home,
			SessionKey: "ASIAX"}, "", fault.Validation},
		{"a role session without a name", identity.Caller{Kind: identity.RoleSession, Account: home}, "", fault.Validation},
	} {
		t.Log(c.what)
		refuse(t, w.UpdateAccessKey, c.by, iamtypes.UpdateAccessKeyRequest{UserName: c.user, AccessKeyId: key, Status: "Inactive"}, c.want)
		refuse(t, w.DeleteAccessKey, c.by, iamtypes.DeleteAccessKeyRequest{UserName: c.user, AccessKeyId: key}, c.want)
		if c.want == fault.Validation {
			refuse(t, w.CreateAccessKey, c.by, iamtypes.CreateAccessKeyRequest{}, c.want)
			refuse(t, w.ListAccessKeys, c.by, iamtypes.ListAccessKeysRequest{}, c.want)
		}
	}
	if _, err := w.id.KeyCaller(t.Context(), key); err != nil {
		t.Errorf("after refusals the key is no longer good: %v", err)
	}
	refuse(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "carol"}, fault.NoSuchEntity,
		"The user with name carol cannot be found.")
	refuse(t, w.ListAccessKeys, w.root, iamtypes.ListAccessKeysRequest{UserName: "carol"}, fault.NoSuchEntity)
	refuse(t, w.UpdateAccessKey, w.root, iamtypes.UpdateAccessKeyRequest{UserName: "alice",
		AccessKeyId: "AKIANONENONENONENONE", Status: "Active"}, fault.NoSuchEntity)
	refuse(t, w.GetAccessKeyLastUsed, w.stranger, iamtypes.GetAccessKeyLastUsedRequest{AccessKeyId: key}, fault.AccessDenied,
		"on resource: access key "+key)
	refuse(t, w.GetAccessKeyLastUsed, w.root, iamtypes.GetAccessKeyLastUsedRequest{AccessKeyId: "AKIANONENONENONENONE"}, fault.AccessDenied)
}

func TestGetAccessKeyLastUsed(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.user(t, "alice")
	key := do(t, w.CreateAccessKey, w.root, iamtypes.CreateAccessKeyRequest{UserName: "alice"}).AccessKey.AccessKeyId
	get := func(id string) *iamtypes.GetAccessKeyLastUsedResponse {
		return do(t, w.GetAccessKeyLastUsed, w.root, iamtypes.GetAccessKeyLastUsedRequest{AccessKeyId: id})
	}
	want := &iamtypes.GetAccessKeyLastUsedResponse{UserName: "alice",
		AccessKeyLastUsed: &iamtypes.AccessKeyLastUsed{Region: "N/A", ServiceName: "N/A"}}
	same(t, "a key that was never used", get(key), want)
	for i, use := range []meta.Use{{At: w.at, Region: "us-east-1", Service: "ecr"},
		{At: w.at.Add(time.Hour), Region: "eu-west-1", Service: "sts"}} {
		if err := w.meta.SetUsed(t.Context(), map[string]meta.Use{key: use}, nil); err != nil {
			t.Fatal(err)
		}
		want.AccessKeyLastUsed = &iamtypes.AccessKeyLastUsed{LastUsedDate: &awswire.Time{Time: use.At}, Region: use.Region,
			ServiceName: use.Service}
		same(t, []string{"a used key", "a key that was used again"}[i], get(key), want)
	}
	if got := get(w.root.AccessKey); got.UserName != "root" || got.AccessKeyLastUsed.Region != "N/A" {
		t.Errorf("root's key: got %+v, %+v, want root's, never used", got, got.AccessKeyLastUsed)
	}
}
