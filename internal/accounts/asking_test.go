package accounts

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

func TestAskingIsRefusedAsTheActIs(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Production")
	healthy, suspended := s.inPhase(account.ID, cloudapi.PhaseHealthy), s.inPhase(account.ID, cloudapi.PhaseSuspended)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		ask     func(audit.Actor) error
		act     Act
		group   string // who may not
		missing string
		target  string
	}{
		"restart": {func(by audit.Actor) error {
			_, err := s.svc.AskCluster(ctx, by, ActClusterRestart, healthy)
			return err
		}, ActClusterRestart, "viewers", "write:clusters", healthy.ClusterID},
		"update": {func(by audit.Actor) error { _, err := s.svc.AskClusterUpdate(ctx, by, healthy); return err }, ActClusterUpdate, "viewers", "write:clusters", healthy.ClusterID},
		"update again": {func(by audit.Actor) error {
			_, err := s.svc.ClusterUpdateAgain(ctx, by, healthy)
			return err
		}, ActClusterUpdate, "auditors", "write:clusters", healthy.ClusterID},
		"delete": {func(by audit.Actor) error { _, err := s.svc.AskCluster(ctx, by, ActClusterDelete, healthy); return err }, ActClusterDelete, "auditors", "delete:clusters", healthy.ClusterID},
		"remove": {func(by audit.Actor) error {
			_, err := s.svc.AskAccount(ctx, by, ActAccountDelete, account.ID)
			return err
		}, ActAccountDelete, "operators", "accounts:manage", account.ID.String()},
		"add":          {func(by audit.Actor) error { _, err := s.svc.AskCreate(ctx, by); return err }, ActAccountCreate, "operators", "accounts:manage", ""},
		"enter":        {func(by audit.Actor) error { return s.svc.Enter(ctx, by, ActClusterRead) }, ActClusterRead, "strangers", "read:clusters", ""},
		"enter to act": {func(by audit.Actor) error { return s.svc.Enter(ctx, by, ActClusterSuspend) }, ActClusterSuspend, "strangers", "write:clusters", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				forbidden, ok := errors.AsType[*ForbiddenError](tt.ask(member(tt.group)))
				if !ok || forbidden.Missing != tt.missing || forbidden.Act != tt.act.Name {
					t.Fatalf("refused with %+v, want what is missing: %s", forbidden, tt.missing)
				}
			}
			denied := 0
			for _, e := range s.eventsOf(tt.act) {
				if e.Outcome == audit.Denied && e.Target.ID == tt.target && e.Actor.Subject == member(tt.group).Subject {
					denied++
				}
			}
			if denied != 1 {
				t.Errorf("%d refusals are on record, want 1", denied)
			}
		})
	}

	by := member("admins")
	before := len(s.events())
	if d, err := s.svc.AskCluster(ctx, by, ActClusterRestart, healthy); err != nil || d.Row.ClusterID != healthy.ClusterID {
		t.Errorf("restart of a healthy cluster: %s, %v", d.Row.ClusterID, err)
	}
	if _, err := s.svc.AskCluster(ctx, by, ActClusterRestart, suspended); !isConflict(err) {
		t.Errorf("restart of a suspended cluster: %v, want a conflict", err)
	}
	if _, err := s.svc.AskAccount(ctx, by, ActAccountEnable, account.ID); !isConflict(err) {
		t.Errorf("enabling an enabled account: %v, want a conflict", err)
	}
	if _, err := s.svc.AskCluster(ctx, by, ActClusterRestart, ClusterRef{AccountID: account.ID, ClusterID: "absent"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a cluster that does not exist: %v", err)
	}
	if _, err := s.svc.AskAccount(ctx, by, ActAccountDelete, uuid.New()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an account that does not exist: %v", err)
	}
	if err := s.svc.Enter(ctx, member("viewers"), ActClusterRead); err != nil {
		t.Errorf("a viewer may enter: %v", err)
	}
	if after := len(s.events()); after != before {
		t.Errorf("what was not refused for a missing right left %d events", after-before)
	}
}

func isConflict(err error) bool {
	_, ok := errors.AsType[*ConflictError](err)
	return ok
}
