package clients_test

import (
	"encoding/base64"
	"strconv"
	"testing"
	"time"
)

// TestK8ExternalSecrets runs the generator ECRAuthorizationToken of External Secrets against the names of ECR, with the keys of a user and
// with a role: a secret has four keys, and its user and password pull an image. Version 0.16.2 has no setting for the endpoint of ECR.
func TestK8ExternalSecrets(t *testing.T) {
	root := rowSession(t)
	const repo = "k8/app"
	ref := root.repo(repo)
	img := root.pushImage(repo, "v1")
	user := root.user("k8-node")
	root.attach("k8-node", "AmazonEC2ContainerRegistryPullOnly")
	root.role("k8-node", map[string]any{"AWS": userARN(account, "k8-node")}, "AmazonEC2ContainerRegistryPullOnly")
	for what, role := range map[string]string{"keys": "", "role": "arn:aws:iam::" + account + ":role/k8-node"} {
		resource := map[string]any{"apiVersion": "generators.external-secrets.io/v1alpha1", "kind": "ECRAuthorizationToken",
			"spec": map[string]any{"region": region, "role": role}}
		got := fromJSON[map[string]string](t, user.cmd("external-secrets").stdin(toJSON(t, resource)).ok())
		end, err := strconv.ParseInt(got["expires_at"], 10, 64)
		if left := time.Until(time.Unix(end, 0)); len(got) != 4 || err != nil || left < 10*time.Hour || left > 12*time.Hour+time.Minute ||
			got["username"] != "AWS" || got["proxy_endpoint"] != "https://"+root.host() {
			t.Errorf("%s: got %d keys, user %q, endpoint %q, end %q; want 4, AWS, %q, 12 h from now", what, len(got), got["username"],
				got["proxy_endpoint"], got["expires_at"], "https://"+root.host())
		}
		write(t, user.path(".docker/config.json"), toJSON(t, map[string]any{"auths": map[string]any{root.host(): map[string]string{
			"auth": base64.StdEncoding.EncodeToString([]byte(got["username"] + ":" + got["password"]))}}}))
		user.cmd("crane", "pull", "--format", "oci", ref+":v1", user.path(what)).ok()
		if digest := layoutDigest(t, user.path(what)); digest != img.index {
			t.Errorf("%s: pulled %s, want %s", what, digest, img.index)
		}
	}
	root.user("k8-nobody").cmd("external-secrets").stdin(toJSON(t, map[string]any{"spec": map[string]any{"region": region}})).
		prints("unable to get authorization token")
}
