package accounts

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// ReviewFormat is how who could do what is written out.
type ReviewFormat string

// The formats.
const (
	ReviewCSV  ReviewFormat = "csv"
	ReviewJSON ReviewFormat = "json"
)

// reviewFormat is the form of an export as JSON, in itself.
const reviewFormat = "quartermaster-access-review/1"

// AskReviewExport lets those pass who may take the review away. Others are refused, and that is recorded.
func (s *Service) AskReviewExport(ctx context.Context, by audit.Actor) error {
	return s.authorize(ctx, by, ActReviewExport, installation(KindReview))
}

// ExportReview writes who could do what at a moment to w, every line of it in the order of AccessReview and with everybody
// whom each concerned. Records review.export before the first byte leaves: ErrAuditUnavailable, and nothing is written,
// when that fails. *InvalidError when the format is unknown. The right must hold until the last byte, as for ExportLog.
func (s *Service) ExportReview(ctx context.Context, by audit.Actor, at time.Time, format ReviewFormat, w io.Writer) error {
	if format != ReviewCSV && format != ReviewJSON {
		return invalidField("format", "There is no such format.")
	}
	var all *reviewed
	err := s.readReview(ctx, by, ActReviewExport, at, func(tx pgx.Tx, r *reviewed) error {
		all = r
		return r.readUse(ctx, tx)
	})
	if err != nil {
		return err
	}
	asked := audit.Change{"format": {nil, string(format)}, "as_of": {nil, all.at.UTC().Format(time.RFC3339Nano)}, "lines": {nil, len(all.lines)}}
	if err := s.appendEvent(ctx, singleEvent(installation(KindReview), by, ActReviewExport, asked)); err != nil {
		return err
	}
	watch := s.watch(by, ActReviewExport, nil)
	out := &receiver{w: w, may: func() error { return watch.check(ctx) }}
	buffered := bufio.NewWriterSize(out, 32<<10)
	if format == ReviewCSV {
		err = all.writeCSV(buffered)
	} else {
		err = all.writeJSON(buffered)
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("exporting a review: %w", err)
	}
	return nil
}

// ReviewColumns are the columns of an export as CSV.
func ReviewColumns() []string {
	return []string{
		"as_of", "grant_id", "subject_kind", "issuer", "subject", "subject_name", "members", "role", "permissions", "scope_kind", "scope", "scope_name",
		"granted_by", "reason", "since", "expires_at", "last_use_within_90_days", "configured", "pending",
	}
}

func (r *reviewed) writeCSV(w *bufio.Writer) error {
	if err := audit.WriteCSV(w, ReviewColumns()...); err != nil {
		return err
	}
	for _, line := range r.lines {
		grant := ""
		if line.Grant != uuid.Nil {
			grant = line.Grant.String()
		}
		err := audit.WriteCSV(w,
			timeText(r.at), grant, line.SubjectKind, line.Issuer, line.Subject, line.SubjectName, strings.Join(r.whoWords(line), ", "), line.Role.Name,
			strings.Join(line.Role.Permissions, ", "), string(line.ScopeKind), line.Scope, line.ScopeName, line.GrantedBy, line.Reason, timeText(line.Since),
			optionalTime(line.ExpiresAt), optionalTime(line.LastUse), line.Source, yesOrEmpty(line.Pending))
		if err != nil {
			return err
		}
	}
	return nil
}

// whoWords names everybody whom the line concerns.
func (r *reviewed) whoWords(line *reviewLine) []string {
	words := make([]string, len(line.who))
	for i, who := range line.who {
		m := r.member(who)
		words[i] = m.Name
		if m.Email != "" && m.Email != m.Name {
			words[i] += " <" + m.Email + ">"
		}
		if m.Blocked {
			words[i] += " (blocked)"
		}
	}
	return words
}

func optionalTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return timeText(*t)
}

func yesOrEmpty(yes bool) string {
	if yes {
		return strconv.FormatBool(yes)
	}
	return ""
}

// reviewDocument is an export as JSON.
type reviewDocument struct {
	Format  string             `json:"format"`
	AsOf    string             `json:"as_of"`
	Note    string             `json:"note"`
	Config  []configDocument   `json:"configuration_changed_since,omitempty"`
	Members []personDocument   `json:"members"`
	Lines   []reviewedDocument `json:"lines"`
}

type configDocument struct {
	At    string   `json:"at"`
	Names []string `json:"names"`
}

type personDocument struct {
	Issuer     string   `json:"issuer"`
	Subject    string   `json:"subject"`
	Name       string   `json:"name"`
	Email      string   `json:"email,omitempty"`
	Blocked    bool     `json:"blocked,omitempty"`
	LastSignIn string   `json:"last_sign_in"`
	Groups     []string `json:"groups"`
}

type subjectDocument struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

type reviewedDocument struct {
	Line        string            `json:"line"`
	SubjectKind string            `json:"subject_kind"`
	Issuer      string            `json:"issuer"`
	Subject     string            `json:"subject"`
	Members     []subjectDocument `json:"members"`
	Role        string            `json:"role"`
	RoleID      string            `json:"role_id"`
	Permissions []string          `json:"permissions"`
	ScopeKind   string            `json:"scope_kind"`
	Scope       string            `json:"scope"`
	ScopeName   string            `json:"scope_name"`
	GrantedBy   string            `json:"granted_by,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Since       string            `json:"since,omitempty"`
	ExpiresAt   string            `json:"expires_at,omitempty"`
	LastUse     string            `json:"last_use_within_90_days,omitempty"`
	Configured  string            `json:"configured,omitempty"`
	Pending     bool              `json:"pending,omitempty"`
}

const reviewNote = "From the audit log as it was at that time. Lines with \"configured\" are those of the configuration at the time of the export, because the log keeps only which variables changed."

func (r *reviewed) writeJSON(w io.Writer) error {
	doc := reviewDocument{Format: reviewFormat, AsOf: timeText(r.at), Note: reviewNote, Members: []personDocument{}, Lines: []reviewedDocument{}}
	for _, c := range r.config {
		doc.Config = append(doc.Config, configDocument{At: timeText(c.At), Names: c.Names})
	}
	people := make([]principal, 0, len(r.ledger.members))
	for who, m := range r.ledger.members {
		if m.loginSeq > 0 {
			people = append(people, who)
		}
	}
	sortPrincipals(people)
	for _, who := range people {
		m := r.ledger.members[who]
		doc.Members = append(doc.Members, personDocument{
			Issuer: who.issuer, Subject: who.name, Name: m.name, Email: m.email, Blocked: m.blocked, LastSignIn: timeText(m.loginAt), Groups: nonNil(m.groups),
		})
	}
	for _, line := range r.lines {
		one := reviewedDocument{
			Line: line.Key, SubjectKind: line.SubjectKind, Issuer: line.Issuer, Subject: line.Subject, Members: []subjectDocument{}, Role: line.Role.Name, RoleID: line.Role.ID,
			Permissions: nonNil(line.Role.Permissions), ScopeKind: string(line.ScopeKind), Scope: line.Scope, ScopeName: line.ScopeName, GrantedBy: line.GrantedBy,
			Reason: line.Reason, Since: timeText(line.Since), ExpiresAt: optionalTime(line.ExpiresAt), LastUse: optionalTime(line.LastUse), Configured: line.Source,
			Pending: line.Pending,
		}
		for _, who := range line.who {
			one.Members = append(one.Members, subjectDocument{Issuer: who.issuer, Subject: who.name})
		}
		doc.Lines = append(doc.Lines, one)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}
