package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// ClusterUpdate is the page on which a member says what is to be different about a cluster.
type ClusterUpdate struct {
	Account    Account
	Cluster    cloudapi.Cluster
	Revision   string             // of the cluster, for the form
	Values     map[string]string  // the settings, as the form shows them
	NotOffered map[string]string  // why a setting cannot be changed here, by its name
	Packages   []cloudapi.Package // that the cluster can have, the present one among them
	Releases   []cloudapi.Release // that the cluster can be updated to; none where the API cannot tell
	MaxNodes   int                // the quota; 0: not told
	Closed     []string           // keys of labels that the member may not change, because grants go by them

	packagesTold, releasesTold bool
}

// StaleError says that a cluster is no longer as it was when a form was filled in for it. Nothing
// was changed.
type StaleError struct {
	Now     ClusterUpdate     // as it is
	Wished  map[string]string // what the member wants to be different, as typed
	Started map[string]string // what the form was begun with; nil: not known
	Left    []string          // the wishes that are not so already
}

func (e *StaleError) Error() string { return "the cluster was changed since the form was filled in" }

// AskClusterUpdate reads a cluster for the form that changes it: from upstream, because a change must
// not begin with what was so a while ago. Who may not change it is refused, and that is recorded;
// *ConflictError when its API, its key or its phase does not allow it.
func (s *Service) AskClusterUpdate(ctx context.Context, by audit.Actor, ref ClusterRef) (ClusterUpdate, error) {
	known, err := s.clusterFor(ctx, by, ActClusterUpdate, ref)
	if err != nil {
		return ClusterUpdate{}, err
	}
	now, err := s.readToUpdate(ctx, by, known.on, toShow)
	if err != nil {
		return ClusterUpdate{}, err
	}
	if reason := phaseForbids(ActClusterUpdate, now.State.Phase); reason != "" {
		return ClusterUpdate{}, &ConflictError{Reason: reason}
	}
	u := updateOf(known.account, now, s.offeredTo(ctx, by, known.account, now))
	u.Closed = s.closedLabels(by, known.on, now)
	return u, nil
}

// ClusterUpdateAgain is the same page from what is known here, for a form that was refused: nothing is
// asked of upstream.
func (s *Service) ClusterUpdateAgain(ctx context.Context, by audit.Actor, ref ClusterRef) (ClusterUpdate, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return ClusterUpdate{}, err
	}
	if err := s.authorize(ctx, by, ActClusterUpdate, known.on); err != nil {
		return ClusterUpdate{}, err
	}
	was, err := s.lastRead(ctx, known.account.Generation, ref)
	if err != nil {
		return ClusterUpdate{}, err
	}
	u := updateOf(known.account, was, s.offeredBefore(known.account, was))
	u.Closed = s.closedLabels(by, known.on, was)
	return u, nil
}

// UpdateCluster changes a cluster. Upstream is read first: where the cluster is not what the form was
// filled in for nothing is sent, and the error is *StaleError. *InvalidError by field for what breaks a
// rule or is not offered, and for a form that changes nothing; *RefusedError is what upstream said against
// it. Sent again it does nothing twice:
// then it is stale, or changes nothing.
func (s *Service) UpdateCluster(ctx context.Context, by audit.Actor, ref ClusterRef, form ClusterUpdateForm) error {
	known, err := s.clusterFor(ctx, by, ActClusterUpdate, ref)
	if err != nil {
		return err
	}
	wanted, err := s.readForm(ctx, known.account, ref, form)
	if err != nil {
		return err
	}
	was, err := s.asFilledIn(ctx, by, known, form)
	if err != nil {
		return err
	}
	edit, err := updateOf(known.account, was, s.offeredBefore(known.account, was)).narrow(wanted)
	if err != nil {
		return err
	}
	err = s.sendUpdate(ctx, by, known, form, edit, settingsOf(was))
	if upstream, ok := cloudapi.AsError(err); ok && upstream.Op.Mutates && !mayBeDone(err) {
		s.refreshing.catalogue.drop(known.account.ID) // what it offered may be what was refused
		return refused(upstream, updateFields)
	}
	return err
}

// readForm reads a form and says all that is wrong with it, as far as that can be told from what is
// known here. Whether something is offered is told by a snapshot only where the form was filled in
// for that, or is wrong anyway.
func (s *Service) readForm(ctx context.Context, a Account, ref ClusterRef, form ClusterUpdateForm) (cloudapi.ClusterEdit, error) {
	wanted, invalid := form.edit(a.Generation)
	was, err := s.lastRead(ctx, a.Generation, ref)
	if err != nil {
		return wanted, err
	}
	wrong := len(invalid) > 0
	if wrong || was.Revision() == form.Revision {
		_, err := updateOf(a, was, s.offeredBefore(a, was)).narrow(wanted)
		if more, ok := errors.AsType[*InvalidError](err); ok {
			for field, problem := range more.Fields {
				if field != "" || !wrong {
					invalid[field] = problem
				}
			}
		}
	}
	if len(invalid) > 0 {
		return wanted, &InvalidError{Fields: invalid}
	}
	return wanted, nil
}

// sendUpdate leads the change through perform.
func (s *Service) sendUpdate(ctx context.Context, by audit.Actor, known actedCluster, form ClusterUpdateForm, edit cloudapi.ClusterEdit, before clusterSettings) error {
	ref := ClusterRef{AccountID: known.account.ID, ClusterID: known.on.ID}
	wanted := before.with(edit)
	intended := audit.Change{}
	changed(intended, clusterFields(), &before, &wanted)
	op := operation{act: ActClusterUpdate, on: known.on, intended: intended}
	if edit.Labels != nil {
		op.labels = labelsOf(*edit.Labels)
	}
	var last *cloudapi.Cluster
	err := s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
		now, err := up.cloud.Cluster(ctx, ref.ClusterID)
		if err != nil {
			return done{}, fmt.Errorf("reading the cluster: %w", err)
		}
		last = &now
		if err := s.stillMay(by, op, now); err != nil {
			return done{}, err
		}
		if reason := phaseForbids(ActClusterUpdate, now.State.Phase); reason != "" {
			return done{}, &ConflictError{Reason: reason}
		}
		page := updateOf(known.account, now, s.offeredTo(ctx, by, known.account, now))
		if page.Revision != form.Revision {
			return done{}, page.stale(form)
		}
		if _, err := page.narrow(edit); err != nil {
			return done{}, err
		}
		after, err := up.cloud.UpdateCluster(ctx, now, edit)
		if err != nil {
			return done{}, fmt.Errorf("%s: %w", ActClusterUpdate.Name, err)
		}
		if again, err := up.cloud.Cluster(ctx, ref.ClusterID); err == nil {
			after = again // where it cannot be read, the answer to the change is what is known
		}
		last = &after
		change := updatedFields(intended, settingsOf(now), settingsOf(after))
		change["phase"] = [2]any{string(now.State.Phase), string(after.State.Phase)}
		return done{change: change}, nil
	})
	if last != nil {
		s.keepSnapshot(ctx, ref, last, false)
	}
	return err
}

// updatedFields is what became of the fields that were to be changed.
func updatedFields(intended audit.Change, before, after clusterSettings) audit.Change {
	change := audit.Change{}
	for _, f := range clusterFields() {
		if _, meant := intended[f.name]; meant {
			change[f.name] = [2]any{f.value(before), f.value(after)}
		}
	}
	return change
}

// readCluster reads a cluster from upstream for a member who was authorised before, and keeps what
// was read when it is not what was known.
func (s *Service) readCluster(ctx context.Context, by audit.Actor, ref ClusterRef, what purpose) (cloudapi.Cluster, error) {
	up, err := s.connectFor(ctx, ref.AccountID, what, by.RequestID)
	if err != nil {
		return cloudapi.Cluster{}, err
	}
	now, err := up.cloud.Cluster(ctx, ref.ClusterID)
	s.noteKey(ctx, up, err)
	if err != nil {
		return cloudapi.Cluster{}, fmt.Errorf("reading the cluster: %w", err)
	}
	was, err := s.lastRead(ctx, up.account.Generation, ref)
	if err != nil || was.Revision() != now.Revision() {
		s.keepSnapshot(ctx, ref, &now, false)
	}
	return now, nil
}

// readToUpdate is readCluster for who may change the cluster: with the labels that were read, too, because
// what was read is shown.
func (s *Service) readToUpdate(ctx context.Context, by audit.Actor, on target, what purpose) (cloudapi.Cluster, error) {
	now, err := s.readCluster(ctx, by, ClusterRef{AccountID: on.Account.ID, ClusterID: on.ID}, what)
	if err != nil {
		return cloudapi.Cluster{}, err
	}
	return now, s.authorize(ctx, by, ActClusterUpdate, on.labelled(labelsOf(now.Labels)))
}

// lastRead is a cluster as its snapshot has it.
func (s *Service) lastRead(ctx context.Context, g cloudapi.Generation, ref ClusterRef) (cloudapi.Cluster, error) {
	stored, err := s.clusterByRef(ctx, ref)
	if err != nil {
		return cloudapi.Cluster{}, err
	}
	was, err := cloudapi.DecodeCluster(g, stored.Raw)
	if err != nil {
		return cloudapi.Cluster{}, fmt.Errorf("decoding the stored cluster: %w", err)
	}
	return was, nil
}

// asFilledIn returns the cluster that the form was filled in for. Only where the snapshot is another
// one upstream is read; *StaleError when it has another one, too.
func (s *Service) asFilledIn(ctx context.Context, by audit.Actor, known actedCluster, form ClusterUpdateForm) (cloudapi.Cluster, error) {
	a := known.account
	was, err := s.lastRead(ctx, a.Generation, ClusterRef{AccountID: a.ID, ClusterID: known.on.ID})
	if err != nil {
		return cloudapi.Cluster{}, err
	}
	if was.Revision() == form.Revision {
		return was, nil
	}
	now, err := s.readToUpdate(ctx, by, known.on, toAct)
	if err != nil {
		return cloudapi.Cluster{}, err
	}
	if now.Revision() != form.Revision {
		return cloudapi.Cluster{}, updateOf(a, now, s.offeredTo(ctx, by, a, now)).stale(form)
	}
	return now, nil
}

// stale tells both sides of a form that was filled in for another state of the cluster.
func (u ClusterUpdate) stale(form ClusterUpdateForm) error {
	e := &StaleError{Now: u, Wished: form.wishes(), Started: form.started()}
	wanted, invalid := form.edit(u.Account.Generation)
	if len(invalid) > 0 {
		e.Left = slices.Sorted(maps.Keys(e.Wished))
		return e
	}
	e.Left = u.differing(wanted)
	return e
}

// differing names the settings that an edit makes different, in the order of the form.
func (u ClusterUpdate) differing(edit cloudapi.ClusterEdit) []string {
	before := settingsOf(u.Cluster)
	after := before.with(before.differing(edit))
	change := audit.Change{}
	changed(change, clusterFields(), &before, &after)
	return slices.DeleteFunc(ClusterSettingNames(), func(name string) bool {
		_, differs := change[name]
		return !differs
	})
}

// narrow leaves in an edit what differs from the cluster. *InvalidError when nothing does, and by
// field for what is not offered.
func (u ClusterUpdate) narrow(edit cloudapi.ClusterEdit) (cloudapi.ClusterEdit, error) {
	before := settingsOf(u.Cluster)
	edit = before.differing(edit)
	if edit.Empty() {
		return edit, &InvalidError{Fields: map[string]string{"": "Nothing in the form differs from what the cluster has."}}
	}
	invalid := map[string]string{}
	for _, name := range u.differing(edit) {
		if reason := u.NotOffered[name]; reason != "" {
			invalid[name] = reason
		}
	}
	for name, problem := range map[string]string{
		"nodes": u.nodesProblem(edit), "package_id": u.packageProblem(edit), "version": u.releaseProblem(edit), "additional_disk_gib": u.diskProblem(edit),
	} {
		if problem != "" && invalid[name] == "" {
			invalid[name] = problem
		}
	}
	if len(invalid) > 0 {
		return edit, &InvalidError{Fields: invalid}
	}
	return edit, nil
}

func (u ClusterUpdate) nodesProblem(e cloudapi.ClusterEdit) string {
	if e.Nodes == nil || u.MaxNodes == 0 || *e.Nodes <= u.MaxNodes || *e.Nodes < u.Cluster.Configuration.Nodes {
		return ""
	}
	return fmt.Sprintf("The account's quota gives a cluster %d nodes at most.", u.MaxNodes)
}

func (u ClusterUpdate) packageProblem(e cloudapi.ClusterEdit) string {
	if e.PackageID == nil || !u.packagesTold {
		return ""
	}
	if _, offered := u.packageOf(*e.PackageID); offered {
		return ""
	}
	return "Choose one of the packages that this cluster can have."
}

func (u ClusterUpdate) releaseProblem(e cloudapi.ClusterEdit) string {
	switch {
	case e.Version == nil:
		return ""
	case *e.Version == "":
		return "Choose one of the versions that this cluster can be updated to."
	case !u.releasesTold, slices.ContainsFunc(u.Releases, func(r cloudapi.Release) bool { return r.Version == *e.Version }):
		return ""
	}
	return "Choose one of the versions that this cluster can be updated to."
}

// diskProblem says why a disk would shrink: the additional one, or both together with a package that
// has less.
func (u ClusterUpdate) diskProblem(e cloudapi.ClusterEdit) string {
	before := settingsOf(u.Cluster)
	after := before.with(e)
	least := before.AdditionalDiskGiB
	was, wasKnown := u.packageOf(before.PackageID)
	is, isKnown := u.packageOf(after.PackageID)
	if wasKnown && isKnown && was.DiskMiB > is.DiskMiB && is.DiskMiB > 0 {
		least += int((was.DiskMiB - is.DiskMiB + 1023) / 1024)
	}
	switch {
	case after.AdditionalDiskGiB >= least:
		return ""
	case least > before.AdditionalDiskGiB:
		return fmt.Sprintf("Disks never shrink, and this package has less: add at least %d GiB.", least)
	}
	return fmt.Sprintf("Disks never shrink: at least %d GiB.", least)
}

// packageOf returns a package that the cluster can have.
func (u ClusterUpdate) packageOf(id string) (cloudapi.Package, bool) {
	i := slices.IndexFunc(u.Packages, func(p cloudapi.Package) bool { return p.ID == id })
	if i < 0 {
		return cloudapi.Package{}, false
	}
	return u.Packages[i], true
}

// offered is what an account offers to one of its clusters. Where a list could not be read unread says
// why, by the setting that it is for.
type offered struct {
	packages                   []cloudapi.Package
	releases                   []cloudapi.Release
	packagesTold, releasesTold bool
	quotas                     cloudapi.Quotas
	unread                     map[string]string
}

// offeredTo asks what a cluster can have. What cannot be read is not offered, with the reason.
func (s *Service) offeredTo(ctx context.Context, by audit.Actor, a Account, c cloudapi.Cluster) offered {
	to := offered{unread: map[string]string{}}
	var err error
	provider, region := packagePlace(c.CloudProvider, c.Region)
	if to.packages, err = s.packagesOf(ctx, by, a, provider, region); err != nil {
		to.unread["package_id"] = notReadWords("packages", s.notRead(ctx, a, "packages", err))
	}
	to.packagesTold = err == nil
	if to.releases, err = s.releasesOf(ctx, by, a, c.ID); err != nil && a.Generation != cloudapi.PAV1 {
		to.unread["version"] = notReadWords("versions", s.notRead(ctx, a, "versions", err))
	}
	to.releasesTold = err == nil
	if to.quotas, err = s.quotasOf(ctx, by, a); err != nil {
		s.notRead(ctx, a, "quotas", err)
	}
	up, err := s.connectFor(ctx, a.ID, toShow, by.RequestID)
	if err != nil {
		return to // told by the lists
	}
	if present := c.Configuration.PackageID; present != "" && !slices.ContainsFunc(to.packages, func(p cloudapi.Package) bool { return p.ID == present }) {
		if p, err := up.cloud.Package(ctx, provider, region, present); err == nil {
			to.packages = append(slices.Clone(to.packages), p)
		} else {
			s.notRead(ctx, a, "present package", err)
		}
	}
	return to
}

func notReadWords(list, reason string) string {
	return fmt.Sprintf("The %s could not be read. %s", list, reason)
}

// offeredBefore is what is remembered of that.
func (s *Service) offeredBefore(a Account, c cloudapi.Cluster) offered {
	provider, region := packagePlace(c.CloudProvider, c.Region)
	catalogue, now := &s.refreshing.catalogue, s.cfg.Now()
	var from offered
	from.packages, from.packagesTold = remaining[[]cloudapi.Package](catalogue, a.ref().packageShelf(provider, region), now)
	from.quotas, _ = remaining[cloudapi.Quotas](catalogue, a.ref().shelf(shelfQuotas), now)
	from.releases, from.releasesTold = remaining[[]cloudapi.Release](catalogue, a.ref().releaseShelf(c.ID), now)
	return from
}

// updateOf makes the page of what is known.
func updateOf(a Account, c cloudapi.Cluster, to offered) ClusterUpdate {
	u := ClusterUpdate{
		Account: a, Cluster: c, Revision: c.Revision(), Values: settingsOf(c).texts(),
		NotOffered: map[string]string{}, MaxNodes: to.quotas.ClusterNodes, packagesTold: to.packagesTold, releasesTold: to.releasesTold,
	}
	maps.Copy(u.NotOffered, to.unread)
	for _, name := range ClusterSettingNames() {
		if reason := legacyLacks(a.Generation, name); reason != "" {
			u.NotOffered[name] = reason
		}
	}
	for _, able := range c.State.Capabilities {
		switch {
		case able.Name == "scalability" && able.Status == "NOT_SCALABLE":
			reason := sentenceOr(able.Reason, "Qdrant Cloud says that this cluster cannot be scaled.")
			u.NotOffered["nodes"], u.NotOffered["package_id"], u.NotOffered["additional_disk_gib"] = reason, reason, reason
		case able.Name == "disk_expansion" && able.Status == "NOT_SUPPORTED":
			u.NotOffered["additional_disk_gib"] = sentenceOr(able.Reason, "Qdrant Cloud says that this cluster's disk cannot be expanded.")
		}
	}
	u.Packages = packagesFor(c, to.packages)
	for _, r := range to.releases {
		if !r.EndOfLife && !r.Unavailable {
			u.Releases = append(u.Releases, r)
		}
	}
	return u
}

// packagesFor are the packages that can take the place of a cluster's present one, and that one, by
// price. Multi-AZ is kept, and so is what is paid for and what is free.
func packagesFor(c cloudapi.Cluster, list []cloudapi.Package) []cloudapi.Package {
	present := presentPackage(c, list)
	packages := []cloudapi.Package{present}
	for _, p := range list {
		if p.ID != present.ID && !p.Deactivated() && p.MultiAZ == present.MultiAZ && (p.Type == present.Type || present.Type == "") {
			packages = append(packages, p)
		}
	}
	slices.SortStableFunc(packages, func(a, b cloudapi.Package) int {
		return cmp.Compare(a.PricePerHourMillicents, b.PricePerHourMillicents)
	})
	return packages
}

// presentPackage is the one that a cluster has, as far as the cluster tells where it is not in the list.
func presentPackage(c cloudapi.Cluster, list []cloudapi.Package) cloudapi.Package {
	if i := slices.IndexFunc(list, func(p cloudapi.Package) bool { return p.ID == c.Configuration.PackageID }); i >= 0 {
		return list[i]
	}
	present := cloudapi.Package{ID: c.Configuration.PackageID}
	for _, r := range c.State.Resources {
		switch r.Name {
		case "ram":
			present.RAMMiB = measured((r.Base+r.Complimentary)*1024, 0)
		case "cpu":
			present.CPUMilli = measured((r.Base+r.Complimentary)*1000, 0)
		case "disk":
			present.DiskMiB = measured((r.Base+r.Complimentary)*1024, 0)
		}
	}
	return present
}

func sentenceOr(words, otherwise string) string {
	if words == "" {
		return otherwise
	}
	return words
}
