package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

type sdkSource struct{}

func newSDKSource() *sdkSource { return &sdkSource{} }

func (*sdkSource) Credential(ctx context.Context, host string) (credential.Credential, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return credential.Credential{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if parts := strings.Split(host, "."); len(parts) > 4 && strings.HasPrefix(parts[1], "dkr") {
		cfg.Region = parts[3]
	}
	now := time.Now()
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return credential.Credential{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return credential.Credential{}, errors.New("no token")
	}
	data := out.AuthorizationData[0]
	text, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return credential.Credential{}, err
	}
	user, password, _ := strings.Cut(string(text), ":")
	return credential.Credential{Host: host, Username: user, Password: secret.New(password), From: now,
		ExpiresAt: aws.ToTime(data.ExpiresAt)}, nil
}

func (*sdkSource) try(ctx context.Context, c credential.Credential) error {
	scheme := "https://"
	if strings.HasPrefix(c.Host, "127.0.0.1") || strings.HasPrefix(c.Host, "localhost") {
		scheme = "http://"
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+c.Host+"/v2/", nil)
	if err != nil {
		return err
	}
	q.SetBasicAuth(c.Username, c.Password.Reveal())
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%s: %w", resp.Status, kube.ErrRefused)
	}
	return nil
}
