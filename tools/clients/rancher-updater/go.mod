module github.com/ecrin-dev/ecrin/tools/clients/rancher-updater

go 1.26.0

require (
	github.com/aws/aws-sdk-go v1.55.8
	github.com/rancher/go-rancher v0.1.0
)

require github.com/jmespath/go-jmespath v0.4.0 // indirect
