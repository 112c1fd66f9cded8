package report

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Layer is one step of the making of an image.
type Layer struct {
	Created     time.Time `json:"created,omitzero"`
	Size        int64     `json:"size"`        // bytes; 0 for a step without a layer
	Instruction string    `json:"instruction"` // of the Dockerfile; "" for layers of which the image has no history
	Args        string    `json:"args"`
}

// Config is what a report reads of the configuration of an image.
type Config struct {
	Created      time.Time
	OS           string
	Architecture string // with its variant, as in arm64/v8
	Labels       map[string]string
	History      []History
}

// History is an entry of the history of an image.
type History struct {
	Created    time.Time
	CreatedBy  string
	EmptyLayer bool
}

const (
	maxHistory   = 1000    // entries
	maxArgs      = 2 << 10 // bytes of a layer
	maxLabels    = 200
	maxLabelText = 4 << 10 // bytes of a label
)

// ParseConfig reads the configuration of an image. A time that is not valid is the zero time.
//
// Source: OCI image specification, image configuration.
func ParseConfig(body []byte) (c Config, err error) {
	var in struct {
		Created      string `json:"created"`
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
		Config       struct {
			Labels map[string]string
		} `json:"config"`
		History []struct {
			Created    string `json:"created"`
			CreatedBy  string `json:"created_by"`
			EmptyLayer bool   `json:"empty_layer"`
		} `json:"history"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return c, errors.New("the configuration of the image is not valid JSON")
	}
	if len(in.History) > maxHistory {
		return c, errors.New("the history of the image has more than 1000 entries")
	}
	c = Config{Created: timeOf(in.Created), OS: clip(in.OS, 64), Architecture: clip(in.Architecture, 64), Labels: map[string]string{}}
	if in.Variant != "" {
		c.Architecture += "/" + clip(in.Variant, 64)
	}
	for k, v := range in.Config.Labels {
		if len(c.Labels) < maxLabels && len(k)+len(v) <= maxLabelText {
			c.Labels[k] = v
		}
	}
	for _, h := range in.History {
		c.History = append(c.History, History{timeOf(h.Created), h.CreatedBy, h.EmptyLayer})
	}
	return c, nil
}

func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// clip returns at most n bytes of a text, as valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// instructions are those of a Dockerfile, which builders write into the history without a shell.
var instructions = lazyregexp.New(`^(?:ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)$`)

const nop = "#(nop)"

// Layers returns one layer for each entry of the history, oldest first. An entry with #(nop), or of BuildKit, has its instruction; all
// others are RUN, without the shell. A SHELL instruction changes the shell of the entries after it. The sizes are those of the manifest's
// layers, given from the end; layers for which there is no entry are summed up in one that comes first.
func Layers(c Config, sizes []int64) []Layer {
	shell := "/bin/sh -c "
	all := make([]Layer, 0, len(c.History)+1)
	for _, h := range c.History {
		one := Layer{Created: h.Created}
		one.Instruction, one.Args = step(h.CreatedBy, shell)
		if one.Instruction == "SHELL" {
			shell = shellOf(one.Args)
		}
		one.Args = clip(one.Args, maxArgs)
		all = append(all, one)
	}
	left := len(sizes)
	for i := len(all) - 1; i >= 0 && left > 0; i-- {
		if !c.History[i].EmptyLayer {
			left--
			all[i].Size = sizes[left]
		}
	}
	if left > 0 {
		rest := Layer{Created: c.Created, Args: "layers without history"}
		for _, n := range sizes[:left] {
			rest.Size += n
		}
		all = append([]Layer{rest}, all...)
	}
	return all
}

// step returns instruction and arguments of an entry of the history.
func step(by, shell string) (instruction, args string) {
	by = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(by), "# buildkit"))
	if _, after, ok := strings.Cut(by, nop); ok {
		instruction, args, _ = strings.Cut(strings.TrimSpace(after), " ")
		return strings.ToUpper(clip(instruction, 32)), strings.TrimSpace(args)
	}
	if first, rest, _ := strings.Cut(by, " "); instructions.MatchString(first) {
		if first == "RUN" {
			rest = withoutShell(rest, shell)
		}
		return first, strings.TrimSpace(rest)
	}
	return "RUN", withoutShell(by, shell)
}

// withoutShell removes the shell before a command, and the build arguments |N NAME=VALUE… before that.
func withoutShell(command, shell string) string {
	command = strings.TrimSpace(command)
	if strings.HasPrefix(command, "|") {
		if _, after, ok := strings.Cut(command, shell); ok {
			return after
		}
	}
	return strings.TrimPrefix(command, shell)
}

// shellOf returns the prefix of commands after a SHELL instruction, whose arguments are [a b] or ["a","b"].
func shellOf(args string) string {
	var words []string
	if json.Unmarshal([]byte(args), &words) == nil && len(words) > 0 {
		return strings.Join(words, " ") + " "
	}
	return strings.Trim(args, "[] ") + " "
}

// Platforms returns the operating systems of the manifests of an index, in their order; "" for one without a platform.
func Platforms(index []byte) ([]string, error) {
	var in struct {
		Manifests []struct {
			Platform struct {
				OS string `json:"os"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(index, &in); err != nil {
		return nil, errors.New("the index is not valid JSON")
	}
	var all []string
	for _, one := range in.Manifests {
		all = append(all, one.Platform.OS)
	}
	return all, nil
}
