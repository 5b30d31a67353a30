package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// What the log keeps of a database key in a Change, besides its own fields.
const (
	changeCluster     = "cluster_id"
	changeClusters    = "cluster_ids"
	changeSuccessorOf = "successor_of" // the key that a rotation replaces
)

// ClusterKeys is the page of the keys of a cluster.
type ClusterKeys struct {
	Account Account
	Cluster cloudapi.Cluster
	Gone    bool // the cluster is no more
	Keys    []ClusterKey
	Pending []PendingKey
	Offers  map[string]Offer // by act: what is offered on keys here at all
	// AdminsFailed says why the admin keys could not be listed; empty when they were.
	AdminsFailed string
	// Unreadable: upstream lists keys of the account that the console cannot read, and any of them may open the cluster.
	Unreadable bool
}

// ClusterKey is a database key that opens a cluster, and what this console knows of it.
type ClusterKey struct {
	cloudapi.DatabaseKey
	Creator   string // who made it, as far as known: our member, else upstream's e-mail
	Here      bool   // made with this console
	NobodySaw bool   // the answer that had its secret was lost
	// Opens are the clusters of an admin key that the member may read; Hidden is how many more there are.
	Opens  []OpenedCluster
	Hidden int
	// SuccessorOf and Successor join the two keys of a rotation while both are there; the other's id.
	SuccessorOf, Successor string
	Offers                 map[string]Offer

	rotation uuid.UUID // the operation that made the successor
	rotating bool      // whether there is a successor is not known yet
}

// OpenedCluster is a cluster that an admin key opens.
type OpenedCluster struct {
	ID, Name string
	Here     bool // the one whose keys are listed
}

// PendingKey is the making of a key that has no outcome yet.
type PendingKey struct {
	PendingAct
	Name string

	successorOf string // the key that is rotated
}

// KeyMark is what tells a key from others in a list, and what is typed to delete it: the last
// characters of its secret, of an admin key the first; its id where upstream tells neither.
func KeyMark(k cloudapi.DatabaseKey) string {
	mark := k.Postfix
	if k.Admin {
		mark = k.Prefix
	}
	return cmp.Or(strings.TrimSpace(mark), k.ID)
}

// keyName is what the log calls a key.
func keyName(k cloudapi.DatabaseKey) string {
	if k.Admin {
		return KeyMark(k) + "…"
	}
	return k.Name
}

// The acts on keys that an API has: those of keys with a name, or of admin keys.
func readKeysOf(g cloudapi.Generation) Act {
	if g == cloudapi.PAV1 {
		return ActAdminKeyRead
	}
	return ActKeyRead
}

func createKeyOf(g cloudapi.Generation) Act {
	if g == cloudapi.PAV1 {
		return ActAdminKeyCreate
	}
	return ActKeyCreate
}

func deleteKeyOf(k cloudapi.DatabaseKey) Act {
	if k.Admin {
		return ActAdminKeyDelete
	}
	return ActKeyDelete
}

// key is a key of the cluster as a target. What is to be made has no id yet.
func (c actedCluster) key(kind, id, name string) target {
	return target{Account: c.on.Account, Kind: kind, ID: id, Name: name, Cluster: c.on.ID, Labels: c.on.Labels}
}

func (c actedCluster) keyTarget(k cloudapi.DatabaseKey) target {
	if k.Admin {
		return c.key(KindAdminKey, k.ID, keyName(k))
	}
	return c.key(KindKey, k.ID, keyName(k))
}

// keyGround is the cluster whose keys somebody wants to act on. The right is asked for on the cluster,
// so that a refusal tells of keys no more than of the cluster: ErrNotFound when it may not be read.
func (s *Service) keyGround(ctx context.Context, by audit.Actor, ref ClusterRef, act func(cloudapi.Generation) Act) (actedCluster, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return actedCluster{}, err
	}
	return known, s.authorize(ctx, by, act(known.account.Generation), known.on)
}

func always(act Act) func(cloudapi.Generation) Act {
	return func(cloudapi.Generation) Act { return act }
}

// Keys lists the keys of a cluster, newest first, as upstream tells them now or told them at most ten
// seconds ago. ErrNotFound when the cluster may not be read.
func (s *Service) Keys(ctx context.Context, by audit.Actor, ref ClusterRef) (ClusterKeys, error) {
	known, err := s.keyGround(ctx, by, ref, readKeysOf)
	if err != nil {
		return ClusterKeys{}, err
	}
	detail, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return ClusterKeys{}, err
	}
	list, err := s.databaseKeys(ctx, by, known.account)
	if err != nil {
		return ClusterKeys{}, err
	}
	page := ClusterKeys{Account: detail.Account, Cluster: detail.Cluster, Gone: detail.Gone, AdminsFailed: list.adminsFailed, Unreadable: len(list.unreadable) > 0}
	if page.Pending, err = s.pendingKeys(ctx, known); err != nil {
		return ClusterKeys{}, err
	}
	if page.Keys, err = s.keysOf(ctx, by, known, list.keys, page.Pending); err != nil {
		return ClusterKeys{}, err
	}
	page.Offers = s.keyOffers(by, known)
	if page.Gone {
		withdraw(page.Offers)
		for _, k := range page.Keys {
			withdraw(k.Offers)
		}
	}
	return page, nil
}

// withdraw takes back all offers on a cluster that is gone.
func withdraw(offers map[string]Offer) {
	for name := range offers {
		offers[name] = Offer{Act: name, Reason: goneReason}
	}
}

// keysOf are the keys among all of the account that open the cluster, with what the log knows of them.
func (s *Service) keysOf(ctx context.Context, by audit.Actor, known actedCluster, all []cloudapi.DatabaseKey, pending []PendingKey) ([]ClusterKey, error) {
	var keys []ClusterKey
	admins := false
	for _, k := range all {
		if slices.Contains(k.Clusters, known.on.ID) {
			keys = append(keys, ClusterKey{DatabaseKey: k, Creator: k.CreatedBy})
			admins = admins || k.Admin
		}
	}
	slices.SortStableFunc(keys, func(a, b ClusterKey) int { return b.CreatedAt.Compare(a.CreatedAt) })
	if err := s.addHistory(ctx, known, keys); err != nil {
		return nil, err
	}
	clusters := []target{known.on}
	if admins {
		var err error
		if clusters, err = s.clusterTargets(ctx, known.account); err != nil {
			return nil, err
		}
	}
	for i := range keys {
		keys[i].rotating = slices.ContainsFunc(pending, func(p PendingKey) bool { return p.successorOf == keys[i].ID })
		opened := openedBy(keys[i].DatabaseKey, known, clusters)
		if keys[i].Admin {
			s.addOpened(by, &keys[i], known, opened)
		}
		keys[i].Offers = s.oneKeyOffers(by, known, keys[i], opened)
	}
	return keys, nil
}

// addHistory adds what the log knows: who made a key here, whether anybody saw its secret, and which
// key it is to replace. A rotation is pending as long as both its keys are listed, so it ends by itself
// when either of them is deleted, here or elsewhere.
func (s *Service) addHistory(ctx context.Context, known actedCluster, keys []ClusterKey) error {
	at := map[string]int{}
	ids := map[string][]string{}
	for i, k := range keys {
		kind := known.keyTarget(k.DatabaseKey).Kind
		at[kind+k.ID] = i
		ids[kind] = append(ids[kind], k.ID)
	}
	for kind, of := range ids {
		made, err := s.cfg.Log.OutcomesOf(ctx, known.on.Account.ID.String(), kind, of)
		if err != nil {
			return dbError("reading the history of keys", err)
		}
		for _, e := range made {
			if !makesKey(e.Act) {
				continue
			}
			i := at[kind+e.Target.ID]
			keys[i].Here, keys[i].NobodySaw = true, e.Inferred
			keys[i].Creator = cmp.Or(e.Actor.Name, e.Actor.Email, e.Actor.Subject)
			old, rotated := at[kind+changedTo(e.Change, changeSuccessorOf)]
			if e.Act == ActKeyRotate.Name && rotated {
				keys[i].SuccessorOf, keys[old].Successor = keys[old].ID, keys[i].ID
				keys[old].rotation = e.Operation
			}
		}
	}
	return nil
}

func makesKey(act string) bool {
	return act == ActKeyCreate.Name || act == ActKeyRotate.Name || act == ActAdminKeyCreate.Name
}

// changedTo is the text that a change made of a field; empty when there is none.
func changedTo(change audit.Change, field string) string {
	text, _ := change[field][1].(string)
	return text
}

// clusterTargets are the clusters of an account that are there, by name.
func (s *Service) clusterTargets(ctx context.Context, account Account) ([]target, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT cluster_id, name, labels::text FROM clusters WHERE account_id = $1 AND gone_at IS NULL ORDER BY lower(name), cluster_id`, account.ID)
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	defer rows.Close()
	var all []target
	for rows.Next() {
		on, labels := target{Account: account.ref(), Kind: KindCluster}, ""
		if err := rows.Scan(&on.ID, &on.Name, &labels); err != nil {
			return nil, dbError("reading the account's clusters", err)
		}
		if err := json.Unmarshal([]byte(labels), &on.Labels); err != nil {
			return nil, fmt.Errorf("reading a cluster's labels: %w", err)
		}
		all = append(all, on)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	return all, nil
}

// openedBy are the clusters that a key opens, as targets. Of one that the console does not know only
// the id is known, so only rights that hold in the whole account reach it.
func openedBy(k cloudapi.DatabaseKey, known actedCluster, clusters []target) []target {
	opened := make([]target, 0, len(k.Clusters))
	for _, id := range k.Clusters {
		on := target{Account: known.on.Account, Kind: KindCluster, ID: id}
		if i := slices.IndexFunc(clusters, func(t target) bool { return t.ID == id }); i >= 0 {
			on = clusters[i]
		}
		opened = append(opened, on)
	}
	return opened
}

// addOpened names the clusters of an admin key that the member may read, and counts the others.
func (s *Service) addOpened(by audit.Actor, k *ClusterKey, known actedCluster, opened []target) {
	rights := s.rights(by)
	for _, on := range opened {
		if !rights.Allows(ActClusterRead.Needs, on.access()) {
			k.Hidden++
			continue
		}
		name := on.Name
		if strings.TrimSpace(name) == "" {
			name = on.ID
		}
		k.Opens = append(k.Opens, OpenedCluster{ID: on.ID, Name: name, Here: on.ID == known.on.ID})
	}
	slices.SortStableFunc(k.Opens, func(a, b OpenedCluster) int { return strings.Compare(a.Name, b.Name) })
}

// pendingKeys are the keys of the cluster whose making has no outcome yet, oldest first.
func (s *Service) pendingKeys(ctx context.Context, known actedCluster) ([]PendingKey, error) {
	var pending []PendingKey
	for _, kind := range []string{KindKey, KindAdminKey} {
		open, err := s.cfg.Log.PendingFor(ctx, kind, "") // what is to be made has no id yet
		if err != nil {
			return nil, dbError("reading open operations", err)
		}
		for _, o := range open {
			if o.Attempt.Account.ID != known.on.Account.ID.String() || changedTo(o.Attempt.Change, changeCluster) != known.on.ID {
				continue
			}
			since, _ := s.cameAbout(o.Attempt)
			pending = append(pending, PendingKey{Name: o.Attempt.Target.Name, successorOf: changedTo(o.Attempt.Change, changeSuccessorOf), PendingAct: PendingAct{
				Act: o.Attempt.Act, By: o.Attempt.Actor.Name, Since: since, Unknown: s.ageOf(o.Attempt) > s.cfg.UnknownAfter,
			}})
		}
	}
	return pending, nil
}

// keyOffers says what can be done with keys of the cluster at all.
func (s *Service) keyOffers(by audit.Actor, known actedCluster) map[string]Offer {
	acts := []Act{ActKeyCreate, ActKeyRotate, ActKeyDelete}
	if known.account.Generation == cloudapi.PAV1 {
		acts = []Act{ActAdminKeyCreate, ActAdminKeyUpdate, ActAdminKeyDelete}
	}
	offers := map[string]Offer{}
	for _, act := range acts {
		reason := s.keyNotOffered(by, act, known)
		offers[act.Name] = Offer{Act: act.Name, Offered: reason == "", Reason: reason}
	}
	return offers
}

func (s *Service) keyNotOffered(by audit.Actor, act Act, known actedCluster) string {
	if known.gone {
		return goneReason
	}
	if reason := s.notOffered(by, act, known.key(act.TargetKind, "", ""), "", known.account.Key); reason != "" {
		return reason
	}
	if makesKey(act.Name) {
		return phaseForbids(act, known.phase)
	}
	return ""
}

// oneKeyOffers says what can be done with one key.
func (s *Service) oneKeyOffers(by audit.Actor, known actedCluster, k ClusterKey, opened []target) map[string]Offer {
	acts := []Act{ActKeyRotate, ActKeyDelete}
	if k.Admin {
		acts = []Act{ActAdminKeyUpdate, ActAdminKeyDelete}
	}
	offers := map[string]Offer{}
	for _, act := range acts {
		reason := s.keyNotOffered(by, act, known)
		if reason == "" && k.Admin {
			if missing := missingOnAny(s.rights(by), act, opened); missing != "" {
				reason = fmt.Sprintf("You need %s.", missing)
			}
		}
		if reason == "" && act.Name == ActKeyRotate.Name {
			reason = notRotatable(k)
		}
		offers[act.Name] = Offer{Act: act.Name, Offered: reason == "", Reason: reason}
	}
	return offers
}

func notRotatable(k ClusterKey) string {
	switch {
	case k.Successor != "":
		return "This key has a successor already. Delete this key once the successor is in use, or delete the successor and rotate again."
	case k.rotating:
		return "Whether a successor was made is not known yet: the answer was lost, and is being looked for."
	case !repeatable(k.Access):
		return "What this key opens is not fully understood here, so no successor with the same rules can be made. Make a new key instead."
	}
	return ""
}
