package web

import (
	"strings"

	"github.com/labstack/echo/v4"
)

// setHeaders puts the security headers on every answer that reaches the handler, before anything
// can fail. Handlers of immutable files replace Cache-Control.
func (s *Server) setHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", s.contentSecurityPolicy())
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cache-Control", "no-store")
		if s.base.secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// contentSecurityPolicy allows our own files and nothing inline. form-action names the provider's
// origins because browsers apply it to redirects that follow a form: POST /logout leads there.
func (s *Server) contentSecurityPolicy() string {
	formAction := append([]string{"'self'"}, s.provider.formOrigins()...)
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
		"form-action " + strings.Join(formAction, " ") + "; base-uri 'none'; frame-ancestors 'none'"
}
