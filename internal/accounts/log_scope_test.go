package accounts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// logScopeStage is a console with two accounts in two environments, in which the same has been done, and a member
// "scoped" whose rights the test sets.
type logScopeStage struct {
	*stage
	mine, theirs    Account
	myOne, theirOne ClusterRef
	scoped          audit.Actor
	canaries        []string // of the other account: names and ids that must not be told
}

func newLogScopeStage(t *testing.T) *logScopeStage {
	s := &logScopeStage{stage: newStage(t)}
	fixtures := s.sandbox.Fixtures()
	var current []int
	for i, f := range fixtures {
		if f.Generation == "current" {
			current = append(current, i)
		}
	}
	if len(current) < 2 {
		t.Fatal("the sandbox has not two accounts of the current API")
	}
	s.mine = s.register(fixtures[current[0]], "Mine")
	s.theirs = s.register(fixtures[current[1]], "Theirs canary")
	s.moveQuietly(s.theirs.ID, Production)
	for _, ref := range []*ClusterRef{&s.myOne, &s.theirOne} {
		account := s.mine.ID
		if ref == &s.theirOne {
			account = s.theirs.ID
		}
		*ref = s.inPhase(account, cloudapi.PhaseHealthy)
		if err := s.svc.RestartCluster(t.Context(), member("admins"), *ref); err != nil {
			t.Fatal(err)
		}
	}
	s.scoped = member("scoped")
	s.canaries = []string{"Theirs canary", s.theirs.ID.String(), s.theirOne.ClusterID, s.nameOf(s.theirOne)}
	return s
}

// grant gives the scoped member permissions within a scope, and nothing else.
func (s *logScopeStage) grant(scope access.Scope, permissions ...string) {
	s.t.Helper()
	s.scopedTo(s.scoped, scope, permissions...)
}

// logScopes are the scopes that hold the first account or its cluster, and not the second.
func (s *logScopeStage) logScopes() map[string]access.Scope {
	return map[string]access.Scope{
		"account":     {Accounts: []uuid.UUID{s.mine.ID}},
		"environment": {Environments: []string{"staging"}},
		"cluster":     {Clusters: []access.ClusterRef{access.ClusterRef(s.myOne)}},
	}
}

// TestLogScopeByLabels: labels show the events of the clusters that have them now, and of no other.
func TestLogScopeByLabels(t *testing.T) {
	s := newLogScopeStage(t)
	selector, err := access.ParseSelector("canary-team=mine")
	if err != nil {
		t.Fatal(err)
	}
	s.grant(access.Scope{Labels: []access.Selector{selector}}, access.AuditRead, access.AuditExport)
	if page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{}); err != nil || len(page.Operations) != 0 {
		t.Errorf("labels that nothing has show %d operations, %v", len(page.Operations), err)
	}
	s.exec(s.db.OwnerURL, `UPDATE clusters SET labels = '{"canary-team": "mine"}' WHERE account_id = $1 AND cluster_id = $2`, s.myOne.AccountID, s.myOne.ClusterID)
	page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{})
	if err != nil || len(page.Operations) != 1 || page.Operations[0].Target.ID != s.myOne.ClusterID {
		t.Errorf("%+v, %v", page.Operations, err)
	}
	s.tellsNothing("labels", page)
	if reach, err := s.svc.LogReach(t.Context(), s.scoped); err != nil || reach.Whole || len(reach.Accounts) != 1 || reach.Accounts[0].Name != "Mine" {
		t.Errorf("%+v, %v", reach, err)
	}
}

// TestLogScopeTellsNothingOfOthers: the list, searches for what only others have, single events, what filters offer and an
// export hold events of the scope and nothing of others, and each has something of its own.
func TestLogScopeTellsNothingOfOthers(t *testing.T) {
	s := newLogScopeStage(t)
	all := s.events()
	for name, scope := range s.logScopes() {
		s.grant(scope, access.AuditRead, access.AuditExport)
		page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{Limit: 500})
		if err != nil || len(page.Operations) == 0 || page.Next != 0 {
			t.Fatalf("%s: %d operations, %v", name, len(page.Operations), err)
		}
		s.tellsNothing(name, page)
		for _, o := range page.Operations {
			if o.Account.ID != s.mine.ID.String() {
				t.Errorf("%s lists %+v", name, o.Event)
			}
		}
		for _, text := range append([]string{"session", "config"}, s.canaries...) {
			page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{Text: text, Part: &audit.Part{Accounts: []string{s.theirs.ID.String()}}})
			if err != nil || len(page.Operations) != 0 || page.Next != 0 {
				t.Errorf("%s finds %d operations with %q, %v", name, len(page.Operations), text, err)
			}
		}
		for _, q := range []audit.Query{{Account: s.theirs.ID.String()}, {TargetKind: KindCluster, TargetID: s.theirOne.ClusterID}, {After: 1 << 40, Account: s.theirs.ID.String()}} {
			if page, err := s.svc.SearchLog(t.Context(), s.scoped, q); err != nil || len(page.Operations) != 0 {
				t.Errorf("%s: %+v finds %+v, %v", name, q, page.Operations, err)
			}
		}
		if page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{Text: s.myOne.ClusterID}); err != nil || len(page.Operations) == 0 {
			t.Errorf("%s does not find its own cluster: %v", name, err)
		}
		var read, refused int
		for seq := range int64(len(all) + 20) {
			d, err := s.svc.LogEvent(t.Context(), s.scoped, seq)
			hidden := err == ErrNotFound //nolint:errorlint // the very same for what exists and what does not
			switch {
			case hidden:
				refused++
			case err == nil:
				read++
				s.tellsNothing(name, d)
			default:
				t.Errorf("%s: event %d: %v", name, seq, err)
			}
		}
		if read == 0 || refused <= 20 {
			t.Errorf("%s: %d events are told, %d are not", name, read, refused)
		}
		reach, err := s.svc.LogReach(t.Context(), s.scoped)
		if err != nil || reach.Whole || reach.Export.Whole || !reach.Export.Offered || len(reach.Accounts) != 1 || reach.Accounts[0].Name != "Mine" {
			t.Errorf("%s reaches %+v, %v", name, reach, err)
		}
		if acts := reach.Acts(); slices.Contains(acts, "session.login") || !slices.Contains(acts, "cluster.restart") {
			t.Errorf("%s is offered the acts %v", name, acts)
		}
		for _, format := range audit.Formats() {
			var out bytes.Buffer
			if err := s.svc.ExportLog(t.Context(), s.scoped, audit.Query{}, format, &out); err != nil {
				t.Fatal(name, err)
			}
			s.tellsNothing(name, out.String())
			if !strings.Contains(out.String(), s.myOne.ClusterID) || !strings.Contains(out.String(), "part of the log") {
				t.Errorf("%s as %s does not hold its own or does not say that it is a part:\n%s", name, format, out.String())
			}
		}
		if _, err := s.svc.VerifyLog(t.Context(), s.scoped); !isForbidden(err) {
			t.Errorf("%s may have the whole log checked: %v", name, err)
		}
	}
	// What was asked is on record, with what part of the log was taken away.
	exports := s.eventsOf(ActAuditExport)
	if len(exports) != 6 || !strings.Contains(fmt.Sprint(exports[0].Change["scope"][1]), s.mine.ID.String()) {
		t.Errorf("exports on record: %+v", exports)
	}
}

func isForbidden(err error) bool {
	_, ok := errors.AsType[*ForbiddenError](err)
	return ok
}

// tellsNothing fails the test when a canary of the other account is in the value.
func (s *logScopeStage) tellsNothing(label string, value any) {
	s.t.Helper()
	text, ok := value.(string)
	if !ok {
		encoded, err := json.Marshal(value)
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(encoded) + fmt.Sprintf("%+v", value)
	}
	for _, canary := range s.canaries {
		if strings.Contains(text, canary) {
			s.t.Errorf("%s tells %q", label, canary)
		}
	}
}

// TestLogScopeHoldsGrantsOfTheAccount: who was given a right on an account, or on something in it, stands in its part of the
// log, and can be asked for there; a right by environment is of no account.
func TestLogScopeHoldsGrantsOfTheAccount(t *testing.T) {
	s := newLogScopeStage(t)
	for kind, scope := range map[access.ScopeKind]string{
		access.ScopeAccount: s.mine.ID.String(), access.ScopeCluster: s.mine.ID.String() + "/" + s.myOne.ClusterID, access.ScopeEnvironment: "staging",
	} {
		n := NewGrant{SubjectKind: SubjectGroup, Subject: "some", Role: "viewer", ScopeKind: string(kind), Scope: scope, Reason: "because"}
		if _, err := s.svc.CreateGrant(t.Context(), member("admins"), n); err != nil {
			t.Fatal(err)
		}
	}
	s.grant(access.Scope{Accounts: []uuid.UUID{s.mine.ID}}, access.AuditRead)
	reach, err := s.svc.LogReach(t.Context(), s.scoped)
	if err != nil || !slices.Contains(reach.Acts(), ActGrantCreate.Name) {
		t.Errorf("the filter offers %v, %v", reach.Acts(), err)
	}
	page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{Act: ActGrantCreate.Name})
	if err != nil || len(page.Operations) != 2 {
		t.Errorf("%d grants are shown, %v", len(page.Operations), err)
	}
}

// TestLogScopeOfRemovedAccount: who holds the account by its id still sees what was done in it; an environment is
// what accounts are of now.
func TestLogScopeOfRemovedAccount(t *testing.T) {
	s := newLogScopeStage(t)
	if err := s.svc.Remove(t.Context(), member("admins"), s.mine.ID, AccountRemoval{Confirm: "Mine"}); err != nil {
		t.Fatal(err)
	}
	s.grant(access.Scope{Accounts: []uuid.UUID{s.mine.ID}}, access.AuditRead)
	page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{})
	if err != nil || len(page.Operations) < 3 || page.Operations[0].Act != "account.delete" {
		t.Errorf("%d operations, %v", len(page.Operations), err)
	}
	s.grant(access.Scope{Environments: []string{"staging"}}, access.AuditRead)
	if page, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{}); err != nil || len(page.Operations) != 0 {
		t.Errorf("by environment: %d operations, %v", len(page.Operations), err)
	}
}

// TestLogScopeThatIsNotUnderstood: a scope that has no place in the log shows nothing and not everything.
func TestLogScopeThatIsNotUnderstood(t *testing.T) {
	s := newLogScopeStage(t)
	selector, err := access.ParseSelector("team=search")
	if err != nil {
		t.Fatal(err)
	}
	if part := logPart(access.Scope{Labels: []access.Selector{selector}}); part == nil || len(part.Accounts)+len(part.Clusters) != 0 {
		t.Errorf("%+v", part)
	}
	if _, err := s.svc.SearchLog(t.Context(), s.scoped, audit.Query{}); !isForbidden(err) {
		t.Errorf("without any right: %v", err)
	}
}

// TestLogScopeRefusalsAreRecorded: whether an event is hidden or there is none, the refusal on record is the same.
func TestLogScopeRefusalsAreRecorded(t *testing.T) {
	s := newLogScopeStage(t)
	s.grant(access.Scope{Accounts: []uuid.UUID{s.mine.ID}}, access.AuditRead)
	hidden := int64(0)
	for i, e := range s.events() {
		if e.Account.ID == s.theirs.ID.String() {
			hidden = int64(i + 1)
		}
	}
	for _, seq := range []int64{hidden, 1 << 40} {
		if _, err := s.svc.LogEvent(t.Context(), s.scoped, seq); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	s.eventually("one refusal on record", func() bool { return len(s.eventsOf(ActAuditRead)) == 1 })
	if e := s.eventsOf(ActAuditRead)[0]; e.Outcome != audit.Denied || e.Target.ID != "" {
		t.Errorf("%+v", e)
	}
}

// logScopeGate is a reader of an export that stops at its first piece until it is let go on.
type logScopeGate struct {
	got     bytes.Buffer
	first   chan struct{}
	release chan struct{}
}

func (g *logScopeGate) Write(p []byte) (int, error) {
	if g.got.Len() == 0 {
		close(g.first)
		<-g.release
	}
	return g.got.Write(p)
}

// TestLogScopeExportEndsWithItsRight: when the right, a part of it or the session ends while the file goes out, no
// further piece does, and the export is an error and has no last line.
func TestLogScopeExportEndsWithItsRight(t *testing.T) {
	s := newLogScopeStage(t)
	var bodies [][]byte
	for range 500 {
		bodies = append(bodies, audit.Encode(audit.Event{
			ID: uuid.Must(uuid.NewV7()), Act: "test.many", Phase: audit.PhaseSingle, Outcome: audit.OK, Reason: strings.Repeat("x", 1000), Account: audit.Ref{ID: s.mine.ID.String()},
		}))
	}
	if _, err := s.db.Pool.Exec(t.Context(), `SELECT audit.append($1)`, bodies); err != nil {
		t.Fatal(err)
	}
	scopes := s.logScopes()
	for name, tt := range map[string]struct {
		scope access.Scope
		ends  func(session Session)
		want  func(error) bool
	}{
		"nothing ends":                     {scopes["account"], func(Session) {}, nil},
		"the right":                        {scopes["account"], func(Session) { s.grant(access.Scope{}) }, isForbidden},
		"the right to export, not to read": {scopes["account"], func(Session) { s.grant(scopes["account"], access.AuditRead) }, isForbidden},
		"everything gives way to an account": {access.Scope{Everything: true}, func(Session) { s.grant(scopes["account"], access.AuditRead, access.AuditExport) },
			isForbidden},
		"one of two accounts":            {access.Scope{Accounts: []uuid.UUID{s.mine.ID, s.theirs.ID}}, func(Session) { s.grant(scopes["account"], access.AuditExport) }, isForbidden},
		"an account grows to everything": {scopes["account"], func(Session) { s.grant(access.Scope{Everything: true}, access.AuditExport) }, nil},
		"the account leaves the environment": {scopes["environment"], func(Session) {
			s.moveQuietly(s.mine.ID, Development)
		}, isForbidden},
		"the session": {scopes["account"], func(session Session) {
			if err := s.svc.EndSession(t.Context(), s.scoped, session.ID); err != nil {
				t.Error(err)
			}
		}, func(err error) bool { return errors.Is(err, ErrNoSession) }},
		"the session's time": {scopes["account"], func(Session) { s.clock.at = s.clock.at.Add(2 * time.Hour) }, func(err error) bool { return errors.Is(err, ErrNoSession) }},
	} {
		for _, format := range audit.Formats() {
			s.moveQuietly(s.mine.ID, Staging)
			s.grant(tt.scope, access.AuditRead, access.AuditExport)
			signedIn := s.svc.now() // exports ask for a fresh sign-in
			token, err := s.svc.SignIn(t.Context(), audit.Actor{Via: audit.ViaBrowser}, Identity{Issuer: s.scoped.Issuer, Subject: s.scoped.Subject, AuthTime: &signedIn})
			if err != nil {
				t.Fatal(err)
			}
			session, by, err := s.svc.Authenticate(t.Context(), audit.Actor{}, token)
			if err != nil {
				t.Fatal(err)
			}
			s.svc.recheck = 0
			gate := &logScopeGate{first: make(chan struct{}), release: make(chan struct{})}
			ended := make(chan error, 1)
			go func() { ended <- s.svc.ExportLog(t.Context(), by, audit.Query{}, format, gate) }()
			select {
			case <-gate.first:
			case err := <-ended:
				t.Fatalf("%s as %s: nothing went out: %v", name, format, err)
			}
			tt.ends(session)
			close(gate.release)
			err = <-ended
			whole := strings.Contains(gate.got.String(), `"end":true`) || format == audit.CSV && strings.HasSuffix(gate.got.String(), "\r\n")
			switch {
			case tt.want == nil && (err != nil || !whole):
				t.Errorf("%s as %s: %v, whole %v", name, format, err, whole)
			case tt.want != nil && (!tt.want(err) || gate.got.Len() > 64<<10):
				t.Errorf("%s as %s: %v after %d bytes", name, format, err, gate.got.Len())
			}
		}
	}
}

// TestLogScopeRightIsAskedForEverySecond: between two questions pieces go out without one.
func TestLogScopeRightIsAskedForEverySecond(t *testing.T) {
	s := newLogScopeStage(t)
	if s.svc.recheck > time.Second {
		t.Errorf("the right is asked for every %v", s.svc.recheck)
	}
	s.grant(access.Scope{Everything: true}, access.AuditExport)
	w := s.svc.watch(s.scoped, ActAuditExport, nil)
	s.grant(access.Scope{})
	if err := w.check(t.Context()); err != nil {
		t.Errorf("at once: %v", err)
	}
	w.asked = w.asked.Add(-time.Second)
	if err := w.check(t.Context()); err == nil {
		t.Error("after a second it still holds")
	}
}
