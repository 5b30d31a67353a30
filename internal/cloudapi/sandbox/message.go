package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// msg is a protobuf message as a map from protobuf field name to value; a field that is not set
// is not in the map. Values are string, bool, int64 (int32 and int64), uint64 (uint32 and
// uint64), float64, enumValue, time.Time, time.Duration, []string (field masks), msg, or []any of
// these. A msg that has been stored is never changed again, only replaced.
type msg map[string]any

// enumValue is the number of an enum value.
type enumValue int32

// maxDepth bounds how deep an incoming JSON document may nest.
const maxDepth = 100

func (m msg) str(name string) string      { v, _ := m[name].(string); return v }
func (m msg) flag(name string) bool       { v, _ := m[name].(bool); return v }
func (m msg) uint(name string) uint64     { v, _ := m[name].(uint64); return v }
func (m msg) int(name string) int64       { v, _ := m[name].(int64); return v }
func (m msg) enum(name string) enumValue  { v, _ := m[name].(enumValue); return v }
func (m msg) sub(name string) msg         { v, _ := m[name].(msg); return v }
func (m msg) list(name string) []any      { v, _ := m[name].([]any); return v }
func (m msg) when(name string) time.Time  { v, _ := m[name].(time.Time); return v }
func (m msg) has(name string) bool        { _, ok := m[name]; return ok }
func (m msg) with(name string, v any) msg { c := m.clone(); c[name] = v; return c }

// replace sets a list, or takes the field away when the list is empty.
func (m msg) replace(name string, list []any) {
	delete(m, name)
	if len(list) > 0 {
		m[name] = list
	}
}

// clone returns a shallow copy.
func (m msg) clone() msg {
	c := make(msg, len(m)+1)
	for k, v := range m {
		c[k] = v
	}
	return c
}

// member is one name and value of a JSON object; objects keep duplicates, which protojson refuses.
type member struct {
	name  string
	value any
}

// object is a JSON object in order.
type object []member

// readJSON reads exactly one JSON document. Numbers stay json.Number, objects become object.
func readJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("unexpected token after the document")
	}
	return v, nil
}

func readValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("exceeded max recursion depth")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	o := object{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		v, err := readValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, v})
	}
	_, err = dec.Token()
	return o, err
}

// fromJSON maps a JSON document onto a message by protojson's rules with unknown fields ignored,
// as the gateway does: both spellings of a name, null is unset, a name twice is an error.
func (t *messageType) fromJSON(doc any) (msg, error) {
	o, ok := doc.(object)
	if !ok {
		return nil, fmt.Errorf("unexpected token for %s: want an object", t.name)
	}
	m := msg{}
	seen, groups := map[string]bool{}, map[string]bool{}
	for _, kv := range o {
		f := t.byName[kv.name]
		if f == nil {
			continue
		}
		if seen[f.name] {
			return nil, fmt.Errorf("duplicate field %q", kv.name)
		}
		seen[f.name] = true
		if kv.value == nil {
			continue
		}
		if f.oneof != "" {
			if groups[f.oneof] {
				return nil, fmt.Errorf("error parsing %q, oneof %s.%s is already set", kv.name, t.name, f.oneof)
			}
			groups[f.oneof] = true
		}
		v, err := f.fromJSON(kv.value)
		if err != nil {
			return nil, err
		}
		m.set(f, v)
	}
	return m, nil
}

// set stores a value the way a protobuf message would remember it: an empty list and the zero
// value of a field without presence are the same as unset.
func (m msg) set(f *field, v any) {
	if list, ok := v.([]any); ok && len(list) == 0 || !f.tracksPresence() && isZero(v) {
		delete(m, f.name)
		return
	}
	m[f.name] = v
}

func isZero(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	case uint64:
		return v == 0
	case float64:
		return v == 0
	case enumValue:
		return v == 0
	}
	return false
}

func (f *field) fromJSON(v any) (any, error) {
	if !f.repeated {
		return f.oneFromJSON(v)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("unexpected token for field %s: want a list", f.json)
	}
	out := make([]any, 0, len(list))
	for _, item := range list {
		one, err := f.oneFromJSON(item)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (f *field) oneFromJSON(v any) (any, error) {
	if f.message != nil {
		return f.message.fromJSON(v)
	}
	switch v := v.(type) {
	case string:
		return f.parse(v)
	case json.Number:
		if f.typ == "string" || f.typ == "timestamp" || f.typ == "duration" || f.typ == "mask" || f.typ == "bool" {
			break
		}
		if f.enum != nil {
			n, err := strconv.ParseInt(v.String(), 10, 32)
			if err != nil {
				return nil, f.invalid(v.String())
			}
			return enumValue(n), nil
		}
		return f.parse(v.String())
	case bool:
		if f.typ == "bool" {
			return v, nil
		}
	}
	return nil, fmt.Errorf("invalid value for %s field %s", f.typ, f.json)
}

func (f *field) invalid(v string) error {
	if len(v) > 64 {
		v = v[:64]
	}
	return fmt.Errorf("invalid value for %s field %s: %q", f.typ, f.json, v)
}

// parse reads a scalar from text: a JSON string, a JSON number, or a query parameter.
func (f *field) parse(v string) (any, error) {
	if f.enum != nil {
		if n, ok := f.enum.numbers[v]; ok {
			return enumValue(n), nil
		}
		return nil, f.invalid(v)
	}
	switch f.typ {
	case "string":
		return v, nil
	case "int32", "int64":
		bits := 32
		if f.typ == "int64" {
			bits = 64
		}
		n, err := strconv.ParseInt(integral(v), 10, bits)
		if err != nil {
			return nil, f.invalid(v)
		}
		return n, nil
	case "uint32", "uint64":
		bits := 32
		if f.typ == "uint64" {
			bits = 64
		}
		n, err := strconv.ParseUint(integral(v), 10, bits)
		if err != nil {
			return nil, f.invalid(v)
		}
		return n, nil
	case "double":
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return nil, f.invalid(v)
		}
		return n, nil
	case "timestamp":
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return nil, f.invalid(v)
		}
		return t.UTC(), nil
	case "duration":
		d, err := time.ParseDuration(v)
		if err != nil || !strings.HasSuffix(v, "s") || strings.ContainsAny(v, "hmµun") {
			return nil, f.invalid(v)
		}
		return d, nil
	case "mask":
		if v == "" {
			return []string{}, nil
		}
		paths := strings.Split(v, ",")
		for i, p := range paths {
			if strings.Contains(p, "_") || p == "" {
				return nil, fmt.Errorf("google.protobuf.FieldMask.paths contains invalid path: %q", p)
			}
			paths[i] = snake(p)
		}
		return paths, nil
	}
	return nil, f.invalid(v)
}

// integral drops the fraction and exponent protojson accepts on integers (1.0, 1e3).
func integral(v string) string {
	if !strings.ContainsAny(v, ".eE") {
		return v
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
		return v
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// parseText reads a query or path parameter. The gateway also takes enum numbers and 1/0, t/f for
// booleans there.
func (f *field) parseText(v string) (any, error) {
	if !utf8.ValidString(v) {
		return nil, f.invalid(v)
	}
	if f.typ == "bool" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, f.invalid(v)
		}
		return b, nil
	}
	if f.enum != nil {
		if n, err := strconv.ParseInt(v, 10, 32); err == nil && f.enum.names[int32(n)] != "" {
			return enumValue(n), nil
		}
	}
	if f.message != nil {
		return nil, f.invalid(v)
	}
	return f.parse(v)
}

// Spelling says how answers are written where the gateway's own settings are not known. The zero
// value is grpc-gateway's protojson with unset fields left out.
type Spelling struct {
	// Unset: "" or "absent" leaves unset fields out; "gateway" writes zero values, empty lists and
	// null messages as grpc-gateway's default marshaler does; "null" writes null for every unset
	// field; "zero" writes zero values also for messages' times; "empty" writes "" for unset strings,
	// enums and times.
	Unset string `json:"unset"`
	// NumericInt64 writes 64 bit integers as JSON numbers instead of strings.
	NumericInt64 bool `json:"numeric_int64"`
	// SnakeCase writes protobuf names instead of lowerCamelCase.
	SnakeCase bool `json:"snake_case"`
	// NumericEnums writes enums as numbers instead of names.
	NumericEnums bool `json:"numeric_enums"`
}

func (s Spelling) check() error {
	if !slices.Contains([]string{"", "absent", "gateway", "null", "zero", "empty"}, s.Unset) {
		return fmt.Errorf("unset must be absent, gateway, null, zero or empty, not %q", s.Unset)
	}
	return nil
}

// appendJSON writes m as JSON.
func (t *messageType) appendJSON(b []byte, m msg, s Spelling) []byte {
	b = append(b, '{')
	first := true
	for _, f := range t.fields {
		v, ok := m[f.name]
		if list, isList := v.([]any); isList && len(list) == 0 || !f.tracksPresence() && isZero(v) {
			ok = false
		}
		if !ok {
			if v, ok = f.unset(s); !ok {
				continue
			}
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		name := f.json
		if s.SnakeCase {
			name = f.name
		}
		b = append(appendString(b, name), ':')
		b = f.appendJSON(b, v, s)
	}
	return append(b, '}')
}

// rawJSON is written as it is.
type rawJSON string

// unset is what stands for a field that is not set; false leaves it out.
func (f *field) unset(s Spelling) (any, bool) {
	isTime := f.typ == "timestamp" || f.typ == "duration"
	isMessage := f.message != nil || isTime || f.typ == "mask"
	switch s.Unset {
	case "null":
		return rawJSON("null"), true
	case "empty":
		if !f.repeated && (f.typ == "string" || f.enum != nil || isTime) {
			return rawJSON(`""`), true
		}
		return nil, false
	case "gateway", "zero":
		switch {
		case f.oneof != "":
			return nil, false
		case f.repeated:
			return rawJSON("[]"), true
		case s.Unset == "zero" && f.typ == "timestamp":
			return rawJSON(`"0001-01-01T00:00:00Z"`), true
		case s.Unset == "zero" && f.typ == "duration":
			return rawJSON(`"0s"`), true
		case isMessage && s.Unset == "gateway":
			return rawJSON("null"), true
		case isMessage || f.optional && s.Unset == "gateway":
			return nil, false
		case f.enum != nil:
			return enumValue(0), true
		case f.typ == "string":
			return "", true
		case f.typ == "bool":
			return false, true
		case f.typ == "double":
			return float64(0), true
		case strings.HasPrefix(f.typ, "u"):
			return uint64(0), true
		default:
			return int64(0), true
		}
	}
	return nil, false
}

func (f *field) appendJSON(b []byte, v any, s Spelling) []byte {
	switch v := v.(type) {
	case rawJSON:
		return append(b, v...)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = f.appendJSON(b, item, s)
		}
		return append(b, ']')
	case msg:
		return f.message.appendJSON(b, v, s)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	case int64:
		if f.typ == "int64" && !s.NumericInt64 {
			return appendString(b, strconv.FormatInt(v, 10))
		}
		return strconv.AppendInt(b, v, 10)
	case uint64:
		if f.typ == "uint64" && !s.NumericInt64 {
			return appendString(b, strconv.FormatUint(v, 10))
		}
		return strconv.AppendUint(b, v, 10)
	case enumValue:
		if name, ok := f.enum.names[int32(v)]; ok && !s.NumericEnums {
			return appendString(b, name)
		}
		return strconv.AppendInt(b, int64(v), 10)
	case time.Time:
		b = v.UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05")
		return append(appendFraction(b, v.Nanosecond()), 'Z', '"')
	case time.Duration:
		b = append(b, '"')
		if v < 0 {
			b = append(b, '-')
		}
		b = strconv.AppendInt(b, int64((v / time.Second).Abs()), 10)
		return append(appendFraction(b, int((v%time.Second).Abs())), 's', '"')
	case []string:
		paths := make([]string, len(v))
		for i, p := range v {
			paths[i] = lowerCamel(p)
		}
		return appendString(b, strings.Join(paths, ","))
	}
	return append(b, "null"...)
}

// appendFraction writes the fraction of a second as protojson does: nothing, or 3, 6 or 9 digits.
func appendFraction(b []byte, nanoseconds int) []byte {
	if nanoseconds == 0 {
		return b
	}
	digits := fmt.Sprintf(".%09d", nanoseconds)
	return append(b, strings.TrimSuffix(strings.TrimSuffix(digits, "000"), "000")...)
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, q...)
}
