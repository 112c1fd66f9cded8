package sigv4

import "net/http"

// The steps of the algorithm, for tests of the intermediate texts.

func CanonicalRequest(r *http.Request, signedHeaders []string, payload string) (string, error) {
	b, err := canonicalRequest(nil, r, signedHeaders, payload)
	return string(b), err
}

func (s *Signature) StringToSign(canonical string) string {
	return string(stringToSign(nil, s.Time, s.Scope, []byte(canonical)))
}

func CanonicalQueryString(raw string) (string, error) {
	query, err := parseQuery(raw)
	return string(canonicalQueryString(nil, query)), err
}

func SortedQueryString(pairs ...[2]string) string {
	var query []param
	for _, p := range pairs {
		query = append(query, param{p[0], p[1]})
	}
	return string(canonicalQueryString(nil, query))
}

func TrimAll(s string) string { return string(trimAll(nil, s)) }

func URIEncode(s string, keepSlash bool) string { return string(uriEncode(nil, s, keepSlash)) }
