package awsapi_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
)

// unequal are the parts of answers that differ from call to call: ids, times, and tokens.
var unequal = regexp.MustCompile(`(v1|signature): [A-Za-z0-9+/=]+|` +
	`"(nextToken|at|requestId|lastRecordedPullTime)":("[^"]*"|[0-9.]+),?|` +
	`"aws:(CurrentTime|EpochTime)","values":\["[^"]*"\]|<RequestId>[^<]*</RequestId>`)

// random lists the operations whose answers are never the same, or change with the background work.
var random = []string{"GetAuthorizationToken", "GetDownloadUrlForLayer", "GetSessionToken", "GetFederationToken", "GetAccountCredentials",
	"GetAccessKeyLastUsed", "ListAuditEvents", "ListEvents", "ListJobs", "ListTokens"}

// reads reports whether an operation only reads.
func reads(operation string) bool {
	return slices.ContainsFunc([]string{"Get", "List", "Describe", "BatchGet", "BatchCheck", "Explain", "Search", "Simulate",
		"GrantRepository"}, func(prefix string) bool { return strings.HasPrefix(operation, prefix) })
}

// Whatever statement fails during an operation that reads or is refused, of any API, the answer is the whole one or says that the
// server failed: an object that cannot be read is never answered as one that does not exist, is empty, or may not be seen.
func TestNoOperationTakesAFailureOfTheStoreForAnAnswer(t *testing.T) {
	t.Parallel()
	m := newAPIMatrix(t)
	m.failing = true
	app := func(more ...any) string { return object(append([]any{"repositoryName", "app"}, more...)...) }
	m.must("PutLifecyclePolicy", app("lifecyclePolicyText", expireAfter(90)))
	m.must("PutRegistryPolicy", object("policyText", m.samples["PutRegistryPolicy.policyText"]))
	m.must("TagResource", object("resourceArn", appARN, "tags", tagList(2)))
	m.must("CreateRepositoryCreationTemplate", object("prefix", "victim", "appliedFor", []string{"REPLICATION"}))
	m.must("CreatePullThroughCacheRule", object("ecrRepositoryPrefix", "cache", "upstreamRegistryUrl", "quay.io"))
	m.must("RegisterPullTimeUpdateExclusion", object("principalArn", "arn:aws:iam::"+home+":user/victim"))
	for _, call := range [][2]string{{"CreateWebhook", `{"webhookName":"victim","webhookUrl":"https://receiver.invalid/"}`},
		{"UpdateWebhook", `{"webhookName":"victim","enabled":false}`}} { // nothing is sent
		if a := m.callEcrin(m.key, call[0], call[1]); a.Status != http.StatusOK {
			t.Fatalf("%s: got %s", call[0], a)
		}
	}
	d := digestOf(manifest(`{"seed":"a"}`, nil))
	requests := map[string]raw{}
	for _, r := range m.rows {
		if reads(r.Operation) {
			requests[r.Operation] = request(t, r, m.samples, nil)
		}
	}
	for what, body := range map[string]string{
		"DescribeRepositories by name":          object("repositoryNames", []string{"app"}),
		"DescribeImages by tag":                 app("imageIds", ids("", "latest")),
		"DescribeImages by digest":              app("imageIds", ids(d, "")),
		"DescribePullThroughCacheRules 2":       object("ecrRepositoryPrefixes", []string{"cache"}),
		"DescribeRepositoryCreationTemplates 2": object("prefixes", []string{"victim"}),
	} {
		operation, _, _ := strings.Cut(what, " ")
		requests[what] = raw{target: ecrTarget + operation, body: body}
	}
	user, role := "arn:aws:iam::"+home+":user/victim", "arn:aws:iam::"+home+":role/victim"
	for what, body := range map[string]string{
		"ExplainAccess to an image": object("principal", user, "action", "ecr:BatchGetImage", "repositoryName", "app", "imageTag", "latest"),
		"ExplainAccess to delete":   object("principal", user, "action", "ecr:BatchDeleteImage", "repositoryName", "app", "imageDigest", d),
		"ExplainAccess to a role":   object("principal", user, "action", "sts:AssumeRole", "resourceArn", role),
		"ExplainAccess by ARN":      object("principal", user, "action", "ecr:ListImages", "resourceArn", appARN),
		"GrantRepositoryAccess 2":   object("repositoryName", "app", "principal", user, "permission", "PULL"),
	} {
		operation, _, _ := strings.Cut(what, " ")
		requests[what] = raw{target: ecrintypes.Service.TargetPrefix + "." + operation, body: body, service: "ecrin"}
	}
	none := digestOf("none")
	for operation, body := range map[string]string{ // that are refused
		"RestoreImage":      app("imageDigest", none),
		"RestoreRepository": object("repositoryId", "1"),
		"DeleteLifecycle":   app("document", "EXTENSION"),
		"CopyImage":         app("imageTag", "none", "destinationRepositoryName", "app"),
		"UntagImage":        app("imageTag", "none"),
		"DeleteWebhook":     object("webhookName", "none"),
		"DescribeJob":       object("jobId", "12"),
	} {
		requests[operation+" of nothing"] = raw{target: ecrintypes.Service.TargetPrefix + "." + operation, body: body, service: "ecrin"}
	}
	for operation, body := range map[string]string{
		"PutImage":                         app("imageManifest", "{}"),
		"BatchDeleteImage":                 app("imageIds", ids("", "none")),
		"CompleteLayerUpload":              complete("app", "6f1c1bd4-0cf8-4a4e-9f2e-3d6f3a6e8f10", none),
		"GetDownloadUrlForLayer":           app("layerDigest", none),
		"InitiateLayerUpload":              object("repositoryName", "none"),
		"DeleteRepositoryCreationTemplate": object("prefix", "none"),
		"UpdateRepositoryCreationTemplate": object("prefix", "none"),
		"DeletePullThroughCacheRule":       object("ecrRepositoryPrefix", "none"),
		"UpdatePullThroughCacheRule":       object("ecrRepositoryPrefix", "none", "customRoleArn", roleARN+"none"),
		"PutLifecyclePolicy":               object("repositoryName", "none", "lifecyclePolicyText", expireAfter(90)),
		"SetRepositoryPolicy":              object("repositoryName", "none", "policyText", policyForAll),
	} {
		requests[operation+" of nothing"] = raw{target: ecrTarget + operation, body: body}
	}
	faults := faultmeta.In(m.Dir)
	ring, err := identity.LoadKeyring(m.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	operator := aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: ring.OperatorSecret().Reveal()}
	// forget makes the server read again what it has in memory.
	forget := func() {
		m.call("DeleteRepositoryPolicy", app()) // after a rollback that has failed, the next change fails too
		m.must("SetRepositoryPolicy", app("policyText", m.samples["policyText"]))
		m.must("PutRegistryPolicy", object("policyText", m.samples["PutRegistryPolicy.policyText"]))
		m.Meta().Trim()
	}
	stranger := m.user("stranger", allow("s3:*"))
	swept, failed := 0, 0
	// sweep sends a request as often as it has statements, and lets another one of them fail each time.
	sweep := func(what string, q raw) {
		operation, _, _ := strings.Cut(what, " ")
		same := q.key == stranger || !slices.Contains(random, operation)
		send := func(n int) (a answer, count int) {
			if q.service != "iam" && q.service != "sts" { // whose entities are not in memory
				forget()
			}
			faults.Arm(n, faultmeta.Before)
			a = m.send(q)
			_, count = faults.Disarm()
			a.Body = unequal.ReplaceAllString(a.Body, "")
			return a, count
		}
		first, _ := send(1 << 30)
		whole, count := send(1 << 30)
		if same && first.Body != whole.Body {
			t.Errorf("%s: two calls give different answers:\n%s\n%s", what, first, whole)
		}
		if q.key == stranger && whole.Status == http.StatusOK {
			t.Errorf("%s by a stranger: got %s, want a refusal", what, whole)
		}
		for n := 1; n <= count; n++ {
			got, _ := send(n)
			swept++
			switch {
			case got.Status >= http.StatusInternalServerError:
				failed++
			case got.Status != whole.Status, same && got.Body != whole.Body:
				t.Errorf("%s, without its statement %d:\n got %s\nwant %s or a failure of the server", what, n, got, whole)
			}
		}
	}
	for what, q := range requests {
		operation, _, _ := strings.Cut(what, " ")
		if q.key = m.key; slices.Contains(reservedForOperator, operation) {
			q.key = operator
		}
		sweep(what, q)
	}
	for _, r := range m.rows {
		if r.Service == "ecr" || r.Service == "ecrin" {
			q := request(t, r, m.samples, map[string]string{"registryId": home})
			q.key = stranger
			sweep(r.Operation+" by a stranger", q)
		}
	}
	t.Logf("%d requests, %d with a statement that fails, of which %d say so", len(requests), swept, failed)
	if strings.Contains(m.Log.String(), "panic") {
		t.Error("the log has a panic")
	}
}
