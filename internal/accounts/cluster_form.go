package accounts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// ClusterForm is what a form that asks for a cluster needs. A list that could not be read is empty, and
// Problems says why.
type ClusterForm struct {
	Account   Account
	Asked     NewCluster // as typed, with what is chosen from the beginning, and the form's token
	Providers []cloudapi.Provider
	Regions   []cloudapi.Region
	Packages  []cloudapi.Package // that can be booked, cheapest first
	Releases  []cloudapi.Release // that a new cluster can have, newest first
	Quotas    cloudapi.Quotas    // 0: not told
	Price     ClusterPrice
	Problems  map[string]string // by form field, and quotas
	Lacks     []string          // what this generation of the API cannot be asked
	Notes     []string          // what of the choice was not understood
}

// legacyFormLacks says what a new cluster cannot be asked to have through pa/v1.
var legacyFormLacks = []string{
	"The legacy pa/v1 API tells neither providers, regions nor versions, so these are those it was published with.",
	"It has no labels, no cost allocation label and no speeds of disk, and of hybrid settings only node selector, tolerations and annotations.",
	"It gives no quote, suggests no name, and tells no quota.",
}

// formTimeout bounds what a form waits for its lists.
const formTimeout = 20 * time.Second

// AskClusterCreate returns what the form needs for the choice made so far. Without a token in it the form
// is new: it gets one, a suggested name and the first version and package there are. A place that is not offered
// gives way to the first available one, unless keep is set: then all is as it was typed. Who may not make
// clusters in the account is refused, and recorded, as CreateCluster would.
func (s *Service) AskClusterCreate(ctx context.Context, by audit.Actor, accountID uuid.UUID, asked NewCluster, keep bool) (ClusterForm, error) {
	account, err := s.accountToFill(ctx, by, accountID)
	if err != nil {
		return ClusterForm{}, err
	}
	one := []Account{account}
	if err := s.addSync(ctx, one); err != nil {
		return ClusterForm{}, err
	}
	if err := s.countVisible(ctx, by, one); err != nil {
		return ClusterForm{}, err
	}
	fresh := asked.FormToken == ""
	if fresh {
		if asked.FormToken, err = s.FormToken(ctx, by, ActClusterCreate.Name); err != nil {
			return ClusterForm{}, err
		}
	}
	f := ClusterForm{Account: one[0], Asked: asked}
	if only := s.labelsToFill(by, account.ref()); len(only) > 0 {
		f.Notes = append(f.Notes, onlyWithLabels(only))
		if fresh && asked.Labels == "" {
			f.Asked.Labels = labelLines(enoughFor(only[0]))
		}
	}
	if account.Generation == cloudapi.PAV1 {
		f.Lacks = legacyFormLacks
	}
	// The two halves of the form are read at once, each into a form of its own.
	rest := f
	place, other := formReading{s: s, by: by, fresh: fresh, keep: keep, form: &f}, formReading{s: s, by: by, fresh: fresh, keep: keep, form: &rest}
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	var both errgroup.Group
	for _, half := range []func(context.Context){place.place, other.rest} {
		both.Go(func() error {
			return guarded(ctx, func(ctx context.Context) error {
				half(ctx)
				return nil
			})
		})
	}
	if err := both.Wait(); err != nil {
		return ClusterForm{}, fmt.Errorf("reading the form: %w", err)
	}
	f.Releases, f.Quotas, f.Asked.Name, f.Asked.Version = rest.Releases, rest.Quotas, rest.Asked.Name, rest.Asked.Version
	f.Problems = map[string]string{}
	maps.Copy(f.Problems, place.problems)
	maps.Copy(f.Problems, other.problems)
	return f, nil
}

// PriceNewCluster tells what a cluster as chosen so far would cost. It changes nothing; who may not make
// clusters in the account is refused.
func (s *Service) PriceNewCluster(ctx context.Context, by audit.Actor, accountID uuid.UUID, asked NewCluster) (ClusterPrice, error) {
	account, err := s.accountToFill(ctx, by, accountID)
	if err != nil {
		return ClusterPrice{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	packages, err := s.bookable(ctx, by, account, asked)
	if err != nil {
		return ClusterPrice{Problem: s.notRead(ctx, account, "package_id", err)}, nil
	}
	return s.price(ctx, by, account, asked, packages), nil
}

// formReading reads lists into a form.
type formReading struct {
	s        *Service
	by       audit.Actor
	fresh    bool // the form is new
	keep     bool // what was typed stays, whatever is offered
	form     *ClusterForm
	problems map[string]string // by list; nil while there is none
}

func (r *formReading) problem(ctx context.Context, field string, err error) {
	r.say(field, r.s.notRead(ctx, r.form.Account, field, err))
}

func (r *formReading) say(field, words string) {
	if r.problems == nil {
		r.problems = map[string]string{}
	}
	r.problems[field] = words
}

// place reads providers, regions of the chosen one, packages of the chosen region, and the price.
func (r *formReading) place(ctx context.Context) {
	f, account := r.form, r.form.Account
	var err error
	if account.Generation == cloudapi.PAV1 {
		f.Providers = legacyFormProviders()
	} else if f.Providers, err = r.s.providersOf(ctx, r.by, account); err != nil {
		r.problem(ctx, "cloud_provider", err)
	}
	r.choose(&f.Asked.CloudProvider, len(f.Providers), func(i int) (string, bool) { return f.Providers[i].ID, f.Providers[i].Available }, "The cloud provider %s is not offered, so %s is chosen.")
	f.Price = ClusterPrice{Problem: notChosen}
	if f.Asked.CloudProvider == "" {
		return
	}
	// What a list that was read does not have is made up: asked for, it would go to upstream and take a
	// place in the catalogue.
	if len(f.Providers) > 0 && !slices.ContainsFunc(f.Providers, func(p cloudapi.Provider) bool { return p.ID == f.Asked.CloudProvider }) {
		r.say("region", "Choose a cloud provider that is offered: then its regions are listed.")
		return
	}
	if f.Regions, err = r.s.regionsOf(ctx, r.by, account, f.Asked.CloudProvider); err != nil {
		r.problem(ctx, "region", err)
	}
	r.choose(&f.Asked.Region, len(f.Regions), func(i int) (string, bool) { return f.Regions[i].ID, f.Regions[i].Available }, "The provider has no region %s, so %s is chosen.")
	if f.Asked.Region == "" && f.Asked.CloudProvider != hybridProvider {
		return
	}
	if f.Asked.CloudProvider != hybridProvider && len(f.Regions) > 0 && !slices.ContainsFunc(f.Regions, func(g cloudapi.Region) bool { return g.ID == f.Asked.Region }) {
		r.say("package_id", "Choose a region that is offered: then its packages are listed.")
		return
	}
	if f.Packages, err = r.s.bookable(ctx, r.by, account, f.Asked); err != nil {
		r.problem(ctx, "package_id", err)
	}
	// Of free clusters an account may have very few, so one that is not free is chosen from the beginning.
	r.choose(&f.Asked.PackageID, len(f.Packages), func(i int) (string, bool) { return f.Packages[i].ID, f.Packages[i].Type != "free" }, "")
	if r.fresh && f.Asked.Nodes == "" {
		f.Asked.Nodes = "1"
	}
	if r.keep {
		f.Price = priceAgain(f.Asked, f.Packages)
		return
	}
	f.Price = r.s.price(ctx, r.by, account, f.Asked, f.Packages)
}

// choose puts the first available of a list in place of a choice that is not in it, and says so with note.
func (r *formReading) choose(chosen *string, n int, at func(int) (id string, available bool), note string) {
	first := ""
	for i := range n {
		id, available := at(i)
		if id == *chosen {
			return
		}
		if first == "" && available {
			first = id
		}
	}
	if r.keep || first == "" {
		return
	}
	if *chosen != "" && note != "" {
		r.form.Notes = append(r.form.Notes, fmt.Sprintf(note, shown(*chosen, maxPlace), first))
	}
	*chosen = first
}

// rest reads what does not depend on the place: versions, quotas, a name.
func (r *formReading) rest(ctx context.Context) {
	f, account := r.form, r.form.Account
	if account.Generation == cloudapi.PAV1 {
		return
	}
	releases, err := r.s.releasesOf(ctx, r.by, account, "")
	if err != nil {
		r.problem(ctx, "version", err)
	}
	for _, release := range slices.Backward(releases) {
		if !release.EndOfLife && !release.Unavailable {
			f.Releases = append(f.Releases, release)
		}
	}
	slices.SortStableFunc(f.Releases, func(a, b cloudapi.Release) int { return cmp.Compare(versionOrder(b.Version), versionOrder(a.Version)) })
	if i := slices.IndexFunc(f.Releases, func(v cloudapi.Release) bool { return v.Default }); r.fresh && f.Asked.Version == "" && i >= 0 {
		f.Asked.Version = f.Releases[i].Version
	}
	if f.Quotas, err = r.s.quotasOf(ctx, r.by, account); err != nil {
		r.problem(ctx, "quotas", err)
	}
	if !r.fresh || f.Asked.Name != "" {
		return
	}
	up, err := r.s.connectFor(ctx, account.ID, toShow, r.by.RequestID)
	if err == nil {
		f.Asked.Name, err = up.cloud.SuggestClusterName(ctx)
	}
	if err != nil {
		r.problem(ctx, "name", err)
	}
	if clusterNameProblem(f.Asked.Name) != "" {
		f.Asked.Name = "" // a name that could not be sent is no help
	}
}

// bookable lists the packages that a new cluster can have in the chosen place, cheapest first.
func (s *Service) bookable(ctx context.Context, by audit.Actor, a Account, asked NewCluster) ([]cloudapi.Package, error) {
	provider, region := packagePlace(asked.CloudProvider, asked.Region)
	listed, err := s.packagesOf(ctx, by, a, provider, region)
	if err != nil {
		return nil, err
	}
	packages := slices.DeleteFunc(slices.Clone(listed), func(p cloudapi.Package) bool { return p.Deactivated() })
	slices.SortStableFunc(packages, func(a, b cloudapi.Package) int {
		return cmp.Or(cmp.Compare(a.PricePerHourMillicents, b.PricePerHourMillicents), strings.Compare(a.Name, b.Name))
	})
	return packages, nil
}

// FillableAccount is an account, and whether clusters can be made in it.
type FillableAccount struct {
	Account Account
	Offer   Offer
}

// FillableAccounts lists the accounts that the member may read, by name, and says of each whether this member
// can make clusters there.
func (s *Service) FillableAccounts(ctx context.Context, by audit.Actor) ([]FillableAccount, error) {
	list, err := s.List(ctx, by)
	if err != nil {
		return nil, err
	}
	fillable := make([]FillableAccount, len(list))
	for i, a := range list {
		reason := s.notOffered(by, ActClusterCreate, accountTarget(a.ref()), "", a.Key)
		fillable[i] = FillableAccount{Account: a, Offer: Offer{Act: ActClusterCreate.Name, Offered: reason == "", Reason: reason}}
	}
	return fillable, nil
}
