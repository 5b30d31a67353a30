package accounts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestOneMembersListsLeaveTheDatabaseToOthers: while what lists over all accounts read is locked, a member who asks for many of them at once
// is refused all but two, and others sign in, are recognised and have their own list.
func TestOneMembersListsLeaveTheDatabaseToOthers(t *testing.T) {
	s := newStage(t)
	s.register(s.current(), "Search")
	token, err := s.svc.SignIn(t.Context(), browser(), Identity{Issuer: "https://id.example.test", Subject: "other", Name: "Other", Groups: []string{"viewers"}})
	if err != nil {
		t.Fatal(err)
	}
	owner := s.connect(s.db.OwnerURL)
	if _, err := owner.Exec(t.Context(), `BEGIN; LOCK TABLE database_keys, cluster_alerts, cluster_backups, backups IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), listingWait+3*time.Second)
	defer cancel()
	by := member("viewers")
	reads := map[string]func(context.Context, audit.Actor) error{
		"keys": func(ctx context.Context, by audit.Actor) error {
			_, err := s.svc.KeyRadar(ctx, by, RadarQuery{Text: uuid.NewString()})
			return err
		},
		"alerts": func(ctx context.Context, by audit.Actor) error {
			_, err := s.svc.Alerts(ctx, by, AlertsQuery{Text: uuid.NewString()})
			return err
		},
		"backups": func(ctx context.Context, by audit.Actor) error {
			_, err := s.svc.Backups(ctx, by, BackupsQuery{Text: uuid.NewString()})
			return err
		},
	}
	const each = 4
	answers := make(chan error, 3*each)
	for range each {
		for _, read := range reads {
			go func() { answers <- read(ctx, by) }()
		}
	}
	waitUntilBusy(t, s, listingsEach)
	for range 3 {
		began := time.Now()
		if _, _, err := s.svc.Authenticate(t.Context(), browser(), token); err != nil {
			t.Errorf("another member is not recognised: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("another member waits %v", took)
		}
	}
	refused := 0
	for range 3 * each {
		if err := <-answers; errors.Is(err, ErrRateLimited) {
			refused++
		} else if err == nil {
			t.Error("a list was read although its table is locked")
		}
	}
	if refused != 3*each-listingsEach {
		t.Errorf("%d of %d are refused", refused, 3*each)
	}
	if _, err := owner.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	for name, read := range reads {
		if err := read(t.Context(), by); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
	if len(s.svc.turns.places) != 0 || len(s.svc.turns.lanes) != 0 {
		t.Errorf("%d places, %d lanes are held by nobody", len(s.svc.turns.places), len(s.svc.turns.lanes))
	}
}

// waitUntilBusy waits until so many places are taken.
func waitUntilBusy(t *testing.T, s *stage, n int) {
	t.Helper()
	s.eventually("lists are being read", func() bool { return len(s.svc.turns.places) >= n })
}

// TestOutsideListHasTheBoundsOfASearch: while the log is locked a few lists of one auditor of a part wait and the others are refused, and
// another member is recognised; and however many accounts are asked for, the log grows by a bounded number of lines.
func TestOutsideListHasTheBoundsOfASearch(t *testing.T) {
	s, account := newOutsideStage(t)
	ref := s.made(account, "orders", "mx1", 1)
	token, err := s.svc.SignIn(t.Context(), browser(), Identity{Issuer: "https://id.example.test", Subject: "other", Name: "Other", Groups: []string{"viewers"}})
	if err != nil {
		t.Fatal(err)
	}
	by := member("nobody")
	by.Subject = "scoped"
	s.scopedTo(by, access.Scope{Clusters: []access.ClusterRef{{AccountID: account.ID, ClusterID: ref.ClusterID}}}, access.AuditRead, access.ReadClusters)
	owner := s.connect(s.db.OwnerURL)
	if _, err := owner.Exec(t.Context(), `BEGIN; LOCK TABLE audit.events IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), searchWait+2*time.Second)
	defer cancel()
	const all = 8
	answers := make(chan error, all)
	for range all {
		go func() {
			_, err := s.svc.OutsideChanges(ctx, by, OutsideQuery{Open: true})
			answers <- err
		}()
	}
	s.eventually("lists are being read", func() bool { return len(s.svc.turns.places) == searchesAtOnce })
	if _, _, err := s.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Errorf("another member is not recognised: %v", err)
	}
	for i := range all {
		want := ErrRateLimited
		if i >= all-searchesAtOnce {
			want = context.DeadlineExceeded
		}
		if err := <-answers; !errors.Is(err, want) {
			t.Errorf("list %d: %v, want %v", i, err, want)
		}
	}
	if _, err := owner.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}

	auditor, before, refused := s.signedIn("auditors"), len(s.eventsOf(ActAuditSearch)), 0
	for range 100 {
		if _, err := s.svc.OutsideChanges(t.Context(), auditor, OutsideQuery{Account: uuid.NewString()}); errors.Is(err, ErrRateLimited) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := s.svc.SearchLog(t.Context(), auditor, audit.Query{Text: uuid.NewString()}); errors.Is(err, ErrRateLimited) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.eventsOf(ActAuditSearch)) - before; n != searchesAMinute || refused != 200-searchesAMinute {
		t.Errorf("200 searches are %d lines in the log, %d are refused", n, refused)
	}
	// A search that is on record goes on, others' too, and so it does a minute later.
	if _, err := s.svc.SearchLog(t.Context(), s.signedIn("admins"), audit.Query{Text: "another's"}); err != nil {
		t.Error(err)
	}
	s.clock.at = s.clock.at.Add(time.Minute)
	if _, err := s.svc.SearchLog(t.Context(), auditor, audit.Query{Text: strings.Repeat("x", 8)}); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
