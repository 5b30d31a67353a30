package accounts

import (
	"errors"
	"testing"
)

// A retired key is pasted back while the deletion of it is on its way upstream: put into use it would be
// deleted, and the account would have no key that works.
func TestAKeyPastedBackWhileItIsDeletedIsNotUsed(t *testing.T) {
	s := newStage(t)
	f := s.current()
	account := s.register(f, "Search")
	by := s.session("admins")
	if _, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(s.keyOf(account.CloudAccountID, nil), s.token(by, ActAccountKey))); err != nil {
		t.Fatal(err)
	}
	inUse := s.account(account).Key.ID
	token := s.token(by, ActAccountKey)
	s.fault(map[string]any{"operation": "DeleteManagementKey", "kind": "latency", "latency_ms": 2000, "times": 1})
	deleted := make(chan error, 1)
	go func() {
		deleted <- s.svc.DeleteOldKey(t.Context(), by, account.ID, account.Key.ID, account.Key.Prefix)
	}()
	s.eventually("the deletion is recorded", func() bool { return len(s.eventsOf(ActManagementKeyDelete)) > 0 })
	_, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(f.ManagementKey, token))
	deletion := <-deleted
	if _, conflict := errors.AsType[*ConflictError](err); !conflict && err != nil {
		t.Errorf("pasting the key back: %v", err)
	}
	if (err == nil) == (deletion == nil) {
		t.Errorf("pasting back: %v, deleting: %v; want exactly one of them done", err, deletion)
	}
	s.works(account)
	if err != nil && s.account(account).Key.ID != inUse {
		t.Error("the key was replaced although that was refused")
	}
}

// Two admins replace the key at the same moment: the second to get the account's lock must not go by
// what was so before it waited.
func TestOfTwoReplacementsAtOnceOneIsRefused(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	holder, watcher := s.connect(s.db.OwnerURL), s.connect(s.db.SuperURL)
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE`, account.ID); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for range 2 {
		replacement := pasted(s.keyOf(account.CloudAccountID, nil), s.token(by, ActAccountKey))
		go func() {
			_, err := s.svc.ReplaceKey(t.Context(), by, account.ID, replacement)
			results <- err
		}()
	}
	s.eventually("both wait for the account", func() bool {
		var waiting int
		err := watcher.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return err == nil && waiting == 2
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var done, refused int
	for range 2 {
		err := <-results
		if err == nil {
			done++
		} else if _, conflict := errors.AsType[*ConflictError](err); conflict {
			refused++
		} else {
			t.Errorf("neither done nor refused: %v", err)
		}
	}
	if done != 1 || refused != 1 {
		t.Errorf("%d done, %d refused", done, refused)
	}
	s.works(account)
}
