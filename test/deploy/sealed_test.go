package deploy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/gitops"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// kubeseal, the program of Sealed Secrets, opens what an integration is written as, and makes the Secret of it; under another name or
// namespace it does not.
func TestKubesealOpensIntegrations(t *testing.T) {
	t.Parallel()
	kubeseal := client(t, "kubeseal")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sealed"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	sealer, err := gitops.NewSealer(string(certificate))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"aws-access-key": "AKIAAAAAAAAAAAAAAAAA", "aws-secret-key": "secret/with+signs=", "aws-region": "eu-west-1"}
	hidden := map[string]secret.String{}
	for k, v := range want {
		hidden[k] = secret.New(v)
	}
	files, err := gitops.Files(gitops.Integration{Name: "prod", Type: "registry.ecr", Secret: hidden},
		func(string) (gitops.Target, error) { return gitops.Target{Namespace: "delivery", Sealer: sealer}, nil }, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private := filepath.Join(dir, "key.pem")
	sealed := filepath.Join(dir, "sealed.yaml")
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(private, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	content := files[gitops.AllFolder+"/prod.registry-ecr.secret.yaml"]
	write(sealed, content)
	open := []string{kubeseal, "--recovery-unseal", "--recovery-private-key", private, "--secret-file", sealed, "--format", "json"}
	var got struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
		Data     map[string]string
	}
	text := run(t, open...)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if got.Kind != "Secret" || got.Metadata.Name != "prod" || got.Metadata.Namespace != "delivery" || len(got.Data) != len(want) {
		t.Errorf("got\n%s", text)
	}
	for k, v := range want {
		if b, err := base64.StdEncoding.DecodeString(got.Data[k]); err != nil || string(b) != v {
			t.Errorf("%s: got %q and %v, want %q", k, b, err, v)
		}
	}
	other, err := gitops.Files(gitops.Integration{Name: "prod", Type: "registry.ecr", Secret: hidden},
		func(string) (gitops.Target, error) { return gitops.Target{Namespace: "elsewhere", Sealer: sealer}, nil }, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	moved := string(other[gitops.AllFolder+"/prod.registry-ecr.secret.yaml"])
	write(sealed, []byte(strings.ReplaceAll(moved, "namespace: elsewhere", "namespace: delivery")))
	if text, err := try(open...); err == nil {
		t.Errorf("a value that was sealed for another namespace: it is opened\n%s", text)
	}
}
