package awswire_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrsdk "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	stssdk "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

// exchangeServer records the last request and sends a given answer.
type exchangeServer struct {
	header http.Header
	body   []byte
	status int
	answer []byte
}

func (e *exchangeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.header = r.Header
	e.body, _ = io.ReadAll(r.Body)
	w.WriteHeader(e.status)
	w.Write(e.answer)
}

func (e *exchangeServer) start(t *testing.T) aws.Config {
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: &srv.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	}
}

// answerECR sets the answer, after checking it against the model.
func (e *exchangeServer) answerECR(t *testing.T, op string, out any) {
	t.Helper()
	b, err := awswire.AppendJSON(nil, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := awsmodel.CheckOutput("ecr", op, b); err != nil {
		t.Fatal(err)
	}
	e.status, e.answer = 200, b
}

// read decodes the request of the SDK, by the operation table.
func (e *exchangeServer) read(t *testing.T, op string) any {
	t.Helper()
	if got, want := e.header.Get("X-Amz-Target"), ecrtypes.Service.TargetPrefix+"."+op; got != want {
		t.Errorf("X-Amz-Target = %q, want %q", got, want)
	}
	in := ecrtypes.Operations[op].Input()
	if err := awswire.DecodeJSON(e.body, in, awswire.Options{}); err != nil {
		t.Fatalf("decoding the SDK's %s: %v", e.body, err)
	}
	if err := in.Validate(); err != nil {
		t.Fatalf("checking the SDK's %s: %v", e.body, err)
	}
	return in
}

var ignoreSDK = cmp.Options{
	cmpopts.IgnoreUnexported(ecr.CreateRepositoryOutput{}, ecrsdk.Repository{}, ecrsdk.ImageScanningConfiguration{},
		ecr.DescribeImagesOutput{}, ecrsdk.ImageDetail{}, ecr.DescribeRegistryOutput{}, ecrsdk.ReplicationConfiguration{},
		ecrsdk.InvalidLayerPartException{}, sts.AssumeRoleOutput{}, stssdk.Credentials{}, stssdk.AssumedRoleUser{}),
	cmpopts.IgnoreFields(ecr.CreateRepositoryOutput{}, "ResultMetadata"),
	cmpopts.IgnoreFields(ecr.DescribeImagesOutput{}, "ResultMetadata"),
	cmpopts.IgnoreFields(ecr.DescribeRegistryOutput{}, "ResultMetadata"),
	cmpopts.IgnoreFields(sts.AssumeRoleOutput{}, "ResultMetadata"),
}

func TestSDKCreatesRepository(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{}
	client := ecr.NewFromConfig(e.start(t))
	created := time.UnixMilli(1563223656123).UTC()
	e.answerECR(t, "CreateRepository", &ecrtypes.CreateRepositoryResponse{Repository: &ecrtypes.Repository{
		RepositoryName: "team/app", RepositoryUri: "x/team/app", CreatedAt: awswire.At(created),
		ImageTagMutability:         ecrtypes.ImageTagMutabilityIMMUTABLE,
		ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: new(true)},
	}})
	out, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
		RepositoryName: new("team/app"), ImageTagMutability: ecrsdk.ImageTagMutabilityImmutable,
		Tags: []ecrsdk.Tag{{Key: new("owner"), Value: new("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &ecrtypes.CreateRepositoryRequest{
		RepositoryName: "team/app", ImageTagMutability: ecrtypes.ImageTagMutabilityIMMUTABLE, Tags: []ecrtypes.Tag{{Key: "owner"}},
	}
	if d := cmp.Diff(any(want), e.read(t, "CreateRepository")); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	wantOut := &ecr.CreateRepositoryOutput{Repository: &ecrsdk.Repository{
		RepositoryName: new("team/app"), RepositoryUri: new("x/team/app"), CreatedAt: &created,
		ImageTagMutability:         ecrsdk.ImageTagMutabilityImmutable,
		ImageScanningConfiguration: &ecrsdk.ImageScanningConfiguration{ScanOnPush: true},
	}}
	if d := cmp.Diff(wantOut, out, ignoreSDK); d != "" {
		t.Errorf("answer as the SDK reads it (-want +got):\n%s", d)
	}
}

func TestSDKUploadsLayerPart(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{}
	client := ecr.NewFromConfig(e.start(t))
	e.answerECR(t, "UploadLayerPart", &ecrtypes.UploadLayerPartResponse{LastByteReceived: new(int64(0))})
	blob, id := bytes.Repeat([]byte{0, 0xfb, 0xff}, 1000), "01234567-89ab-cdef-0123-456789abcdef"
	if _, err := client.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
		RepositoryName: new("app"), UploadId: &id, PartFirstByte: new(int64(0)), PartLastByte: new(int64(2999)), LayerPartBlob: blob,
	}); err != nil {
		t.Fatal(err)
	}
	want := &ecrtypes.UploadLayerPartRequest{RepositoryName: "app", UploadId: id, PartLastByte: 2999, LayerPartBlob: blob}
	if d := cmp.Diff(any(want), e.read(t, "UploadLayerPart")); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}

	var text bytes.Buffer
	fields := map[string]any{"lastValidByteReceived": int64(41), "uploadId": id}
	if err := awswire.EncodeJSONError(&text, "InvalidLayerPartException", "part \"2\" is <late>", fields); err != nil {
		t.Fatal(err)
	}
	e.status, e.answer = 400, text.Bytes()
	_, err := client.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
		RepositoryName: new("app"), UploadId: &id, PartFirstByte: new(int64(1)), PartLastByte: new(int64(2)), LayerPartBlob: blob,
	})
	got, ok := errors.AsType[*ecrsdk.InvalidLayerPartException](err)
	if !ok {
		t.Fatalf("the SDK reads %s as %v", text.Bytes(), err)
	}
	wantErr := &ecrsdk.InvalidLayerPartException{Message: new("part \"2\" is <late>"), LastValidByteReceived: new(int64(41)), UploadId: &id}
	if d := cmp.Diff(wantErr, got, ignoreSDK); d != "" {
		t.Errorf("error as the SDK reads it (-want +got):\n%s", d)
	}
}

func TestSDKReadsEmptyLists(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{}
	client := ecr.NewFromConfig(e.start(t))
	// rules is a required list: nil in Go, [] on the wire.
	e.answerECR(t, "DescribeRegistry", &ecrtypes.DescribeRegistryResponse{
		RegistryId: "012345678910", ReplicationConfiguration: &ecrtypes.ReplicationConfiguration{},
	})
	out, err := client.DescribeRegistry(t.Context(), &ecr.DescribeRegistryInput{})
	if err != nil {
		t.Fatal(err)
	}
	want := &ecr.DescribeRegistryOutput{RegistryId: new("012345678910"),
		ReplicationConfiguration: &ecrsdk.ReplicationConfiguration{Rules: []ecrsdk.ReplicationRule{}}}
	if d := cmp.Diff(want, out, ignoreSDK); d != "" {
		t.Errorf("answer as the SDK reads it (-want +got):\n%s", d)
	}
	if got := e.read(t, "DescribeRegistry"); !cmp.Equal(got, any(&ecrtypes.DescribeRegistryRequest{})) {
		t.Errorf("request: got %+v, want no members", got)
	}
}

func TestSDKAssumesRole(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{}
	client := sts.NewFromConfig(e.start(t))
	until := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var text bytes.Buffer
	if err := awswire.EncodeQueryXML(&text, "AssumeRole", ststypes.Service.Namespace, "req-1", &ststypes.AssumeRoleResponse{
		Credentials: &ststypes.Credentials{AccessKeyId: "ASIAEXAMPLEEXAMPLE01", SecretAccessKey: "a/b+c<&>", SessionToken: "tok",
			Expiration: *awswire.At(until)},
		AssumedRoleUser:  &ststypes.AssumedRoleUser{AssumedRoleId: "AROA:me", Arn: "arn:aws:sts::012345678910:assumed-role/r/me"},
		SessionTokenSize: new(int32(6)),
	}); err != nil {
		t.Fatal(err)
	}
	if err := awsmodel.CheckOutput("sts", "AssumeRole", text.Bytes()); err != nil {
		t.Fatal(err)
	}
	e.status, e.answer = 200, text.Bytes()
	out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: new("arn:aws:iam::012345678910:role/r"), RoleSessionName: new("me"), DurationSeconds: new(int32(900)),
		PolicyArns: []stssdk.PolicyDescriptorType{{Arn: new("arn:aws:iam::aws:policy/a")}, {Arn: new("arn:aws:iam::aws:policy/b")}},
		Tags:       []stssdk.Tag{{Key: new("k"), Value: new("")}}, TransitiveTagKeys: []string{},
		Policy: new(`{"Version":"2012-10-17"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOut := &sts.AssumeRoleOutput{
		Credentials: &stssdk.Credentials{AccessKeyId: new("ASIAEXAMPLEEXAMPLE01"), SecretAccessKey: new("a/b+c<&>"),
			SessionToken: new("tok"), Expiration: &until},
		AssumedRoleUser:  &stssdk.AssumedRoleUser{AssumedRoleId: new("AROA:me"), Arn: new("arn:aws:sts::012345678910:assumed-role/r/me")},
		SessionTokenSize: new(int32(6)),
	}
	if d := cmp.Diff(wantOut, out, ignoreSDK); d != "" {
		t.Errorf("answer as the SDK reads it (-want +got):\n%s", d)
	}

	form, err := url.ParseQuery(string(e.body))
	if err != nil {
		t.Fatal(err)
	}
	got := &ststypes.AssumeRoleRequest{}
	if err := awswire.DecodeQuery(form, got, awswire.Options{}); err != nil {
		t.Fatalf("decoding the SDK's %s: %v", e.body, err)
	}
	if err := got.Validate(); err != nil {
		t.Fatalf("checking the SDK's %s: %v", e.body, err)
	}
	want := &ststypes.AssumeRoleRequest{
		RoleArn: "arn:aws:iam::012345678910:role/r", RoleSessionName: "me", DurationSeconds: new(int32(900)),
		PolicyArns: []ststypes.PolicyDescriptorType{{Arn: "arn:aws:iam::aws:policy/a"}, {Arn: "arn:aws:iam::aws:policy/b"}},
		Tags:       []ststypes.Tag{{Key: "k"}}, TransitiveTagKeys: []string{}, Policy: `{"Version":"2012-10-17"}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("request %s (-want +got):\n%s", e.body, d)
	}
}

func TestSDKReadsQueryErrors(t *testing.T) {
	t.Parallel()
	e := &exchangeServer{status: 403}
	client := sts.NewFromConfig(e.start(t))
	for _, sender := range []bool{true, false} {
		var text bytes.Buffer
		if err := awswire.EncodeQueryError(&text, ststypes.Service.Namespace, sender, "AccessDenied", "no <way> & \x00", "req-2"); err != nil {
			t.Fatal(err)
		}
		if side := map[bool]string{true: "<Type>Sender</Type>", false: "<Type>Receiver</Type>"}[sender]; !strings.Contains(text.String(), side) {
			t.Errorf("sender %t: got %s, want %s", sender, text.String(), side)
		}
		e.answer = text.Bytes()
		_, err := client.GetCallerIdentity(t.Context(), nil)
		api, ok := errors.AsType[smithy.APIError](err)
		if !ok || api.ErrorCode() != "AccessDenied" || api.ErrorMessage() != "no <way> & \ufffd" {
			t.Errorf("the SDK reads %s as %v", text.Bytes(), err)
		}
	}
}
