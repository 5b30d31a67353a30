package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// lookForDatabaseKey tells what became of an act on a database key from upstream's list of keys.
func (s *Service) lookForDatabaseKey(ctx context.Context, act Act, o audit.OpenOperation, up *link) (verdict, error) {
	attempt := o.Attempt
	var list cloudapi.KeyListing
	var err error
	if act.TargetKind == KindAdminKey {
		list, err = up.cloud.AdminKeys(ctx, "")
	} else {
		list, err = up.cloud.DatabaseKeys(ctx, "")
	}
	if err != nil {
		return verdict{}, fmt.Errorf("listing keys: %w", err)
	}
	defer s.keyrings.drop(up.account.ID)
	listed := list.Keys
	if makesKey(act.Name) {
		found, err := s.lookForNewKey(ctx, act, o, listed)
		if err == nil && found.outcome == audit.Failed && len(list.Unreadable) > 0 {
			return verdict{outcome: audit.Unknown, reason: unreadableReason}, nil
		}
		return found, err
	}
	i := slices.IndexFunc(listed, func(k cloudapi.DatabaseKey) bool { return k.ID == attempt.Target.ID })
	switch {
	case act.Name == ActAdminKeyUpdate.Name && i >= 0:
		if slices.Equal(slices.Sorted(slices.Values(listed[i].Clusters)), changedToList(attempt.Change, changeClusters)) {
			return verdict{outcome: audit.OK, reason: "Upstream shows the key with the clusters that were asked for."}, nil
		}
		return verdict{outcome: audit.Failed, reason: "Upstream shows the key with other clusters."}, nil
	case act.Name == ActAdminKeyUpdate.Name && len(list.Unreadable) == 0:
		return verdict{outcome: audit.Unknown, reason: "The key does not exist any more."}, nil
	case i >= 0:
		return verdict{outcome: audit.Failed, reason: "Upstream still lists the key."}, nil
	case len(list.Unreadable) > 0:
		return verdict{outcome: audit.Unknown, reason: unreadableReason}, nil
	}
	return verdict{outcome: audit.OK, reason: "Upstream does not list the key any more."}, nil
}

// unreadableReason is why nothing is concluded from that a list does not have a key.
const unreadableReason = "Upstream lists keys that the console cannot read, and any of them may be it."

// lookForNewKey looks for the one key that a lost attempt can have made: like what was asked for, made
// since, and not known from another operation.
func (s *Service) lookForNewKey(ctx context.Context, act Act, o audit.OpenOperation, listed []cloudapi.DatabaseKey) (verdict, error) {
	attempt := o.Attempt
	attempted, told := s.cameAbout(attempt)
	alike := slices.DeleteFunc(slices.Clone(listed), func(k cloudapi.DatabaseKey) bool {
		return told && k.CreatedAt.Before(attempted.Add(-clockSkew).Truncate(time.Second)) || !isAsked(act, attempt.Event, k)
	})
	ids := make([]string, len(alike))
	for i, k := range alike {
		ids[i] = k.ID
	}
	made, err := s.cfg.Log.OutcomesOf(ctx, attempt.Account.ID, attempt.Target.Kind, ids)
	if err != nil {
		return verdict{}, dbError("reading the history of keys", err)
	}
	alike = slices.DeleteFunc(alike, func(k cloudapi.DatabaseKey) bool {
		return slices.ContainsFunc(made, func(e audit.Stored) bool { return e.Target.ID == k.ID && makesKey(e.Act) })
	})
	switch {
	case len(alike) == 0:
		return verdict{outcome: audit.Failed, reason: "Upstream lists no such key made since."}, nil
	case !told:
		return verdict{outcome: audit.Unknown, reason: clockReason}, nil
	case len(alike) == 1:
		return verdict{
			outcome: audit.OK, reason: "The key exists, and nobody saw its secret.",
			id: alike[0].ID, name: keyName(alike[0]), change: madeChange(attempt.Change, alike[0]),
		}, nil
	}
	return verdict{outcome: audit.Unknown, reason: fmt.Sprintf("Upstream lists %d such keys made since, and any of them may be it.", len(alike))}, nil
}

// isAsked reports whether a key is like what the attempt asked for.
func isAsked(act Act, attempt audit.Event, k cloudapi.DatabaseKey) bool {
	if act.TargetKind == KindAdminKey {
		return slices.Equal(slices.Sorted(slices.Values(k.Clusters)), changedToList(attempt.Change, changeClusters))
	}
	return k.Name == attempt.Target.Name && slices.Contains(k.Clusters, changedTo(attempt.Change, changeCluster))
}

// changedToList is the list of texts that a change made of a field.
func changedToList(change audit.Change, field string) []string {
	values, _ := change[field][1].([]any)
	var list []string
	for _, v := range values {
		text, _ := v.(string)
		list = append(list, text)
	}
	return list
}
