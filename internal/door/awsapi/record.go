package awsapi

import (
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// reading holds the prefixes of the names of read-only operations.
var reading = []string{"Get", "List", "Describe", "BatchGet", "BatchCheck", "Simulate", "Decode", "Explain", "AssumeRole"}

// describe sets the record of the event before the decision. Source: ECR user guide, logging with CloudTrail.
func (s *service) describe(ev *guard.Event, op *operation, req guard.Request, in awswire.Input) {
	ev.Record = guard.Record{
		Source: s.wire.Name + ".amazonaws.com", Name: op.wire.Name, Region: req.Region, Caller: req.By, Owner: req.Owner(),
		Params: func() audit.Params { return paramsOf(reflect.ValueOf(in).Elem()) },
	}
	if s == ecrinService {
		ev.Source = "ecrin"
	}
	for _, prefix := range reading {
		ev.ReadOnly = ev.ReadOnly || strings.HasPrefix(ev.Name, prefix)
	}
}

// digestOf returns the digest in an answer, for the log; "" if it has none.
func digestOf(out any) string {
	switch v := out.(type) {
	case *ecrtypes.PutImageResponse:
		return v.Image.ImageId.ImageDigest
	case *ecrtypes.BatchGetImageResponse:
		if len(v.Images) == 1 {
			return v.Images[0].ImageId.ImageDigest
		}
	case *ecrtypes.CompleteLayerUploadResponse:
		return v.LayerDigest
	case *ecrintypes.RestoreImageResponse:
		return v.ImageDigest
	}
	return ""
}

// unrecorded holds the members that the audit trail does not contain: secrets, the bytes of layers, and page tokens.
var unrecorded = map[string]bool{
	"LayerPartBlob": true, "WebIdentityToken": true, "SecretString": true, "TokenCode": true, "NextToken": true, "Marker": true,
	"Password": true, "OldPassword": true, "NewPassword": true,
	"WebhookUrl": true, "AwsSecretAccessKey": true, "AwsSessionToken": true,
	"ReportVariables": true,
}

// paramsOf returns the members of an input that are set. The first letters of their names are lower case, as in
// CloudTrail.
func paramsOf(v reflect.Value) audit.Params {
	var p audit.Params
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if f := v.Field(i); !unrecorded[field.Name] && !f.IsZero() {
			addParam(&p, lower(field.Name), f)
		}
	}
	return p
}

func lower(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

func addParam(p *audit.Params, n string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		addParam(p, n, v.Elem())
	case reflect.String:
		p.String(n, v.String())
	case reflect.Bool:
		p.Bool(n, v.Bool())
	case reflect.Int32, reflect.Int64:
		p.Int(n, v.Int())
	case reflect.Struct:
		if t, ok := v.Interface().(awswire.Time); ok {
			p.String(n, t.UTC().Format("2006-01-02T15:04:05Z"))
			return
		}
		p.Object(n, paramsOf(v))
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.String:
			var all []string
			for i := range v.Len() {
				all = append(all, v.Index(i).String())
			}
			p.Strings(n, all)
		case reflect.Struct:
			var all []audit.Params
			for i := range v.Len() {
				all = append(all, paramsOf(v.Index(i)))
			}
			p.Objects(n, all)
		}
	}
}

// tagOf returns the tag by which one image was asked for and answered; "" for none, and for several images.
func tagOf(in awswire.Input, out any) string {
	asked, ok := in.(*ecrtypes.BatchGetImageRequest)
	got, _ := out.(*ecrtypes.BatchGetImageResponse)
	if !ok || got == nil || len(asked.ImageIds) != 1 || len(got.Images) != 1 {
		return ""
	}
	return asked.ImageIds[0].ImageTag
}
