package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// What is changed past this console is told by comparing: each complete listing with what was read or written here
// before. Names, labels, settings and existence count, states do not, for they move by themselves. A difference that
// nobody here made becomes one event, in the transaction that stores what was read: it is told once, whichever replica
// reads it, and nothing is stored that could not be told.
//
// What is ours the log says. An act has its attempt there before upstream is called, so whatever of ours a listing can
// have seen is in the log when the listing is judged. While such an act is open, or has just ended, the row keeps what it is
// compared with (base, and up to where the log told then), and a later listing is judged from there. So
// neither is an act of ours taken for somebody else's, nor does one hide what somebody else did meanwhile.
//
// A row's base is its raw answer, unless base is set: then it is that, and empty for a cluster that did not exist. Of a row
// that is gone, and without base set, it is that the cluster does not exist.

const (
	// settleOwn is how long after an act of ours ended nothing is judged of what it may have changed: what upstream answers
	// right after an act may be older than the act.
	settleOwn = 10 * time.Second
	// maxOutsideEvents bounds the events of one refresh; what is beyond is judged at the next.
	maxOutsideEvents = 500
	// outsideChunk is how many rows are compared at a time.
	outsideChunk = 200
)

// base is what a row is compared with while something is not judged. The zero base is the row's own raw answer.
type base struct {
	raw []byte
	seq *int64
}

// judgement is what became of the rows that were looked at.
type judgement struct {
	open   map[string]base // to be judged later
	ended  []string        // judged
	events []outsideEvent
}

// outsideEvent is one change made outside, without what the account is called now.
type outsideEvent struct {
	id, name, reason string // of the cluster
	change           audit.Change
	about            []string // the clusters that it is about when it is told of the account and of no single one
}

// drift is one cluster before and now; a nil side does not exist.
type drift struct {
	id            string
	position      int64 // acts that ended with an event of a higher number count
	before, after *cloudapi.Cluster
	kept          base
}

// judge compares rows with what was listed of them; a row that is looked at and not listed is gone. It locks them.
func (s *Service) judge(ctx context.Context, tx pgx.Tx, l lease, look []string, listed map[string]snapshot) (judgement, error) {
	judged := judgement{open: map[string]base{}}
	slices.Sort(look) // in the order in which the rows are written
	look = slices.Compact(look)
	if l.OKAt == nil || l.LogSeq == nil { // the first complete listing is where comparing begins
		judged.ended = look
		return judged, nil
	}
	for chunk := range slices.Chunk(look, outsideChunk) {
		differ, err := s.compareRows(ctx, tx, l, chunk, listed, &judged)
		if err != nil {
			return judgement{}, err
		}
		if err := s.explainDrift(ctx, tx, l, differ, &judged); err != nil {
			return judgement{}, err
		}
	}
	return judged, nil
}

// compareRows returns those rows that differ from what was listed, and those of which something was left to be judged. The others
// are judged with that. A row that an act
// of ours wrote after the read began is left alone, as the upsert leaves it.
func (s *Service) compareRows(ctx context.Context, tx pgx.Tx, l lease, ids []string, listed map[string]snapshot, judged *judgement) ([]drift, error) {
	rows, err := tx.Query(ctx, `
		SELECT cluster_id, raw, base, base_seq, gone_at IS NOT NULL AS gone,
			coalesce(written_at >= $3 AND written_at <= clock_timestamp() + interval '5 minutes', false) AS newer
		FROM clusters WHERE account_id = $1 AND cluster_id = ANY($2) ORDER BY cluster_id FOR UPDATE`, l.AccountID, ids, l.StartedAt)
	if err != nil {
		return nil, fmt.Errorf("reading clusters to compare: %w", err)
	}
	type row struct {
		ClusterID   string
		Raw, Base   []byte
		BaseSeq     *int64
		Gone, Newer bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("reading clusters to compare: %w", err)
	}
	stored := make(map[string]row, len(found))
	for _, r := range found {
		stored[r.ClusterID] = r
	}
	var differ []drift
	for _, id := range ids {
		r, known := stored[id]
		if r.Newer {
			continue
		}
		if !known {
			r.Base = []byte{}
		}
		c := drift{id: id, position: *l.LogSeq}
		if r.BaseSeq != nil {
			c.position = *r.BaseSeq
		}
		was := r.Base
		switch {
		case was == nil && r.Gone:
			was = []byte{}
		case was == nil:
			was = r.Raw
		}
		keptFrom := c.position
		c.kept = base{raw: was, seq: &keptFrom}
		if c.before, err = decodeSide(l.Generation, was); err == nil {
			if now, there := listed[id]; there {
				c.after, err = decodeSide(l.Generation, now.raw)
			}
		}
		switch {
		case err != nil: // of another release: nothing can be told of it
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "stored cluster not compared", slog.String("account", l.AccountID.String()), slog.String("cluster", id), slog.Any("error", err))
			judged.ended = append(judged.ended, id)
		case c.untold():
			judged.open[id] = c.kept
		case c.before == nil && c.after == nil, r.Base == nil && len(c.difference()) == 0:
			judged.ended = append(judged.ended, id)
		default:
			differ = append(differ, c)
		}
	}
	return differ, nil
}

// decodeSide decodes a raw answer; nil for one that is empty.
func decodeSide(g cloudapi.Generation, raw []byte) (*cloudapi.Cluster, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // a cluster that does not exist
	}
	c, err := cloudapi.DecodeCluster(g, raw)
	if err != nil {
		return nil, fmt.Errorf("decoding a stored cluster: %w", err)
	}
	return &c, nil
}

// untold reports whether an answer says nothing of a configuration that there was: then it tells less, and not that
// everything was cleared.
func (c drift) untold() bool {
	tells := func(k *cloudapi.Cluster) bool {
		return k.Configuration.Nodes != 0 || k.Configuration.PackageID != "" || k.Configuration.Version != ""
	}
	return c.before != nil && c.after != nil && tells(c.before) && !tells(c.after)
}

// difference is what differs, by field; of a cluster that came or went everything that it had.
func (c drift) difference() audit.Change {
	change := audit.Change{}
	if c.before == nil && c.after == nil {
		return change
	}
	side := func(k *cloudapi.Cluster) *clusterSettings {
		if k == nil {
			return nil
		}
		settings := settingsOf(*k)
		return &settings
	}
	changed(change, clusterFields(), side(c.before), side(c.after))
	if c.before == nil || c.after == nil {
		maps.DeleteFunc(change, func(_ string, sides [2]any) bool {
			value := cmp.Or(sides[0], sides[1])
			return value == 0 || value == false
		})
		change["exists"] = [2]any{c.before != nil, c.after != nil}
	}
	return change
}

// ownOperation is an operation of ours that may be why a cluster is not as it was.
type ownOperation struct {
	act     string
	target  string // the cluster; empty for a create that does not know it
	ended   int64  // number of its last outcome; 0: it is open
	endedAt time.Time
	told    bool // upstream told the outcome, it was not inferred
	outcome audit.Outcome
	attempt audit.Event
	found   audit.Change // of the outcome
}

func ownOperationOf(events []audit.Stored) ownOperation {
	op := ownOperation{}
	for _, e := range events {
		if e.Phase == audit.PhaseAttempt {
			op.attempt = e.Event
			if op.ended == 0 {
				op.act, op.target = e.Act, e.Target.ID
			}
			continue
		}
		// One that was told comes after one that was inferred, never before.
		op.act, op.target, op.ended, op.endedAt = e.Act, e.Target.ID, e.Seq, e.RecordedAt
		op.told, op.outcome, op.found = !e.Inferred, e.Outcome, e.Change
	}
	return op
}

// meddles reports whether the operation can be why the cluster differs: it names a setting, or lets the cluster come or go.
func (o ownOperation) meddles(c drift) bool {
	switch {
	case o.target == "":
		return o.act == ActClusterCreate.Name && c.before == nil
	case o.target != c.id:
		return false
	case o.act == ActClusterDelete.Name:
		return c.after == nil
	case o.act == ActClusterCreate.Name:
		return true
	}
	for _, name := range ClusterSettingNames() {
		if _, named := o.attempt.Change[name]; named {
			return true
		}
	}
	return false
}

// counts reports whether the operation may have done something since the cluster was what it is compared with. One whose outcome
// was inferred may have been on its way still.
func (o ownOperation) counts(c drift) bool {
	if o.act == ActClusterCreate.Name && (o.outcome == audit.Failed || o.target != c.id) {
		return false
	}
	return c.before == nil || o.ended > c.position || !o.told
}

// explainDrift takes away from differences what acts of ours did, and says what is left. What an act may still be about
// is left for later.
func (s *Service) explainDrift(ctx context.Context, tx pgx.Tx, l lease, differ []drift, judged *judgement) error {
	if len(differ) == 0 {
		return nil
	}
	ids, after, fresh := make([]string, 0, len(differ)+1), differ[0].position, false
	for _, c := range differ {
		ids = append(ids, c.id)
		after = min(after, c.position)
		fresh = fresh || c.before == nil
	}
	if fresh {
		ids = append(ids, "") // acts that make one
	}
	// Asked inside this transaction, after the listing was read.
	found, err := s.cfg.Log.ClusterOperations(ctx, tx, l.AccountID.String(), ids, after, s.refreshing.settleOwn)
	if err != nil {
		return fmt.Errorf("looking for acts of ours: %w", err)
	}
	operations := make([]ownOperation, 0, len(found))
	for _, events := range found {
		operations = append(operations, ownOperationOf(events))
	}
	slices.SortFunc(operations, func(a, b ownOperation) int { return cmp.Compare(a.ended, b.ended) })
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return fmt.Errorf("reading the clock: %w", err)
	}
	for _, c := range differ {
		own := slices.DeleteFunc(slices.Clone(operations), func(o ownOperation) bool { return !o.meddles(c) })
		waits := false
		for _, o := range own {
			since := now.Sub(o.endedAt)
			// A time that is ahead is of a clock that was; then the read alone tells, which began after the act had ended.
			if o.ended > 0 && o.ended <= l.Head && (since < 0 || since >= s.refreshing.settleOwn) {
				continue
			}
			waits = true
			if o.ended > 0 && o.ended <= c.position { // the last listing may have been older than the act, too
				*c.kept.seq = min(*c.kept.seq, o.ended-1)
			}
		}
		left, reason := c.left(own)
		if waits || len(left) > 0 && len(judged.events)+len(left) > maxOutsideEvents {
			judged.open[c.id] = c.kept
			continue
		}
		judged.ended = append(judged.ended, c.id)
		for _, change := range left {
			judged.events = append(judged.events, outsideEvent{id: c.id, name: c.name(), reason: reason, change: change})
		}
	}
	return nil
}

func (c drift) name() string {
	if c.after != nil {
		return c.after.Name
	}
	return c.before.Name
}

// left is what acts of ours do not explain: one change, or several when somebody else changed the same setting before and
// after an act of ours. The reason names acts that may be behind it after all.
func (c drift) left(own []ownOperation) (left []audit.Change, reason string) {
	made := slices.IndexFunc(own, func(o ownOperation) bool {
		return o.act == ActClusterCreate.Name && o.target == c.id && o.outcome != audit.Failed
	})
	switch {
	case c.after == nil:
		if slices.ContainsFunc(own, func(o ownOperation) bool { return o.act == ActClusterDelete.Name && o.outcome != audit.Failed }) {
			return nil, ""
		}
		return []audit.Change{c.difference()}, ""
	case c.before == nil && made < 0:
		for _, o := range own {
			if o.outcome == audit.Unknown && isWish(o.attempt, c.after.Name, c.after.CloudProvider, c.after.Region) {
				reason = "An act of this console asked for a cluster of this name and place, and its outcome is not known."
			}
		}
		return []audit.Change{c.difference()}, reason
	}
	var doubtful []string
	for _, f := range clusterFields() {
		gaps, doubt := c.gaps(f, own)
		for i, gap := range gaps {
			if i == len(left) {
				left = append(left, audit.Change{})
			}
			left[i][f.name] = gap
		}
		if doubt {
			doubtful = append(doubtful, f.name)
		}
	}
	if len(doubtful) > 0 {
		reason = fmt.Sprintf("An act of this console whose outcome is not known was to change %s as well.", strings.Join(doubtful, ", "))
	}
	return left, reason
}

// gaps follows one setting from what it was, through what acts of ours made of it, to what it is. Where the one does not lead to the
// next, somebody else was there.
func (c drift) gaps(f field[clusterSettings], own []ownOperation) (gaps [][2]any, doubt bool) {
	is := f.value(settingsOf(*c.after))
	var at any
	began := c.before != nil
	if began {
		at = f.value(settingsOf(*c.before))
	}
	// What acts of ours meant it to be, in whatever order they came.
	var meant []any
	for _, o := range own {
		if wanted, named := o.attempt.Change[f.name]; named && o.counts(c) {
			meant = append(meant, wanted[1])
		}
	}
	seen := []any{at}
	for _, o := range own {
		if !o.counts(c) {
			continue
		}
		found, named := o.found[f.name]
		if o.act == ActClusterCreate.Name {
			switch {
			case named && o.told:
				meant = append(meant, found[1])
				if began {
					continue
				}
				at = found[1]
			case !began || emptySetting(at) && f.name != "labels":
				at = is // upstream's choice, or what was asked for in other words
			}
			began = true
			seen = append(seen, at)
			continue
		}
		if _, named := o.attempt.Change[f.name]; !named {
			continue
		}
		if o.outcome != audit.OK || !o.told || !named {
			doubt = doubt || o.outcome != audit.Failed || !o.told
			continue
		}
		// What the act read may be older than what was known; then it is among what was seen.
		if !holdsSame(seen, found[0]) && !holdsSame(meant, found[0]) {
			gaps = append(gaps, [2]any{at, found[0]})
		}
		at = found[1]
		seen = append(seen, found[0], found[1])
	}
	if sameSetting(at, is) || holdsSame(meant, is) {
		return gaps, false
	}
	return append(gaps, [2]any{at, is}), doubt
}

func emptySetting(v any) bool { return v == nil || v == "" || v == 0 || v == false }

func holdsSame(values []any, v any) bool {
	return slices.ContainsFunc(values, func(one any) bool { return sameSetting(one, v) })
}

// sameSetting reports whether two values of a setting are the same as the log keeps them. The order of a list means nothing.
func sameSetting(a, b any) bool { return settingText(a) == settingText(b) }

func settingText(v any) string {
	kept := asRecorded(v)
	var list []string
	if json.Unmarshal([]byte(kept), &list) != nil || list == nil {
		return kept
	}
	slices.Sort(list)
	text, err := json.Marshal(list)
	if err != nil {
		return kept
	}
	return string(text)
}

// recordOutside records what was found, as the last statement of the transaction that stores it. What is more than an account
// may have in an hour is counted instead, and told in sums; see outside_sums.go.
func (s *Service) recordOutside(ctx context.Context, tx pgx.Tx, l lease, act Act, found []outsideEvent) error {
	if len(found) == 0 {
		return nil
	}
	account, err := accountByID(ctx, tx, l.AccountID, false)
	if err != nil {
		return err
	}
	single, err := s.withinBudget(ctx, tx, account, found)
	if err != nil {
		return err
	}
	events := make([]audit.Event, len(single))
	for i, f := range single {
		on := target{Account: account.ref(), Kind: KindCluster, ID: f.id, Name: f.name}
		of := act
		if f.id == "" {
			on, of = accountTarget(account.ref()), ActAccountChangedOutside
		}
		e := singleEvent(on, JobActor("refresh"), of, f.change)
		e.ID, e.Reason = uuid.Must(uuid.NewV7()), f.reason
		events[i] = e
	}
	if len(events) == 0 {
		return nil
	}
	return s.recordLast(ctx, tx, events[0], events[1:]...)
}
