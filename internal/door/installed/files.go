package installed

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/look"
)

const (
	maxFileShown = 1 << 20 // bytes; larger files are downloaded
	maxTree      = 2_000   // files
	maxDiffLines = 4_000   // on a page
	foldAbove    = 400     // lines of a comparison, from which on its files are folded
)

// tree is a folder or a file.
type tree struct {
	Name     string
	To       string // of a file
	Here     bool
	Children []*tree // of a folder
}

// add puts a file into the tree.
func (t *tree) add(parts []string, to string, here bool) {
	if len(parts) == 1 {
		t.Children = append(t.Children, &tree{Name: parts[0], To: to, Here: here})
		return
	}
	n := len(t.Children)
	if n == 0 || t.Children[n-1].Name != parts[0]+"/" { // the paths are sorted
		t.Children = append(t.Children, &tree{Name: parts[0] + "/"})
		n++
	}
	t.Children[n-1].add(parts[1:], to, here)
}

// fileView is a file of a version.
type fileView struct {
	Path, Download, Text string
	Size                 int64
	Binary, Long         bool
	Lines                []string
	Hidden               bool // secrets in it are not shown
}

// filesView is the files of a version.
type filesView struct {
	Row  versionRow
	Tree *tree
	More int64 // files that are not in the tree
	File *fileView
	Note string // about the folder of the file
}

// notes say what the folders of a version are.
var notes = map[string]string{
	"upstream":     "exactly as the vendor has released it",
	"base":         "rendered: what goes to the cluster, before the overlays",
	"overlays":     "midstream is generated; your own changes are downstream, and no version replaces them",
	"rendered":     "what is applied to the cluster",
	"kotsKinds":    "objects for installers",
	"skippedFiles": "what could not be read, with the errors",
}

// filesPage shows the files of a version, and one of them.
func (x *request) filesPage() error {
	h, v, err := x.version()
	if err != nil {
		return err
	}
	all, err := h.Files(v.Sequence)
	if err != nil {
		return &problem{http.StatusNotFound, "The version has no files yet", err.Error()}
	}
	want := x.r.URL.Query().Get("file")
	if want == "" && len(all) > 0 {
		want = all[max(slices.Index(all, "overlays/midstream/kustomization.yaml"), 0)]
	}
	if len(all) > 0 && !slices.Contains(all, want) {
		return errNoPage
	}
	out := filesView{Row: x.rowOf(h, v, ""), Tree: &tree{}, More: max(int64(len(all))-maxTree, 0)}
	for _, name := range all[:min(len(all), maxTree)] {
		out.Tree.add(strings.Split(name, "/"), out.Row.To+"/files?"+look.Values("file", name)+"#files", name == want)
	}
	top, _, _ := strings.Cut(want, "/")
	out.Note = notes[top]
	if want != "" {
		x.heavy.Lock()
		defer x.heavy.Unlock()
		if out.File, err = x.file(h, v.Sequence, want); err != nil {
			return err
		}
		out.File.Download = out.Row.To + "/file?" + look.Values("path", want)
	}
	return x.render(http.StatusOK, "files", &view{Title: "Files of " + v.Label, Section: "View files", Main: out,
		Crumbs: []link{{Text: "Version history", To: x.base() + "/"}, {Text: v.Label, To: out.Row.To}}})
}

// file reads a file of a version for a page.
func (x *request) file(h *install.History, sequence int64, name string) (*fileView, error) {
	data, err := h.Read(sequence, name)
	if err != nil {
		return nil, &problem{http.StatusNotFound, "The file cannot be read", err.Error()}
	}
	f := &fileView{Path: name, Size: int64(len(data))}
	switch {
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		f.Binary = true
	case len(data) > maxFileShown:
		f.Long = true
	default:
		f.Text, f.Hidden = secretsOf(h, sequence).hide(string(data))
		for l := range strings.SplitSeq(strings.TrimSuffix(f.Text, "\n"), "\n") {
			f.Lines = append(f.Lines, look.Visible(strings.TrimSuffix(l, "\r")))
		}
	}
	return f, nil
}

// sendFile sends a file of a version, which the browser stores. What has secrets is sent as pages show it.
func (x *request) sendFile() error {
	h, v, err := x.version()
	if err != nil {
		return err
	}
	name := x.r.URL.Query().Get("path")
	all, err := h.Files(v.Sequence)
	if err != nil || !slices.Contains(all, name) {
		return errNoPage
	}
	x.heavy.Lock()
	defer x.heavy.Unlock()
	data, err := h.Read(v.Sequence, name)
	if err != nil {
		return &problem{http.StatusNotFound, "The file cannot be read", err.Error()}
	}
	if text, hidden := secretsOf(h, v.Sequence).hide(string(data)); hidden {
		data = []byte(text)
	}
	head := x.w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)}))
	head.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = x.w.Write(data) // a client that is gone needs no answer
	return nil
}

// diffView is what differs between two versions.
type diffView struct {
	From, To    versionRow
	All         []option // versions to choose from
	FromOptions []option
	ToOptions   []option
	Rendered    bool
	Files       []diffFile
	Say         string
	More        int // lines that are not shown
	CLI         string
}

// option is a value of a field.
type option struct {
	Value, Text string
	On          bool
}

// diffFile is what differs in a file.
type diffFile struct {
	Path, Note string
	New, Gone  bool
	Fold       bool
	Hunks      []diffHunk
	Added, Cut int
}

// diffHunk is a part of a file that differs.
type diffHunk struct {
	Line  int
	Lines []diffLine
}

// diffLine is a line of it.
type diffLine struct{ Sign, Text string }

// diffPage compares two versions: by default the deployed one and the newest.
func (x *request) diffPage() error {
	h, err := x.installation()
	if err != nil {
		return err
	}
	all, current := h.Versions()
	if len(all) == 0 {
		return errNoPage
	}
	q := x.r.URL.Query()
	pick := func(name string, otherwise int64) (install.Version, error) {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return install.Version{}, errNoPage
			}
			otherwise = n
		}
		v, err := h.Version(otherwise)
		if err != nil {
			return v, errNoPage
		}
		return v, nil
	}
	to, err := pick("to", int64(len(all))-1)
	if err != nil {
		return err
	}
	before := max(current, 0)
	if before == to.Sequence {
		before = max(to.Sequence-1, 0)
	}
	from, err := pick("from", before)
	if err != nil {
		return err
	}
	out := diffView{From: x.rowOf(h, from, ""), To: x.rowOf(h, to, ""), Rendered: q.Get("rendered") != "",
		FromOptions: optionsOf(all, from.Sequence), ToOptions: optionsOf(all, to.Sequence)}
	out.CLI = "ecrin update diff --from " + number(from.Sequence) + " --to " + number(to.Sequence)
	if out.Rendered {
		out.CLI += " --rendered"
	}
	x.heavy.Lock()
	defer x.heavy.Unlock()
	changes, err := h.Changes(from.Sequence, to.Sequence, out.Rendered)
	if err != nil {
		return &problem{http.StatusNotFound, "The versions cannot be compared", err.Error()}
	}
	secrets := secretsOf(h, from.Sequence, to.Sequence)
	lines := 0
	for _, c := range changes {
		f := diffFile{Path: c.Path, Note: c.Note, New: c.New, Gone: c.Gone}
		for _, k := range c.Hunks {
			one := diffHunk{Line: k.NewLine}
			for _, l := range k.Lines {
				switch l.Mark {
				case '+':
					f.Added++
				case '-':
					f.Cut++
				}
				if lines++; lines > maxDiffLines {
					out.More++
					continue
				}
				text, _ := secrets.hide(l.Text)
				one.Lines = append(one.Lines, diffLine{string(l.Mark), look.Visible(text)})
			}
			if len(one.Lines) > 0 {
				f.Hunks = append(f.Hunks, one)
			}
		}
		out.Files = append(out.Files, f)
	}
	for i := range out.Files {
		out.Files[i].Fold = lines > foldAbove
	}
	out.Say = look.Many(int64(len(out.Files)), "file differs", "files differ")
	return x.render(http.StatusOK, "diff", &view{Title: from.Label + " to " + to.Label, Section: "Diff", Main: out,
		Crumbs: []link{{Text: "Version history", To: x.base() + "/"}}})
}

// maxOptions is how many versions there are to choose from.
const maxOptions = 200

// optionsOf returns the newest versions to choose from, and the chosen one.
func optionsOf(all []install.Version, chosen int64) (out []option) {
	for i := len(all) - 1; i >= 0; i-- {
		v := all[i]
		if len(out) < maxOptions || v.Sequence == chosen {
			out = append(out, option{number(v.Sequence), number(v.Sequence) + ": " + v.Label, v.Sequence == chosen})
		}
	}
	return out
}
