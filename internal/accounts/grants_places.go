package accounts

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// maxPlacesFound bounds what a search for places answers.
const maxPlacesFound = 50

// PlaceQuery asks for places about which the actor may ask who can touch them. Zero values do not filter.
type PlaceQuery struct {
	Account uuid.UUID // only clusters of this account
	Text    string    // the id, or a part of the name, letter case aside
}

// Place is an account, or a cluster when the reference names one.
type Place struct {
	Ref         ClusterRef
	Name        string
	AccountName string // of a cluster, where the actor may read the account
	Exact       bool   // the text is all of its id or name
}

// PlacesToAsk lists the accounts, and then the clusters, of which WhoCan would tell the actor who can touch them, by
// name; those that the text names exactly come first. A place that may not be asked about is missing, like one that
// does not exist. *ForbiddenError for who may ask about nothing at all. more reports whether there are others, past 50 that were searched for or 500 that were not.
func (s *Service) PlacesToAsk(ctx context.Context, by audit.Actor, q PlaceQuery) (places []Place, more bool, err error) {
	if err := s.freshRights(ctx); err != nil {
		return nil, false, err
	}
	rights := s.rights(by)
	if !rights.Holds(access.GrantsManage) && !rights.Holds(access.MembersManage) {
		return nil, false, s.refuse(ctx, by, ActGrantRead, installation(KindGrant), access.GrantsManage)
	}
	text := strings.TrimSpace(q.Text)
	if !wellFormed(text, maxFilter) {
		return nil, false, nil
	}
	asks := access.Requirement{Any: []string{access.GrantsManage, access.MembersManage}}
	may := func(reading Act, on access.Target) bool {
		return rights.Allows(asks, on) && rights.Allows(reading.Needs, on)
	}
	add := func(p Place, id string) {
		p.Exact = text != "" && (id == text || strings.EqualFold(p.Name, text))
		if p.Exact || strings.Contains(strings.ToLower(p.Name), strings.ToLower(text)) {
			places = append(places, p)
		}
	}
	readable, err := s.accountsIn(ctx, rights.Visible(ActAccountRead.Needs))
	if err != nil {
		return nil, false, err
	}
	names := map[uuid.UUID]string{}
	for _, a := range readable {
		names[a.ID] = a.Name
		if q.Account == uuid.Nil && may(ActAccountRead, accountTarget(a.ref()).access()) {
			id := a.ID.String()
			if text == a.CloudAccountID {
				id = text
			}
			add(Place{Ref: ClusterRef{AccountID: a.ID}, Name: a.Name}, id)
		}
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT account_id, cluster_id, name, labels FROM clusters
		WHERE gone_at IS NULL AND ($1::uuid = $2::uuid OR account_id = $1) AND (cluster_id = $3 OR strpos(lower(name), lower($3)) > 0)`, q.Account, uuid.Nil, text)
	if err != nil {
		return nil, false, dbError("reading clusters", err)
	}
	var on access.Target
	var name string
	_, err = pgx.ForEachRow(rows, []any{&on.AccountID, &on.ClusterID, &name, &on.Labels}, func() error {
		if may(ActClusterRead, on) {
			add(Place{Ref: ClusterRef{AccountID: on.AccountID, ClusterID: on.ClusterID}, Name: name, AccountName: names[on.AccountID]}, on.ClusterID)
		}
		on.Labels = nil
		return nil
	})
	if err != nil {
		return nil, false, dbError("reading clusters", err)
	}
	rank := func(p Place) int {
		n := 0
		if !p.Exact {
			n += 2
		}
		if p.Ref.ClusterID != "" {
			n++
		}
		return n
	}
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)),
			strings.Compare(a.Ref.AccountID.String()+a.Ref.ClusterID, b.Ref.AccountID.String()+b.Ref.ClusterID))
	})
	most := maxGrantChoices
	if text != "" {
		most = maxPlacesFound
	}
	return places[:min(len(places), most)], len(places) > most, nil
}
