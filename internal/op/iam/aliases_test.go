package iam_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestAccountAlias(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	list := func(want ...string) {
		t.Helper()
		got := do(t, w.ListAccountAliases, w.root, iamtypes.ListAccountAliasesRequest{})
		same(t, "ListAccountAliases", got, &iamtypes.ListAccountAliasesResponse{AccountAliases: append([]string{}, want...),
			IsTruncated: new(false)})
	}
	list()
	do(t, w.CreateAccountAlias, w.root, iamtypes.CreateAccountAliasRequest{AccountAlias: "first"})
	list("first")
	do(t, w.CreateAccountAlias, w.root, iamtypes.CreateAccountAliasRequest{AccountAlias: "first"}) // its own
	do(t, w.CreateAccountAlias, w.root, iamtypes.CreateAccountAliasRequest{AccountAlias: "second"})
	list("second")
	refuse(t, w.CreateAccountAlias, w.stranger, iamtypes.CreateAccountAliasRequest{AccountAlias: "second"},
		fault.EntityAlreadyExists, "The account alias second already exists.")
	do(t, w.CreateAccountAlias, w.stranger, iamtypes.CreateAccountAliasRequest{AccountAlias: "first"}) // which is free again
	refuse(t, w.DeleteAccountAlias, w.root, iamtypes.DeleteAccountAliasRequest{AccountAlias: "first"}, fault.NoSuchEntity,
		"The account alias first cannot be found.")
	list("second")
	do(t, w.DeleteAccountAlias, w.root, iamtypes.DeleteAccountAliasRequest{AccountAlias: "second"})
	list()
	refuse(t, w.DeleteAccountAlias, w.root, iamtypes.DeleteAccountAliasRequest{AccountAlias: "second"}, fault.NoSuchEntity)
}
