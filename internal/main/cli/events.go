package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const eventsHelp = `Print the events of a registry, the oldest first: pushed and deleted images, created and deleted repositories, changed policies, and what the
settings event_pulls and event_denials count. Webhooks get the same events (ecrin webhook).

Events have the shape of Amazon EventBridge. --pattern is the file of an event pattern, as a rule of EventBridge has it: only events that
match it are printed. Without --since, the events of the last hour are printed; with --follow those from now on, until the command is stopped.
--json prints each event as it is delivered, on one line.`

func (c *commands) events() *cobra.Command {
	cmd := &cobra.Command{Use: "events", Args: cobra.NoArgs, Short: "Print what happens in a registry", Long: eventsHelp,
		Example: "  ecrin events --since 1d\n  ecrin events --follow --pattern pushes.json\n" +
			"  ecrin events --follow --json | jq -r '.detail[\"image-tag\"]'"}
	c.dataFlag(cmd)
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	follow := cmd.Flags().BoolP("follow", "f", false, "print new events as they happen")
	since := cmd.Flags().String("since", "", "events from this `time` on: 1h, 2026-08-01, 2026-08-01T12:00:00Z")
	pattern := cmd.Flags().String("pattern", "", "only events that match the event pattern in this `file`, - for standard input")
	limit := cmd.Flags().Int("limit", 0, "at most this `number` of events, 0 for all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in := &ecrintypes.ListEventsRequest{}
		if *limit < 0 {
			return usageError{errors.New("--limit must be 0 or more")}
		}
		if *since == "" && !*follow {
			*since = "1h"
		}
		if *since != "" {
			at, err := momentOf(*since, time.Now())
			if err != nil {
				return usageError{fmt.Errorf("--since: %w", err)}
			}
			in.Since = &awswire.Time{Time: at}
		}
		var err error
		if in.Pattern, err = patternIn(cmd, *pattern); err != nil {
			return err
		}
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in.RegistryId = reg.account
		for shown := 0; ; {
			if *limit > 0 {
				n := int32(min(*limit-shown, 1000))
				in.MaxResults = &n
			}
			var out ecrintypes.ListEventsResponse
			if err := s.Call(cmd.Context(), "ListEvents", in, &out); err != nil {
				return err
			}
			for _, one := range out.Events {
				if !*asJSON {
					one = eventText(one)
				}
				if _, err := fmt.Fprintln(c.Out, one); err != nil {
					return err
				}
			}
			shown += len(out.Events)
			in.Since, in.Position = nil, out.Position
			switch {
			case *limit > 0 && shown >= *limit, out.AtEnd && !*follow:
				return nil
			case out.AtEnd:
				select {
				case <-time.After(followInterval):
				case <-cmd.Context().Done():
					return nil
				}
			}
		}
	}
	return cmd
}

// patternIn returns the event pattern in a file, "" for no file.
func patternIn(cmd *cobra.Command, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := readPolicy(cmd.InOrStdin(), file)
	if err != nil {
		return "", fmt.Errorf("reading the event pattern: %w", err)
	}
	return strings.TrimSpace(text), nil
}

// eventText returns an event on one line, for people.
func eventText(body string) string {
	var e struct {
		Time       time.Time      `json:"time"`
		DetailType string         `json:"detail-type"`
		Detail     map[string]any `json:"detail"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return body
	}
	words := []string{stamp(e.Time), e.DetailType}
	add := func(prefix, member string) {
		switch v := e.Detail[member].(type) {
		case string:
			words = append(words, prefix+v)
		case float64:
			words = append(words, prefix+fmt.Sprint(int64(v)))
		}
	}
	for _, member := range []string{"action-type", "action", "policy-type", "webhook-name"} {
		add("", member)
	}
	about, _ := e.Detail["repository-name"].(string)
	if tag, ok := e.Detail["image-tag"].(string); ok {
		about += ":" + tag
	}
	if digest, ok := e.Detail["image-digest"].(string); ok {
		about += "@" + digest
	}
	if about != "" {
		words = append(words, about)
	}
	add("by ", "principal")
	add("count ", "count")
	if result, ok := e.Detail["result"].(string); ok && result != "SUCCESS" {
		words = append(words, result)
	}
	return strings.Join(words, "  ")
}
