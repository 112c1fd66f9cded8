package ecrin

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Principal is the principal whose credentials a request gets.
type Principal struct {
	Account name.Account
	Entity  meta.Entity // the user or role; zero for the root user of the account
}

// OnCredentials resolves the account of a request for credentials, and the user or role that it names.
//
// Errors: fault.InvalidParameter (both a user and a role).
func OnCredentials(s *Service, ctx context.Context, req guard.Request,
	in *ecrintypes.GetAccountCredentialsRequest) (t guard.Target[Principal], err error) {
	of, err := OnAccount(s, ctx, req, in)
	t.Asks, t.Value.Account = of.Asks, of.Value
	if err != nil {
		return t, err
	}
	kind, called := meta.User, in.UserName
	switch {
	case in.UserName != "" && in.RoleName != "":
		return t, ecr.BadMember("roleName", "give either userName or roleName")
	case in.RoleName != "":
		kind, called = meta.Role, in.RoleName
	case in.UserName == "":
		return t, nil
	}
	if _, err := s.meta.Account(ctx, of.Value); err != nil {
		if errors.Is(err, fault.AccountNotFound) {
			t.Absent, err = err, nil
		}
		return t, err
	}
	t.Value.Entity, err = s.meta.Entity(ctx, of.Value, kind, called)
	if errors.Is(err, fault.NoSuchEntity) {
		t.Absent, err = err, nil
	}
	return t, err
}

// operatorSession is the name of the sessions of roles that GetAccountCredentials makes, and maxOperatorSession limits
// their time.
const (
	operatorSession    = "operator"
	maxOperatorSession = time.Hour
)

// GetAccountCredentials returns the oldest active access key, with its secret, of the root user of an account or of a
// user. For a role it returns temporary credentials, whatever the trust policy of the role is: the operator can change
// the policy anyway. They are valid for one hour, or for the longest session of the role if that is shorter.
//
// Errors: fault.AccountNotFound, fault.AccessKeyNotFound (no active key), fault.NoSuchEntity (the user or role),
// fault.InvalidParameter (a service-linked role, which only its service can use).
func (s *Service) GetAccountCredentials(ctx context.Context, by identity.Caller, of Principal,
	_ *ecrintypes.GetAccountCredentialsRequest) (*ecrintypes.GetAccountCredentialsResponse, error) {
	out := &ecrintypes.GetAccountCredentialsResponse{Region: s.hosts.Default().Region.String()}
	if of.Entity.Kind == meta.Role {
		return out, s.assume(ctx, by, of.Entity, out)
	}
	var k identity.Key
	var err error
	if of.Entity.ID == "" {
		k, err = s.identity.Credentials(ctx, of.Account)
	} else {
		k, err = s.identity.UserCredentials(ctx, of.Entity)
	}
	if err != nil {
		return nil, err
	}
	out.AccessKey, err = s.showSecret(ctx, k)
	return out, err
}

// assume makes a session of a role for a caller and sets its credentials in out.
func (s *Service) assume(ctx context.Context, by identity.Caller, role meta.Entity, out *ecrintypes.GetAccountCredentialsResponse) error {
	if role.Service != "" {
		return ecr.BadMember("roleName", "the role belongs to the service "+role.Service+": only the service can use it")
	}
	life := maxOperatorSession
	if role.MaxSession > 0 {
		life = min(life, role.MaxSession)
	}
	k, err := s.identity.IssueSession(ctx, by, meta.Session{Account: role.Account, Kind: meta.RoleSession, Principal: role.ID,
		Name: operatorSession}, life)
	if err != nil {
		return err
	}
	out.AccessKey = ecrintypes.AccessKey{
		AccessKeyId: k.AccessKey, SecretAccessKey: k.Secret.Reveal(), AccountId: role.Account.String(),
		PrincipalArn: identity.RoleSessionARN(role.Account, role.Name, operatorSession),
		Status:       ecrintypes.AccessKeyStatusACTIVE, CreatedAt: awswire.Time{Time: k.ExpiresAt.Add(-life)},
	}
	out.SessionToken, out.ExpiresAt, out.RoleArn = k.Token.Reveal(), awswire.At(k.ExpiresAt), role.ARN()
	return nil
}
