package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

const pathMe = "/me"

// handleMe handles GET /me.
func (s *Server) handleMe(c echo.Context) error {
	sessions, err := s.accounts.Sessions(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	me, by := sessionFrom(c), actorFrom(c)
	v := templates.MeView{
		Page: s.page(c, "Your access", "me-show", "me"), Name: me.Name, Email: me.Email, Subject: me.Subject, Issuer: me.Issuer,
		Roles: me.Roles, Permissions: permissionGroups(me.Permissions), Verified: by.EmailVerified, Groups: len(me.Groups), GroupClaim: s.opts.GroupsClaim,
		GroupPath: strings.Join(me.Reading.Path, " → "), Problems: me.Reading.Problems(), Mapping: s.ownMapping(c, by),
		SignedInAt: me.CreatedAt, AuthTime: me.AuthTime, Prompted: me.Prompted, Claims: sortedPairs(me.Claims), MoreClaims: me.Reading.ClaimsLeftOut,
	}
	if me.BreakGlass() {
		v.BreakGlass = &templates.BreakGlassOwn{MadeBy: me.Claims["made_by"], Reason: asSentence(me.Claims["reason"]), Until: me.ExpiresAt}
		if user, host, ok := strings.Cut(v.BreakGlass.MadeBy, "@"); ok {
			v.BreakGlass.MadeBy = user + " on " + host
		}
	}
	for _, one := range sessions {
		v.Sessions = append(v.Sessions, templates.SessionRow{
			ID: one.ID.String(), Current: one.Current || one.ID == me.ID, Browser: browserName(one.UserAgent), UserAgent: one.UserAgent, IP: one.IP,
			CreatedAt: one.CreatedAt, LastSeenAt: one.LastSeenAt, ExpiresAt: one.ExpiresAt,
		})
	}
	return s.render(c, http.StatusOK, templates.Me(v))
}

// ownMapping is where the member's own rights come from, with until when and why they were given.
func (s *Server) ownMapping(c echo.Context, by audit.Actor) templates.Mapping {
	rows, named := s.accounts.Explain(by), s.namesFor(c)
	m := mappingOf(rows, named)
	m.Terms, m.Now = true, s.now()
	terms := s.accounts.TermsOf(rows)
	at := 0
	for _, r := range rows {
		if len(r.Gives) == 0 {
			continue
		}
		if r.By == access.ByMember {
			m.Giving[at].What = "given to you directly"
		}
		for i, g := range r.Gives { // mappingOf keeps the order
			one := &m.Giving[at].Gives[i]
			one.Until, one.Why = terms[g.ID].ExpiresAt, terms[g.ID].Reason
			one.Href = placeHref(g.Scope, one.Where)
		}
		at++
	}
	return m
}

// placeHref is the page of the one account or cluster that a scope is and that the words name; empty for any other.
func placeHref(scope access.Scope, words string) string {
	switch {
	case len(scope.Accounts) == 1 && strings.HasPrefix(words, "account "):
		return accountPath(scope.Accounts[0])
	case len(scope.Clusters) == 1 && strings.HasPrefix(words, "cluster "):
		return clusterPath(scope.Clusters[0].AccountID, scope.Clusters[0].ClusterID)
	}
	return ""
}

// permissionGroups gathers permissions by what they are about. Upstream's names say the verb first
// (read:clusters), ours the thing (accounts:manage).
func permissionGroups(permissions []string) []templates.PermissionGroup {
	verbs := []string{"read", "write", "delete", "restore"}
	byKind := map[string][]string{}
	for _, p := range permissions {
		first, second, ok := strings.Cut(p, ":")
		kind, verb := first, second
		switch {
		case !ok:
			kind, verb = p, "yes"
		case slices.Contains(verbs, first):
			kind, verb = second, first
		}
		byKind[kind] = append(byKind[kind], verb)
	}
	groups := make([]templates.PermissionGroup, 0, len(byKind))
	for kind, of := range byKind {
		slices.SortStableFunc(of, func(a, b string) int { return slices.Index(verbs, a) - slices.Index(verbs, b) })
		groups = append(groups, templates.PermissionGroup{Kind: kindWords(kind), Verbs: of})
	}
	slices.SortFunc(groups, func(a, b templates.PermissionGroup) int { return strings.Compare(a.Kind, b.Kind) })
	return groups
}

// kindWords names what a permission is about. Where upstream and the console use nearly the same
// word, both say whose it is.
func kindWords(kind string) string {
	switch kind {
	case "account":
		return "account at Qdrant Cloud"
	case "accounts":
		return "accounts in this console"
	case "audit":
		return "audit log"
	case "grants":
		return "grants in this console"
	case "members":
		return "members of this console"
	case "sessions":
		return "sessions in this console"
	}
	return strings.ReplaceAll(strings.ReplaceAll(kind, "_", " "), "api keys", "API keys")
}

// browserName is a short name for a user agent, so that a member recognises a session. It decides
// nothing.
func browserName(agent string) string {
	find := func(names [][2]string, otherwise string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return otherwise
	}
	browser := find([][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}}, "Unknown browser")
	system := find([][2]string{{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}}, "")
	if system == "" {
		return browser
	}
	return browser + " on " + system
}

// handleSessionEnd handles POST /me/sessions/{id}/end.
func (s *Server) handleSessionEnd(c echo.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return fmt.Errorf("session in the path: %w", accounts.ErrNotFound)
	}
	if err := s.accounts.EndSession(c.Request().Context(), actorFrom(c), id); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	if id == sessionFrom(c).ID {
		s.dropCookie(c, s.cookies.session)
		return s.redirect(c, pathLogin+"?why="+whySignedOut, "")
	}
	return s.redirect(c, pathMe, "Session ended.")
}
