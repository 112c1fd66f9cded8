package upgrade_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Listing is what an earlier program showed of the data directory that it wrote. It is stored as JSON next to the
// archive of the directory.
type Listing struct {
	Written   time.Time // when the program was killed
	Account   string    // the default account
	Region    string
	Keys      map[string]Key    // by the name of the principal
	Passwords map[string]string // docker passwords, by the name of the principal
	Calls     []Call            // read-only API calls, with their answers
	Gets      []Get             // GETs of the OCI distribution API, with their answers
	Uploads   []Upload
	Deleted   []Deleted
	Trail     []string // all lines of the audit trail, oldest first
	Pending   int      // number of these lines that were only in the database
}

// Call is one call of an API.
type Call struct {
	As        string
	Service   string
	Region    string `json:",omitempty"`
	Operation string
	In        map[string]any `json:",omitempty"`
	Status    int
	Out       map[string]any
}

// Get is one GET of the OCI distribution API.
type Get struct {
	As     string // name of the principal whose password is used
	Path   string
	Status int
	Type   string `json:",omitempty"` // Content-Type
	Digest string `json:",omitempty"` // Docker-Content-Digest
	Body   string // digest of the body
	Size   int
	Text   string `json:",omitempty"` // the body, where it is JSON and not a manifest
}

// Upload is an open upload. Its first Size bytes were acknowledged; they are ocitest.Bytes of the seed.
type Upload struct {
	As       string
	Location string // path
	Seed     uint64
	Size     int
}

// Deleted is an image that can be restored.
type Deleted struct{ As, Repository, Path, Digest string }

// volatile lists members that are not compared: the time of the last use changes when it is read, and the URI of a
// repository contains the address of the server.
var volatile = []string{"LastUsedDate", "RoleLastUsed", "PasswordLastUsed", "repositoryUri"}

// prune removes what is not compared.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if slices.Contains(volatile, k) {
				delete(v, k)
			} else {
				v[k] = prune(v[k])
			}
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
	}
	return v
}

// differences returns the differences of got from want. A member that only got has is not a difference, because a later
// program may show more.
func differences(path string, want, got any) (all []string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			all = append(all, differences(path+"."+k, w[k], g[k])...)
		}
		return all
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			all = append(all, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return all
	default:
		if want == got {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
}

// run does the call again and returns it with the answer of this server.
func (c Call) run(t testing.TB, s caller, keys map[string]Key) Call {
	t.Helper()
	key, ok := keys[c.As]
	if !ok && c.As != "" {
		t.Fatalf("%s %s: no key of %q", c.Service, c.Operation, c.As)
	}
	var out map[string]any
	c.Status, out = s.call(t, key, c.Service, c.Region, c.Operation, c.In)
	c.Out, _ = prune(out).(map[string]any)
	return c
}

// run does the request again and returns it with the answer of this server.
func (g Get) run(t testing.TB, c ocitest.Client) Get {
	t.Helper()
	a := c.Do(t, http.MethodGet, g.Path, nil)
	g.Status, g.Type, g.Digest = a.Status, a.Header.Get("Content-Type"), a.Header.Get("Docker-Content-Digest")
	g.Body, g.Size, g.Text = ocitest.SHA256(a.Body), len(a.Body), ""
	if g.Status == http.StatusOK && g.Digest == "" && json.Valid(a.Body) {
		g.Text = string(a.Body)
	}
	if g.Status != http.StatusOK { // the texts of errors may change
		g.Body, g.Size = "", 0
	}
	return g
}

// trail returns all lines of the audit trail until a time, oldest first.
func trail(t testing.TB, s caller, operator Key, until time.Time) (all []string) {
	t.Helper()
	in := map[string]any{"oldestFirst": true, "maxResults": 1000, "until": until.Unix()}
	for {
		page := s.do(t, operator, "ecrin", "ListAuditEvents", in)
		events, _ := page["events"].([]any)
		for _, line := range events {
			all = append(all, line.(string))
		}
		// Every page in this order has a token, so that a reader can follow the trail; the last page has no events.
		if in["nextToken"] = page["nextToken"]; in["nextToken"] == nil || len(events) == 0 {
			return all
		}
	}
}

// listings returns the names of the directories in testdata, oldest first.
func listings(t testing.TB) (names []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("the listings in testdata: got %v, %v, want one at least", files, err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return names
}

// write writes the listing with one line for each element of its lists, so that differences between versions are
// readable.
func (l Listing) write(t testing.TB, file string) {
	t.Helper()
	var b bytes.Buffer
	add := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	all := reflect.ValueOf(l)
	for i := range all.NumField() {
		field := all.Field(i)
		fmt.Fprintf(&b, "%s%q: ", separator("{\n", i), all.Type().Field(i).Name)
		if field.Kind() != reflect.Slice {
			add(field.Interface())
			continue
		}
		b.WriteString("[")
		for j := range field.Len() {
			b.WriteString(separator("\n", j))
			add(field.Index(j).Interface())
		}
		b.WriteString("\n]")
	}
	b.WriteString("\n}\n")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// separator returns what is written before element i of a list that begins with first.
func separator(first string, i int) string {
	if i == 0 {
		return first
	}
	return ",\n"
}

func readListing(t testing.TB, name string) (l Listing) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}
