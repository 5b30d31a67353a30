package accounts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestPlacesToAskAreThoseThatMayBeAskedAbout: of each place that is listed or found WhoCan answers, and what may not be
// asked about is missing like what does not exist.
func TestPlacesToAskAreThoseThatMayBeAskedAbout(t *testing.T) {
	f := newGrantsField(t)
	f.give(t, f.admin, SubjectGroup, "labelled", f.role("label giver", access.GrantsManage, access.ReadClusters), access.ScopeLabels, "team=search")
	byLabel := f.grantee(t, "lara", "labelled")
	f.give(t, f.admin, SubjectGroup, "readers", "viewer", access.ScopeEverything, "")
	reader := f.grantee(t, "rea", "readers", "labelled")
	prod, dev := f.prod.String(), f.dev.String()
	one := f.prodAt.clusters[1].ID
	for name, tt := range map[string]struct {
		by   audit.Actor
		q    PlaceQuery
		want []string
	}{
		"everything":                 {f.admin, PlaceQuery{}, []string{"Ads", "Search", "cluster-000 of Search", "cluster-000 of Ads", "cluster-001 of Search", "cluster-001 of Ads"}},
		"one account":                {f.accountAdm, PlaceQuery{}, []string{"Search", "cluster-000 of Search", "cluster-001 of Search"}},
		"by labels":                  {byLabel, PlaceQuery{}, []string{"cluster-000", "cluster-000"}},
		"clusters of an account":     {f.admin, PlaceQuery{Account: f.prod}, []string{"cluster-000 of Search", "cluster-001 of Search"}},
		"clusters of another's":      {f.accountAdm, PlaceQuery{Account: f.dev}, nil},
		"by id":                      {f.admin, PlaceQuery{Text: " " + one + " "}, []string{"cluster-001 of Search!"}},
		"by the id of an account":    {f.admin, PlaceQuery{Text: dev}, []string{"Ads!"}},
		"by name":                    {f.admin, PlaceQuery{Text: "sEARCH"}, []string{"Search!"}},
		"by a part":                  {f.accountAdm, PlaceQuery{Text: "001"}, []string{"cluster-001 of Search"}},
		"another's account, by id":   {f.accountAdm, PlaceQuery{Text: dev}, nil},
		"another's account, by name": {f.accountAdm, PlaceQuery{Text: "Ads"}, nil},
		"not there":                  {f.accountAdm, PlaceQuery{Text: uuid.NewString()}, nil},
		"no text":                    {f.admin, PlaceQuery{Text: "\x00\xff"}, nil},
		"long":                       {f.admin, PlaceQuery{Text: strings.Repeat("x", 1<<16)}, nil},
		"a pattern":                  {f.admin, PlaceQuery{Text: "%"}, nil},
		"read, but not overseen":     {reader, PlaceQuery{Text: prod}, nil},
	} {
		places, more, err := f.svc.PlacesToAsk(t.Context(), tt.by, tt.q)
		if err != nil || more {
			t.Errorf("%s: more %v, %v", name, more, err)
		}
		var got []string
		for _, p := range places {
			words := p.Name
			if p.AccountName != "" {
				words += " of " + p.AccountName
			}
			if p.Exact {
				words += "!"
			}
			got = append(got, words)
			if _, err := f.svc.WhoCan(t.Context(), tt.by, p.Ref); err != nil {
				t.Errorf("%s: %s is listed and may not be asked about: %v", name, words, err)
			}
		}
		sorted := cmp.Transformer("counted", func(in []string) map[string]int {
			m := map[string]int{}
			for _, s := range in {
				m[s]++
			}
			return m
		})
		if diff := cmp.Diff(tt.want, got, sorted); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if len(tt.want) > 3 && cmp.Diff(tt.want[:2], got[:2]) != "" {
			t.Errorf("%s: accounts do not come first: %v", name, got)
		}
	}
}

// TestPlacesAreNotListedToWhoMayAskAboutNothing: that is a refusal, and on record.
func TestPlacesAreNotListedToWhoMayAskAboutNothing(t *testing.T) {
	f := newGrantsField(t)
	for _, text := range []string{"", "Search", f.prod.String(), "not there"} {
		_, _, err := f.svc.PlacesToAsk(t.Context(), viewer(), PlaceQuery{Text: text})
		f.wantForbidden(text, err, ActGrantRead, access.GrantsManage)
	}
}

// TestPlacesOfWhichThereAreMany says that it does not list them all.
func TestPlacesOfWhichThereAreMany(t *testing.T) {
	f := newGrantsField(t)
	f.prodAt.add(maxPlacesFound)
	f.refresh(t, f.svc, f.prod)
	places, more, err := f.svc.PlacesToAsk(t.Context(), f.admin, PlaceQuery{Text: "cluster-0"})
	if err != nil || !more || len(places) != maxPlacesFound {
		t.Errorf("%d places, more %v, %v", len(places), more, err)
	}
}

// TestMembersOfAGroup lists those whose last sign-in named it, and nobody else.
func TestMembersOfAGroup(t *testing.T) {
	f := newGrantsField(t)
	f.grantee(t, "ann", "search", "staff")
	f.grantee(t, "ben", "Search")
	f.grantee(t, "cid", "staff")
	for name, tt := range map[string]struct {
		q    MemberQuery
		want []string
	}{
		"a group":                {MemberQuery{Group: "search"}, []string{"Name of ann"}},
		"of the provider":        {MemberQuery{Group: "staff", GroupIssuer: grantsIssuer}, []string{"Name of ann", "Name of cid"}},
		"of another provider":    {MemberQuery{Group: "staff", GroupIssuer: "https://other.example"}, nil},
		"and a word":             {MemberQuery{Group: "staff", Text: "cid"}, []string{"Name of cid"}},
		"a part of a name":       {MemberQuery{Group: "sear"}, nil},
		"no text":                {MemberQuery{Group: "\x00"}, nil},
		"longer than groups are": {MemberQuery{Group: strings.Repeat("g", maxGroup+1)}, nil},
	} {
		page, err := f.svc.Members(t.Context(), f.admin, tt.q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, m := range page.Members {
			got = append(got, m.Name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || page.Total != len(tt.want) {
			t.Errorf("%s: total %d (-want +got)\n%s", name, page.Total, diff)
		}
	}
}

// TestMemberHoldsLeadToTheirGrants: what a member holds names grant and role, to who may open them.
func TestMemberHoldsLeadToTheirGrants(t *testing.T) {
	f := newGrantsField(t)
	f.give(t, f.admin, SubjectGroup, "leads", f.role("lead", access.MembersManage), access.ScopeEverything, "")
	lead := f.grantee(t, "lea", "leads")
	for name, tt := range map[string]struct {
		by  audit.Actor
		may bool
	}{"who gives rights": {f.admin, true}, "who sees members only": {lead, false}} {
		d, err := f.svc.Member(t.Context(), tt.by, grantsIssuer, "otto")
		if err != nil || len(d.Holds) != 1 {
			t.Fatalf("%s: %+v, %v", name, d.Holds, err)
		}
		h := d.Holds[0]
		if h.RoleID != "account-admin" || h.MayOpen != tt.may || h.MayRole != tt.may {
			t.Errorf("%s: %+v", name, h)
		}
		if _, err := f.svc.Grant(t.Context(), tt.by, h.ID); (err == nil) != tt.may {
			t.Errorf("%s: the grant opens: %v", name, err)
		}
		if _, err := f.svc.Roles(t.Context(), tt.by); (err == nil) != tt.may {
			t.Errorf("%s: roles open: %v", name, err)
		}
	}
	ada, err := f.svc.Member(t.Context(), f.admin, grantsIssuer, "ada")
	if err != nil || len(ada.Holds) != 1 || ada.Holds[0].ID != uuid.Nil || !ada.Holds[0].MayOpen || ada.Holds[0].Via != "admins" {
		t.Errorf("from configuration: %+v, %v", ada.Holds, err)
	}
}
