package cloudapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// google.rpc.Code values that the HTTP status does not tell apart.
const (
	codeFailedPrecondition = 9
	codeUnauthenticated    = 16
)

// maxRetryAfter is the longest pause that upstream is believed to mean.
const maxRetryAfter = 24 * time.Hour

// refusal reads an answer that is not a success. Texts go through redact before they are cut, for half
// a key would not be found.
func (c *Conn) refusal(op Op, answer Answer, header http.Header, body []byte, redact func(string) string) *Error {
	failed := &Error{Op: op, Status: answer.Status, TraceID: answer.TraceID, Latency: answer.Latency}
	said, isJSON := readRefusal(body, redact)
	failed.Code, failed.Message, failed.Fields = said.code, said.message, said.fields
	failed.Kind = kindOf(answer.Status, failed.Code)
	switch failed.Kind {
	case NotFound:
		// A wrong address or a proxy answers 404 to everything, in HTML: nothing may be concluded from that.
		if !isJSON {
			failed.Kind = Malformed
			failed.Message = "404 came without the API's own JSON; the address may be wrong."
		}
	case Malformed:
		if answer.Status/100 == 3 {
			failed.Message = redirectMessage(redact(header.Get("Location")))
		} else if failed.Message == "" {
			failed.Message = "The answer has an unexpected status."
		}
	case RateLimited, Unavailable:
		failed.RetryAfter = retryAfter(header.Get("Retry-After"), c.client.now())
		failed.Timeout = answer.Status == http.StatusGatewayTimeout || answer.Status == http.StatusRequestTimeout
		failed.OutcomeUnknown = answer.Status == http.StatusGatewayTimeout || answer.Status == http.StatusBadGateway
	}
	return failed
}

// kindOf follows the grpc-gateway's table of statuses; only where it folds several codes into 400 does
// the code decide.
func kindOf(status, code int) Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if code == codeFailedPrecondition {
			return Conflict
		}
		if code == codeUnauthenticated {
			return Unauthenticated
		}
		return Invalid
	case http.StatusUnauthorized:
		return Unauthenticated
	case http.StatusForbidden:
		return Forbidden
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusPaymentRequired, http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked:
		return Conflict
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusRequestTimeout:
		return Unavailable
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return Invalid
	}
	if status >= 500 {
		return Unavailable
	}
	return Malformed
}

// refusalText is what the body of a refusal says.
type refusalText struct {
	code    int
	message string
	fields  []FieldError
}

// readRefusal reads google.rpc.Status, FastAPI's detail, and any other JSON as text. It reports
// whether the body was a JSON object.
func readRefusal(body []byte, redact func(string) string) (refusalText, bool) {
	tree, err := parse(body)
	if err != nil {
		return refusalText{}, false
	}
	object, isObject := tree.(map[string]any)
	if !isObject {
		return refusalText{message: jsonText(tree, redact)}, false
	}
	n := node{object}
	var said refusalText
	if code := n.integer("code"); code > 0 && code <= codeUnauthenticated {
		said.code = int(code)
	}
	said.fields = violations(n, redact)
	for _, candidate := range []string{n.text("message"), n.text("detail"), n.text("error"), n.object("error").text("message"), n.text("title")} {
		if candidate != "" {
			said.message = clean(redact(candidate), maxMessageRunes)
			break
		}
	}
	if said.message == "" && len(said.fields) > 0 {
		said.message = clean(strings.TrimPrefix(said.fields[0].Field+": ", ": ")+said.fields[0].Message, maxMessageRunes)
	}
	if said.message == "" && len(object) > 0 {
		said.message = jsonText(tree, redact)
	}
	return said, true
}

// violations reads google.rpc.BadRequest and buf.validate.Violations out of details, and FastAPI's
// detail list.
func violations(n node, redact func(string) string) []FieldError {
	var fields []FieldError
	add := func(field, message string) {
		if len(fields) < maxFields && (field != "" || message != "") {
			fields = append(fields, FieldError{Field: clean(redact(field), maxFieldRunes), Message: clean(redact(message), maxMessageRunes)})
		}
	}
	for _, detail := range n.objects("details") {
		for _, v := range detail.objects("fieldViolations") {
			add(v.text("field"), v.text("description"))
		}
		for _, v := range detail.objects("violations") {
			var path []string
			for _, element := range v.object("field").objects("elements") {
				path = append(path, element.text("fieldName"))
			}
			add(orString(strings.Join(path, "."), v.text("fieldPath")), v.text("message"))
		}
	}
	for _, v := range n.objects("detail") {
		var path []string
		for _, part := range v.list("loc") {
			path = append(path, scalar(part))
		}
		if len(path) > 1 && slices.Contains([]string{"body", "query", "path"}, path[0]) {
			path = path[1:]
		}
		add(strings.Join(path, "."), v.text("msg"))
	}
	return fields
}

func jsonText(tree any, redact func(string) string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return ""
	}
	return clean(redact(b.String()), maxMessageRunes)
}

func redirectMessage(location string) string {
	to, err := url.Parse(location)
	if err != nil || to.Host == "" {
		return "The answer is a redirect, which is never followed."
	}
	return clean("The answer is a redirect to "+to.Scheme+"://"+to.Host+", which is never followed.", maxMessageRunes)
}

// retryAfter reads seconds or an HTTP date; nonsense and the past are 0.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		d = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// traceID finds upstream's trace id: the two names that are known, then anything that looks like one,
// then any metadata the gateway passed on. How REST exposes it is not documented.
func traceID(response *http.Response) string {
	for _, header := range []http.Header{response.Header, response.Trailer} {
		for _, name := range []string{"X-Qd-Request-Id", "Qc-Trace-Id", "Grpc-Metadata-Qc-Trace-Id", "Grpc-Trailer-Qc-Trace-Id"} {
			if id := token(header.Get(name), maxTraceID); id != "" {
				return id
			}
		}
		names := make([]string, 0, len(header))
		for name := range header {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, looksRight := range []func(lower string) bool{
			func(lower string) bool { return strings.Contains(lower, "trace-id") },
			func(lower string) bool {
				metadata, isMetadata := strings.CutPrefix(lower, "grpc-metadata-")
				if !isMetadata {
					metadata, isMetadata = strings.CutPrefix(lower, "grpc-trailer-")
				}
				return isMetadata && !slices.Contains([]string{"content-type", "content-length", "date", "server"}, metadata)
			},
		} {
			for _, name := range names {
				if looksRight(strings.ToLower(name)) {
					if id := token(header.Get(name), maxTraceID); id != "" {
						return id
					}
				}
			}
		}
	}
	return ""
}
