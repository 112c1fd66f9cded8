// Package client calls ecrin's own operations on a running server: with the rights of the operator of its data directory, or with
// those of AWS credentials, from any machine.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// Client calls the operations of one server. It is safe for concurrent use.
type Client struct {
	Server app.Running
	keys   *identity.Keyring // of the operator, nil for a client of OpenRemote
	key    aws.Credentials   // of the operator
	remote *aws.Config       // nil for the operator
	caller string            // ARN of the caller, "" for the operator
	ca     string            // the path of the CAs that the AWS configuration names
	http   *http.Client
}

// ErrNotRunning is the error if no server runs on the data directory.
var ErrNotRunning = errors.New("no server is running")

// Find returns the server that runs on a data directory. Errors: ErrNotRunning.
func Find(dir string) (app.Running, error) {
	var r app.Running
	b, err := os.ReadFile(filepath.Join(dir, app.RunningFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%w on the data directory %s: start one with `ecrin serve --data %s`, or name another with --data",
			ErrNotRunning, dir, dir)
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("reading where the server is: %w", err)
	}
	if stale(dir, r) {
		return r,
			fmt.Errorf("%w on the data directory %s (the last one, process %d, did not stop by itself): start one with `ecrin serve --data %s`, or name another with --data", ErrNotRunning, dir, r.PID, dir)
	}
	if r.CA != "" {
		// The path is the server's own, which may be relative to another folder or inside a container.
		if r.CA, err = filepath.Abs(filepath.Join(dir, app.TLSFolder, filepath.Base(r.CA))); err != nil {
			return r, fmt.Errorf("finding the server's CA: %w", err)
		}
	}
	return r, nil
}

// Open finds the server of a data directory and returns a client that signs as its operator, with the master
// key in the data directory or in masterKey (the value of ECRIN_MASTER_KEY). Errors: ErrNotRunning.
func Open(dir, masterKey string) (*Client, error) {
	running, err := Find(dir)
	if err != nil {
		return nil, err
	}
	keys, err := identity.LoadKeyring(dir, masterKey, false)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if running.CA != "" {
		pem, err := os.ReadFile(running.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the server's CA: %w", err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &Client{
		Server: running,
		keys:   keys,
		key:    aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: keys.OperatorSecret().Reveal()},
		http:   &http.Client{Transport: transport, Timeout: time.Minute},
	}, nil
}

// Patient lets calls take up to a time, instead of a minute.
func (c *Client) Patient(limit time.Duration) { c.http.Timeout = limit }

// Error is an error response of the server.
type Error struct {
	Name    string `json:"__type"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Call calls an operation; in and out have its types in package ecrintypes.
// To the operator, the server first proves that it is the one of the data directory.
//
// Errors: *Error (an error response), ErrNotRunning (the server does not accept the connection), ErrAnotherServer.
func (c *Client) Call(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Server.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", ecrintypes.Service.TargetPrefix+"."+operation)
	sum := sha256.Sum256(body)
	key := c.key
	if c.remote != nil {
		if key, err = c.remote.Credentials.Retrieve(ctx); err != nil { // again: those of a role expire
			return fmt.Errorf("%w (%w)", ErrNoCredentials, err)
		}
	} else {
		once, err := Prove(ctx, c.http, c.Server.URL, c.keys)
		if err != nil {
			return c.transportError(err)
		}
		r.Header.Set(identity.OnceHeader, once)
	}
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(sum[:]), ecrintypes.Service.SigningName,
		c.Server.Region, time.Now()); err != nil {
		return fmt.Errorf("signing the request: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.transportError(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		e := &Error{}
		if err := json.Unmarshal(answer, e); err != nil || e.Message == "" {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return e
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	return nil
}
