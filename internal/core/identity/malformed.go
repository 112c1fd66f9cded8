package identity

import (
	"errors"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Malformed returns the error of IAM and STS for a policy that cannot be parsed: fault.MalformedPolicyDocument with the
// text of AWS. If err comes from policy.Parse, a second line has the line, column and reason.
// Sources: IAM API reference, MalformedPolicyDocument; answers of IAM and STS.
func Malformed(err error) error {
	var p *policy.Problem
	if !errors.As(err, &p) {
		return fault.MalformedPolicyDocument.New("Syntax errors in policy.").Because(err)
	}
	where := ""
	if p.Path != "" {
		where = " in " + p.Path
	}
	sentence := p.AWS
	if sentence == "" {
		sentence = "Syntax errors in policy."
	}
	return fault.MalformedPolicyDocument.New("%s\nAt line %d, column %d%s: %s.", sentence, p.Line, p.Column, where, p.Reason).Because(err)
}
