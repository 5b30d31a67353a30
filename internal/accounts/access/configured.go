package access

import "slices"

// Configured holds the grants that configuration gives. Their scope is everything.
type Configured struct {
	// Issuer is the identity provider whose groups and addresses count. Empty: whichever the
	// member came from, which is right while the console knows only one provider.
	Issuer string

	AdminGroups    []string
	AdminEmails    []string // verified only
	AuditorGroups  []string
	OperatorGroups []string
	ViewerGroups   []string
}

// Member is what an identity provider vouched for. Its values are not trusted to be well formed.
type Member struct {
	Issuer        string
	Email         string
	EmailVerified bool
	Groups        []string
}

// For returns the rights that configuration gives to a member; see Grants.
func (c Configured) For(m Member) Rights { return NewRights(c.Grants(m)...) }

// Grants returns the grants that configuration gives to a member. Groups are compared exactly, letter
// case included. An address counts only when the provider says it is verified, and is compared
// without letter case in ASCII; other letters are compared exactly, so that no two addresses fold onto one.
func (c Configured) Grants(m Member) []Grant {
	if c.Issuer != "" && m.Issuer != c.Issuer {
		return nil
	}
	var grants []Grant
	for _, row := range c.rows() {
		for _, name := range row.names {
			if row.has(m, name) {
				grants = append(grants, row.grant(name))
			}
		}
	}
	return grants
}

// ConfiguredGrant is a grant of the configuration, for lists: who it is for is Via of the Grant.
type ConfiguredGrant struct {
	Grant
	Email bool // Via is an address and not a group
}

// All returns every grant that configuration gives, whoever has it.
func (c Configured) All() []ConfiguredGrant {
	var all []ConfiguredGrant
	for _, row := range c.rows() {
		for _, name := range row.names {
			all = append(all, ConfiguredGrant{Grant: row.grant(name), Email: row.email})
		}
	}
	return all
}

// configuredRow is one variable of the configuration.
type configuredRow struct {
	variable string
	role     func() Role // made for those who hold it only: this runs at every request
	names    []string
	email    bool
}

func (c Configured) rows() []configuredRow {
	return []configuredRow{
		{"QM_ADMIN_GROUPS", PlatformAdmin, c.AdminGroups, false},
		{"QM_ADMIN_EMAILS", PlatformAdmin, c.AdminEmails, true},
		{"QM_AUDITOR_GROUPS", Auditor, c.AuditorGroups, false},
		{"QM_OPERATOR_GROUPS", Operator, c.OperatorGroups, false},
		{"QM_VIEWER_GROUPS", Viewer, c.ViewerGroups, false},
	}
}

// has reports whether the row's name is the member's. An empty name is no group and no address.
func (r configuredRow) has(m Member, name string) bool {
	if r.email {
		return m.EmailVerified && m.Email != "" && lowerASCII(name) == lowerASCII(m.Email)
	}
	return name != "" && slices.Contains(m.Groups, name)
}

func (r configuredRow) grant(name string) Grant {
	return Grant{Role: r.role(), Scope: Scope{Everything: true}, Source: "from configuration, " + r.variable, Via: name, ByAddress: r.email}
}

// FoldASCII returns the text without letter case in ASCII, as addresses are compared; other letters
// stay as they are.
func FoldASCII(s string) string { return lowerASCII(s) }

// lowerASCII works on bytes, so that ill-formed text is left as it is.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
