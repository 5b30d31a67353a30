package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

const (
	reviewLimit   = 100
	reviewMembers = 5 // of a group, named in a line
	// reviewDueAfter is when the next review is due unless its sign-off says otherwise.
	reviewDueAfter = 90 * 24 * time.Hour
	// reviewDecisionLife is how long a line stays decided in a review that is not signed off.
	reviewDecisionLife = 90 * 24 * time.Hour
	reviewNoteLength   = 400
	// reviewLock is the number of the advisory lock under which a review is begun, decided on and signed off.
	reviewLock = 0x514d5256
)

// ReviewQuery is what an access review may be asked. Zero values do not filter.
type ReviewQuery struct {
	At        time.Time // zero: now
	Member    string    // in name, e-mail or subject of somebody whom the line concerns
	Group     string    // in the group's name
	Account   string    // id: lines whose scope reaches it or something in it; by labels they may
	Role      string    // id
	Undecided bool
	Unused    bool   // for 90 days
	After     string // opaque, from AccessReview.Next; ErrBadCursor when it is not
}

// AccessReview is who could do what at one moment, and how far the review of it has come. It is made from the log alone,
// but for names that the log does not tell and for the grants of configuration, which are those of the running one.
type AccessReview struct {
	At      time.Time
	Past    bool
	Lines   []ReviewLine
	Next    string
	Total   int // lines that match
	All     int
	Members int // who had signed in
	Roles   []access.Role
	// Accounts are those that there were, by name.
	Accounts []LogAccount
	// Config is what changed since in the configuration, of whose grants the log keeps no history. Empty for now.
	Config []ReviewConfigChange

	// Gone are the lines that were revoked in the review under way, whatever the filter and on the first page only.
	Gone []DecidedLine

	Open      *OpenReview // nil: none is under way, or it is about the past
	Undecided int         // lines, all pages and whatever the filter; with Open only
	Kept      int
	Revoked   int
	Last      *SignedReview // the last that was signed off by now
	MayDecide bool
	WhyNot    string
	StepUp    bool // deciding takes a fresh sign-in first
	Export    Offer
}

// ReviewLine is one grant that counts.
type ReviewLine struct {
	Key         string    // of the grant, or of a configured one
	Grant       uuid.UUID // nil: from configuration
	SubjectKind string
	Issuer      string
	Subject     string
	SubjectName string
	Members     []ReviewMember // whom it concerns, of those who have signed in: the first few
	MemberCount int
	Role        access.Role // with its permissions as they were
	ScopeKind   access.ScopeKind
	Scope       string
	ScopeName   string
	GrantedBy   string
	Reason      string
	Since       time.Time // zero: from configuration
	ExpiresAt   *time.Time
	Configured  bool
	Source      string // of a configured one: the variable
	Pending     bool   // waits for the first sign-in with the address
	LastUse     *time.Time
	ReadOnly    bool // nothing but reading, which leaves no event: signing in counts as its use
	Own         bool // concerns who asks

	Decided *ReviewDecision // nil: undecided
	Changed string          // why it is undecided again, in words
	Token   string          // for KeepLines

	order  string
	digest string
}

// ReviewMember is somebody whom a line concerns.
type ReviewMember struct {
	ID, Name, Email string
	Blocked         bool
}

// ReviewDecision says that a line was kept.
type ReviewDecision struct {
	At   time.Time
	By   string
	Note string
	Own  bool // by somebody whom it concerns, because nobody else could
}

// ReviewConfigChange is one change of the configuration; values are not on record.
type ReviewConfigChange struct {
	At    time.Time
	Names []string
}

// OpenReview is a review that is under way.
type OpenReview struct {
	ID        uuid.UUID
	StartedAt time.Time
	StartedBy string
}

// SignedReview is a review that was signed off.
type SignedReview struct {
	ID                        uuid.UUID
	Seq                       int64 // of the event
	StartedAt, AsOf, SignedAt time.Time
	StartedBy, SignedBy       string
	Note                      string
	DueOn                     time.Time // the next one
	Lines, Kept, Revoked, Own int
	KeptDigest, RevokedDigest string
}

// Due reports whether the next review should have been signed off by now.
func (r SignedReview) Due(now time.Time) bool { return now.After(r.DueOn.Add(24 * time.Hour)) }

// reviewTarget is a review as a target.
func reviewTarget(id uuid.UUID, begun time.Time) target {
	return target{Kind: KindReview, ID: id.String(), Name: "access review of " + begun.UTC().Format(time.DateOnly)}
}

// reviewHistory is what the log tells of reviews: those that were signed off, the newest last, and the one under way.
// There are no tables of reviews, so that nobody can put a decision into one beside the log.
type reviewHistory struct {
	signed []SignedReview
	open   *OpenReview
	begun  map[string]OpenReview // by the review's id as the log spells it
}

func readReviews(ctx context.Context, tx pgx.Tx, until time.Time) (reviewHistory, error) {
	h := reviewHistory{begun: map[string]OpenReview{}}
	err := audit.Replay(ctx, tx, []string{ActReviewStart.Name, ActReviewSign.Name}, until, func(e audit.Stored) error {
		// The console gives every review a UUID, so none of its own is passed over.
		if id, err := uuid.Parse(e.Target.ID); err == nil {
			h.add(id, e)
		}
		return nil
	})
	return h, err
}

func (h *reviewHistory) add(id uuid.UUID, e audit.Stored) {
	if e.Act == ActReviewStart.Name {
		open := OpenReview{ID: id, StartedAt: e.At, StartedBy: nameOf(e.Actor)}
		h.begun[e.Target.ID], h.open = open, &open
		return
	}
	if h.open != nil && h.open.ID == id {
		h.open = nil
	}
	h.signed = append(h.signed, signedReview(id, h.begun[e.Target.ID], e))
}

func signedReview(id uuid.UUID, begun OpenReview, e audit.Stored) SignedReview {
	said := values{}.after(e.Change)
	r := SignedReview{
		ID: id, Seq: e.Seq, StartedAt: begun.StartedAt, StartedBy: begun.StartedBy, SignedAt: e.RecordedAt, SignedBy: nameOf(e.Actor), Note: said.text("note"),
		Lines: said.number("lines"), Kept: said.number("kept"), Revoked: said.number("revoked"), Own: said.number("own"),
		KeptDigest: said.text("kept_digest"), RevokedDigest: said.text("revoked_digest"),
	}
	r.AsOf, _ = time.Parse(time.RFC3339Nano, said.text("as_of"))
	r.DueOn, _ = time.Parse(time.DateOnly, said.text("due_on"))
	return r
}

// reviewDecisions is what the log tells of the lines of one review.
type reviewDecisions struct {
	kept    map[string]audit.Stored // the last decision on each line
	revoked map[string]audit.Stored // how each grant was taken back
}

func readDecisions(ctx context.Context, tx pgx.Tx, review uuid.UUID) (reviewDecisions, error) {
	d := reviewDecisions{kept: map[string]audit.Stored{}, revoked: map[string]audit.Stored{}}
	err := audit.ReplayPart(ctx, tx, review, func(e audit.Stored) error {
		switch e.Act {
		case ActReviewDecide.Name:
			d.kept[values{}.after(e.Change).text("line")] = e
		case ActGrantDelete.Name:
			d.revoked[e.Target.ID] = e
		}
		return nil
	})
	return d, err
}

// decide says of each line whether it is decided, and returns how many are.
func (r *reviewed) decide(d reviewDecisions) (kept int) {
	for _, line := range r.lines {
		e, decided := d.kept[line.Key]
		if !decided {
			continue
		}
		said := values{}.after(e.Change)
		if line.Changed = line.changedSince(said, e, r.s.now()); line.Changed != "" {
			continue
		}
		own, _ := said["own"].(bool)
		line.Decided = &ReviewDecision{At: e.RecordedAt, By: nameOf(e.Actor), Note: said.text("note"), Own: own}
		kept++
	}
	return kept
}

// changedSince says why a decision is no longer one on the line as it is; empty when it is. Somebody who left a group
// takes nothing from a decision, somebody who came into it does.
func (l *reviewLine) changedSince(said values, e audit.Stored, now time.Time) string {
	if said.text("digest") != l.digest {
		return "What it gives has changed since it was kept."
	}
	if elapsed(now, e.At, reviewDecisionLife) {
		return "It was kept too long ago."
	}
	if said.text("members_digest") == l.knows() {
		return ""
	}
	known := said.list("members")
	if said.number("members_count") > len(known) { // the list was cut
		return "Other members have it than when it was kept."
	}
	for _, who := range l.who {
		if !slices.Contains(known, who.name) {
			return "Somebody has come into the group since it was kept."
		}
	}
	return ""
}

// own marks the lines that concern the actor.
func (r *reviewed) own(by audit.Actor) {
	for _, line := range r.lines {
		line.Own = slices.Contains(line.who, principal{by.Issuer, by.Subject}) ||
			(line.Issuer == "" || line.Issuer == by.Issuer) && toOneself(by, grantRow{SubjectKind: line.SubjectKind, Issuer: by.Issuer, Subject: line.Subject})
	}
}

// otherReviewers are those beside the actor who may decide on lines now, by name, at most five.
func (r *reviewed) otherReviewers(by audit.Actor) []string {
	var names []string
	environments := r.environments()
	for who := range r.ledger.members {
		if (who.issuer == by.Issuer && who.name == by.Subject) || !r.rights(who, environments).Allows(ActReviewDecide.Needs, access.Target{}) {
			continue
		}
		names = append(names, r.memberName(who))
	}
	slices.Sort(names)
	return names[:min(len(names), 5)]
}

// shown is the line as it leaves this package.
func (r *reviewed) shown(line *reviewLine) ReviewLine {
	out := line.ReviewLine
	out.Token = line.token()
	for _, who := range line.who[:min(len(line.who), reviewMembers)] {
		out.Members = append(out.Members, r.member(who))
	}
	return out
}

func (r *reviewed) member(who principal) ReviewMember {
	m := ReviewMember{ID: r.s.MemberID(who.issuer, who.name), Name: r.memberName(who)}
	if known := r.ledger.members[who]; known != nil {
		m.Email, m.Blocked = known.email, known.blocked
	}
	return m
}

// admits reports whether the line passes the filters.
func (r *reviewed) admits(line *reviewLine, q ReviewQuery) bool {
	if q.Role != "" && line.Role.ID != q.Role || q.Undecided && line.Decided != nil || q.Unused && line.LastUse != nil {
		return false
	}
	if q.Group != "" && (line.SubjectKind != SubjectGroup || !strings.Contains(strings.ToLower(line.Subject), strings.ToLower(q.Group))) {
		return false
	}
	return (q.Member == "" || r.mentionsMember(line, strings.ToLower(q.Member))) && (q.Account == "" || r.reaches(line, q.Account))
}

func (r *reviewed) mentionsMember(line *reviewLine, text string) bool {
	if line.SubjectKind != SubjectGroup && strings.Contains(strings.ToLower(line.SubjectName+"\n"+line.Subject), text) {
		return true
	}
	return slices.ContainsFunc(line.who, func(who principal) bool {
		of := who.name
		if m := r.ledger.members[who]; m != nil {
			of += "\n" + m.name + "\n" + m.email
		}
		return strings.Contains(strings.ToLower(of), text)
	})
}

// reaches reports whether the line gives anything on the account or on something in it. By labels it may.
func (r *reviewed) reaches(line *reviewLine, account string) bool {
	switch line.ScopeKind {
	case access.ScopeEnvironment:
		a := r.ledger.accounts[account]
		return a != nil && a.text("environment") == line.Scope
	case access.ScopeAccount:
		return line.Scope == account
	case access.ScopeCluster:
		return strings.HasPrefix(line.Scope, account+"/")
	}
	return true
}

// readReview authorises reading a review and reads it in one snapshot of the database, a few at a time.
func (s *Service) readReview(ctx context.Context, by audit.Actor, act Act, at time.Time, read func(tx pgx.Tx, r *reviewed) error) error {
	if err := s.authorize(ctx, by, act, installation(KindReview)); err != nil {
		return err
	}
	done, err := s.searchTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r, err := s.asOf(ctx, tx, at)
		if err != nil {
			return err
		}
		return read(tx, r)
	})
	if err != nil {
		return dbError("reading who could do what", err)
	}
	return nil
}

// AccessReview tells who could do what at a moment, one page of it, and how far the review under way has come. Who may
// read it sees all of it: it needs the right everywhere.
func (s *Service) AccessReview(ctx context.Context, by audit.Actor, q ReviewQuery) (AccessReview, error) {
	digest, after, err := s.reviewCursor(q)
	if err != nil {
		return AccessReview{}, err
	}
	var out AccessReview
	err = s.readReview(ctx, by, ActReviewRead, q.At, func(tx pgx.Tx, r *reviewed) error {
		out = AccessReview{At: r.at, Past: r.past, All: len(r.lines), Config: r.config}
		if err := r.readUse(ctx, tx); err != nil {
			return err
		}
		if err := r.progress(ctx, tx, by, &out); err != nil {
			return err
		}
		r.choices(&out)
		var found []*reviewLine
		for _, line := range r.lines {
			if r.admits(line, q) {
				found = append(found, line)
			}
		}
		out.Total = len(found)
		if q.After != "" {
			found = slices.DeleteFunc(found, func(line *reviewLine) bool { return line.order <= after })
		}
		if q.After != "" {
			out.Gone = nil
		}
		for _, line := range found[:min(len(found), reviewLimit)] {
			out.Lines = append(out.Lines, r.shown(line))
		}
		if len(found) > reviewLimit {
			out.Next, err = s.encodeCursor(cursor{Query: digest, Text: found[reviewLimit-1].order})
		}
		return err
	})
	if err != nil {
		return AccessReview{}, err
	}
	s.reviewOffers(by, &out)
	return out, nil
}

// progress reads the review under way, and the last one.
func (r *reviewed) progress(ctx context.Context, tx pgx.Tx, by audit.Actor, out *AccessReview) error {
	until := time.Time{}
	if r.past {
		until = r.at
	}
	history, err := readReviews(ctx, tx, until)
	if err != nil {
		return err
	}
	if n := len(history.signed); n > 0 {
		out.Last = &history.signed[n-1]
	}
	if r.past {
		return nil
	}
	r.own(by)
	if out.Open = history.open; out.Open == nil {
		return nil
	}
	decisions, err := readDecisions(ctx, tx, out.Open.ID)
	if err != nil {
		return err
	}
	out.Kept, out.Revoked = r.decide(decisions), len(decisions.revoked)
	out.Undecided = len(r.lines) - out.Kept
	out.Gone, err = r.revokedLines(ctx, tx, decisions)
	return err
}

// choices are what the lines can be narrowed to.
func (r *reviewed) choices(out *AccessReview) {
	roles := map[string]bool{}
	for _, line := range r.lines {
		if !roles[line.Role.ID] {
			roles[line.Role.ID] = true
			out.Roles = append(out.Roles, line.Role)
		}
	}
	slices.SortFunc(out.Roles, func(a, b access.Role) int {
		return strings.Compare(access.FoldASCII(a.Name)+a.ID, access.FoldASCII(b.Name)+b.ID)
	})
	out.Accounts = r.liveAccounts()
	for _, m := range r.ledger.members {
		if m.loginSeq > 0 {
			out.Members++
		}
	}
}

// liveAccounts are the accounts that were registered, by name.
func (r *reviewed) liveAccounts() []LogAccount {
	var all []LogAccount
	for id := range r.environments() {
		all = append(all, LogAccount{ID: id, Name: r.accounts[id]})
	}
	slices.SortFunc(all, func(a, b LogAccount) int {
		if c := strings.Compare(access.FoldASCII(a.Name), access.FoldASCII(b.Name)); c != 0 {
			return c
		}
		return compareUUIDs(a.ID, b.ID)
	})
	return all
}

func (s *Service) reviewOffers(by audit.Actor, out *AccessReview) {
	rights, on := s.rights(by), installation(KindReview)
	if missing := rights.Missing(ActReviewDecide.Needs, on.access()); missing != "" {
		out.WhyNot = "You need " + missing + " on everything."
	}
	out.MayDecide, out.StepUp = out.WhyNot == "", s.stepUpDue(by, ActReviewDecide, on)
	out.Export = s.ReviewExportOffer(by)
}

// ReviewExportOffer says whether the actor may take reviews away.
func (s *Service) ReviewExportOffer(by audit.Actor) Offer {
	on := installation(KindReview)
	o := Offer{Act: ActReviewExport.Name, StepUp: s.stepUpDue(by, ActReviewExport, on)}
	if missing := s.rights(by).Missing(ActReviewExport.Needs, on.access()); missing != "" {
		o.Reason = "You need " + missing + " on everything."
	}
	o.Offered = o.Reason == ""
	return o
}

// reviewCursor reads the place that the list goes on from.
func (s *Service) reviewCursor(q ReviewQuery) (digest, after string, err error) {
	body, err := json.Marshal([]any{"review", q.At.UnixMicro(), q.Member, q.Group, q.Account, q.Role, q.Undecided, q.Unused})
	if err != nil {
		return "", "", fmt.Errorf("encoding the query: %w", err)
	}
	digest = hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8])
	if q.After != "" {
		at, err := s.decodeCursor(q.After, digest)
		if err != nil {
			return "", "", err
		}
		after = at.Text
	}
	return digest, after, nil
}

// changeReview runs do in a transaction in which no other review is begun, decided on or signed off.
func (s *Service) changeReview(ctx context.Context, do func(tx pgx.Tx, h reviewHistory) error) error {
	return pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, reviewLock); err != nil {
			return fmt.Errorf("waiting for other reviewers: %w", err)
		}
		h, err := readReviews(ctx, tx, time.Time{})
		if err != nil {
			return err
		}
		return do(tx, h)
	})
}

// errNoReview says that a review has to be begun first.
var errNoReview = &ConflictError{Reason: "No access review is under way. It was signed off meanwhile, or none was begun."}

// StartReview begins a review and records review.start. While one is under way it goes on with that, and records nothing.
func (s *Service) StartReview(ctx context.Context, by audit.Actor) (OpenReview, error) {
	if err := s.authorize(ctx, by, ActReviewStart, installation(KindReview)); err != nil {
		return OpenReview{}, err
	}
	var open OpenReview
	err := s.changeReview(ctx, func(tx pgx.Tx, h reviewHistory) error {
		if h.open != nil {
			open = *h.open
			return nil
		}
		open = OpenReview{ID: s.newID(), StartedAt: s.now(), StartedBy: nameOf(by)}
		e := singleEvent(reviewTarget(open.ID, open.StartedAt), by, ActReviewStart, nil)
		e.Parent, e.At = open.ID, open.StartedAt
		return s.recordLast(ctx, tx, e)
	})
	if err != nil {
		return OpenReview{}, dbError("beginning a review", err)
	}
	return open, nil
}

// KeptLines says what became of lines that were to be kept.
type KeptLines struct {
	Kept    int
	Changed int      // that are no longer as they were shown, or no longer there
	Own     int      // that concern the actor
	Others  []string // who may decide on those instead
}

// KeepLines decides that lines stay, as they were shown, and records review.decide for each in one transaction. A line
// that has changed since it was shown stays undecided. So does one that concerns the actor, as long as anybody else could
// decide on it; where nobody else manages grants everywhere it is kept and marked as their own. *ConflictError when no
// review is under way.
func (s *Service) KeepLines(ctx context.Context, by audit.Actor, tokens []string, note string) (KeptLines, error) {
	if err := s.authorize(ctx, by, ActReviewDecide, installation(KindReview)); err != nil {
		return KeptLines{}, err
	}
	note = tidy(note)
	if problem := textProblem(note, reviewNoteLength, true); problem != "" {
		return KeptLines{}, invalidField("note", problem)
	}
	if len(tokens) == 0 {
		return KeptLines{}, invalidField("line", "Choose at least one line.")
	}
	if len(tokens) > reviewLimit {
		return KeptLines{}, invalidField("line", fmt.Sprintf("At most %d lines at once.", reviewLimit))
	}
	var did KeptLines
	err := s.changeReview(ctx, func(tx pgx.Tx, h reviewHistory) error {
		did = KeptLines{}
		if h.open == nil {
			return errNoReview
		}
		r, err := s.asOf(ctx, tx, time.Time{})
		if err != nil {
			return err
		}
		r.own(by)
		decisions, err := readDecisions(ctx, tx, h.open.ID)
		if err != nil {
			return err
		}
		r.decide(decisions)
		events := r.keep(by, h.open, tokens, note, &did)
		if len(events) == 0 {
			return nil
		}
		return s.recordLast(ctx, tx, events[0], events[1:]...)
	})
	if err != nil {
		return KeptLines{}, dbError("deciding on lines", err)
	}
	return did, nil
}

// keep makes the events of lines that are kept, and counts.
func (r *reviewed) keep(by audit.Actor, open *OpenReview, tokens []string, note string, did *KeptLines) []audit.Event {
	byToken := map[string]*reviewLine{}
	for _, line := range r.lines {
		byToken[line.token()] = line
	}
	others := r.otherReviewers(by)
	var events []audit.Event
	for _, token := range slices.Compact(slices.Sorted(slices.Values(tokens))) {
		line := byToken[token]
		switch {
		case line == nil:
			did.Changed++
		case line.Own && len(others) > 0:
			did.Own++
			did.Others = others
		case line.Decided != nil && (!line.Decided.Own || line.Own):
			did.Kept++ // already, and not by who it concerns
		default:
			did.Kept++
			e := singleEvent(reviewTarget(open.ID, open.StartedAt), by, ActReviewDecide, line.keptChange(note))
			e.Parent = open.ID
			events = append(events, e)
		}
	}
	return events
}

// keptChange tells the line that is kept, and who had it.
func (l *reviewLine) keptChange(note string) audit.Change {
	names := make(audit.Names, len(l.who))
	for i, who := range l.who {
		names[i] = who.name
	}
	change := audit.Change{
		"decision": {nil, "keep"}, "line": {nil, l.Key}, "gives": {nil, l.words()}, "digest": {nil, l.digest},
		"members": {nil, names}, "members_count": {nil, len(l.who)}, "members_digest": {nil, l.knows()},
	}
	if l.Own {
		change["own"] = [2]any{nil, true}
	}
	if note != "" {
		change["note"] = [2]any{nil, note}
	}
	return change
}

// ReviewLineNow is one line for a page that asks before it is revoked; ErrNotFound when it does not count any more,
// *ConflictError when it comes from configuration or no review is under way.
func (s *Service) ReviewLineNow(ctx context.Context, by audit.Actor, key string) (ReviewLine, error) {
	var found ReviewLine
	if err := s.permit(ctx, by, ActReviewDecide, installation(KindReview)); err != nil {
		return ReviewLine{}, err
	}
	err := s.readReview(ctx, by, ActReviewRead, time.Time{}, func(tx pgx.Tx, r *reviewed) error {
		i := slices.IndexFunc(r.lines, func(line *reviewLine) bool { return line.Key == key })
		if i < 0 {
			return ErrNotFound
		}
		if err := r.readUse(ctx, tx); err != nil {
			return err
		}
		r.own(by)
		found = r.shown(r.lines[i])
		if found.Configured {
			return &ConflictError{Reason: "This comes from configuration, " + found.Source + ". Whoever runs the console ends it there."}
		}
		h, err := readReviews(ctx, tx, time.Time{})
		if err == nil && h.open == nil {
			err = errNoReview
		}
		return err
	})
	return found, err
}

// RevokeLine takes the grant of a line back, as EndGrant does and with its errors. Its event has the review as its
// parent and names it in the reason.
func (s *Service) RevokeLine(ctx context.Context, by audit.Actor, key, reason string) error {
	if err := s.authorize(ctx, by, ActReviewDecide, installation(KindReview)); err != nil {
		return err
	}
	reason = tidy(reason)
	if problem := textProblem(reason, reviewNoteLength, true); problem != "" {
		return invalidField("reason", problem)
	}
	id, err := uuid.Parse(key)
	if err != nil || id.String() != key {
		return ErrNotFound
	}
	var open *OpenReview
	if err := s.changeReview(ctx, func(_ pgx.Tx, h reviewHistory) error {
		if open = h.open; open == nil {
			return errNoReview
		}
		return nil
	}); err != nil {
		return dbError("revoking a line", err)
	}
	full := "access review of " + open.StartedAt.UTC().Format(time.DateOnly)
	if reason != "" {
		full += ": " + reason
	}
	return s.endGrant(ctx, by, id, full, open.ID)
}

// ReviewStepUp reports whether a fresh sign-in is due before the actor decides on lines or signs a review off.
func (s *Service) ReviewStepUp(by audit.Actor) bool {
	return s.stepUpDue(by, ActReviewSign, installation(KindReview))
}

// ReviewProgress is how far the review under way has come.
type ReviewProgress struct {
	Open                               OpenReview
	All, Undecided, Kept, Revoked, Own int
}

// AskSignReview tells how far the review under way has come, for a page that asks before it is signed off. Who may not sign
// one off is refused here, and recorded; *ConflictError when none is under way.
func (s *Service) AskSignReview(ctx context.Context, by audit.Actor) (ReviewProgress, error) {
	if err := s.permit(ctx, by, ActReviewSign, installation(KindReview)); err != nil {
		return ReviewProgress{}, err
	}
	var p ReviewProgress
	err := s.readReview(ctx, by, ActReviewRead, time.Time{}, func(tx pgx.Tx, r *reviewed) error {
		var out AccessReview
		if err := r.progress(ctx, tx, by, &out); err != nil {
			return err
		}
		if out.Open == nil {
			return errNoReview
		}
		p = ReviewProgress{Open: *out.Open, All: len(r.lines), Undecided: out.Undecided, Kept: out.Kept, Revoked: out.Revoked}
		for _, line := range r.lines {
			if line.Decided != nil && line.Decided.Own {
				p.Own++
			}
		}
		return nil
	})
	return p, err
}

// SignOff is what a sign-off says.
type SignOff struct {
	Note  string
	DueOn string // date, 2006-01-02; empty: 90 days from now
}

// SignReview ends the review under way and records review.sign with what was decided. Nothing that rights follow from
// changes meanwhile. *ConflictError while a line is undecided, or when no review is under way; *InvalidError.
func (s *Service) SignReview(ctx context.Context, by audit.Actor, sign SignOff) (SignedReview, error) {
	if err := s.authorize(ctx, by, ActReviewSign, installation(KindReview)); err != nil {
		return SignedReview{}, err
	}
	due, err := s.checkSignOff(&sign)
	if err != nil {
		return SignedReview{}, err
	}
	var signed SignedReview
	err = s.changeReview(ctx, func(tx pgx.Tx, h reviewHistory) error {
		if h.open == nil {
			return errNoReview
		}
		book, err := s.lockRights(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.stillEverywhere(book, by, ActReviewSign, installation(KindReview)); err != nil {
			return err
		}
		r, err := s.asOf(ctx, tx, time.Time{})
		if err != nil {
			return err
		}
		decisions, err := readDecisions(ctx, tx, h.open.ID)
		if err != nil {
			return err
		}
		if undecided := len(r.lines) - r.decide(decisions); undecided > 0 {
			return &ConflictError{Reason: fmt.Sprintf("Lines without a decision: %d. A review is signed off once every line is decided.", undecided)}
		}
		var asOf time.Time
		if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&asOf); err != nil {
			return err
		}
		change := r.signedChange(decisions, asOf, due, sign.Note)
		e := singleEvent(reviewTarget(h.open.ID, h.open.StartedAt), by, ActReviewSign, change)
		e.Parent = h.open.ID
		signed = signedReview(h.open.ID, *h.open, audit.Stored{Event: e, RecordedAt: asOf})
		return s.recordLast(ctx, tx, e)
	})
	if err != nil {
		return SignedReview{}, s.refused(ctx, by, ActReviewSign, err)
	}
	return signed, nil
}

// checkSignOff brings a sign-off into one form and returns when the next review is due.
func (s *Service) checkSignOff(sign *SignOff) (time.Time, error) {
	invalid, now := map[string]string{}, s.now()
	sign.Note = tidy(sign.Note)
	if problem := textProblem(sign.Note, reviewNoteLength, true); problem != "" {
		invalid["note"] = problem
	}
	due := now.Add(reviewDueAfter).Truncate(24 * time.Hour)
	if sign.DueOn != "" {
		day, err := time.Parse(time.DateOnly, sign.DueOn)
		switch {
		case err != nil:
			invalid["due_on"] = "Give a date as in 2027-01-31."
		case !day.After(now) || day.After(now.AddDate(2, 0, 0)):
			invalid["due_on"] = "Give a day after today, within two years."
		}
		due = day
	}
	if len(invalid) > 0 {
		return time.Time{}, &InvalidError{Fields: invalid}
	}
	return due, nil
}

// signedChange tells what was decided: how much, which lines as far as there is room, and a digest of all of them.
func (r *reviewed) signedChange(d reviewDecisions, asOf, due time.Time, note string) audit.Change {
	var kept, own, revoked audit.Names
	for _, line := range r.lines {
		kept = append(kept, line.Key)
		if line.Decided.Own {
			own = append(own, line.Key)
		}
	}
	for id := range d.revoked {
		revoked = append(revoked, id)
	}
	slices.Sort(kept)
	slices.Sort(revoked)
	// An event holds 64 KiB: each list gets a part of that, and the digests stand for all of them.
	const most = 400
	change := audit.Change{
		"as_of": {nil, asOf.UTC().Format(time.RFC3339Nano)}, "lines": {nil, len(kept)}, "kept": {nil, len(kept)}, "revoked": {nil, len(revoked)}, "own": {nil, len(own)},
		"kept_lines": {nil, kept[:min(len(kept), most)]}, "kept_digest": {nil, listDigest(kept)},
		"revoked_lines": {nil, revoked[:min(len(revoked), most)]}, "revoked_digest": {nil, listDigest(revoked)},
		"due_on": {nil, due.Format(time.DateOnly)},
	}
	if len(own) > 0 {
		change["own_lines"] = [2]any{nil, own[:min(len(own), most)]}
	}
	if note != "" {
		change["note"] = [2]any{nil, note}
	}
	return change
}

// listDigest is SHA-256, in hexadecimal, over the sorted keys of lines, each followed by a line feed.
func listDigest(sorted []string) string {
	sum := sha256.New()
	for _, key := range sorted {
		sum.Write([]byte(key + "\n"))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// SignedReviews lists the reviews that were signed off, newest first.
func (s *Service) SignedReviews(ctx context.Context, by audit.Actor) ([]SignedReview, error) {
	if err := s.read(ctx, by, ActReviewRead, installation(KindReview)); err != nil {
		return nil, err
	}
	h, err := s.reviewHistory(ctx)
	slices.Reverse(h.signed)
	return h.signed, err
}

// ReviewOverdue returns the last review that was signed off, when the next is overdue; nil when it is not, or there was none.
func (s *Service) ReviewOverdue(ctx context.Context) (*SignedReview, error) {
	h, err := s.reviewHistory(ctx)
	if n := len(h.signed); err == nil && n > 0 && h.signed[n-1].Due(s.now()) {
		return &h.signed[n-1], nil
	}
	return nil, err
}

func (s *Service) reviewHistory(ctx context.Context) (h reviewHistory, err error) {
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		h, err = readReviews(ctx, tx, time.Time{})
		return err
	})
	if err != nil {
		return reviewHistory{}, dbError("reading access reviews", err)
	}
	return h, nil
}
