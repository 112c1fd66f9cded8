package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// placeRows are the rows of the list of accounts, regions and roles.
var placeRows = []row{{method: "GET", path: "places", serve: (*request).placesPage}}

// placesCookie has the registries whose pages this browser has shown last. It says where menus lead, and nothing of rights.
const placesCookie = "ecrin-places"

const maxPlaces = 8

// placesOf reads the value of the cookie: registries, ACCOUNT/REGION, joined by dots. What is none is left out.
func placesOf(text string) (all []name.Registry) {
	if len(text) > 1024 {
		return nil
	}
	for _, part := range strings.Split(text, ".") {
		account, region, _ := strings.Cut(part, "/")
		a, err := name.ParseAccount(account)
		r, wrong := name.ParseRegion(region)
		if at := (name.Registry{Account: a, Region: r}); err == nil && wrong == nil && !slices.Contains(all, at) && len(all) < maxPlaces {
			all = append(all, at)
		}
	}
	return all
}

// places returns the registries that this browser has shown last, this one first, and then that of the account of the person.
func (x *request) places() []name.Registry {
	all := []name.Registry{{Account: x.account, Region: x.region}}
	own := name.Registry{Account: x.session.Caller.Account, Region: x.region}
	var before []name.Registry
	if c, err := x.r.Cookie(placesCookie); err == nil {
		before = placesOf(c.Value)
	}
	for _, p := range append(before, own) {
		if !slices.Contains(all, p) && len(all) < maxPlaces {
			all = append(all, p)
		}
	}
	return all
}

// notePlace keeps the registry of a page that is shown as the one that was used last.
func (x *request) notePlace() {
	if x.session.Hash == "" || x.at["region"] == "" {
		return
	}
	var all []string
	for _, p := range x.places() {
		all = append(all, p.Account.String()+"/"+p.Region.String())
	}
	value := strings.Join(all, ".")
	if c, err := x.r.Cookie(placesCookie); err != nil || c.Value != value {
		x.setCookie(placesCookie, value)
	}
}

// listsOf are the lists of what pages show that only their query names.
var listsOf = map[string]string{"policy": "policies", "provider": "providers"}

// samePage returns the page of a registry that is of the section of this one: its list, since what it lists is another registry's.
func (x *request) samePage(p name.Registry) string {
	account, region := p.Account.String(), p.Region.String()
	parts := strings.Split(strings.TrimPrefix(x.r.URL.Path, Path+"/"), "/")
	to := account + "/" + region + "/repositories"
	if len(parts) > 2 && parts[0] == x.account.String() {
		same := account + "/" + region + "/" + parts[2]
		if parts[1] == "access" {
			same = account + "/access/" + cmp.Or(listsOf[parts[2]], parts[2])
		}
		if o, _, _ := find(http.MethodGet, same); o != nil {
			to = same
		}
	}
	return Path + "/" + pathOf(to)
}

// placeLink is a registry in the menu of accounts.
type placeLink struct {
	Account, Region, To, By string
	Here                    bool
}

// Places are the registries of the menu, the last used first.
func (v *view) Places() (all []placeLink) {
	x := v.x
	for _, p := range x.places() {
		l := placeLink{Account: p.Account.String(), Region: p.Region.String(), To: x.samePage(p), By: "of others",
			Here: p.Account == x.account && p.Region == x.region}
		if p.Account == x.session.Caller.Account {
			if l.By = "yours"; x.session.Switched != "" {
				l.By = principalIn(l.Account, x.session.Caller.ARN)
			}
		}
		all = append(all, l)
	}
	return all
}

// placesView are the accounts and regions that were used last, and the roles of the account.
type placesView struct {
	Roles       []entityRow
	RolesDenied *trouble
	More        string
}

// placesPage lists registries and the roles that a person may switch to, as far as its own policies say: the trust policy of the role
// decides too.
func (x *request) placesPage() error {
	var v placesView
	out, err := do[iamtypes.ListRolesResponse](x, "iam", "ListRoles", &iamtypes.ListRolesRequest{Marker: x.r.URL.Query().Get("after"),
		MaxItems: some[int32](pageSize)})
	if v.RolesDenied, err = x.part(err); err != nil {
		return err
	}
	if out != nil {
		for _, r := range out.Roles {
			may, err := x.mayOne("sts:AssumeRole", r.Arn)
			if err != nil {
				return err
			}
			if may.OK {
				v.Roles = append(v.Roles, entityRow{Name: r.RoleName, Sub: r.Description, To: Path + "/switch-role?" + values("role", r.Arn)})
			}
		}
		if out.Marker != "" {
			v.More = x.query("after", out.Marker)
		}
	}
	return x.render(http.StatusOK, "places", &view{Title: "Accounts, regions and roles", Main: v})
}
