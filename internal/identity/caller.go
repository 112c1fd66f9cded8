// Package identity knows who calls: accounts, access keys, docker tokens, and what each caller may do.
package identity

import (
	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// Kind is what sort of principal a caller is.
type Kind uint8

// The kinds. The zero Kind is nobody.
const (
	Nobody   Kind = iota
	Root          // an account's root user
	Operator      // whoever holds the installation's master key
)

// Caller is a principal with its session: who makes a request. It is a value and holds no secrets.
type Caller struct {
	Kind      Kind
	Account   name.Account // none for the operator
	ARN       string
	UserID    string // as GetCallerIdentity shows it
	AccessKey string // the access key id that signed, or with which the docker token was got
	Token     string // the docker token's id; "" for signed calls
}

func rootOf(account name.Account, key string) Caller {
	return Caller{Kind: Root, Account: account, ARN: RootARN(account), UserID: account.String(), AccessKey: key}
}

// RootARN is the ARN of an account's root user.
func RootARN(account name.Account) string { return "arn:aws:iam::" + account.String() + ":root" }

// Access is one thing that a caller wants to do: an IAM action on a resource.
type Access struct {
	Action   string       // such as ecr:PutImage
	Account  name.Account // the owner of the resource; none for what belongs to nobody (a token for oneself)
	Resource string       // ARN, or "*" for an action without resource
}

// Authorize decides whether the caller may do it, and says why not. Root may do everything in its own account and
// nothing in another's; the operator may only call ecrin's own operations.
// Errors: fault.AccessDenied, in the words of AWS.
// Source: IAM user guide, policy evaluation logic; troubleshooting access denied messages.
func Authorize(c Caller, a Access) error {
	switch {
	case c.Kind == Operator && len(a.Action) > 6 && a.Action[:6] == "ecrin:":
		return nil
	case c.Kind == Root && (a.Account == name.Account{} || a.Account == c.Account) && !operatorOnly[a.Action]:
		return nil
	case c.Kind == Root && !operatorOnly[a.Action]:
		return denied(c, a, "no resource-based policy allows the "+a.Action+" action")
	}
	return denied(c, a, "no identity-based policy allows the "+a.Action+" action")
}

// operatorOnly are actions on the installation, which belongs to no account.
var operatorOnly = map[string]bool{
	"ecrin:CreateAccount":         true,
	"ecrin:ListAccounts":          true,
	"ecrin:DeleteAccount":         true,
	"ecrin:GetAccountCredentials": true,
}

func denied(c Caller, a Access, because string) error {
	who := c.ARN
	if who == "" {
		who = "anonymous"
	}
	return fault.AccessDenied.New("User: %s is not authorized to perform: %s on resource: %s because %s", who, a.Action, a.Resource, because)
}
