package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

var (
	accountA = uuid.MustParse("0191d000-0000-7000-8000-00000000000a")
	accountB = uuid.MustParse("0191d000-0000-7000-8000-00000000000b")
)

func granted(scope Scope, permissions ...string) Rights {
	return NewRights(Grant{Role: Role{Name: "test", Permissions: permissions}, Scope: scope})
}

func TestAllows(t *testing.T) {
	inA := Target{AccountID: accountA, Environment: "production"}
	clusterInA := Target{AccountID: accountA, Environment: "production", ClusterID: "c1"}
	for _, tt := range []struct {
		name   string
		rights Rights
		need   Requirement
		on     Target
		want   bool
	}{
		{"nobody", Rights{}, Needs("read:clusters"), inA, false},
		{"nothing asked is not allowed", granted(Scope{Everything: true}, "read:clusters"), Requirement{}, inA, false},
		{"everything", granted(Scope{Everything: true}, "read:clusters"), Needs("read:clusters"), inA, true},
		{"everything reaches the installation", granted(Scope{Everything: true}, "audit:read"), Needs("audit:read"), Target{}, true},
		{"another permission", granted(Scope{Everything: true}, "write:clusters"), Needs("read:clusters"), inA, false},
		{"a prefix of a permission", granted(Scope{Everything: true}, "read:cluster"), Needs("read:clusters"), inA, false},
		{"letter case", granted(Scope{Everything: true}, "READ:CLUSTERS"), Needs("read:clusters"), inA, false},
		{"nowhere", granted(Scope{}, "read:clusters"), Needs("read:clusters"), inA, false},
		{"its environment", granted(Scope{Environments: []string{"production"}}, "read:clusters"), Needs("read:clusters"), clusterInA, true},
		{"another environment", granted(Scope{Environments: []string{"staging"}}, "read:clusters"), Needs("read:clusters"), inA, false},
		{"no environment is none of the listed", granted(Scope{Environments: []string{""}}, "read:clusters"), Needs("read:clusters"), Target{AccountID: accountA}, false},
		{"an environment does not reach the installation", granted(Scope{Environments: []string{"production"}}, "audit:read"), Needs("audit:read"), Target{Environment: "production"}, false},
		{"its account", granted(Scope{Accounts: []uuid.UUID{accountA}}, "read:clusters"), Needs("read:clusters"), clusterInA, true},
		{"another account", granted(Scope{Accounts: []uuid.UUID{accountB}}, "read:clusters"), Needs("read:clusters"), clusterInA, false},
		{"no account is no account", granted(Scope{Accounts: []uuid.UUID{uuid.Nil}}, "read:clusters"), Needs("read:clusters"), Target{}, false},
		{"its cluster", granted(Scope{Clusters: []ClusterRef{{accountA, "c1"}}}, "read:clusters"), Needs("read:clusters"), clusterInA, true},
		{"the same id in another account", granted(Scope{Clusters: []ClusterRef{{accountB, "c1"}}}, "read:clusters"), Needs("read:clusters"), clusterInA, false},
		{"a cluster is not its account", granted(Scope{Clusters: []ClusterRef{{accountA, "c1"}}}, "read:clusters"), Needs("read:clusters"), inA, false},
		{"all of two", granted(Scope{Everything: true}, "a", "b"), Needs("a", "b"), inA, true},
		{"one of two is not all", granted(Scope{Everything: true}, "a"), Needs("a", "b"), inA, false},
		{"any of two", granted(Scope{Everything: true}, "b"), Requirement{Any: []string{"a", "b"}}, inA, true},
		{"none of two", granted(Scope{Everything: true}, "c"), Requirement{Any: []string{"a", "b"}}, inA, false},
		{"all without any", granted(Scope{Everything: true}, "a"), Requirement{All: []string{"a"}, Any: []string{"b"}}, inA, false},
		{"two grants add up", NewRights(
			Grant{Role: Role{Name: "x", Permissions: []string{"a"}}, Scope: Scope{Accounts: []uuid.UUID{accountA}}},
			Grant{Role: Role{Name: "y", Permissions: []string{"b"}}, Scope: Scope{Environments: []string{"production"}}},
		), Needs("a", "b"), inA, true},
		{"two grants do not add up elsewhere", NewRights(
			Grant{Role: Role{Name: "x", Permissions: []string{"a"}}, Scope: Scope{Accounts: []uuid.UUID{accountA}}},
			Grant{Role: Role{Name: "y", Permissions: []string{"b"}}, Scope: Scope{Accounts: []uuid.UUID{accountB}}},
		), Needs("a", "b"), inA, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.rights.Allows(tt.need, tt.on); got != tt.want {
				t.Errorf("Allows = %v, want %v", got, tt.want)
			}
			if missing := tt.rights.Missing(tt.need, tt.on); (missing == "") != tt.want {
				t.Errorf("Missing = %q although Allows is %v", missing, tt.want)
			}
		})
	}
}

func TestSomewhere(t *testing.T) {
	rights := NewRights(
		Grant{Role: Role{Name: "x", Permissions: []string{"a"}}, Scope: Scope{Accounts: []uuid.UUID{accountA}}},
		Grant{Role: Role{Name: "y", Permissions: []string{"b"}}, Scope: Scope{Accounts: []uuid.UUID{accountB}}},
	)
	for name, tt := range map[string]struct {
		need Requirement
		want bool
	}{
		"nothing asked": {Requirement{}, false}, "held": {Needs("a"), true}, "held in two places": {Needs("a", "b"), true}, "not held": {Needs("a", "c"), false},
		"either": {Requirement{Any: []string{"c", "b"}}, true}, "neither": {Requirement{Any: []string{"c", "d"}}, false},
	} {
		if got := rights.Somewhere(tt.need); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMissingNamesWhatIsMissing(t *testing.T) {
	rights := granted(Scope{Everything: true}, "a")
	for need, want := range map[string]struct {
		need Requirement
		want string
	}{
		"one":     {Needs("b"), "b"},
		"only it": {Needs("a", "b"), "b"},
		"two":     {Needs("b", "c"), "b and c"},
		"either":  {Requirement{Any: []string{"b", "c"}}, "b or c"},
		"both":    {Requirement{All: []string{"b"}, Any: []string{"c", "d"}}, "b and (c or d)"},
		"nothing": {Requirement{}, "a right that nobody holds"},
	} {
		if got := rights.Missing(want.need, Target{AccountID: accountA}); got != want.want {
			t.Errorf("%s: Missing = %q, want %q", need, got, want.want)
		}
	}
}

func TestVisible(t *testing.T) {
	rights := NewRights(
		Grant{Role: Role{Name: "x", Permissions: []string{"a"}}, Scope: Scope{Environments: []string{"staging"}, Accounts: []uuid.UUID{accountA}}},
		Grant{Role: Role{Name: "y", Permissions: []string{"a", "b"}}, Scope: Scope{Clusters: []ClusterRef{{accountA, "c1"}, {accountB, "c2"}}}},
		Grant{Role: Role{Name: "z", Permissions: []string{"c"}}, Scope: Scope{Everything: true}},
	)
	for name, tt := range map[string]struct {
		need Requirement
		want Scope
	}{
		"nothing asked":      {Requirement{}, Scope{}},
		"nothing held":       {Needs("d"), Scope{}},
		"everything":         {Needs("c"), Scope{Everything: true}},
		"the union":          {Needs("a"), Scope{Environments: []string{"staging"}, Accounts: []uuid.UUID{accountA}, Clusters: []ClusterRef{{accountA, "c1"}, {accountB, "c2"}}}},
		"the intersection":   {Needs("a", "b"), Scope{Clusters: []ClusterRef{{accountA, "c1"}, {accountB, "c2"}}}},
		"with everything":    {Needs("b", "c"), Scope{Clusters: []ClusterRef{{accountA, "c1"}, {accountB, "c2"}}}},
		"any":                {Requirement{Any: []string{"b", "d"}}, Scope{Clusters: []ClusterRef{{accountA, "c1"}, {accountB, "c2"}}}},
		"any is met by more": {Requirement{Any: []string{"b", "c"}}, Scope{Everything: true}},
	} {
		if diff := cmp.Diff(tt.want, rights.Visible(tt.need)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestNowhereAndNothingAreEmpty(t *testing.T) {
	for name, r := range map[string]Rights{
		"zero": {}, "no grants": NewRights(), "nowhere": granted(Scope{}, "a"), "nothing": granted(Scope{Everything: true}),
	} {
		if !r.Empty() || len(r.Roles()) != 0 || len(r.Permissions()) != 0 || r.Holds("a") {
			t.Errorf("%s: not empty: roles %v, permissions %v", name, r.Roles(), r.Permissions())
		}
	}
}

func TestConfigured(t *testing.T) {
	c := Configured{
		AdminGroups: []string{"admins"}, AdminEmails: []string{"Root@example.test"}, AuditorGroups: []string{"audit"},
		OperatorGroups: []string{"ops", "both"}, ViewerGroups: []string{"view", "both"},
	}
	for _, tt := range []struct {
		name   string
		member Member
		want   []string
	}{
		{"nobody", Member{}, nil},
		{"no group of ours", Member{Groups: []string{"sales"}}, nil},
		{"viewer", Member{Groups: []string{"sales", "view"}}, []string{"viewer"}},
		{"operator", Member{Groups: []string{"ops"}}, []string{"operator"}},
		{"auditor", Member{Groups: []string{"audit"}}, []string{"auditor"}},
		{"admin", Member{Groups: []string{"admins"}}, []string{"platform admin"}},
		{"one group, two roles", Member{Groups: []string{"both"}}, []string{"operator", "viewer"}},
		{"letter case of a group", Member{Groups: []string{"Admins"}}, nil},
		{"space around a group", Member{Groups: []string{" admins"}}, nil},
		{"part of a group", Member{Groups: []string{"admin", "admins-emea"}}, nil},
		{"verified address", Member{Email: "root@EXAMPLE.test", EmailVerified: true}, []string{"platform admin"}},
		{"address not verified", Member{Email: "root@example.test"}, nil},
		{"another address", Member{Email: "root@example.test.evil", EmailVerified: true}, nil},
		{"a letter that folds onto ASCII", Member{Email: "root@example.te\u017ft", EmailVerified: true}, nil},
		{"twice admin is once", Member{Groups: []string{"admins"}, Email: "root@example.test", EmailVerified: true}, []string{"platform admin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, c.For(tt.member).Roles(), cmp.Transformer("sameEmpty", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEmptyConfigurationGivesNothing(t *testing.T) {
	for _, c := range []Configured{{}, {AdminGroups: []string{""}, AdminEmails: []string{""}, ViewerGroups: []string{""}}} {
		if r := c.For(Member{Groups: []string{""}, Email: "", EmailVerified: true}); !r.Empty() {
			t.Errorf("%+v gives %v", c, r.Roles())
		}
	}
}

func TestAnotherIssuerGivesNothing(t *testing.T) {
	c := Configured{Issuer: "https://id.example.test", AdminGroups: []string{"admins"}, AdminEmails: []string{"root@example.test"}}
	m := Member{Issuer: "https://id.example.test/", Groups: []string{"admins"}, Email: "root@example.test", EmailVerified: true}
	if r := c.For(m); !r.Empty() {
		t.Errorf("another issuer holds %v", r.Roles())
	}
	m.Issuer = c.Issuer
	if r := c.For(m); r.Empty() {
		t.Error("the configured issuer holds nothing")
	}
}

func TestBuiltInRoles(t *testing.T) {
	viewer, operator, auditor, admin := Viewer().Permissions, Operator().Permissions, Auditor().Permissions, PlatformAdmin().Permissions
	for _, p := range Upstream() {
		reads := strings.HasPrefix(p, "read:")
		ofOperator := slices.Contains([]string{"write:clusters", "delete:clusters", "write:api_keys", "delete:api_keys", "write:backups", "delete:backups"}, p)
		payment := p == "read:payment_information"
		for role, held := range map[string]struct{ want, got bool }{
			"viewer":   {reads && !payment, slices.Contains(viewer, p)},
			"operator": {reads && !payment || ofOperator, slices.Contains(operator, p)},
			"auditor":  {reads, slices.Contains(auditor, p)},
			"admin":    {true, slices.Contains(admin, p)},
		} {
			if held.got != held.want {
				t.Errorf("%s holds %s: %v, want %v", role, p, held.got, held.want)
			}
		}
	}
	for _, p := range Own() {
		if slices.Contains(viewer, p) || slices.Contains(KeyManager().Permissions, p) || !slices.Contains(admin, p) ||
			slices.Contains(operator, p) != (p == LogsRead) ||
			slices.Contains(auditor, p) != (p == AuditRead || p == AuditExport) ||
			slices.Contains(AccountAdmin().Permissions, p) == (p == MembersManage || p == KeysRotate) {
			t.Errorf("%s is held by the wrong roles", p)
		}
	}
	for _, role := range BuiltIn() {
		if role.ID == "" || role.Description == "" {
			t.Errorf("%s has no id or no description", role.Name)
		}
		if !slices.IsSorted(role.Permissions) || len(slices.Compact(slices.Clone(role.Permissions))) != len(role.Permissions) {
			t.Errorf("%s: permissions are not sorted, or one is there twice", role.Name)
		}
	}
}

func TestRolesCannotBeChangedThroughTheirSlices(t *testing.T) {
	Viewer().Permissions[0] = AccountsManage
	if slices.Contains(Viewer().Permissions, AccountsManage) {
		t.Error("a caller changed the viewer's role for everyone")
	}
}

// FuzzDenyByDefault looks for a member who gets in without being configured, and for a list that
// shows more than the single decision allows.
func FuzzDenyByDefault(f *testing.F) {
	f.Add("admins", "root@example.test", true, "read:clusters", "production", "c1")
	f.Add("", "", true, "", "", "")
	f.Add("admins\x00", "root@example.test\xff", false, "audit:read", "staging", "")
	f.Fuzz(func(t *testing.T, group, email string, verified bool, permission, environment, cluster string) {
		c := Configured{AdminGroups: []string{"admins"}, AdminEmails: []string{"root@example.test"}}
		r := c.For(Member{Issuer: "i", Email: email, EmailVerified: verified, Groups: []string{group}})
		if known := group == "admins" || verified && lowerASCII(email) == "root@example.test"; known == r.Empty() {
			t.Fatalf("group %q, address %q, verified %v: rights %v", group, email, verified, r.Roles())
		}
		scoped := granted(Scope{Environments: []string{environment}, Clusters: []ClusterRef{{accountA, cluster}}}, permission)
		for _, on := range []Target{{}, {AccountID: accountA}, {AccountID: accountB, ClusterID: cluster}, {AccountID: accountA, Environment: environment, ClusterID: cluster}} {
			need := Needs(permission, "read:clusters")
			if scoped.Visible(need).Covers(on) && !scoped.Allows(need, on) {
				t.Fatalf("a list shows %+v, which is not allowed", on)
			}
			if scoped.Allows(Needs("write:account"), on) && permission != "write:account" {
				t.Fatalf("%q allows write:account", permission)
			}
		}
	})
}
