package accounts

import (
	"errors"
	"net/http"
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

const labelIssuer = "https://id.example.test"

// labelGrant stores a grant as the console would write it, whoever could have given it.
func labelGrant(t testing.TB, svc *Service, kind, subject, role string, scopeKind access.ScopeKind, scope string) uuid.UUID {
	t.Helper()
	_, text, err := access.ParseScope(scopeKind, scope)
	if err != nil {
		t.Fatal(err)
	}
	row := grantRow{
		ID: svc.newID(), SubjectKind: kind, Issuer: labelIssuer, Subject: subject, Role: role, ScopeKind: string(scopeKind), Scope: text,
		Reason: "for a test", CreatedAt: time.Now().UTC().Truncate(time.Microsecond), GrantedBy: "test", GrantedByIssuer: InternalIssuer, GrantedBySubject: "test",
	}
	_, err = svc.cfg.DB.Exec(t.Context(), `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.ExpiresAt, row.Reason, row.BoundFrom, row.CreatedAt,
		row.GrantedBy, row.GrantedByIssuer, row.GrantedBySubject, svc.cfg.Vault.MAC(row.place(), row.says()))
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	return row.ID
}

// labelRole stores a role of the team's own.
func labelRole(t testing.TB, svc *Service, permissions ...string) string {
	t.Helper()
	slices.Sort(permissions)
	row := roleRow{ID: svc.newID(), Version: 1, Name: "role", Permissions: permissions, WrittenAt: time.Now().UTC().Truncate(time.Microsecond), WrittenBy: "test"}
	_, err := svc.cfg.DB.Exec(t.Context(), `INSERT INTO roles (`+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		row.ID, row.Version, row.Name, row.Description, row.Permissions, row.Deleted, row.WrittenAt, row.WrittenBy, row.WrittenByIssuer, row.WrittenBySubject,
		svc.cfg.Vault.MAC(row.place(), row.says()))
	if err != nil {
		t.Fatal(err)
	}
	return row.ID.String()
}

func (s *stage) grant(by audit.Actor, role string, kind access.ScopeKind, scope string) uuid.UUID {
	s.t.Helper()
	return labelGrant(s.t, s.svc, SubjectMember, by.Subject, role, kind, scope)
}

// labelled has somebody else make a cluster with labels, and waits for its snapshot.
func (s *stage) labelled(account Account, name string, labels map[string]string) ClusterRef {
	s.t.Helper()
	ref := s.made(account, name, "mx1", 1)
	s.relabel(account, ref, labels)
	s.snapshot()
	return ref
}

// relabel has somebody else change the labels; the snapshot does not know of it.
func (s *stage) relabel(account Account, ref ClusterRef, labels map[string]string) {
	s.t.Helper()
	s.outside(account, ref, map[string]any{"act": "labels", "labels": labels})
}

func labelForbidden(t *testing.T, what string, err error, missing string) *ForbiddenError {
	t.Helper()
	refused, ok := errors.AsType[*ForbiddenError](err)
	if !ok || !strings.Contains(refused.Missing, missing) {
		t.Errorf("%s: %v, want it to be forbidden for %s", what, err, missing)
		return &ForbiddenError{}
	}
	return refused
}

// deniedFor returns the refusals of an act. Those answered not found are recorded beside the answer.
func (s *stage) deniedFor(act Act, atLeast int) []audit.Event {
	s.t.Helper()
	var denied []audit.Event
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		denied = slices.DeleteFunc(s.eventsOf(act), func(e audit.Event) bool { return e.Outcome != audit.Denied })
		if len(denied) >= atLeast {
			break
		}
	}
	return denied
}

var labelOrbit = map[string]string{"team": "orbit"}

// labelActs is every act on a cluster that exists. Its labels are team=orbit by the snapshot.
func (s *stage) labelActs(by audit.Actor, ref ClusterRef) map[string]func() error {
	yes, no := true, false
	name := s.nameOf(ref)
	ctx := s.t.Context()
	return map[string]func() error{
		"restart": func() error { return s.svc.RestartCluster(ctx, by, ref) },
		"suspend": func() error { return s.svc.SuspendCluster(ctx, by, ref) },
		"delete": func() error {
			return s.svc.DeleteCluster(ctx, by, ref, ClusterDeletion{Confirm: name, DeleteBackups: &no})
		},
		"delete with backups": func() error {
			return s.svc.DeleteCluster(ctx, by, ref, ClusterDeletion{Confirm: name, DeleteBackups: &yes})
		},
		"make a key":           func() error { _, err := s.svc.CreateKey(ctx, by, ref, s.newKey(by, ActKeyCreate, "a-key")); return err },
		"the form of a change": func() error { _, err := s.svc.AskClusterUpdate(ctx, by, ref); return err },
		"a change": func() error {
			return s.svc.UpdateCluster(ctx, by, ref, ClusterUpdateForm{Revision: strings.Repeat("0", 32), Fields: map[string]string{"name": "other"}})
		},
		"the comparison with it": func() error {
			_, err := s.svc.PlanClusterUpdate(ctx, by, ref, ClusterUpdateForm{Revision: strings.Repeat("0", 32), Fields: map[string]string{"name": "other"}})
			return err
		},
	}
}

// TestARightByLabelIsDecidedOnAFreshRead: the snapshot still says team=orbit, and upstream no longer does.
// Nothing changing is sent, no attempt is recorded, the refusal is, and the snapshot is brought up to date.
func TestARightByLabelIsDecidedOnAFreshRead(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by := s.signedIn("sales")
	s.grant(by, "operator", access.ScopeLabels, "team=orbit")
	ref := s.labelled(account, "moving", labelOrbit)
	for name := range s.labelActs(by, ref) {
		t.Run(name, func(t *testing.T) {
			s.relabel(account, ref, labelOrbit)
			s.snapshot()
			if _, err := s.svc.Cluster(t.Context(), by, ref); err != nil {
				t.Fatalf("by the snapshot it is theirs: %v", err)
			}
			act := s.labelActs(by, ref)[name]
			s.relabel(account, ref, map[string]string{"team": "ads"})
			_, before := s.calls()
			written := len(s.events())
			if err := act(); !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound: by its labels now it may not even be read", err)
			}
			if _, after := s.calls(); after != before {
				t.Errorf("%d changing calls were sent", after-before)
			}
			var since []audit.Event
			s.eventually("the refusal is recorded", func() bool {
				since = s.events()[written:]
				return len(since) > 0 || name != "restart" // refusals of one act and target are summed
			})
			for _, e := range since {
				if e.Outcome != audit.Denied || e.Phase != audit.PhaseSingle || e.Target.ID != ref.ClusterID && e.Target.Kind != KindKey {
					t.Errorf("recorded %s %s %s", e.Act, e.Phase, e.Outcome)
				}
			}
			if _, err := s.svc.Cluster(t.Context(), by, ref); !errors.Is(err, ErrNotFound) {
				t.Errorf("after that the snapshot is still the old one: %v", err)
			}
			if page, err := s.svc.Fleet(t.Context(), by, FleetQuery{}); err != nil || page.All != 0 {
				t.Errorf("the fleet still has %d clusters, %v", page.All, err)
			}
		})
	}
}

// TestARightByLabelIsARight: with the label there, everything of the role can be done.
func TestARightByLabelIsARight(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by := s.signedIn("sales")
	s.grant(by, "operator", access.ScopeLabels, "team in (orbit,find)")
	ref := s.labelled(account, "ours", labelOrbit)
	other := s.labelled(account, "theirs", map[string]string{"team": "ads"})
	for name, act := range s.labelActs(by, other) {
		if err := act(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s on a cluster of others: %v", name, err)
		}
	}
	made := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "a-key"))
	if _, err := s.svc.RotateKey(t.Context(), by, ref, made.Key.ID, Rotation{Name: "a-key-2", ExpiresInDays: new("30"), FormToken: s.token(by, ActKeyRotate)}); err != nil {
		t.Error(err)
	}
	if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, KeyMark(made.Key)); err != nil {
		t.Error(err)
	}
	u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"name": "renamed", "labels": "team=orbit\nuse=demo"}}); err != nil {
		t.Errorf("a change that stays in scope: %v", err)
	}
	s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
	s.snapshot()
	if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
		t.Error(err)
	}
}

// TestAFreshReadThatFailsAllowsNothing: when upstream cannot be asked what the labels are, nothing is done.
func TestAFreshReadThatFailsAllowsNothing(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by := s.signedIn("sales")
	s.grant(by, "operator", access.ScopeLabels, "team=orbit")
	ref := s.labelled(account, "ours", labelOrbit)
	written := len(s.events())
	s.fault(map[string]any{"kind": "status", "status": 503, "operation": "GetCluster", "times": 100})
	_, before := s.calls()
	if err := s.svc.RestartCluster(t.Context(), by, ref); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want upstream's error", err)
	}
	if _, after := s.calls(); after != before || len(s.events()) != written {
		t.Errorf("%d changing calls, %d events", after-before, len(s.events())-written)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	s.outside(account, ref, map[string]any{"act": "delete_cluster", "at_once": true})
	if _, conflict := errors.AsType[*ConflictError](s.svc.RestartCluster(t.Context(), by, ref)); !conflict {
		t.Error("a cluster that is gone is no conflict")
	}
	if err := s.svc.Disable(t.Context(), member("admins"), account.ID); err != nil {
		t.Fatal(err)
	}
	calls, _ := s.calls()
	if _, conflict := errors.AsType[*ConflictError](s.svc.RestartCluster(t.Context(), by, ref)); !conflict {
		t.Error("a disabled account is no conflict")
	}
	if after, _ := s.calls(); after != calls {
		t.Error("the key of a disabled account was used")
	}
}

// TestWhoHasTheAccountIsNotReadFor: only where the right rests on labels upstream is asked first.
func TestWhoHasTheAccountIsNotReadFor(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	ref := s.labelled(account, "ours", labelOrbit)
	reads := func(by audit.Actor) int {
		before := s.counted()[account.CloudAccountID]["GetCluster"]
		if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
			t.Fatal(err)
		}
		reads := s.counted()[account.CloudAccountID]["GetCluster"] - before
		s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
		s.snapshot()
		return reads
	}
	byLabel, byAccount, byCluster := s.signedIn("sales"), s.signedIn("marketing"), s.signedIn("finance")
	s.grant(byLabel, "operator", access.ScopeLabels, "team=orbit")
	s.grant(byAccount, "operator", access.ScopeAccount, account.ID.String())
	s.grant(byCluster, "operator", access.ScopeCluster, account.ID.String()+"/"+ref.ClusterID)
	if a, c, l := reads(byAccount), reads(byCluster), reads(byLabel); a != 2 || c != 2 || l != 3 {
		t.Errorf("read %d times by account, %d by cluster, %d by label; want 2, 2, 3", a, c, l)
	}
}

// TestAnUpdateMustNotLeaveOnesScope: authorised on the labels as they are and as they will be.
func TestAnUpdateMustNotLeaveOnesScope(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by := s.signedIn("sales")
	s.grant(by, "account-admin", access.ScopeLabels, "team=orbit") // grants:manage is not what is missing
	ref := s.labelled(account, "ours", map[string]string{"team": "orbit", "use": "demo"})
	u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string]string{"another value": "team=ads\nuse=demo", "taken away": "use=demo", "all taken away": " "} {
		form := ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"labels": labels}}
		before := s.updates()
		refused := labelForbidden(t, name, s.svc.UpdateCluster(t.Context(), by, ref, form), "write:clusters")
		if !strings.Contains(refused.Reason, "outside of what you may change") {
			t.Errorf("%s: the words are %q", name, refused.Reason)
		}
		_, err := s.svc.PlanClusterUpdate(t.Context(), by, ref, form)
		_ = labelForbidden(t, name+", compared", err, "write:clusters")
		if s.updates() != before {
			t.Errorf("%s: it was sent", name)
		}
	}
	if denied := s.deniedFor(ActClusterUpdate, 1); len(denied) != 1 || !strings.Contains(denied[0].Reason, "write:clusters") {
		t.Errorf("recorded %+v", denied)
	}
}

// TestLabelsThatRightsRestOnNeedGrantsManage: adding, changing and taking away such a label is giving or
// taking a right, so who may change the cluster may not for that alone.
func TestLabelsThatRightsRestOnNeedGrantsManage(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	operator, admin, other := s.signedIn("sales"), s.signedIn("marketing"), s.signedIn("finance")
	s.grant(operator, "operator", access.ScopeAccount, account.ID.String())
	s.grant(admin, "account-admin", access.ScopeAccount, account.ID.String())
	change := func(by audit.Actor, ref ClusterRef, labels string) error {
		u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
		if err != nil {
			t.Fatal(err)
		}
		err = s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"labels": labels}})
		if err == nil {
			s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
			s.snapshot()
		}
		return err
	}
	ref := s.labelled(account, "ours", map[string]string{"use": "demo"})
	if err := change(operator, ref, "team=orbit\nuse=demo"); err != nil {
		t.Fatalf("before any grant goes by it: %v", err)
	}
	grant := s.grant(other, "viewer", access.ScopeLabels, "team=orbit")
	before := s.updates()
	for name, labels := range map[string]string{"changed": "team=ads\nuse=demo", "taken away": "use=demo"} {
		refused := labelForbidden(t, name, change(operator, ref, labels), access.GrantsManage)
		if refused.Reason != "Rights rest on the label team, so changing it changes who may do what." || refused.Field != "labels" {
			t.Errorf("%s: the words are %q, at the field %q", name, refused.Reason, refused.Field)
		}
	}
	second := s.grant(other, "viewer", access.ScopeLabels, "use=demo")
	if refused := labelForbidden(t, "both", change(operator, ref, ""), access.GrantsManage); refused.Reason != "Rights rest on the labels team and use, so changing them changes who may do what." {
		t.Errorf("of two labels the words are %q", refused.Reason)
	}
	for by, want := range map[string][]string{operator.Subject: {"team", "use"}, admin.Subject: nil} {
		u, err := s.svc.AskClusterUpdate(t.Context(), map[bool]audit.Actor{true: operator, false: admin}[by == operator.Subject], ref)
		if err != nil || !slices.Equal(u.Closed, want) {
			t.Errorf("%s is told of %q, %v; want %q", by, u.Closed, err, want)
		}
	}
	s.exec(s.db.AppURL, `UPDATE grants SET ended_at = now() WHERE id = $1`, second)
	if err := s.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	bare := s.labelled(account, "bare", map[string]string{"use": "demo"})
	_ = labelForbidden(t, "added", change(operator, bare, "team=orbit"), access.GrantsManage)
	_ = labelForbidden(t, "added with a value that nobody's grant names", change(operator, bare, "team=nobody"), access.GrantsManage)
	if s.updates() != before {
		t.Error("a refused change was sent")
	}
	if denied := s.deniedFor(ActClusterUpdate, 2); len(denied) != 2 || denied[0].Reason != "needs grants:manage" {
		t.Errorf("recorded %+v", denied)
	}
	if err := change(operator, ref, "team=orbit\nuse=production"); err != nil {
		t.Errorf("a label beside it: %v", err)
	}
	if err := change(admin, ref, "team=ads"); err != nil {
		t.Errorf("with grants:manage: %v", err)
	}
	s.exec(s.db.AppURL, `UPDATE grants SET ended_at = now() WHERE id = $1`, grant)
	if err := s.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := change(operator, ref, "team=nobody"); err != nil {
		t.Errorf("after the last grant that goes by it has ended: %v", err)
	}
}

// TestLabelsGiveNoRightThatOneDoesNotHold: with grants:manage one can give only what one holds, through
// labels as through grants, and nothing to oneself.
func TestLabelsGiveNoRightThatOneDoesNotHold(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by, other := s.signedIn("sales"), s.signedIn("finance")
	role := labelRole(t, s.svc, access.ReadAccount, access.ReadClusters, access.WriteClusters, access.GrantsManage)
	s.grant(by, role, access.ScopeAccount, account.ID.String())
	s.grant(by, "operator", access.ScopeLabels, "owner=sales")
	s.grant(other, "viewer", access.ScopeLabels, "shown=yes")
	ref := s.labelled(account, "ours", nil)
	u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if err != nil {
		t.Fatal(err)
	}
	before := s.updates()
	for _, labels := range []string{"owner=sales", "shown=yes"} { // a viewer reads more than this role
		err := s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"labels": labels}})
		refused := labelForbidden(t, labels, err, "")
		if !strings.Contains(refused.Reason, "a right that you do not hold") {
			t.Errorf("%s: the words are %q", labels, refused.Reason)
		}
	}
	if s.updates() != before {
		t.Error("a refused change was sent")
	}
}

// TestMakingClustersByLabel: a label names no account, so it makes clusters only in accounts that the
// member can read otherwise, and only with the labels.
func TestMakingClustersByLabel(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by := s.signedIn("sales")
	s.grant(by, "operator", access.ScopeLabels, "team=orbit")
	if _, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("an account that they may not read: %v", err)
	}
	if list, err := s.svc.FillableAccounts(t.Context(), by); err != nil || len(list) != 0 {
		t.Errorf("offered are %v, %v", list, err)
	}
	s.grant(by, "viewer", access.ScopeAccount, account.ID.String())
	if list, err := s.svc.FillableAccounts(t.Context(), by); err != nil || len(list) != 1 || !list[0].Offer.Offered {
		t.Errorf("offered are %+v, %v", list, err)
	}
	asked := s.opened(by, account, "made-by-label")
	if asked.Labels != "team=orbit" {
		t.Errorf("the form begins with the labels %q", asked.Labels)
	}
	f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false)
	if err != nil || !slices.Contains(f.Notes, "You may make clusters in this account with these labels: team=orbit.") {
		t.Errorf("the form says %v, %v", f.Notes, err)
	}
	for _, labels := range []string{"", "team=ads", "tier=gold"} {
		wrong := asked
		wrong.Labels = labels
		_, err := s.svc.CreateCluster(t.Context(), by, account.ID, wrong)
		if refused := labelForbidden(t, "labels "+labels, err, "write:clusters"); !strings.Contains(refused.Reason, "team=orbit") {
			t.Errorf("the words are %q", refused.Reason)
		}
	}
	if n := s.named(account, "made-by-label"); n != 0 {
		t.Errorf("%d were made", n)
	}
	asked.Labels = "use=demo\nteam=orbit"
	made, err := s.svc.CreateCluster(t.Context(), by, account.ID, asked)
	if err != nil || made.ClusterID == "" {
		t.Fatalf("with the label: %+v, %v", made, err)
	}
	if err := s.svc.DeleteCluster(t.Context(), by, ClusterRef{AccountID: account.ID, ClusterID: made.ClusterID}, ClusterDeletion{Confirm: "made-by-label", DeleteBackups: new(bool)}); err != nil {
		t.Errorf("what they made is theirs: %v", err)
	}
	legacy := s.register(s.legacy(), "Old")
	s.grant(by, "viewer", access.ScopeAccount, legacy.ID.String())
	_, err = s.svc.AskClusterCreate(t.Context(), by, legacy.ID, NewCluster{}, false)
	_ = labelForbidden(t, "an API that sets no labels", err, "write:clusters")
}

// TestANewClusterTakesNoLabelOfOthers: a label that rights rest on may be given to a new cluster by who
// holds grants:manage there, or whose own right to make clusters asks for it.
func TestANewClusterTakesNoLabelOfOthers(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	operator, both, admin := s.signedIn("sales"), s.signedIn("marketing"), s.signedIn("legal")
	s.grant(operator, "operator", access.ScopeAccount, account.ID.String())
	s.grant(both, "operator", access.ScopeAccount, account.ID.String())
	s.grant(both, "operator", access.ScopeLabels, "team=orbit")
	s.grant(both, "viewer", access.ScopeLabels, "tier=gold")
	s.grant(admin, "account-admin", access.ScopeAccount, account.ID.String())
	for name, tt := range map[string]struct {
		by      audit.Actor
		labels  string
		missing string
	}{
		"no label that rights rest on":     {operator, "use=demo", ""},
		"a label of others":                {operator, "team=orbit", access.GrantsManage},
		"one's own label":                  {both, "team=orbit", ""},
		"one's own key with another value": {both, "team=ads", access.GrantsManage},
		"a label that one only reads by":   {both, "tier=gold", access.GrantsManage},
		"one's own and one that one reads": {both, "team=orbit\ntier=gold", access.GrantsManage},
		"any label, with grants:manage":    {admin, "team=orbit\ntier=gold", ""},
	} {
		asked := s.opened(tt.by, account, "made-by-label")
		asked.Labels = tt.labels
		_, err := s.svc.CreateCluster(t.Context(), tt.by, account.ID, asked)
		if tt.missing != "" {
			_ = labelForbidden(t, name, err, tt.missing)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDeletingBackupsIsARightOfItsOwn: who may delete clusters and not backups deletes the one without the
// other, by account, by cluster and by label.
func TestDeletingBackupsIsARightOfItsOwn(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	role := labelRole(t, s.svc, access.ReadClusters, access.DeleteClusters)
	withBackups := labelRole(t, s.svc, access.ReadClusters, access.DeleteClusters, access.DeleteBackups)
	by := s.signedIn("sales")
	s.grant(by, role, access.ScopeLabels, "team=orbit")
	s.grant(by, withBackups, access.ScopeLabels, "team=orbit,backups=ours")
	yes, no := true, false
	ref := s.labelled(account, "kept", labelOrbit)
	_, before := s.calls()
	d := ClusterDeletion{Confirm: "kept", DeleteBackups: &yes}
	_ = labelForbidden(t, "with the backups", s.svc.DeleteCluster(t.Context(), by, ref, d), access.DeleteBackups)
	if _, after := s.calls(); after != before {
		t.Error("upstream was asked to delete")
	}
	if denied := s.deniedFor(ActClusterDelete, 1); len(denied) != 1 || denied[0].Reason != "needs delete:backups" {
		t.Errorf("recorded %+v", denied)
	}
	if detail, err := s.svc.Cluster(t.Context(), by, ref); err != nil || detail.Backups.Offered || !detail.Offers["cluster.delete"].Offered {
		t.Errorf("offered: %+v, %v", detail.Backups, err)
	}
	d.DeleteBackups = &no
	if err := s.svc.DeleteCluster(t.Context(), by, ref, d); err != nil {
		t.Errorf("without the backups: %v", err)
	}
	// The right on the backups rests on a label that is not there any more.
	ref = s.labelled(account, "moved", map[string]string{"team": "orbit", "backups": "ours"})
	s.relabel(account, ref, labelOrbit)
	d = ClusterDeletion{Confirm: "moved", DeleteBackups: &yes}
	_ = labelForbidden(t, "with a label that was taken away", s.svc.DeleteCluster(t.Context(), by, ref, d), access.DeleteBackups)
	ref = s.labelled(account, "whole", map[string]string{"team": "orbit", "backups": "ours"})
	if err := s.svc.DeleteCluster(t.Context(), by, ref, ClusterDeletion{Confirm: "whole", DeleteBackups: &yes}); err != nil {
		t.Errorf("with both rights: %v", err)
	}
}

// TestAnAdminKeyIsDecidedOnFreshLabelsOfEachCluster: a key of several clusters needs the right on each,
// by cluster and by label, on labels read for it.
func TestAnAdminKeyIsDecidedOnFreshLabelsOfEachCluster(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	list := s.adminKeyed(account)
	i := slices.IndexFunc(list.Keys, func(k ClusterKey) bool { return k.Admin && len(k.Clusters) > 1 })
	key := list.Keys[i]
	first := ClusterRef{AccountID: account.ID, ClusterID: key.Clusters[0]}
	second := ClusterRef{AccountID: account.ID, ClusterID: key.Clusters[1]}
	byCluster, byLabel := s.signedIn("sales"), s.signedIn("marketing")
	s.grant(byCluster, "operator", access.ScopeCluster, account.ID.String()+"/"+first.ClusterID)
	s.grant(byLabel, "operator", access.ScopeLabels, "team=orbit")
	for _, id := range key.Clusters {
		s.relabel(account, ClusterRef{AccountID: account.ID, ClusterID: id}, labelOrbit)
	}
	s.snapshot()
	_, before := s.calls()
	err := s.svc.DeleteKey(t.Context(), byCluster, first, key.ID, key.Prefix)
	_ = labelForbidden(t, "by the one cluster only", err, access.DeleteAPIKeys)
	if row := rowOf(t, s.keys(byCluster, first), key.ID); row.Hidden != len(key.Clusters)-1 || len(row.Opens) != 1 {
		t.Errorf("the key shows %+v and %d more", row.Opens, row.Hidden)
	}
	s.relabel(account, second, map[string]string{"team": "ads"})
	err = s.svc.DeleteKey(t.Context(), byLabel, first, key.ID, key.Prefix)
	_ = labelForbidden(t, "with the label gone from the second", err, access.DeleteAPIKeys)
	if _, after := s.calls(); after != before {
		t.Error("upstream was asked to delete")
	}
	if denied := s.deniedFor(ActAdminKeyDelete, 2); len(denied) != 2 {
		t.Errorf("recorded %+v", denied)
	}
	s.relabel(account, second, labelOrbit)
	s.snapshot()
	if err := s.svc.DeleteKey(t.Context(), byLabel, first, key.ID, key.Prefix); err != nil {
		t.Errorf("with the label on each: %v", err)
	}
}

// TestEscapesAreNeverByClusterOrLabel: what hands out power past this console needs a whole account.
func TestEscapesAreNeverByClusterOrLabel(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	ref := s.labelled(account, "ours", labelOrbit)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	escape := Act{Name: "bootstrap.create", Needs: access.Needs(access.WriteClusters), TargetKind: KindCluster, Mutates: true, Escapes: true}
	tame := escape
	tame.Escapes = false
	for kind, tt := range map[access.ScopeKind]struct {
		scope string
		want  bool
	}{
		access.ScopeCluster: {account.ID.String() + "/" + ref.ClusterID, false}, access.ScopeLabels: {"team=orbit", false},
		access.ScopeAccount: {account.ID.String(), true}, access.ScopeEnvironment: {"staging", true}, access.ScopeEverything: {"", true},
	} {
		by := member("by " + string(kind))
		s.grant(by, "operator", kind, tt.scope)
		if err := s.svc.authorize(t.Context(), by, tame, known.on); err != nil {
			t.Errorf("%s: an act that does not escape is refused: %v", kind, err)
		}
		if err := s.svc.authorize(t.Context(), by, escape, known.on); (err == nil) != tt.want {
			t.Errorf("%s: %v, allowed should be %v", kind, err, tt.want)
		}
		if visible := s.svc.visible(by, escape); visible.Covers(known.on.access()) != tt.want || len(visible.Clusters)+len(visible.Labels) > 0 {
			t.Errorf("%s: a list of it would show %+v", kind, visible)
		}
		if reason := s.svc.notOffered(by, escape, known.on, cloudapi.PhaseHealthy, account.Key); (reason == "") != tt.want {
			t.Errorf("%s: offered with the reason %q", kind, reason)
		}
	}
}

// TestLabelsAreReadInOneWay: lists and decisions read the same labels, and a key that stands there twice
// with different values counts for nobody.
func TestLabelsAreReadInOneWay(t *testing.T) {
	c := cloudapi.Cluster{Labels: []cloudapi.Label{{Key: "team", Value: "orbit"}, {Key: "tier", Value: "gold"}, {Key: "team", Value: "ads"}, {Key: "tier", Value: "gold"}}}
	want := map[string]string{"tier": "gold"}
	if diff := cmp.Diff(want, labelsOf(c.Labels)); diff != "" {
		t.Errorf("decisions (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, snapshotOf(c, nodeSize{}).labels); diff != "" {
		t.Errorf("lists (-want +got)\n%s", diff)
	}
}

// TestCountsTellNothingOfOthers: who reads an account and not its clusters learns not how many there are.
func TestCountsTellNothingOfOthers(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	s.labelled(account, "ours", labelOrbit)
	by := s.signedIn("sales")
	s.grant(by, labelRole(t, s.svc, access.ReadAccount), access.ScopeAccount, account.ID.String())
	count := func() []int {
		list, err := s.svc.List(t.Context(), by)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		page, err := s.svc.AccountsPage(t.Context(), by, AccountsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		detail, err := s.svc.Account(t.Context(), by, account.ID)
		if err != nil {
			t.Fatal(err)
		}
		return []int{list[0].Clusters, page.Accounts[0].Clusters, detail.Clusters, len(detail.Snapshot)}
	}
	if diff := cmp.Diff([]int{0, 0, 0, 0}, count()); diff != "" {
		t.Errorf("without any cluster (-want +got)\n%s", diff)
	}
	s.grant(by, "viewer", access.ScopeLabels, "team=orbit")
	if diff := cmp.Diff([]int{1, 1, 1, 0}, count()); diff != "" {
		t.Errorf("with one by label (-want +got)\n%s", diff)
	}
}
