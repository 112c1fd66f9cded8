package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
)

// attacks are the attacks of the benchmark: what a client can do to make a server slow for others, or to fill its memory.
var attacks = []attackKind{
	{name: "pulls of another client, no attack", make: pullsOfAnother},
	{name: "bodies of 32 MiB that trickle, signatures made up and valid", parts: true, make: slowBodies},
	{name: "BatchGetImage of a manifest of 3.9 MB 100 times", make: manyManifests},
	{name: "1,000 unsigned bodies of 1 MiB", nobody: true, make: unsignedBodies},
	{name: "3,000 connections that ask for metrics and do not read", nobody: true, make: deafToMetrics},
	{name: "1,000 stalled readers of a blob", make: stalledReaders},
	{name: "64 refused manifests of 10,000 layers at a time", make: refusedManifests},
	{name: "denials", make: denials},
	{name: "100 wrong SHA-512 digests for a layer of 100 MB", make: wrongDigests},
	{name: "a repository policy with the most expensive pattern", make: costlyPattern},
	{name: "GET by digest of an image with 20,000 tags, condition on tags", make: manyTags},
	// last: its open uploads and tokens stay, and the attacker is refused more
	{name: "uploads and tokens", make: uploadsAndTokens},
}

// floodConnections is how many connections an attacker has that sends as fast as possible: as many as the honest client.
const floodConnections = pullConnections + pushConnections

// pullsOfAnother is for comparison: it shows what another client with an equal load costs the honest one.
func pullsOfAnother(_ context.Context, _ *bench, by party) (assault, error) {
	if err := by.door.pushTo(by.path(attackRepo, ""), fewTags); err != nil {
		return assault{}, err
	}
	get := by.door.request(http.MethodGet, by.path(attackRepo, "/manifests/"+tagOf(0)), 0)
	return assault{Kind: flood, Connections: floodConnections, Requests: [][]byte{get}}, nil
}

// slowBodies sends parts of layers slowly: a third of the signatures are made up for the key of the operator, a third for the key of the
// honest client, and a third are valid, as far as the header shows.
func slowBodies(ctx context.Context, b *bench, by party) (assault, error) {
	a := assault{Kind: trickle, Connections: 99}
	for _, key := range []account{{ID: identity.OperatorKeyID}, {ID: b.parties.honest.key.ID}, by.key} {
		if key.Secret == "" {
			key.Secret, key.Region = "made up", by.key.Region
		}
		header, err := by.door.signHeader(ctx, key, "UploadLayerPart", nil, 32<<20)
		if err != nil {
			return a, err
		}
		a.Requests = append(a.Requests, append(header, `{"repositoryName":"`+attackRepo+`","layerPartBlob":"`...))
	}
	return a, nil
}

// largeImage stores an image with a manifest of 3.9 MB under 100 tags, and returns the digest.
func largeImage(by party) (digest string, err error) {
	if err := by.door.pushTo(by.path(attackRepo, ""), 0); err != nil {
		return "", err
	}
	var m map[string]any
	if err := json.Unmarshal(imageManifest(0), &m); err != nil {
		return "", err
	}
	m["annotations"] = map[string]string{"note": strings.Repeat("n", 3_900_000)}
	body, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	return digestOf(body), by.putTagged(body, "large", 100)
}

// maxTagsOfPut is how many tags one PUT of a manifest can set.
const maxTagsOfPut = 10

// putTagged stores a manifest under n tags.
func (p party) putTagged(body []byte, prefix string, n int) error {
	c, err := p.door.dial()
	if err != nil {
		return err
	}
	defer c.close()
	for i := 0; i < n; i += maxTagsOfPut {
		query := ""
		for j := i; j < min(i+maxTagsOfPut, n); j++ {
			query += fmt.Sprintf("&tag=%s-%d", prefix, j)
		}
		path := p.path(attackRepo, "/manifests/"+digestOf(body)+"?"+query[1:])
		if _, err := p.door.callOn(c, http.MethodPut, path, body, http.StatusCreated, "Content-Type: "+manifestType); err != nil {
			return err
		}
	}
	return nil
}

func manyManifests(ctx context.Context, _ *bench, by party) (assault, error) {
	digest, err := largeImage(by)
	if err != nil {
		return assault{}, err
	}
	var same, tagged []map[string]string
	for i := range 100 {
		same = append(same, map[string]string{"imageDigest": digest})
		tagged = append(tagged, map[string]string{"imageTag": fmt.Sprintf("large-%d", i)})
	}
	requests, err := by.calls(ctx, "BatchGetImage", map[string]any{"repositoryName": attackRepo, "imageIds": same},
		map[string]any{"repositoryName": attackRepo, "imageIds": tagged})
	return assault{Kind: flood, Connections: 4, Requests: requests}, err
}

// calls returns signed requests of an operation of ECR.
func (p party) calls(ctx context.Context, operation string, inputs ...any) (all [][]byte, err error) {
	for _, in := range inputs {
		header, body, err := p.door.sign(ctx, p.key, operation, in)
		if err != nil {
			return nil, err
		}
		all = append(all, append(header, body...))
	}
	return all, nil
}

// unsignedBodies sends bodies without their last byte, so that a server that waits for all of a body has all of them at once.
func unsignedBodies(_ context.Context, _ *bench, by party) (assault, error) {
	a := assault{Kind: trickle, Connections: 1000}
	for _, kind := range []string{"application/x-amz-json-1.1", "application/x-www-form-urlencoded"} {
		a.Requests = append(a.Requests, fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			by.door.address, kind, 1<<20, strings.Repeat("x", 1<<20-1)))
	}
	return a, nil
}

func deafToMetrics(_ context.Context, _ *bench, by party) (assault, error) {
	get := fmt.Appendf(nil, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n", by.door.address)
	return assault{Kind: deaf, Connections: 3000, Requests: [][]byte{get}}, nil
}

func stalledReaders(_ context.Context, b *bench, by party) (assault, error) {
	c, err := by.door.dial()
	if err != nil {
		return assault{}, err
	}
	defer c.close()
	if err := by.door.putBlobTo(c, by.path(attackRepo, ""), b.big, digestOf(b.big)); err != nil {
		return assault{}, err
	}
	get := by.door.request(http.MethodGet, by.path(attackRepo, "/blobs/"+digestOf(b.big)), 0)
	return assault{Kind: deaf, Connections: 1000, Requests: [][]byte{get}}, nil
}

// refusedManifests puts manifests of 10,000 layers that are not stored.
func refusedManifests(_ context.Context, _ *bench, by party) (assault, error) {
	a := assault{Kind: flood, Connections: 64}
	if err := by.door.pushTo(by.path(attackRepo, ""), 0); err != nil {
		return a, err
	}
	for i := range 4 {
		var m map[string]any
		if err := json.Unmarshal(imageManifest(i), &m); err != nil {
			return a, err
		}
		var layers []any
		for range 10_000 {
			layers = append(layers, map[string]any{"mediaType": layerType, "digest": "sha256:" + randomHex(32), "size": 1000})
		}
		m["layers"] = layers
		body, err := json.Marshal(m)
		if err != nil {
			return a, err
		}
		put := by.door.request(http.MethodPut, by.path(attackRepo, "/manifests/refused"), len(body), "Content-Type: "+manifestType)
		a.Requests = append(a.Requests, append(put, body...))
	}
	return a, nil
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// denials asks for images of the honest client.
func denials(_ context.Context, b *bench, by party) (assault, error) {
	get := by.door.request(http.MethodGet, b.parties.honest.path(few, "/manifests/"+tagOf(0)), 0)
	return assault{Kind: flood, Connections: floodConnections, Requests: [][]byte{get}}, nil
}

func wrongDigests(ctx context.Context, b *bench, by party) (assault, error) {
	var made struct{ UploadID string }
	if err := by.door.api(ctx, by.key, "InitiateLayerUpload", map[string]string{"repositoryName": attackRepo}, &made); err != nil {
		return assault{}, err
	}
	for at := 0; at < len(b.big); at += partBytes {
		part := b.big[at:min(at+partBytes, len(b.big))]
		in := layerPart{attackRepo, made.UploadID, at, at + len(part) - 1, part}
		if err := by.door.api(ctx, by.key, "UploadLayerPart", in, &struct{}{}); err != nil {
			return assault{}, err
		}
	}
	var inputs []any
	for range floodConnections {
		var digests []string
		for range 100 {
			digests = append(digests, "sha512:"+randomHex(64))
		}
		inputs = append(inputs, map[string]any{"repositoryName": attackRepo, "uploadId": made.UploadID, "layerDigests": digests})
	}
	requests, err := by.calls(ctx, "CompleteLayerUpload", inputs...)
	return assault{Kind: flood, Connections: floodConnections, Requests: requests}, err
}

func uploadsAndTokens(ctx context.Context, _ *bench, by party) (assault, error) {
	begin, err := by.calls(ctx, "InitiateLayerUpload", map[string]string{"repositoryName": attackRepo})
	if err != nil {
		return assault{}, err
	}
	token, err := by.calls(ctx, "GetAuthorizationToken", struct{}{})
	return assault{Kind: flood, Connections: floodConnections, Requests: append(begin, token...)}, err
}

// costlyPattern sets the most expensive policy that is accepted: it tries a long pattern at each place of the User-Agent.
func costlyPattern(ctx context.Context, _ *bench, by party) (assault, error) {
	if err := by.door.pushTo(by.path(attackRepo, ""), 1); err != nil {
		return assault{}, err
	}
	err := errors.New("no pattern is accepted")
	for n := 300; n > 0 && err != nil; n -= 5 {
		text := policyOf(`{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{"StringLike":{"aws:UserAgent":"*` +
			strings.Repeat("a?", n) + `b*"}}}`)
		in := map[string]any{"repositoryName": attackRepo, "policyText": text, "force": true}
		err = by.door.api(ctx, by.root, "SetRepositoryPolicy", in, &struct{}{})
	}
	if err != nil {
		return assault{}, err
	}
	get := by.door.request(http.MethodGet, by.path(attackRepo, "/manifests/"+tagOf(0)), 0)
	text := strings.Replace(string(get), "User-Agent: bench", "User-Agent: "+strings.Repeat("a", 2048), 1)
	return assault{Kind: flood, Connections: floodConnections, Requests: [][]byte{[]byte(text)}}, nil
}

// tagsOfOne is how many tags the image of manyTags has.
const tagsOfOne = 20_000

func manyTags(ctx context.Context, b *bench, by party) (assault, error) {
	if err := by.door.pushTo(by.path(attackRepo, ""), 0); err != nil {
		return assault{}, err
	}
	body := imageManifest(1)
	n := min(tagsOfOne, b.many)
	if err := by.putTagged(body, "many", n); err != nil {
		return assault{}, err
	}
	policy := policyOf(`{"Effect":"Deny","Action":"ecr:*","Resource":"*",` +
		`"Condition":{"ForAnyValue:StringLike":{"ecrin:ImageTag":"secret-*"}}}`)
	if _, err := by.door.iam(ctx, by.root, "PutUserPolicy", "UserName", "attacker", "PolicyName", "tags", "PolicyDocument",
		policy); err != nil {
		return assault{}, err
	}
	get := by.door.request(http.MethodGet, by.path(attackRepo, "/manifests/"+digestOf(body)), 0)
	return assault{Kind: flood, Connections: floodConnections, Requests: [][]byte{get}}, nil
}
