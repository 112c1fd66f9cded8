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

// Authenticate verifies the signature of a request, in the header or the query, and returns the caller that signed it.
// bodyHash is the SHA-256 of the body in lower-case hexadecimal. The scope of the signature is not compared with the
// host of the request: that is left to the calling code.
//
// Errors: fault.MissingCredentials, fault.IncompleteSignature, fault.UnknownAccessKey, fault.ExpiredCredentials (the
// temporary credentials have expired), fault.SignatureMismatch, fault.AccessDenied (a request of the operator was sent
// before, or was not signed for this server; see Prove).
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
			Err: err, Account: who.Account, AccessKey: sig.AccessKeyID, Class: RefusedSignature, Cure: cureSecret,
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

// Claimed returns the caller whose access key a signature names, if the key is active. It does not verify the
// signature, so the result proves nothing. It is for use before the body that the signature covers is read.
//
// Errors: fault.UnknownAccessKey, fault.ExpiredCredentials.
func (s *Service) Claimed(ctx context.Context, sig *sigv4.Signature) (Caller, error) {
	who, _, err := s.signer(ctx, sig)
	return who, err
}

// operatorService is the service in the scope of every signature with the operator's key.
const operatorService = "ecrin"

// signer returns the caller whose access key a signature names, and the secret of that key. The operator's key id is a
// public constant. It counts as unknown in signatures for any service but ecrin's own.
func (s *Service) signer(ctx context.Context, sig *sigv4.Signature) (Caller, secret.String, error) {
	unknown := func(account name.Account, class RefusalClass, why string) error {
		return &Refusal{
			Err:     fault.UnknownAccessKey.New("The security token included in the request is invalid."),
			Account: account, AccessKey: sig.AccessKeyID, Class: class, Cure: cureKey,
			Cause: "access key " + name.Clip(sig.AccessKeyID) + ": " + why,
		}
	}
	if sig.AccessKeyID == OperatorKeyID && sig.SessionToken == "" && sig.Scope.Service == operatorService {
		return Caller{Kind: Operator, ARN: operatorARN, UserID: "operator", AccessKey: OperatorKeyID}, s.keys.OperatorSecret(), nil
	}
	if sig.SessionToken != "" {
		if key, err := s.openSessionToken(sig.SessionToken); err != nil || key != sig.AccessKeyID {
			return Caller{}, secret.String{}, unknown(name.Account{}, RefusedSession,
				"the session token does not belong to it, or to this installation")
		}
		return s.sessionSigner(ctx, sig.AccessKeyID, unknown)
	}
	k, err := s.meta.AccessKey(ctx, sig.AccessKeyID)
	if errors.Is(err, fault.AccessKeyNotFound) {
		return Caller{}, secret.String{}, unknown(name.Account{}, RefusedKey,
			"it does not exist here, or it is temporary and the session token is missing")
	}
	if err == nil && !k.Active {
		return Caller{}, secret.String{}, unknown(k.Account, RefusedInactive, "it is inactive")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	who, err := s.callerOf(ctx, k.Principal, "")
	if gone(err) {
		return Caller{}, secret.String{}, unknown(k.Account, RefusedDeleted, "its user was deleted")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	who.AccessKey = k.ID
	opened, err := s.secretOf(k)
	return who, opened, err
}

func (s *Service) sessionSigner(ctx context.Context, key string,
	unknown func(name.Account, RefusalClass, string) error) (Caller, secret.String, error) {
	in, err := s.meta.Session(ctx, key)
	if errors.Is(err, fault.AccessKeyNotFound) {
		return Caller{}, secret.String{}, unknown(name.Account{}, RefusedSession, "its session does not exist any more")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	if !s.now().Before(in.ExpiresAt) {
		return Caller{}, secret.String{}, &Refusal{
			Err:     fault.ExpiredCredentials.New("The security token included in the request is expired"),
			Account: in.Account, AccessKey: key, Class: RefusedExpired, Cause: "the temporary credentials of access key " + key + " expired at " +
				in.ExpiresAt.UTC().Format(time.RFC3339), Cure: cureExpiry,
		}
	}
	who, err := s.callerOf(ctx, in.Principal, key)
	if gone(err) {
		return Caller{}, secret.String{}, unknown(in.Account, RefusedDeleted, "the user or role of its session was deleted")
	}
	if err != nil {
		return Caller{}, secret.String{}, err
	}
	opened, err := s.openSecret(key, in.SealedSecret)
	return who, opened, err
}

// callerOf returns the caller of a principal. session is the access key of its session, "" for none.
func (s *Service) callerOf(ctx context.Context, principal, session string) (Caller, error) {
	u, err := s.subject(ctx, principal, session)
	if err != nil {
		return Caller{}, err
	}
	return u.Caller, nil
}

// gone reports whether err says that a principal or its session does not exist.
func gone(err error) bool {
	return errors.Is(err, fault.NoSuchEntity) || errors.Is(err, fault.AccountNotFound) || errors.Is(err, fault.AccessKeyNotFound)
}

// KeyCaller returns the caller to which an active access key belongs. id must come from an authentic value, such as a
// signed address: KeyCaller verifies no signature.
//
// Errors: fault.ExpiredCredentials (the key, its session or its principal was deleted, is inactive or has expired).
func (s *Service) KeyCaller(ctx context.Context, id string) (Caller, error) {
	ended := fault.ExpiredCredentials.New("the access key behind this address is no longer active")
	who, err := s.keyCaller(ctx, id, true)
	if gone(err) || errors.Is(err, errInactive) {
		return Caller{}, ended.Because(err)
	}
	return who, err
}

// operatorARN is the ARN of the operator.
const operatorARN = "arn:aws:iam:::operator"

var errInactive = errors.New("inactive")

// keyCaller returns the caller to which an access key belongs, long-term or of a session. With running, an expired
// session is an error. Without, it is accepted: a docker token stays valid for 12 hours, even if its session ends
// earlier.
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
