package outside_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Neither the log of the server, nor the audit trail, nor the pull log has a licence, a token or a password of the external
// registry, also of requests that are refused or fail.
func TestPullsLeaveNoSecrets(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	id, license := s.customer(t, "shop", "big", "*")
	var token ecrintypes.CustomerTokenResponse
	s.ok(t, "CreateCustomerToken", ecrintypes.CustomerTokenRequest{ApplicationSlug: "shop", CustomerId: id, TokenName: "east"}, &token)
	madeUp := strings.Repeat("b", 27)
	path := "proxy/shop/aws/demo-apps/nginx/manifests/"
	for _, password := range []string{license, token.Token, madeUp} {
		for _, reference := range []string{"1", "2"} {
			get(t, s.near, password, http.MethodGet, path+reference)
			get(t, s.near, "", http.MethodGet, path+reference, "Authorization", "Bearer "+password)
		}
		get(t, s.near, password, http.MethodGet, "token?scope=repository:proxy/shop/aws/demo-apps/nginx:pull")
	}
	s.ok(t, "UpdateCustomer", ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, Archived: new(true)}, nil)
	get(t, s.near, license, http.MethodGet, path+"1").Want(t, 401)
	lines := s.pulls(t, ecrintypes.ListPullsRequest{})
	if len(lines) < 10 {
		t.Errorf("got %d lines, want one of each request", len(lines))
	}
	var trail ecrintypes.ListAuditEventsResponse
	s.ok(t, "ListAuditEvents", ecrintypes.ListAuditEventsRequest{MaxResults: new(int32(1000))}, &trail)
	var events ecrintypes.ListEventsResponse
	s.ok(t, "ListEvents", ecrintypes.ListEventsRequest{Since: awswire.At(time.Now().Add(-time.Hour)), MaxResults: new(int32(1000))}, &events)
	for where, text := range map[string]string{"the pull log": shown(lines), "the audit trail": shown(trail), "the log": s.near.Log.String(),
		"the events": shown(events)} {
		if len(text) < 100 {
			t.Errorf("%s is empty: %s", where, text)
		}
		for what, secret := range map[string]string{"the licence": license, "the token": token.Token, "a licence that does not exist": madeUp,
			"the key of the registry": s.secret} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", where, what)
			}
		}
	}
	if got := shown(events); strings.Count(got, "PULL_DENIED") < 2 || !strings.Contains(got, "big") {
		t.Errorf("got the events %s, want the denials of big and of a licence that does not exist", got)
	}
}
