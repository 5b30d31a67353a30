package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"quartermaster/internal/audit"
)

// exportsAtOnce is how many exports a process runs. Each has a connection to the database for as
// long as its reader takes.
const exportsAtOnce = 2

// ExportLog writes the operations that match q to w, all of them and as they are at one moment, in
// the order of SearchLog. Records audit.export with what was asked before the first byte leaves:
// ErrAuditUnavailable, and nothing is written, when that fails. *InvalidError when the format is
// unknown or a text to look for is too long, ErrRateLimited when others' exports are under way.
// Nothing but ctx bounds how long it takes, so the caller must.
//
// Who may take away a part of the log gets that part, which says so in itself (see audit.Log.ExportOperations). The right
// must hold until the last byte: it is asked for again every second while bytes go out, and when the session or the right
// ended the export breaks off with ErrNoSession or *ForbiddenError.
//
// An export is one event and not an attempt with an outcome. What has to be known is that somebody
// took this part of the log away, and that is so from the first byte on. How much of it arrived is
// not known here: a count of what was sent would be read as one of what was received. And should
// the console die meanwhile, nobody could find out afterwards how it ended.
func (s *Service) ExportLog(ctx context.Context, by audit.Actor, q audit.Query, format audit.Format, w io.Writer) error {
	part, err := s.logFor(ctx, by, ActAuditExport)
	if err != nil {
		return err
	}
	if err := s.demandFresh(ctx, by, ActAuditExport, installation(KindAudit)); err != nil {
		return err
	}
	if err := checkSearch(q); err != nil {
		return err
	}
	if !slices.Contains(audit.Formats(), format) {
		return &InvalidError{Fields: map[string]string{"format": "There is no such format."}}
	}
	select {
	case s.exporting <- struct{}{}:
		defer func() { <-s.exporting }()
	default:
		return fmt.Errorf("exporting the log beside %d others: %w", exportsAtOnce, ErrRateLimited)
	}
	asked := searchChange(q)
	asked["format"] = [2]any{nil, string(format)}
	if part != nil {
		asked["scope"] = [2]any{nil, scopeWords(*part)}
	}
	if err := s.appendEvent(ctx, singleEvent(installation(KindAudit), by, ActAuditExport, asked)); err != nil {
		return err
	}
	q.UnknownAfter, q.After, q.Part = s.cfg.UnknownAfter, 0, part
	watch := s.watch(by, ActAuditExport, part)
	receiver := &receiver{w: w, may: func() error { return watch.check(ctx) }}
	_, err = s.cfg.Log.ExportOperations(ctx, q, format, receiver)
	switch {
	case err == nil:
		return nil
	case watch.ended != nil:
		return fmt.Errorf("exporting the log: %w", watch.ended)
	case receiver.err != nil:
		return fmt.Errorf("sending an export of the log: %w", receiver.err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("exporting the log: %w", ctx.Err()) // the database is there, and slow
	}
	return dbError("exporting the log", err)
}

// receiver asks before each piece whether it may go out, and remembers that it was the writer that failed, and
// not the database.
type receiver struct {
	w   io.Writer
	may func() error
	err error
}

func (r *receiver) Write(p []byte) (int, error) {
	if err := r.may(); err != nil {
		return 0, err
	}
	n, err := r.w.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}
