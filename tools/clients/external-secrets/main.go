// Command external-secrets runs the generator ECRAuthorizationToken of External Secrets, its own code, as the controller does for an
// ExternalSecret that refers to one: it reads the resource as JSON from standard input, and prints the keys and values of the secret
// as JSON. The credentials are those of the environment, as without auth in the resource.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/external-secrets/external-secrets/pkg/generator/ecr"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	resource, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("reading the resource: %w", err)
	}
	made, _, err := (&ecr.Generator{}).Generate(context.Background(), &apiextensions.JSON{Raw: resource}, nil, "default")
	if err != nil {
		return err
	}
	out := map[string]string{}
	for key, value := range made {
		out[key] = string(value)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
