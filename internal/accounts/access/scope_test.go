package access

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func selector(t *testing.T, text string) Selector {
	t.Helper()
	s, err := ParseSelector(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return s
}

func TestSelectors(t *testing.T) {
	search := map[string]string{"team": "search", "tier": "gold"}
	for _, tt := range []struct {
		text, spelling string
		matches        bool
	}{
		{"team=search", "team=search", true},
		{" team == search ", "team=search", true},
		{"team=ads", "team=ads", false},
		{"team in (ads, search)", "team in (ads,search)", true},
		{"team in (search,search)", "team=search", true},
		{"team=search,tier=gold", "team=search,tier=gold", true},
		{"tier=gold,team=search", "team=search,tier=gold", true},
		{"team=search,tier=silver", "team=search,tier=silver", false},
		{"team=search,owner=me", "owner=me,team=search", false},
		{"Team=search", "Team=search", false},
	} {
		s := selector(t, tt.text)
		if s.String() != tt.spelling || s.Matches(search) != tt.matches {
			t.Errorf("%q is written %q, matches %v", tt.text, s, s.Matches(search))
		}
		if s.Matches(nil) || s.Matches(map[string]string{}) {
			t.Errorf("%q matches a cluster without labels", tt.text)
		}
	}
	for _, bad := range []string{
		"", " ", ",", "team", "!team", "team!=ads", "team=", "=search", "team notin (ads)", "team in ()", "team in (a", "team in a)", "domain(a)", "teamin (a)",
		"team=a,team=b", "team=a b", "team=\x00", "team=ä", "team=a,,tier=b", "team=a;tier=b", "in (a)", "team in (a)(b)", strings.Repeat("a", 254) + "=b",
		"a in (1,2,3,4,5,6,7,8,9),b in (1,2,3,4,5,6,7,8)", "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1", "team=" + strings.Repeat("x", 1000),
	} {
		if s, err := ParseSelector(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, s)
		}
	}
	if (Selector{}).Matches(search) || (Selector{}).Implies(selector(t, "a=b")) || selector(t, "a=b").Implies(Selector{}) {
		t.Error("the zero selector picks something")
	}
}

// FuzzSelector: a text that is taken means the same in its one spelling, and never picks a cluster
// without labels; its combinations pick exactly what it picks.
func FuzzSelector(f *testing.F) {
	f.Add("team=search,tier in (gold,silver)", "team", "search", "tier", "gold")
	f.Add("a in (b,c)", "a", "c", "", "")
	f.Add("a(b", "a", "b", "a,b", "(")
	f.Fuzz(func(t *testing.T, text, k1, v1, k2, v2 string) {
		s, err := ParseSelector(text)
		if err != nil {
			return
		}
		again, err := ParseSelector(s.String())
		if err != nil || again.String() != s.String() || !again.Implies(s) || !s.Implies(again) {
			t.Fatalf("%q is written %q, read again as %q, %v", text, s, again, err)
		}
		if s.Matches(nil) {
			t.Fatalf("%q matches nothing at all", text)
		}
		labels := map[string]string{k1: v1, k2: v2}
		byCombination := slices.ContainsFunc(s.Combinations(), func(c map[string]string) bool {
			for k, v := range c {
				if labels[k] != v {
					return false
				}
			}
			return true
		})
		if byCombination != s.Matches(labels) {
			t.Fatalf("%q on %v: %v, by combinations %v", text, labels, s.Matches(labels), byCombination)
		}
	})
}

// world is a small universe in which every target can be tried.
type world struct {
	environments map[uuid.UUID]string
	targets      []Target
}

func newWorld() world {
	w := world{environments: map[uuid.UUID]string{accountA: "production", accountB: "staging"}}
	labels := []map[string]string{nil, {"team": "search"}, {"team": "ads"}, {"team": "search", "tier": "gold"}, {"tier": "gold"}}
	for account, environment := range w.environments {
		w.targets = append(w.targets, Target{AccountID: account, Environment: environment})
		for _, cluster := range []string{"c1", "c2"} {
			for _, l := range labels { // a cluster has one set of labels now and may have any other later
				w.targets = append(w.targets, Target{AccountID: account, Environment: environment, ClusterID: cluster, Labels: l})
			}
		}
	}
	w.targets = append(w.targets, Target{})
	return w
}

// someScope is a scope of one kind, as grants have them, and the naive reading of it.
func someScope(t *testing.T, r *rand.Rand) (Scope, func(Target) bool) {
	t.Helper()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	account := []uuid.UUID{accountA, accountB}[r.IntN(2)]
	switch kind := ScopeKinds()[r.IntN(5)]; kind {
	case ScopeEverything:
		return Scope{Everything: true}, func(Target) bool { return true }
	case ScopeEnvironment:
		e := pick("production", "staging", "development")
		return Scope{Environments: []string{e}}, func(on Target) bool { return on.AccountID != uuid.Nil && on.Environment == e }
	case ScopeAccount:
		return Scope{Accounts: []uuid.UUID{account}}, func(on Target) bool { return on.AccountID == account }
	case ScopeCluster:
		c := pick("c1", "c2")
		return Scope{Clusters: []ClusterRef{{account, c}}}, func(on Target) bool { return on.AccountID == account && on.ClusterID == c }
	default:
		team, tier := pick("search", "ads"), pick("", "gold", "silver")
		text := "team=" + team
		if tier != "" {
			text += ",tier=" + tier
		}
		return Scope{Labels: []Selector{selector(t, text)}}, func(on Target) bool {
			return on.Labels["team"] == team && (tier == "" || on.Labels["tier"] == tier)
		}
	}
}

// TestScopesAgainstAPlainReading tries random grants on every target there is: what they allow, what a
// list of it shows, and what contains what.
func TestScopesAgainstAPlainReading(t *testing.T) {
	w := newWorld()
	r := rand.New(rand.NewPCG(5, 5))
	contained, allowed := 0, 0
	for range 3000 {
		var grants []Grant
		var plain []func(Target) bool
		for range 1 + r.IntN(3) {
			scope, reads := someScope(t, r)
			grants = append(grants, Grant{Role: Role{Name: "x", Permissions: []string{"a"}}, Scope: scope})
			plain = append(plain, reads)
		}
		rights := NewRights(grants...).In(w.environments)
		visible := rights.Visible(Needs("a"))
		for _, on := range w.targets {
			want := slices.ContainsFunc(plain, func(reads func(Target) bool) bool { return reads(on) })
			if got := rights.Allows(Needs("a"), on); got != want {
				t.Fatalf("%+v on %+v: %v, want %v", grants, on, got, want)
			}
			if got := visible.Covers(on); got != want {
				t.Fatalf("a list for %+v shows %+v: %v, want %v", grants, on, got, want)
			}
			if want {
				allowed++
			}
			if len(rights.Why(Needs("a"), on)) > 0 != want {
				t.Fatalf("why on %+v is %v, allowed %v", on, rights.Why(Needs("a"), on), want)
			}
		}
		// What one may give on.
		inner, reads := someScope(t, r)
		if !rights.Within("a", inner) {
			continue
		}
		contained++
		for _, on := range w.targets {
			if reads(on) && !rights.Allows(Needs("a"), on) {
				t.Fatalf("%+v is said to contain %+v, and does not reach %+v", grants, inner, on)
			}
		}
	}
	if contained < 100 || allowed < 1000 {
		t.Errorf("only %d scopes were contained and %d targets allowed: nothing is shown", contained, allowed)
	}
}

func TestAnEnvironmentIsWhatIsCertain(t *testing.T) {
	rights := granted(Scope{Environments: []string{"production"}}, "a").In(map[uuid.UUID]string{accountA: "production"})
	claimed := Target{AccountID: accountB, Environment: "production"}
	if rights.Allows(Needs("a"), claimed) || !rights.Allows(Needs("a"), Target{AccountID: accountA, Environment: "staging"}) {
		t.Error("a target says of itself which environment it is of")
	}
	if diff := cmp.Diff(Scope{Accounts: []uuid.UUID{accountA}}, rights.Visible(Needs("a")), cmp.AllowUnexported(Selector{})); diff != "" {
		t.Errorf("a list goes by what rows say (-want +got)\n%s", diff)
	}
	if !rights.AllowsAsMoved(Needs("a"), Target{AccountID: accountB}, "production") || rights.AllowsAsMoved(Needs("a"), Target{AccountID: accountA}, "staging") {
		t.Error("an account about to be moved is judged by where it is")
	}
	if none := granted(Scope{Environments: []string{"production"}}, "a").In(nil); none.Allows(Needs("a"), claimed) {
		t.Error("with nothing certain, what a target says counts")
	}
}

func TestLabelsAndClustersAreNotWide(t *testing.T) {
	everywhere := Scope{Clusters: []ClusterRef{{accountA, "c1"}}, Labels: []Selector{selector(t, "team=search")}}
	on := Target{AccountID: accountA, ClusterID: "c1", Labels: map[string]string{"team": "search"}}
	narrow := granted(everywhere, "a")
	if !narrow.Allows(Needs("a"), on) || narrow.Wide().Allows(Needs("a"), on) || !narrow.Wide().Empty() {
		t.Error("a right on one cluster is wide")
	}
	everywhere.Accounts = []uuid.UUID{accountA}
	if !granted(everywhere, "a").Wide().Allows(Needs("a"), on) {
		t.Error("a right on the account is not wide")
	}
	if narrow.Within("a", Scope{Clusters: []ClusterRef{{accountA, "c2"}}}) || !narrow.Within("a", Scope{Clusters: []ClusterRef{{accountA, "c1"}}}) {
		t.Error("one may give on a cluster that one does not hold, or not the one that one holds")
	}
	if granted(Scope{Everything: true}, "a").Within("a", Scope{}) != true || narrow.Within("a", Scope{}) {
		t.Error("the empty scope")
	}
}

func TestParseScope(t *testing.T) {
	id := accountA.String()
	for _, tt := range []struct {
		kind       ScopeKind
		text, want string
		ok         bool
	}{
		{ScopeEverything, "", "", true}, {ScopeEverything, "x", "", false},
		{ScopeEnvironment, "production", "production", true}, {ScopeEnvironment, "", "", false},
		{ScopeAccount, strings.ToUpper(id), id, true}, {ScopeAccount, uuid.Nil.String(), "", false}, {ScopeAccount, "x", "", false},
		{ScopeCluster, id + "/c1", id + "/c1", true}, {ScopeCluster, id, "", false}, {ScopeCluster, id + "/", "", false}, {ScopeCluster, id + "/a/b", "", false},
		{ScopeLabels, "b=1, a=2", "a=2,b=1", true}, {ScopeLabels, "", "", false}, {"", "", "", false}, {"all", "", "", false},
	} {
		scope, text, err := ParseScope(tt.kind, tt.text)
		if (err == nil) != tt.ok || text != tt.want || scope.None() == tt.ok {
			t.Errorf("%s %q: %+v %q %v", tt.kind, tt.text, scope, text, err)
		}
	}
}
