package ecrin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// Licensee is a customer on which a request acts, with its application.
type Licensee struct {
	Shipped
	Customer meta.Customer
}

// OnNewCustomer resolves the application of a customer that is made.
func OnNewCustomer(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.CreateCustomerRequest) (
	guard.Target[Shipped], error) {
	return onCustomers(s, ctx, req, in)
}

// OnCustomers resolves the application whose customers are listed.
func OnCustomers(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListCustomersRequest) (guard.Target[Shipped], error) {
	return onCustomers(s, ctx, req, in)
}

func onCustomers(s *Service, ctx context.Context, req guard.Request, in applicationNamed) (guard.Target[Shipped], error) {
	t, err := onApplication(s, ctx, req, in, in.GetApplicationSlug())
	if err == nil {
		t.Asks[0].Resource = meta.CustomerARN(t.Value.Account, t.Value.Slug, "*")
	}
	return t, err
}

// customerNamed is an input with the members accountId, applicationSlug and customerId.
type customerNamed interface {
	applicationNamed
	GetCustomerId() string
}

// OnCustomer resolves a customer by its id. The vendor's own id does not name it here: a policy has the id.
func OnCustomer[In customerNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Licensee], error) {
	a, err := onApplication(s, ctx, req, in, in.GetApplicationSlug())
	t := guard.Target[Licensee]{Value: Licensee{Shipped: a.Value}, Asks: a.Asks, Absent: a.Absent}
	if err != nil {
		return t, err
	}
	t.Asks[0].Resource = meta.CustomerARN(a.Value.Account, a.Value.Slug, in.GetCustomerId())
	if t.Absent != nil {
		return t, nil
	}
	t.Value.Customer, t.Absent, err = s.customerByID(ctx, a.Value.Application, in.GetCustomerId())
	return t, err
}

// OnChangedCustomer resolves a customer that is changed. Archiving one, and taking it back, is an action of its own: a change of nothing
// else needs that action alone.
func OnChangedCustomer(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.UpdateCustomerRequest) (
	guard.Target[Licensee], error) {
	t, err := OnCustomer(s, ctx, req, in)
	if err != nil || in.Archived == nil {
		return t, err
	}
	archive, rest := t.Asks[0], *in
	if archive.Action = "ecrin:UnarchiveCustomer"; *in.Archived {
		archive.Action = "ecrin:ArchiveCustomer"
	}
	rest.Archived = nil
	if reflect.DeepEqual(rest, ecrintypes.UpdateCustomerRequest{AccountId: in.AccountId, ApplicationSlug: in.ApplicationSlug,
		CustomerId: in.CustomerId}) {
		t.Asks = nil
	}
	t.Asks = append(t.Asks, archive)
	return t, nil
}

// OnEntitled resolves a customer, or with no customerId all customers of the application, whose entitlements those of the application are.
func OnEntitled[In customerNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Licensee], error) {
	if in.GetCustomerId() != "" {
		return OnCustomer(s, ctx, req, in)
	}
	a, err := onApplication(s, ctx, req, in, in.GetApplicationSlug())
	return guard.Target[Licensee]{Value: Licensee{Shipped: a.Value}, Asks: a.Asks, Absent: a.Absent}, err
}

var features = map[ecrintypes.CustomerFeature]func(*license.Features) *bool{
	ecrintypes.CustomerFeatureAirgap:                   func(f *license.Features) *bool { return &f.Airgap },
	ecrintypes.CustomerFeatureGitops:                   func(f *license.Features) *bool { return &f.GitOps },
	ecrintypes.CustomerFeatureSnapshot:                 func(f *license.Features) *bool { return &f.Snapshots },
	ecrintypes.CustomerFeatureSupportBundleUpload:      func(f *license.Features) *bool { return &f.SupportUpload },
	ecrintypes.CustomerFeatureIdentityService:          func(f *license.Features) *bool { return &f.IdentityService },
	ecrintypes.CustomerFeatureGeoaxis:                  func(f *license.Features) *bool { return &f.Geoaxis },
	ecrintypes.CustomerFeatureDisasterRecovery:         func(f *license.Features) *bool { return &f.DisasterRecovery },
	ecrintypes.CustomerFeatureEmbeddedClusterDownload:  func(f *license.Features) *bool { return &f.EmbeddedDownload },
	ecrintypes.CustomerFeatureEmbeddedClusterMultiNode: func(f *license.Features) *bool { return &f.EmbeddedNodes },
	ecrintypes.CustomerFeatureKotsInstall:              func(f *license.Features) *bool { return &f.KotsInstall },
}

// fieldOf returns a field of a licence from a request.
//
// Errors: fault.InvalidParameter.
func fieldOf(f ecrintypes.LicenseField) (license.Field, error) {
	out := license.Field{Title: f.Title, Description: f.Description, Type: string(f.ValueType), Hidden: yes(f.Hidden)}
	if out.Type == "" {
		out.Type = string(ecrintypes.FieldTypeString)
	}
	switch f.ValueType {
	case ecrintypes.FieldTypeInteger:
		n, err := strconv.ParseInt(f.Value, 10, 64)
		if err != nil {
			return out, ecr.BadMember("Fields", "must have an integer as the value of the field "+f.Name)
		}
		out.Value = license.Number(n)
	case ecrintypes.FieldTypeBoolean:
		b, err := strconv.ParseBool(f.Value)
		if err != nil {
			return out, ecr.BadMember("Fields", "must have true or false as the value of the field "+f.Name)
		}
		out.Value = license.Flag(b)
	default:
		out.Value = license.Text(f.Value)
	}
	return out, nil
}

// customerChange is what a request says of a customer; nil for what it does not say.
type customerChange struct {
	customID, email *string
	kind            ecrintypes.CustomerType
	expiresAt       *awswire.Time
	channels        []ecrintypes.CustomerChannel
	features        []ecrintypes.CustomerFeature
	fields          []ecrintypes.LicenseField
	// What changes of features and fields; the others stay.
	added, removed []ecrintypes.CustomerFeature
	values         []ecrintypes.LicenseFieldValue
}

// change applies a change to a customer and its details.
//
// Errors: fault.InvalidParameter, fault.ObjectNotFound (a channel).
func (s *Service) change(ctx context.Context, a meta.Application, c *meta.Customer, d *vendor.Details, ch customerChange) error {
	if ch.customID != nil {
		c.CustomID = *ch.customID
	}
	if ch.email != nil {
		d.Email = *ch.email
	}
	if ch.kind != "" {
		d.Type = string(ch.kind)
	}
	if ch.expiresAt != nil {
		c.ExpiresAt = ch.expiresAt.Time
	}
	if ch.channels != nil {
		c.Channels = nil
		for _, of := range ch.channels {
			channel, err := s.meta.Channel(ctx, a.ID, of.ChannelId)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(c.Channels, func(o meta.CustomerChannel) bool { return o.Channel == channel.ID }) {
				return ecr.BadMember("Channels", "must not have the channel "+channel.Slug+" twice")
			}
			one := meta.CustomerChannel{Channel: channel.ID, Default: yes(of.IsDefault)}
			if of.PinnedSequence != nil {
				one.Pinned = max(0, *of.PinnedSequence)
			}
			c.Channels = append(c.Channels, one)
		}
		if n := len(c.Channels); n > 0 && !slices.ContainsFunc(c.Channels, func(o meta.CustomerChannel) bool { return o.Default }) {
			c.Channels[0].Default = true
		}
	}
	if ch.features != nil {
		d.Features = license.Features{}
		for _, f := range ch.features {
			*features[f](&d.Features) = true
		}
	}
	if ch.fields != nil {
		d.Fields = map[string]license.Field{}
		for _, f := range ch.fields {
			if f.Name == license.FieldExpiry {
				return ecr.BadMember("Fields", "must not have the field "+f.Name+": the end of the licence is expiresAt")
			}
			field, err := fieldOf(f)
			if err != nil {
				return err
			}
			d.Fields[f.Name] = field
		}
	}
	for _, f := range ch.added {
		*features[f](&d.Features) = true
	}
	for _, f := range ch.removed {
		if slices.Contains(ch.added, f) {
			return ecr.BadMember("RemovedFeatures", "must not have the feature "+string(f)+", which is also added")
		}
		*features[f](&d.Features) = false
	}
	return setValues(d, ch.values)
}

// setValues changes the values of fields of a licence. A field keeps its type; one that does not exist is made, with a text.
//
// Errors: fault.InvalidParameter.
func setValues(d *vendor.Details, values []ecrintypes.LicenseFieldValue) error {
	if len(values) > 0 && d.Fields == nil {
		d.Fields = map[string]license.Field{}
	}
	for _, v := range values {
		if v.Name == license.FieldExpiry {
			return ecr.BadMember("FieldValues", "must not have the field "+v.Name+": the end of the licence is expiresAt")
		}
		before, ok := d.Fields[v.Name]
		if !ok {
			if before.Title = v.Name; len(d.Fields) >= maxFields {
				return ecr.BadMember("FieldValues", fmt.Sprintf("must not make more than %d fields of a licence", maxFields))
			}
		}
		field, err := fieldOf(ecrintypes.LicenseField{Name: v.Name, Title: before.Title, Description: before.Description, Value: v.Value,
			ValueType: ecrintypes.FieldType(before.Type), Hidden: &before.Hidden})
		if err != nil {
			return err
		}
		d.Fields[v.Name] = field
	}
	return nil
}

// maxFields is the largest number of fields of a licence, as the model has it of a list of them.
const maxFields = 100

// showCustomer returns a customer without its licence. names are the slugs of channels by their ids.
func showCustomer(slug string, c meta.Customer, names map[string]string) (ecrintypes.Customer, error) {
	var d vendor.Details
	if err := json.Unmarshal([]byte(c.Details), &d); err != nil {
		return ecrintypes.Customer{}, fmt.Errorf("reading the details of the customer %s: %w", c.ID, err)
	}
	out := ecrintypes.Customer{CustomerId: c.ID, CustomerName: c.Name, Arn: meta.CustomerARN(c.Account, slug, c.ID), ApplicationSlug: slug,
		CustomId: c.CustomID, Email: d.Email, CustomerType: ecrintypes.CustomerType(d.Type), ExpiresAt: awswire.At(c.ExpiresAt),
		ArchivedAt: awswire.At(c.ArchivedAt), LicenseSequence: c.Sequence, LicenseUsedAt: awswire.At(c.UsedAt), LicenseAddress: c.UsedFrom,
		CreatedAt: awswire.Time{Time: c.CreatedAt},
		UpdatedAt: awswire.Time{Time: c.UpdatedAt}, CreatedBy: c.CreatedBy}
	for _, of := range c.Channels {
		one := ecrintypes.CustomerChannel{ChannelId: of.Channel, ChannelSlug: names[of.Channel], IsDefault: &of.Default}
		if of.Pinned != 0 {
			one.PinnedSequence = &of.Pinned
		}
		out.Channels = append(out.Channels, one)
	}
	for _, f := range slices.Sorted(maps.Keys(features)) {
		if *features[f](&d.Features) {
			out.Features = append(out.Features, f)
		}
	}
	for _, label := range slices.Sorted(maps.Keys(d.Fields)) {
		f := d.Fields[label]
		out.Fields = append(out.Fields, ecrintypes.LicenseField{Name: label, Title: f.Title, Description: f.Description,
			Value: f.Value.String(), ValueType: ecrintypes.FieldType(f.Type), Hidden: &f.Hidden})
	}
	return out, nil
}

// shown returns a customer in the form of an answer.
func (s *Service) shown(ctx context.Context, a meta.Application, c meta.Customer) (ecrintypes.Customer, error) {
	names := map[string]string{}
	for _, of := range c.Channels {
		channel, err := s.meta.Channel(ctx, a.ID, of.Channel)
		if err != nil {
			return ecrintypes.Customer{}, err
		}
		names[of.Channel] = channel.Slug
	}
	return showCustomer(a.Slug, c, names)
}

// CreateCustomer makes a customer with its licence, whose id is in this answer and in GetLicense only. Without channels it is on the
// default channel.
//
// Errors: fault.ObjectNotFound (a channel), and those of vendor.Service.NewCustomer.
func (s *Service) CreateCustomer(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.CreateCustomerRequest) (
	*ecrintypes.CreateCustomerResponse, error) {
	c, d := meta.Customer{Name: in.CustomerName, CreatedBy: by.ARN}, vendor.Details{}
	if in.Channels == nil {
		all, err := s.meta.Channels(ctx, at.ID)
		if err != nil {
			return nil, err
		}
		for _, one := range all {
			if one.Default {
				c.Channels = append(c.Channels, meta.CustomerChannel{Channel: one.ID, Default: true})
			}
		}
	}
	err := s.change(ctx, at.Application, &c, &d, customerChange{customID: &in.CustomId, email: &in.Email, kind: in.CustomerType,
		expiresAt: in.ExpiresAt, channels: in.Channels, features: in.Features, fields: in.Fields})
	if err != nil {
		return nil, err
	}
	c.ID = vendor.NewID(s.now())
	ctx = s.telling(ctx, at, event.Vendor{Action: event.CustomerCreated, CustomerID: c.ID, CustomerName: c.Name, Principal: by.ARN})
	if c, err = s.vendor.NewCustomer(ctx, at.Application, c, d); err != nil {
		return nil, err
	}
	id, err := s.vendor.LicenseID(c)
	if err != nil {
		return nil, err
	}
	one, err := s.shown(ctx, at.Application, c)
	return &ecrintypes.CreateCustomerResponse{Customer: one, LicenseId: id.Reveal()}, err
}

// UpdateCustomer changes what is in the request of a customer. archived ends its licence from the next request on, and begins it again.
// features and fields replace all of them; addedFeatures, removedFeatures and fieldValues change single ones of those that the customer has
// at the moment of the change.
//
// Errors: fault.InvalidParameter, fault.ObjectNotFound (a channel), and those of vendor.Service.ChangeCustomer.
func (s *Service) UpdateCustomer(ctx context.Context, by identity.Caller, at Licensee, in *ecrintypes.UpdateCustomerRequest) (
	*ecrintypes.CustomerResponse, error) {
	c, d := at.Customer, vendor.Details{}
	if err := json.Unmarshal([]byte(c.Details), &d); err != nil {
		return nil, fmt.Errorf("reading the details of the customer %s: %w", c.ID, err)
	}
	if in.CustomerName != "" {
		c.Name = in.CustomerName
	}
	switch {
	case in.Features != nil && (in.AddedFeatures != nil || in.RemovedFeatures != nil):
		return nil, ecr.BadMember("Features", "must not be given together with addedFeatures or removedFeatures")
	case in.Fields != nil && in.FieldValues != nil:
		return nil, ecr.BadMember("Fields", "must not be given together with fieldValues")
	}
	if err := s.change(ctx, at.Application, &c, &d, customerChange{customID: in.CustomId, email: in.Email, kind: in.CustomerType,
		expiresAt: in.ExpiresAt, channels: in.Channels, features: in.Features, fields: in.Fields, added: in.AddedFeatures,
		removed: in.RemovedFeatures, values: in.FieldValues}); err != nil {
		return nil, err
	}
	if yes(in.NeverExpires) {
		if in.ExpiresAt != nil {
			return nil, ecr.BadMember("NeverExpires", "must not be true together with expiresAt")
		}
		c.ExpiresAt = time.Time{}
	}
	switch {
	case in.Archived == nil:
	case *in.Archived && c.ArchivedAt.IsZero():
		c.ArchivedAt = s.now()
	case !*in.Archived:
		c.ArchivedAt = time.Time{}
	}
	change := event.Vendor{Action: event.CustomerUpdated, CustomerID: c.ID, CustomerName: c.Name, Principal: by.ARN}
	if !c.ArchivedAt.IsZero() && at.Customer.ArchivedAt.IsZero() {
		change.Action = event.CustomerArchived
	}
	ctx = s.telling(ctx, at.Shipped, change)
	c, err := s.vendor.ChangeCustomer(ctx, c, d)
	if err != nil {
		return nil, err
	}
	one, err := s.shown(ctx, at.Application, c)
	return &ecrintypes.CustomerResponse{Customer: one}, err
}

// DescribeCustomer returns a customer without its licence.
func (s *Service) DescribeCustomer(ctx context.Context, _ identity.Caller, at Licensee, _ *ecrintypes.CustomerRequest) (
	*ecrintypes.CustomerResponse, error) {
	one, err := s.shown(ctx, at.Application, at.Customer)
	return &ecrintypes.CustomerResponse{Customer: one}, err
}

// ListCustomers lists the customers of an application by name, with their channels; with archived those that are archived too. A namePrefix
// selects those whose name begins with it, a channelId those on a channel, which is named by its id or its slug, and a customerName those
// with this name. An offset selects those after the first ones: the answer then says how many there are.
//
// Errors: fault.InvalidParameter (nextToken), fault.ObjectNotFound (the channel).
func (s *Service) ListCustomers(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.ListCustomersRequest) (
	*ecrintypes.ListCustomersResponse, error) {
	limit := pageSize(in.MaxResults, 100)
	out := &ecrintypes.ListCustomersResponse{Customers: []ecrintypes.Customer{}}
	var rows []meta.Customer
	var err error
	switch {
	case in.NextToken != "" && (in.CustomerName != "" || in.Offset != nil), in.CustomerName != "" && in.Offset != nil:
		return nil, ecr.BadMember("Offset", "must not be given together with customerName or nextToken, nor these together")
	case (in.NamePrefix != "" || in.ChannelId != "") && (in.CustomerName != "" || in.Offset != nil):
		return nil, ecr.BadMember("NamePrefix", "must not be given together with customerName or offset, nor channelId with these")
	case in.CustomerName != "":
		rows, err = s.meta.CustomersNamed(ctx, at.Application, in.CustomerName, yes(in.Archived), limit)
	case in.Offset != nil:
		var total int
		rows, total, err = s.meta.CustomersAt(ctx, at.Application, yes(in.Archived), int(*in.Offset), limit)
		n := int32(total)
		out.TotalCustomers = &n
	default:
		rows, out.NextToken, err = s.pageOfCustomers(ctx, at, in, limit)
	}
	if err != nil {
		return nil, err
	}
	names, on, err := s.channelsOf(ctx, at.Application, rows)
	if err != nil {
		return nil, err
	}
	for _, c := range rows {
		c.Channels = on[c.ID]
		one, err := showCustomer(at.Slug, c, names)
		if err != nil {
			return nil, err
		}
		out.Customers = append(out.Customers, one)
	}
	return out, nil
}

// channelsOf returns the channels of customers by the ids of these, and the slugs of channels by their ids.
func (s *Service) channelsOf(ctx context.Context, a meta.Application, rows []meta.Customer) (
	names map[string]string, on map[string][]meta.CustomerChannel, err error) {
	names = map[string]string{}
	if len(rows) == 0 {
		return names, nil, nil
	}
	first, last := rows[0], rows[len(rows)-1]
	on, err = s.meta.ChannelsOfCustomers(ctx, a, meta.CustomerKey{Name: first.Name, ID: first.ID},
		meta.CustomerKey{Name: last.Name, ID: last.ID})
	for _, all := range on {
		for _, of := range all {
			if err != nil || names[of.Channel] != "" {
				continue
			}
			var channel meta.Channel
			channel, err = s.meta.Channel(ctx, a.ID, of.Channel)
			names[of.Channel] = channel.Slug
		}
	}
	return names, on, err
}

// pageOfCustomers returns a page of customers and the token of the next one.
func (s *Service) pageOfCustomers(ctx context.Context, at Shipped, in *ecrintypes.ListCustomersRequest, limit int) (
	rows []meta.Customer, next string, err error) {
	scope := fmt.Sprintf("ListCustomers %s %v", at.ID, yes(in.Archived))
	if in.NamePrefix != "" || in.ChannelId != "" {
		scope += fmt.Sprintf(" %q %q", in.NamePrefix, in.ChannelId)
	}
	after := meta.CustomerKey{Name: in.NamePrefix}
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, "", err
	}
	if in.ChannelId == "" {
		rows, err = s.meta.Customers(ctx, at.Application, after, yes(in.Archived), limit+1)
	} else {
		var channel meta.Channel
		if channel, err = s.meta.Channel(ctx, at.ID, in.ChannelId); err == nil {
			rows, err = s.meta.CustomersOn(ctx, at.Application, channel.ID, after, yes(in.Archived), limit+1)
		}
	}
	if end := slices.IndexFunc(rows, func(c meta.Customer) bool { return !strings.HasPrefix(c.Name, in.NamePrefix) }); end >= 0 {
		rows = rows[:end] // names are in the order of their bytes
	}
	if err == nil && len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		next = s.pages.Listing(scope).SealJSON(meta.CustomerKey{Name: last.Name, ID: last.ID})
	}
	return rows, next, err
}
