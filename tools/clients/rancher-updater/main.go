// Command rancher-updater makes the calls of the service rancher-ecr-credentials, whose module no proxy has, with the libraries that
// it is made of: the v1 client of Rancher, and version 1 of the SDK. It takes its variables. Its turn comes at the start and with each
// line of standard input, instead of every 6 hours, and it waits for no further attempt; the end of the input ends it. After a turn it
// prints a line.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/ecr"
	"github.com/rancher/go-rancher/client"
)

// email is what the service writes into each credential.
const email = "not-really@required.anymore"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	create := false
	if text := os.Getenv("AUTO_CREATE"); text != "" {
		var err error
		if create, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("AUTO_CREATE: %w", err)
		}
	}
	api, err := client.NewRancherClient(&client.ClientOpts{Url: os.Getenv("CATTLE_URL"), AccessKey: os.Getenv("CATTLE_ACCESS_KEY"),
		SecretKey: os.Getenv("CATTLE_SECRET_KEY")})
	if err != nil {
		return fmt.Errorf("creating the client of Rancher: %w", err)
	}
	http.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong!") })
	go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv("LISTEN_PORT"), nil)) }()
	lines := bufio.NewScanner(os.Stdin)
	for {
		if err := turn(api, create); err != nil {
			fmt.Println("failed:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("updated")
		}
		if !lines.Scan() {
			return lines.Err()
		}
	}
}

// turn gets the tokens and writes each.
func turn(api *client.RancherClient, create bool) error {
	in := &ecr.GetAuthorizationTokenInput{}
	if ids := os.Getenv("AWS_ECR_REGISTRY_IDS"); ids != "" {
		in.RegistryIds = aws.StringSlice(strings.Split(ids, ","))
	}
	made, err := session.NewSession()
	if err != nil {
		return err
	}
	out, err := ecr.New(made).GetAuthorizationToken(in)
	if err != nil {
		return fmt.Errorf("calling GetAuthorizationToken: %w", err)
	}
	var all []error
	for _, one := range out.AuthorizationData {
		all = append(all, write(api, create, one))
	}
	return errors.Join(all...)
}

// write writes a token into the credential of the registry with its host.
func write(api *client.RancherClient, create bool, token *ecr.AuthorizationData) error {
	plain, err := base64.StdEncoding.DecodeString(*token.AuthorizationToken)
	if err != nil {
		return err
	}
	parts := strings.Split(string(plain), ":")
	if len(parts) != 2 {
		return errors.New("the token is not USER:PASSWORD")
	}
	endpoint, err := url.Parse(*token.ProxyEndpoint)
	if err != nil {
		return err
	}
	want := client.RegistryCredential{PublicValue: parts[0], SecretValue: parts[1], Email: email}
	registries, err := api.Registry.List(&client.ListOpts{})
	if err != nil {
		return fmt.Errorf("listing the registries: %w", err)
	}
	for _, r := range registries.Data {
		if hostOf(r.ServerAddress) != endpoint.Host {
			continue
		}
		credentials, err := api.RegistryCredential.List(&client.ListOpts{Filters: map[string]interface{}{"registryId": r.Id}})
		if err != nil {
			return fmt.Errorf("listing the credentials of %s: %w", r.Id, err)
		}
		if len(credentials.Data) != 1 {
			return fmt.Errorf("the registry %s has %d credentials", r.Id, len(credentials.Data))
		}
		_, err = api.RegistryCredential.Update(&credentials.Data[0], &want)
		return err
	}
	if !create {
		return fmt.Errorf("Failed to find Rancher registry to update for ECR Host: %s", endpoint.Host)
	}
	registry, err := api.Registry.Create(&client.Registry{ServerAddress: endpoint.Host})
	if err != nil {
		return fmt.Errorf("creating the registry %s: %w", endpoint.Host, err)
	}
	want.StoragePoolId = registry.Id // the name that registryId has in this version of the client
	_, err = api.RegistryCredential.Create(&want)
	return err
}

// hostOf returns the host of the address of a registry, which may be a URL.
func hostOf(address string) string {
	if at, err := url.Parse(address); err == nil && at.Host != "" {
		return at.Host
	}
	return address
}
