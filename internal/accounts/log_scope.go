package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// recheckEvery is how often a long answer asks whether its right still holds.
const recheckEvery = time.Second

// logPart is the part of the log that lies in a scope; nil is all of it. Rights list the accounts of an environment that are
// certain, so an environment by its name adds nothing here. What of a scope has no place in the log adds nothing either:
// a scope that is not understood shows too little and never too much. Labels must be resolved before, see logPartNow.
func logPart(scope access.Scope) *audit.Part {
	if scope.Everything {
		return nil
	}
	part := &audit.Part{}
	for _, id := range scope.Accounts {
		part.Accounts = append(part.Accounts, id.String())
	}
	for _, c := range scope.Clusters {
		part.Clusters = append(part.Clusters, audit.Cluster{Account: c.AccountID.String(), ID: c.ClusterID})
	}
	return part
}

// logFor authorises an act on the log and returns the part of it that the actor may do it on; nil is all of it.
// Who holds the right nowhere is refused, and that is recorded; who holds it where there is nothing finds nothing.
func (s *Service) logFor(ctx context.Context, by audit.Actor, act Act) (*audit.Part, error) {
	scope := s.visible(by, act)
	if scope.None() && !s.rights(by).Somewhere(act.Needs) {
		if err := s.permit(ctx, by, act, installation(KindAudit)); err != nil {
			return nil, err
		}
	}
	if err := s.demandFresh(ctx, by, act, installation(KindAudit)); err != nil {
		return nil, err
	}
	return s.logPartNow(ctx, scope)
}

// logPartNow is logPart with the clusters that labels pick now, as the snapshots have them.
func (s *Service) logPartNow(ctx context.Context, scope access.Scope) (*audit.Part, error) {
	scope, err := withLabelled(ctx, s.cfg.DB, scope)
	if err != nil {
		return nil, dbError("finding what of the log may be seen", err)
	}
	return logPart(scope), nil
}

// LogReach says what of the log a member may see, and do with it.
type LogReach struct {
	Whole    bool         // events of no account included; then it may be checked as a whole
	Accounts []LogAccount // of which they see events, by name; for the filter
	Export   ExportReach  // of what they may take away
}

// ExportReach says whether the log may be taken away, and whether all of it.
type ExportReach struct {
	Offer
	Whole bool
}

// LogAccount is an account that events can be narrowed to.
type LogAccount struct {
	ID   uuid.UUID
	Name string
}

// LogReach tells it for a member. Of an account of which they see only single clusters they learn the name, as events
// tell it to them.
func (s *Service) LogReach(ctx context.Context, by audit.Actor) (LogReach, error) {
	scope, err := withLabelled(ctx, s.cfg.DB, s.visible(by, ActAuditRead))
	if err != nil {
		return LogReach{}, dbError("finding what of the log may be seen", err)
	}
	reach := LogReach{Whole: scope.Everything, Export: s.exportReach(by)}
	of := slices.Clone(scope.Accounts)
	for _, c := range scope.Clusters {
		of = append(of, c.AccountID)
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT id, name FROM accounts WHERE $1 OR id = ANY($2) ORDER BY lower(name), id`,
		scope.Everything, nonNil(of))
	if err != nil {
		return LogReach{}, dbError("listing the accounts of the log", err)
	}
	if reach.Accounts, err = pgx.CollectRows(rows, pgx.RowToStructByPos[LogAccount]); err != nil {
		return LogReach{}, dbError("listing the accounts of the log", err)
	}
	return reach, nil
}

// ReadsWholeLog reports whether a member may read all of the log.
func (s *Service) ReadsWholeLog(by audit.Actor) bool { return s.visible(by, ActAuditRead).Everything }

// AskLog lets those pass who may read any of the log. Others are refused, and that is recorded.
func (s *Service) AskLog(ctx context.Context, by audit.Actor) error {
	_, err := s.logFor(ctx, by, ActAuditRead)
	return err
}

// Acts are those that the reader's part of the log can hold: every one, or those that are done in an account, or are
// about rights on one.
func (r LogReach) Acts() []string {
	var names []string
	for _, act := range Acts() {
		if r.Whole || slices.Contains([]string{KindAccount, KindManagementKey, KindCluster, KindKey, KindAdminKey, KindPackage, KindGrant, KindRights}, act.TargetKind) {
			names = append(names, act.Name)
		}
	}
	slices.Sort(names)
	return names
}

// exportReach says whether the member may take away anything of the log, and if not, why.
func (s *Service) exportReach(by audit.Actor) ExportReach {
	offer := Offer{Act: ActAuditExport.Name, Offered: true, StepUp: s.stepUpDue(by, ActAuditExport, installation(KindAudit))}
	scope := s.visible(by, ActAuditExport)
	if scope.None() && !s.rights(by).Somewhere(ActAuditExport.Needs) {
		offer.Reason = s.notOffered(by, ActAuditExport, installation(KindAudit), "", ManagementKey{})
		offer.Offered = offer.Reason == ""
	}
	return ExportReach{Offer: offer, Whole: scope.Everything}
}

// scopeWords are a part as the log keeps it with what was asked.
func scopeWords(part audit.Part) []string {
	var words []string
	for _, id := range part.Accounts {
		words = append(words, "account "+id)
	}
	for _, c := range part.Clusters {
		words = append(words, "cluster "+c.ID+" of account "+c.Account)
	}
	return nonNil(words)
}

// watch asks again and again, while a long answer goes out, whether the right to it still holds: the session lives,
// and the act is allowed on no less than when it began.
type watch struct {
	s     *Service
	by    audit.Actor
	act   Act
	part  *audit.Part
	asked time.Time
	ended error
}

func (s *Service) watch(by audit.Actor, act Act, part *audit.Part) *watch {
	return &watch{s: s, by: by, act: act, part: part, asked: time.Now()}
}

// check returns an error when the right ended, or cannot be told to hold; once it did it always does. It asks at
// most once in recheckEvery.
func (w *watch) check(ctx context.Context) error {
	if w.ended != nil || time.Since(w.asked) < w.s.recheck {
		return w.ended
	}
	w.ended = w.ask(ctx)
	w.asked = time.Now()
	return w.ended
}

func (w *watch) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, authenticateTimeout)
	defer cancel()
	if err := w.s.sessionLives(ctx, w.by); err != nil {
		return err
	}
	if err := w.s.freshRights(ctx); err != nil {
		return err
	}
	now, err := w.s.logPartNow(ctx, w.s.visible(w.by, w.act))
	if err != nil {
		return err
	}
	if now == nil || w.part != nil && now.Covers(*w.part) {
		return nil
	}
	missing := w.act.Needs.String() + ", which ended meanwhile"
	w.s.denied(ctx, w.by, w.act, installation(KindAudit), missing)
	return &ForbiddenError{Act: w.act.Name, Missing: missing}
}

// sessionLives returns ErrNoSession when the session that the actor came with has ended or expired. Jobs and the command
// line have none; who came by a break-glass link has one.
func (s *Service) sessionLives(ctx context.Context, by audit.Actor) error {
	if by.Issuer == InternalIssuer && !isBreakGlass(by) {
		return nil
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE issuer = $1 AND subject = $2 AND mark = $3 AND ended_at IS NULL`,
		by.Issuer, by.Subject, by.Session)
	if err != nil {
		return fmt.Errorf("reading the session: %w", unavailable(err))
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[sessionRow])
	if err != nil {
		return fmt.Errorf("reading the session: %w", unavailable(err))
	}
	if len(found) != 1 || !s.live(found[0], s.now()) {
		return ErrNoSession
	}
	return nil
}
