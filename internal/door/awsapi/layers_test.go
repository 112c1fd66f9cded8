package awsapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const fiveMiB = 5 << 20

func (s *server) begin(repo string) string {
	s.t.Helper()
	out := s.must("InitiateLayerUpload", object("repositoryName", repo))
	if got, want := out["partSize"], float64(20<<20); got != want {
		s.t.Errorf("partSize is %v, want %v", got, want)
	}
	return out["uploadId"].(string)
}

func complete(repo, id string, digests ...string) string {
	return object("repositoryName", repo, "uploadId", id, "layerDigests", digests)
}

func TestLayerUpload(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	big := strings.Repeat("0123456789abcdef", fiveMiB/16)
	id := s.begin("app")
	first := s.must("UploadLayerPart", part("app", id, 0, big))
	want := map[string]any{"registryId": home, "repositoryName": "app", "uploadId": id, "lastByteReceived": float64(fiveMiB - 1)}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("UploadLayerPart (-want +got):\n%s", diff)
	}
	// The upload continues after a restart at the same byte.
	s.Restart(t)
	last := s.must("UploadLayerPart", part("app", id, fiveMiB, "end"))["lastByteReceived"]
	if want := float64(fiveMiB + 2); last != want {
		t.Errorf("lastByteReceived after a restart is %v, want %v", last, want)
	}
	d := digestOf(big + "end")
	done := s.must("CompleteLayerUpload", complete("app", id, digestOf("another"), d))
	want = map[string]any{"registryId": home, "repositoryName": "app", "uploadId": id, "layerDigest": d}
	if diff := cmp.Diff(want, done); diff != "" {
		t.Errorf("CompleteLayerUpload (-want +got):\n%s", diff)
	}
	s.wantError("UploadLayerPart", part("app", id, fiveMiB+3, "x"), "UploadNotFoundException", id)
	// A client repeats a call whose answer it did not receive: the layer exists, and nothing changes.
	s.wantError("CompleteLayerUpload", complete("app", id, d), "LayerAlreadyExistsException", d)
	s.wantError("CompleteLayerUpload", complete("app", id, digestOf("never sent")), "UploadNotFoundException", id)

	out := s.must("BatchCheckLayerAvailability", object("repositoryName", "app", "layerDigests",
		[]string{d, digestOf("none"), "", "sha256:short"}))
	if diff := cmp.Diff([]string{d + " AVAILABLE 5.242883e+06", digestOf("none") + " UNAVAILABLE -"},
		summarize(list(out, "layers"), "layerDigest", "layerAvailability", "layerSize")); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{" MissingLayerDigest", "sha256:short InvalidLayerDigest"},
		summarize(list(out, "failures"), "layerDigest", "failureCode")); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestLayerUploadErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.repository("other")

	id := s.begin("app")
	s.wantError("CompleteLayerUpload", complete("app", id, digestOf("")), "EmptyUploadException", id)
	s.wantError("UploadLayerPart", strings.Replace(part("app", id, 0, ""), `"partLastByte":-1`, `"partLastByte":0`, 1),
		"InvalidLayerPartException", "")
	s.must("UploadLayerPart", part("app", id, 0, "abc"))
	for what, in := range map[string]string{
		"a part that leaves a gap":       part("app", id, 4, "e"),
		"a part that was sent before":    part("app", id, 0, "abc"),
		"a part shorter than it says":    strings.Replace(part("app", id, 3, "def"), `"partLastByte":5`, `"partLastByte":6`, 1),
		"a part that ends before itself": strings.Replace(part("app", id, 3, "def"), `"partLastByte":5`, `"partLastByte":1`, 1),
	} {
		a := s.wantError("UploadLayerPart", in, "InvalidLayerPartException", "3 bytes received")
		var members map[string]any
		if err := json.Unmarshal([]byte(a.Body), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "__type")
		delete(members, "message")
		want := map[string]any{"registryId": home, "repositoryName": "app", "uploadId": id, "lastValidByteReceived": 2.0}
		if diff := cmp.Diff(want, members); diff != "" {
			t.Errorf("%s: members of the error (-want +got):\n%s", what, diff)
		}
	}
	s.wantError("CompleteLayerUpload", complete("app", id, digestOf("abd")), "InvalidLayerException", "")
	s.wantError("CompleteLayerUpload", complete("app", id), "InvalidParameterException", "layerDigests")
	s.wantError("CompleteLayerUpload", complete("app", id, "sha256:00"), "InvalidParameterException", "layerDigests")
	s.must("CompleteLayerUpload", complete("app", id, digestOf("abc"))) // refused requests have not changed the upload

	again := s.begin("app")
	s.must("UploadLayerPart", part("app", again, 0, "abc"))
	s.wantError("CompleteLayerUpload", complete("app", again, digestOf("abc")), "LayerAlreadyExistsException",
		"Layer with digest '"+digestOf("abc")+"' already exists in the repository with name 'app' in the registry with id '000000000000'")

	small := s.begin("app")
	s.must("UploadLayerPart", part("app", small, 0, "small"))
	s.must("UploadLayerPart", part("app", small, 5, "last"))
	s.wantError("CompleteLayerUpload", complete("app", small, digestOf("smalllast")), "LayerPartTooSmallException", "5 bytes")

	huge := strings.Repeat("A", (20<<20)/3*4+8)
	s.wantError("UploadLayerPart", `{"repositoryName":"app","uploadId":"`+small+
		`","partFirstByte":9,"partLastByte":10,"layerPartBlob":"`+huge+`"}`,
		"InvalidParameterException", "'layerPartBlob'")
}

// An upload is unknown to other callers and in other repositories.
func TestAttack12UploadOfAnother(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.repository("other")
	foreign := s.account("111122223333")
	if a := s.send(raw{key: foreign, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"app"}`}); a.Status != 200 {
		t.Fatal(a)
	}
	id := s.begin("app")
	const text = "the upload with id"
	s.wantError("UploadLayerPart", part("other", id, 0, "x"), "UploadNotFoundException", text)
	s.wantError("CompleteLayerUpload", complete("other", id, digestOf("x")), "UploadNotFoundException", text)
	for operation, body := range map[string]string{"UploadLayerPart": part("app", id, 0, "x"),
		"CompleteLayerUpload": complete("app", id, digestOf("x"))} {
		s.send(raw{key: foreign, target: ecrTarget + operation, body: body}).want(t, "another account's "+operation, 400,
			"UploadNotFoundException", text)
	}
	never := s.call("UploadLayerPart", part("app", "6f1c1bd4-0cf8-4a4e-9f2e-3d6f3a6e8f10", 0, "x"))
	never.want(t, "an upload that never was", 400, "UploadNotFoundException", text)
	s.must("UploadLayerPart", part("app", id, 0, "mine")) // no other request has written to it
}
