package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// baseURL is where browsers find the console.
type baseURL struct {
	origin string // scheme://host[:port], as browsers spell it in Origin
	scheme string
	host   string // lower case, without the scheme's own port
	port   string // always there
	secure bool
}

// newBaseURL accepts https anywhere and http on loopback, without path, query or user.
func newBaseURL(u *url.URL) (baseURL, error) {
	if u == nil || u.Hostname() == "" {
		return baseURL{}, errors.New("web: the base URL needs a host")
	}
	if u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return baseURL{}, errors.New("web: the base URL is scheme and host only")
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && (scheme != "http" || !isLoopbackHost(u.Hostname())) {
		return baseURL{}, errors.New("web: the base URL must be https; http is for loopback only")
	}
	host := canonicalHost(u.Host, scheme)
	b := baseURL{origin: scheme + "://" + host, scheme: scheme, host: host, port: u.Port(), secure: scheme == "https"}
	if b.port == "" {
		b.port = defaultPort(scheme)
	}
	return b, nil
}

// at returns the absolute address of one of our paths.
func (b baseURL) at(path string) string { return b.origin + path }

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// canonicalHost lowers the case and drops the scheme's own port and the root's dot.
func canonicalHost(host, scheme string) string {
	host = strings.ToLower(host)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return strings.TrimSuffix(host, ".")
	}
	name = strings.TrimSuffix(name, ".")
	if port == defaultPort(scheme) {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return net.JoinHostPort(name, port)
}

func isLoopbackHost(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.IsLoopback()
}

// checkHost refuses requests for a host that is not the base URL's: such a name points here by
// DNS rebinding or a proxy's mistake, and cookies, CSRF check and redirects all trust the host.
// Probes come by address and are let through.
func (s *Server) checkHost(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.URL.Path == pathHealth || r.URL.Path == pathReady || canonicalHost(r.Host, s.base.scheme) == s.base.host {
			return next(c)
		}
		if s.opts.Dev && !s.base.secure && r.Method == http.MethodGet && s.isLoopbackTwin(r.Host) && isCanonicalPath(r.URL) {
			return c.Redirect(http.StatusFound, s.base.at(r.URL.RequestURI()))
		}
		noteError(c, fmt.Errorf("host %q is not the base URL's", cut(r.Host, 100)))
		// No page: its stylesheet would be asked from the same wrong host.
		return c.String(http.StatusMisdirectedRequest, "421: this console answers under "+s.base.origin+" only.\nRequest "+requestID(c)+"\n")
	}
}

// isLoopbackTwin reports whether host is another spelling of this machine with our port.
func (s *Server) isLoopbackTwin(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, defaultPort(s.base.scheme)
	}
	return port == s.base.port && isLoopbackHost(name)
}

// clientAddress is the peer's address. Only when the peer is a trusted proxy is X-Forwarded-For
// read, from the right, up to the first address that is not one: what stands left of that was
// written by the client and may be anything. A proxy that writes nonsense is itself the answer.
func (s *Server) clientAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.isTrustedProxy(client); i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break
		}
		client = hop
	}
	return client.String()
}

func (s *Server) isTrustedProxy(a netip.Addr) bool {
	for _, p := range s.opts.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseHop reads one entry of X-Forwarded-For; some proxies add the port.
func parseHop(hop string) (netip.Addr, bool) {
	hop = strings.TrimSpace(hop)
	if a, err := netip.ParseAddr(strings.Trim(hop, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// isCanonicalPath reports whether a path is spelt the one way we spell it. Everything else is no
// address of ours: a path that two readers (a proxy's rules, a router) may read differently is how
// protected pages were reached elsewhere.
func isCanonicalPath(u *url.URL) bool {
	p := u.EscapedPath()
	if !strings.HasPrefix(p, "/") || u.Opaque != "" {
		return false
	}
	if strings.ContainsAny(p, ";\\") {
		return false
	}
	for segment := range strings.SplitSeq(p[1:], "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == "." || plain == ".." || strings.ContainsAny(plain, "/\\;") || hasControl(plain) {
			return false
		}
		if strings.Contains(strings.ToLower(segment), "%2e") {
			return false
		}
	}
	return p == "/" || !strings.Contains(p, "//") && !strings.HasSuffix(p, "/")
}

// checkPath answers 404 to a path that is not spelt canonically, and to one that goes on where a
// route ends: echo lets the last placeholder swallow the rest, slashes and all.
func (s *Server) checkPath(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !isCanonicalPath(c.Request().URL) {
			return echo.ErrNotFound
		}
		if !strings.HasSuffix(c.Path(), "*") && slices.ContainsFunc(c.ParamValues(), func(v string) bool { return strings.Contains(v, "/") }) {
			return echo.ErrNotFound
		}
		return next(c)
	}
}
