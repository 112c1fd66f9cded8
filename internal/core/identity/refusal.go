package identity

import "github.com/ecrin-dev/ecrin/internal/word/name"

// Refusal is an error of credentials that were presented and are not valid. It wraps the error for the client, which does not
// tell the cause, because a stranger could learn from it which keys exist. The audit trail has the cause.
type Refusal struct {
	Err       error
	Account   name.Account // the account of the token or key; none if it is not known
	AccessKey string       // the access key that signed or with which the token was requested; "" if it is not known
	Class     RefusalClass // what is wrong, as one of few values
	Cause     string       // what is wrong, without secrets; the client chooses parts of it
	Cure      string       // what the user can do
	Customer  Caller       // whose licence is not valid any more; the zero value for all others
}

// RefusalClass is the class of a refusal. No part of it comes from the client.
type RefusalClass string

// The classes of refusals.
const (
	RefusedSignature   RefusalClass = "signature"    // it does not match, or is not of this time
	RefusedScope       RefusalClass = "scope"        // the signature is for another host, region or service
	RefusedKey         RefusalClass = "key"          // unknown, or without its session token
	RefusedInactive    RefusalClass = "inactive key" // of the signature or the token
	RefusedSession     RefusalClass = "session"      // of another key, ended, or its session token is not valid
	RefusedExpired     RefusalClass = "expired"      // temporary credentials or token
	RefusedDeleted     RefusalClass = "deleted"      // the principal, or the key or account of a token
	RefusedToken       RefusalClass = "token"        // not a token of this installation
	RefusedRegion      RefusalClass = "region"       // the token is for another region
	RefusedRevoked     RefusalClass = "revoked"      // the token
	RefusedCredentials RefusalClass = "credentials"  // no credentials for docker
)

// Error returns the text of the wrapped error and the cause.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Cause }

// Unwrap returns the error for the client.
func (r *Refusal) Unwrap() error { return r.Err }

// The cures of refusals.
const (
	cureToken  = "Log in again with a new token: aws ecr get-login-password"
	cureRegion = "Request the token in the region of the registry: aws ecr get-login-password --region REGION"
	cureKey    = "Use an active access key of this server: `ecrin env` prints one, `ecrin account keys --all` lists them"
	cureSecret = "Compare the secret access key with the one that was printed when the key was created, and check the clock and any proxy that changes requests"
	cureExpiry = "Request new temporary credentials, such as with aws sts assume-role"
)
