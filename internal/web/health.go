package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
)

// readyTime bounds the readiness check; probes give up soon after.
const readyTime = 3 * time.Second

// handleHealth handles GET /healthz: the process answers, whatever else is broken.
func (s *Server) handleHealth(c echo.Context) error {
	return c.String(http.StatusOK, "ok\n")
}

// readiness is the body of GET /readyz. It names a part and never a cause: the address is public.
type readiness struct {
	Status string `json:"status"`
	Part   string `json:"part,omitempty"`
}

// handleReady handles GET /readyz: Postgres, its schema and the sealing keys. The identity
// provider is not asked: signed-in members go on without it.
func (s *Server) handleReady(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyTime)
	defer cancel()
	err := s.accounts.Ready(ctx)
	if err == nil {
		return c.JSON(http.StatusOK, readiness{Status: "ready"})
	}
	noteError(c, err)
	part := "schema or keys"
	if errors.Is(err, accounts.ErrUnavailable) || isDatabaseDown(err) || errors.Is(err, context.DeadlineExceeded) {
		part = "database"
	}
	return c.JSON(http.StatusServiceUnavailable, readiness{Status: "not ready", Part: part})
}
