// Package upgrade_test opens data directories that earlier versions of the program wrote, and compares what the current
// program shows with what the earlier version showed. README.md describes how to add a directory.
package upgrade_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

var services = map[string]awswire.Service{
	"ecr": ecrtypes.Service, "iam": iamtypes.Service, "sts": ststypes.Service, "ecrin": ecrintypes.Service,
}

// Key is an access key with which requests are signed.
type Key struct {
	ID     string
	Secret string
	Token  string `json:",omitempty"` // of a session
}

// caller sends requests to one server, signed at the time of a clock. The clients of the SDK cannot do that, because
// they use the real time.
type caller struct {
	url    string
	region string
	http   *http.Client
	now    func() time.Time
	once   func(testing.TB) string // a value for a request of the operator
}

// call calls an operation and returns the status and the answer as plain JSON values: maps, lists, strings, numbers. It
// converts XML to maps and lists. For an error it returns {"error": CODE}.
func (c caller) call(t testing.TB, key Key, service, region, operation string, in map[string]any) (int, map[string]any) {
	t.Helper()
	s := services[service]
	body, kind := encode(t, s, operation, in)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", "upgrade")
	if s.Protocol == "json" {
		r.Header.Set("X-Amz-Target", s.TargetPrefix+"."+operation)
	}
	if region == "" {
		region = c.region
	}
	if key.ID == identity.OperatorKeyID {
		if once := c.once(t); once != "" {
			r.Header.Set(identity.OnceHeader, once)
		}
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Token}
	if key.ID != "" {
		err = v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(sum[:]), s.SigningName, region,
			c.now())
	}
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", service, operation, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", service, operation, err)
	}
	out, err := decode(s.Protocol, text)
	if err != nil {
		t.Fatalf("%s %s: %d %.300s: %v", service, operation, resp.StatusCode, text, err)
	}
	return resp.StatusCode, out
}

// do is call for an operation that must succeed.
func (c caller) do(t testing.TB, key Key, service, operation string, in map[string]any) map[string]any {
	t.Helper()
	status, out := c.call(t, key, service, "", operation, in)
	if status != http.StatusOK {
		t.Fatalf("%s %s %v: got %d %v, want 200", service, operation, in, status, out)
	}
	return out
}

func encode(t testing.TB, s awswire.Service, operation string, in map[string]any) (body []byte, kind string) {
	t.Helper()
	if s.Protocol == "json" {
		if in == nil {
			in = map[string]any{}
		}
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		return body, "application/x-amz-json-1.1"
	}
	form := url.Values{"Action": {operation}, "Version": {s.APIVersion}}
	for k, v := range in {
		form.Set(k, fmt.Sprint(v))
	}
	return []byte(form.Encode()), "application/x-www-form-urlencoded"
}

func decode(protocol string, text []byte) (map[string]any, error) {
	out := map[string]any{}
	if protocol == "json" {
		err := json.Unmarshal(text, &out)
		if code, ok := out["__type"].(string); ok {
			return map[string]any{"error": code}, err
		}
		return out, err
	}
	var root element
	if err := xml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	if root.XMLName.Local == "ErrorResponse" {
		e, _ := root.child("Error").value().(map[string]any)
		return map[string]any{"error": e["Code"]}, nil
	}
	if result := root.child(strings.TrimSuffix(root.XMLName.Local, "Response") + "Result"); result != nil {
		var ok bool
		if out, ok = result.value().(map[string]any); !ok && len(result.Children) > 0 {
			return nil, errors.New("the result is not a structure")
		}
	}
	return out, nil
}

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

func (e *element) child(name string) *element {
	for i := range e.Children {
		if e.Children[i].XMLName.Local == name {
			return &e.Children[i]
		}
	}
	return nil
}

// value returns a list for an element with members, a map for an element with other children, and otherwise the text.
func (e *element) value() any {
	if len(e.Children) == 0 {
		return strings.TrimSpace(e.Text)
	}
	if e.Children[0].XMLName.Local == "member" {
		var all []any
		for i := range e.Children {
			all = append(all, e.Children[i].value())
		}
		return all
	}
	all := map[string]any{}
	for i := range e.Children {
		all[e.Children[i].XMLName.Local] = e.Children[i].value()
	}
	return all
}
