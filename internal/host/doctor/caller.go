package doctor

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxCallerAnswer limits the bytes of an answer that are read.
const maxCallerAnswer = 64 << 10

// newKeys is the instruction for keys that the server refuses.
const newKeys = "Use a key of this server: eval \"$(ecrin env)\""

// callerInEnvironment asks the server by GetCallerIdentity to whom the access key in the environment belongs. The secret
// access key stays here: it only signs the request.
func (d *doctor) callerInEnvironment(ctx context.Context) Check {
	c := Check{Name: "AWS credentials", Status: OK, Detail: "in the environment"}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	arn, refusal, err := d.callerIdentity(ctx, aws.Credentials{
		AccessKeyID: d.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: d.Getenv("AWS_SECRET_ACCESS_KEY"),
		SessionToken: d.Getenv("AWS_SESSION_TOKEN"),
	})
	switch {
	case err != nil:
		c.Status, c.Detail, c.Fix = Warn, "in the environment, but the server was not asked whether they are valid: "+
			err.Error(), "Correct the other findings, then run: ecrin doctor"
	case refusal != "":
		c.Status, c.Detail, c.Fix = Fail, "in the environment, but the server refuses them: "+refusal, newKeys
	default:
		c.Detail += ", of " + arn
	}
	return c
}

// callerOfProfile asks the server by GetCallerIdentity to whom the credentials of a profile belong, with the aws CLI, if it is
// installed: only the AWS tools can read every kind of profile.
func (d *doctor) callerOfProfile(ctx context.Context, profile string) Check {
	c := Check{Name: "AWS credentials", Status: OK, Detail: "in the profile " + profile}
	path := d.find("aws")
	if path == "" {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	out, err := d.Command(ctx, path, "sts", "get-caller-identity", "--profile", profile, "--endpoint-url", d.scheme+"://"+d.addr,
		"--region", d.Region.String(), "--query", "Arn", "--output", "text")
	if out = strings.TrimSpace(out); err != nil {
		c.Status, c.Detail, c.Fix = Fail, c.Detail+", but aws sts get-caller-identity fails: "+out, newKeys+`, or correct the profile`
	} else if strings.HasPrefix(out, "arn:") {
		c.Detail += ", of " + out
	}
	return c
}

// callerIdentity calls GetCallerIdentity and returns the ARN of the caller, or code and text of the refusal.
//
// Source: STS API reference, GetCallerIdentity.
func (d *doctor) callerIdentity(ctx context.Context, key aws.Credentials) (arn, refusal string, err error) {
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.scheme+"://"+d.addr+"/", strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(sum[:]), "sts", d.Region.String(), d.Now()); err != nil {
		return "", "", err
	}
	roots := d.Roots
	if d.pool != nil {
		roots = d.pool
	}
	transport := &http.Transport{DialContext: d.Dial,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxCallerAnswer))
	if err != nil {
		return "", "", err
	}
	var answer struct {
		Arn     string `xml:"GetCallerIdentityResult>Arn"`
		Code    string `xml:"Error>Code"`
		Message string `xml:"Error>Message"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil || answer.Arn == "" && answer.Code == "" {
		return "", "", fmt.Errorf("it answers GetCallerIdentity with %s", resp.Status)
	}
	if answer.Code != "" {
		return "", answer.Code + ": " + answer.Message, nil
	}
	return answer.Arn, "", nil
}
