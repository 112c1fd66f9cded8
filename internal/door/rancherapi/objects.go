package rancherapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// object is an object of the API.
type object = map[string]any

// The types of objects.
const (
	schema     = "schema"
	project    = "project" // which the user interface of Rancher calls an environment
	host       = "host"
	registry   = "registry"
	credential = "registryCredential"
)

// kind is a type of objects, with the methods of its paths.
type kind struct {
	id, plural   string
	ofAll, ofOne []string
	fields       map[string]field
}

// field is a field of a type, as schemas describe it.
type field struct {
	Type     string `json:"type"`
	Create   bool   `json:"create"`
	Update   bool   `json:"update"`
	Required bool   `json:"required"`
	Nullable bool   `json:"nullable"`
}

var (
	read    = []string{http.MethodGet}
	made    = []string{http.MethodGet, http.MethodPost}
	changed = []string{http.MethodGet, http.MethodPut, http.MethodDelete}
)

var types = []kind{
	{schema, "schemas", read, read, nil},
	{project, "projects", read, read, map[string]field{"name": {Type: "string"}, "state": {Type: "enum"}}},
	{host, "hosts", read, read, map[string]field{"hostname": {Type: "string"}, "state": {Type: "enum"}}},
	{registry, "registries", made, changed, map[string]field{
		"serverAddress": {Type: "string", Create: true, Required: true},
		"name":          {Type: "string", Create: true, Update: true, Nullable: true},
		"description":   {Type: "string", Create: true, Update: true, Nullable: true},
		"state":         {Type: "enum"}}},
	{credential, "registrycredentials", made, changed, map[string]field{
		"registryId":  {Type: "reference[registry]", Create: true, Required: true},
		"publicValue": {Type: "string", Create: true, Update: true, Required: true},
		"secretValue": {Type: "password", Create: true, Update: true, Required: true},
		"email":       {Type: "string", Create: true, Update: true, Nullable: true},
		"state":       {Type: "enum"}}},
}

// schemas answers with what the API says about its types.
func (q *request) schemas() (reply, error) {
	var all []object
	for _, t := range types[1:] {
		one := object{"id": t.id, "type": schema, "pluralName": t.plural, "collectionMethods": t.ofAll, "resourceMethods": t.ofOne,
			"resourceFields": t.fields, "actions": object{}, "resourceActions": object{}, "collectionActions": object{},
			"links": map[string]string{"self": q.base + "/schemas/" + t.id, "collection": q.base + "/" + t.plural}}
		if q.id == t.id {
			return reply{http.StatusOK, one}, nil
		}
		all = append(all, one)
	}
	if q.id != "" {
		return reply{}, fault.ObjectNotFound.New("there is no schema %s", name.Clip(q.id))
	}
	return reply{http.StatusOK, q.collection(schema, all)}, nil
}

// collection returns the answer with objects of a kind. All are on one page: their number is limited.
func (q *request) collection(kind string, all []object) object {
	if all == nil {
		all = []object{}
	}
	return object{"type": "collection", "resourceType": kind, "links": map[string]string{"self": q.base + "/" + q.plural(kind)},
		"createTypes": object{}, "actions": object{}, "sortLinks": object{}, "sort": nil, "filters": object{}, "createDefaults": object{},
		"pagination": object{"limit": nil, "total": len(all), "next": nil, "partial": false}, "data": all}
}

func (q *request) plural(kind string) string {
	for _, t := range types {
		if t.id == kind {
			return t.plural
		}
	}
	return ""
}

// filtered returns the objects whose fields have the values of a query. Fields that the objects do not have filter nothing.
func filtered(all []object, query url.Values) (out []object) {
	for _, one := range all {
		keep := true
		for key := range query {
			if have, ok := one[key].(string); ok && have != query.Get(key) {
				keep = false
			}
		}
		if keep {
			out = append(out, one)
		}
	}
	return out
}

// shown returns an object of an environment with the fields that all have.
func (q *request) shown(kind, environment, id, label, description string, created time.Time) object {
	return object{"id": id, "type": kind, "links": map[string]string{"self": q.base + "/" + q.plural(kind) + "/" + url.PathEscape(id)},
		"actions": object{}, "name": label, "description": description, "state": "active", "accountId": environment, "kind": kind,
		"created": created.UTC().Format("2006-01-02T15:04:05Z"), "createdTS": created.UnixMilli(), "removed": nil,
		"transitioning": "no", "transitioningMessage": nil, "transitioningProgress": nil}
}

func (q *request) project(e ecrintypes.RancherEnvironment) object {
	out := q.shown(project, e.EnvironmentName, e.EnvironmentName, e.EnvironmentName, "", e.CreatedAt.Time)
	links := map[string]string{"self": q.root + "/projects/" + url.PathEscape(e.EnvironmentName)}
	for _, t := range types[2:] {
		links[t.plural] = links["self"] + "/" + t.plural
	}
	out["links"] = links
	return out
}

func (q *request) host(environment, label string) object {
	out := q.shown(host, environment, label, label, "", time.Time{})
	out["hostname"], out["created"], out["createdTS"] = label, nil, nil
	return out
}

func (q *request) registry(environment string, r ecrintypes.RancherRegistry) object {
	out := q.shown(registry, environment, r.RancherRegistryId, r.RegistryName, r.Description, r.CreatedAt.Time)
	out["serverAddress"] = r.ServerAddress
	out["links"].(map[string]string)["credentials"] = q.base + "/registrycredentials?registryId=" + r.RancherRegistryId
	return out
}

// credential returns the credential of a registry, without its secret.
func (q *request) credential(environment string, r ecrintypes.RancherRegistry) object {
	created := r.CreatedAt.Time
	if r.CredentialCreatedAt != nil {
		created = r.CredentialCreatedAt.Time
	}
	out := q.shown(credential, environment, r.CredentialId, "", "", created)
	out["registryId"], out["storagePoolId"] = r.RancherRegistryId, r.RancherRegistryId
	out["publicValue"], out["secretValue"], out["email"] = r.PublicValue, nil, r.Email
	out["links"].(map[string]string)["registry"] = q.base + "/registries/" + r.RancherRegistryId
	return out
}
