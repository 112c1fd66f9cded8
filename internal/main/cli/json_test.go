package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// notJSON are the commands whose output is no answer, each with the reason.
var notJSON = map[string]string{
	"ecrin serve":              "runs until it is stopped; its log has --log-format",
	"ecrin cluster connect":    "needs a cluster; test/deliver/kube reads its JSON",
	"ecrin credential status":  "needs a cluster; test/deliver/kube reads its JSON",
	"ecrin access request":     "the operator has no access to ask for; accessrequest.txtar reads its JSON",
	"ecrin access withdraw":    "the operator has asked for nothing; accessrequest.txtar reads its JSON",
	"ecrin help":               "is read by people",
	"ecrin refresh kubernetes": "runs until it is stopped; its log has --log-format",
	"ecrin refresh rancher":    "runs until it is stopped; its log has --log-format",
	"ecrin report watch":       "runs until it is stopped; its log has --log-format",
	"ecrin update console":     "runs until it is stopped; TestUpdateConsole reads its JSON",
	"ecrin completion":         "writes a program of a shell",
}

// leaves returns the commands that can be run, without groups, whose help is their only output.
func leaves(t *testing.T) (all []*cobra.Command) {
	t.Helper()
	root := cli.Root(cli.Env{Out: io.Discard, Err: io.Discard, Lookup: nothing})
	root.InitDefaultHelpCmd()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if _, ok := notJSON[cmd.CommandPath()]; ok {
			return
		}
		if !cmd.HasSubCommands() {
			all = append(all, cmd)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return all
}

// Every command that answers has --json.
func TestEveryCommandAnswersInJSON(t *testing.T) {
	t.Parallel()
	for _, cmd := range leaves(t) {
		if cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
	}
}

// Every command that answers writes JSON, and nothing else, on standard output if it is asked to.
func TestAnswersAreJSON(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, data := s.Root(t), s.Dir
	image := ocitest.NewImage(1, 1000)
	root.CreateRepository(t, "team/app").Push(t, "1.0", image)
	root.CreateRepository(t, "old")
	old := "old"
	if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &old, Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := deleteImage(t.Context(), data, "team/app", image.Digest); err != nil {
		t.Fatal(err)
	}
	if err := s.Meta().Enqueue(t.Context(), meta.NewJob{Kind: "none", Key: "x", Input: "{}"}); err != nil {
		t.Fatal(err)
	}
	hook, err := s.Meta().CreateWebhook(t.Context(), meta.Webhook{Registry: s.Registry(), Name: "failed", Sealed: []byte("x")}, 0)
	if err == nil {
		lost := meta.Delivery{Event: meta.Event{ID: hook.Position + 1, Body: "{}"}, State: meta.DeliveryDead}
		err = s.Meta().SaveDelivered(t.Context(), hook.ID, meta.Delivered{From: hook.Position, Position: hook.Position + 1,
			Open: []meta.Delivery{lost}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Meta().PutReport(t.Context(), s.Registry().Account, []meta.ImageReport{{Image: "app:1", Digest: image.Digest, Tag: "1",
		Repository: "docker.io/library/app", Type: "DOCKER_HUB", CreatedAt: time.Now(), Details: "{}"}}, nil); err != nil {
		t.Fatal(err)
	}
	app, err := name.ParseRepo("team/app")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := s.Meta().Repository(t.Context(), s.Registry(), app)
	if err != nil {
		t.Fatal(err)
	}
	for _, permission := range []string{"PULL", "PUSH"} {
		if _, _, err := s.Meta().RequestAccess(t.Context(), meta.AccessRequest{Registry: s.Registry(), Name: app, Repository: asked.ID,
			Permission: permission, Account: s.Registry().Account, Principal: s.Registry().Account.String(),
			PrincipalARN: "arn:aws:iam::000000000000:root"}); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.json")
	if err := os.WriteFile(policy,
		[]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ecr:DeleteRepository","Resource":"*"}}`),
		0o600); err != nil {
		t.Fatal(err)
	}
	lifecycle := filepath.Join(dir, "lifecycle.json")
	if err := os.WriteFile(lifecycle, []byte(`{"version":"ecrin-lifecycle-1","protect":[{"patterns":["1.*"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(dir, "backup")
	credentials := filepath.Join(dir, "secret.json")
	if err := os.WriteFile(credentials, []byte(`{"username":"u","accessToken":"t"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(s.URL, "http://")
	access := filepath.Join(dir, "credentials.yaml")
	profile := "[profile ci]\naws_access_key_id = " + root.KeyID + "\naws_secret_access_key = " + root.Secret + "\n"
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "aws"), []byte(profile), 0o600),
		os.WriteFile(access, []byte("cache: off\nhosts: [{match: '"+host+"', profile: ci, aws_config_file: aws, endpoint: '"+s.URL+"'}]"),
			0o600),
	); err != nil {
		t.Fatal(err)
	}
	// Values that later commands need, by their name in the output of an earlier one.
	desired := filepath.Join(dir, "desired.yaml")
	if err := os.WriteFile(desired, []byte(`{accounts: {"000000000000": {}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	asserted := filepath.Join(dir, "asserted.yaml")
	if err := os.WriteFile(asserted, []byte(`tests: [nobody outside 000000000000 pulls team/app]`), 0o600); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{"digest": image.Digest, "asserted": asserted, "desired": desired,
		"policy": policy, "backup": backup, "secret": credentials, "lifecycle": lifecycle,
		"root": filepath.Join(dir, "root"), "restored": filepath.Join(dir, "restored"), "config": os.DevNull, "ca": filepath.Join(dir,
			"ca.pem")}
	for key, value := range map[string]string{"host": host, "access": access, "bin": filepath.Join(dir, "bin"),
		"dockerfile": filepath.Join(dir, "docker.json")} {
		found[key] = value
	}
	found["release"], found["rewritten"] = filepath.Join(dir, "release"), filepath.Join(dir, "rewritten")
	found["application"] = filepath.Join(dir, "voting")
	writeFile(t, filepath.Join(found["application"], "compose.yaml"), "services: {vote: {build: vote}, redis: {image: redis:7}}\n")
	found["pod"] = filepath.Join(dir, "pod.yaml")
	writeFile(t, found["pod"], "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: '"+found["host"]+"/team/app:2.0'}]}\n")
	found["ecrhost"] = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	writeFile(t, filepath.Join(found["application"], "vote", "Dockerfile"), "FROM scratch\n")
	found["podapplication"] = filepath.Join(dir, "deployed")
	writeFile(t, filepath.Join(found["podapplication"], ".release", "application_template.yaml"),
		"app: shop\nenvironment_templates: [{name: ephemeral}]\nservices: [{name: web, image: '"+found["host"]+"/team/app:2.0'}]\n")
	found["host"], found["docker"] = strings.TrimPrefix(s.URL, "http://"), dir
	login := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, found["host"],
		base64.StdEncoding.EncodeToString([]byte("AWS:"+root.Password(t))))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(data, "master.key"))
	if err == nil {
		err = errors.Join(os.Mkdir(found["restored"], 0o700), os.WriteFile(filepath.Join(found["restored"], "master.key"), key, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	found["granted"] = filepath.Join(t.TempDir(), "granted.json")
	if err := os.WriteFile(found["granted"], []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":`+
		`"arn:aws:iam::000000000000:root"},"Action":"ecr:ListImages"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Meta().PutConsoleSession(t.Context(), meta.ConsoleSession{Hash: "h", ID: "browser", Principal: s.Running.Account,
		CreatedAt: time.Now(), UsedAt: time.Now(), EndsAt: time.Now().Add(time.Hour)}, 9); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("its content is not read")})
	if err := os.WriteFile(found["ca"], ca, 0o600); err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"version", "healthcheck http://$host/readyz", "env",
		"account create 111122223333", "account list", "account keys create 111122223333 | accessKeyId",
		"account keys list 111122223333", "account keys disable $accessKeyId", "account keys enable $accessKeyId",
		"account keys delete $accessKeyId", "account delete 111122223333", "apply -f $desired",
		"application init $application", "application validate $application",
		"image history team/app", "image deleted team/app", "image restore team/app@$digest --tag 1.0",
		"bundle key --key-file $bundlekey", "bundle create $host/team/app:1.0 --output $bundle --key-file $bundlekey --receipts $receipts",
		"bundle inspect $bundle --key $bundlepub", "bundle verify $bundle --key $bundlepub",
		"bundle join $bundle --key $bundlepub --output $joined", "bundle import $bundle --key $bundlepub --to $host/mirror --receipts $receipts",
		"bundle inventory $host/team/app --output $have --key-file $bundlekey --receipts $receipts",
		"export $host/mirror/team/app --output $exported --have $have --key-file $bundlekey --receipts $receipts",
		"import $exported --key $bundlepub --to $host --dry-run --receipts $receipts",
		"explain pull $host/team/app:1.0 --platform linux/amd64 --docker-config $docker",
		"image copy team/app:1.0 team/app:2.0", "preflight $pod",
		"cloud add aws2 --region eu-west-1 --access-key-id AKIAAAAAAAAAAAAAAAAA --secret-file $secret",
		"cluster add c0 --region eu-west-1 --principal 000000000000", "application create $application --cluster c0",
		"application build vote $application --cluster c0 --dry-run --commit 1", "application registry add $ecrhost --cloud aws2",
		"application deploy preview $podapplication --cluster c0 --region us-east-1",
		"application replicate team/app:2.0 --to eu-west-1", "cluster delete c0", "repository deleted | repositoryId",
		"repository restore $repositoryId --as app-of-may",
		"image untag team/app:1.0", "repository protect team/app --images", "repository protection team/app", "repository unprotect team/app",
		"policy check --kind scp $policy", "policy print --pull --principal 000000000000",
		"policy grant pull team/app --to 000000000000 --apply", "policy unused team/app", "policy remove team/app",
		"policy replace team/app $granted", "console-session list | sessionId", "console-session revoke $sessionId", "doctor server",
		"explain --as 000000000000 --action ecr:BatchGetImage --on team/app:1.0", "audit --limit 1",
		"control-policy put no --kind scp --file $policy", "control-policy list", "control-policy delete no --kind scp",
		"control-policy full-access off --kind rcp --account 000000000000",
		"control-policy full-access on --kind rcp --account 000000000000",
		"secret put ecr-pullthroughcache/hub --file $secret", "secret list",
		"secret delete ecr-pullthroughcache/hub",
		"cloud add aws --region eu-west-1 --access-key-id AKIAAAAAAAAAAAAAAAAA --secret-file $secret", "cloud list", "cloud show aws",
		"cloud test aws", "runtime add west --version 0.1.33", "runtime list", "runtime show west",
		"cluster add c1 --region eu-west-1 --principal 000000000000 --cloud aws", "cluster list", "cluster show c1", "cluster delete c1",
		"cloud delete aws", "rancher add staging --host node1", "rancher list", "rancher show staging",
		"rancher registry staging registry.invalid --secret-file $secret", "rancher dockerconfig staging node1 --file $dockerfile",
		"rancher delete staging",
		"config-repository set https://git.invalid/config.git --namespace x --secret-store vault", "config-repository show",
		"config-repository status", "config-repository sync", "config-repository remove --keep-files",
		"integration add mirror --kind oci --registry-host receiver.invalid", "integration list", "integration show mirror",
		"integration update mirror --runtime west", "integration test mirror", "integration delete mirror", "runtime delete west",
		"integration new-reader vendor --repository team/app",
		"report list", "report annotate app:1 quality passed", "report deployed app:1 --application shop", "report show app:1",
		"report matrix",
		"policy test $asserted", "lifecycle put team/app $lifecycle", "lifecycle test $lifecycle team/app",
		"lifecycle preview team/app",
		"lifecycle get team/app",
		"image pin team/app:2.0", "image pinned team/app", "image uses team/app:2.0", "image unpin team/app@$digest",
		"image pulls team/app:2.0", "image layers team/app:2.0", "usage --by rule",
		"image delete team/app:2.0", "lifecycle delete team/app",
		"job list --kind none | jobId", "job show $jobId", "job cancel $jobId", "job retry $jobId", "usage", "usage --since 1d --by principal",
		"usage --by tag --hourly", "search images app --sort size --limit 1",
		"search repositories * --sort pulled --reverse",
		"quota put team --images 9 --bytes 1GiB", "quota list", "quota delete team", "gc", "verify", "hosts", "doctor",
		"doctor kubelet --config $access --bin-dir $bin",
		"webhook add deploy https://receiver.invalid/", "webhook list", "webhook update deploy --new-secret", "webhook test deploy",
		"webhook url deploy", "webhook try https://receiver.invalid/",
		"webhook deliveries failed | deliveryId", "events --limit 1", "webhook redeliver failed $deliveryId", "webhook delete deploy",
		"webhook delete failed",
		"access list | accessRequestId", "access show $accessRequestId", "access approve $accessRequestId --for 1d --yes",
		"access revoke $accessRequestId", "access list --status open | accessRequestId", "access refuse $accessRequestId",
		"app create shop --slug shop", "app list", "app show shop", "app fleet shop", "app pulls shop", "app egress shop --by customer",
		"app threshold set shop 1GiB", "app threshold list shop", "channel create shop Nightly", "channel list shop",
		"channel update shop nightly --semver", "channel archive shop nightly", "release init $release", "release create shop $release",
		"release list shop", "release show shop 1", "release promote shop 1 stable --version 1.0.0", "release versions shop stable",
		"release demote shop stable 1", "customer create shop big --channel stable", "customer list shop", "customer show shop big",
		"customer update shop big --type paid", "customer token create shop big east", "customer token rotate shop big east",
		"customer token list shop big", "customer token revoke shop big east", "license get shop big", "license key",
		"explain license shop big shop/none:1",

		"rewrite $release --registry registry.example.com/shop --no-copy --output $rewritten",
		"install $applicense --key $appkey --kubeconfig $kubeconfig --namespace parts --dir $appdir --skip-checks",
		"update check --dir $appdir", "update preflight --dir $appdir --egress-allow 127.0.0.1",
		"update list --dir $appdir --refresh", "update diff --dir $appdir", "update config --dir $appdir",
		"update license --dir $appdir", "update registry r.invalid --no-copy --dir $appdir", "update registry --none --dir $appdir",
		"update deploy --dir $appdir", "update rollback --dir $appdir",
		"release airgap parts unstable --output $airgap",
		"update airgap $airgap --dir $appdir --registry $own --username AWS --password-file $apppassword",
		"update registry --none --dir $appdir", "update watch --once --dir $appdir", "files --dir $appdir",
		"entitlement add shop --customer big --repository shop/* | entitlementId", "entitlement list shop --customer big",
		"entitlement preview shop --repository shop/*", "app egress shop --months",
		"integration add hub --kind oci --registry-host receiver.invalid", "app registry add hub --app shop",
		"app registry list --app shop", "app registry test hub", "app registry remove hub --app shop", "integration delete hub",
		"app host add images.example.com --app shop", "app host list --app shop", "app host remove images.example.com --app shop",
		"entitlement delete shop $entitlementId", "customer archive shop big", "app delete shop",
		"token list", "token revoke --all",
		"backup $backup", "restore $backup --data $restored", "key show --data $restored", "key rotate --data $restored",
		"config check --config $config",
		"trust install --print --root $root", "trust remove --print --root $root", "trust print --ca $ca",
		"trust show --root $root",
		"credential print $host --config $access", "credential install $bin", "credential containerd --host $host",
		"credential k3s --host $host",
		"credential kubelet --registry $host --role arn:aws:iam::000000000000:role/pull",
		"refresh dockerconfig $dockerfile --config $access --once", "refresh exec --config $access --once true",
	}
	maps.Copy(found, installable(t, s))
	maps.Copy(found, bundled(t))
	var covered []string
	for _, line := range lines {
		command, member, _ := strings.Cut(line, " | ")
		args := strings.Fields(os.Expand(command, func(name string) string { return found[name] }))
		args = append(args, "--json")
		if cmd, _, err := cli.Root(cli.Env{Lookup: nothing}).Find(args); err == nil && cmd.Flag("data") != nil &&
			!strings.Contains(command, "--data") {
			args = append(args, "--data", data)
		}
		code, out, errs := run(t, args...)
		refused := code == 3 && args[0] == "explain"
		if code != 0 && !refused && args[0] != "doctor" { // what the doctor finds depends on the machine
			t.Errorf("ecrin %s: exit code %d, %s", strings.Join(args, " "), code, errs)
			continue
		}
		var parsed any
		if err := json.Unmarshal([]byte(out), &parsed); err != nil {
			t.Errorf("ecrin %s: got %q, want JSON: %v", strings.Join(args, " "), out, err)
		}
		if member != "" {
			if found[member] = memberOf(parsed, member); found[member] == "" {
				t.Fatalf("ecrin %s: got %s, want a member %s", strings.Join(args, " "), out, member)
			}
		}
		covered = append(covered, "ecrin "+strings.Join(args, " "))
	}
	for _, cmd := range leaves(t) {
		if !cmd.Parent().Hidden && !slices.ContainsFunc(covered, func(line string) bool {
			return strings.HasPrefix(line+" ", cmd.CommandPath()+" ")
		}) {
			t.Errorf("%s: no line of this test runs it", cmd.CommandPath())
		}
	}
}

// memberOf returns the first string under a name in a JSON value.
func memberOf(v any, name string) string {
	switch v := v.(type) {
	case map[string]any:
		if s, ok := v[name].(string); ok {
			return s
		}
		for _, sub := range v {
			if s := memberOf(sub, name); s != "" {
				return s
			}
		}
	case []any:
		for _, sub := range v {
			if s := memberOf(sub, name); s != "" {
				return s
			}
		}
	}
	return ""
}
