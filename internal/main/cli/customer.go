package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) customer() *cobra.Command {
	cmd := &cobra.Command{Use: "customer", Short: "Keep the customers of applications, and their tokens",
		Long: `A customer has a licence, whose id is a password for the images of the application, and may have tokens, such as one for each
of its clusters. What it may pull, entitlements say: nothing without one. A CUSTOMER is named by its id, the vendor's id for it, or its name.`,
		Example: "  ecrin customer create my-shop \"Big Corp\" --channel stable --type paid --expires 2027-12-31\n" +
			"  ecrin customer token create my-shop \"Big Corp\" cluster-east\n  ecrin customer archive my-shop \"Big Corp\""}
	token := &cobra.Command{Use: "token", Short: "Make, rotate, revoke and list the tokens of a customer",
		Example: "  ecrin customer token create my-shop \"Big Corp\" cluster-east\n  ecrin customer token rotate my-shop \"Big Corp\" cluster-east"}
	token.AddCommand(c.tokenMade("create", "CreateCustomerToken", "Make a token of a customer, and print it once"),
		c.tokenMade("rotate", "RotateCustomerToken", "Replace a token, and print the new one once: the one before is refused from now on"),
		c.customerTokenRevoke(), c.customerTokenList())
	cmd.AddCommand(c.customerCreate(), c.customerList(), c.customerShow(), c.customerUpdate(), c.customerArchive(), token)
	return cmd
}

// customerFlags are the flags that say what a customer is.
type customerFlags struct {
	changed                       func(flag string) bool
	customID, email, kind, end    string
	channels, features, fieldList []string
}

func (f *customerFlags) add(cmd *cobra.Command) {
	to := cmd.Flags()
	f.changed = to.Changed
	to.StringVar(&f.customID, "custom-id", "", "the vendor's own `id` of the customer")
	to.StringVar(&f.email, "email", "", "e-mail `address`")
	to.StringVar(&f.kind, "type", "", "`type`: dev, trial, paid, community, single-tenant or test (default dev)")
	to.StringVar(&f.end, "expires", "", "`time` at which the licence ends: 2027-12-31 or 2027-12-31T12:00:00Z (default never)")
	to.StringArrayVar(&f.channels, "channel", nil, "`channel` that the customer is on, the first one by default; repeatable")
	to.StringArrayVar(&f.features, "feature", nil, "`feature` of the licence, such as airgap; repeatable")
	to.StringArrayVar(&f.fieldList, "field", nil, "`NAME=VALUE` in the licence: a number, true, false or a text; repeatable")
}

// expiry returns the end of a licence; nil if the flag is not there.
func (f *customerFlags) expiry() (*awswire.Time, error) {
	if f.end == "" {
		return nil, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, f.end); err == nil {
			return &awswire.Time{Time: t}, nil
		}
	}
	return nil, usageError{fmt.Errorf("--expires: %q is no time such as 2027-12-31 or 2027-12-31T12:00:00Z", f.end)}
}

// lists returns the members of a request that are lists; nil for those whose flags are not there.
func (f *customerFlags) lists() (channels []ecrintypes.CustomerChannel, features []ecrintypes.CustomerFeature,
	fields []ecrintypes.LicenseField, err error) {
	for _, one := range f.channels {
		channels = append(channels, ecrintypes.CustomerChannel{ChannelId: one})
	}
	for _, one := range f.features {
		features = append(features, ecrintypes.CustomerFeature(one))
	}
	for _, one := range f.fieldList {
		label, value, ok := strings.Cut(one, "=")
		if !ok {
			return nil, nil, nil, usageError{fmt.Errorf("--field: %q is not NAME=VALUE", one)}
		}
		field := ecrintypes.LicenseField{Name: label, Value: value, ValueType: ecrintypes.FieldTypeString}
		if _, err := strconv.ParseInt(value, 10, 64); err == nil {
			field.ValueType = ecrintypes.FieldTypeInteger
		} else if value == "true" || value == "false" {
			field.ValueType = ecrintypes.FieldTypeBoolean
		}
		fields = append(fields, field)
	}
	return channels, features, fields, nil
}

// customerID returns the id of a customer that is named by its id, the vendor's id, or its name.
func customerID(ctx context.Context, s caller, account, app, given string) (string, error) {
	if identity.IsCustomerPassword(given) { // ids of customers have the form of those of licences
		return given, nil
	}
	archived := true
	in := &ecrintypes.ListCustomersRequest{AccountId: account, ApplicationSlug: app, Archived: &archived}
	var found []string
	for {
		var out ecrintypes.ListCustomersResponse
		if err := s.Call(ctx, "ListCustomers", in, &out); err != nil {
			return "", err
		}
		for _, one := range out.Customers {
			if one.CustomerName == given || one.CustomId == given {
				found = append(found, one.CustomerId)
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("the application %s has no customer %q", app, given)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d customers are named %q: use one of the ids %s", len(found), given, strings.Join(found, ", "))
}

func (c *commands) customerCreate() *cobra.Command {
	var f customerFlags
	cmd := c.vendorCommand("create APP NAME", "Make a customer, and print the id of its licence",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.CreateCustomerRequest{AccountId: account, ApplicationSlug: args[0], CustomerName: args[1], CustomId: f.customID,
				Email: f.email, CustomerType: ecrintypes.CustomerType(f.kind)}
			var err error
			if in.ExpiresAt, err = f.expiry(); err != nil {
				return nil, nil, err
			}
			if in.Channels, in.Features, in.Fields, err = f.lists(); err != nil {
				return nil, nil, err
			}
			var out ecrintypes.CreateCustomerResponse
			err = s.Call(ctx, "CreateCustomer", in, &out)
			return out, func() error {
				c.say("made the customer %s with this licence, which is a password with any user name:", out.Customer.CustomerId)
				fmt.Fprintln(c.Out, out.LicenseId)
				return nil
			}, err
		})
	cmd.Example = "  ecrin customer create my-shop \"Big Corp\" --channel stable --type paid --expires 2027-12-31 --field seats=25"
	f.add(cmd)
	return cmd
}

// stateOf returns the state of a customer.
func stateOf(one ecrintypes.Customer, now time.Time) string {
	switch {
	case one.ArchivedAt != nil:
		return "archived"
	case one.ExpiresAt == nil:
		return "valid"
	case !now.Before(one.ExpiresAt.Time):
		return "expired " + stamp(one.ExpiresAt.Time)
	}
	return "until " + stamp(one.ExpiresAt.Time)
}

func (c *commands) customerList() *cobra.Command {
	archived := false
	cmd := c.vendorCommand("list APP", "List the customers of an application",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListCustomersRequest{AccountId: account, ApplicationSlug: args[0], Archived: &archived}
			all := ecrintypes.ListCustomersResponse{Customers: []ecrintypes.Customer{}}
			rows := [][]string{{"NAME", "TYPE", "LICENCE", "ID"}}
			for {
				var out ecrintypes.ListCustomersResponse
				if err := s.Call(ctx, "ListCustomers", in, &out); err != nil {
					return nil, nil, err
				}
				all.Customers = append(all.Customers, out.Customers...)
				for _, one := range out.Customers {
					rows = append(rows, []string{one.CustomerName, string(one.CustomerType), stateOf(one, time.Now()), one.CustomerId})
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return all, c.tabled(rows, "there are no customers"), nil
				}
			}
		})
	cmd.Flags().BoolVar(&archived, "archived", false, "also customers that are archived")
	return cmd
}

func (c *commands) customerShow() *cobra.Command {
	return c.vendorCommand("show APP CUSTOMER", "Show a customer, without its licence",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.CustomerResponse
			err = s.Call(ctx, "DescribeCustomer", &ecrintypes.CustomerRequest{AccountId: account, ApplicationSlug: args[0], CustomerId: id}, &out)
			one := out.Customer
			var channels, features []string
			for _, of := range one.Channels {
				channels = append(channels, of.ChannelSlug)
			}
			for _, f := range one.Features {
				features = append(features, string(f))
			}
			return out, c.detailed([]string{"NAME", one.CustomerName}, []string{"ID", one.CustomerId}, []string{"ARN", one.Arn},
				[]string{"CUSTOM ID", one.CustomId}, []string{"EMAIL", one.Email}, []string{"TYPE", string(one.CustomerType)},
				[]string{"LICENCE", stateOf(one, time.Now())}, []string{"CHANNELS", strings.Join(channels, ", ")},
				[]string{"FEATURES", strings.Join(features, ", ")}, []string{"CREATED", stamp(one.CreatedAt.Time)},
				[]string{"LICENCE USED", stampOrDash(one.LicenseUsedAt)}, []string{"ADDRESS", one.LicenseAddress}), err
		})
}

func (c *commands) customerUpdate() *cobra.Command {
	var f customerFlags
	var label string
	never := false
	cmd := c.vendorCommand("update APP CUSTOMER", "Change a customer: what no flag names stays",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.UpdateCustomerRequest{AccountId: account, ApplicationSlug: args[0], CustomerName: label,
				CustomerType: ecrintypes.CustomerType(f.kind), NeverExpires: &never}
			var err error
			if in.ExpiresAt, err = f.expiry(); err != nil {
				return nil, nil, err
			}
			if in.Channels, in.Features, in.Fields, err = f.lists(); err != nil {
				return nil, nil, err
			}
			if f.changed("custom-id") {
				in.CustomId = &f.customID
			}
			if f.changed("email") {
				in.Email = &f.email
			}
			if in.CustomerId, err = customerID(ctx, s, account, args[0], args[1]); err != nil {
				return nil, nil, err
			}
			var out ecrintypes.CustomerResponse
			err = s.Call(ctx, "UpdateCustomer", in, &out)
			return out, c.said("changed the customer %s; its licence has the sequence %d", args[1], out.Customer.LicenseSequence), err
		})
	cmd.Example = "  ecrin customer update my-shop \"Big Corp\" --expires 2028-12-31\n  ecrin customer update my-shop \"Big Corp\" --never-expires"
	f.add(cmd)
	cmd.Flags().StringVar(&label, "name", "", "new `name`")
	cmd.Flags().BoolVar(&never, "never-expires", false, "the licence does not end")
	return cmd
}

func (c *commands) customerArchive() *cobra.Command {
	undo := false
	cmd := c.vendorCommand("archive APP CUSTOMER", "End the licence of a customer with the next request",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			archived := !undo
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.CustomerResponse
			err = s.Call(ctx, "UpdateCustomer", &ecrintypes.UpdateCustomerRequest{AccountId: account, ApplicationSlug: args[0], CustomerId: id,
				Archived: &archived}, &out)
			what := "has ended"
			if undo {
				what = "is valid again"
			}
			return out, c.said("the licence of the customer %s %s", args[1], what), err
		})
	cmd.Flags().BoolVar(&undo, "undo", false, "begin it again")
	return cmd
}

// tokenMade returns a command that prints a token.
func (c *commands) tokenMade(verb, operation, short string) *cobra.Command {
	return c.vendorCommand(verb+" APP CUSTOMER NAME", short,
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.CustomerTokenResponse
			err = s.Call(ctx, operation, &ecrintypes.CustomerTokenRequest{AccountId: account, ApplicationSlug: args[0], CustomerId: id,
				TokenName: args[2]}, &out)
			return out, func() error {
				c.say("the token %s is not shown again:", args[2])
				fmt.Fprintln(c.Out, out.Token)
				return nil
			}, err
		})
}

func (c *commands) customerTokenRevoke() *cobra.Command {
	return c.vendorCommand("revoke APP CUSTOMER NAME", "Delete a token: it is refused at the next request",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.RevokeCustomerTokenResponse
			err = s.Call(ctx, "RevokeCustomerToken", &ecrintypes.CustomerTokenRequest{AccountId: account, ApplicationSlug: args[0], CustomerId: id,
				TokenName: args[2]}, &out)
			return out, c.said("revoked the token %s", args[2]), err
		})
}

func (c *commands) customerTokenList() *cobra.Command {
	return c.vendorCommand("list APP CUSTOMER", "List the tokens of a customer with their last use",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.ListCustomerTokensResponse
			err = s.Call(ctx, "ListCustomerTokens", &ecrintypes.CustomerRequest{AccountId: account, ApplicationSlug: args[0], CustomerId: id}, &out)
			rows := [][]string{{"NAME", "CREATED", "ROTATED", "LAST USED", "ADDRESS"}}
			for _, k := range out.Tokens {
				rows = append(rows, []string{k.TokenName, stamp(k.CreatedAt.Time), stampOrDash(k.RotatedAt), stampOrDash(k.LastUsedAt),
					orDash(k.LastAddress)})
			}
			return out, c.tabled(rows, "the customer has no tokens"), err
		})
}

// stampOrDash returns a time for a table.
func stampOrDash(t *awswire.Time) string {
	if t == nil {
		return "-"
	}
	return stamp(t.Time)
}

func (c *commands) license() *cobra.Command {
	cmd := &cobra.Command{Use: "license", Short: "Print the licences of customers, and the key with which they are verified",
		Example: "  ecrin license get my-shop \"Big Corp\" > license.yaml\n  ecrin license key > license-root.pem"}
	var in ecrintypes.GetLicenseRequest
	var version string
	get := c.vendorCommand("get APP CUSTOMER", "Print the licence of a customer as a file",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			id, err := customerID(ctx, s, account, args[0], args[1])
			if err != nil {
				return nil, nil, err
			}
			in.AccountId, in.ApplicationSlug, in.CustomerId, in.LicenseVersion = account, args[0], id, ecrintypes.LicenseVersion(version)
			var out ecrintypes.GetLicenseResponse
			err = s.Call(ctx, "GetLicense", &in, &out)
			return out, func() error {
				fmt.Fprint(c.Out, out.License)
				return nil
			}, err
		})
	get.Flags().StringVar(&version, "version", "v1beta1", "`version` of the file: v1beta1 or v1beta2")
	key := c.vendorCommand("key", "Print the public root key of the installation, with which installers verify licences",
		func(ctx context.Context, s caller, account string, _ []string) (any, func() error, error) {
			var out ecrintypes.GetLicenseKeyResponse
			err := s.Call(ctx, "GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{AccountId: account}, &out)
			return out, func() error {
				fmt.Fprint(c.Out, out.PublicKey)
				return nil
			}, err
		})
	cmd.AddCommand(get, key)
	return cmd
}

func (c *commands) entitlement() *cobra.Command {
	cmd := &cobra.Command{Use: "entitlement", Short: "Say which images customers may pull: nothing without an entitlement",
		Long: `An entitlement lets a customer, or all customers of an application, pull images to which all of its flags apply. Repositories are those of
the vendor, such as shop/api or shop/*. A tag, a range of versions and a channel must be those of the same image.`,
		Example: "  ecrin entitlement add my-shop --customer \"Big Corp\" --repository 'shop/*' --versions '>=2 <3'\n" +
			"  ecrin entitlement add my-shop --repository 'shop/*' --channel stable --released-before license-end\n" +
			"  ecrin entitlement list my-shop --customer \"Big Corp\""}
	cmd.AddCommand(c.entitlementAdd(), c.entitlementPreview(), c.entitlementList(), c.entitlementDelete())
	return cmd
}

func (c *commands) entitlementAdd() *cobra.Command {
	var in ecrintypes.PutEntitlementRequest
	var customer string
	present := false
	cmd := c.vendorCommand("add APP", "Let a customer, or all customers, pull images",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in.AccountId, in.ApplicationSlug, in.PresentOnly = account, args[0], &present
			if customer != "" {
				var err error
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			var out ecrintypes.EntitlementResponse
			err := s.Call(ctx, "PutEntitlement", &in, &out)
			return out, c.said("added the entitlement %s: %s", out.Entitlement.EntitlementId, out.Entitlement.Text), err
		})
	cmd.Example = "  ecrin entitlement add my-shop --customer \"Big Corp\" --repository 'shop/*' --tag '2.*'"
	cmd.Flags().StringVar(&customer, "customer", "", "`customer` that may pull them (default: all customers)")
	entitlementFlags(cmd, &in, &present)
	return cmd
}

// entitlementFlags adds the flags that say which images an entitlement reaches.
func entitlementFlags(cmd *cobra.Command, in *ecrintypes.PutEntitlementRequest, present *bool) {
	f := cmd.Flags()
	f.StringArrayVar(&in.Repositories, "repository", nil, "`pattern` of repositories, such as shop/*; repeatable")
	f.StringArrayVar(&in.ImageTags, "tag", nil, "`pattern` of tags; repeatable (default: all)")
	f.StringVar(&in.Versions, "versions", "", "`range` of semantic versions in which the tag is, such as '>=2 <3'")
	f.StringArrayVar(&in.ImageDigests, "digest", nil, "`digest` of an image; repeatable")
	f.StringArrayVar(&in.Channels, "channel", nil, "`channel` that offers a release with the image; repeatable")
	f.StringVar(&in.ReleasedBefore, "released-before", "", "`time` before which it was released, or license-end")
	f.BoolVar(present, "present", false, "only images that are there now, no later ones")
}

func (c *commands) entitlementPreview() *cobra.Command {
	var of ecrintypes.PutEntitlementRequest
	var customer, id string
	present := false
	cmd := c.vendorCommand("preview APP", "Show what an entitlement lets customers pull now, before it is added",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			if (id == "") == (len(of.Repositories) == 0) {
				return nil, nil, usageError{errors.New("want --repository, or --id of an entitlement that is there")}
			}
			in := &ecrintypes.PreviewEntitlementRequest{AccountId: account, ApplicationSlug: args[0], EntitlementId: id,
				Repositories: of.Repositories, ImageTags: of.ImageTags, Versions: of.Versions, ImageDigests: of.ImageDigests,
				Channels: of.Channels, ReleasedBefore: of.ReleasedBefore, PresentOnly: &present}
			if customer != "" {
				var err error
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			var out ecrintypes.PreviewEntitlementResponse
			err := s.Call(ctx, "PreviewEntitlement", in, &out)
			return out, func() error { return c.showPreview(&out) }, err
		})
	cmd.Long = `Show how many tags of the vendor's repositories in the region of the call an entitlement reaches now, and the first of them. Nothing is added.
Images of other registries are not counted. At most 20,000 tags are looked at.`
	cmd.Example = "  ecrin entitlement preview my-shop --repository 'shop/*' --versions '>=2 <3'\n" +
		"  ecrin entitlement preview my-shop --customer \"Big Corp\" --id ID"
	cmd.Flags().StringVar(&customer, "customer", "", "`customer` whose licence and entitlements it is about")
	cmd.Flags().StringVar(&id, "id", "", "`id` of an entitlement that is there")
	entitlementFlags(cmd, &of, &present)
	return cmd
}

// showPreview prints what an entitlement reaches.
func (c *commands) showPreview(out *ecrintypes.PreviewEntitlementResponse) error {
	rows := [][]string{{"REPOSITORY", "TAG", "DIGEST", "PUSHED"}}
	for _, i := range out.Images {
		rows = append(rows, []string{i.RepositoryName, i.ImageTag, shortDigest(i.ImageDigest), stamp(i.ImagePushedAt.Time)})
	}
	if len(out.Images) > 0 {
		if err := c.table(rows); err != nil {
			return err
		}
	}
	more := ""
	if out.More {
		more = " or more"
	}
	c.say("%s: %d tags%s of %d repositories", out.Text, out.Tags, more, out.Repositories)
	return nil
}

func (c *commands) entitlementList() *cobra.Command {
	var customer string
	cmd := c.vendorCommand("list APP", "List the entitlements of all customers of an application, or also those of one customer",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListEntitlementsRequest{AccountId: account, ApplicationSlug: args[0]}
			if customer != "" {
				var err error
				if in.CustomerId, err = customerID(ctx, s, account, args[0], customer); err != nil {
					return nil, nil, err
				}
			}
			var out ecrintypes.ListEntitlementsResponse
			err := s.Call(ctx, "ListEntitlements", in, &out)
			rows := [][]string{{"ID", "CUSTOMER", "IMAGES"}}
			for _, e := range out.Entitlements {
				who := e.CustomerId
				if who == "" {
					who = "all"
				}
				rows = append(rows, []string{e.EntitlementId, who, e.Text})
			}
			return out, c.tabled(rows, "there are no entitlements: nothing can be pulled"), err
		})
	cmd.Flags().StringVar(&customer, "customer", "", "`customer` whose entitlements are listed too")
	return cmd
}

func (c *commands) entitlementDelete() *cobra.Command {
	return c.vendorCommand("delete APP ID", "Delete an entitlement: it is not in force at the next request",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			var out ecrintypes.DeleteEntitlementResponse
			err := s.Call(ctx, "DeleteEntitlement", &ecrintypes.DeleteEntitlementRequest{AccountId: account, ApplicationSlug: args[0],
				EntitlementId: args[1]}, &out)
			return out, c.said("deleted the entitlement %s", args[1]), err
		})
}
