package accounts

import (
	"bytes"
	"fmt"
	"testing"

	"quartermaster/internal/accounts/access"
)

// TestARowThatVerifiedIsVerifiedAgainWhenAltered: what is remembered of a row is good for its very bytes. A grant that
// counted and was altered by somebody who may do everything in the database counts for nothing from the next request
// on, and counts again when it is what it was.
func TestARowThatVerifiedIsVerifiedAgainWhenAltered(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "A")
	by := outsider("team-search")
	read := func() bool {
		return s.rightsNow(by).Allows(ActClusterRead.Needs, accountTarget(account.ref()).access())
	}
	row := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeAccount, account.ID.String())
	s.put(row)
	other := s.signedGrant(SubjectGroup, "another-team", "platform-admin", access.ScopeEverything, "")
	s.put(other)
	if !read() {
		t.Fatal("the grant does not act")
	}
	alter := func(change string, values ...any) {
		s.exec(s.db.SuperURL, `ALTER TABLE grants DISABLE TRIGGER USER`)
		s.exec(s.db.SuperURL, `UPDATE grants SET `+change, values...)
		s.exec(s.db.SuperURL, `ALTER TABLE grants ENABLE TRIGGER USER`)
		s.exec(s.db.SuperURL, `UPDATE grants SET end_reason = end_reason WHERE false`) // counts as a change
	}
	for _, attack := range []struct{ change, back string }{
		{`role = 'platform-admin' WHERE subject = 'team-search'`, `role = 'viewer' WHERE subject = 'team-search'`},
		{`scope_kind = 'everything', scope = '' WHERE subject = 'team-search'`, fmt.Sprintf(`scope_kind = 'account', scope = '%s' WHERE subject = 'team-search'`, account.ID)},
		{`expires_at = now() + '1 day' WHERE subject = 'team-search'`, `expires_at = NULL WHERE subject = 'team-search'`},
		{`subject = 'team-search' WHERE subject = 'another-team'`, fmt.Sprintf(`subject = 'another-team' WHERE id = '%s'`, other.ID)},
		{`mac = '\x00' WHERE subject = 'team-search'`, fmt.Sprintf(`mac = '\x%x' WHERE subject = 'team-search'`, row.MAC)},
	} {
		alter(attack.change)
		more := s.rightsNow(by).Allows(ActGrantCreate.Needs, access.Target{})
		if n := len(s.svc.UnverifiedRows()); more || n != 1 {
			t.Errorf("%s: gives more: %v; %d rows do not verify, want 1", attack.change, more, n)
		}
		alter(attack.back)
		if !read() || len(s.svc.UnverifiedRows()) != 0 {
			t.Errorf("%s: put back it does not count", attack.change)
		}
	}
	alter(`ended_at = now() WHERE subject = 'team-search'`)
	if read() {
		t.Error("an ended grant counts because it once verified")
	}
}

// TestRowsOfDifferentValuesHaveDifferentBytes: no value can be cut or joined to look like another row, nor null like empty.
func TestRowsOfDifferentValuesHaveDifferentBytes(t *testing.T) {
	rows := [][][]byte{
		{[]byte("ab"), []byte("c")}, {[]byte("a"), []byte("bc")}, {[]byte("abc"), {}}, {{}, []byte("abc")}, {[]byte("abc"), nil}, {nil, []byte("abc")},
		{[]byte("ab"), []byte("c"), {}}, {[]byte("ab"), []byte("c"), nil}, {[]byte("ab\x02c")}, {[]byte("ab\x02c"), nil}, {nil}, {{}}, {nil, nil}, {{}, {}}, {{1}}, {{0}}, {},
	}
	for i, a := range rows {
		for _, b := range rows[:i] {
			if bytes.Equal(appendRow(nil, a), appendRow(nil, b)) {
				t.Errorf("%q and %q look alike", a, b)
			}
		}
	}
}
