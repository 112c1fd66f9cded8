// Package identity keeps accounts, keys, sessions and tokens, finds out who calls, and gathers the policies that hold for a
// caller. It does not decide: package guard does.
package identity

import (
	"cmp"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Kind is what sort of principal a caller is.
type Kind uint8

// The kinds. The zero Kind is no principal: such a caller may do nothing.
const (
	NoPrincipal   Kind = iota
	Root               // an account's root user
	Operator           // whoever holds the installation's master key
	User               // an IAM user
	RoleSession        // a role, in a session
	FederatedUser      // who a user has made by GetFederationToken
	WebIdentity        // whoever an identity provider vouches for, before a role is assumed
	AWSService         // a service such as lambda.amazonaws.com
	Anonymous          // no principal in particular, where the operator lets such callers in
	Customer           // a customer of an application, by its licence
)

// Caller is a principal with its session: who makes a request. It is a value and holds no secrets.
type Caller struct {
	Kind       Kind
	Account    name.Account // none for the operator, a service and the anonymous; of a customer the vendor's
	ARN        string       // of a web identity its provider's; of a service its name; "" for the anonymous
	UserID     string       // as GetCallerIdentity shows it
	Principal  string       // the unique id of the user or role; the account's digits for its root user
	AccessKey  string       // the access key id that signed, or with which the docker token was got
	SessionKey string       // AccessKey if it belongs to temporary credentials, whose session policies hold too; else ""
	Token      string       // the docker token's id; "" for signed calls
}

// LimitKey returns the key under which limits count what a caller has under way: the unique id of its user or role, whatever
// the session is called, the account's digits for the root user, and UserID for a caller that is no principal of an account.
func (c Caller) LimitKey() string { return cmp.Or(c.Principal, c.UserID) }

// In is the caller with its ARN as a partition has it. Its rights are the same in all partitions. The operator has one ARN.
func (c Caller) In(partition string) Caller {
	if c.Kind == Operator {
		return c
	}
	c.ARN, c.UserID = name.InPartition(c.ARN, partition), name.InPartition(c.UserID, partition)
	return c
}

// RootARN is the ARN of an account's root user in the default partition, as those below.
func RootARN(account name.Account) string {
	return name.Entity{Kind: name.AccountRoot}.ARN(name.DefaultPartition, account).String()
}

// RoleSessionARN is the ARN of a session of a role.
func RoleSessionARN(account name.Account, role, session string) string {
	return name.Entity{Kind: name.AssumedRole, Name: role, Session: session}.ARN(name.DefaultPartition, account).String()
}

// FederatedARN is the ARN of a federated user.
func FederatedARN(account name.Account, user string) string {
	return name.Entity{Kind: name.FederatedUser, Name: user}.ARN(name.DefaultPartition, account).String()
}
