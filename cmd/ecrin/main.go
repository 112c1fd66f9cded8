// Command ecrin is Amazon ECR that you run yourself.
package main

import (
	"context"
	"os"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
)

func main() { os.Exit(cli.Main(context.Background())) }
