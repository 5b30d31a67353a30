package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// Labels are upstream's, and anybody with a key can change them there. So what a member may do only
// because of a cluster's labels is decided on labels that were read from upstream for this act; lists and
// pages go by the last snapshot. See docs/decisions/2026-11-30-labels.md.

// labelsOf are the labels of a cluster as rights read them. A key that stands there twice with different
// values is left out: nobody knows which of them counts.
func labelsOf(listed []cloudapi.Label) map[string]string {
	labels := make(map[string]string, len(listed))
	var unsure []string
	for _, l := range listed {
		key, value := plain(l.Key), plain(l.Value)
		if was, twice := labels[key]; twice && was != value {
			unsure = append(unsure, key)
		}
		labels[key] = value
	}
	for _, key := range unsure {
		delete(labels, key)
	}
	return labels
}

// cluster is the id of the cluster that the act is done to or reaches; empty when there is none yet.
func (t target) cluster() string {
	if t.Kind == KindCluster {
		return t.ID
	}
	return t.Cluster
}

// labelled is the target with other labels.
func (t target) labelled(labels map[string]string) target {
	t.Labels = labels
	return t
}

// withLabelled is the scope with the clusters that its selectors pick now in place of the selectors, as
// the snapshots have them.
func withLabelled(ctx context.Context, db querier, scope access.Scope) (access.Scope, error) {
	enough, err := enoughLabels(scope.Labels)
	if err != nil {
		return access.Scope{}, err
	}
	scope.Labels = nil
	if scope.Everything || len(enough) == 0 {
		return scope, nil
	}
	rows, err := db.Query(ctx, `
		SELECT DISTINCT c.account_id, c.cluster_id FROM unnest($1::text[]) asked (labels)
		JOIN clusters c ON c.labels @> asked.labels::jsonb AND c.gone_at IS NULL`, enough)
	if err != nil {
		return access.Scope{}, fmt.Errorf("reading clusters by their labels: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[access.ClusterRef])
	if err != nil {
		return access.Scope{}, fmt.Errorf("reading clusters by their labels: %w", err)
	}
	scope.Clusters = append(slices.Clone(scope.Clusters), found...)
	return scope, nil
}

// enoughLabels are the sets of labels, in JSON, any of which is enough for one of the selectors.
func enoughLabels(selectors []access.Selector) (enough []string, err error) {
	for i, l := range selectors {
		implied := func(o access.Selector) bool { return l.Implies(o) && l.String() != o.String() }
		if slices.ContainsFunc(selectors[:i], l.Implies) || slices.ContainsFunc(selectors[i+1:], implied) {
			continue // what it picks another one picks, too
		}
		for _, labels := range l.Combinations() {
			text, err := json.Marshal(labels)
			if err != nil {
				return nil, fmt.Errorf("encoding labels: %w", err)
			}
			enough = append(enough, string(text))
		}
	}
	return enough, nil
}

// restsOnLabels reports whether the actor, who may do the act, may not do it without the target's labels.
func (s *Service) restsOnLabels(by audit.Actor, act Act, on target) bool {
	return len(on.Labels) > 0 && !act.Self && !s.rightsFor(by, act).Allows(act.Needs, on.labelled(nil).access())
}

// authorizeOperation authorises an operation that is about to be performed, on everything it reaches.
// Where the right rests on labels, and where labels are to change, it is decided on the labels that
// upstream tells now, and what was read is kept. No event tells of the reading. Besides the errors of
// authorize there are upstream's, *ConflictError when the act is not possible at all, and
// *ForbiddenError when the labels as they are to be are not for this actor to give.
func (s *Service) authorizeOperation(ctx context.Context, by audit.Actor, op operation) error {
	act, on := op.act, op.on
	if act.Name == ActClusterCreate.Name {
		return s.authorizeNew(ctx, by, on)
	}
	if err := s.authorize(ctx, by, act, on); err != nil {
		return err
	}
	if err := s.authorizeEach(ctx, by, act, on, op.opens); err != nil {
		return err
	}
	now := map[string]map[string]string{} // labels by cluster, each read once
	fresh := func(t target) (target, error) {
		id := t.cluster()
		if _, read := now[id]; !read {
			if reason := notPossible(act, on.Account); reason != "" {
				return t, &ConflictError{Reason: reason}
			}
			labels, err := s.labelsNow(ctx, by, ClusterRef{AccountID: on.Account.ID, ClusterID: id})
			if err != nil {
				return t, err
			}
			now[id] = labels
		}
		return t.labelled(now[id]), nil
	}
	var err error
	if op.labels != nil || s.restsOnLabels(by, act, on) {
		if on, err = fresh(on); err != nil {
			return err
		}
		if err := s.authorize(ctx, by, act, on); err != nil {
			return err
		}
	}
	opens := slices.Clone(op.opens)
	for i, t := range opens {
		if s.restsOnLabels(by, act, t) {
			if opens[i], err = fresh(t); err != nil {
				return err
			}
		}
	}
	if err := s.authorizeEach(ctx, by, act, on, opens); err != nil {
		return err
	}
	if op.labels != nil {
		return s.authorizeLabels(ctx, by, act, on, op.labels)
	}
	return nil
}

// labelsNow reads a cluster's labels from upstream. The snapshot is brought up to date when it is not.
func (s *Service) labelsNow(ctx context.Context, by audit.Actor, ref ClusterRef) (map[string]string, error) {
	now, err := s.readCluster(ctx, by, ref, toAct)
	if e, ok := cloudapi.AsError(err); ok && e.Kind == cloudapi.NotFound {
		s.refreshSoon(ctx, ref.AccountID)
		return nil, &ConflictError{Reason: "Qdrant Cloud does not know this cluster any more."}
	}
	if err != nil {
		return nil, err
	}
	return labelsOf(now.Labels), nil
}

// stillMay is asked when a call has read the cluster again, right before it changes something: labels may
// have changed since the operation was authorised. *ConflictError when they did, so that it matters.
func (s *Service) stillMay(by audit.Actor, op operation, now cloudapi.Cluster) error {
	on := op.on.labelled(labelsOf(now.Labels))
	rights := s.rightsFor(by, op.act)
	if rights.Allows(op.act.Needs, on.access()) && (op.labels == nil || s.lackingForLabels(by, op.act, on, op.labels) == nil) {
		return nil
	}
	return &ConflictError{Reason: "The cluster's labels were changed meanwhile, and what you may do here rests on them. Look at it again."}
}

// authorizeLabels authorises a change of a cluster's labels: the actor must still be allowed to do the
// act afterwards, and labels that rights rest on are not theirs to change without grants:manage. A
// refusal is recorded.
func (s *Service) authorizeLabels(ctx context.Context, by audit.Actor, act Act, on target, labels map[string]string) error {
	lacking := s.lackingForLabels(by, act, on, labels)
	if lacking == nil {
		return nil
	}
	s.denied(ctx, by, act, on, lacking.Missing)
	return lacking
}

// lackingForLabels says why the actor may not give the target these labels; nil when they may. A target
// without an id is a cluster that is to be made, and has no labels yet.
func (s *Service) lackingForLabels(by audit.Actor, act Act, on target, labels map[string]string) *ForbiddenError {
	creating := on.cluster() == ""
	if creating {
		on.Labels = nil
	}
	forbidden := func(missing, reason string) *ForbiddenError {
		return &ForbiddenError{Act: act.Name, Missing: missing, Reason: reason, Field: fieldLabels}
	}
	rights, then := s.rightsFor(by, act), on.labelled(labels)
	if missing := rights.Missing(act.Needs, then.access()); missing != "" {
		return forbidden(missing+" on a cluster with these labels", "With these labels the cluster would lie outside of what you may change.")
	}
	book := s.keeper.book.Load()
	keys := book.heldLabels(on.Labels, labels, s.now())
	if creating {
		keys = slices.DeleteFunc(keys, func(key string) bool { return asksFor(rights.Visible(act.Needs).Labels, key, labels) })
	}
	if len(keys) == 0 {
		return nil
	}
	reason := restOn(keys)
	if !s.givesRightsOn(by, on, then) {
		return forbidden(access.GrantsManage, reason)
	}
	lacking, tooSoon := s.lacksToBring(by, book, book.entered(on.Labels, labels, s.now()), on)
	switch {
	case tooSoon:
		return forbidden(lacking[0], reason+" These labels would give a right for longer than you hold it.")
	case len(lacking) > 0:
		return forbidden(lacking[0], reason+" These labels would give others a right that you do not hold.")
	}
	return nil
}

// restOn says why labels with these keys are not for everybody to change.
func restOn(keys []string) string {
	it := "it"
	if len(keys) > 1 {
		it = "them"
	}
	return fmt.Sprintf("Rights rest on %s, so changing %s changes who may do what.", quotedKeys(keys), it)
}

// givesRightsOn reports whether the actor manages grants on each of the targets.
func (s *Service) givesRightsOn(by audit.Actor, on ...target) bool {
	rights := s.rights(by)
	return !slices.ContainsFunc(on, func(t target) bool { return !rights.Allows(access.Needs(access.GrantsManage), t.access()) })
}

// asksFor reports whether one of the selectors picks a cluster with the labels, and asks for the key.
func asksFor(selectors []access.Selector, key string, labels map[string]string) bool {
	return slices.ContainsFunc(selectors, func(l access.Selector) bool { return l.Matches(labels) && slices.Contains(l.Keys(), key) })
}

func quotedKeys(keys []string) string {
	if len(keys) == 1 {
		return "the label " + keys[0]
	}
	return "the labels " + strings.Join(keys, " and ")
}

// fieldLabels is the field of labels in the forms of clusters.
const fieldLabels = "labels"

// closedLabels are the keys of the cluster's labels that the actor may not change, because live grants go by them;
// sorted. Only labels that it has now: that a grant goes by another one is not theirs to know.
func (s *Service) closedLabels(by audit.Actor, on target, c cloudapi.Cluster) []string {
	labels := labelsOf(c.Labels)
	if s.rights(by).Allows(access.Needs(access.GrantsManage), on.labelled(labels).access()) {
		return nil
	}
	return s.keeper.book.Load().heldLabels(labels, nil, s.now())
}

// heldLabels are the keys that differ between two sets of labels and that live grants go by, sorted.
func (b *rightsBook) heldLabels(before, after map[string]string, now time.Time) []string {
	if b == nil {
		return nil
	}
	var held []string
	for key := range b.labelKeys {
		was, had := before[key]
		is, has := after[key]
		if (had != has || was != is) && !slices.Contains(held, key) && b.goesBy(key, now) {
			held = append(held, key)
		}
	}
	slices.Sort(held)
	return held
}

// goesBy reports whether a live grant goes by the label.
func (b *rightsBook) goesBy(key string, now time.Time) bool {
	return slices.ContainsFunc(b.grants, func(g storedGrant) bool {
		return g.live(now) && slices.ContainsFunc(g.scope.Labels, func(l access.Selector) bool { return slices.Contains(l.Keys(), key) })
	})
}

// entered are the live grants that a change of labels brings a cluster into.
func (b *rightsBook) entered(before, after map[string]string, now time.Time) []storedGrant {
	var grants []storedGrant
	for _, g := range b.grants {
		if g.live(now) && slices.ContainsFunc(g.scope.Labels, func(l access.Selector) bool { return l.Matches(after) && !l.Matches(before) }) {
			grants = append(grants, g)
		}
	}
	return grants
}

// mayFill reports whether the actor may make clusters in the account: any, or some by their labels. Who
// makes them by labels must be able to read the account and its packages otherwise, because a label
// names no account, and nobody learns of accounts by making something there. An API that sets no labels
// makes no cluster with labels.
func (s *Service) mayFill(by audit.Actor, account accountRef) bool {
	rights, on := s.rightsFor(by, ActClusterCreate), accountTarget(account).access()
	if rights.Allows(ActClusterCreate.Needs, on) {
		return true
	}
	return account.Generation != cloudapi.PAV1 && len(rights.Visible(ActClusterCreate.Needs).Labels) > 0 &&
		rights.Allows(ActAccountRead.Needs, on) && rights.Allows(ActPackageRead.Needs, on)
}

// labelsToFill are the selectors one of which a new cluster in the account must be picked by; none when
// the actor may make any.
func (s *Service) labelsToFill(by audit.Actor, account accountRef) []access.Selector {
	rights := s.rightsFor(by, ActClusterCreate)
	if rights.Allows(ActClusterCreate.Needs, accountTarget(account).access()) {
		return nil
	}
	return rights.Visible(ActClusterCreate.Needs).Labels
}

// enoughFor are labels that a selector picks, by key.
func enoughFor(l access.Selector) []cloudapi.Label {
	var labels []cloudapi.Label
	if all := l.Combinations(); len(all) > 0 {
		for _, key := range slices.Sorted(maps.Keys(all[0])) {
			labels = append(labels, cloudapi.Label{Key: key, Value: all[0][key]})
		}
	}
	return labels
}

func onlyWithLabels(selectors []access.Selector) string {
	each := make([]string, len(selectors))
	for i, l := range selectors {
		each[i] = l.String()
	}
	return "You may make clusters in this account with these labels: " + strings.Join(each, "; or ") + "."
}

// authorizeNew authorises the making of a cluster, whose labels are those it is to have.
func (s *Service) authorizeNew(ctx context.Context, by audit.Actor, on target) error {
	act := ActClusterCreate
	if !s.mayFill(by, on.Account) {
		return s.authorize(ctx, by, act, accountTarget(on.Account))
	}
	if missing := s.rightsFor(by, act).Missing(act.Needs, on.access()); missing != "" {
		s.denied(ctx, by, act, on, missing)
		return &ForbiddenError{Act: act.Name, Missing: missing, Reason: onlyWithLabels(s.labelsToFill(by, on.Account)), Field: fieldLabels}
	}
	return s.authorizeLabels(ctx, by, act, on, on.Labels)
}
