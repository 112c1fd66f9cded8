// Package api holds the service models: which operations, shapes, constraints and errors each AWS-shaped API has.
//
// The models are data and the source of the generated packages; [github.com/ecrin-dev/ecrin/internal/model/awsmodel] reads
// them. No part of the server imports this package.
package api

import "embed"

// Files holds NAME-api.json for each model NAME.
//
//go:embed *-api.json
var Files embed.FS
