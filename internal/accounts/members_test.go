package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// membersAdmin is an identity of the admins' group whose sign-in at the provider is as fresh as their session: a time that
// is ahead counts as the session's beginning.
func membersAdmin(name string) Identity {
	id := vera()
	id.Subject, id.Name, id.Email, id.Groups = "sub-"+name, name, name+"@example.test", []string{"admins"}
	at := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	id.AuthTime = &at
	return id
}

// blockFor is a block of the member that is confirmed rightly.
func blockFor(id Identity) MemberBlock {
	return MemberBlock{Reason: "Left the team.", Confirm: id.Email}
}

func (r *rig) blocks(t *testing.T, by audit.Actor, id Identity) int {
	t.Helper()
	ended, err := r.svc.Block(t.Context(), by, id.Issuer, id.Subject, blockFor(id))
	if err != nil {
		t.Fatal(err)
	}
	return ended
}

// grantTo stores a grant to a member as the console would.
func (r *rig) grantTo(t *testing.T, subject, role string, kind access.ScopeKind, scope string, expires *time.Time) {
	t.Helper()
	row := grantRow{
		ID: uuid.Must(uuid.NewV7()), SubjectKind: SubjectMember, Issuer: "https://idp.example.test", Subject: subject, Role: role, ScopeKind: string(kind),
		Scope: scope, ExpiresAt: expires, Reason: "test", CreatedAt: r.clock.now, GrantedBy: "Ada",
	}
	r.exec(t, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.ExpiresAt, row.Reason, row.BoundFrom,
		row.CreatedAt, row.GrantedBy, row.GrantedByIssuer, row.GrantedBySubject, r.svc.cfg.Vault.MAC(row.place(), row.says()))
}

func TestMembersBlockIsRecordedWithTheSessionsItEnds(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	_, first := signIn(t, r, vera())
	_, second := signIn(t, r, vera())
	if ended := r.blocks(t, ada, vera()); ended != 2 {
		t.Errorf("%d sessions ended, want 2", ended)
	}
	marks := []any{first.Session, second.Session}
	slices.SortFunc(marks, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	events := r.events(t, "member.block")
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	standing := value[string](t, r, `SELECT id::text FROM member_standings`)
	want := audit.Event{
		Act: "member.block", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: ada, Target: audit.Target{Kind: "member", ID: "sub-vera", Name: "Vera Viewer"},
		Change: audit.Change{
			"issuer": {"https://idp.example.test", "https://idp.example.test"}, "standing_id": {nil, standing}, "version": {0.0, 1.0}, "blocked": {false, true},
			"reason": {nil, "Left the team."}, "sessions_ended": {nil, 2.0}, "sessions": {marks, nil},
		},
	}
	plainNumbers(events)
	if diff := cmp.Diff(want, events[0], plainEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE subject = 'sub-vera' AND end_reason = 'blocked' AND ended_at IS NOT NULL AND id_token_sealed IS NULL`); n != 2 {
		t.Errorf("%d sessions ended as blocked, want 2", n)
	}
}

// TestMembersBlockActsAtTheNextRequest is on two replicas, each with what it has read of rights before.
func TestMembersBlockActsAtTheNextRequest(t *testing.T) {
	r := newRig(t)
	other := r.replica(t, nil)
	_, ada := signIn(t, r, membersAdmin("ada"))
	token, _ := signIn(t, r, vera())
	for _, s := range []*Service{r.svc, other} {
		if _, _, err := s.Authenticate(t.Context(), browser(), token); err != nil {
			t.Fatal(err)
		}
	}
	r.blocks(t, ada, vera())
	for _, s := range []*Service{other, r.svc} {
		wantNoSession(t, s, token)
	}
	if _, err := other.SignIn(t.Context(), browser(), vera()); !errors.Is(err, ErrBlocked) {
		t.Errorf("a blocked member signs in: %v", err)
	}
	if err := r.svc.Unblock(t.Context(), ada, vera().Issuer, vera().Subject, "Came back."); err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, other, token)
	if _, err := other.SignIn(t.Context(), browser(), vera()); err != nil {
		t.Errorf("an unblocked member cannot sign in: %v", err)
	}
}

// TestMembersRightThatEndsActsAtTheNextRequest ends a grant and lets another one run out, and asks on another replica.
func TestMembersRightThatEndsActsAtTheNextRequest(t *testing.T) {
	r := newRig(t)
	other := r.replica(t, nil)
	id := vera()
	id.Groups = nil
	token, _ := signIn(t, r, id)
	account, _ := r.account(t, "one", Production)
	until := r.clock.now.Add(time.Minute)
	r.grantTo(t, id.Subject, "viewer", access.ScopeAccount, account.String(), nil)
	r.grantTo(t, id.Subject, "operator", access.ScopeAccount, account.String(), &until)
	may := func(permission string) bool {
		t.Helper()
		_, by, err := other.Authenticate(t.Context(), browser(), token)
		if err != nil {
			t.Fatal(err)
		}
		return other.rights(by).Allows(access.Needs(permission), access.Target{AccountID: account})
	}
	if !may(access.ReadClusters) || !may(access.WriteClusters) {
		t.Fatal("the grants do not count")
	}
	r.clock.advance(time.Minute)
	if may(access.WriteClusters) || !may(access.ReadClusters) {
		t.Error("a grant counts after its end, or the other one does not")
	}
	r.exec(t, `UPDATE grants SET ended_at = now() WHERE role = 'viewer'`)
	if may(access.ReadClusters) {
		t.Error("a grant counts after it was taken back")
	}
}

// TestMembersBlockOfOneWhoseRightEndsMeanwhile: what decides is the rights at the moment of the block, not those when it
// was asked for.
func TestMembersBlockOfOneWhoseRightEndsMeanwhile(t *testing.T) {
	r := newRig(t)
	signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	granted := membersAdmin("rita")
	granted.Groups = nil
	r.grantTo(t, granted.Subject, "platform-admin", access.ScopeEverything, "", nil)
	_, rita := signIn(t, r, granted)
	ending, err := r.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ending.Rollback(context.Background()) }()
	if _, err := ending.Exec(t.Context(), `UPDATE grants SET ended_at = now() WHERE subject = $1`, granted.Subject); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := r.svc.Block(context.Background(), rita, vera().Issuer, vera().Subject, blockFor(vera()))
		answered <- err
	}()
	for began := time.Now(); value[int](t, r, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the block does not wait for the change of rights before it")
		}
	}
	if err := ending.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; !isForbidden(err) {
		t.Errorf("somebody without the right blocked a member: %v", err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM member_standings`); n != 0 {
		t.Errorf("%d standings were written", n)
	}
}

func TestMembersUnblockIsRecorded(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	if err := r.svc.Unblock(t.Context(), ada, vera().Issuer, vera().Subject, ""); err != nil {
		t.Fatal(err)
	}
	if n := len(r.events(t, "member.unblock")); n != 0 {
		t.Fatalf("unblocking who is not blocked left %d events", n)
	}
	r.blocks(t, ada, vera())
	if r.blocks(t, ada, vera()) != 0 || len(r.events(t, "member.block")) != 1 {
		t.Error("blocking twice did something twice")
	}
	if err := r.svc.Unblock(t.Context(), ada, vera().Issuer, vera().Subject, "A mistake."); err != nil {
		t.Fatal(err)
	}
	events := r.events(t, "member.unblock")
	plainNumbers(events)
	want := []audit.Event{{
		Act: "member.unblock", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: ada, Target: audit.Target{Kind: "member", ID: "sub-vera", Name: "Vera Viewer"},
		Change: audit.Change{
			"issuer": {vera().Issuer, vera().Issuer}, "standing_id": {nil, value[string](t, r, `SELECT id::text FROM member_standings WHERE version = 2`)},
			"version": {1.0, 2.0}, "blocked": {true, false}, "reason": {nil, "A mistake."},
		},
	}}
	if diff := cmp.Diff(want, events, plainEvent()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// membersWithoutLog takes from the console the right to write to the log.
func membersWithoutLog(t *testing.T, r *rig) {
	t.Helper()
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.WithoutCancel(t.Context())) }()
	if _, err := owner.Exec(t.Context(), `REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA audit FROM quartermaster_app, PUBLIC`); err != nil {
		t.Fatal(err)
	}
}

func TestMembersNothingIsBlockedWithoutItsEvent(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	token, _ := signIn(t, r, vera())
	membersWithoutLog(t, r)
	if _, err := r.svc.Block(t.Context(), ada, vera().Issuer, vera().Subject, blockFor(vera())); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("Block: %v, want ErrAuditUnavailable", err)
	}
	if _, err := r.svc.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("EndMemberSessions: %v, want ErrAuditUnavailable", err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM member_standings`); n != 0 {
		t.Errorf("%d rows say who is blocked", n)
	}
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

func TestMembersWhoCannotBeBlocked(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	r.grantTo(t, "sub-mona", "platform-admin", access.ScopeEverything, "", nil)
	mona := membersAdmin("mona")
	mona.Groups = nil
	_, byMona := signIn(t, r, mona)
	conflict := func(by audit.Actor, id Identity, reason string) {
		t.Helper()
		_, err := r.svc.Block(t.Context(), by, id.Issuer, id.Subject, blockFor(id))
		if refused, ok := errors.AsType[*ConflictError](err); !ok || refused.Reason != reason {
			t.Errorf("blocking %s: %v, want %q", id.Name, err, reason)
		}
	}
	conflict(ada, membersAdmin("ada"), notOneself)
	r.blocks(t, byMona, membersAdmin("ada"))
	// Ada's request had begun before she was blocked, and is decided now.
	r.svc.keeper.book.Store(&rightsBook{})
	if _, err := r.svc.Block(t.Context(), ada, mona.Issuer, mona.Subject, blockFor(mona)); !isForbidden(err) {
		t.Errorf("blocked by somebody who is blocked: %v", err)
	}
	denied := 0
	for _, e := range r.events(t, "member.block") {
		if e.Outcome == audit.Denied {
			denied++
		}
	}
	if denied != 2 {
		t.Errorf("%d refusals are on record, want 2", denied)
	}
}

// TestMembersLastAdminsBlockEachOther lets two admins block each other at the same moment: one of them is left.
func TestMembersLastAdminsBlockEachOther(t *testing.T) {
	r := newRig(t)
	one, two := membersAdmin("one"), membersAdmin("two")
	_, byOne := signIn(t, r, one)
	_, byTwo := signIn(t, r, two)
	done := make(chan error, 2)
	for _, act := range []struct {
		by audit.Actor
		id Identity
	}{{byOne, two}, {byTwo, one}} {
		go func() {
			_, err := r.replica(t, nil).Block(t.Context(), act.by, act.id.Issuer, act.id.Subject, blockFor(act.id))
			done <- err
		}()
	}
	failed := 0
	for range 2 {
		if err := <-done; err != nil {
			failed++
			if !isForbidden(err) {
				t.Error(err)
			}
		}
	}
	if blocked := value[int](t, r, `SELECT count(*) FROM member_standings WHERE blocked`); failed != 1 || blocked != 1 {
		t.Errorf("%d were refused and %d are blocked, want one each", failed, blocked)
	}
}

// TestMembersAdminsWhoDoNotCount: who is blocked, whose grant has run out or whose address is not verified is no admin left.
func TestMembersAdminsWhoDoNotCount(t *testing.T) {
	r := newRig(t)
	r.svc = r.replica(t, func(c *Config) { c.Rights.AdminEmails = []string{"claims@example.test"} })
	admin, claims, late := membersAdmin("ada"), membersAdmin("claims"), membersAdmin("late")
	claims.Groups, claims.EmailVerified, late.Groups = nil, false, nil
	signIn(t, r, admin)
	signIn(t, r, claims)
	signIn(t, r, late)
	soon := r.clock.now.Add(time.Minute)
	r.grantTo(t, late.Subject, "platform-admin", access.ScopeEverything, "", &soon)
	r.clock.advance(2 * time.Minute)
	account, _ := r.account(t, "one", Production)
	r.grantTo(t, claims.Subject, "platform-admin", access.ScopeAccount, account.String(), nil)
	mona := membersAdmin("mona")
	mona.Groups = nil
	r.roleFor(t, mona.Subject, access.MembersManage)
	_, by := signIn(t, r, mona)
	_, err := r.svc.Block(t.Context(), by, admin.Issuer, admin.Subject, blockFor(admin))
	if refused, ok := errors.AsType[*ConflictError](err); !ok || !strings.Contains(refused.Reason, "No person would be left") {
		t.Errorf("the last admin was blocked: %v", err)
	}
	r.blocks(t, by, late) // no admin, so nothing is lost
}

// roleFor grants a member a role of the team's own everywhere.
func (r *rig) roleFor(t *testing.T, subject string, permissions ...string) {
	t.Helper()
	row := roleRow{ID: uuid.Must(uuid.NewV7()), Version: 1, Name: "people", Permissions: permissions, WrittenAt: r.clock.now}
	r.exec(t, `INSERT INTO roles (`+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, row.ID, row.Version, row.Name, row.Description,
		row.Permissions, row.Deleted, row.WrittenAt, row.WrittenBy, row.WrittenByIssuer, row.WrittenBySubject, r.svc.cfg.Vault.MAC(row.place(), row.says()))
	r.grantTo(t, subject, row.ID.String(), access.ScopeEverything, "", nil)
}

func TestMembersBlockNeedsReasonAndConfirmation(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	for name, test := range map[string]struct {
		block MemberBlock
		want  []string
	}{
		"nothing":      {MemberBlock{}, []string{"confirm", "reason"}},
		"spaces":       {MemberBlock{Reason: " \n ", Confirm: vera().Email}, []string{"reason"}},
		"too long":     {MemberBlock{Reason: strings.Repeat("ü", 501), Confirm: vera().Email}, []string{"reason"}},
		"control":      {MemberBlock{Reason: "a\x1b[31m", Confirm: vera().Email}, []string{"reason"}},
		"NUL":          {MemberBlock{Reason: "a\x00b", Confirm: vera().Email}, []string{"reason"}},
		"no text":      {MemberBlock{Reason: "a\xff", Confirm: vera().Email}, []string{"reason"}},
		"another name": {MemberBlock{Reason: "x", Confirm: "ada@example.test"}, []string{"confirm"}},
	} {
		_, err := r.svc.Block(t.Context(), ada, vera().Issuer, vera().Subject, test.block)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fields []string
		for f := range invalid.Fields {
			fields = append(fields, f)
		}
		slices.Sort(fields)
		if !slices.Equal(fields, test.want) {
			t.Errorf("%s: wrong are %v, want %v", name, fields, test.want)
		}
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NULL`); n != 2 {
		t.Errorf("%d sessions are live, want 2: a block that was refused ended some", n)
	}
	exact := strings.Repeat("ü", 500)
	if _, err := r.svc.Block(t.Context(), ada, vera().Issuer, vera().Subject, MemberBlock{Reason: exact, Confirm: " vera@example.test "}); err != nil {
		t.Errorf("500 characters and spaces around the confirmation: %v", err)
	}
}

// TestMembersAreForWhoMaySeeThem: everybody else is refused alike, whether the member exists or not.
func TestMembersAreForWhoMaySeeThem(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	signIn(t, r, membersAdmin("ada"))
	account, _ := r.account(t, "one", Production)
	r.grantTo(t, by.Subject, "platform-admin", access.ScopeAccount, account.String(), nil) // not everywhere
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), "x"); !errors.Is(err, ErrNoSession) {
		t.Fatal(err)
	}
	if err := r.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, ctx := r.svc, t.Context()
	acts := map[string]func(subject, id string) error{
		"list": func(string, string) error { _, err := s.Members(ctx, by, MemberQuery{}); return err },
		"page": func(subject, _ string) error { _, err := s.Member(ctx, by, vera().Issuer, subject); return err },
		"keys": func(subject, _ string) error { _, err := s.MemberKeys(ctx, by, vera().Issuer, subject); return err },
		"named": func(_, id string) error {
			_, _, err := s.MemberNamed(ctx, by, ActMemberRead, id)
			return err
		},
		"ask": func(_, id string) error { _, err := s.AskMember(ctx, by, ActMemberBlock, id); return err },
		"block": func(subject, _ string) error {
			_, err := s.Block(ctx, by, vera().Issuer, subject, MemberBlock{Reason: "x", Confirm: subject})
			return err
		},
		"unblock": func(subject, _ string) error { return s.Unblock(ctx, by, vera().Issuer, subject, "") },
		"sessions": func(subject, _ string) error {
			_, err := s.EndMemberSessions(ctx, by, vera().Issuer, subject)
			return err
		},
	}
	for name, act := range acts {
		for _, subject := range []string{"sub-ada", "sub-nobody"} {
			err := act(subject, s.MemberID(vera().Issuer, subject))
			if refused, ok := errors.AsType[*ForbiddenError](err); !ok || refused.Missing != access.MembersManage {
				t.Errorf("%s of %s: %v", name, subject, err)
			}
		}
	}
	for _, act := range []string{"member.read", "member.block", "member.unblock", "member.sign_out"} {
		if events := r.events(t, act); len(events) == 0 || events[0].Outcome != audit.Denied {
			t.Errorf("a refusal of %s is not on record: %v", act, events)
		}
	}
	_, ada := signIn(t, r, membersAdmin("ada"))
	for _, id := range []string{"", "x", s.MemberID(vera().Issuer, "sub-nobody"), strings.ToUpper(s.MemberID(vera().Issuer, "sub-vera")), "' OR 1=1 --"} {
		if _, _, err := s.MemberNamed(ctx, ada, ActMemberRead, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("MemberNamed(%q): %v, want ErrNotFound", id, err)
		}
	}
	if _, subject, err := s.MemberNamed(ctx, ada, ActMemberRead, s.MemberID(vera().Issuer, "sub-vera")); err != nil || subject != "sub-vera" {
		t.Errorf("found %q, %v", subject, err)
	}
	for _, odd := range []string{"sub-nobody", "a\x00b", "\xff", strings.Repeat("a", 1000)} {
		if _, err := s.Member(ctx, ada, vera().Issuer, odd); !errors.Is(err, ErrNotFound) {
			t.Errorf("Member(%q): %v", odd, err)
		}
		if _, err := s.Block(ctx, ada, vera().Issuer, odd, MemberBlock{Reason: "x", Confirm: "y"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("Block(%q): %v", odd, err)
		}
	}
}

func TestMembersListPagesAndNarrows(t *testing.T) {
	r := newRig(t)
	var want []string
	for i := range 7 {
		id := vera()
		id.Subject, id.Name, id.Email = fmt.Sprintf("s%d", i), []string{"Same Name", "same name", "Zoë", "%_", "' OR 1=1 --", "<script>", "a"}[i], fmt.Sprintf("m%d@example.test", i)
		signIn(t, r, id)
		want = append(want, id.Subject)
	}
	_, ada := signIn(t, r, membersAdmin("ada"))
	list := func(q MemberQuery) (subjects []string) {
		t.Helper()
		for {
			page, err := r.svc.Members(t.Context(), ada, q)
			if err != nil {
				t.Fatal(err)
			}
			if page.All != 8 {
				t.Errorf("%d members, want 8", page.All)
			}
			for _, m := range page.Members {
				subjects = append(subjects, m.Subject)
			}
			if page.Next == "" {
				if page.Total != len(subjects) {
					t.Errorf("%+v: told %d, listed %d", q, page.Total, len(subjects))
				}
				return subjects
			}
			q.After = page.Next
		}
	}
	whole := list(MemberQuery{Limit: 100})
	if got := list(MemberQuery{Limit: 3}); !slices.Equal(got, whole) || len(got) != 8 {
		t.Errorf("by pages %v, at once %v", got, whole)
	}
	for text, found := range map[string][]string{
		"SAME": {"s0", "s1"}, "zoë": {"s2"}, "%": {"s3"}, "_": {"s3"}, "' OR": {"s4"}, "<script>": {"s5"}, "m6@": {"s6"}, "same name": {"s0", "s1"},
		"a\x00": nil, "\xff": nil, "nobody": nil, "sub-ada": {"sub-ada"},
	} {
		got := list(MemberQuery{Text: text})
		slices.Sort(got)
		if !slices.Equal(got, found) {
			t.Errorf("text %q found %v, want %v", text, got, found)
		}
	}
	if _, err := r.svc.Members(t.Context(), ada, MemberQuery{After: "x"}); !errors.Is(err, ErrBadCursor) {
		t.Errorf("a place that is none: %v", err)
	}

	r.clock.advance(31 * 24 * time.Hour)
	_, ada = signIn(t, r, membersAdmin("ada"))
	blocked := vera()
	blocked.Subject, blocked.Email = "s0", "m0@example.test"
	r.blocks(t, ada, blocked)
	for state, found := range map[string][]string{
		MembersActive: {"sub-ada"}, MembersQuiet: want, MembersBlocked: {"s0"}, MembersSignedIn: {"sub-ada"}, "odd": nil,
	} {
		got := list(MemberQuery{State: state})
		slices.Sort(got)
		if !slices.Equal(got, found) {
			t.Errorf("state %q: %v, want %v", state, got, found)
		}
	}
}

func TestMembersListTellsWhatIsHeld(t *testing.T) {
	r := newRig(t)
	account, _ := r.account(t, "one", Production)
	r.grantTo(t, "sub-vera", "operator", access.ScopeAccount, account.String(), nil)
	r.grantTo(t, "sub-vera", "operator", access.ScopeEnvironment, "staging", nil)
	ended := r.clock.now.Add(-time.Minute)
	r.grantTo(t, "sub-vera", "auditor", access.ScopeEverything, "", &ended)
	signIn(t, r, vera())
	signIn(t, r, vera())
	_, ada := signIn(t, r, membersAdmin("ada"))
	d, err := r.svc.Member(t.Context(), ada, vera().Issuer, "sub-vera")
	if err != nil {
		t.Fatal(err)
	}
	want := Member{
		ID: r.svc.MemberID(vera().Issuer, "sub-vera"), Issuer: vera().Issuer, Subject: "sub-vera", Name: "Vera Viewer", Email: "vera@example.test",
		EmailVerified: true, Groups: []string{"viewers", "everyone"}, GroupCount: 2, FirstSeen: r.clock.now, LastSeen: r.clock.now, Sessions: 2,
		Roles: []HeldRole{{Name: "operator", Scopes: 2}, {Name: "viewer", Everything: true}},
	}
	if diff := cmp.Diff(want, d.Member); diff != "" {
		t.Errorf("member (-want +got):\n%s", diff)
	}
	var holds []string
	for _, h := range d.Holds {
		holds = append(holds, fmt.Sprint(h.Role, "|", h.ScopeKind, "|", h.ScopeText, "|", h.Source, "|", h.Via))
	}
	if diff := cmp.Diff([]string{
		"viewer|everything||from configuration, QM_VIEWER_GROUPS|viewers", "operator|environment|staging|granted by Ada|", "operator|account|one|granted by Ada|",
	}, holds); diff != "" {
		t.Errorf("holds (-want +got):\n%s", diff)
	}
	if len(d.Live) != 2 || d.Self || !d.Offers["member.block"].Offered || len(d.History) != 2 || d.History[0].Act != "session.login" || d.History[0].IP != "192.0.2.7" {
		t.Errorf("page: %+v", d)
	}
	r.blocks(t, ada, vera())
	d, err = r.svc.Member(t.Context(), ada, vera().Issuer, "sub-vera")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Block{Since: r.clock.now, By: "ada", Reason: "Left the team."}, d.Block); diff != "" || d.Sessions != 0 || len(d.Live) != 0 {
		t.Errorf("block (-want +got):\n%s\nand %d sessions", diff, d.Sessions)
	}
	if first := d.History[0]; first.Act != "member.block" || first.By != "ada" {
		t.Errorf("the history begins with %+v", first)
	}
}

// TestMembersGroupsAreThoseOfTheLastSignIn also when a program that knows nothing of them stores the session.
func TestMembersGroupsAreThoseOfTheLastSignIn(t *testing.T) {
	r := newRig(t)
	signIn(t, r, vera())
	id := vera()
	id.Groups = []string{"sales", "ümlaut", `a"b,{}`}
	signIn(t, r, id)
	if got := value[[]string](t, r, `SELECT groups FROM members`); !slices.Equal(got, id.Groups) {
		t.Errorf("groups %q, want %q", got, id.Groups)
	}
	r.exec(t, `UPDATE members SET last_seen = now()`)
	if _, err := r.db.Pool.Exec(t.Context(), `UPDATE members SET groups = '{admins}'`); err == nil {
		t.Error("the app role may write groups of a member")
	}
}

func TestMembersSessionsEndOneAndAll(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	one, byOne := signIn(t, r, vera())
	two, byTwo := signIn(t, r, vera())
	id := value[uuid.UUID](t, r, `SELECT id FROM sessions WHERE mark = $1`, byOne.Session)
	hers := value[uuid.UUID](t, r, `SELECT id FROM sessions WHERE mark = $1`, ada.Session)
	for _, wrong := range []uuid.UUID{hers, uuid.Must(uuid.NewV7()), uuid.Nil} {
		if _, err := r.svc.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject, wrong); !errors.Is(err, ErrNotFound) {
			t.Errorf("a session that is not theirs: %v", err)
		}
	}
	if n, err := r.svc.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject, id); n != 1 || err != nil {
		t.Fatalf("%d ended, %v", n, err)
	}
	wantNoSession(t, r.replica(t, nil), one)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), two); err != nil {
		t.Errorf("the other session: %v", err)
	}
	if n, err := r.svc.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject); n != 1 || err != nil {
		t.Fatalf("%d ended, %v", n, err)
	}
	wantNoSession(t, r.svc, two)
	if n, err := r.svc.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject); n != 0 || err != nil {
		t.Fatalf("%d ended, %v", n, err)
	}
	event := func(mark string) audit.Event {
		return audit.Event{
			Act: "member.sign_out", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: ada, Target: audit.Target{Kind: "member", ID: "sub-vera", Name: "Vera Viewer"},
			Change: audit.Change{"issuer": {vera().Issuer, vera().Issuer}, "sessions_ended": {nil, 1.0}, "sessions": {[]any{mark}, nil}},
		}
	}
	events := r.events(t, "member.sign_out")
	plainNumbers(events)
	if diff := cmp.Diff([]audit.Event{event(byOne.Session), event(byTwo.Session)}, events, plainEvent()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if _, err := r.svc.SignIn(t.Context(), browser(), vera()); err != nil {
		t.Errorf("they may sign in again: %v", err)
	}
}

// insertStandingBySQL writes a standing with the rights of the console's own role, and without its key.
func (r *rig) insertStandingBySQL(t *testing.T, version int, blocked bool, mac []byte) error {
	t.Helper()
	_, err := r.db.Pool.Exec(t.Context(), `INSERT INTO member_standings (`+memberStandingColumns+`)
		VALUES (gen_random_uuid(), $1, $2, $3, $4, '', now(), 'x', '', '', $5)`, vera().Issuer, vera().Subject, version, blocked, mac)
	return err
}

// TestMembersStandingWrittenBySQLBlocks: a row that the console did not write takes away and never gives.
func TestMembersStandingWrittenBySQLBlocks(t *testing.T) {
	for name, blocked := range map[string]bool{"says blocked": true, "says free": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			_, ada := signIn(t, r, membersAdmin("ada"))
			token, _ := signIn(t, r, vera())
			if !blocked {
				r.blocks(t, ada, vera())
			}
			if err := r.insertStandingBySQL(t, map[bool]int{true: 1, false: 2}[blocked], blocked, []byte("forged")); err != nil {
				t.Fatal(err)
			}
			wantNoSession(t, r.svc, token)
			if !blocked { // the trigger believes the row, and the console does not
				if again, err := r.svc.SignIn(t.Context(), browser(), vera()); err == nil {
					wantNoSession(t, r.svc, again)
				}
			}
			d, err := r.svc.Member(t.Context(), ada, vera().Issuer, vera().Subject)
			if err != nil {
				t.Fatal(err)
			}
			if d.Block == nil || !d.Block.Unverified {
				t.Errorf("the page says %+v", d.Block)
			}
			if rows := r.svc.UnverifiedRows(); len(rows) != 1 || rows[0].Kind != KindMember {
				t.Errorf("unverified: %+v", rows)
			}
			if events := r.events(t, "rights.unverified"); len(events) != 1 || events[0].Outcome != audit.Failed {
				t.Errorf("events %+v", events)
			}
			// A member's administrator mends it, and the log says what was found.
			if err := r.svc.Unblock(t.Context(), ada, vera().Issuer, vera().Subject, "Looked at."); err != nil {
				t.Fatal(err)
			}
			if events := r.events(t, "member.unblock"); len(events) != 1 || fmt.Sprint(events[0].Change["verified"]) != "[false true]" || fmt.Sprint(events[0].Change["blocked"]) != "[true false]" {
				t.Errorf("the event says %+v", events)
			}
			if _, err := r.svc.SignIn(t.Context(), browser(), vera()); err != nil {
				t.Errorf("after that: %v", err)
			}
		})
	}
}

// TestMembersBlockOverAForgedRow: what says "free" without the code is followed by a row that has it.
func TestMembersBlockOverAForgedRow(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	if err := r.insertStandingBySQL(t, 1, true, nil); err == nil {
		t.Error("a row without a code can be stored")
	}
	if err := r.insertStandingBySQL(t, 1, true, []byte{}); err != nil {
		t.Fatal(err)
	}
	r.blocks(t, ada, vera())
	if len(r.svc.UnverifiedRows()) != 0 || !r.svc.keeper.book.Load().blocked[principal{vera().Issuer, vera().Subject}] {
		t.Error("the forged row still counts, or the block does not")
	}
}

// TestMembersStandingOfAnotherIsNoUse: a row that verifies for one member does not for another, nor at another version.
func TestMembersStandingOfAnotherIsNoUse(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	r.blocks(t, ada, vera())
	if err := r.svc.Unblock(t.Context(), ada, vera().Issuer, vera().Subject, ""); err != nil {
		t.Fatal(err)
	}
	r.blocks(t, ada, vera())
	r.exec(t, `INSERT INTO member_standings SELECT gen_random_uuid(), issuer, subject, 4, blocked, reason, written_at, written_by, written_by_issuer, written_by_subject, mac
		FROM member_standings WHERE version = 2`)
	if err := r.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !r.svc.keeper.book.Load().blocked[principal{vera().Issuer, vera().Subject}] {
		t.Error("an old row, put on top, unblocks")
	}
}

func TestMembersStandingsStayAsTheyAre(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	r.blocks(t, ada, vera())
	for _, statement := range []string{
		`UPDATE member_standings SET blocked = false`, `DELETE FROM member_standings`, `TRUNCATE member_standings`,
		`ALTER TABLE member_standings DISABLE TRIGGER ALL`, `DROP TRIGGER refuse_change ON member_standings`, `UPDATE rights_version SET version = 1`,
	} {
		if _, err := r.db.Pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("the app role may: %s", statement)
		}
	}
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range []string{`UPDATE member_standings SET blocked = false`, `DELETE FROM member_standings`, `TRUNCATE member_standings`} {
		if _, err := owner.Exec(t.Context(), statement); err == nil {
			t.Errorf("the owner may: %s", statement)
		}
	}
}

// TestMembersOlderProgramStartsNoSessionOfABlockedMember stores a session as the release before this one does.
func TestMembersOlderProgramStartsNoSessionOfABlockedMember(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	r.blocks(t, ada, vera())
	_, err := r.db.Pool.Exec(t.Context(), `
		INSERT INTO sessions (id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, sid, ip, user_agent, created_at, last_seen_at, expires_at)
		SELECT gen_random_uuid(), sha256('x'), 'm', issuer, subject, name, email, email_verified, '{}', false, '{}', '', '', '', now(), now(), now() + interval '1 hour'
		FROM members WHERE subject = $1`, vera().Subject)
	if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "QM002" {
		t.Errorf("stored: %v", err)
	}
}

// TestMembersSignInBesideABlock: whichever comes first, no session is left.
func TestMembersSignInBesideABlock(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	signIn(t, r, vera())
	done := make(chan string, 8)
	for range 8 {
		go func() {
			token, _ := r.svc.SignIn(t.Context(), browser(), vera())
			done <- token
		}()
	}
	r.blocks(t, ada, vera())
	for range 8 {
		if token := <-done; token != "" {
			wantNoSession(t, r.svc, token)
		}
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE subject = 'sub-vera' AND ended_at IS NULL`); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestMembersAreNoBreakGlass: whom a break-glass link let in is no member, is not listed as one and cannot be blocked.
func TestMembersAreNoBreakGlass(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	subject := "break-glass:" + uuid.NewString()
	r.exec(t, `INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ($1, $2, 'Break-glass', '', false, now(), now())`, InternalIssuer, subject)
	page, err := r.svc.Members(t.Context(), ada, MemberQuery{})
	if err != nil || len(page.Members) != 1 || page.All != 1 || page.Total != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	if _, _, err := r.svc.MemberNamed(t.Context(), ada, ActMemberRead, r.svc.MemberID(InternalIssuer, subject)); !errors.Is(err, ErrNotFound) {
		t.Errorf("its page: %v", err)
	}
	if _, err := r.svc.Block(t.Context(), ada, InternalIssuer, subject, MemberBlock{Reason: "x", Confirm: "Break-glass"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("blocking it: %v", err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM member_standings`); n != 0 {
		t.Errorf("%d standings", n)
	}
}
