package accounts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// lookForNewCluster tells what became of a cluster.create whose answer was lost: it looks for a cluster of
// that name and place that was made since and that no other operation has made. It is never asked for again.
func (s *Service) lookForNewCluster(ctx context.Context, o audit.OpenOperation, up *link) (verdict, error) {
	listed, unreadable, err := listClusters(ctx, up.cloud)
	if err != nil {
		return verdict{}, fmt.Errorf("listing clusters: %w", err)
	}
	attempted, told := s.cameAbout(o.Attempt)
	var found []cloudapi.Cluster
	doubtful, reason := false, "Upstream has a cluster of this name and place and does not tell when it was made."
	for _, c := range listed {
		switch {
		case !isWish(o.Attempt.Event, c.Name, c.CloudProvider, c.Region):
		case c.CreatedAt.IsZero():
			doubtful = true
		case !told:
			doubtful, reason = true, clockReason
		case c.CreatedAt.After(attempted.Add(-clockSkew)):
			found = append(found, c)
		}
	}
	free, rivals, err := s.unclaimed(ctx, o, found)
	switch {
	case err != nil:
		return verdict{}, err
	case len(free) == 0 && len(unreadable) > 0:
		return verdict{}, &listingError{"Some clusters that Qdrant Cloud listed could not be read, so the new one may be among them."}
	case doubtful:
		return verdict{outcome: audit.Unknown, reason: reason}, nil
	case len(free) > 1:
		return verdict{outcome: audit.Unknown, reason: fmt.Sprintf("Upstream has %d new clusters of this name and place.", len(free))}, nil
	case len(free) == 1 && rivals:
		return verdict{outcome: audit.Unknown, reason: "Upstream has one new cluster of this name and place, and somebody else asked for one as well."}, nil
	case len(free) == 1:
		made := free[0]
		return verdict{outcome: audit.OK, reason: "Upstream has a new cluster of this name and place.", id: plain(made.ID), name: plain(made.Name), change: o.Attempt.Change}, nil
	case s.ageOf(o.Attempt) < stillActing:
		return verdict{}, &listingError{"Upstream may still be at it."}
	}
	return verdict{outcome: audit.Failed, reason: "Upstream has no new cluster of this name and place."}, nil
}

// isWish reports whether an attempt asked for a cluster of this name and place.
func isWish(attempt audit.Event, name, provider, region string) bool {
	asked := func(field string) string { text, _ := attempt.Change[field][1].(string); return text }
	return asked("name") == name && asked("cloud_provider") == provider && strings.EqualFold(asked("region"), region)
}

// unclaimed returns those of the clusters that no other operation is known to have made, and whether another
// one that is open, or whose outcome is unknown, may have.
func (s *Service) unclaimed(ctx context.Context, o audit.OpenOperation, found []cloudapi.Cluster) (free []cloudapi.Cluster, rivals bool, err error) {
	if len(found) == 0 {
		return nil, false, nil
	}
	claimed := map[string]bool{}
	// A cluster is made at most a day before its operation ends.
	q := audit.Query{Act: ActClusterCreate.Name, Account: o.Attempt.Account.ID, From: earliest(found).Add(-giveUpAfter)}
	for {
		page, err := s.cfg.Log.List(ctx, q)
		if err != nil {
			return nil, false, dbError("looking for other new clusters", err)
		}
		for _, other := range page.Operations {
			switch {
			case other.Operation == o.Operation:
			case other.Outcome == audit.OK:
				claimed[other.Target.ID] = true
			case other.Outcome != audit.Failed && other.Outcome != audit.Denied && isWish(other.Event, found[0].Name, found[0].CloudProvider, found[0].Region):
				rivals = true
			}
		}
		if page.Next == 0 {
			break
		}
		q.After = page.Next
	}
	for _, c := range found {
		if !claimed[plain(c.ID)] {
			free = append(free, c)
		}
	}
	return free, rivals, nil
}

func earliest(of []cloudapi.Cluster) time.Time {
	first := of[0].CreatedAt
	for _, c := range of[1:] {
		if c.CreatedAt.Before(first) {
			first = c.CreatedAt
		}
	}
	return first
}
