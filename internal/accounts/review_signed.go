package accounts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// DecidedLine is a line and what was decided on it in one review.
type DecidedLine struct {
	Line    ReviewLine // as it was; with Gives only its key and what it is of are known
	Gives   string     // in the words of the log, of a line from a configuration that the running one does not have
	Revoked bool
	At      time.Time
	By      string
	Note    string // why
	Own     bool   // kept by somebody whom it concerned
}

// DecidedReview is a review that was signed off, with every line and what was decided on it: those that were kept, then
// those that were revoked.
type DecidedReview struct {
	Review SignedReview
	Lines  []DecidedLine
	// Whole reports whether the lines are, by their digests, those that the sign-off is about.
	Whole bool
}

// SignedReviewNamed returns a review that was signed off, by its id; ErrNotFound when there is none. It is made from the
// log alone, but for what configuration gives.
func (s *Service) SignedReviewNamed(ctx context.Context, by audit.Actor, id uuid.UUID) (DecidedReview, error) {
	return s.decidedReview(ctx, by, ActReviewRead, id)
}

func (s *Service) decidedReview(ctx context.Context, by audit.Actor, act Act, id uuid.UUID) (DecidedReview, error) {
	if err := s.permit(ctx, by, act, installation(KindReview)); err != nil {
		return DecidedReview{}, err
	}
	history, err := s.reviewHistory(ctx)
	if err != nil {
		return DecidedReview{}, err
	}
	i := slices.IndexFunc(history.signed, func(r SignedReview) bool { return r.ID == id })
	if i < 0 {
		return DecidedReview{}, ErrNotFound
	}
	out := DecidedReview{Review: history.signed[i]}
	err = s.readReview(ctx, by, act, out.Review.AsOf, func(tx pgx.Tx, r *reviewed) error {
		decisions, err := readDecisions(ctx, tx, id)
		if err != nil {
			return err
		}
		var kept audit.Names
		for _, line := range r.keptLines(decisions) {
			kept = append(kept, line.Line.Key)
			out.Lines = append(out.Lines, line)
		}
		revoked := slices.Sorted(maps.Keys(decisions.revoked))
		slices.Sort(kept)
		out.Whole = listDigest(kept) == out.Review.KeptDigest && listDigest(revoked) == out.Review.RevokedDigest
		gone, err := r.revokedLines(ctx, tx, decisions)
		out.Lines = append(out.Lines, gone...)
		return err
	})
	return out, err
}

// keptLines are the lines of the moment that were kept, in their order, and those of a configuration that was another.
func (r *reviewed) keptLines(d reviewDecisions) []DecidedLine {
	var out []DecidedLine
	left := maps.Clone(d.kept)
	for _, line := range r.lines {
		if e, kept := d.kept[line.Key]; kept {
			out = append(out, keptLine(r.shown(line), e))
		}
		delete(left, line.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(left)) {
		if e := left[key]; strings.HasPrefix(key, configuredKey) { // a grant that is not there ended before the sign-off
			line := keptLine(ReviewLine{Key: key, Configured: true}, e)
			line.Gives = values{}.after(e.Change).text("gives")
			out = append(out, line)
		}
	}
	return out
}

func keptLine(line ReviewLine, e audit.Stored) DecidedLine {
	said := values{}.after(e.Change)
	own, _ := said["own"].(bool)
	return DecidedLine{Line: line, At: e.RecordedAt, By: nameOf(e.Actor), Note: said.text("note"), Own: own}
}

// revokedLines are the grants that a review took back, as they were, in the order of lines.
func (r *reviewed) revokedLines(ctx context.Context, tx pgx.Tx, d reviewDecisions) ([]DecidedLine, error) {
	groups := map[principal][]principal{}
	for who, m := range r.ledger.members {
		for _, group := range m.groups {
			groups[principal{who.issuer, group}] = append(groups[principal{who.issuer, group}], who)
		}
	}
	var lines []*reviewLine
	for id := range d.revoked {
		g := r.ledger.grants[id]
		if g == nil {
			continue // taken back later than what is looked at
		}
		if line := r.grantLine(id, g, groups); line != nil {
			line.Pending = false
			sortPrincipals(line.who)
			line.who = slices.Compact(line.who)
			line.MemberCount = len(line.who)
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, func(a, b *reviewLine) int { return strings.Compare(a.order, b.order) })
	until := time.Time{}
	if r.past {
		until = r.at
	}
	if err := r.namePlaces(ctx, tx, lines, until); err != nil {
		return nil, err
	}
	var out []DecidedLine
	for _, line := range lines {
		e := d.revoked[line.Key]
		_, why, _ := strings.Cut(values{}.after(e.Change).text("end_reason"), ": ") // after "access review of" its day
		out = append(out, DecidedLine{Line: r.shown(line), Revoked: true, At: e.RecordedAt, By: nameOf(e.Actor), Note: why})
	}
	return out, nil
}

// ExportSignedReview writes what SignedReviewNamed tells to w as CSV. Records review.export before the first byte leaves,
// as ExportReview does, whose rights and errors it has; ErrNotFound.
func (s *Service) ExportSignedReview(ctx context.Context, by audit.Actor, id uuid.UUID, w io.Writer) error {
	all, err := s.decidedReview(ctx, by, ActReviewExport, id)
	if err != nil {
		return err
	}
	asked := audit.Change{
		"format": {nil, string(ReviewCSV)}, "as_of": {nil, all.Review.AsOf.UTC().Format(time.RFC3339Nano)}, "lines": {nil, len(all.Lines)}, "review": {nil, id.String()},
	}
	if err := s.appendEvent(ctx, singleEvent(installation(KindReview), by, ActReviewExport, asked)); err != nil {
		return err
	}
	watch := s.watch(by, ActReviewExport, nil)
	out := bufio.NewWriterSize(&receiver{w: w, may: func() error { return watch.check(ctx) }}, 32<<10)
	err = audit.WriteCSV(out, SignedReviewColumns()...)
	for _, l := range all.Lines {
		if err != nil {
			break
		}
		err = audit.WriteCSV(out, l.cells()...)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("exporting a review: %w", err)
	}
	return nil
}

// SignedReviewColumns are the columns of an export of a review that was signed off.
func SignedReviewColumns() []string {
	return []string{"line", "subject_kind", "issuer", "subject", "subject_name", "role", "scope_kind", "scope", "scope_name", "decision", "decided_by", "decided_at", "note", "own"}
}

func (l DecidedLine) cells() []string {
	decision, role := "kept", l.Line.Role.Name
	if l.Revoked {
		decision = "revoked"
	}
	if l.Gives != "" {
		role = l.Gives
	}
	return []string{
		l.Line.Key, l.Line.SubjectKind, l.Line.Issuer, l.Line.Subject, l.Line.SubjectName, role, string(l.Line.ScopeKind), l.Line.Scope, l.Line.ScopeName,
		decision, l.By, timeText(l.At), l.Note, yesOrEmpty(l.Own),
	}
}

// configuredKey begins the keys of lines from configuration.
const configuredKey = "configured-"
