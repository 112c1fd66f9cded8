package ecrin

import (
	"context"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnSignedIn resolves the principal whose sessions of browsers are listed or revoked: a user, a role, or the root user of the account. The
// resource is its ARN, whether it exists or not.
//
// Errors: fault.InvalidParameter (both a user and a role).
func OnSignedIn[In interface {
	accountNamed
	GetUserName() string
	GetRoleName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[Principal], err error) {
	of, err := OnAccount(s, ctx, req, in)
	t.Asks, t.Value.Account = of.Asks, of.Value
	if err != nil {
		return t, err
	}
	e := meta.Entity{Account: of.Value, Kind: meta.User, Name: in.GetUserName()}
	switch {
	case in.GetUserName() != "" && in.GetRoleName() != "":
		return t, ecr.BadMember("roleName", "give either userName or roleName")
	case in.GetRoleName() != "":
		e.Kind, e.Name = meta.Role, in.GetRoleName()
	case e.Name == "":
		return t, nil
	}
	t.Value.Entity, err = s.meta.Entity(ctx, of.Value, e.Kind, e.Name)
	if errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) {
		t.Asks[0].Resource = e.ARN()
		t.Absent = fault.ObjectNotFound.New("there is no %s", name.Clip(e.ARN())).Because(err)
		return t, nil
	}
	t.Asks[0].Resource = t.Value.Entity.ARN()
	return t, err
}

// signedIn returns what sessions of browsers have as their principal.
func (p Principal) signedIn() string {
	if p.Entity.ID != "" {
		return p.Entity.ID
	}
	return p.Account.String()
}

// ListConsoleSessions returns the sessions of browsers of a user, a role, or the root user of an account, that have not ended by their
// time, the last used first.
//
// Errors: fault.ObjectNotFound (the user or role).
func (s *Service) ListConsoleSessions(ctx context.Context, _ identity.Caller, of Principal, _ *ecrintypes.ListConsoleSessionsRequest) (
	*ecrintypes.ListConsoleSessionsResponse, error) {
	all, err := s.identity.ConsoleSessions(ctx, of.signedIn())
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListConsoleSessionsResponse{Sessions: []ecrintypes.ConsoleSession{}}
	for _, c := range all {
		out.Sessions = append(out.Sessions, ecrintypes.ConsoleSession{SessionId: c.ID, SignedInBy: identity.SignedInBy(c),
			CreatedAt: awswire.Time{Time: c.CreatedAt}, LastUsedAt: awswire.Time{Time: c.UsedAt}, EndsAt: awswire.Time{Time: c.EndsAt},
			SourceIp: c.Address, UserAgent: c.Agent})
	}
	return out, nil
}

// RevokeConsoleSession ends a session of a browser at once, by its id.
//
// Errors: fault.ObjectNotFound (the user or role; the session, also one of another principal).
func (s *Service) RevokeConsoleSession(ctx context.Context, _ identity.Caller, of Principal, in *ecrintypes.RevokeConsoleSessionRequest) (
	*ecrintypes.RevokeConsoleSessionResponse, error) {
	return &ecrintypes.RevokeConsoleSessionResponse{}, s.meta.DeleteConsoleSession(ctx, of.signedIn(), in.SessionId)
}
