package guard_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// reconsider checks the decision of a recorded pull.
func (f *fixture) reconsider(what string, r guard.Recorded, want policy.Verdict) {
	f.t.Helper()
	_, why, err := f.guard.Reconsider(f.t.Context(), r)
	if err != nil || why.Verdict != want {
		f.t.Errorf("%s: got %v, %v, want %v", what, why.Verdict, err, want)
	}
}

// A recorded request is decided by the policies of now, and by the condition keys, the address and the time that it had.
func TestRecordedRequestIsDecidedByItsKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	at := f.at.Add(-48 * time.Hour)
	recorded := func(c identity.Caller, keys ...guard.ConditionKey) guard.Recorded {
		a := f.resolved(pull(home, "app"))
		a.Keys = keys
		return guard.Recorded{Caller: c, From: guard.Origin{SourceIP: netip.MustParseAddr("192.0.2.7")}, At: at, Ask: a}
	}
	one := func(key, value string) guard.ConditionKey {
		return guard.ConditionKey{Name: key, Values: []string{value}}
	}
	_, byTag := f.user(home, "by-tag", allowIf(`{"StringEquals":{"aws:ResourceTag/team":"core"}}`))
	f.reconsider("a key of now", recorded(byTag), policy.Allowed)
	f.reconsider("another value than now", recorded(byTag, one("aws:ResourceTag/team", "edge")), policy.ImplicitlyDenied)
	f.reconsider("a key without values", recorded(byTag, guard.ConditionKey{Name: "aws:ResourceTag/team"}), policy.Allowed)
	_, byList := f.user(home, "by-list", allowIf(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]},"Null":{"aws:TagKeys":"false"}}`))
	list := func(values ...string) guard.ConditionKey {
		return guard.ConditionKey{Name: "aws:TagKeys", Values: values, List: true}
	}
	f.reconsider("a list", recorded(byList, list("a", "b")), policy.Allowed)
	f.reconsider("a list with another value", recorded(byList, list("a", "c")), policy.ImplicitlyDenied)
	f.reconsider("no list", recorded(byList), policy.ImplicitlyDenied)
	_, before := f.user(home, "before", allowIf(`{"DateLessThan":{"aws:CurrentTime":"`+at.Add(time.Hour).Format(time.RFC3339)+`"}}`))
	f.reconsider("at its time", recorded(before), policy.Allowed)
	_, from := f.user(home, "from", allowIf(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`))
	f.reconsider("from its address", recorded(from), policy.Allowed)
}

// The session of a recorded request may have ended: then the policies of its role decide. A principal that was deleted is an error.
func TestRecordedRequestOfAnEndedSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.repository(home, "app", "")
	role := f.entity(home, meta.Role, "puller", nil)
	f.inline(role, allow("ecr:*", "*"))
	c := f.session(meta.Session{Account: home, Kind: meta.RoleSession, Principal: role.ID, Name: "job",
		Policies: []string{allow("ecr:PutImage", "*")}})
	r := guard.Recorded{Caller: c, At: f.at, Ask: f.resolved(pull(home, "app"))}
	f.reconsider("while the session is stored", r, policy.ImplicitlyDenied)
	r.Caller.SessionKey = "ASIA000000000000ENDED"
	f.reconsider("after it", r, policy.Allowed)
	f.must(f.meta.DeleteInline(t.Context(), role.ID, "inline"))
	f.must(f.meta.DeleteEntity(t.Context(), role))
	if _, why, err := f.guard.Reconsider(t.Context(), r); !errors.Is(err, fault.NoSuchEntity) {
		t.Errorf("of a role that was deleted: got %v, %v, want fault.NoSuchEntity", why.Verdict, err)
	}
}
