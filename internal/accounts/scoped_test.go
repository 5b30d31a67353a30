package accounts

import (
	"slices"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// scopedTo takes from a member what was granted to them and grants exactly the permissions within the scope, with a role of
// the team's own. Without permissions nothing is left.
func (s *stage) scopedTo(by audit.Actor, scope access.Scope, permissions ...string) {
	s.t.Helper()
	s.exec(s.db.AppURL, `UPDATE grants SET ended_at = now() WHERE subject_kind = 'member' AND subject = $1 AND ended_at IS NULL`, by.Subject)
	slices.Sort(permissions)
	role := roleRow{
		ID: uuid.Must(uuid.NewV7()), Version: 1, Name: "Role " + uuid.NewString(), Permissions: permissions, WrittenAt: s.svc.now(),
		WrittenBy: "Test", WrittenByIssuer: InternalIssuer, WrittenBySubject: "test",
	}
	role.MAC = s.svc.cfg.Vault.MAC(role.place(), role.says())
	if len(permissions) > 0 {
		s.exec(s.db.AppURL, `INSERT INTO roles (`+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			role.ID, role.Version, role.Name, role.Description, role.Permissions, role.Deleted, role.WrittenAt, role.WrittenBy, role.WrittenByIssuer, role.WrittenBySubject, role.MAC)
		give := func(kind access.ScopeKind, where string) {
			row := s.signedGrant(SubjectMember, by.Subject, role.ID.String(), kind, where)
			row.Issuer = by.Issuer
			row.MAC = s.svc.cfg.Vault.MAC(row.place(), row.says())
			s.put(row)
		}
		if scope.Everything {
			give(access.ScopeEverything, "")
		}
		for _, e := range scope.Environments {
			give(access.ScopeEnvironment, e)
		}
		for _, id := range scope.Accounts {
			give(access.ScopeAccount, id.String())
		}
		for _, c := range scope.Clusters {
			give(access.ScopeCluster, c.AccountID.String()+"/"+c.ClusterID)
		}
		for _, l := range scope.Labels {
			give(access.ScopeLabels, l.String())
		}
	}
	s.rightsNow(by)
}

// moveQuietly gives the account another environment as EditAccount does, without its event.
func (s *stage) moveQuietly(id uuid.UUID, to Environment) {
	s.t.Helper()
	tx, err := s.db.Pool.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	account, err := accountByID(s.t.Context(), tx, id, true)
	if err != nil {
		s.t.Fatal(err)
	}
	account.Environment = to
	if _, err := tx.Exec(s.t.Context(), `UPDATE accounts SET environment = $2 WHERE id = $1`, id, string(to)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.svc.certify(s.t.Context(), tx, account); err != nil {
		s.t.Fatal(err)
	}
	if err := tx.Commit(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.rightsNow(member("admins"))
}
