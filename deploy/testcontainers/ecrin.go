// Package testcontainers starts an ecrin in a container for a test, by Testcontainers for Go.
//
//	server, err := testcontainers.Run(ctx, "registry.example.com/ecrin:1.2.3", testcontainers.WithSeed(seed))
//
// The data of the server go away with the container. The image is that of `make image`.
package testcontainers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	tc "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	port = "5100/tcp"
	data = "/data/test" // of the server, in its volume

	maxStart = time.Minute // until the server is ready
)

// Server is a running ecrin.
type Server struct {
	tc.Container
	Host string // HOST:PORT of the registry, as in names of images, and of all APIs
	URL  string // http://HOST:PORT, for AWS_ENDPOINT_URL and the aws CLI
}

// Keys are credentials of AWS.
type Keys struct {
	AccessKeyID     string `json:"AWS_ACCESS_KEY_ID"`
	SecretAccessKey string `json:"AWS_SECRET_ACCESS_KEY"`
	SessionToken    string `json:"AWS_SESSION_TOKEN"` // of a role
	Region          string `json:"AWS_REGION"`
}

// WithSeed applies a file of `ecrin apply` before the server is ready: accounts, users, roles, policies and repositories.
func WithSeed(file []byte) tc.CustomizeRequestOption {
	return func(r *tc.GenericContainerRequest) error {
		r.Files = append(r.Files, tc.ContainerFile{Reader: bytes.NewReader(file), ContainerFilePath: "/seed.yaml", FileMode: 0o444})
		r.Cmd = append(r.Cmd, "--seed", "/seed.yaml")
		return nil
	}
}

// WithSettings adds flags of `ecrin serve`.
func WithSettings(flags ...string) tc.CustomizeRequestOption {
	return func(r *tc.GenericContainerRequest) error {
		r.Cmd = append(r.Cmd, flags...)
		return nil
	}
}

// Run starts a server of an image, and returns when it is ready. The container is returned even with an error, so that it can be
// terminated: testcontainers.CleanupContainer does it at the end of a test.
//
// Errors: those of the container engine; the server does not become ready.
func Run(ctx context.Context, image string, opts ...tc.ContainerCustomizer) (*Server, error) {
	all := append([]tc.ContainerCustomizer{
		tc.WithCmd("serve", "--ephemeral", "--data", data, "--listen", "0.0.0.0:5100"),
		tc.WithExposedPorts(port),
		tc.WithWaitStrategyAndDeadline(maxStart, wait.ForHTTP("/readyz").WithPort(port)),
	}, opts...)
	c, err := tc.Run(ctx, image, all...)
	s := &Server{Container: c}
	if err != nil {
		return s, fmt.Errorf("starting ecrin: %w", err)
	}
	host, err := c.Host(ctx)
	if err != nil {
		return s, fmt.Errorf("asking for the host of the container: %w", err)
	}
	mapped, err := c.MappedPort(ctx, port)
	if err != nil {
		return s, fmt.Errorf("asking for the port of the container: %w", err)
	}
	s.Host = net.JoinHostPort(host, mapped.Port())
	s.URL = "http://" + s.Host
	return s, nil
}

// Root returns the keys of the root user of an account, 12 digits; "" means that of the first start.
//
// Errors: the account does not exist.
func (s *Server) Root(ctx context.Context, account string) (Keys, error) { return s.keys(ctx, account) }

// User returns an access key of a user, who must have one: `keys: true` in the seed.
//
// Errors: there is no such user, or no key.
func (s *Server) User(ctx context.Context, account, user string) (Keys, error) {
	return s.keys(ctx, account, "--user", user)
}

// Role returns credentials of a role for an hour.
//
// Errors: there is no such role.
func (s *Server) Role(ctx context.Context, account, role string) (Keys, error) {
	return s.keys(ctx, account, "--role", role)
}

// keys runs `ecrin env` in the container, as its operator.
func (s *Server) keys(ctx context.Context, account string, args ...string) (k Keys, err error) {
	command := append([]string{"/ecrin", "env", "--data", data, "--json"}, args...)
	if account != "" {
		command = append(command, "--account", account)
	}
	out, err := s.Command(ctx, command[1:]...)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(out, &k); err != nil {
		return k, fmt.Errorf("reading the keys of ecrin env: %w", err)
	}
	if k.AccessKeyID == "" {
		return k, errors.New("ecrin env gives no key")
	}
	return k, nil
}

// Command runs a command of ecrin in the container, as its operator, and returns what it prints. Commands with a data directory get that
// of the server by ECRIN_DATA.
//
// Errors: the command fails; the error has what it prints.
func (s *Server) Command(ctx context.Context, args ...string) ([]byte, error) {
	code, output, err := s.Exec(ctx, append([]string{"/ecrin"}, args...), exec.Multiplexed(), exec.WithEnv([]string{"ECRIN_DATA=" + data}))
	if err != nil {
		return nil, fmt.Errorf("running a command in the container: %w", err)
	}
	out, err := io.ReadAll(output)
	if err != nil {
		return nil, fmt.Errorf("reading what a command prints: %w", err)
	}
	if code != 0 {
		return nil, fmt.Errorf("ecrin %v: exit code %d: %s", args, code, bytes.TrimSpace(out))
	}
	return out, nil
}
