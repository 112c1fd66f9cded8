package ecrin

import (
	"context"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// Doctor checks the machine of the server.
type Doctor interface {
	// Diagnose returns checks that are not older than maxAge, or than two seconds if that is more, and when they were made. It is safe for
	// concurrent use.
	//
	// Errors: that of ctx.
	Diagnose(ctx context.Context, maxAge time.Duration) ([]ecrintypes.ServerCheck, time.Time, error)
}

// OnServer resolves the server of a request. It belongs to the default account, so that its root user, and users to whom its policies
// allow it, may check it.
func OnServer[In any](s *Service, _ context.Context, req guard.Request, _ In) (guard.Target[guard.Nothing], error) {
	account := s.hosts.Default().Account
	return guard.On(guard.Nothing{}, guard.Ask{Owner: guard.OwnedBy(account), Region: req.Region, Resource: identity.RootARN(account)}), nil
}

// DiagnoseServer checks the machine of the server: names, port, TLS, clock, what clients on it need, data folder, keys and free space.
// Checks that are not older than maxAgeSeconds, or than two seconds if that is more, are given again.
func (s *Service) DiagnoseServer(ctx context.Context, _ identity.Caller, _ guard.Nothing,
	in *ecrintypes.DiagnoseServerRequest) (*ecrintypes.DiagnoseServerResponse, error) {
	var age time.Duration
	if in.MaxAgeSeconds != nil {
		age = time.Duration(*in.MaxAgeSeconds) * time.Second
	}
	checks, at, err := s.doctor.Diagnose(ctx, age)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.DiagnoseServerResponse{Checks: checks, CheckedAt: awswire.Time{Time: at}}, nil
}
