package accounts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// boundaryMember is a member with a session and no group; what they may do follows from grants alone.
type boundaryMember struct {
	s       *stage
	token   string
	subject string
}

func (s *stage) boundaryMember(name string) boundaryMember {
	s.t.Helper()
	token, err := s.svc.SignIn(s.t.Context(), browser(), Identity{Issuer: labelIssuer, Subject: name, Name: name, Email: name + "@example.test"})
	if err != nil {
		s.t.Fatal(err)
	}
	return boundaryMember{s, token, name}
}

// next is the member at their next request.
func (m boundaryMember) next() audit.Actor {
	m.s.t.Helper()
	_, by, err := m.s.svc.Authenticate(m.s.t.Context(), browser(), m.token)
	if err != nil {
		m.s.t.Fatal(err)
	}
	return by
}

// sees reports whether the member sees and may restart a cluster; all ways to see it must agree.
func (m boundaryMember) sees(ref ClusterRef) bool {
	t, s, by := m.s.t, m.s, m.next()
	t.Helper()
	page, err := s.svc.Fleet(t.Context(), by, FleetQuery{})
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.ContainsFunc(page.Rows, func(r ClusterRow) bool { return r.ref() == ref })
	list, err := s.svc.List(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	_, read := s.svc.Cluster(t.Context(), by, ref)
	_, account := s.svc.Account(t.Context(), by, ref.AccountID)
	_, asked := s.svc.AskCluster(t.Context(), by, ActClusterRestart, ref)
	for what, got := range map[string]bool{
		"the list of accounts": slices.ContainsFunc(list, func(a Account) bool { return a.ID == ref.AccountID }),
		"the cluster's page":   read == nil, "the account's page": account == nil, "the page that asks": !errors.Is(asked, ErrNotFound),
	} {
		if got != listed {
			t.Errorf("the fleet lists it: %v; %s: %v", listed, what, got)
		}
	}
	if !listed && (!errors.Is(read, ErrNotFound) || !errors.Is(account, ErrNotFound)) {
		t.Errorf("not seen, and not as if it did not exist: %v, %v", read, account)
	}
	return listed
}

func (s *stage) boundaryEdit(account Account, change func(*AccountDetails)) {
	s.t.Helper()
	by := JobActor("test")
	d, err := s.svc.Account(s.t.Context(), by, account.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	e := AccountEdit{Revision: d.Revision(), AccountDetails: AccountDetails{Name: d.Name, Environment: d.Environment, Owner: d.Owner, Note: d.Note}}
	change(&e.AccountDetails)
	if err := s.svc.EditAccount(s.t.Context(), by, account.ID, e); err != nil {
		s.t.Fatal(err)
	}
}

// TestAnAccountThatMovesIsLostAndGainedAtTheNextRequest: of two operators, each of an environment, one
// loses it and the other gains it, in this process and in another one.
func TestAnAccountThatMovesIsLostAndGainedAtTheNextRequest(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	ref := s.made(account, "moving", "mx1", 1)
	staging, production := s.boundaryMember("staging"), s.boundaryMember("production")
	s.grant(staging.next(), "operator", access.ScopeEnvironment, "staging")
	s.grant(production.next(), "operator", access.ScopeEnvironment, "production")
	here := s.svc
	elsewhere := s.replica(nil)
	for i, environment := range []Environment{Staging, Production, Staging, Development} {
		s.svc = here
		if i > 0 {
			s.boundaryEdit(account, func(d *AccountDetails) { d.Environment = environment })
		}
		for _, svc := range []*Service{here, elsewhere} {
			s.svc = svc
			if got := []bool{staging.sees(ref), production.sees(ref)}; got[0] != (environment == Staging) || got[1] != (environment == Production) {
				t.Errorf("the account is of %s: staging sees it %v, production %v", environment, got[0], got[1])
			}
		}
	}
}

// TestSQLMovesNoAccount: only a change through the console makes an account one of an environment. What
// SQL writes there gives it to nobody, and takes it from those who had it, until an administrator has looked.
func TestSQLMovesNoAccount(t *testing.T) {
	for name, sql := range map[string]string{
		"its environment": `UPDATE accounts SET environment = 'production'`,
		"a row of what is certain": `INSERT INTO account_standings (account_id, version, cloud_account_id, generation, environment, written_at, mac)
			SELECT account_id, version + 1, cloud_account_id, generation, 'production', now(), mac FROM account_standings`,
		"both": `WITH a AS (UPDATE accounts SET environment = 'production')
			INSERT INTO account_standings (account_id, version, cloud_account_id, generation, environment, written_at, mac)
			SELECT account_id, version + 1, cloud_account_id, generation, 'production', written_at, mac FROM account_standings`,
		"its API": `UPDATE accounts SET generation = 'pa-v1'`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			account := s.register(s.current(), "Shared")
			ref := s.made(account, "moving", "mx1", 1)
			staging, production, byID := s.boundaryMember("staging"), s.boundaryMember("production"), s.boundaryMember("by-id")
			s.grant(staging.next(), "operator", access.ScopeEnvironment, "staging")
			s.grant(production.next(), "operator", access.ScopeEnvironment, "production")
			s.grant(byID.next(), "operator", access.ScopeAccount, account.ID.String())
			if !staging.sees(ref) || production.sees(ref) {
				t.Fatal("not as it should begin")
			}
			s.exec(s.db.OwnerURL, sql)
			if staging.sees(ref) || production.sees(ref) {
				t.Error("an environment that is not certain counts")
			}
			if by := byID.next(); s.svc.authorize(t.Context(), by, ActAccountRead, accountTarget(account.ref())) != nil {
				t.Error("a right on the account itself was lost")
			}
			if rows := s.svc.UnverifiedRows(); len(rows) != 1 || rows[0].Kind != KindAccount || rows[0].ID != account.ID.String() {
				t.Errorf("the banner tells of %+v", rows)
			}
			s.eventually("it is on record", func() bool { return len(s.eventsOf(ActRightsUnverified)) == 1 })
		})
	}
}

// TestARemovedAccountIsNotPutBackBySQL: whoever kept the rows of an account, and writes them again with the console's
// database password after it was removed, brings back neither the rights on it nor the use of its key.
func TestARemovedAccountIsNotPutBackBySQL(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Gone")
	by := s.signedIn("sales")
	s.grant(by, "operator", access.ScopeEnvironment, string(Staging))
	conn := s.connect(s.db.AppURL)
	for _, sql := range []string{
		`CREATE TEMP TABLE kept_accounts AS SELECT * FROM accounts`,
		`CREATE TEMP TABLE kept_keys AS SELECT * FROM management_keys`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.svc.Remove(t.Context(), member("admins"), account.ID, AccountRemoval{Confirm: "Gone"}); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`INSERT INTO accounts SELECT * FROM kept_accounts`, `INSERT INTO management_keys SELECT * FROM kept_keys`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Account(t.Context(), by, account.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the account is there again: %v", err)
	}
	if _, err := s.svc.connect(t.Context(), account.ID, "request"); err == nil {
		t.Error("its key is used again")
	}
	if rows := s.svc.UnverifiedRows(); len(rows) != 1 || rows[0].ID != account.ID.String() {
		t.Errorf("told of %+v", rows)
	}
}

// TestANameIsNoBoundary: an account's name, owner and note decide nothing.
func TestANameIsNoBoundary(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	ref := s.made(account, "moving", "mx1", 1)
	mine, theirs := s.boundaryMember("mine"), s.boundaryMember("theirs")
	s.grant(mine.next(), "operator", access.ScopeAccount, account.ID.String())
	s.grant(theirs.next(), "operator", access.ScopeAccount, uuid.NewString())
	s.grant(theirs.next(), "operator", access.ScopeEnvironment, "production")
	s.grant(theirs.next(), "operator", access.ScopeLabels, "production=production")
	for _, name := range []string{"production", "Production", account.ID.String(), "everything"} {
		s.boundaryEdit(account, func(d *AccountDetails) { d.Name, d.Owner, d.Note = name, "production", "production=production" })
		if !mine.sees(ref) || theirs.sees(ref) {
			t.Errorf("named %q: mine %v, theirs %v", name, mine.sees(ref), theirs.sees(ref))
		}
	}
}

// TestAnotherAPIIsTheSameAccount: moved to the current API an account stays of its environment, and a
// right by label reaches its clusters only once they have labels.
func TestAnotherAPIIsTheSameAccount(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	staging, production, byLabel := s.boundaryMember("staging"), s.boundaryMember("production"), s.boundaryMember("by-label")
	s.grant(staging.next(), "operator", access.ScopeEnvironment, "staging")
	s.grant(production.next(), "operator", access.ScopeEnvironment, "production")
	s.grant(byLabel.next(), "operator", access.ScopeLabels, "team=orbit")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	fleet := func() int {
		page, err := s.svc.Fleet(t.Context(), byLabel.next(), FleetQuery{})
		if err != nil {
			t.Fatal(err)
		}
		return page.All
	}
	for range 2 {
		if !staging.sees(ref) || production.sees(ref) || fleet() != 0 {
			t.Errorf("staging %v, production %v, by label %d", staging.sees(ref), production.sees(ref), fleet())
		}
		if err := s.svc.SwitchAccount(t.Context(), JobActor("test"), account.ID, AccountSwitch{}); err != nil {
			t.Fatal(err)
		}
	}
	s.relabel(account, ref, labelOrbit)
	s.snapshot()
	if fleet() != 1 {
		t.Errorf("by label %d clusters, want the one that has it now", fleet())
	}
}

// TestListsShowWhatIsAllowed: for members with random grants, every list holds exactly what they may read
// one by one, by what is certain of environments and by the snapshot's labels.
func TestListsShowWhatIsAllowed(t *testing.T) {
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var accounts []Account
	clusters := map[ClusterRef]map[string]string{}
	for i := range 8 {
		id, at := r.account(t, fmt.Sprint("Unit ", i), Environments[random.IntN(len(Environments))])
		at.set(func(a *scriptedAccount) {
			for n := range random.IntN(6) {
				labels := map[string]string{}
				for _, key := range []string{"team", "tier"} {
					if random.IntN(2) == 0 {
						labels[key] = pick("search", "ads", "gold")
					}
				}
				c := &scriptedCluster{ID: uuid.NewString(), Name: fmt.Sprint("c", n), Phase: "CLUSTER_PHASE_HEALTHY", Provider: "aws", Region: "eu", Version: "v1", Nodes: 1, Up: 1, Labels: labels}
				a.clusters = append(a.clusters, c)
				clusters[ClusterRef{AccountID: id, ClusterID: c.ID}] = labels
			}
		})
		r.refresh(t, r.svc, id)
		account, err := accountByID(t.Context(), r.db.Pool, id, false)
		if err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, account)
	}
	// Two accounts whose rows somebody altered: of no environment for anybody.
	r.exec(t, `UPDATE accounts SET environment = 'production' WHERE id = $1 OR id = $2`, accounts[0].ID, accounts[1].ID)
	roles := []string{
		"viewer", "operator", "key-manager", "account-admin", labelRole(t, r.svc, access.ReadClusters), labelRole(t, r.svc, access.ReadAccount), labelRole(t, r.svc, access.WriteClusters),
	}
	refs := make([]ClusterRef, 0, len(clusters))
	for ref := range clusters {
		refs = append(refs, ref)
	}
	seen := 0
	for i := range 60 {
		by := audit.Actor{Issuer: labelIssuer, Subject: fmt.Sprint("member-", i), Via: audit.ViaBrowser}
		for range random.IntN(5) {
			kind, scope := access.ScopeKinds()[1+random.IntN(4)], ""
			switch kind {
			case access.ScopeEnvironment:
				scope = string(Environments[random.IntN(len(Environments))])
			case access.ScopeAccount:
				scope = accounts[random.IntN(len(accounts))].ID.String()
			case access.ScopeCluster:
				if len(refs) == 0 {
					continue
				}
				ref := refs[random.IntN(len(refs))]
				scope = ref.AccountID.String() + "/" + ref.ClusterID
			case access.ScopeLabels:
				scope = pick("team=search", "team in (search,ads)", "tier=gold", "team=ads,tier in (gold,ads)")
			}
			labelGrant(t, r.svc, SubjectMember, by.Subject, pick(roles...), kind, scope)
		}
		rights := r.svc.rights(by)
		may := func(act Act, on access.Target) bool { return rights.Allows(act.Needs, on) }
		var wantClusters, gotClusters, wantAccounts, gotAccounts, wantPackages, gotPackages, wantFill, gotFill []string
		for ref, labels := range clusters {
			if may(ActClusterRead, access.Target{AccountID: ref.AccountID, ClusterID: ref.ClusterID, Labels: labels}) {
				wantClusters = append(wantClusters, ref.ClusterID)
			}
		}
		for _, a := range accounts {
			on := access.Target{AccountID: a.ID}
			if may(ActAccountRead, on) {
				wantAccounts = append(wantAccounts, a.ID.String())
				byLabel := may(ActPackageRead, on) && len(rights.Visible(ActClusterCreate.Needs).Labels) > 0
				if may(ActClusterCreate, on) || byLabel {
					wantFill = append(wantFill, a.ID.String())
				}
			}
			if may(ActPackageRead, on) {
				wantPackages = append(wantPackages, a.ID.String())
			}
		}
		page, err := r.svc.Fleet(t.Context(), by, FleetQuery{Limit: maxFleetLimit})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			gotClusters = append(gotClusters, row.ClusterID)
		}
		list, err := r.svc.List(t.Context(), by)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			gotAccounts = append(gotAccounts, a.ID.String())
		}
		packages, err := r.svc.Packages(t.Context(), by, PackageQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range packages.Accounts {
			gotPackages = append(gotPackages, a.ID.String())
		}
		fillable, err := r.svc.FillableAccounts(t.Context(), by)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range fillable {
			if !strings.HasPrefix(a.Offer.Reason, "You need ") { // what else there is against it is the account's
				gotFill = append(gotFill, a.Account.ID.String())
			}
		}
		for what, both := range map[string][2][]string{
			"clusters": {wantClusters, gotClusters}, "accounts": {wantAccounts, gotAccounts}, "packages": {wantPackages, gotPackages}, "accounts to fill": {wantFill, gotFill},
		} {
			slices.Sort(both[0])
			slices.Sort(both[1])
			if diff := cmp.Diff(both[0], both[1]); diff != "" {
				t.Fatalf("%s of %+v (-allowed +listed)\n%s", what, rights.Grants(), diff)
			}
		}
		seen += len(gotClusters)
	}
	if seen == 0 {
		t.Error("nobody saw anything: nothing is shown")
	}
}
