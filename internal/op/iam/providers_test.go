package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const (
	github     = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
	thumbprint = "6938fd4d98bab03faadb97b34396831e3780aea1"
)

// provider makes the provider that github names.
func (w *fixture) provider(t *testing.T, in iamtypes.CreateOpenIDConnectProviderRequest) {
	t.Helper()
	in.Url = "https://token.actions.githubusercontent.com"
	if got := do(t, w.CreateOpenIDConnectProvider, w.root, in).OpenIDConnectProviderArn; got != github {
		t.Fatalf("the ARN is %s, want %s", got, github)
	}
}

func (w *fixture) getProvider(t *testing.T) *iamtypes.GetOpenIDConnectProviderResponse {
	t.Helper()
	return do(t, w.GetOpenIDConnectProvider, w.root, iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github})
}

func TestProviders(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{
		ClientIDList: []string{"sts.amazonaws.com", "b",
			"sts.amazonaws.com"}, ThumbprintList: []string{strings.ToUpper(thumbprint)}, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}},
	})
	want := &iamtypes.GetOpenIDConnectProviderResponse{
		Url: "token.actions.githubusercontent.com", ClientIDList: []string{"sts.amazonaws.com", "b"}, ThumbprintList: []string{thumbprint},
		CreateDate: &awswire.Time{Time: w.at}, Tags: []iamtypes.Tag{{Key: "k", Value: "v"}},
	}
	same(t, "GetOpenIDConnectProvider", w.getProvider(t), want)
	add := iamtypes.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, ClientID: "c"}
	do(t, w.AddClientIDToOpenIDConnectProvider, w.root, add)
	do(t, w.AddClientIDToOpenIDConnectProvider, w.root, add) // twice is no error
	do(t, w.RemoveClientIDFromOpenIDConnectProvider, w.root,
		iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, ClientID: "b"})
	do(t, w.RemoveClientIDFromOpenIDConnectProvider, w.root,
		iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github, ClientID: "none"})
	other := strings.Repeat("a", 40)
	do(t, w.UpdateOpenIDConnectProviderThumbprint, w.root,
		iamtypes.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: github, ThumbprintList: []string{other}})
	want.ClientIDList, want.ThumbprintList = []string{"sts.amazonaws.com", "c"}, []string{other}
	same(t, "after changes", w.getProvider(t), want)

	do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://oidc.example.com:8443/id/A"})
	same(t, "ListOpenIDConnectProviders", do(t, w.ListOpenIDConnectProviders, w.root,
		iamtypes.ListOpenIDConnectProvidersRequest{}).OpenIDConnectProviderList, []iamtypes.OpenIDConnectProviderListEntry{
		{Arn: "arn:aws:iam::111122223333:oidc-provider/oidc.example.com:8443/id/A"}, {Arn: github},
	})
	same(t, "of another account", do(t, w.ListOpenIDConnectProviders, w.stranger,
		iamtypes.ListOpenIDConnectProvidersRequest{}).OpenIDConnectProviderList, []iamtypes.OpenIDConnectProviderListEntry{})

	refuse(t, w.GetOpenIDConnectProvider, w.stranger,
		iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github}, fault.NoSuchEntity, github)
	for range 2 { // deleting what is gone is no error
		do(t, w.DeleteOpenIDConnectProvider, w.stranger, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github})
	}
	w.getProvider(t) // the root user of another account has deleted nothing
	for range 2 {
		do(t, w.DeleteOpenIDConnectProvider, w.root, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github})
	}
	refuse(t, w.GetOpenIDConnectProvider, w.root, iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: github},
		fault.NoSuchEntity, "OpenIDConnect Provider not found for arn "+github)
}

// A provider without thumbprints stays without: its certificate must come from a trusted authority.
func TestProviderWithoutThumbprints(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{ClientIDList: []string{"a"}})
	want := &iamtypes.GetOpenIDConnectProviderResponse{Url: "token.actions.githubusercontent.com",
		ClientIDList: []string{"a"}, CreateDate: &awswire.Time{Time: w.at},
		Tags: []iamtypes.Tag{}}
	same(t, "GetOpenIDConnectProvider", w.getProvider(t), want)
	do(t, w.UpdateOpenIDConnectProviderThumbprint, w.root,
		iamtypes.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: github, ThumbprintList: []string{thumbprint}})
	want.ThumbprintList = []string{thumbprint}
	same(t, "with a thumbprint", w.getProvider(t), want)
}

func TestCreateProviderRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{})
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprint(i))
	}
	var prints []string
	for i := range 6 {
		prints = append(prints, fmt.Sprintf("%040x", i))
	}
	for _, c := range []struct {
		in    iamtypes.CreateOpenIDConnectProviderRequest
		want  fault.Code
		words string
	}{
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://token.actions.githubusercontent.com"},
			fault.EntityAlreadyExists, "already exists"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://Token.Actions.githubusercontent.com"},
			fault.EntityAlreadyExists, "already exists"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "http://a.example"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "HTTPS://a.example"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "a.example"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https:///path"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://me:pw@a.example"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example/ü"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example/x y"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example/\n"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example?x=y"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example#x"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://*.example"}, fault.Validation, "Invalid Open ID Connect Provider URL"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example", ClientIDList: many}, fault.LimitExceeded,
			"ClientIdsPerOpenIdConnectProvider: 100"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example", ThumbprintList: prints}, fault.InvalidInput, "fewer than 5"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example",
			ThumbprintList: []string{strings.Repeat("g", 40)}}, fault.InvalidInput, "hexadecimal"},
		{iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example", Tags: []iamtypes.Tag{{Key: "a"}, {Key: "a"}}},
			fault.InvalidInput, "Duplicate"},
	} {
		refuse(t, w.CreateOpenIDConnectProvider, w.root, c.in, c.want, c.words)
	}
	do(t, w.CreateOpenIDConnectProvider, w.root, iamtypes.CreateOpenIDConnectProviderRequest{Url: "https://a.example/",
		ClientIDList: many[:100], ThumbprintList: prints[:5]})
	const full = "arn:aws:iam::111122223333:oidc-provider/a.example/"
	refuse(t, w.AddClientIDToOpenIDConnectProvider, w.root,
		iamtypes.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: full, ClientID: "more"}, fault.LimitExceeded, "100")
	do(t, w.AddClientIDToOpenIDConnectProvider, w.root,
		iamtypes.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: full, ClientID: "7"})
	for _, list := range [][]string{prints, {"00"}} {
		refuse(t, w.UpdateOpenIDConnectProviderThumbprint, w.root,
			iamtypes.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: full, ThumbprintList: list}, fault.InvalidInput)
	}
	got := do(t, w.GetOpenIDConnectProvider, w.root, iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: full})
	if !slices.Equal(got.ClientIDList, many[:100]) || !slices.Equal(got.ThumbprintList, prints[:5]) {
		t.Errorf("after refusals the provider is %+v, want 100 client ids and 5 thumbprints", got)
	}
}

// Each operation on a provider returns different errors for an invalid ARN and for an ARN of no provider.
func TestProviderARNs(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.provider(t, iamtypes.CreateOpenIDConnectProviderRequest{})
	for arn, want := range map[string]fault.Code{
		"arn:aws:iam::111122223333:oidc-provider/none.example":             fault.NoSuchEntity,
		strings.ToUpper(github[len(github)-5:]) + "aaaaaaaaaaaaaaaaaaaaaa": fault.InvalidInput,
		strings.Replace(github, "token", "Token", 1):                       fault.NoSuchEntity,
		strings.Replace(github, "111122223333", "444455556666", 1):         fault.NoSuchEntity,
		strings.Replace(github, "111122223333", "11112222333", 1):          fault.InvalidInput,
		strings.Replace(github, "oidc-provider", "saml-provider", 1):       fault.InvalidInput,
		strings.Replace(github, "arn:aws:", "arn:aws-cn:", 1):              fault.InvalidInput,
		"arn:aws:iam::111122223333:oidc-provider/":                         fault.InvalidInput,
		"arn:aws:iam::111122223333:role/deployment":                        fault.InvalidInput,
	} {
		refuse(t, w.GetOpenIDConnectProvider, w.root, iamtypes.GetOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn}, want)
		refuse(t, w.AddClientIDToOpenIDConnectProvider, w.root,
			iamtypes.AddClientIDToOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, ClientID: "x"}, want)
		refuse(t, w.RemoveClientIDFromOpenIDConnectProvider, w.root,
			iamtypes.RemoveClientIDFromOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn, ClientID: "x"}, want)
		refuse(t, w.UpdateOpenIDConnectProviderThumbprint, w.root,
			iamtypes.UpdateOpenIDConnectProviderThumbprintRequest{OpenIDConnectProviderArn: arn, ThumbprintList: []string{thumbprint}}, want)
		refuse(t, w.TagOpenIDConnectProvider, w.root, iamtypes.TagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn}, want)
		refuse(t, w.UntagOpenIDConnectProvider, w.root, iamtypes.UntagOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn}, want)
		refuse(t, w.ListOpenIDConnectProviderTags, w.root, iamtypes.ListOpenIDConnectProviderTagsRequest{OpenIDConnectProviderArn: arn}, want)
		if want == fault.InvalidInput {
			refuse(t, w.DeleteOpenIDConnectProvider, w.root, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn}, want)
		} else {
			do(t, w.DeleteOpenIDConnectProvider, w.root, iamtypes.DeleteOpenIDConnectProviderRequest{OpenIDConnectProviderArn: arn})
		}
	}
	w.getProvider(t)
}
