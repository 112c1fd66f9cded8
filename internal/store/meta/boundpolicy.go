package meta

import (
	"encoding/json"
	"fmt"
)

// idsText and idsOf encode and decode the unique ids of a BoundPolicy as JSON, "" for none.
func idsText(ids map[string]string) string {
	if len(ids) == 0 {
		return ""
	}
	b, err := json.Marshal(ids)
	if err != nil {
		panic("meta: " + err.Error()) // cannot happen: maps of strings can be encoded
	}
	return string(b)
}

func idsOf(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	var ids map[string]string
	if err := json.Unmarshal([]byte(text), &ids); err != nil {
		return nil, fmt.Errorf("reading the ids of a policy's principals: %w", err)
	}
	return ids, nil
}
