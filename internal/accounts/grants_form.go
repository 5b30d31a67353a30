package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// wanted reads the form of a grant. *InvalidError says everything that is wrong with it; a *refusal is
// one that is told as if the account or cluster did not exist.
func (s *Service) wanted(ctx context.Context, tx pgx.Tx, by audit.Actor, book *rightsBook, n NewGrant) (wantedGrant, error) {
	invalid := map[string]string{}
	say := func(field, problem string) {
		if problem != "" && invalid[field] == "" {
			invalid[field] = problem
		}
	}
	now := s.now()
	want := wantedGrant{row: grantRow{
		Reason: tidy(n.Reason), CreatedAt: now, GrantedBy: nameOf(by), GrantedByIssuer: by.Issuer, GrantedBySubject: by.Subject,
	}}
	say("reason", textProblem(want.row.Reason, reasonLength, true))
	if want.row.Reason == "" {
		say("reason", "Say why, in a few words: it stands beside the grant and in the log.")
	}
	var problem string
	if want.row.ExpiresAt, problem = grantEnd(n.ExpiresAt, now); problem != "" {
		say("expires_at", problem)
	}
	role, known := roleNamed(book, n.Role)
	if !known {
		say("role", "Choose one of the roles.")
	}
	want.role, want.row.Role = role, role.ID
	problem, err := s.readSubject(ctx, tx, by, n, &want)
	if err != nil {
		return wantedGrant{}, err
	}
	say(subjectField(problem, n), problem)
	problem, err = s.readScope(ctx, tx, by, book, n, &want)
	if hidden, ok := errors.AsType[*refusal](err); ok {
		say("scope", problem)
		return wantedGrant{}, &refusal{on: hidden.on, missing: hidden.missing, instead: &InvalidError{Fields: invalid}}
	}
	if err != nil {
		return wantedGrant{}, err
	}
	say(scopeField(n), problem)
	if len(invalid) > 0 {
		return wantedGrant{}, &InvalidError{Fields: invalid}
	}
	return want, nil
}

// subjectField is the field that a problem with the subject stands at.
func subjectField(problem string, n NewGrant) string {
	if problem == chooseSubjectKind {
		return "subject_kind"
	}
	return "subject"
}

func scopeField(n NewGrant) string {
	if _, known := scopeKindOf(n.ScopeKind); !known {
		return "scope_kind"
	}
	return "scope"
}

// roleNamed finds a role by its id, or by its name without letter case.
func roleNamed(book *rightsBook, text string) (access.Role, bool) {
	text = strings.TrimSpace(text)
	if role, known := book.roles[text]; known {
		return role, true
	}
	for _, role := range book.roles {
		if text != "" && access.FoldASCII(role.Name) == access.FoldASCII(text) {
			return role, true
		}
	}
	return access.Role{}, false
}

// grantEnd reads when a grant ends: never, at the end of a day, or at a time; both in UTC unless the text
// names its offset.
func grantEnd(text string, now time.Time) (*time.Time, string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, ""
	}
	end, err := time.Parse(time.DateOnly, text)
	if err == nil {
		end = end.Add(24*time.Hour - time.Second)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if err == nil {
			break
		}
		end, err = time.Parse(layout, text)
	}
	end = end.UTC().Truncate(time.Microsecond)
	switch {
	case err != nil:
		return nil, "Give a date as in 2027-01-31, or a date and time in UTC as in 2027-01-31T18:00."
	case !end.After(now):
		return nil, "Give an end in the future."
	case end.After(now.AddDate(longestGrant, 0, 0)):
		return nil, fmt.Sprintf("Give an end within the next %d years, or none.", longestGrant)
	}
	return &end, ""
}

// issuerFor is the identity provider whose groups and addresses a grant is for.
func (s *Service) issuerFor(by audit.Actor) string { return cmp.Or(s.cfg.Rights.Issuer, by.Issuer) }

const (
	chooseSubjectKind = "Choose a member or a group."
	noSuchMember      = "Nobody known here is called that. Give the e-mail address the person signs in with, and the grant waits for them."
	severalMembers    = "Several members have this address. Give the one you mean as issuer|subject; the list of members tells both."
)

// readSubject finds out who a grant is for.
func (s *Service) readSubject(ctx context.Context, tx pgx.Tx, by audit.Actor, n NewGrant, want *wantedGrant) (problem string, err error) {
	text := strings.TrimSpace(n.Subject)
	row := &want.row
	switch n.SubjectKind {
	case SubjectGroup:
		row.SubjectKind, row.Issuer, row.Subject, want.name = SubjectGroup, s.issuerFor(by), text, "group "+text
		switch {
		case text == "":
			return "Name the group, as the identity provider sends it.", nil
		case !wellFormed(text, maxGroup):
			return fmt.Sprintf("A group has at most %d bytes of text.", maxGroup), nil
		}
		return textProblem(text, maxGroup, false), nil
	case SubjectMember, SubjectEmail:
	default:
		return chooseSubjectKind, nil
	}
	switch {
	case text == "" && n.SubjectKind == SubjectMember:
		return "Choose a member.", nil
	case text == "":
		return "Give the e-mail address.", nil
	case !wellFormed(text, maxIssuer+maxSubject+1):
		return "This is not text, or too long.", nil
	}
	found, err := s.membersCalled(ctx, tx, s.issuerFor(by), text)
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 1:
		row.SubjectKind, row.Issuer, row.Subject, want.name = SubjectMember, found[0].Issuer, found[0].Subject, found[0].shownName()
		return "", nil
	case len(found) > 1:
		return severalMembers, nil
	case !strings.Contains(text, "@") || strings.Contains(text, "|"):
		return noSuchMember, nil
	}
	row.SubjectKind, row.Issuer, row.Subject, want.name = SubjectEmail, s.issuerFor(by), access.FoldASCII(text), access.FoldASCII(text)
	return addressProblem(text), nil
}

// addressProblem says why no identity provider would vouch for the address.
func addressProblem(text string) string {
	local, domain, _ := strings.Cut(text, "@")
	if len(text) > maxEmail || local == "" || domain == "" || strings.ContainsAny(text, " \t\r\n,;<>\"") || strings.Count(text, "@") != 1 || textProblem(text, maxEmail, false) != "" {
		return "Give one e-mail address, as in ada@example.com."
	}
	return ""
}

// knownMember is somebody who has signed in.
type knownMember struct {
	Issuer        string
	Subject       string
	Name          string
	Email         string
	EmailVerified bool
}

const knownMemberColumns = `issuer, subject, name, email, email_verified`

func (m knownMember) shownName() string {
	return cmp.Or(shown(m.Name, 128), shown(m.Email, 128), shown(m.Subject, 128))
}

// membersCalled returns the members that a text names: by issuer and subject, by the subject, or by the
// address that the provider vouched for when they last signed in. More than one only by an address or
// a subject; no more than two are looked for.
//
// What the list of members says of addresses is for pages, and whoever writes to the database could write an
// address there. So one counts only when a session says so too, which its mark seals; sessions are kept for a
// month, and a grant to the address of whoever was not here since waits for them as if they were new.
func (s *Service) membersCalled(ctx context.Context, db querier, issuer, text string) ([]knownMember, error) {
	of, subject, both := strings.Cut(text, "|")
	if both {
		exact, err := knownMembers(ctx, db, `issuer = $1 AND subject = $2`, of, subject)
		if err != nil || len(exact) > 0 {
			return exact, err
		}
	}
	exact, err := knownMembers(ctx, db, `issuer = $1 AND subject = $2`, issuer, text)
	if err != nil || len(exact) > 0 || !strings.Contains(text, "@") {
		return exact, err
	}
	address := access.FoldASCII(text)
	listed, err := knownMembers(ctx, db, `issuer = $1 AND email_verified AND lower(email COLLATE "C") = $2`, issuer, address)
	if err != nil {
		return nil, err
	}
	var found []knownMember
	for _, m := range listed {
		vouched, err := s.lastVouched(ctx, db, m.Issuer, m.Subject)
		if err != nil {
			return nil, err
		}
		if vouched == address {
			found = append(found, m)
		}
	}
	return found, nil
}

// sealedLookedAt is how many of a member's newest sessions are looked at for one that a sign-in wrote.
const sealedLookedAt = 10

// lastVouched is the address that the provider vouched for at the newest sign-in of a member that is still known,
// as addresses are compared; empty when it vouched for none, or no session is known that a sign-in wrote.
func (s *Service) lastVouched(ctx context.Context, db querier, issuer, subject string) (string, error) {
	rows, err := db.Query(ctx, `SELECT `+sessionColumns+`, token_hash FROM sessions WHERE issuer = $1 AND subject = $2 ORDER BY created_at DESC, id DESC LIMIT $3`,
		issuer, subject, sealedLookedAt)
	if err != nil {
		return "", dbError("looking for the member's sign-in", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[sealedRow])
	if err != nil {
		return "", dbError("looking for the member's sign-in", err)
	}
	for _, row := range stored {
		mark, err := s.markOf(row.TokenHash, row.sessionRow)
		if err != nil {
			return "", err
		}
		if mark != row.Mark {
			continue
		}
		if !row.EmailVerified {
			return "", nil
		}
		return access.FoldASCII(row.Email), nil
	}
	return "", nil
}

func knownMembers(ctx context.Context, db querier, where string, arguments ...any) ([]knownMember, error) {
	rows, err := db.Query(ctx, `SELECT `+knownMemberColumns+` FROM members WHERE `+where+` AND issuer <> '`+InternalIssuer+`' ORDER BY issuer, subject LIMIT 2`, arguments...)
	if err != nil {
		return nil, dbError("looking for the member", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownMember])
	if err != nil {
		return nil, dbError("looking for the member", err)
	}
	return found, nil
}

const (
	noSuchAccount = "There is no such account, or you may not see it."
	noSuchCluster = "There is no such cluster, or you may not see it."
)

// scopeKindOf reads a kind of scope.
func scopeKindOf(text string) (access.ScopeKind, bool) {
	kind := access.ScopeKind(text)
	return kind, slices.Contains(access.ScopeKinds(), kind)
}

// Addresses of pages of this console, which people paste.
var (
	accountPage = regexp.MustCompile(`^(?:https?://[^/\s]+)?/accounts/([0-9a-fA-F-]{36})/?(?:[?#]\S*)?$`)
	clusterPage = regexp.MustCompile(`^(?:https?://[^/\s]+)?/accounts/([0-9a-fA-F-]{36})/clusters/([^/?#\s]+)(?:[/?#]\S*)?$`)
	aroundSlash = regexp.MustCompile(`\s*/\s*`)
)

// spelt brings the text of a scope as people write it into the form that ParseScope reads.
func spelt(kind access.ScopeKind, text string) string {
	text = strings.TrimSpace(text)
	switch kind {
	case access.ScopeEverything:
		if text == "everything" || text == "*" {
			return ""
		}
	case access.ScopeEnvironment:
		return access.FoldASCII(text)
	case access.ScopeAccount:
		if m := accountPage.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	case access.ScopeCluster:
		if m := clusterPage.FindStringSubmatch(text); m != nil {
			return m[1] + "/" + m[2]
		}
		return aroundSlash.ReplaceAllString(text, "/")
	}
	return text
}

// readScope finds out where a grant is to hold. An account or cluster that exists and may not be read is
// told as one that does not exist, with a *refusal beside.
func (s *Service) readScope(ctx context.Context, tx pgx.Tx, by audit.Actor, book *rightsBook, n NewGrant, want *wantedGrant) (problem string, err error) {
	kind, known := scopeKindOf(n.ScopeKind)
	if !known {
		return "Choose where the grant holds.", nil
	}
	if len(n.Scope) > longestScope || !wellFormed(n.Scope, longestScope) {
		return fmt.Sprintf("At most %d bytes of text.", longestScope), nil
	}
	scope, text, err := access.ParseScope(kind, spelt(kind, n.Scope))
	if err != nil {
		return capitalised(err.Error()) + ".", nil
	}
	want.scope, want.row.ScopeKind, want.row.Scope = scope, string(kind), text
	rights := s.rightsBy(book, by, s.now())
	switch kind {
	case access.ScopeEnvironment:
		if !slices.Contains(Environments, Environment(text)) {
			return "Choose production, staging, development or other.", nil
		}
	case access.ScopeAccount:
		account, err := accountByID(ctx, tx, scope.Accounts[0], false)
		if errors.Is(err, ErrNotFound) {
			return noSuchAccount, nil
		}
		if err != nil {
			return "", err
		}
		want.account = account.ref()
		if on := accountTarget(want.account); !rights.Allows(ActAccountRead.Needs, on.access()) {
			return noSuchAccount, &refusal{on: target{Account: want.account, Kind: KindGrant, Name: "account " + account.Name}, missing: ActAccountRead.Needs.String()}
		}
	case access.ScopeCluster:
		return s.readClusterScope(ctx, tx, rights, want)
	}
	want.where = whereWords(kind, text, want.account.Name, "")
	return "", nil
}

func (s *Service) readClusterScope(ctx context.Context, tx pgx.Tx, rights access.Rights, want *wantedGrant) (problem string, err error) {
	ref := want.scope.Clusters[0]
	var name string
	var labels map[string]string
	err = tx.QueryRow(ctx, `SELECT name, labels FROM clusters WHERE account_id = $1 AND cluster_id = $2 AND gone_at IS NULL`,
		ref.AccountID, ref.ClusterID).Scan(&name, &labels)
	if errors.Is(err, pgx.ErrNoRows) {
		return noSuchCluster, nil
	}
	if err != nil {
		return "", dbError("reading the cluster", err)
	}
	account, err := accountByID(ctx, tx, ref.AccountID, false)
	if errors.Is(err, ErrNotFound) {
		return noSuchCluster, nil
	}
	if err != nil {
		return "", err
	}
	on := target{Account: account.ref(), Kind: KindCluster, ID: ref.ClusterID, Name: name, Labels: labels}
	if !rights.Allows(ActClusterRead.Needs, on.access()) {
		return noSuchCluster, &refusal{on: target{Account: account.ref(), Kind: KindGrant, Name: "cluster " + name}, missing: ActClusterRead.Needs.String()}
	}
	want.account = account.ref()
	want.where = whereWords(access.ScopeCluster, want.row.Scope, account.Name, name)
	return "", nil
}

// whereWords says a scope for people. Names that are empty are not known, or not to be told.
func whereWords(kind access.ScopeKind, text, account, cluster string) string {
	switch kind {
	case access.ScopeEverything:
		return "everything"
	case access.ScopeEnvironment:
		return "environment " + text
	case access.ScopeAccount:
		return "account " + cmp.Or(account, text)
	case access.ScopeCluster:
		switch {
		case cluster == "":
			return "cluster " + text
		case account == "":
			return "cluster " + cluster
		}
		return "cluster " + cluster + " of account " + account
	}
	return "clusters labelled " + text
}

// capitalised makes words a sentence's beginning.
func capitalised(words string) string {
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:]
}
