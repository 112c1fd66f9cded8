package console

import (
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

var credentialRows = []row{
	{method: "GET", path: "{account}/access/users/{name}/security-credentials", serve: ofAccount((*request).credentialsPage)},
	{method: "POST", path: "{account}/access/users/{name}/security-credentials", serve: ofAccount((*request).onCredentials)},
	{method: "GET", path: "{account}/access/users/{name}/create-access-key", serve: ofAccount((*request).newKeyPage)},
	{method: "POST", path: "{account}/access/users/{name}/create-access-key", serve: ofAccount((*request).createKey)},
	{method: "POST", path: "{account}/access/users/{name}/access-key-file", serve: ofAccount((*request).keyFile)},
}

// credentialsView are the keys and the password of a user.
type credentialsView struct {
	Keys           []keyRow
	KeysDenied     *trouble
	Full           bool // it has as many keys as it may have
	Password       time.Time
	Reset          bool // the password must be changed at the next sign-in
	HasPassword    bool
	PasswordDenied *trouble
	SignIn         string // address of the form to sign in
}

// keyRow is an access key.
type keyRow struct {
	ID, Description string
	Active          bool
	Created, Used   time.Time
	By              string // the service that it was used for last
	UsedDenied      bool
}

// maxKeys is the number of keys that a user may have. Source: IAM quotas.
const maxKeys = 2

func (x *request) credentialsPage() error { return x.showCredentials(http.StatusOK, nil) }

func (x *request) showCredentials(status int, wrong *trouble) error {
	h := holder{kind: "users", name: x.at["name"]}
	v, err := x.newHolder(h, "security-credentials")
	if err != nil {
		return err
	}
	v.Wrong = wrong
	v.Command = "aws iam list-access-keys --user-name " + quoted(h.name)
	c := credentialsView{SignIn: x.r.Host + Path + "/"}
	keys, err := do[iamtypes.ListAccessKeysResponse](x, "iam", "ListAccessKeys", &iamtypes.ListAccessKeysRequest{UserName: h.name})
	if c.KeysDenied, err = x.part(err); err != nil {
		return err
	}
	described := x.keyDescriptions(h.name)
	if keys != nil {
		for _, k := range keys.AccessKeyMetadata {
			r := keyRow{ID: k.AccessKeyId, Active: k.Status == iamtypes.StatusTypeActive, Created: timeOf(k.CreateDate),
				Description: described[k.AccessKeyId]}
			used, err := do[iamtypes.GetAccessKeyLastUsedResponse](x, "iam", "GetAccessKeyLastUsed",
				&iamtypes.GetAccessKeyLastUsedRequest{AccessKeyId: k.AccessKeyId})
			if r.UsedDenied = err != nil; !r.UsedDenied && used.AccessKeyLastUsed != nil {
				r.Used, r.By = timeOf(used.AccessKeyLastUsed.LastUsedDate), used.AccessKeyLastUsed.ServiceName
			}
			c.Keys = append(c.Keys, r)
		}
	}
	c.Full = len(c.Keys) >= maxKeys
	login, err := do[iamtypes.GetLoginProfileResponse](x, "iam", "GetLoginProfile", &iamtypes.GetLoginProfileRequest{UserName: h.name})
	switch {
	case errors.Is(err, fault.NoSuchEntity):
	case err == nil:
		p := login.LoginProfile
		c.HasPassword, c.Password, c.Reset = true, p.CreateDate.Time, p.PasswordResetRequired != nil && *p.PasswordResetRequired
	default:
		if c.PasswordDenied, err = x.part(err); err != nil {
			return err
		}
	}
	if err := x.browsersOf(h, &v); err != nil {
		return err
	}
	rights, err := x.mayARN(v.ARN, "iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey", "iam:CreateLoginProfile",
		"iam:UpdateLoginProfile", "iam:DeleteLoginProfile")
	if err != nil {
		return err
	}
	for action, r := range rights {
		v.Rights[action] = r
	}
	v.Credentials = &c
	return x.showHolder(status, h, v)
}

// keyDescriptions returns the tags of a user by their keys; none if they cannot be read. The description of an access key is the tag that
// has its id as key, as AWS's console keeps it.
func (x *request) keyDescriptions(user string) map[string]string {
	out, err := do[iamtypes.ListUserTagsResponse](x, "iam", "ListUserTags", &iamtypes.ListUserTagsRequest{UserName: user})
	if err != nil {
		return nil
	}
	all := map[string]string{}
	for _, t := range out.Tags {
		all[t.Key] = t.Value
	}
	return all
}

// onCredentials changes a key, or the password, of a user.
func (x *request) onCredentials() (err error) {
	user, key := x.at["name"], x.form.Get("key")
	to, said := x.iam()+"/users/"+pathOf(user)+"/security-credentials", ""
	reset := x.form.Get("reset") == "yes"
	switch do := x.form.Get("do"); do {
	case "deactivate", "activate":
		status := iamtypes.StatusTypeActive
		if do == "deactivate" {
			status = iamtypes.StatusTypeInactive
		}
		err = act(x, "iam", "UpdateAccessKey", &iamtypes.UpdateAccessKeyRequest{UserName: user, AccessKeyId: key, Status: status})
		said = "The key " + shown(key) + " is " + strings.ToLower(string(status)) + "."
	case "delete":
		if err = act(x, "iam", "DeleteAccessKey", &iamtypes.DeleteAccessKeyRequest{UserName: user, AccessKeyId: key}); err == nil {
			if x.keyDescriptions(user)[key] != "" { // which stays if the person may not untag: it names a key that is gone
				_ = act(x, "iam", "UntagUser", &iamtypes.UntagUserRequest{UserName: user, TagKeys: []string{key}})
			}
		}
		said = "The key " + shown(key) + " was deleted."
	case "create-password":
		err = act(x, "iam", "CreateLoginProfile", &iamtypes.CreateLoginProfileRequest{UserName: user, Password: x.form.Get("password"),
			PasswordResetRequired: &reset})
		said = "The user can sign in with the password."
	case "replace-password":
		err = act(x, "iam", "UpdateLoginProfile", &iamtypes.UpdateLoginProfileRequest{UserName: user, Password: x.form.Get("password"),
			PasswordResetRequired: &reset})
		said = "The password was replaced. Sessions that were begun by the old one have ended."
	case "delete-password":
		err = act(x, "iam", "DeleteLoginProfile", &iamtypes.DeleteLoginProfileRequest{UserName: user})
		said = "The user can sign in with access keys only."
	case "revoke":
		err, said = x.revoke(holder{kind: "users", name: user}), "The session has ended."
	default:
		return errNoAction
	}
	if err != nil {
		return x.showCredentials(x.status(err), x.troubleOf(err))
	}
	return x.done(to, said)
}

// useCase is what an access key is for, with what is better than one.
type useCase struct {
	Key, Text, Help string
	Better, How     string
	Link, LinkText  string // of this console; "" for none
}

// useCases are those of AWS's console, with what this program has instead. Source: IAM user guide, access keys for IAM users.
func (x *request) useCases() []useCase {
	return []useCase{
		{"cli", "Command Line Interface (CLI)", "You use this key with the aws command line tool on your own machine.",
			"Sign in with single sign-on, and assume a role for an hour", "aws sts assume-role --role-arn ROLE --role-session-name NAME",
			x.iam() + "/roles", "Roles"},
		{"local-code", "Local code", "You use this key in code that you develop on your own machine.",
			"Assume a role for the time of the work", "aws sts get-session-token", x.iam() + "/roles", "Roles"},
		{"cluster", "Application running in a cluster", "Pods, or nodes of a cluster, pull with this key.",
			"Connect the cluster: its nodes and pods get credentials of their own, which are renewed, and no key is stored",
			"ecrin cluster connect NAME",
			"", ""},
		{"third-party", "Third-party service", "A service or platform of others pulls, pushes or deploys with this key.",
			"Give the service a role that trusts its identity provider, or its account with an external id",
			"aws iam create-role --role-name NAME --assume-role-policy-document file://trust.json", x.iam() + "/create-role", "Create role"},
		{"ci", "Application running outside", "CI, or a machine that is not part of a cluster, pushes or pulls with this key.",
			"Let CI assume a role with the token of its own identity provider", "aws sts assume-role-with-web-identity …",
			x.iam() + "/providers", "Identity providers"},
		{"other", "Other", "Your use is not listed here.", "", "", "", ""},
	}
}

// newKeyView is a step of the walk that creates an access key: the choice of its use, its description, or the key.
type newKeyView struct {
	User, To, Back string
	Step           int
	Cases          []useCase
	Chosen         *useCase
	Description    string
	May            right
	Wrong          *trouble
	NoTag          *trouble // the description was not stored
	Key            *iamtypes.AccessKey
	Region, URL    string
	Confirm        bool
}

// newKeyPage shows the first or the second step of the walk: which use, and the description.
func (x *request) newKeyPage() error { return x.showNewKey(http.StatusOK, newKeyView{}) }

func (x *request) showNewKey(status int, v newKeyView) (err error) {
	user, use := x.at["name"], x.r.URL.Query().Get("use")
	at := x.iam() + "/users/" + pathOf(user)
	v.User, v.To, v.Back = user, at+"/create-access-key", at+"/security-credentials"
	v.Step, v.Cases = 1, x.useCases()
	if x.form != nil {
		use = x.form.Get("use")
	}
	for i := range v.Cases {
		if v.Cases[i].Key == use {
			v.Step, v.Chosen = 2, &v.Cases[i]
		}
	}
	if v.Step == 2 && v.Chosen.Better != "" && x.r.URL.Query().Get("sure") == "" && x.form == nil {
		v.Step, v.Confirm = 1, true
	}
	if v.Key != nil {
		v.Step = 3
	}
	v.Region = x.region.String()
	v.URL = "http://" + x.r.Host
	if x.ev.From.Secure {
		v.URL = "https://" + x.r.Host
	}
	if v.May, err = x.mayOne("iam:CreateAccessKey", x.arnOf("users", user)); err != nil {
		return err
	}
	return x.render(status, "iamnewkey", &view{Title: "Create access key", Section: "users", Main: v,
		Crumbs: append(holder{kind: "users", name: user}.crumbs(x), link{Text: "Security credentials", To: v.Back})})
}

// createKey creates the key and shows it: the only page that ever has the secret.
func (x *request) createKey() error {
	user := x.at["name"]
	v := newKeyView{Description: strings.TrimSpace(x.form.Get("description"))}
	if !x.secrets() {
		t := trouble{What: "Secrets are shown by TLS only", Text: "open the console by https", Code: fault.AccessDenied.String(),
			Request: x.ev.RequestID, Nothing: true}
		v.Wrong = &t
		return x.showNewKey(http.StatusForbidden, v)
	}
	out, err := do[iamtypes.CreateAccessKeyResponse](x, "iam", "CreateAccessKey", &iamtypes.CreateAccessKeyRequest{UserName: user})
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showNewKey(x.status(err), v)
	}
	v.Key = &out.AccessKey
	if v.Description != "" {
		err := act(x, "iam", "TagUser", &iamtypes.TagUserRequest{UserName: user,
			Tags: []iamtypes.Tag{{Key: out.AccessKey.AccessKeyId, Value: v.Description}}})
		if err != nil { // the key is there, and is shown now or never
			t := x.troubleOf(err)
			t.Nothing = false
			v.NoTag = t
		}
	}
	return x.showNewKey(http.StatusOK, v)
}

// The forms of keys that keyFile takes: those that the server makes.
var (
	keyIDForm  = lazyregexp.New(`^AKIA[A-Z2-7]{16}$`)
	secretForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9+/]{39}$`)
)

// keyFile answers with the key of the form as a file. The page after the creation sends it: the server keeps no secret that it could
// send later, and a secret in an address would be kept by the browser.
func (x *request) keyFile() error {
	id, secret := x.form.Get("accessKeyId"), x.form.Get("secretAccessKey")
	if !keyIDForm.MatchString(id) || !secretForm.MatchString(secret) {
		return fault.InvalidParameter.New("the form has no access key")
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="`+fileName(x.at["name"])+`_accessKeys.csv"`)
	// Names of columns and file: those of AWS's console, which `aws configure import --csv` reads.
	_, _ = x.w.Write([]byte(csvLine("User Name", "Access key ID", "Secret access key") + csvLine(x.at["name"], id, secret)))
	return nil
}

// fileName returns the characters of a text that every file system takes.
func fileName(text string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, text)
}

func firstRune(text string) rune {
	c, _ := utf8.DecodeRuneInString(text)
	return c
}

// csvLine returns a record of a file for spreadsheets. A cell that a spreadsheet would execute begins with an apostrophe; some take wide
// forms of the signs for the signs, and blanks of any kind before them for nothing. Source: RFC 4180.
func csvLine(cells ...string) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		if text := strings.TrimLeft(cell, " \u00a0\u200b\ufeff\u3000"); text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", firstRune(text)) {
			cell = "'" + cell
		}
		if strings.ContainsAny(cell, ",\"\r\n") || strings.TrimSpace(cell) != cell {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		b.WriteString(cell)
	}
	b.WriteString("\r\n")
	return b.String()
}
