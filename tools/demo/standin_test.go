package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The stand-in is a small ECR with one repository in memory that can have one of several faults. The test
// binary runs it as the ecrin program, so that the whole demo runs, with its processes. It is needed because
// the real server has no such faults.

const (
	standinSecret   = "standin-secret-key"
	standinPassword = "standin-password"
)

// Faults of the stand-in. The demo has to detect each of them.
const (
	faultCrash        = "crash"          // the server ends before it is ready
	faultExit         = "exit"           // the server ends with status 3 when it is stopped
	faultEnv          = "env"            // ecrin env fails, after printing the secret
	faultToken        = "token"          // the token is not AWS:password
	faultDenied       = "denied"         // the token is not accepted
	faultChangedBlob  = "changed-blob"   // a byte of a blob is changed
	faultLostBlob     = "lost-blob"      // a blob is gone after the push
	faultTagStays     = "tag-stays"      // PutImage succeeds but does not move the tag
	faultOldTag       = "old-tag"        // in the OCI API, the tag is still on the first image
	faultManifestText = "manifest-text"  // BatchGetImage adds a space to the manifest
	faultExtraImage   = "extra-image"    // ListImages has an image that was not pushed
	faultMissingTag   = "missing-tag"    // tags/list lacks a tag
	faultDescription  = "description"    // DescribeImages has another media type
	faultSize         = "described-size" // DescribeImages has the size 0
	faultOpen         = "open"           // another account may pull without a grant
	faultReason       = "reason"         // the pull is denied, for another reason
	faultExplain      = "explain"        // ecrin explain says that the pull is allowed
	faultExplainText  = "explain-text"   // ecrin explain gives another reason
	faultGrant        = "grant"          // ecrin policy grant does nothing
	faultUser         = "user"           // CreateUser creates another user
)

// playEcrin implements the commands of the ecrin program that the demo runs.
func playEcrin(fault string, args []string) error {
	data := args[slices.Index(args, "--data")+1]
	granted := filepath.Join(data, "granted")
	switch args[0] {
	case "account":
		fmt.Println(args[2])
		return nil
	case "explain":
		if fault == faultExplain {
			fmt.Println("allowed: everybody may")
			return nil
		}
		if fault == faultExplainText {
			fmt.Println("denied because no identity-based policy allows it: …")
		} else {
			fmt.Println("denied because no resource-based policy allows it: the user may not")
		}
		os.Exit(exitDenied)
	case "policy":
		if fault == faultGrant {
			return nil
		}
		fmt.Fprintln(os.Stderr, "ecrin: this is now the policy of", args[3])
		return os.WriteFile(granted, nil, 0o600)
	case "env":
		url, err := os.ReadFile(filepath.Join(data, "url"))
		if err != nil {
			return err
		}
		secret, id := standinSecret, "AKIASTANDIN"
		if slices.Contains(args, otherAccount) {
			id = "AKIAOTHER"
		}
		if fault == faultEnv {
			fmt.Println(secret)
			return nil
		}
		return json.NewEncoder(os.Stdout).Encode(map[string]string{
			"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "eu-west-1",
			"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": string(url),
		})
	}
	if fault == faultCrash {
		return errors.New("the disk is on fire")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	s := &standin{fault: fault, address: address, granted: granted, blobs: map[string][]byte{},
		manifests: map[string]stored{}, tags: map[string]string{}}
	server := &http.Server{Handler: s}
	go server.Serve(listener)
	url := "http://" + address
	told, _ := json.Marshal(map[string]any{"url": url, "address": address, "pid": os.Getpid()})
	if err := errors.Join(os.MkdirAll(data, 0o700), os.WriteFile(filepath.Join(data, "url"), []byte(url), 0o600),
		os.WriteFile(filepath.Join(data, "serve.json"), told, 0o600)); err != nil {
		return err
	}
	<-ctx.Done()
	if fault == faultExit {
		os.Exit(3)
	}
	return server.Shutdown(context.Background())
}

type stored struct {
	body      []byte
	mediaType string
}

type standin struct {
	fault   string
	address string
	granted string // a file that exists if the other account may pull

	mu        sync.Mutex
	blobs     map[string][]byte
	manifests map[string]stored
	tags      map[string]string
	order     []string // digests of manifests
}

func digestOf(body []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(body)) }

func (s *standin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/readyz" {
		return
	}
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		s.api(w, r, operation)
		return
	}
	user, password, ok := r.BasicAuth()
	if !ok && r.Method == http.MethodPost && r.URL.Path == "/" {
		s.iam(w, r)
		return
	}
	password, guest := strings.CutSuffix(password, guestSuffix)
	if user == "AWS" && password == standinPassword && guest && !s.mayPull() {
		w.WriteHeader(http.StatusForbidden)
		reason := denial + invitation + "000000000000/us-east-1/" + repository
		if s.fault == faultReason {
			reason = "because it is Monday"
		}
		json.NewEncoder(w).Encode(object{"errors": []object{{"code": "DENIED", "message": "User: … is not authorized " + reason}}})
		return
	}
	if user != "AWS" || password != standinPassword || s.fault == faultDenied {
		w.Header().Set("WWW-Authenticate", `Basic realm="standin"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	rest, _ := strings.CutPrefix(r.URL.Path, "/v2/"+repository+"/")
	kind, id, _ := strings.Cut(rest, "/")
	switch kind {
	case "blobs":
		s.blob(w, r, id)
	case "manifests":
		s.manifest(w, r, id)
	case "tags":
		var tags []string
		for tag := range s.tags {
			tags = append(tags, tag)
		}
		if s.fault == faultMissingTag {
			tags = tags[1:]
		}
		json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
	}
}

// guestSuffix is the end of the password and the access key of the other account's user.
const guestSuffix = "-GUEST"

func (s *standin) mayPull() bool {
	_, err := os.Stat(s.granted)
	return err == nil || s.fault == faultOpen
}

// iam implements the operations of IAM that the demo calls.
func (s *standin) iam(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("UserName")
	if s.fault == faultUser {
		user = "other"
	}
	operation := r.PostFormValue("Action")
	result := map[string]string{
		"CreateUser": "<User><Path>/</Path><UserName>" + user + "</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::" +
			otherAccount + ":user/" + user + "</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></User>",
		"AttachUserPolicy": "",
		"CreateAccessKey": "<AccessKey><UserName>" + user + "</UserName><AccessKeyId>AKIA" + guestSuffix +
			"</AccessKeyId><Status>Active</Status><SecretAccessKey>" + standinSecret + "</SecretAccessKey></AccessKey>",
	}[operation]
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", operation, result)
}

func (s *standin) blob(w http.ResponseWriter, r *http.Request, id string) {
	switch r.Method {
	case http.MethodPost:
		w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
	case http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		s.blobs[r.URL.Query().Get("digest")] = body
		w.WriteHeader(http.StatusCreated)
	default:
		body, ok := s.blobs[id]
		if !ok || s.fault == faultLostBlob && r.Method == http.MethodGet && len(s.tags) > 1 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if s.fault == faultChangedBlob {
			body = append(slices.Clone(body[:len(body)-1]), body[len(body)-1]^1)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body)
	}
}

func (s *standin) manifest(w http.ResponseWriter, r *http.Request, id string) {
	if r.Method == http.MethodPut {
		body, _ := io.ReadAll(r.Body)
		s.store(stored{body, r.Header.Get("Content-Type")}, id)
		w.Header().Set("Docker-Content-Digest", digestOf(body))
		w.WriteHeader(http.StatusCreated)
		return
	}
	if digest, ok := s.tags[id]; ok {
		if s.fault == faultOldTag && id == movedTag {
			digest = s.order[0]
		}
		id = digest
	}
	m, ok := s.manifests[id]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", m.mediaType)
	w.Header().Set("Docker-Content-Digest", id)
	w.Header().Set("Content-Length", fmt.Sprint(len(m.body)))
	w.Write(m.body)
}

// store stores a manifest, and its tag if id is a tag.
func (s *standin) store(m stored, id string) (digest string) {
	digest = digestOf(m.body)
	if _, known := s.manifests[digest]; !known {
		s.order = append(s.order, digest)
	}
	s.manifests[digest] = m
	if _, had := s.tags[id]; !strings.HasPrefix(id, "sha256:") && !(had && s.fault == faultTagStays) {
		s.tags[id] = digest
	}
	return digest
}

type object = map[string]any

// api implements the operations of ECR that the demo calls.
func (s *standin) api(w http.ResponseWriter, r *http.Request, operation string) {
	var in struct {
		RepositoryName, ImageManifest, ImageManifestMediaType, ImageTag string
		ImageIds                                                        []struct{ ImageTag, ImageDigest string }
	}
	json.NewDecoder(r.Body).Decode(&in)
	var out object
	switch operation {
	case "CreateRepository":
		out = object{"repository": object{"repositoryName": in.RepositoryName, "repositoryUri": s.address + "/" +
			in.RepositoryName, "repositoryArn": "arn:aws:ecr:…"}}
	case "GetAuthorizationToken":
		token := "AWS:" + standinPassword
		if strings.Contains(r.Header.Get("Authorization"), guestSuffix+"/") {
			token += guestSuffix
		}
		if s.fault == faultToken {
			token = standinPassword
		}
		out = object{"authorizationData": []object{{"authorizationToken": base64.StdEncoding.EncodeToString([]byte(token)),
			"proxyEndpoint": "http://" + s.address, "expiresAt": time.Now().Unix()}}}
	case "PutImage":
		digest := s.store(stored{[]byte(in.ImageManifest), in.ImageManifestMediaType}, in.ImageTag)
		out = object{"image": object{"imageId": object{"imageDigest": digest, "imageTag": in.ImageTag}}}
	case "BatchGetImage":
		out = s.get(in.ImageIds[0].ImageTag, in.ImageIds[0].ImageDigest)
	case "ListImages":
		out = object{"imageIds": s.ids()}
	case "DescribeImages":
		digest := s.tags[in.ImageIds[0].ImageTag]
		out = object{"imageDetails": []object{s.details(digest)}}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(out)
}

func (s *standin) get(tag, digest string) object {
	if tag != "" {
		digest = s.tags[tag]
	}
	m := s.manifests[digest]
	text := string(m.body)
	if s.fault == faultManifestText {
		text += " "
	}
	return object{"images": []object{{"imageId": object{"imageDigest": digest}, "imageManifest": text, "imageManifestMediaType": m.mediaType}}}
}

func (s *standin) ids() (ids []object) {
	for _, digest := range s.order {
		tagged := false
		for tag, on := range s.tags {
			if on == digest {
				ids, tagged = append(ids, object{"imageDigest": digest, "imageTag": tag}), true
			}
		}
		if !tagged {
			ids = append(ids, object{"imageDigest": digest})
		}
	}
	if s.fault == faultExtraImage {
		ids = append(ids, object{"imageDigest": digestOf([]byte("extra"))})
	}
	return ids
}

func (s *standin) details(digest string) object {
	var tags []string
	for tag, on := range s.tags {
		if on == digest {
			tags = append(tags, tag)
		}
	}
	d := object{"imageDigest": digest, "imageTags": tags, "imageManifestMediaType": s.manifests[digest].mediaType,
		"imageSizeInBytes": 100, "imagePushedAt": time.Now().Unix()}
	switch s.fault {
	case faultDescription:
		d["imageManifestMediaType"] = "application/json"
	case faultSize:
		d["imageSizeInBytes"] = 0
	}
	return d
}
