package accounts

import (
	"context"
	"fmt"
	"slices"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// AskedKey is a key that a page asks about before something is done with it.
type AskedKey struct {
	Account Account
	Cluster cloudapi.Cluster
	Key     ClusterKey
	Choices []OpenedCluster // for the update of an admin key: the clusters to choose from

	opens []target // the clusters that an admin key opens
}

// AskKeyDelete reads a key for the page that asks before it is deleted. ErrNotFound when there is no such
// key; who may not delete it is refused, and that is recorded.
func (s *Service) AskKeyDelete(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (AskedKey, error) {
	_, asked, _, err := s.keyToDelete(ctx, by, ref, keyID)
	return asked, err
}

// keyToDelete returns the key and the clusters that it opens. The right is asked for on this cluster
// before keys are looked at, and then on each of the key's.
func (s *Service) keyToDelete(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (actedCluster, AskedKey, Act, error) {
	known, err := s.keyGround(ctx, by, ref, func(g cloudapi.Generation) Act {
		return deleteKeyOf(cloudapi.DatabaseKey{Admin: g == cloudapi.PAV1})
	})
	if err != nil {
		return actedCluster{}, AskedKey{}, Act{}, err
	}
	key, err := s.keyByID(ctx, by, known, keyID)
	if err != nil {
		return actedCluster{}, AskedKey{}, Act{}, err
	}
	act := deleteKeyOf(key.DatabaseKey)
	asked, err := s.askKey(ctx, by, ref, known, act, key)
	return known, asked, act, err
}

func (s *Service) askKey(ctx context.Context, by audit.Actor, ref ClusterRef, known actedCluster, act Act, key ClusterKey) (AskedKey, error) {
	var opens []target
	if key.Admin {
		clusters, err := s.clusterTargets(ctx, known.account)
		if err != nil {
			return AskedKey{}, err
		}
		opens = openedBy(key.DatabaseKey, known, clusters)
		if err := s.authorizeEach(ctx, by, act, known.keyTarget(key.DatabaseKey), opens); err != nil {
			return AskedKey{}, err
		}
	}
	if reason := s.keyNotOffered(by, act, known); reason != "" {
		return AskedKey{}, &ConflictError{Reason: reason}
	}
	detail, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return AskedKey{}, err
	}
	return AskedKey{Account: detail.Account, Cluster: detail.Cluster, Key: key, opens: opens}, nil
}

// DeleteKey deletes a key of either kind. confirm must be its KeyMark. Deleting the old key of a
// rotation belongs to that rotation in the log.
func (s *Service) DeleteKey(ctx context.Context, by audit.Actor, ref ClusterRef, keyID, confirm string) error {
	known, asked, act, err := s.keyToDelete(ctx, by, ref, keyID)
	if err != nil {
		return err
	}
	key := asked.Key
	if confirm != KeyMark(key.DatabaseKey) {
		return invalidField("confirm", "These are not the key's characters.")
	}
	op := operation{act: act, parent: key.rotation, on: known.keyTarget(key.DatabaseKey), opens: asked.opens, intended: deletedChange(key.DatabaseKey)}
	defer s.keysChanged(ctx, ref.AccountID)
	return s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
		var err error
		if key.Admin {
			err = up.cloud.DeleteAdminKey(ctx, key.ID)
		} else {
			err = up.cloud.DeleteDatabaseKey(ctx, ref.ClusterID, key.ID)
		}
		if e, ok := cloudapi.AsError(err); ok && e.Kind == cloudapi.NotFound {
			return done{}, &ConflictError{Reason: goneMeanwhile}
		}
		if err != nil {
			return done{}, fmt.Errorf("%s: %w", act.Name, err)
		}
		return done{change: op.intended}, nil
	})
}

// deletedChange is what the log keeps of a key that is deleted.
func deletedChange(k cloudapi.DatabaseKey) audit.Change {
	if k.Admin {
		return audit.Change{"prefix": {k.Prefix, nil}, changeClusters: {slices.Sorted(slices.Values(k.Clusters)), nil}}
	}
	return audit.Change{
		"name": {k.Name, nil}, "postfix": {k.Postfix, nil}, changeCluster: {k.Clusters[0], nil},
		"access": {accessLines(k.Access), nil}, "expires_at": {endOf(k.ExpiresAt), nil},
	}
}

// AskKeyUpdate reads an admin key for the page of its update.
func (s *Service) AskKeyUpdate(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (AskedKey, error) {
	_, asked, _, err := s.keyToUpdate(ctx, by, ref, keyID)
	return asked, err
}

func (s *Service) keyToUpdate(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (known actedCluster, asked AskedKey, may []target, err error) {
	if known, err = s.keyGround(ctx, by, ref, always(ActAdminKeyUpdate)); err != nil {
		return known, asked, nil, err
	}
	if reason := s.keyNotOffered(by, ActAdminKeyUpdate, known); reason != "" {
		return known, asked, nil, &ConflictError{Reason: reason}
	}
	key, err := s.keyByID(ctx, by, known, keyID)
	if err != nil {
		return known, asked, nil, err
	}
	if asked, err = s.askKey(ctx, by, ref, known, ActAdminKeyUpdate, key); err != nil {
		return known, asked, nil, err
	}
	clusters, err := s.clusterTargets(ctx, known.account)
	if err != nil {
		return known, asked, nil, err
	}
	may = mayOn(s.rights(by), ActAdminKeyUpdate, clusters)
	asked.Choices = choices(may, ref.ClusterID)
	return known, asked, may, nil
}

// UpdateAdminKey sends the clusters of an admin key, which is all that pa/v1 takes. Upstream says that
// they cannot be changed, so it answers with the key as it is or refuses.
func (s *Service) UpdateAdminKey(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string, clusters []string) error {
	known, asked, may, err := s.keyToUpdate(ctx, by, ref, keyID)
	if err != nil {
		return err
	}
	chosen, problem := chosenClusters(clusters, may, ref.ClusterID)
	if problem != "" {
		return invalidField("clusters", problem)
	}
	key := asked.Key.DatabaseKey
	before := slices.Sorted(slices.Values(key.Clusters))
	op := operation{
		act: ActAdminKeyUpdate, on: known.keyTarget(key), opens: append(slices.Clone(asked.opens), among(may, chosen)...),
		intended: audit.Change{changeClusters: {before, chosen}},
	}
	defer s.keysChanged(ctx, ref.AccountID)
	return s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
		after, err := up.cloud.UpdateAdminKey(ctx, key.ID, chosen)
		if err != nil {
			return done{}, fmt.Errorf("%s: %w", op.act.Name, err)
		}
		return done{change: audit.Change{changeClusters: {before, slices.Sorted(slices.Values(after.Clusters))}}}, nil
	})
}
