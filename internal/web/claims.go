package web

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"quartermaster/internal/accounts"
)

// Bounds of what is kept of an ID token to be shown. Its groups are bounded by the domain.
const (
	maxClaims     = 50
	maxClaimValue = 490
	maxName       = 256
)

// identityOf reads who somebody is. Claims that are not what they should be count as missing.
func identityOf(all map[string]json.RawMessage, groupsClaim string) accounts.Identity {
	id := accounts.Identity{
		Name:          firstText(all, "name", "preferred_username"),
		Email:         exactAddress(all["email"]),
		EmailVerified: isTrue(all["email_verified"]),
	}
	id.Groups, id.Reading = readGroups(all, groupsClaim)
	id.Claims, id.Reading.ClaimsLeftOut = shownClaims(all)
	return id
}

// readGroups reads the groups claim: a list of texts, or one text, which is one group whatever
// is in it. Values that are no text are no groups: what a number or an object names is nowhere
// defined. Groups that the provider says are elsewhere are not fetched; the reading tells of them.
func readGroups(all map[string]json.RawMessage, claim string) ([]string, accounts.Reading) {
	reading := accounts.Reading{Claim: claim, Overage: overageSign(all, claim)}
	raw, path := findClaim(all, claim)
	if len(path) > 1 {
		reading.Path = path
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		reading.State = accounts.GroupsMissing
		return nil, reading
	}
	switch raw[0] {
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			reading.State, reading.Got = accounts.GroupsWrongType, "not JSON"
			return nil, reading
		}
		reading.State, reading.Received = accounts.GroupsListed, len(list)
		groups := make([]string, 0, len(list))
		for _, value := range list {
			name, ok := exactText(value)
			if !ok {
				reading.NotText++
				continue
			}
			groups = append(groups, name)
		}
		return groups, reading
	case '"':
		name, ok := exactText(raw)
		if ok && len(path) == 1 && namesSource(all, name) {
			// Entra names in the claim itself where the groups are to be had.
			reading.State, reading.Overage = accounts.GroupsMissing, "_claim_sources"
			return nil, reading
		}
		reading.State, reading.Received = accounts.GroupsOne, 1
		if !ok {
			reading.NotText = 1
			return nil, reading
		}
		reading.Joined = strings.ContainsAny(name, ",; \t\n[")
		return []string{name}, reading
	}
	reading.State, reading.Got = accounts.GroupsWrongType, kindOfJSON(raw)
	return nil, reading
}

// overageSign returns the claim by which the provider says that it left groups out, or "". Entra
// has four ways of saying so; that another claim than ours was left out is none of them.
func overageSign(all map[string]json.RawMessage, claim string) string {
	names := claimNames(all["_claim_names"])
	if _, ok := names[claim]; ok {
		return "_claim_names"
	}
	if first, _, nested := strings.Cut(claim, "."); nested {
		if _, ok := names[first]; ok {
			return "_claim_names"
		}
	}
	if claim == "groups" && isTrue(all["hasgroups"]) {
		return "hasgroups"
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if source, ok := strings.CutPrefix(name, claim+":src"); ok && source != "" && strings.Trim(source, "0123456789") == "" {
			return cut(name, maxName)
		}
	}
	return ""
}

// claimNames are the names in an object that tells of claims that are to be had elsewhere (OpenID
// Connect Core 1.0, section 5.6.2).
func claimNames(raw json.RawMessage) map[string]json.RawMessage {
	var names map[string]json.RawMessage
	if json.Unmarshal(raw, &names) != nil {
		return nil
	}
	return names
}

// namesSource reports whether the text is the name of one of the claim sources.
func namesSource(all map[string]json.RawMessage, name string) bool {
	_, ok := claimNames(all["_claim_sources"])[name]
	return ok
}

// findClaim returns the claim of that name, which may itself have dots in it or be a URL. Where
// there is none, the name is a path: at each step the longest name that fits is taken, and what is
// left of the path is looked for in its object. path is what was taken; nil when nothing is found.
func findClaim(all map[string]json.RawMessage, claim string) (raw json.RawMessage, path []string) {
	rest := claim
	for {
		if value, ok := all[rest]; ok {
			return value, append(path, rest)
		}
		step := longestStep(all, rest)
		if step == "" {
			return nil, nil
		}
		path = append(path, step)
		rest = rest[len(step)+1:]
		var inner map[string]json.RawMessage
		if json.Unmarshal(all[step], &inner) != nil {
			return nil, nil
		}
		all = inner
	}
}

// longestStep returns the longest beginning of the path, up to a dot, that is a name in the object.
func longestStep(all map[string]json.RawMessage, path string) string {
	for end := strings.LastIndexByte(path, '.'); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		if _, ok := all[path[:end]]; ok {
			return path[:end]
		}
	}
	return ""
}

// exactText reads a text that JSON tells without loss: decoding puts U+FFFD in the place of what
// is not well-formed, so a text with that letter may be another than the provider's.
func exactText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if json.Unmarshal(raw, &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
		return "", false
	}
	return s, true
}

// kindOfJSON names what a value is that is neither a list nor a text.
func kindOfJSON(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case 't', 'f':
		return "a yes or no"
	}
	return "a number"
}

func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func firstText(all map[string]json.RawMessage, names ...string) string {
	for _, name := range names {
		if s := strings.TrimSpace(textOf(all[name])); s != "" {
			return cut(s, maxName)
		}
	}
	return ""
}

// exactAddress reads an e-mail address as it is, or none: rights follow from it, and one that was trimmed or cut may be
// somebody else's.
func exactAddress(raw json.RawMessage) string {
	s, ok := exactText(raw)
	if !ok || strings.TrimSpace(s) != s {
		return ""
	}
	return s
}

// isTrue reads a boolean; some providers send it as text.
func isTrue(raw json.RawMessage) bool {
	s := string(raw)
	return s == "true" || s == `"true"`
}

// plumbing are claims of the protocol that tell nothing about a person. Sources of claims may
// carry tokens that open the provider's directory.
var plumbing = []string{"at_hash", "c_hash", "s_hash", "nonce", "jti", "sid", "_claim_sources"}

// hiddenToken stands for a claim's value that looks like a token.
const hiddenToken = "(not kept: it looks like a token)"

// shownClaims are the claims as the no-rights page and /me show them, by name, and how many more
// there are than that.
func shownClaims(all map[string]json.RawMessage) (shown map[string]string, leftOut int) {
	shown = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(plumbing, name) {
			continue
		}
		if len(name) > maxName || len(shown) == maxClaims {
			leftOut++
			continue
		}
		raw := all[name]
		value := textOf(raw)
		if value == "" {
			value = string(raw)
		}
		if looksLikeToken(raw) {
			value = hiddenToken
		}
		if len(value) > maxClaimValue {
			value = cut(value, maxClaimValue) + "…"
		}
		shown[name] = value
	}
	return shown, leftOut
}

// looksLikeToken reports whether a JSON Web Token, or something of that form, is in the text: "eyJ" is how {" begins in base64.
func looksLikeToken(text []byte) bool {
	for {
		at := bytes.Index(text, []byte("eyJ"))
		if at < 0 {
			return false
		}
		text = text[at:]
		end := bytes.IndexFunc(text, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_=.", r)
		})
		if end < 0 {
			end = len(text)
		}
		if bytes.Count(text[:end], []byte(".")) >= 2 && end > 20 {
			return true
		}
		text = text[min(end+1, len(text)):]
	}
}
