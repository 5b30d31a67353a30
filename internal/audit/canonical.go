package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

// canonical gives RFC 8785 canonical JSON. What events are made of is written directly, because the way
// over encoding/json and jcs makes some 270 allocations an event; what is rare takes that way. A test holds both equal.
func canonical(o object) []byte {
	if text, ok := appendObject(make([]byte, 0, 2<<10), o); ok {
		return text
	}
	return canonicalByLibrary(o)
}

func canonicalByLibrary(o object) []byte {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(o)
	var out []byte
	if err == nil {
		out, err = jcs.Transform(text.Bytes())
	}
	if err != nil {
		// Every value in o was made by this package out of what JSON can hold.
		panic(fmt.Sprintf("audit: an event is not JSON: %v", err))
	}
	return out
}

// appendValue appends canonical JSON, or says that v is left to the library.
func appendValue(out []byte, v any) ([]byte, bool) {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), true
	case bool:
		return strconv.AppendBool(out, v), true
	case string:
		return appendString(out, v)
	case int:
		return appendInt(out, int64(v))
	case int64:
		return appendInt(out, v)
	case uint64:
		return strconv.AppendUint(out, v, 10), v <= maxExact
	case object:
		return appendObject(out, v)
	case map[string]any:
		return appendObject(out, v)
	case []any:
		out = append(out, '[')
		for i, item := range v {
			if i > 0 {
				out = append(out, ',')
			}
			var ok bool
			if out, ok = appendValue(out, item); !ok {
				return nil, false
			}
		}
		return append(out, ']'), true
	default:
		return nil, false
	}
}

func appendObject(out []byte, o map[string]any) ([]byte, bool) {
	keys := make([]string, 0, 24) // as many as fit are kept off the heap
	for key := range o {
		if !ascii(key) {
			return nil, false // the order is by UTF-16, which differs from Go's beyond the basic plane
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out = append(out, '{')
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out, _ = appendString(out, key)
		out = append(out, ':')
		var ok bool
		if out, ok = appendValue(out, o[key]); !ok {
			return nil, false
		}
	}
	return append(out, '}'), true
}

// appendInt leaves to the library what a double cannot hold, since canonical numbers are doubles.
func appendInt(out []byte, n int64) ([]byte, bool) {
	return strconv.AppendInt(out, n, 10), -maxExact <= n && n <= maxExact
}

func appendString(out []byte, s string) ([]byte, bool) {
	if !utf8.ValidString(s) {
		return nil, false
	}
	out = append(out, '"')
	for {
		i := 0
		for i < len(s) && s[i] >= ' ' && s[i] != '"' && s[i] != '\\' {
			i++
		}
		out = append(out, s[:i]...)
		if i == len(s) {
			return append(out, '"'), true
		}
		switch c := s[i]; c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, `\b`...)
		case '\t':
			out = append(out, `\t`...)
		case '\n':
			out = append(out, `\n`...)
		case '\f':
			out = append(out, `\f`...)
		case '\r':
			out = append(out, `\r`...)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
		s = s[i+1:]
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
