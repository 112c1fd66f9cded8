package audit

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// eventVersion is the version of the format of a line.
const eventVersion = "1.11"

// timeForm is CloudTrail's format of times, always in UTC.
const timeForm = "2006-01-02T15:04:05Z"

// AppendJSON appends the record as one JSON object without a newline, with the members in CloudTrail's order.
func (r *Record) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"eventVersion":"`+eventVersion+`","userIdentity":`...)
	dst = r.Identity.appendJSON(dst)
	dst = append(dst, `,"eventTime":`...)
	dst = appendTime(dst, r.Time)
	dst = always(dst, `,"eventSource":`, r.Source, maxText)
	dst = always(dst, `,"eventName":`, r.Name, maxText)
	dst = always(dst, `,"awsRegion":`, r.Region, maxWord)
	dst = always(dst, `,"sourceIPAddress":`, r.SourceIP, maxText)
	dst = always(dst, `,"userAgent":`, r.UserAgent, maxText)
	dst = unlessEmpty(dst, `,"errorCode":`, r.ErrorCode, maxText)
	dst = unlessEmpty(dst, `,"errorMessage":`, r.ErrorMessage, maxMessage)
	dst = append(dst, `,"requestParameters":`...)
	dst = r.Request.appendJSON(dst)
	dst = append(dst, `,"responseElements":`...)
	dst = r.Response.appendJSON(dst)
	if !r.Additional.empty() {
		dst = append(dst, `,"additionalEventData":`...)
		dst = r.Additional.appendJSON(dst)
	}
	dst = unlessEmpty(dst, `,"requestID":`, r.RequestID, maxText)
	dst = append(dst, `,"eventID":"`...)
	dst = r.EventID.append(dst)
	dst = append(dst, `","readOnly":`...)
	dst = strconv.AppendBool(dst, r.ReadOnly)
	if len(r.Resources) > 0 {
		dst = r.appendResources(append(dst, `,"resources":[`...))
	}
	typ := r.Type
	if typ == "" {
		typ = TypeAPICall
	}
	dst = always(dst, `,"eventType":`, typ, maxWord)
	if !r.Service.empty() {
		dst = append(dst, `,"serviceEventDetails":`...)
		dst = r.Service.appendJSON(dst)
	}
	dst = always(dst, `,"managementEvent":true,"recipientAccountId":`, r.Account, maxWord)
	if r.SharedEventID != (ID{}) {
		dst = append(dst, `,"sharedEventID":"`...)
		dst = append(r.SharedEventID.append(dst), '"')
	}
	return append(dst, `,"eventCategory":"Management"}`...)
}

// LineLen returns the length of a line of the record, in bytes with the newline, as it is if the record concerns two accounts.
func (r *Record) LineLen() int {
	one := *r
	one.Account, one.SharedEventID = "000000000000", r.EventID.sibling(1)
	return len(one.AppendJSON(nil)) + 1
}

// AppendLines appends a line, with its newline, for each account that the record concerns: the caller's and the
// owner's. Empty and repeated accounts are skipped; without any account, it appends one line. If there are
// several lines, each has an event id derived from the record's, and all have the same SharedEventID. The same
// record always gives the same lines.
//
// Source: CloudTrail user guide, record contents, sharedEventID.
func (r *Record) AppendLines(dst []byte, accounts ...string) []byte {
	one := *r
	n := byte(0)
	for i, account := range accounts {
		if account == "" || slices.Contains(accounts[:i], account) {
			continue
		}
		one.Account, one.EventID = account, r.EventID.sibling(2*n)
		n++
		if one.SharedEventID == (ID{}) && several(accounts) {
			one.SharedEventID = r.EventID.sibling(1)
		}
		dst = append(one.AppendJSON(dst), '\n')
	}
	if n == 0 {
		dst = append(one.AppendJSON(dst), '\n')
	}
	return dst
}

// several reports whether accounts has more than one different account.
func several(accounts []string) bool {
	first := ""
	for _, a := range accounts {
		if first == "" {
			first = a
		}
		if a != "" && a != first {
			return true
		}
	}
	return false
}

func (r *Record) appendResources(dst []byte) []byte {
	for i := range min(len(r.Resources), maxResources) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = always(dst, `{"accountId":`, r.Resources[i].Account, maxWord)
		dst = unlessEmpty(dst, `,"type":`, r.Resources[i].Type, maxWord)
		dst = append(always(dst, `,"ARN":`, r.Resources[i].ARN, maxText), '}')
	}
	return append(dst, ']')
}

func (i *Identity) appendJSON(dst []byte) []byte {
	typ := i.Type
	if typ == "" {
		typ = Unknown
	}
	dst = always(dst, `{"type":`, string(typ), maxWord)
	dst = unlessEmpty(dst, `,"principalId":`, i.PrincipalID, maxText)
	dst = unlessEmpty(dst, `,"arn":`, i.ARN, maxText)
	dst = unlessEmpty(dst, `,"accountId":`, i.Account, maxWord)
	dst = unlessEmpty(dst, `,"accessKeyId":`, i.AccessKeyID, maxText)
	dst = unlessEmpty(dst, `,"userName":`, i.UserName, maxText)
	if i.Session != nil {
		dst = i.Session.appendJSON(append(dst, `,"sessionContext":`...))
	}
	dst = unlessEmpty(dst, `,"invokedBy":`, i.InvokedBy, maxText)
	dst = unlessEmpty(dst, `,"identityProvider":`, i.IdentityProvider, maxText)
	return append(dst, '}')
}

func (s *Session) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if s.Issuer != (Issuer{}) {
		dst = always(dst, `"sessionIssuer":{"type":`, s.Issuer.Type, maxWord)
		dst = unlessEmpty(dst, `,"principalId":`, s.Issuer.PrincipalID, maxText)
		dst = unlessEmpty(dst, `,"arn":`, s.Issuer.ARN, maxText)
		dst = unlessEmpty(dst, `,"accountId":`, s.Issuer.Account, maxWord)
		dst = unlessEmpty(dst, `,"userName":`, s.Issuer.UserName, maxText)
		dst = append(dst, "},"...)
	}
	if s.FederatedProvider != "" {
		dst = always(dst, `"webIdFederationData":{"federatedProvider":`, s.FederatedProvider, maxText)
		dst = append(dst, `,"attributes":{}},`...)
	}
	dst = append(dst, `"attributes":{"creationDate":`...)
	dst = appendTime(dst, s.CreatedAt)
	// A text, not a boolean, as in CloudTrail.
	dst = append(dst, `,"mfaAuthenticated":"`...)
	dst = append(strconv.AppendBool(dst, s.MFA), `"}`...)
	dst = unlessEmpty(dst, `,"sourceIdentity":`, s.SourceIdentity, maxText)
	return append(dst, '}')
}

func always(dst []byte, name, value string, maxBytes int) []byte {
	return appendString(append(dst, name...), value, maxBytes)
}

func unlessEmpty(dst []byte, name, value string, maxBytes int) []byte {
	if value == "" {
		return dst
	}
	return always(dst, name, value, maxBytes)
}

func appendTime(dst []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), timeForm), '"')
}

// plain marks the bytes that need no escape in a JSON text.
var plain = func() (is [utf8.RuneSelf]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

const hexDigits = "0123456789abcdef"

// appendString appends at most maxBytes bytes of s (counted before escaping) as a JSON text; a text that was
// cut ends with "…". Bytes that are not UTF-8 become U+FFFD. Characters that would move the cursor of a
// terminal, or change the order of the displayed text, are escaped, although JSON does not require it:
// operators read the trail with cat, and clients choose their user agent.
func appendString(dst []byte, s string, maxBytes int) []byte {
	cut := len(s) > maxBytes
	if cut {
		end := maxBytes
		for end > maxBytes-utf8.UTFMax && !utf8.RuneStart(s[end]) { // a text that is not UTF-8 may have no start of a character
			end--
		}
		s = s[:end]
	}
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf && plain[c] {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if size > 1 && !hidden(r) {
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		if r == '"' || r == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	if cut {
		dst = append(dst, "…"...)
	}
	return append(dst, '"')
}

// Clip returns s, or if its JSON text has more than maxBytes bytes, the beginning of s so that the text has at most about
// maxBytes.
func Clip(s string, maxBytes int) string {
	text := appendString(nil, s, len(s))
	if len(text)-2 <= maxBytes {
		return s
	}
	n := min(len(s), maxBytes)
	for n > 0 && len(appendString(nil, s[:n], n))-2 > maxBytes-len("…") {
		n -= max(1, n/8)
	}
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// appendRaw appends a JSON value, and escapes the characters that appendString escapes; in JSON they occur only
// inside texts.
func appendRaw(dst, value []byte) []byte {
	start := 0
	for i := 0; i < len(value); {
		if c := value[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRune(value[i:])
		if r < ' ' || r != 0x7f && !hidden(r) { // control characters below the space are between values, or the text is not JSON
			i += size
			continue
		}
		dst = append(dst, value[start:i]...)
		dst = append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		i += size
		start = i
	}
	return append(dst, value[start:]...)
}

// hidden reports whether r is an invisible character of several bytes: a control, a line separator or a
// direction mark.
func hidden(r rune) bool {
	return r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}
