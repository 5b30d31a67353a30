package access

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds on a selector. The product of the values of all keys is bounded, because a list of
// clusters asks the database for each combination.
const (
	maxSelector     = 1000 // bytes
	maxSelectorKeys = 10   // as many labels as upstream lets a cluster have
	maxCombinations = 64
	maxLabelText    = 253 // bytes of a key or a value
)

// Selector picks clusters by their labels: a cluster matches when it has every key, each with one of
// the values listed for it. The zero Selector matches nothing.
//
// It is written as Kubernetes writes the positive half of its selectors: "team=search",
// "team in (search,ads),tier=gold". There is no "!=", "notin" and no bare key: a cluster that somebody
// forgot to label must match nothing, and a label taken away must never widen a scope.
type Selector struct {
	values map[string][]string // each sorted, without repetition, never empty
	text   string              // String, written once
}

// ParseSelector reads a selector. Spaces around its parts mean nothing; a key may stand once. The
// error is for the person who wrote the text.
func ParseSelector(text string) (Selector, error) {
	if len(text) > maxSelector {
		return Selector{}, fmt.Errorf("a selector has at most %d characters", maxSelector)
	}
	s := Selector{values: map[string][]string{}}
	combinations := 1
	for _, part := range splitOutside(text) {
		key, values, err := parseRequirement(part)
		if err != nil {
			return Selector{}, err
		}
		if s.values[key] != nil {
			return Selector{}, fmt.Errorf("the key %s stands twice; write \"%s in (a,b)\" for either of two values", key, key)
		}
		s.values[key] = values
		combinations *= len(values)
		if len(s.values) > maxSelectorKeys || combinations > maxCombinations {
			return Selector{}, fmt.Errorf("a selector has at most %d keys and %d combinations of values", maxSelectorKeys, maxCombinations)
		}
	}
	s.text = s.written()
	return s, nil
}

// splitOutside splits at the commas that are not inside parentheses.
func splitOutside(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[from:i])
				from = i + 1
			}
		}
	}
	return append(parts, text[from:])
}

var errSelector = errors.New(`write "key=value" or "key in (a,b)", several joined by commas`)

func parseRequirement(part string) (key string, values []string, err error) {
	part = strings.TrimSpace(part)
	if name, rest, ok := strings.Cut(part, "="); ok {
		key, values = strings.TrimSpace(name), []string{strings.TrimSpace(strings.TrimPrefix(rest, "="))}
	} else {
		name, rest, ok := strings.Cut(part, "(")
		list, closed := strings.CutSuffix(rest, ")")
		name = strings.TrimSpace(name)
		key = strings.TrimSpace(strings.TrimSuffix(name, "in"))
		// A space must stand before "in": "domain(" is not "doma in (".
		if !ok || !closed || key == "" || !strings.HasSuffix(name, " in") && !strings.HasSuffix(name, "\tin") {
			return "", nil, errSelector
		}
		for v := range strings.SplitSeq(list, ",") {
			values = append(values, strings.TrimSpace(v))
		}
	}
	for _, text := range append([]string{key}, values...) {
		if !isLabelText(text) {
			return "", nil, errSelector
		}
	}
	slices.Sort(values)
	return key, slices.Compact(values), nil
}

// isLabelText reports whether the text can be part of a selector: letters, digits and what Kubernetes
// allows beside them. A label with other characters cannot be selected by.
func isLabelText(text string) bool {
	return text != "" && len(text) <= maxLabelText && !strings.ContainsFunc(text, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./", r))
	})
}

// IsZero reports whether the selector matches nothing because it asks for nothing.
func (s Selector) IsZero() bool { return len(s.values) == 0 }

// Matches reports whether a cluster with the labels is picked.
func (s Selector) Matches(labels map[string]string) bool {
	for key, values := range s.values {
		if value, ok := labels[key]; !ok || !slices.Contains(values, value) {
			return false
		}
	}
	return !s.IsZero()
}

// Implies reports whether o picks every cluster that s picks, whatever clusters there are.
func (s Selector) Implies(o Selector) bool {
	if s.IsZero() || o.IsZero() {
		return false
	}
	for key, allowed := range o.values {
		values, ok := s.values[key]
		if !ok || slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(allowed, v) }) {
			return false
		}
	}
	return true
}

// Keys returns the keys that are asked for, sorted.
func (s Selector) Keys() []string { return slices.Sorted(maps.Keys(s.values)) }

// Combinations returns each set of labels that is enough to match; a cluster matches when it has all
// of one of them.
func (s Selector) Combinations() []map[string]string {
	if s.IsZero() {
		return nil
	}
	all := []map[string]string{{}}
	for _, key := range s.Keys() {
		var next []map[string]string
		for _, labels := range all {
			for _, value := range s.values[key] {
				with := maps.Clone(labels)
				with[key] = value
				next = append(next, with)
			}
		}
		all = next
	}
	return all
}

// String returns the selector in one spelling: two that pick alike are written alike.
func (s Selector) String() string { return s.text }

func (s Selector) written() string {
	parts := make([]string, 0, len(s.values))
	for _, key := range s.Keys() {
		if values := s.values[key]; len(values) == 1 {
			parts = append(parts, key+"="+values[0])
		} else {
			parts = append(parts, key+" in ("+strings.Join(values, ",")+")")
		}
	}
	return strings.Join(parts, ",")
}
