package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Field is one part of an event's body. Fields that are empty, zero or false are left out of the
// body, and are empty cells in an export.
type Field struct {
	Name    string // its place in the body: a dot leads into an object
	Type    string // of its value in JSON
	Meaning string
	text    func(Event) string // as a cell
}

// Fields lists what the body of an event may hold, in the order of an export's columns.
func Fields() []Field {
	return []Field{
		{"id", "UUID", "of the event", func(e Event) string { return idText(e.ID) }},
		{"schema", "integer", "version of this list of fields; " + strconv.Itoa(SchemaVersion) + " at present", func(e Event) string { return integerText(int64(e.Schema)) }},
		{"at", "time", "when the console built the event, by its own clock", func(e Event) string { return momentText(e.At) }},
		{"act", "text", "what was done or tried: a name of the table of acts", func(e Event) string { return e.Act }},
		{"phase", "text", "which part of the operation the event tells of", func(e Event) string { return string(e.Phase) }},
		{"outcome", "text", "how it ended; an attempt has none", func(e Event) string { return string(e.Outcome) }},
		{"reason", "text", "of a refusal or failure, in words for people", func(e Event) string { return e.Reason }},
		{"count", "integer", "how many refusals or failures are summed into this event; without it one", func(e Event) string { return integerText(int64(e.Count)) }},
		{"inferred", "true or absent", "the answer was lost, and this was found out afterwards by looking at Qdrant Cloud", func(e Event) string { return flagText(e.Inferred) }},
		{"operation_id", "UUID", "joins an attempt, its outcome and its end", func(e Event) string { return idText(e.Operation) }},
		{"parent_id", "UUID", "joins the operations of one larger act, such as a rotation", func(e Event) string { return idText(e.Parent) }},
		{"request_id", "text", "of the request to the console; its log lines and error pages carry it", func(e Event) string { return e.Actor.RequestID }},
		{"actor.issuer", "text", "the identity provider that vouches for the subject; `quartermaster` for the console itself", func(e Event) string { return e.Actor.Issuer }},
		{"actor.subject", "text", "who acted, as the issuer tells people apart", func(e Event) string { return e.Actor.Subject }},
		{"actor.name", "text", "the name at the time; people may choose it themselves", func(e Event) string { return e.Actor.Name }},
		{"actor.email", "text", "the e-mail address at the time", func(e Event) string { return e.Actor.Email }},
		{"actor.email_verified", "true or absent", "the issuer vouches for the e-mail address", func(e Event) string { return flagText(e.Actor.EmailVerified) }},
		{"actor.roles", "list of text", "roles held at the time; in CSV separated by a comma and a space", func(e Event) string { return strings.Join(e.Actor.Roles, ", ") }},
		{"actor.session", "text", "a hash that tells sessions apart; never the session's token", func(e Event) string { return e.Actor.Session }},
		{"actor.via", "text", "the door the actor came through", func(e Event) string { return string(e.Actor.Via) }},
		{"source.ip", "text", "address of the client", func(e Event) string { return e.Actor.IP }},
		{"source.user_agent", "text", "what the client calls itself", func(e Event) string { return e.Actor.UserAgent }},
		{"account.id", "text", "the console's id of the account it was done in", func(e Event) string { return e.Account.ID }},
		{"account.name", "text", "the account's name at the time", func(e Event) string { return e.Account.Name }},
		{"target.kind", "text", "the kind of thing it was done to", func(e Event) string { return e.Target.Kind }},
		{"target.id", "text", "which one", func(e Event) string { return e.Target.ID }},
		{"target.name", "text", "the target's name at the time", func(e Event) string { return e.Target.Name }},
		{"upstream.rpc", "text", "the operation of the Cloud API", func(e Event) string { return e.Upstream.RPC }},
		{"upstream.key_id", "text", "the console's id of the management key that was used", func(e Event) string { return e.Upstream.KeyID }},
		{"upstream.status", "integer", "HTTP status of the Cloud API's answer", func(e Event) string { return integerText(int64(e.Upstream.Status)) }},
		{"upstream.trace_id", "text", "the Cloud API's own id of the call, for its support", func(e Event) string { return e.Upstream.TraceID }},
		{"upstream.latency_ms", "integer", "milliseconds until the answer", func(e Event) string { return integerText(e.Upstream.LatencyMS) }},
		{"change", "object", "for each field that changed a list of two: the value before and after. A secret is `" + Redacted + "`, never its value. In CSV as JSON", func(e Event) string { return changeText(e.Change) }},
	}
}

func idText(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func integerText(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func flagText(set bool) string {
	if !set {
		return ""
	}
	return "true"
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return formatTime(t)
}

func changeText(c Change) string {
	if len(c) == 0 {
		return ""
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return "[unreadable]" // what Decode gives is JSON, so this is for a Change made otherwise
	}
	return strings.TrimSuffix(text.String(), "\n")
}
