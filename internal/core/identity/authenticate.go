package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Authenticate tells who signed the request, in header or query form. bodyHash is the SHA-256 of the body in lower-case
// hexadecimal. The caller must compare the signature's scope with the host.
// Errors: fault.MissingCredentials, fault.IncompleteSignature, fault.UnknownAccessKey, fault.ExpiredCredentials (temporary
// credentials past their end), fault.SignatureMismatch, fault.AccessDenied (a request of the operator was sent before, or
// was not signed for this server; see Prove).
func (s *Service) Authenticate(ctx context.Context, r *http.Request, bodyHash string) (Caller, *sigv4.Signature, error) {
	sig, err := sigv4.Parse(r)
	if err != nil {
		return Caller{}, nil, err
	}
	who, key, err := s.signer(ctx, sig)
	if err != nil {
		return Caller{}, sig, err
	}
	if err := sig.Verify(r, []byte(key.Reveal()), bodyHash, s.now()); err != nil {
		text, _, _ := strings.Cut(fault.From(err).Public, "\n") // the lines below are the canonical request
		return Caller{}, sig, &Refusal{
			Err: err, Account: who.Account, AccessKey: sig.AccessKeyID, Cure: cureSecret,
			Cause: "access key " + name.Clip(sig.AccessKeyID) + ": " + strings.TrimSuffix(text, "."),
		}
	}
	if who.Kind == Operator {
		if err := s.acceptOnce(r, sig); err != nil {
			return Caller{}, sig, err
		}
	}
	s.used.note(who, sig.Scope.Region, sig.Scope.Service, s.now())
	return who, sig, nil
}

// Claimed returns the caller whose access key a signature names, if the key is good now. Nothing is proved by it: the signature is
// not looked at. Doors use it before they read the body that the signature covers.
// Errors: fault.UnknownAccessKey, fault.ExpiredCredentials.
func (s *Service) Claimed(ctx context.Context, sig *sigv4.Signature) (Caller, error) {
	who, _, err := s.signer(ctx, sig)
	return who, err
}

// operatorService is the service of the signatures that the operator's key makes.
const operatorService = "ecrin"

// signer finds whose access key a signature names, and the secret that it must have been made with. The operator's key id is a
// constant that anybody can name; it is known only in signatures for ecrin's own service.
func (s *Service) signer(ctx context.Context, sig *sigv4.Signature) (Caller, secret.String, error) {
	unknown := func(account name.Account, why string) error {
		return &Refusal{
			Err:     fault.UnknownAccessKey.New("The security token included in the request is invalid."),
			Account: account, AccessKey: sig.AccessKeyID, Cause: "access key " + name.Clip(sig.AccessKeyID) + ": " + why, Cure: cureKey,
		}
	}
	if sig.AccessKeyID == OperatorKeyID && sig.SessionToken == "" && sig.Scope.Service == operatorService {
		return Caller{Kind: Operator, ARN: "arn:aws:iam:::operator", UserID: "operator", AccessKey: OperatorKeyID}, s.keys.OperatorSecret(), nil
	}
	if sig.SessionToken != "" {
		if key, err := s.openSessionToken(sig.SessionToken); err != nil || key != sig.AccessKeyID {
			return Caller{}, secret.String{}, unknown(name.Account{}, "the session token does not belong to it, or to this installation")
		}
		return s.sessionSigner(ctx, sig.AccessKeyID, unknown)
	}
	k, err := s.meta.AccessKey(ctx, sig.AccessKeyID)
	if errors.Is(err, fault.AccessKeyNotFound) {
		return Caller{}, secret.String{}, unknown(name.Account{}, "it does not exist here, or it is temporary and the session token is missing")
	}
	if err == nil && !k.Active {
		return Caller{}, secret.String{}, unknown(k.Account, "it is inactive")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	who, err := s.callerOf(ctx, k.Principal, "")
	if gone(err) {
		return Caller{}, secret.String{}, unknown(k.Account, "its user was deleted")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	who.AccessKey = k.ID
	opened, err := s.secretOf(k)
	return who, opened, err
}

func (s *Service) sessionSigner(ctx context.Context, key string, unknown func(name.Account, string) error) (Caller, secret.String, error) {
	in, err := s.meta.Session(ctx, key)
	if errors.Is(err, fault.AccessKeyNotFound) {
		return Caller{}, secret.String{}, unknown(name.Account{}, "its session does not exist any more")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	if !s.now().Before(in.ExpiresAt) {
		return Caller{}, secret.String{}, &Refusal{
			Err:     fault.ExpiredCredentials.New("The security token included in the request is expired"),
			Account: in.Account, AccessKey: key, Cause: "the temporary credentials of access key " + key + " expired at " + in.ExpiresAt.UTC().Format(time.RFC3339), Cure: cureExpiry,
		}
	}
	who, err := s.callerOf(ctx, in.Principal, key)
	if gone(err) {
		return Caller{}, secret.String{}, unknown(in.Account, "the user or role of its session was deleted")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	opened, err := s.openSecret(key, in.SealedSecret)
	return who, opened, err
}

// callerOf is the caller that a principal is in a session, "" for none.
func (s *Service) callerOf(ctx context.Context, principal, session string) (Caller, error) {
	u, err := s.subject(ctx, principal, session)
	if err != nil {
		return Caller{}, err
	}
	return u.Caller, nil
}

// gone tells whether a principal or its session is no more.
func gone(err error) bool {
	return errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) || errors.Is(err, fault.AccessKeyNotFound)
}

// KeyCaller tells who an access key in force belongs to, for values that were bound to it and are authentic.
// Errors: fault.ExpiredCredentials (the key, its session or its principal is gone, inactive or past its end).
func (s *Service) KeyCaller(ctx context.Context, id string) (Caller, error) {
	ended := fault.ExpiredCredentials.New("the access key behind this address is no longer active")
	who, err := s.keyCaller(ctx, id, true)
	if gone(err) || errors.Is(err, errInactive) {
		return Caller{}, ended.Because(err)
	}
	return who, err
}

var errInactive = errors.New("inactive")

// keyCaller finds the caller behind an access key, long-term or of a session. Sessions past their end count when running is
// false: a docker token lives on for its 12 hours.
func (s *Service) keyCaller(ctx context.Context, id string, running bool) (Caller, error) {
	k, err := s.meta.AccessKey(ctx, id)
	if err == nil {
		if !k.Active {
			return Caller{}, errInactive
		}
		who, err := s.callerOf(ctx, k.Principal, "")
		who.AccessKey = id
		return who, err
	}
	if !errors.Is(err, fault.AccessKeyNotFound) {
		return Caller{}, err
	}
	in, err := s.meta.Session(ctx, id)
	if err != nil {
		return Caller{}, err
	}
	if running && !s.now().Before(in.ExpiresAt) {
		return Caller{}, errInactive
	}
	return s.callerOf(ctx, in.Principal, id)
}
