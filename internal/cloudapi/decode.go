package cloudapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what one resource or one list may hold.
const (
	maxDepth    = 64
	maxValues   = 100_000 // JSON values in one resource
	maxResource = 1 << 20 // bytes of one resource
	maxItems    = 10_000  // resources in one answer
	maxText     = 1024    // bytes of one string that is kept; Raw keeps it whole
	maxEnum     = 128     // bytes of the name of a value
)

// parse reads one JSON value, numbers kept as written. It refuses what could not be stored or walked:
// too large, too deep, too many values, numbers no double can hold. NUL in a string becomes U+FFFD, for Postgres
// has no place for it. Of a name that is there twice the last counts, as in Postgres' jsonb.
func parse(raw []byte) (any, error) {
	if len(raw) > maxResource {
		return nil, fmt.Errorf("it is larger than %d bytes", maxResource)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading JSON: something follows the value")
	}
	values := 0
	return settle(tree, 0, &values)
}

func settle(v any, depth int, values *int) (any, error) {
	if *values++; *values > maxValues || depth > maxDepth {
		return nil, errors.New("JSON has too many values or is nested too deep")
	}
	var err error
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if member, err = settle(member, depth+1, values); err != nil {
				return nil, err
			}
			if clean := withoutNUL(name); clean != name {
				delete(v, name)
				name = clean
			}
			v[name] = member
		}
	case []any:
		for i := range v {
			if v[i], err = settle(v[i], depth+1, values); err != nil {
				return nil, err
			}
		}
	case string:
		return withoutNUL(v), nil
	case json.Number:
		if _, err := v.Float64(); err != nil || len(v) > maxText {
			return nil, errors.New("JSON has a number out of range")
		}
	}
	return v, nil
}

func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// storable returns raw without insignificant space, which the gateway varies at random. Where strings
// hold what Postgres cannot (NUL, half a surrogate pair, broken UTF-8), it is written anew from tree.
func storable(raw []byte, tree any) (json.RawMessage, error) {
	var b bytes.Buffer
	if utf8.Valid(raw) && !hasOddEscape(raw) {
		b.Grow(len(raw))
		if err := json.Compact(&b, raw); err != nil {
			return nil, fmt.Errorf("compacting JSON: %w", err)
		}
		return b.Bytes(), nil
	}
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// hasOddEscape reports whether a string may hold NUL or half a surrogate pair as an escape.
func hasOddEscape(raw []byte) bool {
	if !bytes.Contains(raw, []byte(`\u`)) { // nearly always, and quick to find out
		return false
	}
	lower := bytes.ToLower(raw)
	return bytes.Contains(lower, []byte(`\u0000`)) || bytes.Contains(lower, []byte(`\ud`))
}

// members reads the members of a JSON object one by one; the list named list is handed on item by
// item, so that a hostile answer is given up before it is held in memory twice. An absent or null
// list has no items; without item there is no such list.
func members(body []byte, list string, item func(raw json.RawMessage) error) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := expect(decoder, '{'); err != nil {
		return nil, err
	}
	seen := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, fmt.Errorf("reading JSON: %w", err)
		}
		name, _ := token.(string)
		if _, twice := seen[name]; twice || len(seen) == 100 {
			return nil, errors.New("the answer repeats a member or has too many")
		}
		if name != list || item == nil {
			var raw json.RawMessage
			if err := decoder.Decode(&raw); err != nil {
				return nil, fmt.Errorf("reading JSON: %w", err)
			}
			seen[name] = raw
			continue
		}
		seen[name] = nil
		if err := each(decoder, item); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// topList hands on the items of an answer that is a list itself, where null is not one.
func topList(body []byte, item func(raw json.RawMessage) error) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		return errors.New("the answer is not a list")
	}
	return each(json.NewDecoder(bytes.NewReader(body)), item)
}

// each hands on the items of the JSON list that comes next.
func each(decoder *json.Decoder, item func(raw json.RawMessage) error) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if token == nil {
		return nil
	}
	if token != json.Delim('[') {
		return errors.New("the list is not a list")
	}
	for n := 0; decoder.More(); n++ {
		if n == maxItems {
			return fmt.Errorf("the answer has more than %d items", maxItems)
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		if err := item(raw); err != nil {
			return err
		}
	}
	return expect(decoder, ']')
}

func expect(decoder *json.Decoder, delimiter json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if token != delimiter {
		return fmt.Errorf("the answer does not have the %s that belongs there", delimiter)
	}
	return nil
}

// node is a JSON object read leniently: absent, null, zero and "" are the same, and a member is found
// by its lowerCamel and by its snake_case name. The zero node has no members.
type node struct{ members map[string]any }

func parseNode(raw []byte) (node, error) {
	tree, err := parse(raw)
	if err != nil {
		return node{}, err
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return node{}, errors.New("what should be an object is not one")
	}
	return node{object}, nil
}

func (n node) get(name string) any {
	if v, ok := n.members[name]; ok && v != nil {
		return v
	}
	if strings.Contains(name, "_") {
		return n.members[lowerCamel(name)]
	}
	return n.members[snakeCase(name)]
}

func (n node) object(name string) node {
	object, _ := n.get(name).(map[string]any)
	return node{object}
}

func (n node) list(name string) []any {
	list, _ := n.get(name).([]any)
	return list
}

// objects returns the objects of a list; what is not an object is left out.
func (n node) objects(name string) []node {
	var objects []node
	for _, item := range n.list(name) {
		if object, ok := item.(map[string]any); ok {
			objects = append(objects, node{object})
		}
	}
	return objects
}

// text returns a string, or a number or bool as written, cut to what is kept of a string.
func (n node) text(name string) string { return scalar(n.get(name)) }

// words is text for people to read. What does not print, or turns the direction of the text around
// it, is written out: a name must look like itself wherever people decide by it. Raw keeps what was
// received.
func (n node) words(name string) string { return cut(visible(n.text(name)), maxText) }

// visible writes out the characters of s that do not print; lines and tabs stay.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			b.WriteString(escapeRune(r))
		}
	}
	return b.String()
}

func (n node) bool(name string) bool {
	told := n.told(name)
	return told != nil && *told
}

// told is for the few bools where absent and false differ.
func (n node) told(name string) *bool {
	var b bool
	switch scalar(n.get(name)) {
	case "true":
		b = true
	case "false":
	default:
		return nil
	}
	return &b
}

// number returns a finite number, written as number or string; 0 otherwise.
func (n node) number(name string) float64 {
	f, err := strconv.ParseFloat(n.text(name), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// integer returns a whole number, written as number or string; 0 otherwise.
func (n node) integer(name string) int64 {
	if i, err := strconv.ParseInt(n.text(name), 10, 64); err == nil {
		return i
	}
	f := n.number(name)
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0
	}
	return int64(f)
}

// count returns a number of things; 0 where there cannot be so many.
func (n node) count(name string, most int64) int {
	if i := n.integer(name); i > 0 && i <= most {
		return int(i)
	}
	return 0
}

// time returns a moment in UTC. What is no RFC 3339 time, with any fraction or as pa/v1 writes it
// without a zone, is the zero time, and so are the zero values of Go and of protobuf.
func (n node) time(name string) time.Time {
	value := n.text(name)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, value); err == nil {
			if t = t.UTC(); t.Unix() == 0 || t.Year() < 1970 || t.Year() > 9999 {
				return time.Time{}
			}
			return t
		}
	}
	return time.Time{}
}

// duration returns a length of time, as protobuf writes it in JSON, such as 86400s or 1.5s; 0 for what is none, is negative, or is
// longer than a hundred years.
func (n node) duration(name string) time.Duration {
	seconds, ok := strings.CutSuffix(n.text(name), "s")
	if !ok || strings.Trim(seconds, "0123456789.") != "" {
		return 0
	}
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil || f < 0 || f > 100*365*86400 {
		return 0
	}
	return time.Duration(math.Round(f*1e6)) * time.Microsecond
}

// enum returns the name of a value without the enum's prefix. Numbers are looked up; UNSPECIFIED is
// the same as absent, and what the enum does not have stays as it came, written out and cut as words are.
func (n node) enum(name string, of enum) string {
	value := cut(visible(cut(n.text(name), maxEnum)), maxEnum)
	if i, err := strconv.Atoi(value); err == nil {
		if i == 0 {
			return ""
		}
		if i > 0 && i <= len(of.names) {
			return of.names[i-1]
		}
		return value
	}
	value = strings.TrimPrefix(value, of.prefix)
	if strings.HasSuffix(value, "UNSPECIFIED") {
		return ""
	}
	return value
}

// address returns an https address without user information, or nothing: an address of upstream's is
// shown as a link and must not be javascript:.
func (n node) address(name string) string {
	value := n.text(name)
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || len(value) > 512 || strings.ContainsFunc(value, unicode.IsSpace) {
		return ""
	}
	return u.String()
}

// id returns the member id where it is safe in a path, an attribute and a log.
func (n node) id() (string, error) {
	id := n.text("id")
	if !isIdentifier(id) {
		return "", errors.New("id is missing or no id")
	}
	return id, nil
}

func isIdentifier(id string) bool {
	if id == "" || len(id) > 128 || strings.Trim(id, ".") == "" {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
	})
}

// scalar returns a JSON scalar as text, cut to what is kept of a string; lists and objects are "".
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return cut(v, maxText)
	case json.Number:
		return cut(v.String(), maxText)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// cut shortens s to at most so many bytes at a rune's edge. What it cuts off it does not hold on to.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return strings.Clone(s[:size])
}

func snakeCase(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func lowerCamel(name string) string {
	var b strings.Builder
	upper := false
	for _, r := range name {
		if r == '_' {
			upper = b.Len() > 0
			continue
		}
		if upper && r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		upper = false
		b.WriteRune(r)
	}
	return b.String()
}
