package ecrin

import (
	"context"
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// OnPulls resolves a customer whose pulls or egress are read, or with no customerId all customers of the application.
func OnPulls[In customerNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Licensee], error) {
	if in.GetCustomerId() != "" {
		return OnCustomer(s, ctx, req, in)
	}
	a, err := onCustomers(s, ctx, req, in)
	return guard.Target[Licensee]{Value: Licensee{Shipped: a.Value}, Asks: a.Asks, Absent: a.Absent}, err
}

// names returns the names of customers by their ids, "" for those that do not exist any more.
func (s *Service) names(ctx context.Context, a meta.Application) func(id string) (string, error) {
	known := map[string]string{"": ""}
	return func(id string) (string, error) {
		if label, ok := known[id]; ok {
			return label, nil
		}
		c, err := s.meta.Customer(ctx, a, id)
		if errors.Is(err, fault.ObjectNotFound) {
			err = nil
		}
		known[id] = c.Name
		return c.Name, err
	}
}

// ListPulls lists the pull log of an application, the newest lines first: requests of customers about images and charts, and refused ones
// without a valid licence. Without times it begins 24 hours ago and ends now. One page looks at 5,000 lines, so that it may have fewer that
// the filters select. Lines appear after up to 5 seconds.
//
// Errors: fault.InvalidParameter (nextToken, the times, or customerId with withoutLicense).
func (s *Service) ListPulls(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.ListPullsRequest) (
	*ecrintypes.ListPullsResponse, error) {
	q := meta.PullQuery{Application: at.ID, Image: in.ImagePrefix, Failed: yes(in.Failed), To: s.now().Add(time.Second)}
	switch {
	case yes(in.WithoutLicense) && in.CustomerId != "":
		return nil, ecr.BadMember("withoutLicense", "cannot be used with customerId")
	case yes(in.WithoutLicense):
		q.Customer = new(string)
	case in.CustomerId != "":
		q.Customer = &at.Customer.ID
	}
	if in.HttpStatus != nil {
		q.Status = int(*in.HttpStatus)
	}
	if in.EndTime != nil {
		q.To = in.EndTime.Time
	}
	q.From = q.To.Add(-24 * time.Hour)
	if in.StartTime != nil {
		q.From = in.StartTime.Time
	}
	if q.From.After(q.To) {
		return nil, ecr.BadMember("startTime", "must not be after endTime")
	}
	scope, after := "ListPulls "+at.ID+" "+in.CustomerId+" "+in.ImagePrefix, meta.PullLineKey{}
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	rows, next, err := s.meta.Pulls(ctx, q, after, pageSize(in.MaxResults, 1000))
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListPullsResponse{Pulls: make([]ecrintypes.Pull, 0, len(rows))}
	if !next.Zero() {
		out.NextToken = s.pages.Listing(scope).SealJSON(next)
	}
	label := s.names(ctx, at.Application)
	for _, l := range rows {
		one := ecrintypes.Pull{At: *awswire.At(l.At), CustomerId: l.Customer, TokenName: l.Token, Kind: ecrintypes.PullKind(l.Kind),
			Action: ecrintypes.PullAction(l.Action), Image: l.Image, Reference: l.Reference, ImageDigest: l.Digest, SentBytes: l.Sent,
			Address: l.Address, UserAgent: l.Agent, HttpStatus: int32(l.Status), ErrorCode: l.Code, UpstreamCode: l.UpstreamCode,
			RequestId: l.Request}
		if l.UpstreamStatus != 0 {
			one.UpstreamStatus = new(int32(l.UpstreamStatus))
		}
		if one.CustomerName, err = label(l.Customer); err != nil {
			return nil, err
		}
		out.Pulls = append(out.Pulls, one)
	}
	return out, nil
}

// egressPlace is where a listing of egress continues.
type egressPlace struct{ Customer, Kind, Image string }

// ListEgress lists what was sent to customers in a month, the present one without month: by customer and image, by customer, or by image.
// By customer the first row, without a customer, is the sum of all. A row without an image is of all images beyond the
// first 1,000 of a customer.
//
// Errors: fault.InvalidParameter (nextToken, month, or groupBy with customerId).
func (s *Service) ListEgress(ctx context.Context, _ identity.Caller, at Licensee, in *ecrintypes.ListEgressRequest) (
	*ecrintypes.ListEgressResponse, error) {
	month := meta.MonthOf(s.now())
	var err error
	if in.Month != "" {
		if month, err = meta.ParseMonth(in.Month); err != nil {
			return nil, err
		}
	}
	if in.GroupBy != "" && in.CustomerId != "" {
		return nil, ecr.BadMember("groupBy", "cannot be used with customerId: its rows are by image")
	}
	scope := "ListEgress " + at.ID + " " + in.CustomerId + " " + month.String() + " " + string(in.GroupBy)
	var place *egressPlace
	if in.NextToken != "" {
		place = &egressPlace{}
		if err := s.resume(scope, in.NextToken, place); err != nil {
			return nil, err
		}
	}
	limit := pageSize(in.MaxResults, 1000)
	rows, err := s.egress(ctx, at, in, month, place, limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListEgressResponse{Egress: []ecrintypes.Egress{}}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		out.NextToken = s.pages.Listing(scope).SealJSON(egressPlace{last.Customer, last.Kind, last.Image})
	}
	label := s.names(ctx, at.Application)
	for _, e := range rows {
		one := ecrintypes.Egress{Month: month.String(), CustomerId: e.Customer, Kind: ecrintypes.PullKind(e.Kind), Image: e.Image, Pulls: e.Pulls,
			SentBytes: e.Sent}
		if one.CustomerName, err = label(e.Customer); err != nil {
			return nil, err
		}
		out.Egress = append(out.Egress, one)
	}
	return out, nil
}

// monthsShown is how many months ListEgressMonths returns.
const monthsShown = 12

// ListEgressMonths returns what was sent to a customer, or without a customer to all of the application, in each of the last 12 months, the
// oldest first, and the threshold of a month if there is one.
func (s *Service) ListEgressMonths(ctx context.Context, _ identity.Caller, at Licensee, _ *ecrintypes.ListEgressMonthsRequest) (
	*ecrintypes.ListEgressMonthsResponse, error) {
	out := &ecrintypes.ListEgressMonthsResponse{}
	now := s.now().UTC()
	for i := range monthsShown {
		month := meta.MonthOf(time.Date(now.Year(), now.Month()-time.Month(monthsShown-1-i), 1, 0, 0, 0, 0, time.UTC))
		sent, _, err := s.meta.EgressOf(ctx, meta.EgressThreshold{Application: at.ID, Customer: at.Customer.ID}, month)
		if err != nil {
			return nil, err
		}
		out.Months = append(out.Months, ecrintypes.EgressOfMonth{Month: month.String(), SentBytes: sent})
	}
	h, err := s.meta.EgressThreshold(ctx, at.ID, at.Customer.ID)
	if errors.Is(err, fault.ObjectNotFound) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	one, err := s.thresholdOf(ctx, h, at.Customer.Name)
	out.Threshold = &one
	return out, err
}

func (s *Service) egress(ctx context.Context, at Licensee, in *ecrintypes.ListEgressRequest, month meta.Month,
	place *egressPlace, limit int) (
	[]meta.Egress, error) {
	after := meta.EgressKey{}
	if place != nil {
		after = meta.EgressKey(*place)
	}
	switch {
	case in.GroupBy == ecrintypes.EgressGroupCUSTOMER:
		return s.meta.EgressOfCustomers(ctx, at.ID, month, after.Customer, place == nil, limit)
	case in.GroupBy == ecrintypes.EgressGroupIMAGE, in.CustomerId != "":
		return s.meta.EgressOfImages(ctx, at.ID, month, at.Customer.ID, after, place == nil, limit)
	}
	return s.meta.Egress(ctx, at.ID, month, after, limit)
}

// PutEgressThreshold sets how much may be sent in a month to a customer, or without a customer to all of the
// application, before there is an event: one in each month, in the region of this request. With 0 bytes there is no threshold any more.
//
// Errors: fault.ObjectNotFound.
func (s *Service) PutEgressThreshold(ctx context.Context, by identity.Caller, at Licensee, in *ecrintypes.PutEgressThresholdRequest) (
	*ecrintypes.EgressThresholdResponse, error) {
	h, err := s.meta.PutEgressThreshold(ctx, meta.EgressThreshold{Application: at.ID, Customer: at.Customer.ID, Bytes: in.Bytes,
		Region: at.Region.String(), UpdatedBy: by.ARN})
	if err != nil {
		return nil, err
	}
	one, err := s.thresholdOf(ctx, h, at.Customer.Name)
	return &ecrintypes.EgressThresholdResponse{Threshold: one}, err
}

func (s *Service) thresholdOf(ctx context.Context, h meta.EgressThreshold, label string) (ecrintypes.EgressThreshold, error) {
	sent, reached, err := s.meta.EgressOf(ctx, h, meta.MonthOf(s.now()))
	one := ecrintypes.EgressThreshold{CustomerId: h.Customer, CustomerName: label, Bytes: h.Bytes, SentBytes: sent, Region: h.Region,
		UpdatedAt: *awswire.At(h.UpdatedAt), UpdatedBy: h.UpdatedBy}
	if !reached.IsZero() {
		one.ReachedAt = awswire.At(reached)
	}
	return one, err
}

// OnThresholds resolves the application whose thresholds are listed. They tell about all customers.
func OnThresholds(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListEgressThresholdsRequest) (
	guard.Target[Shipped], error) {
	return onCustomers(s, ctx, req, in)
}

// ListEgressThresholds lists the thresholds of an application, the one of all customers first, with what was sent in the present month.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListEgressThresholds(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ListEgressThresholdsRequest) (
	*ecrintypes.ListEgressThresholdsResponse, error) {
	scope, after := "ListEgressThresholds "+at.ID, ""
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	rows, err := s.meta.EgressThresholds(ctx, at.ID, after, in.NextToken == "", limit+1)
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListEgressThresholdsResponse{Thresholds: []ecrintypes.EgressThreshold{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.NextToken = s.pages.Listing(scope).SealJSON(rows[limit-1].Customer)
	}
	label := s.names(ctx, at.Application)
	for _, h := range rows {
		of, err := label(h.Customer)
		if err != nil {
			return nil, err
		}
		one, err := s.thresholdOf(ctx, h, of)
		if err != nil {
			return nil, err
		}
		out.Thresholds = append(out.Thresholds, one)
	}
	return out, nil
}
