package iam_test

import (
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestPermissionsBoundaries(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	own := w.policy(t, "", "p")
	theirs := do(t, w.CreatePolicy, w.stranger, iamtypes.CreatePolicyRequest{PolicyName: "p", PolicyDocument: pull}).Policy.Arn
	for _, h := range w.holders(t) {
		if h.setBoundary == nil {
			continue
		}
		for _, arn := range []string{own, pullOnly, pullOnly} {
			if err := h.setBoundary("x", arn); err != nil {
				t.Errorf("%s as the boundary of the %s: %v", arn, h.what, err)
			}
			if got := h.boundaryOf(); got != arn {
				t.Errorf("the boundary of the %s is %q, want %q", h.what, got, arn)
			}
		}
		for arn, want := range map[string]fault.Code{
			theirs:                                  fault.NoSuchEntity,
			"arn:aws:iam::111122223333:policy/none": fault.NoSuchEntity,
			serviceLinked:                           fault.PolicyNotAttachable,
			"arn:aws:iam::111122223333:role/x":      fault.InvalidInput,
		} {
			wantCode(t, arn+" as the boundary of the "+h.what, h.setBoundary("x", arn), want)
		}
		if got := h.boundaryOf(); got != pullOnly {
			t.Errorf("after others were refused the boundary of the %s is %q, want %q", h.what, got, pullOnly)
		}
		for range 2 { // the second time there is none
			if err := h.dropBoundary("x"); err != nil {
				t.Errorf("take the boundary of the %s away: %v", h.what, err)
			}
			if got := h.boundaryOf(); got != "" {
				t.Errorf("the boundary of the %s is %q, want none", h.what, got)
			}
		}
		wantCode(t, "set that of a "+h.what+" that is not there", h.setBoundary("nobody", own), fault.NoSuchEntity)
		wantCode(t, "drop that of a "+h.what+" that is not there", h.dropBoundary("nobody"), fault.NoSuchEntity)
	}
}
