// Command awsgen writes the types, checks and operation tables of the service models in api/ as Go packages.
//
//	go generate ./tools/awsgen        writes all packages
//	go run ./tools/awsgen -list ecr   lists the operations of a model in order, one a line
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
)

//go:generate go run . -root ../..

// packages lists the models and their packages. A model that is not in api/ is skipped.
var packages = []struct{ model, dir string }{
	{"ecr", "internal/model/ecrtypes"},
	{"sts", "internal/model/ststypes"},
	{"iam", "internal/model/iamtypes"},
	{"ecrin", "internal/model/ecrintypes"},
}

func main() {
	root := flag.String("root", ".", "the directory of go.mod")
	list := flag.String("list", "", "list the operations of this model instead")
	flag.Parse()
	if err := run(*root, *list, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "awsgen:", err)
		os.Exit(1)
	}
}

func run(root, list string, stdout io.Writer) error {
	if list != "" {
		m, err := awsmodel.Load(list)
		if err != nil {
			return err
		}
		for _, op := range m.Operations {
			fmt.Fprintln(stdout, op.Name)
		}
		return nil
	}
	for _, p := range packages {
		if !slices.Contains(awsmodel.Names(), p.model) {
			continue
		}
		files, err := generate(p.model, filepath.Base(p.dir))
		if err != nil {
			return fmt.Errorf("generating %s: %w", p.dir, err)
		}
		for name, text := range files {
			path := filepath.Join(root, p.dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
