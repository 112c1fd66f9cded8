package ociapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// cell is one request of the matrix: a row of the operation table, or a form of one that needs more permissions.
type cell struct {
	row    ociapi.Row
	groups [][]string // of each group, one action must be allowed; without groups a valid token suffices
	method string
	path   string
	body   []byte
	header []string
	done   []int // statuses of an allowed request; 404 if it needs an upload of the caller
}

// matrix is one repository with what the cells need: an image, and an upload of the owner.
type matrix struct {
	server *apptest.Server
	owner  ocitest.Repo
	image  ocitest.Image
	upload string // path
	cells  []cell
}

func newMatrix(t *testing.T, o apptest.Options) *matrix {
	t.Helper()
	s := apptest.Start(t, o)
	m := &matrix{server: s, owner: s.Root(t).CreateRepository(t, "team/app"), image: ocitest.NewImage(1, 10)}
	m.owner.Push(t, "v1", m.image)
	m.upload = m.owner.Begin(t)
	m.owner.Do(t, http.MethodPatch, m.upload, []byte("first")).Want(t, http.StatusAccepted)
	layer, id := ocitest.SHA256(m.image.Layers[0]), m.upload[strings.LastIndex(m.upload, "/")+1:]
	for _, row := range ociapi.Rows() {
		c := cell{row: row, method: row.Method, path: fill(row.Path, "team/app", "v1", layer, id), done: []int{200}}
		if row.Actions != "" {
			for _, group := range strings.Split(row.Actions, " and ") {
				c.groups = append(c.groups, strings.Split(group, " or "))
			}
		}
		switch {
		case strings.HasSuffix(row.Path, "<id>"):
			c.path += "?digest=" + ocitest.SHA256([]byte("first"))
			c.done = []int{404}
		case row.Method == http.MethodPost:
			c.done = []int{202}
		case row.Method == http.MethodDelete:
			c.path = fill(row.Path, "team/app", "gone", ocitest.SHA256([]byte("gone")), id)
			c.done = []int{404}
		case row.Method == http.MethodPut:
			c.path, c.body, c.header = fill(row.Path, "team/app", "v2", layer, id), m.image.Manifest, []string{"Content-Type", ocitest.ImageType}
			c.done = []int{201}
		case strings.Contains(row.Path, "referrers"):
			c.path = fill(row.Path, "team/app", "v1", m.image.Digest, id)
		}
		m.cells = append(m.cells, c)
	}
	// Forms of a row that need the actions of several rows.
	blob := ocitest.Bytes(9, 20)
	all := func(actions ...string) (groups [][]string) {
		for _, a := range actions {
			groups = append(groups, []string{a})
		}
		return groups
	}
	m.cells = append(m.cells,
		cell{row: ociapi.Row{Name: "a whole blob at once"},
			groups: all("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"),
			method: http.MethodPost, path: m.owner.Path("/blobs/uploads/?digest=" + ocitest.SHA256(blob)), body: blob, done: []int{201}},
		cell{row: ociapi.Row{Name: "a push by digest with tags"}, groups: all("ecr:PutImage"),
			method: http.MethodPut, path: m.owner.Path("/manifests/" + m.image.Digest + "?tag=v3"), body: m.image.Manifest,
			header: []string{"Content-Type", ocitest.ImageType}, done: []int{201}})
	return m
}

// actions returns all actions of the table, sorted.
func (m *matrix) actions() []string {
	var all []string
	for _, c := range m.cells {
		all = append(all, slices.Concat(c.groups...)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// state returns what the owner can read of the repository, to be compared with later states.
func (m *matrix) state(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, path := range []string{"/v2/_catalog", m.owner.Path("/tags/list"), m.owner.Path("/manifests/v1"),
		m.owner.Path("/blobs/" + ocitest.SHA256(m.image.Layers[0])), m.upload} {
		a := m.owner.Do(t, http.MethodGet, path, nil)
		fmt.Fprintln(&b, path, a.Status, a.Header.Get("Range"), ocitest.SHA256(a.Body))
	}
	return b.String()
}

// refusal is the expected answer to a cell that is refused.
type refusal struct {
	status int
	text   string // in the body, except for HEAD
}

var (
	denied    = refusal{403, `"DENIED"`}
	challenge = refusal{401, "Not Authorized\n"}
	noToken   = refusal{400, `"UNAUTHORIZED"`}
	ended     = refusal{403, "Your authorization token has expired"}
)

// sweep sends every cell and checks the answer. may returns the expected refusal, or nil for a request that must be
// allowed.
func (m *matrix) sweep(t *testing.T, who string, c ocitest.Client, may func(cell) *refusal) {
	t.Helper()
	before := ""
	for _, one := range m.cells {
		want := may(one)
		if want != nil && one.method != http.MethodGet && one.method != http.MethodHead && before == "" {
			before = m.state(t)
		}
		a := c.Do(t, one.method, one.path, one.body, one.header...)
		what := fmt.Sprintf("%s: %s (%s %s)", who, one.row.Name, one.method, one.path)
		if want == nil {
			if !slices.Contains(one.done, a.Status) {
				t.Errorf("%s: got %d %.300s, want %d", what, a.Status, a.Body, one.done)
			}
			before = ""
			continue
		}
		if a.Status != want.status || one.method != http.MethodHead && !strings.Contains(string(a.Body), want.text) {
			t.Errorf("%s: got %d %.300s, want %d %s", what, a.Status, a.Body, want.status, want.text)
		}
		if a.Header.Get("Location") != "" || a.Header.Get("Docker-Content-Digest") != "" || a.Header.Get("Range") != "" {
			t.Errorf("%s: got the headers %v in a refusal", what, a.Header)
		}
	}
	if before != "" {
		if after := m.state(t); after != before {
			t.Errorf("%s: the state has changed:\nbefore %s\nafter  %s", who, before, after)
		}
	}
}

// allowed reports whether the table allows a cell to a caller with the actions for which has returns true.
func (c cell) allowed(has func(string) bool) bool {
	for _, group := range c.groups {
		if !slices.ContainsFunc(group, has) {
			return false
		}
	}
	return true
}

// byTable returns the expectation of the table for such a caller; requests that it does not allow get the refusal
// otherwise.
func byTable(has func(string) bool, otherwise refusal) func(cell) *refusal {
	return func(c cell) *refusal {
		if c.allowed(has) {
			return nil
		}
		return &otherwise
	}
}

// always returns the expectation that every cell is refused. If base is true, the routes that need only a valid token
// are allowed.
func always(r refusal, base bool) func(cell) *refusal {
	return func(c cell) *refusal {
		if base && len(c.groups) == 0 {
			return nil
		}
		return &r
	}
}

// Rows 8, 24 and 28: for users and role sessions with exactly one action, and with all actions except one, every route
// allows exactly what the table says.
func TestAttack24RightsMatrix(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, apptest.Options{})
	root := personOf(m.server, m.server.Root(t))
	root.role(t, "deploy", document(statement("Allow", "Action", []string{"ecr:*"})))
	caller := root.user(t, "caller", document(statement("Allow", "Action", []string{"sts:AssumeRole"})))
	for i, action := range m.actions() {
		only := func(a string) bool { return a == action }
		other := func(a string) bool { return a != action }
		m.sweep(t, "user with "+action+" alone", root.user(t, fmt.Sprint("only-", i), may(action)).docker(t), byTable(only, denied))
		m.sweep(t, "user with all but "+action, root.user(t, fmt.Sprint("but-", i), mayAllBut(action)).docker(t), byTable(other, denied))
		m.sweep(t, "role session limited to all but "+action, caller.assume(t, "deploy", "ci", mayAllBut(action)).docker(t),
			byTable(other, denied))
	}
	for i := range m.cells {
		if strings.HasSuffix(m.cells[i].row.Path, "<id>") {
			m.cells[i].done = []int{201, 202, 204, 404} // the upload belongs to the owner and is completed during the sweep
		}
	}
	m.sweep(t, "root", m.owner.Client, func(cell) *refusal { return nil })
}

// Rows 7, 8 and 24: invalid and revoked tokens are refused on every route, and so are valid tokens of another account
// or region.
func TestAttack24CredentialMatrix(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	m := newMatrix(t, apptest.Options{Now: now})
	s := m.server
	root, bob := personOf(s, s.Root(t)), s.NewAccount(t, bobID)
	c := func(password string) ocitest.Client {
		return ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: password}
	}
	const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	user := root.user(t, "ann", everything)
	m.sweep(t, "none", c(""), always(challenge, false))
	ring, err := identity.LoadKeyring(s.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	session := user.as(user.sts(t, "GetSessionToken"))
	link := root.link(t, "team/app", ocitest.SHA256(m.image.Layers[0]))
	for who, password := range map[string]string{
		"garbage": "garbage", "a secret access key": root.keys.SecretAccessKey, "an access key": root.keys.AccessKeyID,
		"the operator":    ring.OperatorSecret().Reveal(),
		"a session token": session.keys.SessionToken, "the MAC of a link": link[strings.LastIndex(link, "=")+1:],
	} {
		m.sweep(t, who, c(password), always(noToken, false))
	}
	m.sweep(t, "root of another account", c(bob.Password(t)), always(denied, true))
	west := root
	west.region = "eu-west-1"
	m.sweep(t, "a token of another region", west.docker(t), always(ended, true))

	revoked := user.docker(t)
	var tokens ecrintypes.ListTokensResponse
	s.Operator(t, "ListTokens", ecrintypes.ListTokensRequest{}, &tokens)
	for _, token := range tokens.Tokens {
		if token.AccessKeyId == user.keys.AccessKeyID {
			s.Operator(t, "RevokeToken", ecrintypes.RevokeTokenRequest{TokenId: token.TokenId}, &ecrintypes.RevokeTokenResponse{})
		}
	}
	m.sweep(t, "a revoked token", revoked, always(ended, false))

	disabled := user.docker(t)
	disabled.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusOK)
	root.iam(t, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", user.keys.AccessKeyID, "Status", "Inactive")
	m.sweep(t, "a token of a disabled key", disabled, always(ended, false))
	root.iam(t, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", user.keys.AccessKeyID, "Status", "Active")
	disabled.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusOK)

	ofSession := session.docker(t)
	root.deleteUser(t, "ann", user.keys.AccessKeyID)
	m.sweep(t, "a deleted user's token", disabled, always(ended, false))
	m.sweep(t, "a token of a deleted user's session", ofSession, always(ended, false))
	root.user(t, "ann", everything)
	m.sweep(t, "the token of a deleted user, with a new user of the same name", disabled, always(ended, false))

	old := root.docker(t)
	ahead.Store(int64(identity.TokenLife + time.Second))
	m.owner.Password = func() string { p := root; p.now = now; return p.password(t) }()
	m.sweep(t, "an expired token", old, always(ended, false))
	// After the clock was set back the token is valid again: only its own expiry time decides.
	ahead.Store(int64(time.Hour))
	old.Do(t, http.MethodGet, "/v2/", nil).Want(t, http.StatusOK)
}

// Rows 7 and 24: requests without credentials are allowed only if the server admits them and a policy with the
// principal * allows them; all others are challenged. Without the setting for writes they can only pull and list.
func TestAttack07AnonymousMatrix(t *testing.T) {
	t.Parallel()
	reads := []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability", "ecr:ListImages"}
	for _, settings := range [][2]bool{{false, false}, {true, false}, {true, true}} {
		on, write := settings[0], settings[1]
		m := newMatrix(t, apptest.Options{Config: func(c *config.Config) { c.Anonymous, c.AnonymousWrite = on, write }})
		anonymous := ocitest.Client{Base: m.server.URL, HTTP: m.server.HTTP}
		root := personOf(m.server, m.server.Root(t))
		public := func(statement string) {
			t.Helper()
			root.ecr(t, "SetRepositoryPolicy", "repositoryName", "team/app", "policyText", document(statement)).Want(t, http.StatusOK)
		}
		sweep := func(what string, has func(string) bool) {
			t.Helper()
			may := always(challenge, false)
			if on {
				may = func(c cell) *refusal {
					has := func(action string) bool { return has(action) && (write || slices.Contains(reads, action)) }
					// The version check has the challenge for clients, and repository policies do not apply to
					// _catalog.
					if len(c.groups) == 0 || c.row.On == "repository/*" || !c.allowed(has) {
						return &challenge
					}
					return nil
				}
			}
			m.sweep(t, fmt.Sprintf("anonymous (%t, writes %t), %s", on, write, what), anonymous, may)
		}
		none := func(string) bool { return false }
		sweep("no policy", none)
		public(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + homeID + `:root"},"Action":"ecr:*"}`)
		sweep("a policy for the account", none)
		public(`{"Effect":"Allow","Principal":"*","Action":"ecr:*","Condition":{"StringEquals":{"aws:PrincipalAccount":"` + homeID + `"}}}`)
		sweep("a policy for everybody of the account", none)
		public(`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringNotLike":{"aws:PrincipalType":"Anon*"}}}`)
		sweep("a policy for all principals except anonymous callers", none)
		for _, action := range m.actions() {
			public(`{"Effect":"Allow","Principal":"*","Action":"` + action + `"}`)
			sweep("a policy for "+action, func(a string) bool { return a == action })
		}
		// With all actions in the policy of this repository, all its routes are allowed, and those of others are not.
		public(`{"Effect":"Allow","Principal":"*","Action":"*"}`)
		sweep("a policy for everything", func(string) bool { return true })
		for _, path := range []string{"/v2/_catalog", "/v2/team/other/tags/list",
			"/v2/" + bobID + "/us-east-1/team/app/tags/list", "/v2/000000000000/eu-west-1/team/app/tags/list"} {
			anonymous.Do(t, http.MethodGet, path, nil).Want(t, http.StatusUnauthorized)
		}
		// A request with invalid credentials is not anonymous.
		for authorization, status := range map[string]int{basic("AWS", "x"): 400, basic("AWS", ""): 400, basic("", "x"): 401,
			basic("aws", "x"): 401, "Bearer x": 401, "Basic": 401, "": 401} {
			a := anonymous.Do(t, http.MethodGet, "/v2/team/app/manifests/v1", nil, "Authorization", authorization)
			if a.Status != status {
				t.Errorf("anonymous (%t), Authorization %q: got %d %s, want %d", on, authorization, a.Status, a.Body, status)
			}
		}
	}
}

// Row 24: GetAuthorizationToken is refused to the operator, and to a user without the permission for it regardless of
// its other permissions.
func TestAttack24WhoGetsPasswords(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := personOf(s, s.Root(t))
	root.user(t, "ann", mayAllBut("ecr:GetAuthorizationToken")).ecr(t, "GetAuthorizationToken").Want(t, http.StatusBadRequest)
	root.user(t, "bea", document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}, arnOf("*")))).ecr(t,
		"GetAuthorizationToken").Want(t, http.StatusBadRequest)
	root.user(t, "cleo", may()).ecr(t, "GetAuthorizationToken").Want(t, http.StatusOK)
	operator, err := client.Open(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Call(t.Context(), "GetAuthorizationToken", struct{}{}, &struct{}{}); err == nil {
		t.Error("GetAuthorizationToken by the operator: got a docker password, want a refusal")
	}
}
