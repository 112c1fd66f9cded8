// Package identity manages accounts, keys, sessions and tokens, authenticates callers, and collects the policies that
// apply to a caller. It does not decide whether a request is allowed: package guard does.
package identity

import (
	"cmp"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Kind is the kind of principal that a caller is.
type Kind uint8

// The kinds. A caller of the zero Kind is no principal and has no rights.
const (
	NoPrincipal   Kind = iota
	Root               // an account's root user
	Operator           // the operator of the installation, authenticated by the master key
	User               // an IAM user
	RoleSession        // a role, in a session
	FederatedUser      // a federated user, made by GetFederationToken
	WebIdentity        // the subject of an identity provider's token, before it assumes a role
	AWSService         // a service such as lambda.amazonaws.com
	Anonymous          // a caller without credentials, where the operator allows such callers
	Customer           // a customer of an application, by its licence
)

// Caller is the principal that makes a request, with its session. It is a comparable value without secrets.
type Caller struct {
	Kind       Kind
	Account    name.Account // zero for the operator, a service and an anonymous caller; the vendor's for a customer
	ARN        string       // the provider's for a web identity; the name of a service; "" for an anonymous caller
	UserID     string       // as GetCallerIdentity shows it
	Principal  string       // the unique id of the user or role; the account's digits for its root user
	AccessKey  string       // the access key id of the signature, or the one with which the docker token was issued
	SessionKey string       // AccessKey if it belongs to temporary credentials, whose session policies apply too; else ""
	Token      string       // the docker token's id; "" for signed calls
	Limited    string       // the key of limits of a web identity; "" for all others

	Application string // id of the application of a customer; "" for all others
}

// Slug returns the slug of the application of a customer; "" for all others.
func (c Caller) Slug() string {
	if c.Kind != Customer {
		return ""
	}
	_, of, err := name.ParseEntityARN(c.ARN)
	if err != nil {
		return ""
	}
	slug, _, _ := strings.Cut(of.Name, "/")
	return slug
}

// LimitKey returns the key under which limits count the requests of a caller: the unique id of its user or role (the
// same for all its sessions), the account's digits for the root user, the account of its role for a web identity, or UserID for
// another caller that is no principal of an account. So all subjects of an account's identity providers share one: who has an
// issuer can make any number of subjects.
func (c Caller) LimitKey() string { return cmp.Or(c.Principal, c.Limited, c.UserID) }

// In returns the caller with its ARN in the form of a partition. Its rights are the same in all partitions. The
// operator's ARN is the same in all partitions.
func (c Caller) In(partition string) Caller {
	if c.Kind == Operator {
		return c
	}
	c.ARN, c.UserID = name.InPartition(c.ARN, partition), name.InPartition(c.UserID, partition)
	return c
}

// RootARN returns the ARN of an account's root user in the default partition.
func RootARN(account name.Account) string {
	return name.Entity{Kind: name.AccountRoot}.ARN(name.DefaultPartition, account).String()
}

// RoleSessionARN returns the ARN of a session of a role in the default partition.
func RoleSessionARN(account name.Account, role, session string) string {
	return name.Entity{Kind: name.AssumedRole, Name: role, Session: session}.ARN(name.DefaultPartition, account).String()
}

// FederatedARN returns the ARN of a federated user in the default partition.
func FederatedARN(account name.Account, user string) string {
	return name.Entity{Kind: name.FederatedUser, Name: user}.ARN(name.DefaultPartition, account).String()
}
