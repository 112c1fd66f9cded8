package trail

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// refusedName is the eventName of refused credentials.
const refusedName = "Authenticate"

// refused writes the line of a request whose credentials were refused, for the account of the token or key if it is known,
// and does nothing for other events. additionalEventData has cause and cure. Anyone can send invalid credentials: those whose
// account is not known are counted as of one principal.
func (t *Trail) refused(ctx context.Context, ev *guard.Event) {
	var refusal *identity.Refusal
	if !errors.As(ev.Err, &refusal) {
		return
	}
	e := guard.Event{RequestID: ev.RequestID, From: ev.From, Err: ev.Err}
	e.Record = guard.Record{
		Source: invokedBy, Name: refusedName, ReadOnly: true,
		Caller: identity.Caller{Account: refusal.Account, AccessKey: refusal.AccessKey},
	}
	why := reasonOf(&e)
	// Anyone can name the key of another, and choose parts of the text of the cause.
	why.principal, why.resource, why.party = "credentials of nobody", string(refusal.Class), nobody
	if refusal.Account != (name.Account{}) {
		why.principal = "credentials of " + refusal.AccessKey
	}
	t.failed(ctx, &e, audit.NewID(), why)
}
