package audit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// SchemaVersion is the version of the body that Encode writes.
const SchemaVersion = 1

// The limits of what is recorded, in bytes.
const (
	maxName    = 256
	maxMessage = 2 << 10
	maxBody    = 64 << 10 // audit.append refuses more
)

// Limits that keep one value from crowding out the rest.
const (
	maxRoles = 32
	maxList  = 200
	maxNames = 40 << 10 // bytes that Names take in the body
	maxDepth = 6
)

// maxExact is the largest integer that every JSON reader takes exactly.
const maxExact = 1 << 53

const (
	cutMark     = "…"
	droppedMark = "[dropped: the event was too long]"
	timeLayout  = "2006-01-02T15:04:05.000000Z"
)

// Encode gives the bytes of an event that are hashed and kept: RFC 8785 canonical JSON of at
// most 64 KiB. It does not fail, whatever the event holds: a change that cannot be told is worse
// than one told in part.
//
//   - Invalid UTF-8, control characters and characters that reorder text are written out, as \xff
//     or \u0000. A backslash that is already in the text stays as it is.
//   - Names are cut at 256 bytes, messages at 2 KiB, both between characters and with a mark.
//   - Lists are cut at 200 values, Names at 40 KiB, both with a mark.
//   - Integers beyond 2^53 become strings.
//   - When the whole is too long, the longest values of Change are replaced by a mark.
//   - Fields that are empty are left out.
//   - An unknown phase becomes single, and so does an attempt or outcome of no operation.
func Encode(e Event) []byte {
	root := object{}
	root.str("id", e.ID.String())
	root["schema"] = SchemaVersion
	root.str("at", formatTime(e.At))
	root.name("act", cmpOr(e.Act, "unnamed"))
	root.str("phase", string(phaseOf(e)))
	root.name("outcome", string(e.Outcome))
	root.message("reason", e.Reason)
	root.integer("count", int64(e.Count))
	if e.Inferred {
		root["inferred"] = true
	}
	root.id("operation_id", e.Operation)
	root.id("parent_id", e.Parent)
	root.name("request_id", e.Actor.RequestID)
	root.object("actor", actorObject(e.Actor))
	source := object{}
	source.name("ip", e.Actor.IP)
	source.name("user_agent", e.Actor.UserAgent)
	root.object("source", source)
	account := object{}
	account.name("id", e.Account.ID)
	account.name("name", e.Account.Name)
	root.object("account", account)
	target := object{}
	target.name("kind", e.Target.Kind)
	target.name("id", e.Target.ID)
	target.name("name", e.Target.Name)
	root.object("target", target)
	upstream := object{}
	upstream.name("rpc", e.Upstream.RPC)
	upstream.name("key_id", e.Upstream.KeyID)
	upstream.integer("status", int64(e.Upstream.Status))
	upstream.name("trace_id", e.Upstream.TraceID)
	upstream.integer("latency_ms", e.Upstream.LatencyMS)
	root.object("upstream", upstream)
	return root.withChange(e.Change)
}

func actorObject(a Actor) object {
	o := object{}
	o.name("issuer", a.Issuer)
	o.name("subject", a.Subject)
	o.name("name", a.Name)
	o.name("email", a.Email)
	if a.Email != "" && a.EmailVerified {
		o["email_verified"] = true
	}
	o.name("session", a.Session)
	o.name("via", string(a.Via))
	if len(a.Roles) > 0 {
		roles := make([]any, 0, min(len(a.Roles), maxRoles+1))
		for i, role := range a.Roles {
			if i == maxRoles {
				roles = append(roles, cutMark)
				break
			}
			roles = append(roles, visible(role, maxName))
		}
		o["roles"] = roles
	}
	return o
}

// object is a JSON object under construction. Empty values are not set.
type object map[string]any

func (o object) str(key, value string) {
	if value != "" {
		o[key] = value
	}
}
func (o object) name(key, value string)    { o.str(key, visible(value, maxName)) }
func (o object) message(key, value string) { o.str(key, visible(value, maxMessage)) }

func (o object) integer(key string, value int64) {
	if value != 0 {
		o[key] = exactInt(value)
	}
}

func (o object) id(key string, id uuid.UUID) {
	if id != uuid.Nil {
		o[key] = id.String()
	}
}

func (o object) object(key string, value object) {
	if len(value) > 0 {
		o[key] = value
	}
}

// withChange adds the change, as much of it as fits, and gives the canonical bytes.
func (o object) withChange(c Change) []byte {
	if len(c) == 0 {
		return canonical(o)
	}
	values := make(object, len(c))
	names := make([]string, 0, len(c))
	for _, original := range sortedKeys(c) {
		name := visible(original, maxName)
		for n := 2; values[name] != nil; n++ { // cutting may have made two names alike
			suffix := "~" + strconv.Itoa(n)
			name = visible(original, maxName-len(suffix)) + suffix
		}
		pair := c[original]
		values[name] = []any{recorded(pair[0], 0), recorded(pair[1], 0)}
		names = append(names, name)
	}
	o["change"] = values
	body := canonical(o)
	if len(body) <= maxBody {
		return body
	}

	sizes := make(map[string]int, len(names))
	for _, name := range names {
		sizes[name] = len(canonical(object{"v": values[name]}))
	}
	slices.SortStableFunc(names, func(a, b string) int { return sizes[b] - sizes[a] })
	mark := []any{droppedMark, droppedMark}
	excess := len(body) - maxBody
	for _, name := range names {
		if excess <= 0 {
			break
		}
		values[name] = mark
		excess -= max(0, sizes[name]-len(canonical(object{"v": mark})))
	}
	if body = canonical(o); len(body) <= maxBody {
		return body
	}

	// Too many fields even without their values: the count stands for all of them.
	o["change"] = object{droppedMark: []any{nil, strconv.Itoa(len(c)) + " fields"}}
	return canonical(o)
}

func sortedKeys(c Change) []string {
	keys := make([]string, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// recorded makes a value of a change into something JSON holds exactly.
func recorded(v any, depth int) (out any) {
	defer func() {
		if r := recover(); r != nil {
			out = "[unreadable]" // a method of the value's own type failed
		}
	}()
	if depth > maxDepth {
		return cutMark
	}
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		return v
	case string:
		return visible(v, maxMessage)
	case time.Time:
		return visible(v.UTC().Format(timeLayout), maxName)
	case time.Duration:
		return v.String()
	case json.Number:
		return recordedNumber(v)
	case []byte:
		return strconv.Itoa(len(v)) + " bytes"
	case Names:
		return recordedNames(v)
	case encoding.TextMarshaler:
		if isNilPointer(v) {
			return nil
		}
		text, err := v.MarshalText()
		if err != nil {
			return "[unreadable]"
		}
		return visible(string(text), maxMessage)
	case json.Marshaler:
		if isNilPointer(v) {
			return nil
		}
		return recordedJSON(v, depth)
	case fmt.Stringer:
		if isNilPointer(v) {
			return nil
		}
		return visible(v.String(), maxMessage)
	}
	return recordedKind(reflect.ValueOf(v), depth)
}

// recordedNames records as many names as have room, and a mark when there are more.
func recordedNames(names Names) []any {
	list := []any{}
	room := maxNames
	for _, name := range names {
		name = visible(name, maxName)
		// In JSON each backslash and quote takes two bytes; everything else that is visible takes its own.
		room -= len(name) + strings.Count(name, `\\`) + strings.Count(name, `"`) + len(`"",`)
		if room < 0 {
			return append(list, cutMark)
		}
		list = append(list, name)
	}
	return list
}

func recordedKind(v reflect.Value, depth int) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return visible(v.String(), maxMessage)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return exactInt(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if n := v.Uint(); n > maxExact {
			return strconv.FormatUint(n, 10)
		}
		return v.Uint()
	case reflect.Float32:
		exact, err := strconv.ParseFloat(strconv.FormatFloat(v.Float(), 'g', -1, 32), 64)
		if err != nil {
			return strconv.FormatFloat(v.Float(), 'g', -1, 32)
		}
		return exactFloat(exact)
	case reflect.Float64:
		return exactFloat(v.Float())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return recorded(v.Elem().Interface(), depth+1)
	case reflect.Slice, reflect.Array:
		list := make([]any, 0, min(v.Len(), maxList+1))
		for i := range v.Len() {
			if i == maxList {
				list = append(list, cutMark)
				break
			}
			list = append(list, recorded(v.Index(i).Interface(), depth+1))
		}
		return list
	case reflect.Map, reflect.Struct:
		return recordedJSON(v.Interface(), depth)
	default:
		return "[" + visible(v.Type().String(), maxName) + "]"
	}
}

// recordedJSON takes the way over JSON, which sees exported fields only.
func recordedJSON(v any, depth int) any {
	text, err := json.Marshal(v)
	if err != nil {
		return "[unreadable]"
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return "[unreadable]"
	}
	return recordedPlain(plain, depth)
}

func recordedPlain(v any, depth int) any {
	if depth > maxDepth {
		return cutMark
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		keys := make([]string, 0, len(v))
		for key := range v {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for i, key := range keys {
			if i == maxList {
				out[cutMark] = strconv.Itoa(len(v)-maxList) + " more"
				break
			}
			out[visible(key, maxName)] = recordedPlain(v[key], depth+1)
		}
		return out
	case []any:
		out := make([]any, 0, min(len(v), maxList+1))
		for i, item := range v {
			if i == maxList {
				out = append(out, cutMark)
				break
			}
			out = append(out, recordedPlain(item, depth+1))
		}
		return out
	default:
		return recorded(v, depth)
	}
}

func recordedNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return exactInt(i)
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return exactFloat(f)
	}
	return visible(n.String(), maxName)
}

func exactInt(n int64) any {
	if n > maxExact || n < -maxExact {
		return strconv.FormatInt(n, 10)
	}
	return n
}

func exactFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) > maxExact {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return f
}

func isNilPointer(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		t = time.Time{}
	}
	return t.Format(timeLayout)
}

// phaseOf is the phase that audit.append takes: an attempt or outcome must name its operation.
func phaseOf(e Event) Phase {
	switch {
	case e.Phase == PhaseSettled, e.Operation != uuid.Nil && (e.Phase == PhaseAttempt || e.Phase == PhaseOutcome):
		return e.Phase
	default:
		return PhaseSingle
	}
}

func cmpOr(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// visible writes out what could hide or forge text on a screen and cuts at limit bytes.
func visible(s string, limit int) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var out strings.Builder
	room := limit - len(cutMark)
	end := 0 // where the mark goes when the rest turns out not to fit
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		piece := s[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, s[i])
		case hidden(r) && r <= 0xffff:
			piece = fmt.Sprintf(`\u%04x`, r)
		case hidden(r):
			piece = fmt.Sprintf(`\U%08x`, r)
		}
		if out.Len()+len(piece) > limit {
			return out.String()[:end] + cutMark
		}
		out.WriteString(piece)
		if out.Len() <= room {
			end = out.Len()
		}
		i += size
	}
	return out.String()
}

func plain(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if hidden(r) {
			return false
		}
	}
	return true
}

// hidden is true of controls, of formatting characters such as those that turn the direction of
// text, of the separators of lines, of letters that are blank and of what is assigned to nobody.
// Joiners of emoji and scripts stay.
func hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == '\x7f' // most text is ASCII, and looking into every table costs more than all else
	}
	if r == '\u200c' || r == '\u200d' {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Noncharacter_Code_Point, unicode.Other_Default_Ignorable_Code_Point)
}
