package outside_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// logs returns the log of the external registry aws, as a tool of a vendor with a key reads it: the oldest line first.
func (s *shop) logs(t testing.TB, key string) (status int, all []string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.near.URL+"/v3/external_registry/logs?endpoint=aws", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", key)
	resp, err := s.near.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Logs []struct {
			Action       string `json:"action"`
			StatusCode   *int   `json:"statusCode"`
			IsSuccess    bool   `json:"isSuccess"`
			Image        string `json:"image"`
			Tag          string `json:"tag"`
			CustomerName string `json:"customerName"`
		} `json:"logs"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("got %d %s: %v", resp.StatusCode, body, err)
	}
	for _, l := range slices.Backward(out.Logs) {
		code := 0
		if l.StatusCode != nil {
			code = *l.StatusCode
		}
		all = append(all, fmt.Sprintf("%s %s %s:%.16s %v %d", l.CustomerName, l.Action, l.Image, l.Tag, l.IsSuccess, code))
	}
	return resp.StatusCode, all
}

// Row P5: tools of vendors read the pulls by an external registry from its log, of the applications that the policies of their user allow.
func TestP5ToolsOfVendorsReadTheLogOfARegistry(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", im)
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "other", IntegrationName: "aws"}, nil)
	_, big := s.customer(t, "shop", "big", s.Host+"/demo-apps/*")
	_, small := s.customer(t, "other", "small", s.Host+"/demo-apps/*")
	upstream, layer := s.Host+"/demo-apps/nginx", ocitest.SHA256(im.Layers[0])
	get(t, s.near, big, http.MethodGet, "proxy/shop/aws/demo-apps/nginx/manifests/1").Want(t, 200)
	get(t, s.near, big, http.MethodGet, "proxy/shop/"+upstream+"/blobs/"+layer).Want(t, 200)
	get(t, s.near, big, http.MethodHead, "proxy/shop/"+upstream+"/manifests/2").Want(t, 404)
	get(t, s.near, small, http.MethodGet, "proxy/other/"+upstream+"/manifests/1").Want(t, 200)
	s.near.Restart(t) // a server that stops writes what waits

	ofShop := []string{"big manifest " + upstream + ":1 true 0", fmt.Sprintf("big blob %s:%.16s true 0", upstream, layer),
		"big HEAD " + upstream + ":2 false 404"}
	root := s.near.Root(t)
	_, got := s.logs(t, root.KeyID+":"+root.Secret)
	expect(t, "the log for the root user", got, append(slices.Clone(ofShop), "small manifest "+upstream+":1 true 0"))

	users := iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.near.URL), HTTPClient: s.near.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	for label, tt := range map[string]struct {
		actions, resource string
		status            int
		want              []string
	}{
		"shop":    {`"ecrin:ListPulls"`, "arn:aws:ecrin::" + root.ID + ":customer/shop/*", 200, ofShop},
		"nothing": {`"ecrin:ListCustomers"`, "*", 403, nil},
	} {
		policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[%s],"Resource":%q},{"Effect":"Allow","Action":`+
			`["ecrin:DescribeApplications","ecrin:ListSharedIntegrations","ecrin:DescribeIntegrations"],"Resource":"*"}]}`, tt.actions, tt.resource)
		_, err := users.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label})
		if err == nil {
			_, err = users.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: aws.String("p"),
				PolicyDocument: &policy})
		}
		if err != nil {
			t.Fatal(err)
		}
		key, err := users.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
		if err != nil {
			t.Fatal(err)
		}
		status, got := s.logs(t, strings.Join([]string{*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey}, ":"))
		if status != tt.status {
			t.Errorf("the user %s: got %d, want %d", label, status, tt.status)
		}
		expect(t, "the log for the user "+label, got, tt.want)
	}
}
