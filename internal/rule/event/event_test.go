package event_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	sum     = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	alice   = "arn:aws:iam::111122223333:user/alice"
	repoARN = "arn:aws:ecr:eu-west-1:111122223333:repository/team/app"
	ociType = "application/vnd.oci.image.manifest.v1+json"
	bomType = "application/spdx+json"
)

var (
	registry = name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")}
	app      = event.Image{Repository: name.MustRepo("team/app"), Digest: name.MustDigest(sum)}
	noon     = time.Date(2026, 1, 2, 12, 4, 5, 740e6, time.FixedZone("", 3600))
	origin   = event.Origin{
		ID:       event.ID{0x13, 0xcd, 0xe6, 0x86, 0x32, 0x8b, 0x41, 0x17, 0xaf, 0x20, 0x0e, 0x55, 0x66, 0x16, 0x74, 0x82},
		Registry: registry, Time: noon,
	}
	media  = event.Media{Manifest: ociType, Artifact: bomType}
	window = [2]time.Time{noon, noon.Add(time.Minute)}
)

func tags(all ...string) (parsed []name.Tag) {
	for _, s := range all {
		tag, err := name.ParseTag(s)
		if err != nil {
			panic(err)
		}
		parsed = append(parsed, tag)
	}
	return parsed
}

// shapes has an event of each shape, with the text of its detail type, resources and detail.
func shapes() map[string]struct {
	event event.Event
	want  string
	key   string
} {
	type shape = struct {
		event event.Event
		want  string
		key   string
	}
	const (
		ofImage      = "111122223333/eu-west-1/team/app/" + sum
		ofRepository = "111122223333/eu-west-1/team/app"
		ofRegistry   = "111122223333/eu-west-1"
	)
	ecr := func(detailType, resources, detail string) string {
		return envelope(detailType, "aws.ecr", resources, detail)
	}
	own := func(detailType, resources, detail string) string {
		return envelope(detailType, "ecrin", resources, detail)
	}
	repo := `"` + repoARN + `"`
	return map[string]shape{
		"push": {event.ImagePushed(origin, app, tags("1.0"))[0], ecr("ECR Image Action", "",
			`"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"PUSH","image-tag":"1.0"`), ofImage},
		"push without tag": {event.ImagePushed(origin, app, nil)[0], ecr("ECR Image Action", "",
			`"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"PUSH"`), ofImage},
		"delete": {event.ImageDeleted(origin, app, tags("1.0"))[0], ecr("ECR Image Action", "",
			`"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"DELETE","image-tag":"1.0"`), ofImage},
		"referrer push": {event.ReferrerPushed(origin, app, media, nil)[0], ecr("ECR Referrer Action", "",
			`"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"PUSH",`+
				`"manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`"`), ofImage},
		"referrer delete": {event.ReferrerDeleted(origin, app, media, tags("sbom"))[0], ecr("ECR Referrer Action", "",
			`"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"DELETE","image-tag":"sbom",`+
				`"manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`"`), ofImage},
		"archive": {event.ImageArchived(origin, app, media), ecr("ECR Image Action", "",
			`"action-type":"UPDATE_STORAGE_CLASS","target-storage-class":"ARCHIVE","image-digest":"`+sum+`","repository-name":"team/app",`+
				`"result":"SUCCESS","manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`"`), ofImage},
		"restore": {event.ImageRestored(origin, app, media, noon), ecr("ECR Image Action", "",
			`"action-type":"UPDATE_STORAGE_CLASS","target-storage-class":"STANDARD","image-digest":"`+sum+`","repository-name":"team/app",`+
				`"result":"SUCCESS","manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`",`+
				`"last-activated-at":"2026-01-02T11:04:05.74Z"`), ofImage},
		"referrer archive": {event.ReferrerArchived(origin, app, media), ecr("ECR Referrer Action", "",
			`"action-type":"UPDATE_STORAGE_CLASS","target-storage-class":"ARCHIVE","image-digest":"`+sum+`","repository-name":"team/app",`+
				`"result":"SUCCESS","manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`"`), ofImage},
		"referrer restore": {event.ReferrerRestored(origin, app, media, noon), ecr("ECR Referrer Action", "",
			`"action-type":"UPDATE_STORAGE_CLASS","target-storage-class":"STANDARD","image-digest":"`+sum+`","repository-name":"team/app",`+
				`"result":"SUCCESS","manifest-media-type":"`+ociType+`","artifact-media-type":"`+bomType+`",`+
				`"last-activated-at":"2026-01-02T11:04:05.74Z"`), ofImage},
		"scan": {event.ImageScanned(origin, app, true, event.Findings{Critical: 10, Medium: 9}, tags("1.0", "latest")),
			ecr("ECR Image Scan", repo, `"scan-status":"COMPLETE","repository-name":"team/app",`+
				`"finding-severity-counts":{"CRITICAL":10,"MEDIUM":9},"image-digest":"`+sum+`","image-tags":["1.0","latest"]`), ofImage},
		"scan failed": {event.ImageScanned(origin, app, false, event.Findings{}, nil), ecr("ECR Image Scan", repo,
			`"scan-status":"FAILED","repository-name":"team/app","finding-severity-counts":{},"image-digest":"`+sum+`","image-tags":[]`), ofImage},
		"scan frequency": {event.ScanFrequenciesChanged(origin, []event.ScanFrequency{{
			Repository: app.Repository, Now: ecrtypes.ScanFrequencySCAN_ON_PUSH, Previous: ecrtypes.ScanFrequencyMANUAL,
		}})[0], ecr("ECR Scan Resource Change", "", `"action-type":"SCAN_FREQUENCY_CHANGE","repositories":[{"repository-name":"team/app",`+
			`"repository-arn":`+repo+`,"scan-frequency":"SCAN_ON_PUSH","previous-scan-frequency":"MANUAL"}],`+
			`"resource-type":"REPOSITORY","scan-type":"ENHANCED"`), ofRegistry},
		"replication": {event.Replicated(origin, app, name.MustTag("1.0"), name.Registry{
			Account: name.MustAccount("444455556666"), Region: name.MustRegion("us-west-2"),
		}, true), ecr("ECR Replication Action", repo, `"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`",`+
			`"source-account":"444455556666","action-type":"REPLICATE","source-region":"us-west-2","image-tag":"1.0"`), ofImage},
		"replication failed": {event.Replicated(origin, app, name.Tag{}, registry, false), ecr("ECR Replication Action", repo,
			`"result":"FAILED","repository-name":"team/app","image-digest":"`+sum+`",`+
				`"source-account":"111122223333","action-type":"REPLICATE","source-region":"eu-west-1"`), ofImage},
		"cache": {event.CacheSynced(origin, event.CachePull{Prefix: "team", Image: app, Tag: name.MustTag("3.17"), Upstream: "public.ecr.aws"}),
			ecr("ECR Pull Through Cache Action", repo, `"rule-version":"1","sync-status":"SUCCESS","ecr-repository-prefix":"team",`+
				`"repository-name":"team/app","upstream-registry-url":"public.ecr.aws","image-tag":"3.17","image-digest":"`+sum+`"`), ofImage},
		"cache failed": {event.CacheSynced(origin, event.CachePull{
			Prefix: "ROOT", Image: event.Image{Repository: app.Repository}, Upstream: "up", FailureCode: "Timeout", FailureReason: "no answer",
		}), ecr("ECR Pull Through Cache Action", repo, `"rule-version":"1","sync-status":"FAILED","ecr-repository-prefix":"ROOT",`+
			`"repository-name":"team/app","upstream-registry-url":"up","failure-code":"Timeout","failure-reason":"no answer"`), ofRepository},
		"backfill": {event.BackfillFinished(origin, event.Backfill{
			ID: "b-1", Destination: name.Registry{Account: registry.Account, Region: name.MustRegion("us-west-2")},
			Status: ecrtypes.ReplicationBackfillStatusFAILED, Total: 200, Completed: 40, Failed: 160, FailureCode: "TooManyFailures",
		}), ecr("ECR Replication Backfill Action", "", `"result":"FAILED","replication-backfill-id":"b-1",`+
			`"action-type":"REPLICATION_BACKFILL","status":"FAILED","destination-account":"111122223333","destination-region":"us-west-2",`+
			`"total-replication-count":200,"completed-replication-count":40,"failed-replication-count":160,`+
			`"failure-code":"TooManyFailures"`), ofRegistry},
		"pull": {event.ImagePulled(origin, event.Pull{Image: app, Tag: name.MustTag("1.0"), Principal: alice, Count: 1, OneIn: 100}),
			own("Ecrin Image Action", repo, `"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"PULL",`+
				`"image-tag":"1.0","principal":"`+alice+`","count":1,"sampled-one-in":100`), ofImage},
		"pulls": {event.ImagePulled(origin, event.Pull{Image: app, Count: 7, From: window[0], To: window[1]}),
			own("Ecrin Image Action", repo, `"result":"SUCCESS","repository-name":"team/app","image-digest":"`+sum+`","action-type":"PULL",`+
				`"count":7,"window-start":"2026-01-02T11:04:05.74Z","window-end":"2026-01-02T11:05:05.74Z"`), ofImage},
		"repository created": {event.RepositoryCreated(origin, app.Repository, alice), own("Ecrin Repository Action", repo,
			`"result":"SUCCESS","repository-name":"team/app","action-type":"CREATE","principal":"`+alice+`"`), ofRepository},
		"access asked": {event.AccessChanged(origin, event.Access{Action: event.AccessRequested, Repository: app.Repository, ID: "7",
			Requester: alice, Permission: "PULL", Principal: alice}), own("Ecrin Access Action", repo,
			`"result":"SUCCESS","action-type":"ACCESS_REQUESTED","repository-name":"team/app","access-request-id":"7","requester":"`+alice+
				`","permission":"PULL","principal":"`+alice+`"`), ofRepository},
		"access ended": {event.AccessChanged(origin, event.Access{Action: event.AccessEnded, Repository: app.Repository, ID: "7",
			Requester: alice, Permission: "PUSH", Until: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}), own("Ecrin Access Action", repo,
			`"result":"SUCCESS","action-type":"ACCESS_ENDED","repository-name":"team/app","access-request-id":"7","requester":"`+alice+
				`","permission":"PUSH","until":"2026-01-02T03:04:05Z"`), ofRepository},
		"repository deleted": {event.RepositoryDeleted(origin, app.Repository, alice), own("Ecrin Repository Action", repo,
			`"result":"SUCCESS","repository-name":"team/app","action-type":"DELETE","principal":"`+alice+`"`), ofRepository},
		"repository restored": {event.RepositoryRestored(origin, app.Repository, ""), own("Ecrin Repository Action", repo,
			`"result":"SUCCESS","repository-name":"team/app","action-type":"RESTORE"`), ofRepository},
		"repository policy": {event.PolicyChanged(origin, event.PolicyChange{
			Type: event.PolicyRepository, Repository: app.Repository, Principal: alice,
		}), own("Ecrin Policy Action", repo, `"result":"SUCCESS","action-type":"SET","policy-type":"REPOSITORY",`+
			`"repository-name":"team/app","principal":"`+alice+`"`), ofRepository},
		"registry policy": {event.PolicyChanged(origin, event.PolicyChange{Type: event.PolicyRegistry, Deleted: true, Principal: alice}),
			own("Ecrin Policy Action", "", `"result":"SUCCESS","action-type":"DELETE","policy-type":"REGISTRY",`+
				`"principal":"`+alice+`"`), ofRegistry},
		"template": {event.PolicyChanged(origin, event.PolicyChange{Type: event.PolicyCreationTemplate, Name: "team", Principal: alice}),
			own("Ecrin Policy Action", "", `"result":"SUCCESS","action-type":"SET","policy-type":"CREATION_TEMPLATE",`+
				`"policy-name":"team","principal":"`+alice+`"`), ofRegistry},
		"denied": {event.RequestDenied(origin, event.Denial{
			Action: "ecr:BatchGetImage", Principal: alice, Repository: app.Repository, RequestID: "r-1", Count: 12, From: window[0], To: window[1],
		}), own("Ecrin Request Denied", repo, `"result":"DENIED","action":"ecr:BatchGetImage","principal":"`+alice+`",`+
			`"repository-name":"team/app","request-id":"r-1","count":12,`+
			`"window-start":"2026-01-02T11:04:05.74Z","window-end":"2026-01-02T11:05:05.74Z"`), ofRepository},
		"denied once": {event.RequestDenied(origin, event.Denial{Action: "ecr:DescribeRepositories", Count: 1}),
			own("Ecrin Request Denied", "", `"result":"DENIED","action":"ecr:DescribeRepositories","count":1`), ofRegistry},
		"webhook test": {event.WebhookTested(origin, "ci", alice), own("Ecrin Webhook Test", "",
			`"result":"SUCCESS","action-type":"TEST","webhook-name":"ci","principal":"`+alice+`"`), ofRegistry},
	}
}

func envelope(detailType, source, resources, detail string) string {
	return `{"version":"0","id":"13cde686-328b-4117-af20-0e5566167482","detail-type":"` + detailType + `","source":"` + source +
		`","account":"111122223333","time":"2026-01-02T11:04:05Z","region":"eu-west-1","resources":[` + resources +
		`],"detail":{` + detail + `}}`
}

// TestShapes: members, order and order key of every event.
func TestShapes(t *testing.T) {
	t.Parallel()
	for what, s := range shapes() {
		if got := string(s.event.AppendJSON(nil)); got != s.want {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, s.want)
		}
		if got := string(s.event.OrderKey); got != s.key {
			t.Errorf("%s: got order key %s, want %s", what, got, s.key)
		}
		if !json.Valid([]byte(s.want)) {
			t.Errorf("%s: the wanted text is not JSON: %s", what, s.want)
		}
	}
}

// TestOneEventForEachTag: a push with several tags has as many events, with ids that differ and do not change.
func TestOneEventForEachTag(t *testing.T) {
	t.Parallel()
	all := event.ImagePushed(origin, app, tags("1.0", "1", "latest"))
	again := event.ImagePushed(origin, app, tags("1.0", "1", "latest"))
	seen := map[event.ID]bool{}
	for i, e := range all {
		if want := `"image-tag":"` + []string{"1.0", "1", "latest"}[i] + `"}}`; !strings.HasSuffix(string(e.AppendJSON(nil)), want) {
			t.Errorf("event %d: got %s, want the end %s", i, e.AppendJSON(nil), want)
		}
		if id, err := uuid.Parse(e.ID.String()); err != nil || event.ID(id) != e.ID {
			t.Errorf("event %d: id %s is not a UUID: %v", i, e.ID, err)
		}
		if e.ID != again[i].ID || e.OrderKey != all[0].OrderKey {
			t.Errorf("event %d: got id %s and key %s, want %s and %s", i, e.ID, e.OrderKey, again[i].ID, all[0].OrderKey)
		}
		if id := uuid.UUID(e.ID); id.Variant() != uuid.RFC4122 || i > 0 && id.Version() != 8 {
			t.Errorf("event %d: got version %d and variant %s of the id, want 8 and %s", i, id.Version(), id.Variant(), uuid.RFC4122)
		}
		seen[e.ID] = true
	}
	if len(all) != 3 || len(seen) != 3 || all[0].ID != origin.ID {
		t.Errorf("got %d events with %d ids, the first %s; want 3, 3, %s", len(all), len(seen), all[0].ID, origin.ID)
	}
}

const maxBytes = 256 << 10

// TestLongEventsKeepTheirEnvelope: an image with any number of tags has an event of at most 256 KB with all other members.
func TestLongEventsKeepTheirEnvelope(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000, 1001, 10_000} {
		var all []name.Tag
		for i := range n {
			all = append(all, tags(fmt.Sprintf("%0128d", i))...)
		}
		text := event.ImageScanned(origin, app, true, event.Findings{High: 1}, all).AppendJSON(nil)
		var got struct {
			Account   string
			Resources []string
			Detail    struct {
				Digest  string   `json:"image-digest"`
				Tags    []string `json:"image-tags"`
				Omitted int      `json:"omitted-image-tags"`
			}
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if len(text) > maxBytes || got.Account != "111122223333" || got.Detail.Digest != sum || !slices.Equal(got.Resources, []string{repoARN}) {
			t.Errorf("%d tags: got %d bytes, account %s, digest %s, resources %v; want at most %d bytes and all of them",
				n, len(text), got.Account, got.Detail.Digest, got.Resources, maxBytes)
		}
		if kept, omitted := len(got.Detail.Tags), got.Detail.Omitted; kept != min(n, 1000) || kept+omitted != n {
			t.Errorf("%d tags: got %d kept and %d omitted", n, kept, omitted)
		}
		document(t, string(text))
	}
}

// TestManyRepositories: changes of any number of repositories are all in events that are not too long.
func TestManyRepositories(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 250, 251, 1000} {
		var changes []event.ScanFrequency
		for i := range n {
			repo, err := name.ParseRepo(fmt.Sprintf("%0256d", i))
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, event.ScanFrequency{
				Repository: repo, Now: ecrtypes.ScanFrequencyCONTINUOUS_SCAN, Previous: ecrtypes.ScanFrequencyCONTINUOUS_SCAN,
			})
		}
		got := 0
		ids := map[event.ID]bool{}
		events := event.ScanFrequenciesChanged(origin, changes)
		for _, e := range events {
			text := string(e.AppendJSON(nil))
			if len(text) > maxBytes {
				t.Errorf("%d repositories: got an event of %d bytes, want at most %d", n, len(text), maxBytes)
			}
			document(t, text)
			got += strings.Count(text, `"repository-name"`)
			ids[e.ID] = true
		}
		if got != n || len(ids) != len(events) {
			t.Errorf("got %d repositories in %d events with %d ids, want %d", got, len(events), len(ids), n)
		}
	}
}

// TestLongTexts: a text of any length and any bytes gives valid JSON of bounded length.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"a\"b\\c\n\x00\x7f<é\u2028", "a\"b\\c\n\x00\x7f<é\u2028"},
		{"\xff", "\uFFFD"},
		{strings.Repeat("x", 2048), strings.Repeat("x", 2048)},
		{strings.Repeat("x", 2049), strings.Repeat("x", 2048) + "…"},
		{strings.Repeat("x", 2047) + "éé", strings.Repeat("x", 2047) + "…"},
		{strings.Repeat("x", 2045) + "😀", strings.Repeat("x", 2045) + "…"},
		{strings.Repeat("\x01", 1<<20), strings.Repeat("\x01", 2048) + "…"},
	} {
		text := event.PolicyChanged(origin, event.PolicyChange{Type: event.PolicyControl, Name: c.in, Principal: c.in}).AppendJSON(nil)
		var got struct {
			Detail struct {
				Name      string `json:"policy-name"`
				Principal string
			}
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", name.Clip(c.in), err)
		}
		if got.Detail.Name != c.want || got.Detail.Principal != c.want || len(text) > 30_000 {
			t.Errorf("%q: got %q in %d bytes, want %q", name.Clip(c.in), name.Clip(got.Detail.Name), len(text), name.Clip(c.want))
		}
	}
}

// TestOrderKeyIsBounded: the longest names give a key of 446 bytes.
func TestOrderKeyIsBounded(t *testing.T) {
	t.Parallel()
	repo, err := name.ParseRepo(strings.Repeat("r", 256))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := name.ParseDigest("sha512:" + strings.Repeat("0", 128))
	if err != nil {
		t.Fatal(err)
	}
	region, err := name.ParseRegion("aaaaaaaaaa-aaaaaaaaaaaaa-aaaaaaaaaaaa-11")
	if err != nil {
		t.Fatal(err)
	}
	o := origin
	o.Registry.Region = region
	got := event.ImagePulled(o, event.Pull{Image: event.Image{Repository: repo, Digest: digest}, Count: 1}).OrderKey
	if len(got) != 446 {
		t.Errorf("got a key of %d bytes, want 446: %s", len(got), got)
	}
}
