package templates

import "time"

// RolesView is the list of roles.
type RolesView struct {
	Page  Page
	Rows  []RoleRow
	MayDo bool // make roles
}

// RoleRow is one role.
type RoleRow struct {
	ID, Name, Href string
	Description    string
	BuiltIn        bool
	Permissions    int
	Uses           int
	UsesHref       string
	WrittenAt      time.Time
	WrittenBy      string
	CopyHref       string
	Withheld       bool // it allows nothing, because the log takes back what it says
}

// RoleView is the page of one role.
type RoleView struct {
	Page      Page
	Crumbs    []Link
	Role      RoleRow
	Version   int
	Grid      PermissionGrid
	Offers    []Offer
	Differs   *RoleDifference
	Compare   Select // with which role
	Everybody bool   // all who have it may be seen
	Uses      []GrantRow
	More      bool   // uses than these
	GiveHref  string // gives this role; empty: the reader may not
}

// RoleDifference is what one role has and another has not.
type RoleDifference struct {
	Other, OtherHref string
	Added, Lacking   []Pair // permissions with what they allow
}

// RoleFormView makes a role or changes one.
type RoleFormView struct {
	Page      Page
	Crumbs    []Link
	Action    string
	Button    string
	Back      string
	FormToken string
	Version   string // of the role that is changed; empty for a new one
	From      string // id of the role that it is a copy of
	FromName  string
	Errors    map[string]string

	Name, Description string
	Grid              PermissionGrid
	Uses              int // grants that change with it
	UsesHref          string
}

// PermissionGrid shows permissions by what they are about and what they allow.
type PermissionGrid struct {
	Verbs []string // columns
	Rows  []PermissionRow
	Own   []PermissionCell // the console's own, which are no row of verbs
	Edit  bool
	Base  string // the name of the role that the cells are compared with; empty for none
}

// PermissionRow is what may be done with one kind of thing. A verb that does not exist for it has a cell
// without a name.
type PermissionRow struct {
	Kind  string
	Cells []PermissionCell
}

// PermissionCell is one permission.
type PermissionCell struct {
	Name   string // as it is stored: read:clusters
	Says   string // what it allows, in a sentence
	Held   bool
	InBase bool   // the role that it is compared with has it
	Closed string // why it can not be chosen; empty when it can
}

func roleFields() []string { return []string{"name", "description", "permissions"} }

func (v RoleFormView) field(f Field) Field {
	f.Error, f.Focus = v.Errors[f.Name], firstWrong(roleFields(), v.Errors) == f.Name
	return f
}

func (v RoleFormView) problems() []Link { return problemLinks(roleFields(), v.Errors) }
