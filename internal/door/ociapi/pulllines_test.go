package ociapi_test

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// lines stops the server, which writes what waits, starts it again and returns the pull log, the oldest line first.
func (s *chartShop) lines(t *testing.T) []ecrintypes.Pull {
	t.Helper()
	s.Restart(t)
	var out ecrintypes.ListPullsResponse
	s.Operator(t, "ListPulls", &ecrintypes.ListPullsRequest{ApplicationSlug: "shop"}, &out)
	slices.Reverse(out.Pulls)
	return out.Pulls
}

// egress returns the rows of what was sent in the month.
func (s *chartShop) egress(t *testing.T) []ecrintypes.Egress {
	t.Helper()
	var out ecrintypes.ListEgressResponse
	s.Operator(t, "ListEgress", &ecrintypes.ListEgressRequest{ApplicationSlug: "shop"}, &out)
	return out.Egress
}

// Pulls of a chart are in the pull log and count as what was sent, the refused ones as refused.
func TestChartsAreInThePullLog(t *testing.T) {
	t.Parallel()
	s := newChartShop(t)
	s.release(t, "stable", ecrintypes.ReleaseFile{Path: "web.tgz",
		Data: packedChart(t, "web/Chart.yaml", shopMetadata, "web/values.yaml", "replicas: 1\n")})
	big := s.customer(t, "Big", nil, ecrintypes.CustomerChannel{ChannelId: "stable"})
	got := s.pull(t, big, "shop/stable/web", "1.0.0_b1")
	if a := s.get(t, s.customer(t, "Other", nil, ecrintypes.CustomerChannel{ChannelId: "beta"}),
		"shop/stable/web/manifests/1.0.0_b1"); a.Status != 403 {
		t.Errorf("a customer of another channel: got %d, want 403", a.Status)
	}
	lines := s.lines(t)
	if len(lines) != 5 {
		t.Fatalf("got %d lines, want 5: %+v", len(lines), lines)
	}
	var sent int64
	for i, want := range []struct {
		customer string
		action   ecrintypes.PullAction
		digest   string
		status   int32
	}{{"Big", "MANIFEST", got.digest, 200}, {"Big", "MANIFEST", got.digest, 200}, {"Big", "BLOB", ocitest.SHA256(got.content), 200},
		{"Big", "BLOB", "", 200}, {"Other", "MANIFEST", "", 403}} {
		l := lines[i]
		kind := ecrintypes.PullKindCHART
		if want.status == 403 { // what has this path is not told
			kind = ecrintypes.PullKindREGISTRY
		}
		if l.Kind != kind || l.Image != "shop/stable/web" || l.CustomerName != want.customer || l.Action != want.action ||
			want.digest != "" && l.ImageDigest != want.digest || int32(l.HttpStatus) != want.status || (l.ErrorCode == "") != (want.status == 200) {
			t.Errorf("line %d: got %+v, want %+v", i, l, want)
		}
		if want.status == 200 {
			sent += l.SentBytes
		}
	}
	if lines[2].SentBytes != int64(len(got.content)) {
		t.Errorf("the chart: got %d bytes, want %d", lines[2].SentBytes, len(got.content))
	}
	if rows := s.egress(t); len(rows) != 1 || rows[0].Kind != ecrintypes.PullKindCHART || rows[0].Pulls != 2 || rows[0].SentBytes != sent {
		t.Errorf("what was sent: got %+v, want 2 pulls of the chart with %d bytes", rows, sent)
	}
}

// A client that goes away in the middle of a layer has a line that says so, with the status and the bytes that it has taken, which count as
// sent.
func TestIncompletePullsAreInTheLog(t *testing.T) {
	t.Parallel()
	s := newChartShop(t)
	im := ocitest.NewImage(1, 24<<20)
	s.Root(t).CreateRepository(t, "own/app").Push(t, "1", im)
	var made ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &made)
	s.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: made.Customer.CustomerId,
		Repositories: []string{"own/*"}}, new(struct{}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/own/app/blobs/"+ocitest.SHA256(im.Layers[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("x", made.LicenseId)
	resp, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	const read = 100_000
	if _, err := io.CopyN(io.Discard, resp.Body, read); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the beginning of the layer: got %s, %v", resp.Status, err)
	}
	if err := resp.Body.Close(); err != nil { // which cuts the connection
		t.Fatal(err)
	}
	lines := s.lines(t)
	if len(lines) != 1 || lines[0].ErrorCode != "INCOMPLETE" || lines[0].HttpStatus != 200 || lines[0].SentBytes < read ||
		lines[0].SentBytes >= int64(len(im.Layers[0])) {
		t.Fatalf("got the lines %+v, want one INCOMPLETE with the status 200 and %d bytes or more", lines, read)
	}
	if rows := s.egress(t); len(rows) != 1 || rows[0].SentBytes != lines[0].SentBytes || rows[0].Pulls != 0 {
		t.Errorf("what was sent: got %+v, want the %d bytes of the line, and no pull", rows, lines[0].SentBytes)
	}
}
