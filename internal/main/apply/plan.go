package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
)

// Server is how a file is applied: as the operator, who reaches all accounts, or with the credentials of one account.
type Server interface {
	// Accounts returns the accounts that the caller reaches, with their aliases.
	Accounts(ctx context.Context) (map[string]string, error)

	// CreateAccount creates an account. Errors: the caller is not the operator.
	CreateAccount(ctx context.Context, id, alias string) error

	// Config returns how the SDK calls the server for an account that exists.
	Config(ctx context.Context, account string) (aws.Config, error)

	// Call calls an operation of the ecrin service in a region.
	Call(ctx context.Context, region, operation string, in, out any) error
}

// Setting is a setting of an object that differs from the file.
type Setting struct {
	Name   string `json:"name"`
	Before string `json:"before"` // "" if there is none; of documents compact JSON
	After  string `json:"after"`
}

// Change is what is done to one object.
type Change struct {
	Account  string    `json:"account"`
	Region   string    `json:"region,omitempty"`
	Kind     string    `json:"kind"` // account, policy, group, user, role, registry, cache, template, repository
	Name     string    `json:"name,omitempty"`
	Create   bool      `json:"create"` // the object does not exist yet
	Settings []Setting `json:"settings"`

	steps []step
}

// step is one call.
type step struct {
	what string
	do   func(context.Context) error
}

// Object returns the name of the object of a change, for people.
func (c *Change) Object() string {
	parts := []string{c.Account}
	for _, p := range []string{c.Region, c.Name} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return c.Kind + " " + strings.Join(parts, "/")
}

// create makes the change one that creates the object.
func (c *Change) create(do func(context.Context) error) {
	c.Create = true
	c.steps = append(c.steps, step{"creating it", do})
}

// set adds a setting if it differs.
func (c *Change) set(name, before, after string, do func(context.Context) error) {
	if before == after {
		return
	}
	c.Settings = append(c.Settings, Setting{name, before, after})
	c.steps = append(c.steps, step{"setting " + name, do})
}

// Plan is what a file changes.
type Plan struct{ Changes []*Change }

// planner compares a file with a server. Its changes are in the order in which they are made: principals before the policies that name
// them, in all accounts.
type planner struct {
	server  Server
	present map[string]string // accounts that exist
	plan    Plan
}

// New compares a file with a server, and changes nothing.
//
// Errors: those of the server, with the object that was read.
func New(ctx context.Context, server Server, f File) (*Plan, error) {
	p := &planner{server: server}
	var err error
	if p.present, err = server.Accounts(ctx); err != nil {
		return nil, fmt.Errorf("listing the accounts: %w", err)
	}
	phases := []func(context.Context, string, Account) error{
		p.account, p.managedPolicies, p.groups, p.users, p.roles, p.registries, p.repositories, p.replication,
	}
	for _, phase := range phases {
		for id, a := range sorted(f.Accounts) {
			if err := phase(ctx, id, a); err != nil {
				return nil, err
			}
		}
	}
	return &p.plan, nil
}

// add adds a change that changes something.
func (p *planner) add(c *Change) {
	if len(c.steps) > 0 {
		p.plan.Changes = append(p.plan.Changes, c)
	}
}

// exists reports whether an account exists. If it does not, nothing in it can be read.
func (p *planner) exists(account string) bool {
	_, ok := p.present[account]
	return ok
}

func (p *planner) account(_ context.Context, id string, a Account) error {
	c := &Change{Account: id, Kind: "account"}
	if have, ok := p.present[id]; !ok {
		c.create(func(ctx context.Context) error { return p.server.CreateAccount(ctx, id, a.Alias) })
	} else if a.Alias != "" && a.Alias != have {
		return fmt.Errorf("account %s has the alias %q, the file says %q: an alias is given when an account is created", id, have, a.Alias)
	}
	p.add(c)
	return nil
}

// Apply makes the changes, and calls each after each one. What fails is tried again after the others as long as that changes something:
// a policy may name a role that is created later.
//
// Errors: the errors of all changes that failed; the others were made.
func (p *Plan) Apply(ctx context.Context, each func(*Change)) error {
	left := p.Changes
	for {
		var failed []*Change
		var errs []error
		for _, c := range left {
			if err := c.apply(ctx); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				failed, errs = append(failed, c), append(errs, fmt.Errorf("%s: %w", c.Object(), err))
				continue
			}
			each(c)
		}
		if len(failed) == 0 {
			return nil
		}
		if len(failed) == len(left) {
			return errors.Join(errs...)
		}
		left = failed
	}
}

// apply makes the steps that were not made.
func (c *Change) apply(ctx context.Context) error {
	for len(c.steps) > 0 {
		if err := c.steps[0].do(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.steps[0].what, said(err))
		}
		c.steps = c.steps[1:]
	}
	return nil
}

// said returns the error of the server without the text that the SDK puts around it.
func said(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorMessage() != "" {
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	return err
}

// absent reports whether an error says that an object does not exist.
func absent(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}

func (p *planner) ecr(ctx context.Context, account, region string) (*ecr.Client, error) {
	cfg, err := p.server.Config(ctx, account)
	if err != nil {
		return nil, err
	}
	cfg.Region = region
	return ecr.NewFromConfig(cfg), nil
}

func (p *planner) iam(ctx context.Context, account string) (*iam.Client, error) {
	cfg, err := p.server.Config(ctx, account)
	if err != nil {
		return nil, err
	}
	return iam.NewFromConfig(cfg), nil
}

// canonical returns compact JSON with ordered keys, so that two documents which mean the same are equal; text itself if it is no JSON.
func canonical(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}
