package explain_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// Context has all condition keys, sorted and in the spelling of AWS.
func TestContext(t *testing.T) {
	t.Parallel()
	c := &policy.Context{Time: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC), SourceIP: netip.MustParseAddr("203.0.113.7")}
	c.Set("aws:principalarn", "arn:aws:iam::111111111111:user/alice")
	c.Set("aws:principaltag/Team", "web")
	c.Set("ECR:resourcetag/owner", "a")
	c.Set("aws:requesttag/", "no tag")
	c.SetList("ecrin:imagetag", "1.0", "latest")
	c.Set("token.example.com:sub", "repo:web")
	r := &policy.Request{Caller: user(owner), Action: "ecr:BatchGetImage", Resource: web, ResourceAccount: owner, Context: c}
	want := []ecrintypes.ContextEntry{
		{Key: "aws:CurrentTime", Values: []string{"2026-08-01T12:00:00Z"}},
		{Key: "aws:EpochTime", Values: []string{"1785585600"}},
		{Key: "aws:PrincipalArn", Values: []string{"arn:aws:iam::111111111111:user/alice"}},
		{Key: "aws:PrincipalTag/team", Values: []string{"web"}},
		{Key: "aws:SourceIp", Values: []string{"203.0.113.7"}},
		{Key: "aws:requesttag/", Values: []string{"no tag"}},
		{Key: "ecr:ResourceTag/owner", Values: []string{"a"}},
		{Key: "ecrin:ImageTag", Values: []string{"1.0", "latest"}},
		{Key: "token.example.com:sub", Values: []string{"repo:web"}},
	}
	if diff := cmp.Diff(want, explain.Of(r, policy.Explain(&policy.Policies{}, r)).Context); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
	r.Context = nil
	if got := explain.Of(r, policy.Explain(&policy.Policies{}, r)).Context; got == nil || len(got) > 0 {
		t.Errorf("without a context: got %#v, want an empty list", got)
	}
}
