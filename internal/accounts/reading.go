package accounts

import (
	"fmt"
	"strings"
)

// GroupsState says what stood in the claim that lists groups.
type GroupsState string

// The states of the groups claim.
const (
	GroupsNotTold   GroupsState = ""           // the session is of a release that did not keep this
	GroupsListed    GroupsState = "listed"     // a list, perhaps an empty one
	GroupsOne       GroupsState = "one"        // one text, which is one group
	GroupsMissing   GroupsState = "missing"    // no such claim, or null
	GroupsWrongType GroupsState = "wrong_type" // something else, from which no group is read
)

// Reading tells how the ID token of a sign-in was read: what was there and what of it counts for
// nothing, so that nothing is left out in silence. It decides no right.
type Reading struct {
	Claim   string      `json:"claim"`             // name of the groups claim, as configured
	Path    []string    `json:"path,omitempty"`    // where it was found, when inside other claims
	State   GroupsState `json:"state"`             //
	Got     string      `json:"got,omitempty"`     // of the wrong type: which, as "an object"
	Overage string      `json:"overage,omitempty"` // the claim by which the provider says that it left groups out
	// Received is how many values the claim had. Of them NotText are no text, Repeated were there
	// already, Unusable are empty, too long or cannot be stored, and LeftOut are past the bounds.
	Received int `json:"received,omitempty"`
	NotText  int `json:"not_text,omitempty"`
	Repeated int `json:"repeated,omitempty"`
	Unusable int `json:"unusable,omitempty"`
	LeftOut  int `json:"left_out,omitempty"`
	// Joined is set when the one text looks like several groups in one.
	Joined bool `json:"joined,omitempty"`
	// ClaimsLeftOut is how many claims are not kept to be shown.
	ClaimsLeftOut int `json:"claims_left_out,omitempty"`
}

// Incomplete reports whether the member is known to be in groups that were not read.
func (r Reading) Incomplete() bool { return r.Overage != "" || r.LeftOut > 0 }

// Problems says in sentences for people, of the member and of whoever runs the provider, what is
// wrong with the groups claim. Empty when every group that the member is in was read, as far as that can be told.
func (r Reading) Problems() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.Overage != "" {
		say("The identity provider left groups out of the ID token because there are too many of them: it sent %s instead. "+
			"What those groups would give is missing here. Whoever runs the provider can have it send only the groups assigned to this application.", r.Overage)
	}
	switch r.State {
	case GroupsMissing:
		if r.Overage == "" {
			say("The ID token has no claim %s, so no group is known. Either the provider is not set up to send it, or QM_OIDC_GROUPS_CLAIM names another one.", r.Claim)
		}
	case GroupsWrongType:
		say("The claim %s is %s, and not a list of texts: no group was read from it.", r.Claim, r.Got)
	}
	if r.Joined {
		say("The claim %s is one text, which is one group, commas and spaces included. A provider that means several must send a list.", r.Claim)
	}
	if r.NotText > 0 {
		say("%s in %s %s not text (but a number, an object, a list or null), and %s for nothing.",
			countValues(r.NotText), r.Claim, pickCount(r.NotText, "is", "are"), pickCount(r.NotText, "counts", "count"))
	}
	if r.Unusable > 0 {
		say("%s in %s %s empty, longer than %d bytes or not well-formed text, and %s for nothing.",
			countValues(r.Unusable), r.Claim, pickCount(r.Unusable, "is", "are"), maxGroup, pickCount(r.Unusable, "counts", "count"))
	}
	if r.LeftOut > 0 {
		say("%s of %d in %s %s not kept, because the console keeps %d groups of a member and 1 MiB of their names. What those would give is missing here.",
			countValues(r.LeftOut), r.Received, r.Claim, pickCount(r.LeftOut, "was", "were"), maxGroups)
	}
	return all
}

// cause names what is wrong with the groups claim for the log line, from a fixed set; empty when nothing is.
func (r Reading) cause() string {
	var all []string
	if r.Overage != "" {
		all = append(all, "groups left out by the provider")
	}
	switch {
	case r.State == GroupsWrongType:
		all = append(all, "groups claim is "+r.Got)
	case r.State == GroupsMissing && r.Overage == "":
		all = append(all, "no groups claim")
	}
	if r.NotText > 0 || r.Unusable > 0 || r.Joined {
		all = append(all, "values that are no groups")
	}
	if r.LeftOut > 0 {
		all = append(all, "too many groups")
	}
	return strings.Join(all, ", ")
}

func countValues(n int) string {
	if n == 1 {
		return "1 value"
	}
	return fmt.Sprintf("%d values", n)
}

func pickCount(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// usableGroups returns the groups that can be kept, each once, in the order they came, and notes in the reading
// what cannot. A group is never altered to fit.
func usableGroups(received []string, r *Reading) []string {
	r.Repeated, r.Unusable, r.LeftOut = 0, 0, 0
	kept := make([]string, 0, min(len(received), maxGroups))
	seen := make(map[string]struct{}, min(len(received), maxGroups))
	size := 0
	for _, g := range received {
		if g == "" || !wellFormed(g, maxGroup) {
			r.Unusable++
			continue
		}
		if _, again := seen[g]; again {
			r.Repeated++
			continue
		}
		if len(kept) == maxGroups || size+len(g) > maxGroupBytes {
			r.LeftOut++
			continue
		}
		seen[g] = struct{}{}
		kept = append(kept, g)
		size += len(g)
	}
	return kept
}
