package outside_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/configrepo"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// C1: an integration by key for all runtimes is two files of the folder for all, no plain secret is in git, and its state is SYNCING and
// then SYNCED.
func TestC1IntegrationForAllRuntimes(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	c.synced(t)
	in := c.key(t, "prod")
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.Before(func() {
		once.Do(func() { close(began) })
		<-release
	})
	add(t, c.near, in)
	<-began
	if got := c.syncStatus(t, "prod"); got != "SYNCING" {
		t.Errorf("while it is tested: got %s, want SYNCING", got)
	}
	close(release)
	out := c.synced(t)
	want := []string{"README.md", all + "prod.registry-ecr.config.yaml", all + "prod.registry-ecr.secret.yaml"}
	if got := files(t, c.dir); !slices.Equal(got, want) {
		t.Fatalf("got the files %v, want %v", got, want)
	}
	if got := c.syncStatus(t, "prod"); got != "SYNCED" || out.Integrations[0].SyncStatus != "SYNCED" {
		t.Errorf("got %s and %s, want SYNCED", got, shown(out))
	}
	data := parse(t, content(t, c.dir, want[1]))
	labels := map[string]string{"io.codefresh.integration-type": "registry.ecr", "io.codefresh.integration-name": "prod"}
	if data.Kind != "ConfigMap" || data.Metadata.Name != "prod" || data.Metadata.Namespace != "delivery" ||
		!maps.Equal(data.Metadata.Labels, labels) {
		t.Errorf("got the file\n%s", content(t, c.dir, want[1]))
	}
	for key, value := range map[string]string{"name": "prod", "type": "registry.ecr", "authMode": "accessKey", "region": in.RemoteRegion,
		"secretName": "prod", "runtimes": "*", "accessKeyId": strings.Repeat("*", 16) + in.AwsAccessKeyId[16:]} {
		if data.Data[key] != value {
			t.Errorf("%s: got %q, want %q", key, data.Data[key], value)
		}
	}
	hidden := parse(t, content(t, c.dir, want[2]))
	wantHidden := map[string]string{"aws-access-key": in.AwsAccessKeyId, "aws-secret-key": in.AwsSecretAccessKey,
		"aws-region": in.RemoteRegion}
	if got := c.cluster.open(t, hidden); hidden.Kind != "SealedSecret" || !maps.Equal(got, wantHidden) {
		t.Errorf("got a %s with %v, want a SealedSecret with %v", hidden.Kind, got, wantHidden)
	}
	c.noSecrets(t, in.AwsSecretAccessKey, in.AwsAccessKeyId)
}

// C2: for selected runtimes the files are in their folders only; a scope of one of them removes those of the other.
func TestC2IntegrationForSelectedRuntimes(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	c.runtime(t, "r1")
	c.runtime(t, "r2")
	in := c.key(t, "prod")
	in.Runtimes = []string{"r1", "r2"}
	add(t, c.near, in)
	c.synced(t)
	pair := func(runtime string) []string {
		return []string{"resources/runtimes/" + runtime + "/prod.registry-ecr.config.yaml",
			"resources/runtimes/" + runtime + "/prod.registry-ecr.secret.yaml"}
	}
	if got, want := files(t, c.dir), slices.Concat([]string{"README.md"}, pair("r1"), pair("r2")); !slices.Equal(got, want) {
		t.Fatalf("got the files %v, want %v", got, want)
	}
	if got := parse(t, content(t, c.dir, pair("r2")[0])).Data["runtimes"]; got != "r1,r2" {
		t.Errorf("runtimes: got %q, want r1,r2", got)
	}
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "prod", Runtimes: []string{"r1"}})
	c.synced(t)
	if got, want := files(t, c.dir), slices.Concat([]string{"README.md"}, pair("r1")); !slices.Equal(got, want) {
		t.Errorf("after a scope of r1 alone: got the files %v, want %v", got, want)
	}
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "prod", Remove: []ecrintypes.IntegrationPart{"RUNTIMES"}})
	c.synced(t)
	want := []string{"README.md", all + "prod.registry-ecr.config.yaml", all + "prod.registry-ecr.secret.yaml"}
	if got := files(t, c.dir); !slices.Equal(got, want) {
		t.Errorf("for all runtimes: got the files %v, want %v", got, want)
	}
}

// C3: an integration with a wrong secret, and one whose key may not get a token, are shown with the API's code and message, and nothing is
// committed. A key that works is not replaced by one that does not.
func TestC3NothingIsCommittedOfAnIntegrationThatFails(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	c.synced(t)
	head := gitRun(t, c.dir, "rev-parse", "main")
	wrong, mute := c.key(t, "wrong"), c.in("mute")
	wrong.AwsSecretAccessKey = "wrong-secret-value"
	mute.AwsAccessKeyId, mute.AwsSecretAccessKey = c.user(t, "mute", *allowed("ecr:BatchGetImage"))
	add(t, c.near, wrong)
	add(t, c.near, mute)
	out := settled(t, c.near)
	for label, want := range map[string][]string{"wrong": {"SignatureDoesNotMatch"},
		"mute": {"AccessDeniedException", "is not authorized to perform: ecr:GetAuthorizationToken"}} {
		n := slices.IndexFunc(out.Integrations, func(i ecrintypes.ConfigIntegration) bool { return i.IntegrationName == label })
		got := out.Integrations[n]
		if got.SyncStatus != "OUT_OF_SYNC" || len(got.Paths) > 0 || !strings.Contains(got.Reason, "nothing is committed") {
			t.Errorf("%s: got %s, want it out of sync and nothing committed", label, shown(got))
		}
		for _, text := range want {
			if !strings.Contains(got.Reason, text) {
				t.Errorf("%s: got the reason %q, want %q in it", label, got.Reason, text)
			}
		}
	}
	if out.SyncStatus != "OUT_OF_SYNC" || gitRun(t, c.dir, "rev-parse", "main") != head {
		t.Errorf("got %s and the files %v, want nothing committed", shown(out), files(t, c.dir))
	}
	id, secret := c.user(t, "good", *allowed("ecr:*"))
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "wrong", AwsAccessKeyId: id, AwsSecretAccessKey: secret})
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "mute", AwsAccessKeyId: id, AwsSecretAccessKey: secret})
	c.synced(t)
	before := content(t, c.dir, all+"mute.registry-ecr.secret.yaml")
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "mute", AwsAccessKeyId: id, AwsSecretAccessKey: "broken"})
	if out := settled(t, c.near); c.syncStatus(t, "mute") != "OUT_OF_SYNC" || c.syncStatus(t, "wrong") != "SYNCED" ||
		content(t, c.dir, all+"mute.registry-ecr.secret.yaml") != before {
		t.Errorf("after a broken key: got %s, want the working one in git", shown(out))
	}
}

// C15: a deleted integration leaves no file, also one that is deleted while it is written.
func TestC15DeletedIntegrationLeavesNoFile(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	remove := func(label string) {
		t.Helper()
		if err := call(t, c.near, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: label},
			&ecrintypes.IntegrationResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	add(t, c.near, c.key(t, "a"))
	add(t, c.near, c.key(t, "b"))
	c.synced(t)
	remove("a")
	c.synced(t)
	want := []string{"README.md", all + "b.registry-ecr.config.yaml", all + "b.registry-ecr.secret.yaml"}
	if got := files(t, c.dir); !slices.Equal(got, want) {
		t.Errorf("after the deletion of a: got the files %v, want %v", got, want)
	}
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.Before(func() {
		once.Do(func() { close(began) })
		<-release
	})
	add(t, c.near, c.key(t, "late"))
	<-began
	remove("late")
	close(release)
	c.synced(t)
	remove("b")
	c.synced(t)
	if got := files(t, c.dir); !slices.Equal(got, []string{"README.md"}) {
		t.Errorf("after all deletions: got the files %v, want none of integrations", got)
	}
}

// C16: another key of an integration, and of the cloud integration that it names, is what the cluster opens next.
func TestC16RotatedKeysAreWritten(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	id, secret := c.user(t, "old", *allowed("ecr:*"))
	c.cloud(t, ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", AwsAccessKeyId: id, AwsSecretAccessKey: secret})
	byCloud := c.in("cloud")
	byCloud.CloudName = "aws"
	add(t, c.near, byCloud)
	add(t, c.near, c.key(t, "key"))
	c.synced(t)
	newID, newSecret := c.user(t, "new", *allowed("ecr:*"))
	c.cloud(t, ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", AwsAccessKeyId: newID, AwsSecretAccessKey: newSecret})
	c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "key", AwsAccessKeyId: newID, AwsSecretAccessKey: newSecret})
	c.synced(t)
	for _, label := range []string{"cloud", "key"} {
		got := c.cluster.open(t, parse(t, content(t, c.dir, all+label+".registry-ecr.secret.yaml")))
		if got["aws-access-key"] != newID || got["aws-secret-key"] != newSecret {
			t.Errorf("%s: got %v, want the new key %s", label, got, newID)
		}
	}
	c.noSecrets(t, secret, newSecret)
}

// By role neither key nor token is written: the role, for the runtime to assume.
func TestConfigRepositoryByRole(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	id, secret := c.user(t, "proxy", *allowed("sts:AssumeRole"))
	role := c.role(t, "integration", "arn:aws:iam::"+c.root.ID+":user/proxy", "ecr:*")
	in := c.in("prod")
	in.AwsAccessKeyId, in.AwsSecretAccessKey, in.RoleArn = id, secret, role
	add(t, c.near, in)
	c.synced(t)
	got := c.cluster.open(t, parse(t, content(t, c.dir, all+"prod.registry-ecr.secret.yaml")))
	if want := map[string]string{"role": role, "aws-region": in.RemoteRegion}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if data := parse(t, content(t, c.dir, all+"prod.registry-ecr.config.yaml")).Data; data["authMode"] != "role" || data["role"] != role {
		t.Errorf("got %v, want the mode role", data)
	}
}

// Changes by hand are shown and stay: a changed file, a removed one, and one that is there already. When they are undone, all is written.
func TestConfigRepositoryKeepsChangesByHand(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	for _, label := range []string{"changed", "deleted"} {
		add(t, c.near, c.key(t, label))
	}
	c.synced(t)
	path := func(label, what string) string { return all + label + ".registry-ecr." + what + ".yaml" }
	original := content(t, c.dir, path("changed", "config"))
	byHand(t, c.dir, func(tree string) {
		write(t, tree, path("changed", "config"), original+"# by hand\n")
		write(t, tree, path("foreign", "secret"), "mine\n")
		if err := os.Remove(filepath.Join(tree, path("deleted", "secret"))); err != nil {
			t.Fatal(err)
		}
	})
	add(t, c.near, c.key(t, "foreign"))
	add(t, c.near, c.key(t, "other"))
	id, secret := c.user(t, "next", *allowed("ecr:*"))
	for _, label := range []string{"changed", "deleted"} {
		c.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: label, AwsAccessKeyId: id, AwsSecretAccessKey: secret})
	}
	c.sync(t)
	out := c.sync(t)
	want := []ecrintypes.ConfigDrift{{Path: path("changed", "config"), IntegrationName: "changed", Kind: "CHANGED"},
		{Path: path("deleted", "secret"), IntegrationName: "deleted", Kind: "DELETED"},
		{Path: path("foreign", "secret"), IntegrationName: "foreign", Kind: "FOREIGN"}}
	if !slices.Equal(out.Drift, want) || out.SyncStatus != "OUT_OF_SYNC" {
		t.Errorf("got %s and the drift %s, want %s", out.SyncStatus, shown(out.Drift), shown(want))
	}
	for label, want := range map[string]string{"changed": "OUT_OF_SYNC", "deleted": "OUT_OF_SYNC", "foreign": "OUT_OF_SYNC",
		"other": "SYNCED"} {
		if got := c.syncStatus(t, label); got != want {
			t.Errorf("%s: got %s, want %s", label, got, want)
		}
	}
	now := files(t, c.dir)
	if content(t, c.dir, path("changed", "config")) != original+"# by hand\n" || content(t, c.dir, path("foreign", "secret")) != "mine\n" ||
		slices.Contains(now, path("deleted", "secret")) || slices.Contains(now, path("foreign", "config")) {
		t.Errorf("changes by hand were overwritten: %v", now)
	}
	if err := call(t, c.near, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "changed"},
		&ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	c.sync(t)
	if now := files(t, c.dir); !slices.Contains(now, path("changed", "config")) || slices.Contains(now, path("changed", "secret")) {
		t.Errorf("after the deletion: got %v, want the changed file and not the other", now)
	}
	gitRun(t, c.dir, "update-ref", "refs/keep/hand", "main")
	byHand(t, c.dir, func(tree string) {
		write(t, tree, path("changed", "config"), original)
		for _, file := range []string{path("foreign", "secret")} {
			if err := os.Remove(filepath.Join(tree, file)); err != nil {
				t.Fatal(err)
			}
		}
		gitRun(t, tree, "fetch", "-q", c.dir, "refs/keep/hand")
		history := strings.Fields(gitRun(t, tree, "log", "--format=%H", "--diff-filter=A", "--", path("deleted", "secret")))
		gitRun(t, tree, "checkout", history[len(history)-1], "--", path("deleted", "secret"))
	})
	out = c.sync(t)
	if out.SyncStatus != "SYNCED" || len(out.Drift) > 0 {
		t.Fatalf("after the changes were undone: got %s, want it synced", shown(out))
	}
	for _, file := range []string{path("changed", "config"), path("changed", "secret")} {
		if slices.Contains(files(t, c.dir), file) {
			t.Errorf("%s of the deleted integration is still there", file)
		}
	}
	got := c.cluster.open(t, parse(t, content(t, c.dir, path("deleted", "secret"))))
	if got["aws-access-key"] != id {
		t.Errorf("the restored file: got %v, want the new key", got)
	}
}

// Others push between a read and a push; each change of both arrives, and no push is forced.
func TestConfigRepositoryWithOtherPushes(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	c.synced(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; n < 8; {
			if pushes(t, c.dir, func(tree string) { write(t, tree, "apps/"+strings.Repeat("x", n+1), "x") }) {
				n++ // otherwise the server was faster
			}
		}
	}()
	for _, label := range []string{"a", "b", "c", "d"} {
		add(t, c.near, c.key(t, label))
	}
	<-done
	eventually(t, "all is written", func() bool { return c.sync(t).SyncStatus == "SYNCED" })
	if got := files(t, c.dir); len(got) != 1+8+8 {
		t.Errorf("got the files %v, want 8 of others and 8 of integrations", got)
	}
	gitRun(t, c.dir, "fsck", "--strict")
}

// The repository goes: with its files, or without them; another place is refused while there are files.
func TestConfigRepositoryRemove(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	add(t, c.near, c.key(t, "a"))
	c.synced(t)
	other := bare(t, true)
	err := call(t, c.near, "PutConfigRepository", ecrintypes.PutConfigRepositoryRequest{Url: "file://" + other, Namespace: "x",
		SecretStore: "vault"}, &ecrintypes.ConfigRepositoryResponse{})
	if code(err) != "InvalidParameterException" {
		t.Errorf("a path that the operator does not allow: got %v", err)
	}
	err = call(t, c.near, "PutConfigRepository", ecrintypes.PutConfigRepositoryRequest{Url: "file://" + c.dir + "?ref=other", Namespace: "x",
		SecretStore: "vault"}, &ecrintypes.ConfigRepositoryResponse{})
	if code(err) != "ResourceInUseException" {
		t.Errorf("another branch: got %v, want ResourceInUseException", err)
	}
	c.set(t, ecrintypes.PutConfigRepositoryRequest{SecretStore: "vault", SecretPrefix: "ecrin/"})
	c.synced(t)
	if got := content(t, c.dir, all+"a.registry-ecr.secret.yaml"); !strings.Contains(got, "kind: ExternalSecret") ||
		!strings.Contains(got, "key: ecrin/a\n") || !strings.Contains(got, "property: aws-secret-key") {
		t.Errorf("got\n%s\nwant an ExternalSecret", got)
	}
	if err := call(t, c.near, "DeleteConfigRepository", ecrintypes.DeleteConfigRepositoryRequest{},
		&ecrintypes.ConfigRepositoryResponse{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone", func() bool {
		return code(call(t, c.near, "DescribeConfigRepository", ecrintypes.ConfigRepositoryRequest{},
			&ecrintypes.ConfigRepositoryResponse{})) == "ResourceNotFoundException"
	})
	if got := files(t, c.dir); !slices.Equal(got, []string{"README.md"}) {
		t.Errorf("got the files %v, want none of integrations", got)
	}
	c.set(t, ecrintypes.PutConfigRepositoryRequest{})
	c.synced(t)
	yes := true
	if err := call(t, c.near, "DeleteConfigRepository", ecrintypes.DeleteConfigRepositoryRequest{KeepFiles: &yes},
		&ecrintypes.ConfigRepositoryResponse{}); err != nil {
		t.Fatal(err)
	}
	if got := files(t, c.dir); len(got) != 3 {
		t.Errorf("kept: got the files %v, want those of the integration", got)
	}
}

// A certificate that has ended seals nothing more.
func TestConfigRepositoryCertificateEnds(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	c.synced(t)
	c.cluster = newCluster(t, time.Now().Add(-time.Hour))
	c.set(t, ecrintypes.PutConfigRepositoryRequest{})
	add(t, c.near, c.key(t, "a"))
	out := settled(t, c.near)
	if len(out.Integrations) != 1 || !strings.Contains(out.Integrations[0].Reason, "the certificate of Sealed Secrets has ended") {
		t.Errorf("got %s, want the end of the certificate as the reason", shown(out))
	}
}

// A process that was killed between its push and the end of its attempt has left what it was about to write in the state: the next attempt
// knows the files as its own, writes them again, or removes them with their integration.
func TestConfigRepositoryAfterAKillBetweenPushAndState(t *testing.T) {
	t.Parallel()
	c := newConfigured(t)
	add(t, c.near, c.key(t, "stays"))
	add(t, c.near, c.key(t, "goes"))
	c.synced(t)
	store := c.near.Meta()
	row, err := store.ConfigRepository(t.Context(), c.near.Registry().Account)
	if err != nil {
		t.Fatal(err)
	}
	st, err := configrepo.StateOf(row)
	if err != nil {
		t.Fatal(err)
	}
	for path, f := range st.Files { // as it was stored before the push
		st.Files[path] = configrepo.File{Integration: f.Integration, Tried: []string{f.ID}, TriedAt: time.Now()}
	}
	st.Written, st.Head, st.Seen = nil, "", 0
	text, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.SaveConfigState(t.Context(), row, string(text)); err != nil {
		t.Fatal(err)
	}
	if err := call(t, c.near, "DeleteIntegration", ecrintypes.IntegrationRequest{IntegrationName: "goes"},
		&ecrintypes.IntegrationResponse{}); err != nil {
		t.Fatal(err)
	}
	out := c.synced(t)
	want := []string{"README.md", all + "stays.registry-ecr.config.yaml", all + "stays.registry-ecr.secret.yaml"}
	if got := files(t, c.dir); !slices.Equal(got, want) || len(out.Drift) > 0 || c.syncStatus(t, "stays") != "SYNCED" {
		t.Errorf("got the files %v and %s, want %v without drift", got, shown(out), want)
	}
}
