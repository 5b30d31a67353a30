package web

import (
	"github.com/labstack/echo/v4"

	"quartermaster/static"
)

// handleStatic handles GET /static/*. Files carry the hash of their content in the address, so
// package static may call them immutable.
func (s *Server) handleStatic(c echo.Context) error {
	static.Handler().ServeHTTP(c.Response(), c.Request())
	return nil
}
