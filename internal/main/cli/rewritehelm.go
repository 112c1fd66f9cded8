package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
)

// helmProgram renders charts by the program helm.
type helmProgram struct {
	path      string
	namespace string // of the application; "" for none
}

// helm returns what renders charts; nil if helm is not on the PATH.
func helm(namespace string) rewrite.Helm {
	path, err := exec.LookPath("helm")
	if err != nil {
		return nil
	}
	return helmProgram{path, namespace}
}

// Template implements rewrite.Helm. It asks no cluster.
func (h helmProgram) Template(ctx context.Context, c rewrite.Chart, archive, values []byte) (text []byte, err error) {
	dir, err := os.MkdirTemp("", "ecrin-chart-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, with := filepath.Join(dir, "chart.tgz"), filepath.Join(dir, "values.yaml")
	if err := errors.Join(os.WriteFile(file, archive, 0o600), os.WriteFile(with, values, 0o600)); err != nil {
		return nil, err
	}
	args := []string{"template", c.Release, file, "--include-crds", "--values", with}
	if namespace := c.Namespace; namespace != "" || h.namespace != "" {
		if namespace == "" {
			namespace = h.namespace
		}
		args = append(args, "--namespace", namespace)
	}
	cmd := exec.CommandContext(ctx, h.path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("helm template: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}
