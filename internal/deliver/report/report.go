// Package report keeps what pipelines report about images: what they consist of, the commit, pull requests and issues that they come
// from, and where they run. A report reads the image at its own host, and the providers that its variables name, and stores all or nothing.
package report

import (
	"context"
	"sync"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/forge"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/pagetoken"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Service makes and lists reports. It is safe for concurrent use.
type Service struct {
	meta     *meta.Store
	registry *registry.Service
	ecr      *ecr.Service
	guard    *guard.Guard
	remotes  *integration.Service
	identity *identity.Service
	hosts    *endpoint.Map
	pages    pagetoken.Sealer
	now      func() time.Time
	forge    *forge.Client

	mu      sync.Mutex
	running map[string]int // reports by principal, by account, and all
}

// Options holds the parameters of New. All are required.
type Options struct {
	Meta     *meta.Store
	Registry *registry.Service
	ECR      *ecr.Service
	Guard    *guard.Guard
	Remotes  *integration.Service
	Identity *identity.Service
	Hosts    *endpoint.Map
	Egress   *egress.Guard
	Pages    pagetoken.Sealer
	Now      func() time.Time
}

// The limits of reports.
const (
	maxRunning   = 4  // of one principal
	maxAccount   = 16 // of one account
	maxAll       = 32 // of the server
	maxTime      = 5 * time.Minute
	maxConfig    = 4 << 20 // bytes of the configuration of an image
	maxPlatforms = 50      // of an index
)

// New returns a Service.
func New(o Options) *Service {
	return &Service{meta: o.Meta, registry: o.Registry, ecr: o.ECR, guard: o.Guard, remotes: o.Remotes, identity: o.Identity, hosts: o.Hosts,
		pages: o.Pages, now: o.Now, forge: forge.NewClient(o.Egress), running: map[string]int{}}
}

// enter takes a place for a report of a principal. leave gives it back. Errors: fault.Throttled.
func (s *Service) enter(by identity.Caller) (leave func(), err error) {
	places := []struct {
		of  string
		max int
	}{{"principal " + by.LimitKey(), maxRunning}, {"account " + by.Account.String(), maxAccount}, {"all", maxAll}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range places {
		if s.running[p.of] >= p.max {
			return nil, fault.Throttled.New("%d reports of this principal, %d of its account or %d of all are being made: repeat when one has ended",
				maxRunning, maxAccount, maxAll)
		}
	}
	for _, p := range places {
		s.running[p.of]++
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range places {
			if s.running[p.of]--; s.running[p.of] == 0 {
				delete(s.running, p.of)
			}
		}
	}, nil
}

// The levels of messages, which are the names of events too.
const (
	Info = "info"
	Warn = "warn"
)

type sinkKey struct{}

// WithMessages returns a context whose reports pass on each message when it is made. tell must not wait.
func WithMessages(ctx context.Context, tell func(ecrintypes.ReportMessage)) context.Context {
	return context.WithValue(ctx, sinkKey{}, tell)
}

// Tell passes a message to the function of WithMessages, if there is one.
func Tell(ctx context.Context, m ecrintypes.ReportMessage) {
	if tell, ok := ctx.Value(sinkKey{}).(func(ecrintypes.ReportMessage)); ok {
		tell(m)
	}
}

// messages are those of one report.
type messages struct {
	tell func(ecrintypes.ReportMessage)
	all  []ecrintypes.ReportMessage
}

func messagesOf(ctx context.Context) *messages {
	return &messages{tell: func(m ecrintypes.ReportMessage) { Tell(ctx, m) }, all: []ecrintypes.ReportMessage{}}
}

func (m *messages) add(level, text string) {
	one := ecrintypes.ReportMessage{Level: level, Text: text}
	m.all = append(m.all, one)
	m.tell(one)
}

// accountOf returns the account of a request: that of accountId, without it that of the caller, or the default account for the operator.
func (s *Service) accountOf(req guard.Request, id string) (name.Account, error) {
	switch {
	case id != "":
		return name.ParseAccount(id)
	case req.By.Kind == identity.Operator:
		return s.hosts.Default().Account, nil
	}
	return req.By.Account, nil
}

// askOf returns an ask for a resource of the ecrin service in an account.
func askOf(req guard.Request, of name.Account, resource string) guard.Ask {
	return guard.Ask{Owner: guard.OwnedBy(of), Region: req.Region,
		Resource: name.ARN{Partition: "aws", Service: "ecrin", Account: of, Resource: resource}.String()}
}
