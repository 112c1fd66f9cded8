// Package sender is the client of reports of images: it finds the host of a runtime, sends the variables of a pipeline there, and reads the
// events of the answer. It works with any server that has the interface.
package sender

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// DefaultPlatform is the URL of the platform unless CF_PLATFORM_URL has another.
const DefaultPlatform = "https://g.codefresh.io"

// Event is an event of the answer: info, warn, workflow-log, error, end, or missed for a heartbeat that did not come in time.
type Event struct{ Name, Text string }

// Options are the parameters of Send.
type Options struct {
	Variables report.Variables
	HTTP      *http.Client // follows no redirects; its timeout is that of the whole report
	Tell      func(Event)  // is called for each event but heartbeats; it must not wait
}

const (
	maxAnswer = 1 << 20 // bytes of an answer that is no stream
	maxLine   = 1 << 20 // bytes of a line of events
	maxEvents = 10_000
)

// runtimeQuery is the query for a runtime, as the published client sends it.
const runtimeQuery = `query Runtime($name: String!) { runtime(name: $name) { ingressHost, runtimeVersion } }`

// Send makes a report. It returns the message of the end event.
//
// Errors: what Variables.Check says; a runtime that does not exist, or has no ingress host; the error event of the answer; an answer that
// ends without an end event.
func Send(ctx context.Context, o Options) (end string, err error) {
	v := o.Variables
	if err := v.Check(); err != nil {
		return "", err
	}
	host, version := v[report.Host], ""
	if host == "" {
		if host, version, err = runtime(ctx, o); err != nil {
			return "", err
		}
	}
	base, err := baseOf(host)
	if err != nil {
		return "", err
	}
	path := "/app-proxy/api/image-report"
	if v[report.Local] != "" {
		path = "/api/image-report"
	}
	packed := version == "" || report.Packed(version) // servers named by CF_HOST are taken for new ones
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?"+v.Query(packed), nil)
	if err != nil {
		return "", errors.New("the URL of the ingress host is not valid")
	}
	r.Header.Set("Authorization", v[report.APIKey])
	r.Header.Set("Accept", "text/event-stream")
	resp, err := o.HTTP.Do(r)
	if err != nil {
		return "", fmt.Errorf("connecting to %s: %w", base, silent(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return "", refused(base, resp)
	}
	return follow(resp.Body, o.Tell)
}

// silent returns the cause of an error of package http, whose text has the URL with the query.
func silent(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func baseOf(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the host must be a URL https://HOST")
	}
	return strings.TrimRight(text, "/"), nil
}

// refused returns the error of an answer that is no stream.
func refused(base string, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what has been read is shown
	var said struct{ Name, Message string }
	if json.Unmarshal(body, &said) == nil && said.Message != "" {
		return fmt.Errorf("%s answers with the status %d: %s: %s", base, resp.StatusCode, said.Name, said.Message)
	}
	return fmt.Errorf("%s answers with the status %d, and not with events", base, resp.StatusCode)
}

// runtime asks the platform for the ingress host and the version of a runtime.
func runtime(ctx context.Context, o Options) (host, version string, err error) {
	called, platform := o.Variables[report.RuntimeName], o.Variables[report.PlatformURL]
	if platform == "" {
		platform = DefaultPlatform
	}
	base, err := baseOf(platform)
	if err != nil {
		return "", "", err
	}
	body, err := json.Marshal(map[string]any{"query": runtimeQuery, "variables": map[string]string{"name": called}})
	if err != nil {
		return "", "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/2.0/api/graphql", bytes.NewReader(body))
	if err != nil {
		return "", "", errors.New("the URL of the platform is not valid")
	}
	r.Header.Set("Authorization", o.Variables[report.APIKey])
	r.Header.Set("Content-Type", "application/json")
	resp, err := o.HTTP.Do(r)
	if err != nil {
		return "", "", fmt.Errorf("connecting to %s: %w", base, silent(err))
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return "", "", refused(base, resp)
	}
	var out struct {
		Data struct {
			Runtime *struct {
				IngressHost    string `json:"ingressHost"`
				RuntimeVersion string `json:"runtimeVersion"`
			} `json:"runtime"`
		} `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || json.Unmarshal(text, &out) != nil {
		return "", "", fmt.Errorf("%s does not answer as a platform", base)
	}
	switch {
	case len(out.Errors) > 0:
		return "", "", fmt.Errorf("%s: %s", base, out.Errors[0].Message)
	case out.Data.Runtime == nil:
		return "", "", fmt.Errorf("runtime '%s' does not exist", called)
	case out.Data.Runtime.IngressHost == "":
		return "", "", fmt.Errorf("ingress host is not defined on your '%s' runtime", called)
	}
	return out.Data.Runtime.IngressHost, out.Data.Runtime.RuntimeVersion, nil
}

// beat warns when the next heartbeat does not come in time.
type beat struct {
	timer *time.Timer
	tell  func(Event)
}

func (b *beat) next(ms string) {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n <= 0 || n > int64(time.Hour/time.Millisecond) {
		return
	}
	wait := 2 * time.Duration(n) * time.Millisecond
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, func() { b.tell(Event{"missed", "the server has not shown for " + wait.String() + " that it works"}) })
		return
	}
	b.timer.Reset(wait)
}

func (b *beat) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// follow reads events up to error or end. Source: HTML standard, server-sent events, interpreting an event stream.
func follow(body io.Reader, tell func(Event)) (end string, err error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	b := beat{tell: tell}
	defer b.stop()
	var event string
	var data []string
	for n := 0; lines.Scan() && n < maxEvents; {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line != "" {
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "event":
				event = value
			case "data":
				data = append(data, value)
			}
			continue
		}
		n++
		text := strings.Join(data, "\n")
		switch event {
		case "":
		case "heartbeat":
			b.next(text)
		case "end":
			return text, nil
		case "error":
			return "", failure(text)
		default:
			tell(Event{event, text})
		}
		event, data = "", nil
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("reading the events of the report: %w", err)
	}
	return "", errors.New("the server ended the report without a result")
}

// failure returns the error of an error event, whose data is {"name":…,"message":…} or a text.
func failure(text string) error {
	var said struct{ Name, Message string }
	if json.Unmarshal([]byte(text), &said) == nil && said.Message != "" {
		if said.Name != "" {
			return fmt.Errorf("%s: %s", said.Name, said.Message)
		}
		return errors.New(said.Message)
	}
	return errors.New(text)
}
