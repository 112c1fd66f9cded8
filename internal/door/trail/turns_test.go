package trail_test

import (
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/trail"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// The changes of a request take turns under the principal of its caller, which is known only after the context was made.
// All sessions of a role are one principal, and so are all clients without credentials.
func TestChangesTakeTurnsByPrincipal(t *testing.T) {
	t.Parallel()
	tr := trail.New(nil, nil, nil, time.Now)
	for _, c := range []struct {
		caller identity.Caller
		want   string
	}{
		{identity.Caller{Kind: identity.RoleSession, Principal: "AROAEXAMPLE", UserID: "AROAEXAMPLE:one"}, "AROAEXAMPLE"},
		{identity.Caller{Kind: identity.RoleSession, Principal: "AROAEXAMPLE", UserID: "AROAEXAMPLE:two"}, "AROAEXAMPLE"},
		{identity.Caller{Kind: identity.Root, Principal: "111122223333", UserID: "111122223333"}, "111122223333"},
		{identity.Caller{Kind: identity.Anonymous}, ""},
	} {
		var ev guard.Event
		ctx := tr.Begin(t.Context(), &ev)
		ev.Caller = c.caller
		if got := audit.LineOf(ctx).Principal(); got != c.want {
			t.Errorf("caller %+v: got the principal %q, want %q", c.caller, got, c.want)
		}
	}
}
