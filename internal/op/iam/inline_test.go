package iam_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// push is a policy that differs from pull.
const push = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"}]}`

func TestInlinePolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	for _, h := range w.holders(t) {
		put := func(policyName, text string) {
			if err := h.put("x", policyName, text); err != nil {
				t.Fatalf("put %s of the %s: %v", policyName, h.what, err)
			}
		}
		put("b", pull)
		put("A", pull)
		put("b", push)
		for policyName, want := range map[string]string{"A": pull, "b": push} {
			if got, err := h.get("x", policyName); err != nil || got != want {
				t.Errorf("the policy %s of the %s: got %q, %v, want %q", policyName, h.what, got, err, want)
			}
		}
		first, marker, err := h.inline("x", "", 1)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the first page of the "+h.what, first, []string{"A"})
		second, marker, err := h.inline("x", marker, 1)
		if err != nil || marker != "" {
			t.Errorf("the second page of the %s: got the marker %q, %v, want no more", h.what, marker, err)
		}
		same(t, "the second page of the "+h.what, second, []string{"b"})

		_, err = h.get("x", "a")
		wantCode(t, "a policy of the "+h.what+" in another case", err, fault.NoSuchEntity)
		if text := fault.From(err).Public; !strings.Contains(text, h.what+" policy with name a") {
			t.Errorf("its text is %q, want it to name the policy", text)
		}
		_, err = h.get("nobody", "b")
		wantCode(t, "a policy of a "+h.what+" that is not there", err, fault.NoSuchEntity)
		_, _, err = h.inline("nobody", "", 0)
		wantCode(t, "the policies of a "+h.what+" that is not there", err, fault.NoSuchEntity)
		_, _, err = h.inline("x", "nonsense", 0)
		wantCode(t, "a wrong marker of the "+h.what, err, fault.Validation)
		wantCode(t, "put one of a "+h.what+" that is not there", h.put("nobody", "b", pull), fault.NoSuchEntity)
		wantCode(t, "delete one of a "+h.what+" that is not there", h.remove("nobody", "b"), fault.NoSuchEntity)
		wantCode(t, "delete one that the "+h.what+" does not have", h.remove("x", "none"), fault.NoSuchEntity)
		err = h.put("x", "c", "{\n\"Statement\":1}")
		wantCode(t, "put what is no policy of the "+h.what, err, fault.MalformedPolicyDocument)
		if text := fault.From(err).Public; !strings.Contains(text, "line 2, column 13") {
			t.Errorf("its text is %q, want the place in it", text)
		}

		if err := h.remove("x", "b"); err != nil {
			t.Errorf("delete b of the %s: %v", h.what, err)
		}
		left, _, err := h.inline("x", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "what is left of the "+h.what, left, []string{"A"})
	}
}

// Source: IAM user guide, IAM and STS quotas.
func TestMaxInlinePolicies(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	// sized returns a policy of n characters and much white space.
	sized := func(n int) string {
		empty := policyOf(allow("ecr:", "*"))
		return strings.Repeat(" \n", 5000) + policyOf(allow("ecr:"+strings.Repeat("a", n-len(empty)), "*"))
	}
	for _, h := range w.holders(t) {
		for _, c := range []struct {
			policyName string
			length     int
			want       error
		}{
			{"a", h.maxInline + 1, fault.LimitExceeded},
			{"a", h.maxInline, nil},
			{"b", 100, fault.LimitExceeded}, // all of them together
			{"a", h.maxInline - 100, nil},   // the old one does not count
			{"b", 100, nil},
			{"b", 101, fault.LimitExceeded},
		} {
			err := h.put("x", c.policyName, sized(c.length))
			if c.want == nil && err != nil {
				t.Errorf("%d characters as %s of the %s: %v", c.length, c.policyName, h.what, err)
			}
			if c.want != nil {
				wantCode(t, h.what, err, fault.LimitExceeded)
			}
		}
	}
}
