package accounts

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// ReviewMembersQuery narrows the members who had signed in by a moment.
type ReviewMembersQuery struct {
	At    time.Time // zero: now
	Text  string    // in name, e-mail, subject or a group
	After string    // opaque; ErrBadCursor
}

// ReviewMembersPage is one page of the members who had signed in by a moment, by name.
type ReviewMembersPage struct {
	At      time.Time
	Past    bool
	Members []ReviewPerson
	Next    string
	Total   int
	All     int
}

// ReviewPerson is a member as of a moment.
type ReviewPerson struct {
	ReviewMember
	Issuer, Subject string
	Groups          []string // of their last sign-in then, as far as the log keeps them
	LastSignIn      time.Time
	Roles           []string // names
	Lines           int      // grants that concern them
}

// ReviewMembers lists who had signed in by a moment.
func (s *Service) ReviewMembers(ctx context.Context, by audit.Actor, q ReviewMembersQuery) (ReviewMembersPage, error) {
	digest, after, err := s.reviewCursor(ReviewQuery{At: q.At, Member: q.Text, Group: "members", After: q.After})
	if err != nil {
		return ReviewMembersPage{}, err
	}
	var out ReviewMembersPage
	err = s.readReview(ctx, by, ActReviewRead, q.At, func(_ pgx.Tx, r *reviewed) error {
		out = ReviewMembersPage{At: r.at, Past: r.past}
		type ordered struct {
			who   principal
			order string
		}
		var found []ordered
		text := strings.ToLower(q.Text)
		for who, m := range r.ledger.members {
			if m.loginSeq == 0 {
				continue
			}
			out.All++
			if text != "" && !strings.Contains(strings.ToLower(strings.Join(append([]string{who.name, m.name, m.email}, m.groups...), "\n")), text) {
				continue
			}
			out.Total++
			o := ordered{who, access.FoldASCII(r.memberName(who)) + "\x00" + who.issuer + "\x00" + who.name}
			if o.order > after {
				found = append(found, o)
			}
		}
		slices.SortFunc(found, func(a, b ordered) int { return strings.Compare(a.order, b.order) })
		environments := r.environments()
		for _, o := range found[:min(len(found), reviewLimit)] {
			out.Members = append(out.Members, r.person(o.who, environments))
		}
		if len(found) > reviewLimit {
			out.Next, err = s.encodeCursor(cursor{Query: digest, Text: found[reviewLimit-1].order})
		}
		return err
	})
	return out, err
}

func (r *reviewed) person(who principal, environments map[uuid.UUID]string) ReviewPerson {
	p := ReviewPerson{ReviewMember: r.member(who), Issuer: who.issuer, Subject: who.name, Lines: len(r.byMember[who])}
	if m := r.ledger.members[who]; m != nil {
		p.Groups, p.LastSignIn = m.groups, m.loginAt
	}
	p.Roles = r.rights(who, environments).Roles()
	return p
}

// ReviewRights is what a member could do at a moment, or what members could do in an account.
type ReviewRights struct {
	At      time.Time
	Past    bool
	Who     ReviewPerson // of a member
	Account LogAccount   // of an account
	Places  []ReviewPlace
	Lines   []ReviewLine // the grants that this follows from, at most 100
	More    int
	Config  []ReviewConfigChange
}

// ReviewPlace is what somebody could do in one place.
type ReviewPlace struct {
	Member      ReviewMember // of an account
	Account     LogAccount   // zero: the console itself
	Cluster     string       // name, else id; empty: the account as a whole
	Permissions []string     // of a cluster those that do not hold in the whole account
	Labels      string       // selector: on those clusters only, whichever they were
}

const reviewPlaces = 1000

// ReviewMemberRights tells what one member could do at a moment, in each account and cluster. What a grant gives by labels
// is told with its selector: the log does not tell which labels clusters had. ErrNotFound.
func (s *Service) ReviewMemberRights(ctx context.Context, by audit.Actor, at time.Time, id string) (ReviewRights, error) {
	var out ReviewRights
	err := s.readReview(ctx, by, ActReviewRead, at, func(_ pgx.Tx, r *reviewed) error {
		out = ReviewRights{At: r.at, Past: r.past, Config: r.config}
		for who, m := range r.ledger.members {
			if m.loginSeq == 0 || s.MemberID(who.issuer, who.name) != id {
				continue
			}
			environments := r.environments()
			out.Who = r.person(who, environments)
			rights := r.rights(who, environments)
			out.Places = append(out.Places, r.placesOf(rights, LogAccount{})...)
			for _, a := range r.liveAccounts() {
				out.Places = append(out.Places, r.placesOf(rights, a)...)
			}
			r.addLines(&out, r.byMember[who])
			return nil
		}
		return ErrNotFound
	})
	return out, err
}

// ReviewAccountRights tells what each member could do in one account at a moment. ErrNotFound.
func (s *Service) ReviewAccountRights(ctx context.Context, by audit.Actor, at time.Time, id uuid.UUID) (ReviewRights, error) {
	var out ReviewRights
	err := s.readReview(ctx, by, ActReviewRead, at, func(_ pgx.Tx, r *reviewed) error {
		out = ReviewRights{At: r.at, Past: r.past, Config: r.config}
		environments := r.environments()
		if _, known := environments[id]; !known {
			return ErrNotFound
		}
		out.Account = LogAccount{ID: id, Name: r.accounts[id]}
		people := make([]principal, 0, len(r.ledger.members))
		for who := range r.ledger.members {
			people = append(people, who)
		}
		slices.SortFunc(people, func(a, b principal) int {
			if c := strings.Compare(access.FoldASCII(r.memberName(a)), access.FoldASCII(r.memberName(b))); c != 0 {
				return c
			}
			return comparePrincipals(a, b)
		})
		for _, who := range people {
			for _, place := range r.placesOf(r.rights(who, environments), out.Account) {
				place.Member = r.member(who)
				out.Places = append(out.Places, place)
			}
		}
		var lines []*reviewLine
		for _, line := range r.lines {
			if r.reaches(line, id.String()) {
				lines = append(lines, line)
			}
		}
		r.addLines(&out, lines)
		return nil
	})
	return out, err
}

func (r *reviewed) addLines(out *ReviewRights, lines []*reviewLine) {
	lines = slices.Clone(lines)
	slices.SortFunc(lines, func(a, b *reviewLine) int { return strings.Compare(a.order, b.order) })
	for _, line := range lines[:min(len(lines), reviewLimit)] {
		out.Lines = append(out.Lines, r.shown(line))
	}
	out.More += max(len(lines)-reviewLimit, 0) + max(len(out.Places)-reviewPlaces, 0)
	out.Places = out.Places[:min(len(out.Places), reviewPlaces)]
}

// placesOf tells what the rights allow in an account, at the clusters in it and by labels; of the zero account, in the
// console itself.
func (r *reviewed) placesOf(rights access.Rights, account LogAccount) []ReviewPlace {
	var places []ReviewPlace
	grants := rights.Grants()
	allowed := func(on access.Target, but []string) []string {
		var all []string
		for _, g := range grants {
			if g.Scope.Covers(on) {
				all = append(all, g.Role.Permissions...)
			}
		}
		slices.Sort(all)
		return slices.DeleteFunc(slices.Compact(all), func(p string) bool { return slices.Contains(but, p) })
	}
	if account.ID == uuid.Nil {
		own := slices.DeleteFunc(allowed(access.Target{}, nil), func(p string) bool { return !slices.Contains(access.Own(), p) })
		if len(own) > 0 {
			places = append(places, ReviewPlace{Permissions: own})
		}
		return places
	}
	environment := ""
	if a := r.ledger.accounts[account.ID.String()]; a != nil {
		environment = a.text("environment")
	}
	whole := allowed(access.Target{AccountID: account.ID, Environment: environment}, nil)
	if len(whole) > 0 {
		places = append(places, ReviewPlace{Account: account, Permissions: whole})
	}
	seen := map[access.ClusterRef]bool{}
	for _, g := range grants {
		for _, ref := range g.Scope.Clusters {
			if ref.AccountID != account.ID || seen[ref] {
				continue
			}
			seen[ref] = true
			if more := allowed(access.Target{AccountID: ref.AccountID, Environment: environment, ClusterID: ref.ClusterID}, whole); len(more) > 0 {
				name := r.clusters[ref]
				if name == "" {
					name = ref.ClusterID
				}
				places = append(places, ReviewPlace{Account: account, Cluster: name, Permissions: more})
			}
		}
		for _, l := range g.Scope.Labels {
			more := slices.DeleteFunc(slices.Clone(g.Role.Permissions), func(p string) bool { return slices.Contains(whole, p) })
			if len(more) > 0 {
				places = append(places, ReviewPlace{Account: account, Labels: l.String(), Permissions: more})
			}
		}
	}
	slices.SortStableFunc(places, func(a, b ReviewPlace) int {
		return strings.Compare(a.Labels+"\x00"+a.Cluster, b.Labels+"\x00"+b.Cluster)
	})
	return places
}
