package pack

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// User is the number of the user and the group that ecrin runs as in its image.
const User = 65532

// Ecrin describes the image of ecrin itself, named tag. In a container, the server has to listen on all addresses of the container.
func Ecrin(tag string) Spec {
	return Spec{
		File:    "ecrin",
		Cmd:     []string{"serve", "--data", "/data", "--listen", "0.0.0.0:5100"},
		Ports:   map[string]struct{}{"5100/tcp": {}},
		Volumes: map[string]struct{}{"/data": {}},
		Owned:   []string{"data", "tmp"},
		User:    User,
		Files:   map[string][]byte{"etc/ssl/certs/ca-certificates.crt": authorities()},
		Name:    tag,
		Labels: map[string]string{
			ocispec.AnnotationTitle:       "ecrin",
			ocispec.AnnotationDescription: "Amazon ECR that you run yourself",
			ocispec.AnnotationSource:      "https://github.com/ecrin-dev/ecrin",
			ocispec.AnnotationLicenses:    "Apache-2.0",
		},
	}
}

// authorities returns the certificate authorities that browsers trust, as PEM: for connections to other registries and identity providers.
// Those whose trust has limits that a file cannot say are left out.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return b.Bytes()
}

// SourceRoot returns the root of ecrin's source, of which the working directory is a part.
func SourceRoot(ctx context.Context) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(module)))
	if info, err := os.Stat(filepath.Join(root, "cmd", "ecrin")); err != nil || !info.IsDir() {
		return "", fmt.Errorf("run this inside of ecrin's source: %s has no cmd/ecrin", root)
	}
	return root, nil
}

// CompileArgs returns the arguments of the go command that compile ecrin into a file. The program contains neither paths nor the state of
// the working tree, so that the same source gives the same bytes; with a commit, ecrin version prints it.
func CompileArgs(file, commit string) []string {
	flags := "-s -w"
	if commit != "" {
		flags += " -X github.com/ecrin-dev/ecrin/internal/main/cli.commit=" + commit
	}
	return []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=" + flags, "-o", file, "./cmd/ecrin"}
}

// Compile runs the go command with args for an operating system and an architecture. Errors have what the compiler printed.
func Compile(ctx context.Context, root, system, arch string, args []string) error {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building ecrin for %s/%s: %w\n%s", system, arch, err, text)
	}
	return nil
}
