package accounts

import (
	"context"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// missingOnAny names the right that an act lacks on any of the clusters that an admin key opens; empty
// when the act is allowed on each. Who may act on one cluster must not reach another through a key.
func missingOnAny(rights access.Rights, act Act, opened []target) string {
	for _, on := range opened {
		if missing := rights.Missing(act.Needs, on.access()); missing != "" {
			return missing + " on every cluster that the key opens"
		}
	}
	return ""
}

// authorizeEach is authorize on every cluster of a key that the actor was shown already, so that a
// refusal hides nothing: *ForbiddenError.
func (s *Service) authorizeEach(ctx context.Context, by audit.Actor, act Act, on target, opened []target) error {
	missing := missingOnAny(s.rightsFor(by, act), act, opened)
	if missing == "" {
		return nil
	}
	s.denied(ctx, by, act, on, missing)
	return &ForbiddenError{Act: act.Name, Missing: missing}
}

// mayOn are the clusters that the actor may read and do the act on.
func mayOn(rights access.Rights, act Act, clusters []target) []target {
	var may []target
	for _, on := range clusters {
		if rights.Allows(ActClusterRead.Needs, on.access()) && rights.Allows(act.Needs, on.access()) {
			may = append(may, on)
		}
	}
	return may
}
