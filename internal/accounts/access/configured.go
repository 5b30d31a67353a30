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

// For returns the rights of a member. Groups are compared exactly, letter case included. An
// address counts only when the provider says it is verified, and is compared without letter case
// in ASCII; other letters are compared exactly, so that no two addresses fold onto one.
func (c Configured) For(m Member) Rights {
	if c.Issuer != "" && m.Issuer != c.Issuer {
		return Rights{}
	}
	everything := Scope{Everything: true}
	var grants []Grant
	for _, configured := range []struct {
		role   func() Role // made for those who hold it only: this runs at every request
		groups []string
	}{
		{Admin, c.AdminGroups},
		{Auditor, c.AuditorGroups},
		{Operator, c.OperatorGroups},
		{Viewer, c.ViewerGroups},
	} {
		if inAny(m.Groups, configured.groups) {
			grants = append(grants, Grant{configured.role(), everything})
		}
	}
	if m.EmailVerified && m.Email != "" && slices.ContainsFunc(c.AdminEmails, func(e string) bool { return lowerASCII(e) == lowerASCII(m.Email) }) {
		grants = append(grants, Grant{Admin(), everything})
	}
	return NewRights(grants...)
}

// inAny reports whether a group the member is in was configured. An empty name is no group.
func inAny(groups, configured []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return g != "" && slices.Contains(configured, g) })
}

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
