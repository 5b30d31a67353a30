package access

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func explainConfigured() Configured {
	return Configured{
		Issuer: "https://idp.example.test", AdminGroups: []string{"admins", ""}, AdminEmails: []string{"Root@example.test"}, AuditorGroups: []string{"audit"},
		OperatorGroups: []string{"ops", "both"}, ViewerGroups: []string{"view", "both"},
	}
}

func TestExplain(t *testing.T) {
	stored := Grant{Role: Viewer(), Scope: Scope{Environments: []string{"staging"}}, Source: "granted by Ada", Via: "sales"}
	own := Grant{Role: Viewer(), Scope: Scope{Everything: true}, Source: "granted by Ada"}
	rows := explainConfigured().Explain(Member{
		Issuer: "https://idp.example.test", Email: "root@EXAMPLE.test", EmailVerified: true, Groups: []string{"staff", "both", "Admins", "admins", "", "sales", "Root@example.test"},
	}, stored, own)
	var got []string
	for _, row := range rows {
		line := row.By + " " + row.Value + ":"
		for _, g := range row.Gives {
			line += " " + g.Role.ID + " " + g.Source + ";"
		}
		got = append(got, line+" "+row.Why)
	}
	want := []string{
		"member : viewer granted by Ada; ",
		"group both: operator from configuration, QM_OPERATOR_GROUPS; viewer from configuration, QM_VIEWER_GROUPS; ",
		"group admins: " + PlatformAdmin().ID + " from configuration, QM_ADMIN_GROUPS; ",
		"group sales: viewer granted by Ada; ",
		"email root@EXAMPLE.test: " + PlatformAdmin().ID + " from configuration, QM_ADMIN_EMAILS; ",
		"group staff: No grant names it.",
		"group Admins: No grant names it.",
		"group : No grant names it.",
		"group Root@example.test: No grant names it.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, tt := range map[string]struct {
		member Member
		why    string
	}{
		"not verified":   {Member{Issuer: "https://idp.example.test", Email: "root@example.test"}, NotVerified},
		"not named":      {Member{Issuer: "https://idp.example.test", Email: "other@example.test", EmailVerified: true}, NothingNamesIt},
		"other provider": {Member{Issuer: "https://evil.example", Email: "root@example.test", EmailVerified: true}, OtherProvider},
	} {
		rows := explainConfigured().Explain(tt.member)
		if len(rows) != 1 || rows[0].Why != tt.why || len(rows[0].Gives) != 0 {
			t.Errorf("%s: %+v", name, rows)
		}
	}
}

// FuzzExplainAgreesWithFor holds the explanation to the rights themselves: it names a role exactly when For gives it, has
// one row for each thing vouched for, and a reason where nothing is given.
func FuzzExplainAgreesWithFor(f *testing.F) {
	f.Add("https://idp.example.test", "admins", "both", "root@example.test", true)
	f.Add("", "view", "", "", false)
	f.Add("https://evil.example", "ops", "audit", "ROOT@example.test", true)
	f.Fuzz(func(t *testing.T, issuer, first, second, email string, verified bool) {
		for _, c := range []Configured{explainConfigured(), {ViewerGroups: []string{first}, AdminEmails: []string{email}}, {}} {
			m := Member{Issuer: issuer, Email: email, EmailVerified: verified, Groups: []string{first, second}}
			var roles []string
			rows := c.Explain(m)
			for _, row := range rows {
				if (len(row.Gives) == 0) != (row.Why != "") {
					t.Errorf("row %+v", row)
				}
				for _, given := range row.Gives {
					roles = append(roles, given.Role.Name)
				}
			}
			slices.Sort(roles)
			if want := c.For(m).Roles(); fmt.Sprint(slices.Compact(roles)) != fmt.Sprint(want) {
				t.Errorf("explained %v, held %v", roles, want)
			}
			if want := len(m.Groups) + min(len(email), 1); len(rows) != want {
				t.Errorf("%d rows, want %d", len(rows), want)
			}
		}
	})
}
