// Package web is the console's HTTP side.
package web

import (
	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
)

// Server answers the console's requests.
type Server struct {
	accounts *accounts.Service
}

// actorFrom returns who is signed in. Only handlers behind the session middleware may call it.
func actorFrom(c echo.Context) audit.Actor { panic("stub") }

// sessionFrom returns the session of the request.
func sessionFrom(c echo.Context) accounts.Session { panic("stub") }

// render renders a component into a buffer, then answers with status.
func (s *Server) render(c echo.Context, status int, page templ.Component) error { panic("stub") }

// redirect answers 303 to a path of ours and shows message once on the page that follows.
func (s *Server) redirect(c echo.Context, path, message string) error { panic("stub") }
