package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const canary = "canary-secret-text"

// holder has a secret in every kind of field that formatters treat differently.
type holder struct {
	Public  secret.String
	Pointer *secret.String
	List    []secret.String
	Map     map[string]secret.String
	Any     any
	hidden  secret.String // formatters cannot call the methods of an unexported field
	deep    struct{ hidden secret.String }
}

type element struct{ S secret.String }

func newHolder() holder {
	s := secret.New(canary)
	h := holder{Public: s, Pointer: &s, List: []secret.String{s}, Map: map[string]secret.String{"k": s}, Any: s, hidden: s}
	h.deep.hidden = s
	return h
}

func TestAttack34SecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	s, h := secret.New(canary), newHolder()
	check := func(how, got string) {
		t.Helper()
		if strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) || strings.Contains(got, fmt.Sprintf("%X", canary)) {
			t.Errorf("%s shows the secret: %s", how, got)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "% X", "%d", "%t", "%T", "%p", "%c", "%o"} {
		for _, v := range []any{s, &s, h, &h, []any{s}, [1]secret.String{s}, struct{ s secret.String }{s}} {
			check(fmt.Sprintf("%s of %T", verb, v), fmt.Sprintf(verb, v))
		}
	}
	check("error", fmt.Errorf("with %v: %w", s, errors.New(fmt.Sprint(h))).Error())
	check("Println", fmt.Sprintln(s, h))
	if got := fmt.Sprintf("%v %s", s, &s); got != "[secret] [secret]" {
		t.Errorf("fmt: got %q, want marks", got)
	}

	text, err := json.Marshal(h)
	if err != nil || strings.Count(string(text), "[secret]") != 5 {
		t.Errorf("json: got %s, %v; want 5 marks", text, err)
	}
	check("json", string(text))
	text, err = yaml.Marshal(h)
	if err != nil || strings.Count(string(text), "[secret]") != 5 {
		t.Errorf("yaml: got %s, %v; want 5 marks", text, err)
	}
	check("yaml", string(text))
	text, err = xml.Marshal(element{s})
	if err != nil || !strings.Contains(string(text), "[secret]") {
		t.Errorf("xml: got %s, %v; want a mark", text, err)
	}
	check("xml", string(text))

	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).With("with", s).Info("m", "s", s, "p", &s, "h", h, "hp", &h, slog.Group("g", "s", s))
		check(name, b.String())
	}
}

func TestReveal(t *testing.T) {
	t.Parallel()
	if got := secret.New(canary).Reveal(); got != canary {
		t.Errorf("Reveal: got %q, want %q", got, canary)
	}
	var zero secret.String
	if got := zero.Reveal(); got != "" || fmt.Sprint(zero) != "[secret]" {
		t.Errorf("the zero secret reveals %q and prints %v", got, zero)
	}
}

// A file can have a secret, and texts can be compared.
func TestUnmarshal(t *testing.T) {
	t.Parallel()
	var got struct{ Password secret.String }
	if err := yaml.Unmarshal([]byte("password: "+canary), &got); err != nil || got.Password.Reveal() != canary {
		t.Errorf("yaml: got %q, %v, want %q", got.Password.Reveal(), err, canary)
	}
	if !got.Password.Equal(secret.New(canary)) || got.Password.Equal(secret.String{}) {
		t.Error("Equal: want the text to decide")
	}
}
