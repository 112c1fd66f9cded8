package kube

import (
	"encoding/json"
	"strings"
	"time"
)

// The annotations of a secret that the refresher keeps. They have no secret.
const (
	managedAnnotation = "ecrin.dev/hosts"       // the hosts whose entries are kept, with commas
	statusAnnotation  = "ecrin.dev/credentials" // JSON: a list of hostStatus
	errorAnnotation   = "ecrin.dev/last-error"  // of the last attempt; absent after a success
	managedLabel      = "ecrin.dev/managed-by"  // whose value is the name of the refresher
	refresherName     = "ecrin-refresh"         // in labels, events and fields of objects
	maxAnnotation     = 1024                    // bytes of a text of an error
	typeDockerConfig  = ".dockerconfigjson"     // key of the content of a pull secret
)

// hostStatus is what is known of the credential of one host in a secret.
type hostStatus struct {
	Host        string    `json:"host"`
	Source      string    `json:"source"`
	RefreshedAt time.Time `json:"refreshedAt"`
	ExpiresAt   time.Time `json:"expiresAt,omitzero"`
}

// statusOf reads the annotation of a secret; nothing for one that is not ours or was changed by hand.
func statusOf(annotations map[string]string) (all []hostStatus) {
	if json.Unmarshal([]byte(annotations[statusAnnotation]), &all) != nil {
		return nil
	}
	return all
}

// clip shortens a text for an annotation or an event.
func clip(text string) string {
	if len(text) > maxAnnotation {
		text = strings.ToValidUTF8(text[:maxAnnotation], "") + "…"
	}
	return text
}
