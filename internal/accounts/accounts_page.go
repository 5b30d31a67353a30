package accounts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// accountsLimit is how many accounts a page of the list has.
const accountsLimit = 100

// AccountsQuery is what /accounts may be asked. Zero values do not filter.
type AccountsQuery struct {
	Text    string // in name, environment, owner, Cloud account id or upstream's name
	Trouble bool   // only those that need a look
	After   string // opaque, from AccountsPage.Next; ErrBadCursor when it is not
}

// AccountsPage is one page of the list of accounts, by name.
type AccountsPage struct {
	Accounts []Account
	Next     string // empty on the last page
	Total    int    // that match
	All      int    // that the member may read
}

// Trouble reports whether the account needs a look: what it tells may not be so, or its key was refused.
func (a Account) Trouble() bool {
	return !a.Enabled || a.Sync.Stale || a.Sync.Error != "" || a.Sync.Vanished > 0 || a.Key.Refused != ""
}

// AccountsPage returns accounts that the member may read. Accounts are thousands at most, so they are
// filtered here; of those on the page the clusters are counted.
func (s *Service) AccountsPage(ctx context.Context, by audit.Actor, q AccountsQuery) (AccountsPage, error) {
	body, err := json.Marshal([]any{"accounts", q.Text, q.Trouble})
	if err != nil {
		return AccountsPage{}, fmt.Errorf("encoding the query: %w", err)
	}
	query := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8])
	at := cursor{}
	if q.After != "" {
		if at, err = s.decodeCursor(q.After, query); err != nil {
			return AccountsPage{}, err
		}
	}
	scope := s.visible(by, ActAccountRead)
	if scope.None() {
		return AccountsPage{}, nil
	}
	all, err := s.accountsIn(ctx, scope)
	if err != nil {
		return AccountsPage{}, err
	}
	page := AccountsPage{All: len(all)}
	if q.Trouble {
		if err := s.addSync(ctx, all); err != nil {
			return AccountsPage{}, err
		}
		if err := s.countVisible(ctx, by, all); err != nil {
			return AccountsPage{}, err
		}
	}
	words := strings.Fields(strings.ToLower(q.Text))
	words = words[:min(len(words), maxWords)]
	found := slices.DeleteFunc(all, func(a Account) bool { return q.Trouble && !a.Trouble() || !a.mentions(words) })
	page.Total = len(found)
	slices.SortFunc(found, func(a, b Account) int { return a.place(strings.ToLower(b.Name), b.ID) })
	if q.After != "" {
		found = slices.DeleteFunc(found, func(a Account) bool { return a.place(at.Name, at.Account) <= 0 })
	}
	if len(found) > accountsLimit {
		found = found[:accountsLimit]
		last := found[accountsLimit-1]
		if page.Next, err = s.encodeCursor(cursor{Query: query, Name: strings.ToLower(last.Name), Account: last.ID}); err != nil {
			return AccountsPage{}, err
		}
	}
	page.Accounts = found
	if err := s.addSync(ctx, found); err != nil {
		return AccountsPage{}, err
	}
	return page, s.countVisible(ctx, by, found)
}

// mentions reports whether every word is in what people call the account by.
func (a Account) mentions(words []string) bool {
	text := strings.ToLower(strings.Join([]string{a.Name, string(a.Environment), a.Owner, a.CloudAccountID, a.UpstreamName}, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// place compares where the account is in a list by name with a place in it.
func (a Account) place(name string, id uuid.UUID) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.Name), name), bytes.Compare(a.ID[:], id[:]))
}
