// Package assertion has tests of who may pull and push images: sentences such as "role/deploy pulls team/app:1.*" and "nobody outside
// 111122223333 pulls prod/*". It reads them and checks them against a world: a server, or policies that stand in files.
package assertion

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Subject says of whom a test speaks.
type Subject uint8

// The subjects of tests.
const (
	Principal Subject = iota + 1 // that of Test.Who
	Anyone                       // every caller, with and without credentials
	Nobody                       // no caller but Test.But, and those of the accounts of Test.Outside
)

// Test is one test.
type Test struct {
	Line    int    // in the file, from 1
	Name    string // Text, if the file gives no other name
	Text    string // the sentence
	Subject Subject
	Who     string         // ARN, an account's 12 digits, or * for a caller without credentials
	But     []string       // principals, as Who
	Buyers  bool           // of Nobody: customers of the vendor that owns the images do not count
	Outside []name.Account // of Nobody: only principals of other accounts count; none for all principals
	Allowed bool           // that the subject may; false: that it may not. Of Nobody always false
	Actions []string       // of which all are meant
	Images  []Image        // each of which is tested
}

// Image is a pattern of repositories with one of tags, in which * stands for any text.
type Image struct {
	Repository string
	Tag        string // "" for the repository as such
}

// The actions that a pull and a push need on a repository, and Token, which any client needs before.
var (
	PullActions = []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
	PushActions = []string{"ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
		"ecr:PutImage"}
)

// Token is the action by which clients log in.
const Token = "ecr:GetAuthorizationToken"

// String returns the pattern as a test names it.
func (i Image) String() string {
	if i.Tag == "" {
		return i.Repository
	}
	return i.Repository + ":" + i.Tag
}

// verbs are what stands between a subject and an image, with whether it allows and what it does. The longest come first.
var verbs = []struct {
	text    string
	allowed bool
	push    bool
}{
	{"does not pull", false, false}, {"do not pull", false, false}, {"may not pull", false, false}, {"can not pull", false, false},
	{"cannot pull", false, false}, {"may pull", true, false}, {"can pull", true, false}, {"pulls", true, false}, {"pull", true, false},
	{"does not push", false, true}, {"do not push", false, true}, {"may not push", false, true}, {"can not push", false, true},
	{"cannot push", false, true}, {"may push", true, true}, {"can push", true, true}, {"pushes", true, true}, {"push", true, true},
}

var (
	imageText  = lazyregexp.New(`^([a-z0-9*][a-z0-9._/*-]*)(?::([A-Za-z0-9_*][A-Za-z0-9._*-]*))?$`)
	actionVerb = lazyregexp.New(`^(.+?) (may|can|may not|can not|cannot) ([A-Za-z0-9-]+:[A-Za-z0-9*?]+) on (.+)$`)
)

const (
	maxSentence = 2048 // bytes
	maxImages   = 100
	maxBut      = 100
)

// Parse reads a sentence: SUBJECT VERB IMAGES, where VERB is pulls, does not pull, may push and the like, or "may ACTION on" with an
// action that there is. home is the account of principals such as role/deploy.
//
// Errors say what is wrong with the sentence; they have no code.
func Parse(sentence string, home name.Account) (t Test, err error) {
	t = Test{Text: strings.Join(strings.Fields(sentence), " ")}
	t.Name = t.Text
	if len(sentence) > maxSentence {
		return t, fmt.Errorf("longer than %d bytes", maxSentence)
	}
	subject, images, ok := t.verb()
	if !ok {
		return t, fmt.Errorf("%q has no verb: write such as \"role/deploy pulls team/app:1.*\", \"user/ci may push team/app\", "+
			"\"nobody outside 111122223333 pulls prod/*\", or \"role/ops may ecr:DeleteRepository on prod/app\"", name.Clip(t.Text))
	}
	if err := t.subject(subject, home); err != nil {
		return t, err
	}
	if len(t.Actions) == 1 { // as it is written
		if err := CheckAction(t.Actions[0]); err != nil {
			return t, err
		}
	}
	if t.Subject == Nobody && !t.Allowed {
		return t, fmt.Errorf("two negations: write that nobody pulls or pushes")
	}
	t.Allowed = t.Allowed && t.Subject != Nobody
	for text := range strings.SplitSeq(images, ",") {
		m := imageText.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			return t, fmt.Errorf("%q is no repository or image such as team/app, prod/* or team/app:1.*", name.Clip(strings.TrimSpace(text)))
		}
		t.Images = append(t.Images, Image{m[1], m[2]})
	}
	if len(t.Images) > maxImages {
		return t, fmt.Errorf("more than %d images", maxImages)
	}
	return t, nil
}

// verb splits the sentence at its verb.
func (t *Test) verb() (subject, images string, ok bool) {
	if m := actionVerb.FindStringSubmatch(t.Text); m != nil {
		t.Allowed, t.Actions = !strings.Contains(m[2], "not"), []string{m[3]}
		return m[1], m[4], true
	}
	at, length := -1, 0
	for _, v := range verbs {
		if i := strings.Index(t.Text, " "+v.text+" "); i > 0 && (at < 0 || i < at || i == at && len(v.text) > length) {
			at, length = i, len(v.text)
			t.Allowed, t.Actions = v.allowed, PullActions
			if v.push {
				t.Actions = PushActions
			}
		}
	}
	if at < 0 {
		return "", "", false
	}
	return t.Text[:at], t.Text[at+length+2:], true
}

func (t *Test) subject(text string, home name.Account) (err error) {
	first, rest, _ := strings.Cut(text, " ")
	switch strings.ToLower(first) {
	case "anyone", "everyone", "everybody":
		if rest != "" {
			return fmt.Errorf("%q: anyone is all callers, and stands alone", name.Clip(text))
		}
		t.Subject = Anyone
		return nil
	case "nobody":
		t.Subject = Nobody
		return t.nobody(rest, home)
	}
	t.Subject = Principal
	t.Who, err = principal(text, home)
	return err
}

// nobody reads what follows nobody: "outside ACCOUNT, ACCOUNT" and "but PRINCIPAL, PRINCIPAL", where customers is one of those.
func (t *Test) nobody(rest string, home name.Account) error {
	outside, but := "", ""
	switch {
	case rest == "":
	case strings.HasPrefix(rest, "outside "):
		outside, but, _ = strings.Cut(strings.TrimPrefix(rest, "outside "), " but ")
	case strings.HasPrefix(rest, "but "):
		but = strings.TrimPrefix(rest, "but ")
	default:
		return fmt.Errorf("after nobody want \"outside ACCOUNT\" or \"but PRINCIPAL\", got %q", name.Clip(rest))
	}
	for _, one := range list(outside) {
		a, err := name.ParseAccount(one)
		if err != nil {
			return fmt.Errorf("%q is no account of 12 digits", name.Clip(one))
		}
		t.Outside = append(t.Outside, a)
	}
	for _, one := range list(but) {
		if one == "customers" {
			t.Buyers = true
			continue
		}
		who, err := principal(one, home)
		if err != nil {
			return err
		}
		t.But = append(t.But, who)
	}
	if len(t.But)+len(t.Outside) > maxBut {
		return fmt.Errorf("more than %d exceptions", maxBut)
	}
	return nil
}

// list splits a list at commas and "and".
func list(text string) (all []string) {
	for one := range strings.SplitSeq(strings.ReplaceAll(text, " and ", ","), ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// principal returns a principal of a test: role/NAME and user/NAME are those of home, ACCOUNT:role/NAME those of another account.
func principal(text string, home name.Account) (string, error) {
	switch {
	case text == "*" || text == "anonymous":
		return "*", nil
	case strings.HasPrefix(text, "account "):
		text = strings.TrimPrefix(text, "account ")
	}
	account, rest := home, text
	if before, after, ok := strings.Cut(text, ":"); ok && !strings.HasPrefix(text, "arn:") {
		a, err := name.ParseAccount(before)
		if err != nil {
			return "", fmt.Errorf("%q is no principal: want role/NAME, user/NAME, ACCOUNT:role/NAME, an ARN, 12 digits of an account, or anonymous",
				name.Clip(text))
		}
		account, rest = a, after
	}
	if strings.HasPrefix(rest, "role/") || strings.HasPrefix(rest, "user/") {
		return name.ARN{Partition: name.DefaultPartition, Service: "iam", Account: account, Resource: rest}.String(), nil
	}
	if _, err := name.ParseAccount(rest); err == nil {
		return rest, nil
	}
	if _, err := name.ParseARN(rest); err == nil {
		return rest, nil
	}
	return "", fmt.Errorf("%q is no principal: want role/NAME, user/NAME, ACCOUNT:role/NAME, an ARN, 12 digits of an account, or anonymous",
		name.Clip(text))
}

// excepts reports whether a principal may do what nobody else may.
func (t *Test) excepts(principal string, account string) bool {
	if len(t.Outside) > 0 && slices.ContainsFunc(t.Outside, func(a name.Account) bool { return a.String() == account }) {
		return true
	}
	return slices.Contains(t.But, principal) || slices.ContainsFunc(t.But, func(but string) bool { return but != "" && but == account })
}
