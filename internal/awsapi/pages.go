package awsapi

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
)

// pageSize is what maxResults asks for; the model has checked its range.
func pageSize(maxResults *int32, without int) int {
	if maxResults == nil {
		return without
	}
	return int(*maxResults)
}

const macBytes = 12

// token makes a nextToken: the position, bound by a MAC to the listing it belongs to.
func (a *API) token(scope string, position any) string {
	text, err := json.Marshal(position)
	if err != nil {
		panic("awsapi: page position cannot be encoded: " + err.Error()) // positions are structs of texts and numbers
	}
	mac := a.pages(append([]byte(scope+"\n"), text...))[:macBytes]
	return base64.RawURLEncoding.EncodeToString(append(mac, text...))
}

// resume reads a nextToken of the same listing into position; "" leaves it alone. Errors: fault.InvalidParameter.
func (a *API) resume(scope, token string, position any) error {
	if token == "" {
		return nil
	}
	bad := badMember("NextToken", "must be a token of an earlier page of this listing")
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < macBytes {
		return bad
	}
	mac, text := b[:macBytes], b[macBytes:]
	if !hmac.Equal(mac, a.pages(append([]byte(scope+"\n"), text...))[:macBytes]) {
		return bad
	}
	if err := json.Unmarshal(text, position); err != nil {
		return bad.Because(err)
	}
	return nil
}
