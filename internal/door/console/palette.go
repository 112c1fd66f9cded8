package console

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

func init() {
	rows = append(rows, row{method: "GET", path: "{account}/{region}/palette", serve: (*request).palettePage})
}

// The limits of the palette.
const (
	maxPalette     = 6 // links of a kind
	leastOfActions = 3 // characters for which actions are looked through
)

// paletteView is what is found for a text while it is typed: a few of each kind.
type paletteView struct {
	Query  string
	Groups []paletteGroup
	Found  int
	All    string // the page of the search
}

type paletteGroup struct {
	Title string
	Links []paletteLink
}

// paletteLink is a link of the palette; its text has the found part in the middle.
type paletteLink struct {
	Before, Found, After, Note, To string
}

// linkFor returns a link of a text, with the part that was found.
func linkFor(text, query, note, to string) paletteLink {
	l := paletteLink{Before: text, Note: note, To: to}
	if i := strings.Index(strings.ToLower(text), strings.ToLower(query)); i >= 0 && i+len(query) <= len(text) &&
		utf8.ValidString(text[:i]) && utf8.ValidString(text[i:i+len(query)]) {
		l.Before, l.Found, l.After = text[:i], text[i:i+len(query)], text[i+len(query):]
	}
	return l
}

// palettePage finds a few repositories, tags, pages and actions for the beginning of a text. What the person may not search is left out:
// the page of the search says why.
func (x *request) palettePage() error {
	text := strings.TrimSpace(x.r.URL.Query().Get("find"))
	v := paletteView{Query: text, All: x.base() + "/search?" + values("find", text)}
	view := &view{Title: "Find", Section: "repositories", Main: &v}
	view.x = x
	add := func(title string, all []paletteLink) {
		if len(all) > 0 {
			v.Groups = append(v.Groups, paletteGroup{title, all})
			v.Found += len(all)
		}
	}
	if text != "" {
		if !imageQuery(text) {
			add("Repositories", x.foundRepositories(text))
		}
		add("Tags", x.foundTags(text))
		add("Pages", pagesLike(sides(view), text))
		add("Actions", actionsLike(text))
	}
	return x.render(http.StatusOK, "palette", view)
}

func (x *request) foundRepositories(text string) (all []paletteLink) {
	pattern, possible := x.namesLike(text)
	if !possible {
		return nil
	}
	in := &ecrintypes.SearchRepositoriesRequest{RegistryId: x.account.String(), NamePattern: pattern,
		MaxResults: some[int32](maxPalette)}
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", in)
	if err != nil {
		return nil
	}
	for _, r := range out.Repositories {
		all = append(all, linkFor(r.RepositoryName, text, many(int64(r.Images), "image", "images"), x.repositoryPath(r.RepositoryName)))
	}
	return all
}

// foundTags returns tags that begin with a text, of the images that were pushed last.
func (x *request) foundTags(text string) (all []paletteLink) {
	text = strings.TrimPrefix(text, "tag:")
	in := &ecrintypes.SearchImagesRequest{RegistryId: x.account.String(), TagPattern: text, MaxResults: some[int32](maxPalette)}
	if !strings.ContainsAny(text, "*?") {
		in.TagPattern += "*"
	}
	if in.Validate() != nil {
		return nil
	}
	out, err := do[ecrintypes.SearchImagesResponse](x, "ecrin", "SearchImages", in)
	if err != nil {
		return nil
	}
	v := view{x: x}
	for _, i := range out.Images {
		for _, tag := range i.ImageTags {
			if len(all) < maxPalette && strings.HasPrefix(tag, strings.TrimRight(text, "*?")) {
				all = append(all, linkFor(i.RepositoryName+":"+tag, ":"+text, v.Ago(i.ImagePushedAt.Time), x.repositoryPath(i.RepositoryName, "tags",
					tag)))
			}
		}
	}
	return all
}

func pagesLike(groups []side, text string) (all []paletteLink) {
	for _, g := range groups {
		for _, l := range g.Links {
			if len(all) < maxPalette && strings.Contains(strings.ToLower(l.Text), strings.ToLower(text)) {
				all = append(all, linkFor(l.Text, text, g.Title, l.To))
			}
		}
	}
	return all
}

func actionsLike(text string) (all []paletteLink) {
	if len(text) < leastOfActions {
		return nil
	}
	for _, m := range policy.Meanings() {
		if len(all) < maxPalette && strings.Contains(strings.ToLower(m.Action), strings.ToLower(text)) {
			all = append(all, linkFor(m.Action, text, string(m.Level), actionPath(m.Action)))
		}
	}
	return all
}
