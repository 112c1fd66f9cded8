package ociapi_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// A docker token or password that is refused has a line in the audit trail, and ExplainRequest tells cause and cure. The
// answer to docker does not.
func TestRefusedCredentialsAreExplained(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := apptest.Start(t, apptest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	repo := s.Root(t).CreateRepository(t, "team/app")
	explain := func(what string, a *ocitest.Answer, cause, cure string) {
		t.Helper()
		if strings.Contains(string(a.Body), cause) {
			t.Errorf("%s: the answer %s has the cause", what, a.Body)
		}
		var out ecrintypes.ExplainRequestResponse
		s.Operator(t, "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: a.Header.Get(web.RequestIDHeader)}, &out)
		if e := out.Explanation; e.Allowed || !strings.Contains(e.Text, cause) || !strings.Contains(e.Text, cure) {
			t.Errorf("%s: got %+v, want %q and %q", what, e, cause, cure)
		}
	}
	get := func(c ocitest.Client, path string, header ...string) *ocitest.Answer {
		t.Helper()
		return c.Do(t, http.MethodGet, path, nil, header...)
	}
	nobody := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	explain("garbage", get(ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: "garbage"}, "/v2/"),
		"not an authorization token of this installation", "aws ecr get-login-password")
	explain("another user", get(nobody, "/v2/", "Authorization", basic("ann", "x")), "the user AWS", "docker login --username AWS")
	explain("another region", get(s.Root(t).In("eu-west-1").Docker(t), "/v2/team/app/tags/list"),
		"issued for region eu-west-1, used in us-east-1", "--region")

	all := true
	s.Operator(t, "RevokeToken", &ecrintypes.RevokeTokenRequest{All: &all}, &ecrintypes.RevokeTokenResponse{})
	explain("revoked", get(repo.Client, "/v2/"), "revoked", "aws ecr get-login-password")
	old := s.Root(t).Docker(t)
	ahead.Store(int64(identity.TokenLife + time.Second))
	expired := get(old, "/v2/")
	ahead.Store(0)
	explain("expired", expired, "past its 12 hours", "aws ecr get-login-password")

	// Lines are limited, so that they cannot fill the trail; the log has every refusal. No credentials need no line.
	if a := get(nobody, "/v2/"); a.Status != http.StatusUnauthorized {
		t.Errorf("no credentials: got %d, want 401", a.Status)
	} else if err := operatorCall(t, s, a.Header.Get(web.RequestIDHeader)); err == nil {
		t.Error("a request without credentials has a line")
	}
	var last *ocitest.Answer
	for range 150 {
		last = get(ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: "garbage"}, "/v2/")
	}
	id := last.Header.Get(web.RequestIDHeader)
	var page ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{RequestId: id}, &page)
	if len(page.Events) > 0 {
		t.Errorf("the 150th refusal at once has the lines %q, want none", page.Events)
	}
	explain("the 150th at once", last, "not an authorization token of this installation", "aws ecr get-login-password")
}

// operatorCall explains a request as the operator and returns the error.
func operatorCall(t *testing.T, s *apptest.Server, id string) error {
	t.Helper()
	c, err := client.Open(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Call(t.Context(), "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: id}, &ecrintypes.ExplainRequestResponse{})
}
