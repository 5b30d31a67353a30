package sandbox

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// schema holds the message and enum types of the services the sandbox knows, by their full name
// without the leading "qdrant.cloud.".
type schema struct {
	messages map[string]*messageType
	enums    map[string]*enumType
}

// messageType describes one protobuf message: its fields, and the message rules (CEL) by id.
type messageType struct {
	name   string
	fields []*field
	byName map[string]*field // by protobuf name and by JSON name
	rules  []messageRule
}

// messageRule is a rule over a whole message; its code is in messageRules under name/id.
type messageRule struct {
	id, message string
}

// enumType describes one enum.
type enumType struct {
	name    string
	numbers map[string]int32
	names   map[int32]string
}

// field describes one field of a message and the rules protovalidate applies to it.
type field struct {
	number   int
	name     string // protobuf name, snake_case
	json     string // JSON name, lowerCamelCase
	typ      string // scalar, timestamp, duration, mask, or the name of a message or enum
	repeated bool
	optional bool // has presence although it is a scalar
	oneof    string
	message  *messageType
	enum     *enumType
	rules    fieldRules
}

// tracksPresence reports whether unset can be told from the zero value.
func (f *field) tracksPresence() bool {
	return !f.repeated && (f.optional || f.oneof != "" || f.message != nil || f.typ == "timestamp" || f.typ == "duration" || f.typ == "mask")
}

// fieldRules are the protovalidate rules of one field. A nil pointer is no rule.
type fieldRules struct {
	required                               bool
	uuid, email, uri, ipPrefix, ipv4Prefix bool
	minLen, maxLen, length                 *int
	pattern                                *regexp.Regexp
	in                                     []string
	gt, gte, lte                           *float64
	minDuration, maxDuration               *time.Duration
	definedOnly, nonZero                   bool
	minItems, maxItems                     *int
	items                                  *fieldRules
	cel                                    string // id of a field rule in messageRules
}

// newSchema parses the tables of this package.
func newSchema() (*schema, error) {
	return parseSchema(schemaCluster + schemaAccount + schemaCatalogue + schemaData + schemaMonitoring)
}

// parseSchema reads the notation of the schema tables, one line a field:
//
//	message cluster.v1.Cluster
//	  rule cluster.id value must be a valid UUID
//	  4 name string max=64 min=2 re=^[a-zA-Z0-9-_]+$
//	  13 cost_allocation_label? string max=253
//	  12 labels []common.v1.KeyValue maxitems=10
//	enum cluster.v1.TolerationOperator
//	  1 TOLERATION_OPERATOR_EXISTS
//
// A question mark is the keyword "optional", "oneof:" names the group, re= reaches to the end of
// the line, and the other words are the rules by protovalidate's names.
func parseSchema(text string) (*schema, error) {
	s := &schema{messages: map[string]*messageType{}, enums: map[string]*enumType{}}
	var message *messageType
	var enum *enumType
	for n, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "message" && len(words) == 2:
			message, enum = &messageType{name: words[1], byName: map[string]*field{}}, nil
			s.messages[message.name] = message
		case words[0] == "enum" && len(words) == 2:
			message, enum = nil, &enumType{name: words[1], numbers: map[string]int32{}, names: map[int32]string{}}
			s.enums[enum.name] = enum
		case words[0] == "rule" && message != nil && len(words) > 2:
			message.rules = append(message.rules, messageRule{id: words[1], message: strings.Join(words[2:], " ")})
		case message != nil:
			f, err := parseField(line)
			if err != nil {
				return nil, fmt.Errorf("schema line %d: %w", n+1, err)
			}
			message.fields = append(message.fields, f)
			message.byName[f.name], message.byName[f.json] = f, f
		case enum != nil && len(words) == 2:
			number, err := strconv.ParseInt(words[0], 10, 32)
			if err != nil {
				return nil, fmt.Errorf("schema line %d: enum number: %w", n+1, err)
			}
			enum.numbers[words[1]], enum.names[int32(number)] = int32(number), words[1]
		default:
			return nil, fmt.Errorf("schema line %d is in no message or enum: %q", n+1, line)
		}
	}
	return s, s.link()
}

// link resolves the type names of all fields.
func (s *schema) link() error {
	for _, m := range s.messages {
		for _, f := range m.fields {
			f.message, f.enum = s.messages[f.typ], s.enums[f.typ]
			if f.message == nil && f.enum == nil && strings.Contains(f.typ, ".") {
				return fmt.Errorf("schema: %s.%s has the unknown type %s", m.name, f.name, f.typ)
			}
		}
	}
	return nil
}

// parseField reads one field line.
func parseField(line string) (*field, error) {
	line, pattern, hasPattern := strings.Cut(strings.TrimSpace(line), " re=")
	words := strings.Fields(line)
	if len(words) < 3 {
		return nil, fmt.Errorf("a field wants number, name and type: %q", line)
	}
	number, err := strconv.Atoi(words[0])
	if err != nil {
		return nil, fmt.Errorf("field number: %w", err)
	}
	f := &field{number: number, name: strings.TrimSuffix(words[1], "?"), optional: strings.HasSuffix(words[1], "?")}
	f.json = lowerCamel(f.name)
	f.typ, f.repeated = strings.CutPrefix(words[2], "[]")
	for _, word := range words[3:] {
		if oneof, ok := strings.CutPrefix(word, "oneof:"); ok {
			f.oneof = oneof
			continue
		}
		target := &f.rules
		if item, ok := strings.CutPrefix(word, "items:"); ok {
			if f.rules.items == nil {
				f.rules.items = &fieldRules{}
			}
			target, word = f.rules.items, item
		}
		if err := target.parse(word, f.typ == "duration"); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	if hasPattern {
		if f.rules.pattern, err = regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return f, nil
}

// parse reads one rule word into r.
func (r *fieldRules) parse(word string, duration bool) error {
	flags := map[string]*bool{
		"required": &r.required, "uuid": &r.uuid, "email": &r.email, "uri": &r.uri, "ipprefix": &r.ipPrefix,
		"ipv4prefix": &r.ipv4Prefix, "defined": &r.definedOnly, "nonzero": &r.nonZero,
	}
	if flag, ok := flags[word]; ok {
		*flag = true
		return nil
	}
	name, value, ok := strings.Cut(word, "=")
	if !ok {
		return fmt.Errorf("unknown rule %q", word)
	}
	lengths := map[string]**int{"min": &r.minLen, "max": &r.maxLen, "len": &r.length, "minitems": &r.minItems, "maxitems": &r.maxItems}
	bounds := map[string]**float64{"gt": &r.gt, "gte": &r.gte, "lte": &r.lte}
	durations := map[string]**time.Duration{"gte": &r.minDuration, "lte": &r.maxDuration}
	switch {
	case name == "in":
		r.in = strings.Split(value, ",")
	case name == "cel":
		r.cel = value
	case lengths[name] != nil:
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("rule %q: %w", word, err)
		}
		*lengths[name] = &n
	case duration && durations[name] != nil:
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("rule %q: %w", word, err)
		}
		*durations[name] = &d
	case bounds[name] != nil:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("rule %q: %w", word, err)
		}
		*bounds[name] = &n
	default:
		return fmt.Errorf("unknown rule %q", word)
	}
	return nil
}

// lowerCamel turns a protobuf name into the JSON name protoc gives it.
func lowerCamel(name string) string {
	var b strings.Builder
	up := false
	for _, r := range name {
		switch {
		case r == '_':
			up = true
		case up:
			b.WriteString(strings.ToUpper(string(r)))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// snake turns a JSON name back into the protobuf name.
func snake(name string) string {
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
