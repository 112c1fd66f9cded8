package credential

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const integrationCall = "GetIntegrationToken"

// maxAnswer limits the answer of a server in bytes. A token has at most a few thousand.
const maxAnswer = 64 << 10

// ofIntegration returns the token that the server of a rule gets by an integration, signed as the credentials of the rule. A token for
// another registry than host is refused: it would be sent to a host that it was not made for.
//
// Errors: [CallError]; the configuration of the aws CLI cannot be read.
func (a *AWS) ofIntegration(ctx context.Context, host string, rule *Rule) (Credential, error) {
	bad := func(code, format string, args ...any) (Credential, error) {
		return Credential{}, &CallError{Operation: integrationCall, Host: host, Code: code, Message: fmt.Sprintf(format, args...)}
	}
	cfg, err := a.load(ctx, rule, rule.Endpoint, rule.Region)
	if err != nil {
		return Credential{}, err
	}
	keys, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return Credential{}, failed(integrationCall, host, err)
	}
	body, err := json.Marshal(ecrintypes.IntegrationRequest{IntegrationName: rule.Integration, AccountId: rule.IntegrationAccount})
	if err != nil {
		return Credential{}, fmt.Errorf("encoding a request: %w", err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(rule.Endpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return Credential{}, fmt.Errorf("the endpoint of the rule for %s: %w", host, err)
	}
	q.Header.Set("Content-Type", "application/x-amz-json-1.1")
	q.Header.Set("X-Amz-Target", ecrintypes.Service.TargetPrefix+"."+integrationCall)
	sum, now := sha256.Sum256(body), a.now()
	if err := v4.NewSigner().SignHTTP(ctx, keys, q, hex.EncodeToString(sum[:]), ecrintypes.Service.SigningName, cfg.Region, now); err != nil {
		return Credential{}, fmt.Errorf("signing a request: %w", err)
	}
	answer, err := cfg.HTTPClient.Do(q)
	if err != nil {
		return bad("", "the server of the integration %s cannot be reached: %v", rule.Integration, err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return bad("", "the answer of the server of the integration %s cannot be read: %v", rule.Integration, err)
	}
	if answer.StatusCode != http.StatusOK {
		var e struct {
			Code    string `json:"__type"`
			Message string `json:"message"`
		}
		if json.Unmarshal(text, &e) != nil || e.Message == "" {
			return bad("", "the server of the integration %s answers %s", rule.Integration, answer.Status)
		}
		return bad(e.Code, "%s", e.Message)
	}
	var out ecrintypes.GetIntegrationTokenResponse
	if err := json.Unmarshal(text, &out); err != nil {
		return bad("", "the answer of the server of the integration %s is none: %v", rule.Integration, err)
	}
	unsafe := func(r rune) bool { return r <= ' ' || r > '~' }
	switch of, err := ParseHost(out.Registry); {
	case err != nil || of != host:
		return bad("", "the integration %s is of the registry %q", rule.Integration, out.Registry)
	case out.Username == "" || out.Password == "" || strings.Contains(out.Username, ":") ||
		strings.ContainsFunc(out.Username+out.Password, unsafe):
		return bad("", "the answer has no user name and password")
	case !out.ExpiresAt.After(now):
		return bad("", "the token has ended, and the clock of this machine shows %s", now.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return Credential{Host: host, Username: out.Username, Password: secret.New(out.Password), From: now, ExpiresAt: out.ExpiresAt.Time}, nil
}
