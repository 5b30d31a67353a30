package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// unavailable marks an error with ErrUnavailable when it tells that Postgres cannot be reached or
// does not serve now, and returns every other error, nil too, as it is. A cancelled context is the
// caller's doing and is not marked.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		return err
	}
	if answered, ok := errors.AsType[*pgconn.PgError](err); ok {
		// 08 connection, 53 out of resources, 57P server shutting down or starting, 58 system error.
		for _, class := range []string{"08", "53", "57P", "58"} {
			if strings.HasPrefix(answered.Code, class) {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		return err
	}
	_, dialing := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	if dialing || network || pgconn.Timeout(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool") {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// dbError wraps an error of Postgres with what was being done; it is ErrUnavailable when the
// database cannot be reached.
func dbError(doing string, err error) error {
	return fmt.Errorf("%s: %w", doing, unavailable(err))
}

// violates reports whether err is a violation of the named constraint.
func violates(err error, constraint string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.ConstraintName == constraint
}
