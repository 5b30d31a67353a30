package accounts

import (
	"context"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// AccountHealth is an account with how its calls go.
type AccountHealth struct {
	Account Account
	// Health is what this process knows; Called is false where it has not called for the account in the last hour.
	Health cloudapi.Health
	Called bool
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
	return page, nil
}
