package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// seenKeysLimit bounds the keys that are listed of a member, each kind by itself.
const seenKeysLimit = 400

// What is known of a key that a member made or saw.
const (
	KeyThere   = "there"   // as far as is known
	KeyRetired = "retired" // a management key that is not in use here, and not deleted as far as is known
	KeyDeleted = "deleted" // here, or said to be gone
	KeyEnded   = "ended"   // its own end has come
	KeyLost    = "lost"    // its cluster is no more
	KeyUnseen  = "unseen"  // the answer that held its secret was lost, so nobody has it
	KeyUnknown = "unknown" // a management key of an account that was removed here: this console knows no more of it
)

// SeenKeys are the keys whose secret a member may have: those they made, of which the secret was shown to them, and
// management keys that they pasted. The log tells of them, so keys that were made elsewhere are not among them.
type SeenKeys struct {
	Keys   []SeenKey // what may still open something first, then the newest first
	Hidden int       // of accounts and clusters that the reader may not see
	More   bool      // there are older ones
}

// Open counts the keys that may still open something.
func (k SeenKeys) Open() int {
	n := 0
	for _, key := range k.Keys {
		if key.Open() {
			n++
		}
	}
	return n
}

// SeenKey is a key whose secret a member may have.
type SeenKey struct {
	Kind        string // KindKey, KindAdminKey, KindManagementKey
	ID, Name    string // of a management key the name is its first characters
	AccountID   uuid.UUID
	AccountName string
	AccountGone bool // was removed here
	ClusterID   string
	ClusterName string
	Act         string // that made or stored it
	At          time.Time
	Seq         int64
	EndsAt      *time.Time
	State       string
	ClosedAt    *time.Time // when it was deleted
	ClosedBy    string
	InUse       bool // a management key that the console works with
	MayRotate   bool // the reader
	MayDelete   bool
}

// Open reports whether the key may still open something to who has its secret.
func (k SeenKey) Open() bool {
	return k.State == KeyThere || k.State == KeyRetired || k.State == KeyUnknown
}

// MemberKeys lists the keys whose secret a member may have, for who may see members. Of keys of accounts and clusters
// that the reader may not see only the number is told. Upstream is not asked: what is known is what the log and the
// snapshots say.
func (s *Service) MemberKeys(ctx context.Context, by audit.Actor, issuer, subject string) (SeenKeys, error) {
	if err := s.read(ctx, by, ActMemberRead, installation(KindMember)); err != nil {
		return SeenKeys{}, err
	}
	made, moreMade, err := s.cfg.Log.ByActor(ctx, audit.ActorQuery{
		Issuer: issuer, Subject: subject, Done: true, Limit: seenKeysLimit, Acts: []string{ActKeyCreate.Name, ActKeyRotate.Name, ActAdminKeyCreate.Name},
	})
	if err != nil {
		return SeenKeys{}, dbError("reading the keys that a member made", err)
	}
	pasted, morePasted, err := s.cfg.Log.ByActor(ctx, audit.ActorQuery{
		Issuer: issuer, Subject: subject, Done: true, Limit: seenKeysLimit, Acts: []string{ActAccountCreate.Name, ActAccountKey.Name, ActAccountSwitch.Name},
	})
	if err != nil {
		return SeenKeys{}, dbError("reading the keys that a member pasted", err)
	}
	seen := SeenKeys{More: moreMade || morePasted}
	if err := s.addDatabaseKeys(ctx, by, &seen, made); err != nil {
		return SeenKeys{}, err
	}
	if err := s.addManagementKeys(ctx, by, &seen, pasted); err != nil {
		return SeenKeys{}, err
	}
	slices.SortStableFunc(seen.Keys, func(a, b SeenKey) int {
		if a.Open() != b.Open() {
			if a.Open() {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Seq, a.Seq)
	})
	return seen, nil
}

// addDatabaseKeys adds the database keys that events tell the making of.
func (s *Service) addDatabaseKeys(ctx context.Context, by audit.Actor, seen *SeenKeys, made []audit.Stored) error {
	var ids []string
	var refs []access.ClusterRef
	for _, e := range made {
		ids = append(ids, e.Target.ID)
		refs = append(refs, clusterOf(e))
	}
	places, err := s.placesOf(ctx, refs)
	if err != nil {
		return err
	}
	deleted, err := s.cfg.Log.DoneTo(ctx, []string{KindKey, KindAdminKey}, []string{ActKeyDelete.Name, ActAdminKeyDelete.Name}, ids)
	if err != nil {
		return dbError("reading which keys were deleted", err)
	}
	rights := s.rights(by)
	for i, e := range made {
		on := places.cluster(refs[i])
		on.Kind, on.Cluster, on.ID, on.Name = e.Target.Kind, on.ID, e.Target.ID, e.Target.Name
		reading := ActKeyRead
		rotating, deleting := ActKeyRotate, ActKeyDelete
		if e.Target.Kind == KindAdminKey {
			reading, rotating, deleting = ActAdminKeyRead, ActAdminKeyUpdate, ActAdminKeyDelete
		}
		if !rights.Allows(reading.Needs, on.access()) {
			seen.Hidden++
			continue
		}
		k := SeenKey{
			Kind: e.Target.Kind, ID: e.Target.ID, Name: cmp.Or(e.Target.Name, e.Target.ID), AccountID: refs[i].AccountID,
			AccountName: cmp.Or(on.Account.Name, e.Account.Name, e.Account.ID), AccountGone: on.Account.Name == "",
			ClusterID: on.Cluster, ClusterName: cmp.Or(places.names[refs[i]], on.Cluster), Act: e.Act, At: e.RecordedAt, Seq: e.Seq, State: KeyThere,
		}
		if end, err := time.Parse(time.RFC3339, changedTo(e.Change, "expires_at")); err == nil {
			k.EndsAt = &end
		}
		closed := slices.IndexFunc(deleted, func(d audit.Stored) bool { return d.Target.ID == e.Target.ID && d.Account.ID == e.Account.ID })
		switch {
		case closed >= 0:
			d := deleted[closed]
			k.State, k.ClosedAt, k.ClosedBy = KeyDeleted, &d.RecordedAt, cmp.Or(d.Actor.Name, d.Actor.Email, d.Actor.Subject)
		case e.Inferred:
			k.State = KeyUnseen
		case places.gone[refs[i]]:
			k.State = KeyLost
		case k.EndsAt != nil && !k.EndsAt.After(s.now()):
			k.State = KeyEnded
		}
		if k.Open() && !k.AccountGone {
			k.MayRotate = k.Kind == KindKey && rights.Allows(rotating.Needs, on.access())
			k.MayDelete = rights.Allows(deleting.Needs, on.access())
		}
		seen.Keys = append(seen.Keys, k)
	}
	return nil
}

// clusterOf is the cluster at which an event tells that a key was made.
func clusterOf(e audit.Stored) access.ClusterRef {
	id, err := uuid.Parse(e.Account.ID)
	if err != nil {
		return access.ClusterRef{}
	}
	return access.ClusterRef{AccountID: id, ClusterID: changedTo(e.Change, changeCluster)}
}

// heldKey is what is known of a management key.
type heldKey struct {
	ID         uuid.UUID `db:"id"`
	Provenance string
	RetiredAt  *time.Time
	GoneAt     *time.Time
}

// addManagementKeys adds the management keys that events tell were pasted.
func (s *Service) addManagementKeys(ctx context.Context, by audit.Actor, seen *SeenKeys, pasted []audit.Stored) error {
	var ids []uuid.UUID
	var refs []access.ClusterRef
	for _, e := range pasted {
		if id, err := uuid.Parse(changedTo(e.Change, "management_key_id")); err == nil {
			ids = append(ids, id)
		}
		refs = append(refs, access.ClusterRef{AccountID: clusterOf(e).AccountID})
	}
	places, err := s.placesOf(ctx, refs)
	if err != nil {
		return err
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT id, provenance, retired_at, gone_at FROM management_keys WHERE id = ANY($1)`, ids)
	if err != nil {
		return dbError("reading management keys", err)
	}
	held, err := pgx.CollectRows(rows, pgx.RowToStructByName[heldKey])
	if err != nil {
		return dbError("reading management keys", err)
	}
	deleted, err := s.cfg.Log.DoneTo(ctx, []string{KindManagementKey}, []string{ActManagementKeyDelete.Name, ActManagementKeyDismiss.Name}, uuidTexts(ids))
	if err != nil {
		return dbError("reading which management keys were deleted", err)
	}
	rights := s.rights(by)
	for i, e := range pasted {
		id := changedTo(e.Change, "management_key_id")
		if id == "" || changedTo(e.Change, "management_key_provenance") == "minted" {
			continue
		}
		known := slices.IndexFunc(held, func(k heldKey) bool { return k.ID.String() == id })
		if known >= 0 && held[known].Provenance != "pasted" {
			continue
		}
		on := places.account(refs[i].AccountID)
		if !rights.Allows(ActAccountRead.Needs, on.access()) {
			seen.Hidden++
			continue
		}
		k := SeenKey{
			Kind: KindManagementKey, ID: id, Name: changedTo(e.Change, "management_key_prefix"), AccountID: refs[i].AccountID,
			AccountName: cmp.Or(on.Account.Name, e.Account.Name, e.Account.ID), AccountGone: on.Account.Name == "",
			Act: e.Act, At: e.RecordedAt, Seq: e.Seq, State: KeyUnknown,
		}
		if known >= 0 {
			switch key := held[known]; {
			case key.GoneAt != nil:
				k.State, k.ClosedAt = KeyDeleted, key.GoneAt
			case key.RetiredAt != nil:
				k.State = KeyRetired
				k.MayDelete = rights.Allows(ActManagementKeyDelete.Needs, on.access())
			default:
				k.State, k.InUse = KeyThere, true
				k.MayRotate = rights.Allows(ActAccountKey.Needs, on.access())
			}
		}
		if closed := slices.IndexFunc(deleted, func(d audit.Stored) bool { return d.Target.ID == id }); closed >= 0 {
			d := deleted[closed]
			k.State, k.ClosedAt, k.ClosedBy = KeyDeleted, &d.RecordedAt, cmp.Or(d.Actor.Name, d.Actor.Email, d.Actor.Subject)
			k.InUse, k.MayRotate, k.MayDelete = false, false, false
		}
		seen.Keys = append(seen.Keys, k)
	}
	return nil
}

func uuidTexts(ids []uuid.UUID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts
}

// places are accounts and clusters as targets, and the names they have.
type places struct {
	accounts map[uuid.UUID]accountRef
	labels   map[access.ClusterRef]map[string]string
	names    map[access.ClusterRef]string
	gone     map[access.ClusterRef]bool
}

// account is an account as a target; of one that was removed only its id is known, so only who may read everything
// reaches it.
func (p places) account(id uuid.UUID) target {
	ref, known := p.accounts[id]
	if !known {
		ref = accountRef{ID: id}
	}
	return accountTarget(ref)
}

func (p places) cluster(ref access.ClusterRef) target {
	return target{Account: p.account(ref.AccountID).Account, Kind: KindCluster, ID: ref.ClusterID, Name: p.names[ref], Labels: p.labels[ref]}
}

// placesOf reads the accounts and clusters of the references, as far as they are known, whoever asks.
func (s *Service) placesOf(ctx context.Context, refs []access.ClusterRef) (places, error) {
	p := places{
		accounts: map[uuid.UUID]accountRef{}, labels: map[access.ClusterRef]map[string]string{}, names: map[access.ClusterRef]string{},
		gone: map[access.ClusterRef]bool{},
	}
	if len(refs) == 0 {
		return p, nil
	}
	ids, clusters := make([]uuid.UUID, len(refs)), make([]string, len(refs))
	for i, ref := range refs {
		ids[i], clusters[i] = ref.AccountID, ref.ClusterID
	}
	rows, err := s.cfg.DB.Query(ctx, selectAccounts+` WHERE a.id = ANY($1)`, ids)
	if err != nil {
		return p, dbError("reading accounts", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[accountRow])
	if err != nil {
		return p, dbError("reading accounts", err)
	}
	for _, row := range found {
		account := row.account()
		p.accounts[account.ID] = account.ref()
	}
	rows, err = s.cfg.DB.Query(ctx, `
		SELECT account_id, cluster_id, name, labels::text, gone_at IS NOT NULL FROM clusters
		WHERE (account_id, cluster_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))`, ids, clusters)
	if err != nil {
		return p, dbError("reading clusters", err)
	}
	defer rows.Close()
	for rows.Next() {
		var ref access.ClusterRef
		var name, labels string
		var gone bool
		if err := rows.Scan(&ref.AccountID, &ref.ClusterID, &name, &labels, &gone); err != nil {
			return p, dbError("reading clusters", err)
		}
		of := map[string]string{}
		if err := json.Unmarshal([]byte(labels), &of); err != nil {
			return p, fmt.Errorf("reading a cluster's labels: %w", err)
		}
		p.names[ref], p.labels[ref], p.gone[ref] = name, of, gone
	}
	if err := rows.Err(); err != nil {
		return p, dbError("reading clusters", err)
	}
	return p, nil
}
