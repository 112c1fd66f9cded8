// Package rancher keeps the credentials of the registries of an environment of Rancher 1.x fresh, through its v1 API.
package rancher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ErrUnusable says that an answer of Rancher shows that its API, or the access key, cannot be used for credentials of registries. Further
// attempts with the same settings fail alike.
var ErrUnusable = errors.New("the API of Rancher cannot be used")

// Client calls the v1 API of a Rancher. The access key is sent to the host of URL only, whatever host links of answers name.
type Client struct {
	URL    *url.URL // of the API, such as https://rancher.example.com/v1
	Key    string   // access key of an environment
	Secret secret.String
	HTTP   http.RoundTripper // nil means http.DefaultTransport
}

const (
	maxCall    = 30 * time.Second // for one request
	maxAnswer  = 8 << 20          // bytes of an answer; the schemas of Rancher 1.6 have less than 1 MiB
	maxPages   = 100              // of a list
	maxObjects = 10_000           // of a list
)

// The types of objects of the API.
const (
	registryType   = "registry"
	credentialType = "registryCredential"
	projectType    = "project" // which the user interface calls an environment
)

// object is an object of the API, with what is read of any type.
type object struct {
	ID            string `json:"id"`
	Type          string `json:"type"`
	Name          string `json:"name"`
	State         string `json:"state"`
	ServerAddress string `json:"serverAddress"` // of a registry
	RegistryID    string `json:"registryId"`    // of a credential
	Links         struct {
		Self string `json:"self"`
	} `json:"links"`
}

// gone reports whether an object was removed. Rancher lists such objects for a while.
func (o object) gone() bool {
	return slices.Contains([]string{"removing", "removed", "purging", "purged"}, o.State)
}

// schema is what the API says about a type.
type schema struct {
	ID                string   `json:"id"`
	CollectionMethods []string `json:"collectionMethods"`
	ResourceMethods   []string `json:"resourceMethods"`
	Links             struct {
		Collection string `json:"collection"`
	} `json:"links"`
}

// schemas returns what the API says about the types of objects, by their names.
//
// Errors: [ErrUnusable] (the URL is not one of a v1 API, or the access key is refused or may not update credentials); a request failed.
func (c *Client) schemas(ctx context.Context, create bool) (map[string]schema, error) {
	header, err := c.call(ctx, http.MethodGet, c.URL.String(), nil, nil)
	if err != nil {
		return nil, err
	}
	at := header.Get("X-API-Schemas")
	if at == "" {
		return nil, fmt.Errorf("%w: the answer of %s has no header X-API-Schemas, so it is no v1 API of Rancher", ErrUnusable, c.URL.Redacted())
	}
	var list struct {
		Data []schema `json:"data"`
	}
	if _, err := c.call(ctx, http.MethodGet, at, nil, &list); err != nil {
		return nil, err
	}
	all := map[string]schema{}
	for _, s := range list.Data {
		all[s.ID] = s
	}
	for _, want := range []struct {
		kind, not, method string
		of                []string
		needed            bool
	}{
		{registryType, "listable", http.MethodGet, all[registryType].CollectionMethods, true},
		{credentialType, "listable", http.MethodGet, all[credentialType].CollectionMethods, true},
		{credentialType, "updatable", http.MethodPut, all[credentialType].ResourceMethods, true},
		{registryType, "creatable", http.MethodPost, all[registryType].CollectionMethods, create},
		{credentialType, "creatable", http.MethodPost, all[credentialType].CollectionMethods, create},
	} {
		if want.needed && (!slices.Contains(want.of, want.method) || all[want.kind].Links.Collection == "") {
			return nil, fmt.Errorf("%w: resource type [%s] is not %s at %s: the access key must be one of the environment, and the URL that of "+
				"its v1 API", ErrUnusable, want.kind, want.not, c.URL.Redacted())
		}
	}
	return all, nil
}

// list returns the objects of a collection that were not removed.
func (c *Client) list(ctx context.Context, collection string, query url.Values) ([]object, error) {
	at, err := url.Parse(collection)
	if err != nil {
		return nil, fmt.Errorf("reading the link of a collection: %w", err)
	}
	values := at.Query()
	for key := range query {
		values.Set(key, query.Get(key))
	}
	at.RawQuery = values.Encode()
	next := at.String()
	var all []object
	for range maxPages {
		var page struct {
			Data       []object `json:"data"`
			Pagination *struct {
				Next string `json:"next"`
			} `json:"pagination"`
		}
		if _, err := c.call(ctx, http.MethodGet, next, nil, &page); err != nil {
			return nil, err
		}
		for _, o := range page.Data {
			if !o.gone() {
				all = append(all, o)
			}
		}
		if page.Pagination == nil || page.Pagination.Next == "" {
			return all, nil
		}
		if next = page.Pagination.Next; len(all) > maxObjects {
			break
		}
	}
	return nil, fmt.Errorf("the list at %s has more than %d pages or %d objects", at.Path, maxPages, maxObjects)
}

// call makes a request and reads its answer into out, unless that is nil. It returns the header of the answer.
func (c *Client) call(ctx context.Context, method, link string, in, out any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCall)
	defer cancel()
	at, err := c.resolve(link)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(c.Key, c.Secret.Reveal())
	request.Header.Set("Accept", "application/json")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: c.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the access key is for this host
	}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("calling Rancher: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of Rancher to %s %s: %w", method, at.Path, err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer of Rancher to %s %s has more than %d bytes", method, at.Path, maxAnswer)
	}
	if err := status(answer, text, method, at); err != nil {
		return nil, err
	}
	if out == nil {
		return answer.Header, nil
	}
	if err := json.Unmarshal(text, out); err != nil { // whose text has nothing of the answer but a character
		return nil, fmt.Errorf("%w: the answer to %s %s is no JSON of its form: %w", ErrUnusable, method, at.Path, err)
	}
	return answer.Header, nil
}

// resolve returns the URL of a link, with the scheme and the host of the API: behind a proxy, Rancher may name others in its links.
func (c *Client) resolve(link string) (*url.URL, error) {
	at, err := c.URL.Parse(link)
	if err != nil {
		return nil, fmt.Errorf("reading a link of Rancher: %w", err)
	}
	if !strings.EqualFold(at.Hostname(), c.URL.Hostname()) {
		return nil, fmt.Errorf("%w: its links name the host %s, and the access key is sent to %s only: set the host registration URL of "+
			"Rancher, or CATTLE_URL, so that they are the same", ErrUnusable, name.Clip(at.Hostname()), c.URL.Hostname())
	}
	at.Scheme, at.Host, at.User, at.Fragment = c.URL.Scheme, c.URL.Host, nil, ""
	return at, nil
}

// status returns the error of an answer, if it is one. Of its content, only the code is told: it may have what was sent.
func status(answer *http.Response, text []byte, method string, at *url.URL) error {
	if answer.StatusCode/100 == 2 {
		return nil
	}
	var e struct {
		Code      string `json:"code"`
		FieldName string `json:"fieldName"`
	}
	_ = json.Unmarshal(text, &e) // proxies answer other things
	said := answer.Status
	for _, more := range []string{e.Code, e.FieldName} {
		if more != "" {
			said += " " + name.Clip(more)
		}
	}
	err := fmt.Errorf("got %s for %s %s", said, method, at.Path)
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: it refuses the access key: %w", ErrUnusable, err)
	case code/100 == 3:
		return fmt.Errorf("%w: %w, which names another URL: %s", ErrUnusable, err, name.Clip(answer.Header.Get("Location")))
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	return err
}
