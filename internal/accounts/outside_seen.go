package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// maxAcknowledgement bounds the note of an acknowledgement, in characters.
const maxAcknowledgement = 500

// OutsideQuery narrows the changes made outside.
type OutsideQuery struct {
	Account string // id; empty: all
	Open    bool   // only those that nobody has acknowledged
	After   int64  // keyset: only events with a smaller number
}

// OutsideChange is one change of a cluster that nobody made with this console, or several of an account's that are told together.
type OutsideChange struct {
	audit.Stored
	Acknowledged *Acknowledgement // nil: nobody has
	Acknowledge  Offer            // of OutsideChange only, lists do not tell it
}

// Acknowledgement says who has looked at a change made outside.
type Acknowledgement struct {
	Seq   int64
	By    string // name at the time
	Email string // empty when nobody vouched for it
	At    time.Time
	Note  string
}

// OutsidePage is one page of changes made outside, newest first. Next is 0 on the last.
type OutsidePage struct {
	Changes []OutsideChange
	Next    int64
}

// OutsideChanges lists what was changed outside this console, as far as the member may read the log. Narrowed to an account it is a
// search, and recorded as one. What may read far back has the bounds of a search: ErrRateLimited, context.DeadlineExceeded.
func (s *Service) OutsideChanges(ctx context.Context, by audit.Actor, q OutsideQuery) (OutsidePage, error) {
	part, err := s.logFor(ctx, by, ActAuditRead)
	if err != nil {
		return OutsidePage{}, err
	}
	query := audit.Query{Act: ActClusterChangedOutside.Name, After: q.After, Part: part}
	if q.Open {
		query.Unfollowed = ActClusterAcknowledge.Name
	}
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil { // there is no such account, so nothing is looked for
			return OutsidePage{}, nil
		}
		query.Account = id.String()
		if err := s.noteSearch(ctx, by, searchChange(query)); err != nil {
			return OutsidePage{}, err
		}
	}
	if q.Open || q.Account != "" || part != nil {
		done, err := s.searchTurn(ctx)
		if err != nil {
			return OutsidePage{}, err
		}
		defer done()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, searchTime)
		defer cancel()
	}
	out, err := s.outsideChanges(ctx, part, query)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return OutsidePage{}, fmt.Errorf("listing changes made outside: %w", ctx.Err()) // the database is there, and slow
	}
	return out, err
}

func (s *Service) outsideChanges(ctx context.Context, part *audit.Part, query audit.Query) (OutsidePage, error) {
	var out OutsidePage
	// Each act by itself: so each is read from where the log has it, however much else is between.
	for _, act := range outsideActs() {
		query.Act, query.Limit = act.Name, outsideLimit+1
		page, err := s.cfg.Log.List(ctx, query)
		if err != nil {
			return OutsidePage{}, dbError("listing changes made outside", err)
		}
		for _, o := range page.Operations {
			out.Changes = append(out.Changes, OutsideChange{Stored: o.Stored})
		}
	}
	slices.SortFunc(out.Changes, func(a, b OutsideChange) int { return cmp.Compare(b.Seq, a.Seq) })
	if len(out.Changes) > outsideLimit {
		out.Changes = out.Changes[:outsideLimit]
		out.Next = out.Changes[outsideLimit-1].Seq
	}
	return out, s.addAcknowledged(ctx, part, out.Changes)
}

// outsideLimit is how many changes a page has.
const outsideLimit = 50

// outsideActs are the acts of changes made outside.
func outsideActs() []Act {
	return []Act{ActClusterChangedOutside, ActClusterKeysOutside, ActAccountChangedOutside}
}

// IsOutside reports whether an act is one of changes made outside: then its actor is who noticed.
func IsOutside(act string) bool {
	return slices.ContainsFunc(outsideActs(), func(a Act) bool { return a.Name == act })
}

// OutsideChange returns one of them; ErrNotFound when there is none of that number that the member may read.
func (s *Service) OutsideChange(ctx context.Context, by audit.Actor, seq int64) (OutsideChange, error) {
	detail, err := s.LogEvent(ctx, by, seq)
	if err != nil {
		return OutsideChange{}, err
	}
	if !IsOutside(detail.Act) {
		return OutsideChange{}, ErrNotFound
	}
	part, err := s.logPartNow(ctx, s.visible(by, ActAuditRead))
	if err != nil {
		return OutsideChange{}, err
	}
	one := []OutsideChange{{Stored: detail.Stored}}
	if err := s.addAcknowledged(ctx, part, one); err != nil {
		return OutsideChange{}, err
	}
	on, err := s.outsideTarget(ctx, detail.Event)
	if err != nil {
		return OutsideChange{}, err
	}
	one[0].Acknowledge = Offer{Act: ActClusterAcknowledge.Name, Offered: true}
	if rights := s.rights(by); !rights.Allows(ActClusterAcknowledge.Needs, on.access()) {
		one[0].Acknowledge.Offered, one[0].Acknowledge.Reason = false, "You need "+rights.Missing(ActClusterAcknowledge.Needs, on.access())+" on the "+on.Kind+"."
	}
	return one[0], nil
}

// addAcknowledged adds who has acknowledged the changes.
func (s *Service) addAcknowledged(ctx context.Context, part *audit.Part, changes []OutsideChange) error {
	ids := make([]uuid.UUID, len(changes))
	for i, c := range changes {
		ids[i] = c.ID
	}
	acknowledged, err := audit.FollowersIn(ctx, s.cfg.DB, ids, ActClusterAcknowledge.Name, part)
	if err != nil {
		return dbError("reading acknowledgements", err)
	}
	for i := range changes {
		c := &changes[i]
		if a, done := acknowledged[c.ID]; done {
			c.Acknowledged = acknowledgementOf(a)
		}
	}
	return nil
}

func acknowledgementOf(e audit.Stored) *Acknowledgement {
	a := &Acknowledgement{Seq: e.Seq, By: nameOf(e.Actor), At: e.RecordedAt}
	a.Note, _ = e.Change["note"][1].(string)
	if e.Actor.EmailVerified {
		a.Email = e.Actor.Email
	}
	return a
}

// outsideTarget is the cluster of an event, or the account, as rights see it: with the environment and labels that are known here, and without when
// the account or the cluster is not known any more.
func (s *Service) outsideTarget(ctx context.Context, e audit.Event) (target, error) {
	on := target{Kind: KindCluster, ID: e.Target.ID, Name: e.Target.Name}
	accountID, err := uuid.Parse(e.Account.ID)
	if err != nil {
		return target{}, ErrNotFound
	}
	on.Account = accountRef{ID: accountID, Name: e.Account.Name}
	account, err := accountByID(ctx, s.cfg.DB, accountID, false)
	switch {
	case err == nil:
		on.Account = account.ref()
	case !errors.Is(err, ErrNotFound):
		return target{}, err
	}
	if e.Target.Kind == KindAccount {
		return accountTarget(on.Account), nil
	}
	var labels string
	err = s.cfg.DB.QueryRow(ctx, `SELECT labels::text FROM clusters WHERE account_id = $1 AND cluster_id = $2`, accountID, on.ID).Scan(&labels)
	if errors.Is(err, pgx.ErrNoRows) {
		return on, nil
	}
	if err != nil {
		return target{}, dbError("reading the cluster", err)
	}
	if err := json.Unmarshal([]byte(labels), &on.Labels); err != nil {
		return target{}, fmt.Errorf("reading the cluster's labels: %w", err)
	}
	return on, nil
}

// AcknowledgeOutside records that a member has looked at a change made outside, with a note. It is recorded once: false when somebody
// had before. ErrNotFound when the member may not read such a change, *ForbiddenError when they may not change the cluster, or all of the account's where it is about several,
// *InvalidError at the note.
func (s *Service) AcknowledgeOutside(ctx context.Context, by audit.Actor, seq int64, note string) (bool, error) {
	c, err := s.OutsideChange(ctx, by, seq)
	if err != nil {
		return false, err
	}
	on, err := s.outsideTarget(ctx, c.Event)
	if err != nil {
		return false, err
	}
	if err := s.authorize(ctx, by, ActClusterAcknowledge, on); err != nil {
		return false, err
	}
	if c.Acknowledged != nil {
		return false, nil
	}
	note = tidyText(note)
	problem := textProblem(note, maxAcknowledgement, true)
	if strings.TrimSpace(note) == "" {
		problem = "Say in a few words what it was, or that you know of it."
	}
	if problem != "" {
		return false, &InvalidError{Fields: map[string]string{"note": problem}}
	}
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	recorded := false
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		// Two who post at once: the second waits here, and then sees the first.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 19))`, c.ID.String()); err != nil {
			return err
		}
		before, err := audit.FollowersIn(ctx, tx, []uuid.UUID{c.ID}, ActClusterAcknowledge.Name, nil)
		if err != nil || len(before) > 0 {
			return err
		}
		e := singleEvent(on, by, ActClusterAcknowledge, audit.Change{"note": {nil, note}})
		e.Parent, recorded = c.ID, true
		return s.recordLast(ctx, tx, e)
	})
	if err != nil {
		return false, dbError("acknowledging a change made outside", err)
	}
	return recorded, nil
}
