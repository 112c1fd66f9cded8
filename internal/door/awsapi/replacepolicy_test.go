package awsapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

const replaced = `{"Version":"2012-10-17","Statement":[{"Sid":"%s","Effect":"Allow","Principal":"*","Action":"ecr:*"}]}`

// A policy is replaced only by a request that names the one in force; an empty text deletes it.
func TestReplaceRepositoryPolicy(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	replace := func(text, hash string) answer {
		return s.access(s.key, "ReplaceRepositoryPolicy", object("repositoryName", "app", "policyText", text, "expectedPolicyHash", hash), nil)
	}
	replace(fmt.Sprintf(replaced, "A"), policy.Hash("x")).want(t, "another policy than none", 400, "PolicyChangedException", "another one")
	if a := replace(fmt.Sprintf(replaced, "A"), "none"); a.Status != 200 {
		t.Fatalf("got %s", a)
	}
	now := s.policyOf("app")
	replace(fmt.Sprintf(replaced, "B"), "none").want(t, "none, but there is one", 400, "PolicyChangedException", "another one")
	replace("{", policy.Hash(now)).want(t, "a text that is no policy", 400, "InvalidParameterException", "PolicyText")
	deny := strings.ReplaceAll(fmt.Sprintf(replaced, "C"), "Allow", "Deny")
	replace(deny, policy.Hash(now)).want(t, "a policy that locks out", 400, "InvalidParameterException", "could not set a policy again")
	if got := s.policyOf("app"); got != now {
		t.Errorf("refused requests have set the policy %s", got)
	}
	if a := replace("", policy.Hash(now)); a.Status != 200 || s.policyOf("app") != "" {
		t.Errorf("deleting it: got %s, then %s", a, s.policyOf("app"))
	}
}

// Of requests at the same time that have all seen the same policy, one replaces it, and all others are told.
func TestReplaceRepositoryPolicyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	for round := range 5 {
		seen := policy.Hash(s.policyOf("app"))
		var wg sync.WaitGroup
		answers := make([]answer, 8)
		for i := range answers {
			wg.Go(func() {
				text := fmt.Sprintf(replaced, fmt.Sprint("R", round, "x", i))
				answers[i] = s.access(s.key, "ReplaceRepositoryPolicy",
					object("repositoryName", "app", "policyText", text, "expectedPolicyHash", seen), nil)
			})
		}
		wg.Wait()
		won := 0
		for i, a := range answers {
			switch {
			case a.Status == 200:
				won++
				if want := fmt.Sprint("R", round, "x", i); !strings.Contains(s.policyOf("app"), want) {
					t.Errorf("%s was answered with success, and the policy is %s", want, s.policyOf("app"))
				}
			case a.Type != "PolicyChangedException":
				t.Errorf("got %s", a)
			}
		}
		if won != 1 {
			t.Errorf("got %d requests that replaced the policy, want 1", won)
		}
	}
}
