package vendorapi

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// specNode is a file or a folder of a release, as clients send it.
type specNode struct {
	Name     string     `json:"name"`
	Path     string     `json:"path"`
	Content  string     `json:"content"`
	Children []specNode `json:"children"`
}

// binary are the extensions of files that clients send in base64.
var binary = []string{".tgz", ".gz", ".woff", ".woff2", ".ttf", ".otf", ".eot", ".svg"}

const (
	maxSpec = 64 << 20 // bytes of a list of files after decompression
	// plainSpec is the path of the one file of a release whose files were given as the text of one file.
	plainSpec  = "release.yaml"
	maxFolders = 32 // one in the other
)

func badSpec(format string, a ...any) error {
	return fault.InvalidParameter.New("Invalid parameter at 'spec_gzip' failed to satisfy constraint: '"+format+"'", a...)
}

// unpackSpec returns the files of a compressed list, or of the compressed text of one file of YAML. What is small when it is compressed may
// be large: hold is called before more than maxBody bytes are in memory.
//
// Errors: fault.InvalidParameter, and those of hold.
func unpackSpec(packed []byte, hold func() error) ([]ecrintypes.ReleaseFile, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, badSpec("base64 of files that gzip has compressed")
	}
	text, err := io.ReadAll(io.LimitReader(z, maxBody+1))
	if err == nil && len(text) > maxBody {
		if err := hold(); err != nil {
			return nil, err
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(z, maxSpec-maxBody))
		text = append(text, rest...)
	}
	switch {
	case err != nil:
		return nil, badSpec("base64 of files that gzip has compressed")
	case len(text) > maxSpec:
		return nil, badSpec("at most %d bytes after decompression", maxSpec)
	}
	return readSpec(text)
}

// readSpec returns the files of a list, or of the text of one file of YAML.
//
// Errors: fault.InvalidParameter.
func readSpec(text []byte) ([]ecrintypes.ReleaseFile, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		if !utf8.Valid(text) {
			return nil, badSpec("a list of files, or text in YAML")
		}
		return []ecrintypes.ReleaseFile{{Path: plainSpec, Content: string(text)}}, nil
	}
	var nodes []specNode
	if err := json.Unmarshal(text, &nodes); err != nil {
		return nil, badSpec("a list of files with name, path, content and children")
	}
	return appendFiles(nil, nodes, 0)
}

func appendFiles(all []ecrintypes.ReleaseFile, nodes []specNode, depth int) (_ []ecrintypes.ReleaseFile, err error) {
	if depth > maxFolders {
		return nil, badSpec("at most %d folders in each other", maxFolders)
	}
	for _, n := range nodes {
		if len(n.Children) > 0 {
			if all, err = appendFiles(all, n.Children, depth+1); err != nil {
				return nil, err
			}
			continue
		}
		if n.Content == "" && n.Children != nil && path.Ext(n.Path) == "" { // clients send no such files, but folders in which there are none
			continue
		}
		f := ecrintypes.ReleaseFile{Path: n.Path, Content: n.Content}
		if slices.Contains(binary, path.Ext(n.Path)) {
			if data, err := base64.StdEncoding.DecodeString(n.Content); err == nil && len(data) > 0 {
				f.Content, f.Data = "", data
			}
		}
		all = append(all, f)
	}
	return all, nil
}

// writeSpec returns files in the form in which clients send them: folders are nodes with children.
func writeSpec(files []ecrintypes.ReleaseFile) (string, error) {
	if len(files) == 1 && files[0].Path == plainSpec {
		return files[0].Content, nil
	}
	text, err := json.Marshal(nodesOf(files, ""))
	return string(text), err
}

// nodesOf returns the nodes of the files below a folder, which end in /. The files are sorted by their paths.
func nodesOf(files []ecrintypes.ReleaseFile, folder string) []specNode {
	nodes := []specNode{}
	for i := 0; i < len(files); i++ {
		rest := strings.TrimPrefix(files[i].Path, folder)
		sub, _, isFolder := strings.Cut(rest, "/")
		if !isFolder {
			n := specNode{Name: rest, Path: files[i].Path, Content: files[i].Content, Children: []specNode{}}
			if files[i].Data != nil || slices.Contains(binary, path.Ext(rest)) {
				n.Content = base64.StdEncoding.EncodeToString(append([]byte(files[i].Content), files[i].Data...))
			}
			nodes = append(nodes, n)
			continue
		}
		end := i
		for end < len(files) && strings.HasPrefix(files[end].Path, folder+sub+"/") {
			end++
		}
		nodes = append(nodes, specNode{Name: sub, Path: folder + sub, Children: nodesOf(files[i:end], folder+sub+"/")})
		i = end - 1
	}
	return nodes
}
