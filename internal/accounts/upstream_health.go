package accounts

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// AccountHealth is an account with how its calls go.
type AccountHealth struct {
	Account Account
	// Health is what this process knows; Called is false where it has not called for the account in the last hour.
	Health cloudapi.Health
	Called bool
	// Beside is how the reading of what is read beside clusters goes, by kind.
	Beside []KindHealth
}

// KindHealth is how the reading of one kind of an account goes, the same from every process.
type KindHealth struct {
	Kind     string     // keys, alerts, backups
	OKAt     *time.Time // when it was last read; nil: never
	Failures int        // in a row
	Error    string     // in words for people, also of a reading that was not whole; empty when all is well
}

// UpstreamPage is one page of accounts with how their calls go, by name.
type UpstreamPage struct {
	Accounts []AccountHealth
	Next     string // empty on the last page
	Total    int    // that match
	All      int    // that the member may read
}

// UpstreamHealth returns how calls to the Cloud API go, for the accounts that the member may read. It
// asks upstream nothing. What upstream said when a call failed is for who may read every cluster of the account: it may be
// about any of them. Errors are those of AccountsPage.
func (s *Service) UpstreamHealth(ctx context.Context, by audit.Actor, q AccountsQuery) (UpstreamPage, error) {
	listed, err := s.AccountsPage(ctx, by, q)
	if err != nil {
		return UpstreamPage{}, err
	}
	page := UpstreamPage{Next: listed.Next, Total: listed.Total, All: listed.All}
	rights := s.rights(by)
	for _, a := range listed.Accounts {
		h, called := s.cfg.Cloud.Health(a.ID.String())
		if !rights.Allows(ActClusterRead.Needs, accountTarget(a.ref()).access()) {
			for i := range h.Recent {
				h.Recent[i].Words, h.Recent[i].TraceID = "", ""
			}
		}
		page.Accounts = append(page.Accounts, AccountHealth{Account: a, Health: h, Called: called})
	}
	return page, s.addBeside(ctx, rights, page.Accounts)
}

// addBeside adds how each kind beside clusters is read, as far as the accounts have it.
func (s *Service) addBeside(ctx context.Context, rights access.Rights, accounts []AccountHealth) error {
	ids := make([]uuid.UUID, len(accounts))
	for i, a := range accounts {
		ids[i] = a.Account.ID
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT account_id, kind, ok_at, failures, error FROM refresh WHERE account_id = ANY($1) AND kind <> 'clusters'`, ids)
	if err != nil {
		return dbError("reading how kinds are read", err)
	}
	type row struct {
		AccountID uuid.UUID
		Kind      string
		OKAt      *time.Time `db:"ok_at"`
		Failures  int
		Error     string
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return dbError("reading how kinds are read", err)
	}
	for i, a := range accounts {
		whole := rights.Allows(ActClusterRead.Needs, accountTarget(a.Account.ref()).access())
		for _, k := range s.otherKinds() {
			at := slices.IndexFunc(found, func(r row) bool { return r.AccountID == a.Account.ID && r.Kind == k.name })
			if at < 0 || !slices.Contains(k.generations, a.Account.Generation) {
				continue
			}
			kind := KindHealth{Kind: k.name, OKAt: found[at].OKAt, Failures: found[at].Failures, Error: found[at].Error}
			if kind.Error != "" && !whole {
				kind.Error = "The last reading failed, or was not whole."
			}
			accounts[i].Beside = append(accounts[i].Beside, kind)
		}
	}
	return nil
}
