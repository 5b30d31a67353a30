package cloudapi

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what an error means to the caller, whatever the generation and the wire.
type Kind string

// The kinds.
const (
	Unauthenticated Kind = "unauthenticated" // the key is wrong, revoked or cannot be sent
	Forbidden       Kind = "forbidden"       // the key is known and may not do this
	NotFound        Kind = "not_found"       // upstream says, in JSON, that the thing does not exist
	Invalid         Kind = "invalid"         // the request breaks a rule; Fields name what they can
	Conflict        Kind = "conflict"        // not in this state: FAILED_PRECONDITION, ALREADY_EXISTS, ABORTED
	RateLimited     Kind = "rate_limited"    // by upstream, or by our own budget (Status 0)
	Unavailable     Kind = "unavailable"     // not reached, broken off, too slow, or 5xx
	Malformed       Kind = "malformed"       // an answer that cannot be believed: size, encoding, JSON, shape, redirect
)

// Bounds of what upstream's words may take up in an Error.
const (
	maxMessageRunes = 300
	maxFieldRunes   = 128
	maxFields       = 20
	maxTraceID      = 128
)

// FieldError is one field that upstream found wrong, in upstream's spelling of its path.
type FieldError struct{ Field, Message string }

// Error is a call that failed. Its texts are bounded, hold no control characters and never the
// key, also when upstream sends it back.
type Error struct {
	Kind    Kind
	Op      Op
	Status  int    // HTTP status; 0 when there was no answer
	Code    int    // google.rpc.Code of the answer; 0 when it gave none
	Message string // upstream's own, or for what we refused our own; at most 300 runes; may be empty
	Fields  []FieldError
	TraceID string // upstream's, for its support
	// RetryAfter is what upstream asked for with 429 or 503, at most a day; 0 when it asked nothing.
	RetryAfter time.Duration
	Latency    time.Duration
	Timeout    bool // Unavailable because the deadline passed or upstream's own did (504)
	// OutcomeUnknown is set when the request left and no answer of upstream's own came back: broken
	// off, deadline passed, or a gateway's 502 or 504. Something that mutates may have been done.
	OutcomeUnknown bool
	// Resting is set when nothing was sent because too many calls of the account failed in a row;
	// RetryAfter then says when one is sent again.
	Resting bool

	cause error
}

// Error names the operation, the kind and upstream's words; it is safe in a log line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Op.Name, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %s", e.cause)
	}
	if e.TraceID != "" {
		fmt.Fprintf(&b, " [trace %s]", e.TraceID)
	}
	return b.String()
}

// Unwrap returns what broke the call; context.Canceled and context.DeadlineExceeded are found in it.
func (e *Error) Unwrap() error { return e.cause }

// Public returns upstream's own words, at most 300 runes with control characters escaped, or a
// sentence for the kind where upstream had none. It is safe to show; a page still has to escape it.
func (e *Error) Public() string {
	if e.Message != "" {
		return e.Message
	}
	switch e.Kind {
	case Unauthenticated:
		return "Qdrant Cloud does not accept the key."
	case Forbidden:
		return "Qdrant Cloud does not allow the key to do this."
	case NotFound:
		return "Qdrant Cloud does not know it."
	case Invalid:
		return "Qdrant Cloud refused the request as invalid."
	case Conflict:
		return "Qdrant Cloud does not do this in the present state."
	case RateLimited:
		return "Qdrant Cloud asks to slow down."
	case Malformed:
		return "Qdrant Cloud gave an answer that makes no sense."
	case Unavailable:
		if e.Timeout {
			return "Qdrant Cloud did not answer in time."
		}
		return "Qdrant Cloud cannot be reached or is failing."
	}
	return "The call to Qdrant Cloud failed."
}

// AsError finds the *Error in err.
func AsError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// UnsupportedError says that a generation lacks an operation; nothing was sent.
type UnsupportedError struct {
	Op     string // the method asked for
	Reason string // a sentence for people
}

func (e *UnsupportedError) Error() string { return e.Op + ": " + e.Reason }

// callError is what broke a call below HTTP: its text bounded and cleaned, the context's errors kept.
type callError struct {
	text string
	is   error
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.is }

// clean makes text of upstream's fit to be shown: what does not print is escaped, and more than so
// many runes end in an ellipsis.
func clean(s string, runes int) string {
	s = strings.TrimSpace(s[:min(len(s), (runes+2)*utf8.UTFMax)])
	var b strings.Builder
	n, keep := 0, 0
	for _, r := range s {
		unit := escapeRune(r)
		if n += utf8.RuneCountInString(unit); n > runes {
			return b.String()[:keep] + "…"
		}
		b.WriteString(unit)
		if n < runes {
			keep = b.Len()
		}
	}
	return b.String()
}

func escapeRune(r rune) string {
	switch {
	case unicode.IsPrint(r) && r != utf8.RuneError:
		return string(r)
	case r == '\n':
		return `\n`
	case r == '\t':
		return `\t`
	case r == '\r':
		return `\r`
	case r <= 0xFFFF:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// token makes an identifier of upstream's fit for a header, a log and a page: printable ASCII without
// spaces, bounded; anything else is left out.
func token(s string, size int) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, s[:min(len(s), size)])
}
