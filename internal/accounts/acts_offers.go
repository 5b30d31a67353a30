package accounts

import (
	"fmt"
	"slices"
	"strings"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// offers says for each act on the target whether this member can do it now, and if not, why. key is
// the key the console holds for the target's account; phase is a cluster's and empty otherwise.
func (s *Service) offers(by audit.Actor, on target, phase cloudapi.Phase, key ManagementKey) map[string]Offer {
	acts := []Act{
		ActAccountEdit, ActAccountKey, ActAccountSwitch, ActAccountDisable, ActAccountEnable, ActAccountDelete,
		ActManagementKeyCreate, ActManagementKeyDelete, ActClusterCreate,
	}
	if on.Kind == KindCluster {
		acts = []Act{ActClusterUpdate, ActClusterRestart, ActClusterSuspend, ActClusterUnsuspend, ActClusterDelete}
	}
	offers := make(map[string]Offer, len(acts))
	for _, act := range acts {
		reason := s.notOffered(by, act, on, phase, key)
		offers[act.Name] = Offer{Act: act.Name, Offered: reason == "", Reason: reason, StepUp: s.stepUpDue(by, act, on)}
	}
	return offers
}

// Lacking reports whether the act is not offered because the member has not the right to it, which others can give.
func (o Offer) Lacking() bool { return strings.HasPrefix(o.Reason, "You need ") }

// notOffered gives the first reason there is, from the one that lasts longest to the one that
// passes soonest.
func (s *Service) notOffered(by audit.Actor, act Act, on target, phase cloudapi.Phase, key ManagementKey) string {
	if missing := s.rightsFor(by, act).Missing(act.Needs, on.access()); missing != "" && !(act.Name == ActClusterCreate.Name && s.mayFill(by, on.Account)) {
		return fmt.Sprintf("You need %s here.", missing)
	}
	if act.Current != nil || act.PAV1 != nil {
		if op := act.Op(on.Account.Generation); op != nil {
			if lacking := keyLacks(key, requiredOfKey(act, *op)); len(lacking) > 0 {
				return fmt.Sprintf("The account's management key lacks %s.", strings.Join(lacking, " and "))
			}
		}
		if reason := notPossible(act, on.Account); reason != "" {
			return reason
		}
	}
	switch act.Name {
	case ActAccountDisable.Name:
		if !on.Account.Enabled {
			return "The account is disabled already."
		}
	case ActAccountSwitch.Name:
		switch {
		case on.Account.Generation != cloudapi.PAV1:
			return "The account works through the current API already."
		case !on.Account.Enabled:
			return disabledReason
		}
	case ActAccountEnable.Name:
		if on.Account.Enabled {
			return "The account is enabled already."
		}
	}
	if on.Kind == KindCluster {
		return phaseForbids(act, phase)
	}
	return ""
}

// requiredOfKey is what upstream asks of the key for an act: for the operation itself, and for
// what has to be read to find its target.
func requiredOfKey(act Act, op cloudapi.Op) []string {
	required := slices.Clone(op.Permissions)
	switch {
	case act.Name == ActManagementKeyDelete.Name && op.Generation == cloudapi.Current:
		required = append(required, cloudapi.OpListManagementKeys.Permissions...)
	case act.Name == ActManagementKeyCreate.Name:
		required = append(required, access.ReadClusters) // the new key can do what this one can, and is tried for that
	}
	return required
}

// KeyNeeds lists the upstream permissions that an account's key must hold for the act; none for
// an act of the console alone, and for a generation that has no such operation.
func (a Act) KeyNeeds(g cloudapi.Generation) []string {
	op := a.Op(g)
	if op == nil {
		return nil
	}
	return requiredOfKey(a, *op)
}

func keyLacks(key ManagementKey, permissions []string) []string {
	var lacking []string
	for _, p := range permissions {
		if !key.May(p) && !slices.Contains(lacking, p) {
			lacking = append(lacking, p)
		}
	}
	return lacking
}

// phaseForbids says why a cluster in the phase does not take the act. A phase that the console
// does not know forbids only what needs a suspended cluster: upstream has the last word anyway.
func phaseForbids(act Act, phase cloudapi.Phase) string {
	says := func(tail string) string { return "The cluster " + phaseWords(phase) + ": " + tail }
	if phase == cloudapi.PhaseDeleting || phase == cloudapi.PhaseNotFound {
		return says("nothing can be done with it.")
	}
	switch act.Name {
	case ActClusterUpdate.Name:
		switch {
		case phase.Moving(), phase == cloudapi.PhaseManualMaintenance:
			return says("wait until that has ended.")
		case phase == cloudapi.PhaseFailedToCreate:
			return says("there is nothing running.")
		}
	case ActClusterRestart.Name, ActClusterSuspend.Name:
		switch {
		case phase == cloudapi.PhaseSuspended:
			return says("resume it first.")
		case phase.Moving(), phase == cloudapi.PhaseManualMaintenance:
			return says("wait until that has ended.")
		case phase == cloudapi.PhaseFailedToCreate:
			return says("there is nothing running.")
		}
	case ActClusterUnsuspend.Name:
		if phase != cloudapi.PhaseSuspended && phase != cloudapi.PhaseFailedToResume {
			return says("only a suspended cluster can be resumed.")
		}
	}
	return ""
}

// phaseWords continues a sentence that begins with "The cluster". A phase that the console does not
// know is told in its own words.
func phaseWords(phase cloudapi.Phase) string {
	switch phase {
	case cloudapi.PhaseDeleting:
		return "is being deleted"
	case cloudapi.PhaseNotFound:
		return "is not there any more"
	case cloudapi.PhaseBackupRunning:
		return "is being backed up"
	case cloudapi.PhaseManualMaintenance:
		return "is under manual maintenance"
	case cloudapi.PhaseRecoveryMode:
		return "is in recovery mode"
	case cloudapi.PhaseUnknown, "":
		return "is in an unknown state"
	}
	words := strings.ReplaceAll(strings.ToLower(string(phase)), "_", " ")
	if strings.HasPrefix(words, "failed to ") {
		return words
	}
	return "is " + words
}
