package races_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// probe is a request about an access key: an operation of ecrin or of IAM.
type probe struct {
	operation string
	iam       bool
	more      string // members or parameters besides the id of the key
}

var probes = []probe{
	{"UpdateAccessKey", false, `,"status":"INACTIVE"`},
	{"DeleteAccessKey", false, ``},
	{"UpdateAccessKey", true, `&Status=Inactive`},
	{"DeleteAccessKey", true, ``},
	{"GetAccessKeyLastUsed", true, ``},
}

func (p probe) String() string {
	if p.iam {
		return "iam " + p.operation
	}
	return "ecrin " + p.operation
}

// reply is an answer without what differs between requests: the ids of the key and the request, and the time.
type reply struct {
	status  int
	body    string
	message string // decoded authorization message of a denial
	request string // id of the request
}

// timeOf matches the time of a request in a decoded message, as a date or in seconds.
var timeOf = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\b\d{10}\b`)

// send sends a signed request about a key.
func (a actor) send(t *testing.T, p probe, key string) reply {
	t.Helper()
	service, contentType := ecrintypes.Service.SigningName, "application/x-amz-json-1.1"
	body := `{"accessKeyId":"` + key + `"` + p.more + `}`
	if p.iam {
		service, contentType = "iam", "application/x-www-form-urlencoded"
		body = "Version=2010-05-08&Action=" + p.operation + "&AccessKeyId=" + url.QueryEscape(key) + p.more
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.server.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if !p.iam {
		r.Header.Set("X-Amz-Target", ecrintypes.Service.TargetPrefix+"."+p.operation)
	}
	sum := sha256.Sum256([]byte(body))
	region := a.server.Running.Region
	err = v4.NewSigner().SignHTTP(t.Context(), a.key, r, hex.EncodeToString(sum[:]), service, region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.server.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{status: resp.StatusCode, request: resp.Header.Get("X-Amzn-Requestid")}
	plain := strings.NewReplacer(key, "KEY", got.request, "REQUEST")
	got.body = plain.Replace(string(text))
	if encoded := resp.Header.Get("X-Ecrin-Authorization-Message"); encoded != "" {
		out := do(t, a.sts.DecodeAuthorizationMessage, sts.DecodeAuthorizationMessageInput{
			EncodedMessage: &encoded,
		})
		got.message = timeOf.ReplaceAllString(plain.Replace(aws.ToString(out.DecodedMessage)), "TIME")
	}
	return got
}

func (a actor) String() string { return "key " + a.key.AccessKeyID + " of account " + a.account }

// lines returns the number of lines about a request in the trail of an account.
func (s *registry) lines(t *testing.T, account, request string) int {
	t.Helper()
	var out ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", ecrintypes.ListAuditEventsRequest{AccountId: account, RequestId: request}, &out)
	return len(out.Events)
}

// The answer to a request about a key of another account is the same as that about a key that does not exist. Its line
// is only in the trail of the account of the caller: not in that of the other account, and not in that of account
// 000000000000, which is a third account.
func TestProbesOfForeignKeys(t *testing.T) {
	t.Parallel()
	s := serve(t)
	accounts := []string{s.root.account, "111111111111", "222222222222"}
	callers := []actor{s.root}
	for _, id := range accounts[1:] {
		a := s.NewAccount(t, id)
		callers = append(callers, s.as(a.ID, a.KeyID, a.Secret))
	}
	last, admin := callers[len(callers)-1], aws.String("admin")
	do(t, last.iam.CreateUser, iam.CreateUserInput{UserName: admin})
	do(t, last.iam.PutUserPolicy, iam.PutUserPolicyInput{
		UserName: admin, PolicyName: aws.String("all"), PolicyDocument: document(statement("Allow", "*", "")),
	})
	k := do(t, last.iam.CreateAccessKey, iam.CreateAccessKeyInput{UserName: admin}).AccessKey
	callers = append(callers, s.as(last.account, *k.AccessKeyId, *k.SecretAccessKey))
	const unknown = "AKIAZZZZZZZZZZZZZZZZ"
	for _, caller := range callers {
		for _, p := range probes {
			want := caller.send(t, p, unknown)
			replies := map[string]reply{unknown: want}
			for _, other := range callers {
				if other.account == caller.account {
					continue
				}
				got := caller.send(t, p, other.key.AccessKeyID)
				replies[other.key.AccessKeyID] = got
				what := fmt.Sprintf("%s by %s about %s", p, caller, other)
				if got.status != want.status || got.body != want.body {
					t.Errorf("%s:\n got %d %s\nwant %d %s, as for an unknown key",
						what, got.status, got.body, want.status, want.body)
				}
				if got.message != want.message {
					t.Errorf("%s, the message of the denial:\n got %s\nwant %s, as for an unknown key",
						what, got.message, want.message)
				}
			}
			for key, r := range replies {
				for _, account := range accounts {
					switch n := s.lines(t, account, r.request); {
					case account != caller.account && n > 0:
						t.Errorf("%s by %s about key %s: got %d lines in the trail of %s, want none",
							p, caller, key, n, account)
					case account == caller.account && n != 1:
						t.Errorf("%s by %s about key %s: got %d lines in its own trail, want 1", p, caller, key, n)
					}
				}
			}
		}
	}
	// A request that is signed with a key that does not exist is in no account's trail.
	stranger := s.as("none", unknown, "secret")
	for _, p := range probes {
		r := stranger.send(t, p, callers[0].key.AccessKeyID)
		for _, account := range accounts {
			if n := s.lines(t, account, r.request); n > 0 || r.status < 400 {
				t.Errorf("%s signed with an unknown key: got %d and %d lines in the trail of %s, want a refusal and none", p, r.status, n, account)
			}
		}
	}
	// The keys are unchanged.
	for _, a := range callers {
		out, err := a.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || aws.ToString(out.Account) != a.account {
			t.Errorf("GetCallerIdentity with %s after all probes: got %s, want its account", a, shown(out, err))
		}
	}
}
