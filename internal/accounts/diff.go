package accounts

import (
	"reflect"
	"time"

	"quartermaster/internal/audit"
)

// treatment says what the log does with a field of an audited type.
type treatment int

const (
	tracked treatment = iota + 1 // both values are in the log
	ignored                      // not in the log, for a reason given at the field
	secret                       // the log says that it changed and nothing else
)

// field declares one field of an audited type. A test fails when a field of the type has none.
type field[T any] struct {
	of        string // the Go field's name
	name      string // in the log; empty when ignored
	treatment treatment
	value     func(T) any // a JSON scalar or a list of them
}

// accountFields declares what the log does with an Account.
func accountFields() []field[Account] {
	return []field[Account]{
		{of: "ID", treatment: ignored},   // it is the event's target
		{of: "Sync", treatment: ignored}, // state of the snapshot, no decision of anyone's
		{of: "Clusters", treatment: ignored},
		{of: "Hidden", treatment: ignored},    // what the one who asks may open
		{of: "CreatedAt", treatment: ignored}, // the event's own time
		{of: "CreatedBy", treatment: ignored}, // the event's actor
		{of: "Key", name: "management_key", treatment: secret, value: func(a Account) any { return a.Key.ID.String() }},
		{"Generation", "generation", tracked, func(a Account) any { return string(a.Generation) }},
		{"CloudAccountID", "cloud_account_id", tracked, func(a Account) any { return a.CloudAccountID }},
		{"UpstreamName", "upstream_name", tracked, func(a Account) any { return a.UpstreamName }},
		{"OwnerEmail", "owner_email", tracked, func(a Account) any { return a.OwnerEmail }},
		{"Name", "name", tracked, func(a Account) any { return a.Name }},
		{"Environment", "environment", tracked, func(a Account) any { return string(a.Environment) }},
		{"Owner", "owner", tracked, func(a Account) any { return a.Owner }},
		{"Note", "note", tracked, func(a Account) any { return a.Note }},
		{"RotateBy", "rotate_by", tracked, func(a Account) any { return dateOrNil(a.RotateBy) }},
		{"Enabled", "enabled", tracked, func(a Account) any { return a.Enabled }},
	}
}

// keyFields declares what the log does with a ManagementKey.
func keyFields() []field[ManagementKey] {
	return []field[ManagementKey]{
		{"ID", "management_key_id", tracked, func(k ManagementKey) any { return k.ID.String() }},
		{"Prefix", "management_key_prefix", tracked, func(k ManagementKey) any { return k.Prefix }},
		{"Provenance", "management_key_provenance", tracked, func(k ManagementKey) any { return k.Provenance }},
		{"Permissions", "management_key_permissions", tracked, func(k ManagementKey) any { return listOrNil(k.Permissions) }},
		{"UpstreamID", "upstream_key_id", tracked, func(k ManagementKey) any { return textOrNil(k.UpstreamID) }},
		{of: "ProbedAt", treatment: ignored}, // found by the probe, no decision
		{of: "Refused", treatment: ignored},  // found by calls, no decision
		{of: "AddedAt", treatment: ignored},  // the event's own time
		{of: "AddedBy", treatment: ignored},  // the event's actor
	}
}

// changed compares two values by the declared fields. A nil side stands for a thing that does not
// exist: its values are null, and fields that are empty on the other side are left out.
func changed[T any](change audit.Change, fields []field[T], before, after *T) {
	for _, f := range fields {
		if f.treatment == ignored {
			continue
		}
		var was, is any
		if before != nil {
			was = f.value(*before)
		}
		if after != nil {
			is = f.value(*after)
		}
		if reflect.DeepEqual(was, is) || (before == nil && empty(is)) || (after == nil && empty(was)) {
			continue
		}
		if f.treatment == secret {
			was, is = audit.Redacted, audit.Redacted
		}
		change[f.name] = [2]any{was, is}
	}
}

// accountChange is what the log says of a change from before to after; nil is no account.
func accountChange(before, after *Account) audit.Change {
	change := audit.Change{}
	changed(change, accountFields(), before, after)
	changed(change, keyFields(), keyOf(before), keyOf(after))
	return change
}

func keyOf(a *Account) *ManagementKey {
	if a == nil {
		return nil
	}
	return &a.Key
}

func empty(v any) bool { return v == nil || v == "" }

func dateOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.Format(time.DateOnly)
}

func textOrNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func listOrNil(list []string) any {
	if list == nil {
		return nil
	}
	return list
}
