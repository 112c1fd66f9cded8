package policy_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// A permission that a resource policy gives to everyone, narrowed by aws:PrincipalArn, is limited by an explicit denial of
// the boundary or the session policy, and by nothing else of them.
// Source: IAM user guide, policy element Principal, IAM role principals.
func TestEveryoneNarrowedByPrincipalArn(t *testing.T) {
	t.Parallel()
	everyone := func(condition string) string {
		return `{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage","Condition":` + condition + `}`
	}
	const asRole = "aws:PrincipalArn=" + role
	const byARN = `{"ArnEquals":{"aws:PrincipalArn":"` + role + `"}}`
	for what, test := range map[string]struct {
		p    texts
		asks []requestCase
	}{
		"a silent session policy": {texts{repository: everyone(byARN), session: listOnly},
			[]requestCase{{caller: session, keys: asRole, want: allowed}}},
		"a silent boundary": {texts{repository: everyone(byARN), boundary: listOnly},
			[]requestCase{{caller: session, keys: asRole, want: allowed}}},
		"both": {texts{repository: everyone(byARN), boundary: listOnly, session: listOnly},
			[]requestCase{{caller: session, keys: asRole, want: allowed}}},
		"a session that denies": {texts{repository: everyone(byARN), session: noPull},
			[]requestCase{{caller: session, keys: asRole, want: explicit}}},
		"a boundary that denies": {texts{repository: everyone(byARN), boundary: noPull},
			[]requestCase{{caller: session, keys: asRole, want: explicit}}},
		"a pattern": {
			texts{repository: everyone(`{"StringLike":{"AWS:principalarn":"arn:aws:iam::*:role/dep*"}}`),
				session: listOnly}, []requestCase{{caller: session, keys: asRole, want: allowed}}},
		"another role": {texts{repository: everyone(byARN), session: listOnly},
			[]requestCase{{caller: session, keys: asRole + "2", want: implicit}}},
		"a control policy, silent": {texts{repository: everyone(byARN), scp: []string{listOnly}},
			[]requestCase{{caller: session, keys: asRole, want: implicit}}},
		"another condition": {texts{repository: everyone(`{"Bool":{"aws:SecureTransport":"true"}}`), session: listOnly},
			[]requestCase{{caller: session, keys: asRole + " aws:SecureTransport=true", want: implicit}}},
		"everyone but a principal": {texts{repository: everyone(`{"ArnNotEquals":{"aws:PrincipalArn":"` + alice + `"}}`),
			session: listOnly}, []requestCase{{caller: session, keys: asRole, want: implicit}}},
		"whoever has an ARN": {texts{repository: everyone(`{"Null":{"aws:PrincipalArn":"false"}}`), session: listOnly},
			[]requestCase{{caller: session, keys: asRole, want: implicit}}},
		"with IfExists": {texts{repository: everyone(`{"ArnEqualsIfExists":{"aws:PrincipalArn":"` + role + `"}}`),
			session: listOnly}, []requestCase{{caller: session, want: implicit}}},
		"the account, under an ARN": {texts{repository: `{"Effect":"Allow","Principal":` + aws(owner) +
			`,"Action":"ecr:BatchGetImage","Condition":` + byARN + `}`}, []requestCase{{caller: session, keys: asRole, want: implicit}}},
		"across accounts, the own side": {texts{repository: everyone(`{"ArnEquals":{"aws:PrincipalArn":"` + foreigns + `"}}`),
			identity: pull, session: listOnly}, []requestCase{
			{caller: foreign, keys: "aws:PrincipalArn=" + foreigns, want: implicit}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, test.asks...)
		})
	}
	p := texts{repository: everyone(byARN), session: listOnly}.compile(t)
	why := policy.Explain(p, requestCase{caller: session, keys: asRole}.request(t))
	for _, l := range why.Layers {
		const want = "does not count: a resource policy allows the caller itself"
		if l.Layer == policy.LayerSession && l.Note != want {
			t.Errorf("the note of the session policies is %q, want %q", l.Note, want)
		}
	}
}
