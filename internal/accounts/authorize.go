package accounts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// InternalIssuer is the issuer of actors that are no members: jobs, the command line, and break-glass sessions. No
// identity provider can have it, because an issuer of OpenID Connect is a URL.
const InternalIssuer = "quartermaster"

// JobActor is the console itself at work; name says which job. It may do everything.
func JobActor(name string) audit.Actor {
	return audit.Actor{Issuer: InternalIssuer, Subject: name, Name: name, Via: audit.ViaJob, Roles: []string{"system"}}
}

// accountRef is an account as an act needs it: what decides rights, what finds the key, what the
// log remembers. The zero accountRef is the installation itself.
type accountRef struct {
	ID             uuid.UUID
	Name           string
	Environment    Environment
	Generation     cloudapi.Generation
	CloudAccountID string
	Enabled        bool
	KeyID          uuid.UUID // the key in use
}

// target is what an act is done to.
type target struct {
	Account accountRef
	Kind    string
	ID      string
	Name    string
	Cluster string            // that a key belongs to
	Labels  map[string]string // of the cluster
}

func (t target) access() access.Target {
	on := access.Target{AccountID: t.Account.ID, Environment: string(t.Account.Environment), Labels: t.Labels}
	on.ClusterID = t.Cluster
	if t.Kind == KindCluster {
		on.ClusterID = t.ID
	}
	return on
}

// event starts an event about the target.
func (t target) event(by audit.Actor, act Act) audit.Event {
	e := audit.Event{
		Act:    act.Name,
		Actor:  by,
		Target: audit.Target{Kind: t.Kind, ID: t.ID, Name: t.Name},
	}
	if t.Account.ID != uuid.Nil {
		e.Account = audit.Ref{ID: t.Account.ID.String(), Name: t.Account.Name}
	}
	return e
}

// accountTarget is the account itself as a target.
func accountTarget(a accountRef) target {
	return target{Account: a, Kind: KindAccount, ID: a.ID.String(), Name: a.Name}
}

// installation is the console as a whole as a target of the kind.
func installation(kind string) target { return target{Kind: kind} }

// rights returns what the actor may do now: what configuration gives, and what was granted as it was
// when the request began. They are computed at every call, so that a change acts at the next request.
func (s *Service) rights(by audit.Actor) access.Rights {
	return s.rightsBy(s.keeper.book.Load(), by, s.now())
}

// rightsBy returns what the actor may do by a book at a time.
func (s *Service) rightsBy(book *rightsBook, by audit.Actor, at time.Time) access.Rights {
	if by.Issuer == InternalIssuer {
		if by.Via == audit.ViaJob || by.Via == audit.ViaCLI {
			return access.Everything("system")
		}
		if isBreakGlass(by) {
			return access.Everything(breakGlassRole)
		}
		return access.Rights{}
	}
	if by.Issuer == "" || by.Subject == "" || !s.vouches(by.Issuer) {
		return access.Rights{}
	}
	if book == nil { // never read: who is blocked is not known, so nobody is let past by configuration alone
		return access.Rights{}
	}
	if book.blocked[principal{by.Issuer, by.Subject}] {
		return access.Rights{}
	}
	m := memberOf(by)
	return access.NewRights(book.add(s.cfg.Rights.Grants(m), m, by.Subject, at)...).In(book.environments)
}

// vouches reports whether the issuer is the identity provider of the console. What one before it vouched for, sessions and
// grants, counts for nothing: it may have been replaced because it was hostile, and nobody can sign in with it.
func (s *Service) vouches(issuer string) bool {
	return s.cfg.Rights.Issuer == "" || issuer == s.cfg.Rights.Issuer
}

func memberOf(by audit.Actor) access.Member {
	return access.Member{Issuer: by.Issuer, Email: by.Email, EmailVerified: by.EmailVerified, Groups: by.Groups}
}

// May reports whether the member holds a permission anywhere, for navigation only.
func (s *Service) May(by audit.Actor, permission string) bool { return s.rights(by).Holds(permission) }

// MayEverywhere reports whether the member may do an act that is about the console as a whole, for navigation only: it
// needs its rights on everything.
func (s *Service) MayEverywhere(by audit.Actor, act Act) bool {
	return s.rights(by).Allows(act.Needs, installation(act.TargetKind).access())
}

// rightsFor is rights, without those that an act which hands out power past this console does not
// accept: on single clusters, and by labels.
func (s *Service) rightsFor(by audit.Actor, act Act) access.Rights {
	rights := s.rights(by)
	if act.Escapes {
		return rights.Wide()
	}
	return rights
}

// visible returns where the actor may do the act, for lists.
func (s *Service) visible(by audit.Actor, act Act) access.Scope {
	return s.rightsFor(by, act).Visible(act.Needs)
}

// read authorises a plain read: an event is written only when it is refused.
func (s *Service) read(ctx context.Context, by audit.Actor, act Act, on target) error {
	return s.authorize(ctx, by, act, on)
}

// authorize returns nil when the actor may do the act on the target now. Otherwise the refusal is
// recorded and the error is that of permit, or *StepUpError when nothing but a fresh sign-in is
// missing: who lacks the right is not told that one would be asked for.
func (s *Service) authorize(ctx context.Context, by audit.Actor, act Act, on target) error {
	if err := s.permit(ctx, by, act, on); err != nil {
		return err
	}
	return s.demandFresh(ctx, by, act, on)
}

// permit is authorize without the fresh sign-in, for pages that ask before an act. A refusal is
// recorded and the error is ErrNotFound when the actor may not even read the target, and
// *ForbiddenError, which names what is missing, when they may.
func (s *Service) permit(ctx context.Context, by audit.Actor, act Act, on target) error {
	if act.Self {
		return nil
	}
	rights := s.rightsFor(by, act)
	if rights.Allows(act.Needs, on.access()) {
		return nil
	}
	missing := rights.Missing(act.Needs, on.access())
	if reading, secret := readOf(on.Kind); secret && on.ID+on.Cluster != "" && !rights.Allows(reading.Needs, on.access()) {
		s.deniedBeside(ctx, by, act, on, missing)
		return ErrNotFound
	}
	s.denied(ctx, by, act, on, missing)
	return &ForbiddenError{Act: act.Name, Missing: missing}
}

// denialWindow is how long refusals of one member, act and target are summed.
const denialWindow = time.Minute

// maxDenials bounds the memory that refusals take. Past it they are summed without their target.
const maxDenials = 4096

// denialKey says which refusals are one.
type denialKey struct{ issuer, subject, act, kind, id string }

// denial is a refusal that was recorded, and how many like it came since.
type denial struct {
	event    audit.Event
	recorded time.Time
	since    int
}

// denials sums refusals, so that a member cannot fill the log.
type denials struct {
	mu  sync.Mutex
	all map[denialKey]*denial
}

// add counts one refusal and returns the event to record now, if any.
func (d *denials) add(now time.Time, e audit.Event) (audit.Event, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[denialKey]*denial{}
	}
	key := denialKey{e.Actor.Issuer, e.Actor.Subject, e.Act, e.Target.Kind, e.Target.ID}
	known := d.all[key]
	if known == nil && len(d.all) >= maxDenials {
		e.Target, e.Account = audit.Target{Kind: e.Target.Kind}, audit.Ref{}
		key.id = ""
		known = d.all[key]
	}
	if known == nil {
		d.all[key] = &denial{event: e, recorded: now}
		e.Count = 1
		return e, true
	}
	known.since++
	known.event = e
	if !elapsed(now, known.recorded, denialWindow) {
		return audit.Event{}, false
	}
	e.Count = known.since
	known.since, known.recorded = 0, now
	return e, true
}

// due takes out the sums whose minute is over; all of them when the console stops.
func (d *denials) due(now time.Time, everything bool) []audit.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []audit.Event
	for key, known := range d.all {
		if !everything && !elapsed(now, known.recorded, denialWindow) {
			continue
		}
		delete(d.all, key)
		if known.since > 0 {
			e := known.event
			e.Count = known.since
			out = append(out, e)
		}
	}
	return out
}

// giveBack counts an event again that could not be recorded; it becomes due after a minute, with the time of what it
// tells of. It reports false when there is no room to keep it.
func (d *denials) giveBack(now time.Time, e audit.Event) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := denialKey{e.Actor.Issuer, e.Actor.Subject, e.Act, e.Target.Kind, e.Target.ID}
	known := d.all[key]
	if known == nil {
		if len(d.all) >= maxDenials {
			return false
		}
		known = &denial{event: e}
		d.all[key] = known
	}
	known.since += max(e.Count, 1)
	known.recorded = now
	return true
}

// denied records a refusal, summed to one event a minute for the same member, act and target. The
// refusal stands when it cannot be recorded; that is logged, and it is recorded later.
func (s *Service) denied(ctx context.Context, by audit.Actor, act Act, on target, missing string) {
	if e, now := s.countDenial(by, act, on, missing); now {
		s.appendDenial(ctx, e)
	}
}

// deniedBeside is denied without waiting for the log, for refusals that are answered as what does not
// exist: waiting would tell that there is something to refuse. Run waits for them when it ends.
func (s *Service) deniedBeside(ctx context.Context, by audit.Actor, act Act, on target, missing string) {
	if e, now := s.countDenial(by, act, on, missing); now {
		s.beginBeside(ctx, func(ctx context.Context) { s.appendDenial(ctx, e) })
	}
}

// countDenial counts a refusal and returns the event to record now, if any.
func (s *Service) countDenial(by audit.Actor, act Act, on target, missing string) (audit.Event, bool) {
	by.Groups = nil // not recorded, and too long to be kept with each sum
	e := on.event(by, act)
	e.At = s.now()
	e.Phase, e.Outcome, e.Reason = audit.PhaseSingle, audit.Denied, "needs "+missing
	return s.denials.add(s.cfg.Now(), e)
}

// flushedAtOnce is how many sums wait for the log together: they share its commits.
const flushedAtOnce = 64

// flushDenials records the refusals that were counted and whose minute is over; with everything
// set all of them, which Run does when it ends: then nothing is waited for once ctx has ended.
func (s *Service) flushDenials(ctx context.Context, everything bool) {
	var recording errgroup.Group
	recording.SetLimit(flushedAtOnce)
	for _, e := range s.denials.due(s.cfg.Now(), everything) {
		recording.Go(func() error {
			if !everything {
				s.appendDenial(ctx, e)
			} else if _, err := s.cfg.Log.Append(ctx, e); err != nil {
				s.keepDenial(ctx, e, err)
			}
			return nil
		})
	}
	recording.Wait() //nolint:errcheck // none returns one
}

func (s *Service) appendDenial(ctx context.Context, e audit.Event) {
	if err := s.appendEvent(ctx, e); err != nil {
		s.keepDenial(ctx, e, err)
	}
}

// keepDenial keeps a refusal that could not be recorded for the next flush, and logs it.
func (s *Service) keepDenial(ctx context.Context, e audit.Event, err error) {
	kept := s.denials.giveBack(s.cfg.Now(), e)
	s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "refusal not recorded", slog.Bool("kept", kept),
		slog.String("act", e.Act), slog.String("issuer", e.Actor.Issuer), slog.String("subject", e.Actor.Subject),
		slog.String("request_id", e.Actor.RequestID), slog.Int("count", e.Count), slog.Any("error", err))
}
