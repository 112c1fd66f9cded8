package identity

import (
	"errors"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Malformed is the answer of IAM and STS to a policy that cannot be read: fault.MalformedPolicyDocument, with line, column and
// reason where err is one of policy.Parse. Source: IAM API reference, MalformedPolicyDocument.
func Malformed(err error) error {
	var p *policy.Problem
	if !errors.As(err, &p) {
		return fault.MalformedPolicyDocument.New("Syntax errors in policy.").Because(err)
	}
	where := ""
	if p.Path != "" {
		where = " in " + p.Path
	}
	return fault.MalformedPolicyDocument.New("Syntax error in policy at line %d, column %d%s: %s.", p.Line, p.Column, where, p.Reason).Because(err)
}
