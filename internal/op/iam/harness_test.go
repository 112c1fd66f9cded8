package iam_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/op/iam"
	"github.com/ecrin-dev/ecrin/internal/op/iam/iamtest"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// fixture is an installation of two accounts, with a clock that the test sets.
type fixture struct {
	iamtest.Operations
	service *iam.Service
	id      *identity.Service
	meta    *meta.Store
	at      time.Time
	dir     string // the data directory

	root, stranger identity.Caller // the root users of the accounts 111122223333 and 444455556666
}

var (
	home    = name.MustAccount("111122223333")
	foreign = name.MustAccount("444455556666")
)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	w := &fixture{at: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	w.dir = dir
	ring, err := identity.LoadKeyring(dir, "", true)
	if err != nil {
		t.Fatal(err)
	}
	metatest.Prepare(t, dir)
	if w.meta, err = meta.OpenSQLite(t.Context(), dir, w.now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.meta.Close(); err != nil {
			t.Error(err)
		}
	})
	w.id = identity.New(w.meta, ring, w.now, identity.Options{})
	mac := func(data []byte) []byte { return ring.MAC("iam pages", data) }
	w.service = iam.New(iam.Options{Meta: w.meta, Identity: w.id, Pages: pagetoken.New(mac), TaskMAC: mac, Now: w.now})
	w.Operations = iamtest.New(w.service)
	if _, err := w.id.EnsureDefault(t.Context(), home); err != nil {
		t.Fatal(err)
	}
	if _, err := w.id.CreateAccount(t.Context(), foreign, ""); err != nil {
		t.Fatal(err)
	}
	w.root, w.stranger = w.rootOf(t, home), w.rootOf(t, foreign)
	return w
}

func (w *fixture) now() time.Time { return w.at }

// rootOf returns the root user of an account, as the caller with its first access key.
func (w *fixture) rootOf(t testing.TB, account name.Account) identity.Caller {
	t.Helper()
	k, err := w.id.Credentials(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.id.KeyCaller(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// do runs an operation that must succeed.
func do[In, Out any](t testing.TB, op iamtest.Operation[In, Out], c identity.Caller, in In) *Out {
	t.Helper()
	out, err := op(t.Context(), c, &in)
	if err != nil {
		t.Fatalf("%T %+v: %v", in, in, err)
	}
	return out
}

// refuse runs an operation that must fail with a code and a text that contains all words.
func refuse[In, Out any](t testing.TB, op iamtest.Operation[In, Out], c identity.Caller, in In, want fault.Code, words ...string) {
	t.Helper()
	out, err := op(t.Context(), c, &in)
	if !errors.Is(err, want) {
		t.Errorf("%T %+v: got %+v, %v, want fault.%s", in, in, out, err, want)
		return
	}
	for _, word := range words {
		if got := fault.From(err).Public; !strings.Contains(got, word) {
			t.Errorf("%T %+v: the text is %q, want %q in it", in, in, got, word)
		}
	}
}

// same compares responses.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(name.Account{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// decoded returns the text of a policy in a response.
func decoded(t testing.TB, document string) string {
	t.Helper()
	if strings.ContainsAny(document, `+ {}":`) {
		t.Errorf("the document %q is not percent-encoded", document)
	}
	text, err := url.PathUnescape(document)
	if err != nil {
		t.Errorf("the document %q: %v", document, err)
	}
	return text
}

const trustEC2 = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`

func (w *fixture) user(t testing.TB, userName string) iamtypes.User {
	t.Helper()
	return *do(t, w.CreateUser, w.root, iamtypes.CreateUserRequest{UserName: userName}).User
}

func (w *fixture) group(t testing.TB, groupName string) iamtypes.Group {
	t.Helper()
	return do(t, w.CreateGroup, w.root, iamtypes.CreateGroupRequest{GroupName: groupName}).Group
}

func (w *fixture) role(t testing.TB, roleName string) iamtypes.Role {
	t.Helper()
	do(t, w.CreateRole, w.root, iamtypes.CreateRoleRequest{RoleName: roleName, AssumeRolePolicyDocument: trustEC2})
	return do(t, w.GetRole, w.root, iamtypes.GetRoleRequest{RoleName: roleName}).Role
}

func wantCode(t testing.TB, what string, err error, want fault.Code) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want fault.%s", what, err, want)
	}
}
