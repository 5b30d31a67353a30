package web

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
)

// route is one row of the table of routes. The zero value of its flags is the strictest: a session
// of a member who holds at least one right.
type route struct {
	Method  string // a GET answers HEAD too
	Path    string // echo's pattern
	Handler echo.HandlerFunc

	Public    bool // no session is asked for
	AnyMember bool // members without any right, too

	// Compressed answers are for pages that hold no secret, not even a form's token: how long a
	// compressed page is tells what in it is alike, and some of it comes from the address.
	Compressed bool
}

// The addresses that more than one place names.
const (
	pathHome     = "/clusters"
	pathLogin    = "/login"
	pathCallback = "/auth/callback"
	pathLogout   = "/logout"
	pathHealth   = "/healthz"
	pathReady    = "/readyz"
	pathStatic   = "/static/*"
)

// routes is the only place from which handlers are reached; a test compares it with echo's own list.
func (s *Server) routes() []route {
	return append([]route{
		{Method: http.MethodGet, Path: pathHealth, Handler: s.handleHealth, Public: true},
		{Method: http.MethodGet, Path: pathReady, Handler: s.handleReady, Public: true},
		{Method: http.MethodGet, Path: pathStatic, Handler: s.handleStatic, Public: true},
		{Method: http.MethodGet, Path: pathLogin, Handler: s.handleLogin, Public: true},
		{Method: http.MethodGet, Path: pathCallback, Handler: s.handleCallback, Public: true},
		{Method: http.MethodGet, Path: pathBreakGlass, Handler: s.handleBreakGlassForm, Public: true},
		{Method: http.MethodPost, Path: pathBreakGlass, Handler: s.handleBreakGlass, Public: true},
		{Method: http.MethodGet, Path: pathBreakGlassUse + "/:id", Handler: s.handleBreakGlassUse},
		{Method: http.MethodPost, Path: pathBreakGlass + "/:id/end", Handler: s.handleBreakGlassEnd},
		{Method: http.MethodPost, Path: pathLogout, Handler: s.handleLogout, AnyMember: true},
		{Method: http.MethodGet, Path: "/", Handler: s.handleRoot},
	}, slices.Concat(s.pageRoutes(), s.keyRoutes(), s.memberRoutes(), s.reviewRoutes())...)
}

// pageRoutes are the pages and their forms.
func (s *Server) pageRoutes() []route {
	const account, cluster = "/accounts/:id", "/accounts/:id/clusters/:cluster"
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{Method: get, Path: pathHome, Handler: s.handleFleet, Compressed: true},
		{Method: get, Path: pathLive, Handler: s.handleLive},
		{Method: get, Path: pathAlerts, Handler: s.handleAlerts, Compressed: true},
		{Method: get, Path: pathFiring, Handler: s.handleAlertsFiring},
		{Method: get, Path: pathRadar, Handler: s.handleKeyRadar, Compressed: true},
		{Method: get, Path: pathBackups, Handler: s.handleBackups, Compressed: true},
		{Method: get, Path: pathClusterNew, Handler: s.handleClusterNewChoose},

		{Method: get, Path: pathAccounts, Handler: s.handleAccounts, Compressed: true},
		{Method: post, Path: pathAccounts, Handler: s.handleAccountCreate},
		{Method: get, Path: pathAccountNew, Handler: s.handleAccountNew},
		{Method: get, Path: account, Handler: s.handleAccount},
		{Method: post, Path: account + "/disable", Handler: s.handleAccountDisable},
		{Method: post, Path: account + "/enable", Handler: s.handleAccountEnable},
		{Method: get, Path: account + "/delete", Handler: s.handleAccountDeleteForm},
		{Method: post, Path: account + "/delete", Handler: s.handleAccountDelete},

		{Method: get, Path: account + "/edit", Handler: s.handleAccountEditForm},
		{Method: post, Path: account + "/edit", Handler: s.handleAccountEdit},
		{Method: get, Path: account + "/key", Handler: s.handleAccountKeyForm},
		{Method: post, Path: account + "/key", Handler: s.handleAccountKey},
		{Method: get, Path: account + "/key/mint", Handler: s.handleAccountMintForm},
		{Method: post, Path: account + "/key/mint", Handler: s.handleAccountMint},
		{Method: get, Path: account + "/key/old/:key/delete", Handler: s.handleOldKeyForm},
		{Method: post, Path: account + "/key/old/:key/delete", Handler: s.handleOldKeyDelete},
		{Method: post, Path: account + "/key/old/:key/dismiss", Handler: s.handleOldKeyDismiss},
		{Method: get, Path: account + "/switch", Handler: s.handleAccountSwitchForm},
		{Method: post, Path: account + "/switch", Handler: s.handleAccountSwitch},

		{Method: post, Path: account + "/clusters", Handler: s.handleClusterCreate},
		{Method: get, Path: account + "/clusters/new", Handler: s.handleClusterNew},
		{Method: post, Path: account + "/clusters/new", Handler: s.handleClusterPreview},
		{Method: get, Path: account + "/clusters/quote", Handler: s.handleClusterQuote},

		{Method: get, Path: cluster, Handler: s.handleCluster},
		{Method: get, Path: cluster + "/history", Handler: s.handleClusterHistory, Compressed: true},
		{Method: get, Path: cluster + pathBackups, Handler: s.handleClusterBackups, Compressed: true},
		{Method: get, Path: cluster + "/update", Handler: s.handleClusterUpdateForm},
		{Method: post, Path: cluster + "/update/review", Handler: s.handleClusterUpdateReview},
		{Method: post, Path: cluster + "/update", Handler: s.handleClusterUpdate},
		{Method: get, Path: cluster + "/restart", Handler: s.handleClusterRestartForm},
		{Method: post, Path: cluster + "/restart", Handler: s.handleClusterRestart},
		{Method: get, Path: cluster + "/suspend", Handler: s.handleClusterSuspendForm},
		{Method: post, Path: cluster + "/suspend", Handler: s.handleClusterSuspend},
		{Method: post, Path: cluster + "/unsuspend", Handler: s.handleClusterUnsuspend},
		{Method: get, Path: cluster + "/delete", Handler: s.handleClusterDeleteForm},
		{Method: post, Path: cluster + "/delete", Handler: s.handleClusterDelete},

		{Method: get, Path: pathPackages, Handler: s.handlePackages, Compressed: true},

		{Method: get, Path: pathAudit, Handler: s.handleAudit, Compressed: true},
		{Method: get, Path: "/audit/events/:seq", Handler: s.handleEvent},
		{Method: get, Path: pathOutside, Handler: s.handleOutside, Compressed: true},
		{Method: get, Path: pathOutside + "/:seq", Handler: s.handleOutsideChange},
		{Method: post, Path: pathOutside + "/:seq/acknowledge", Handler: s.handleOutsideAcknowledge},
		{Method: get, Path: pathAuditExport, Handler: s.handleAuditExport},
		{Method: get, Path: pathAuditVerify, Handler: s.handleAuditVerifyForm},
		{Method: post, Path: pathAuditVerify, Handler: s.handleAuditVerify},

		{Method: get, Path: pathUpstream, Handler: s.handleUpstream, Compressed: true},
		{Method: get, Path: pathGroups, Handler: s.handleGroups},
		{Method: get, Path: pathGroup, Handler: s.handleGroup},
		{Method: get, Path: pathGroupsTry, Handler: s.handleGroupsTry},
		{Method: post, Path: pathGroupsTry, Handler: s.handleGroupsTryClaims},

		{Method: get, Path: pathGrants, Handler: s.handleGrants, Compressed: true},
		{Method: post, Path: pathGrants, Handler: s.handleGrantCreate},
		{Method: get, Path: pathGrantNew, Handler: s.handleGrantNew},
		{Method: post, Path: pathGrantNew, Handler: s.handleGrantPreview},
		{Method: get, Path: pathGrants + "/:id", Handler: s.handleGrant},
		{Method: get, Path: pathGrants + "/:id/delete", Handler: s.handleGrantEndForm},
		{Method: post, Path: pathGrants + "/:id/delete", Handler: s.handleGrantEnd},
		{Method: get, Path: pathRoles, Handler: s.handleRoles},
		{Method: post, Path: pathRoles, Handler: s.handleRoleCreate},
		{Method: get, Path: pathRoleNew, Handler: s.handleRoleNew},
		{Method: get, Path: pathRoles + "/:id", Handler: s.handleRole},
		{Method: post, Path: pathRoles + "/:id", Handler: s.handleRoleEdit},
		{Method: get, Path: pathRoles + "/:id/edit", Handler: s.handleRoleEditForm},
		{Method: get, Path: pathRoles + "/:id/delete", Handler: s.handleRoleDeleteForm},
		{Method: post, Path: pathRoles + "/:id/delete", Handler: s.handleRoleDelete},
		{Method: get, Path: pathAccess, Handler: s.handleAccess},

		{Method: get, Path: pathMe, Handler: s.handleMe, AnyMember: true},
		{Method: get, Path: pathWhy, Handler: s.handleWhy},
		{Method: post, Path: "/me/sessions/:id/end", Handler: s.handleSessionEnd, AnyMember: true},
	}
}

// handleRoot handles GET /.
func (s *Server) handleRoot(c echo.Context) error {
	return c.Redirect(http.StatusSeeOther, pathHome)
}
