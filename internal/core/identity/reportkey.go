package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// APIKeyCaller returns the caller of a key that a client sends as it is, instead of a signature: an access key, KEYID:SECRET, or of
// temporary credentials KEYID:SECRET:SESSIONTOKEN, or a docker password, of any region. The key of the operator is none. region is that of
// the request, for the last use of the key.
//
// Errors: fault.MissingCredentials (the key is empty), fault.UnknownAccessKey, fault.SignatureMismatch (the secret is another one),
// fault.ExpiredCredentials, fault.TokenInvalid.
func (s *Service) APIKeyCaller(ctx context.Context, key string, region name.Region) (Caller, error) {
	if key == "" {
		return Caller{}, fault.MissingCredentials.New("the header authorization must have an access key, KEYID:SECRET, or an authorization token")
	}
	id, rest, isPair := strings.Cut(key, ":")
	if !isPair {
		return s.TokenCaller(ctx, key, name.Region{})
	}
	given, session, _ := strings.Cut(rest, ":")
	unknown := func(account name.Account, class RefusalClass, why string) error {
		return &Refusal{Err: fault.UnknownAccessKey.New("The security token included in the request is invalid."),
			Account: account, AccessKey: id,
			Class: class, Cure: cureKey, Cause: "access key " + name.Clip(id) + ": " + why}
	}
	var who Caller
	secret := ""
	if session != "" {
		if of, err := s.openSessionToken(session); err != nil || of != id {
			return Caller{}, unknown(name.Account{}, RefusedSession, "the session token does not belong to it, or to this installation")
		}
		found, opened, err := s.sessionSigner(ctx, id, unknown)
		if err != nil {
			return Caller{}, err
		}
		who, secret = found, opened.Reveal()
	} else {
		k, err := s.meta.AccessKey(ctx, id)
		switch {
		case errors.Is(err, fault.AccessKeyNotFound):
			return Caller{}, unknown(name.Account{}, RefusedKey, "it does not exist here, or it is temporary and the session token is missing")
		case err != nil:
			return Caller{}, err
		case !k.Active:
			return Caller{}, unknown(k.Account, RefusedInactive, "it is inactive")
		}
		if who, err = s.callerOf(ctx, k.Principal, ""); gone(err) {
			return Caller{}, unknown(k.Account, RefusedDeleted, "its user was deleted")
		} else if err != nil {
			return Caller{}, err
		}
		who.AccessKey = k.ID
		opened, err := s.secretOf(k)
		if err != nil {
			return Caller{}, err
		}
		secret = opened.Reveal()
	}
	if subtle.ConstantTimeCompare([]byte(secret), []byte(given)) != 1 {
		return Caller{}, &Refusal{Err: fault.SignatureMismatch.New("The secret of the access key is another one."),
			Account: who.Account, AccessKey: id,
			Class: RefusedSignature, Cure: cureSecret, Cause: "access key " + name.Clip(id) + ": the secret is another one"}
	}
	s.used.note(who, region.String(), operatorService, s.now())
	return who, nil
}
