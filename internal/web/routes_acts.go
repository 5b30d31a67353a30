package web

import (
	"net/http"

	"quartermaster/internal/accounts"
)

// askedActs says which act each address is about, so that a member who may do nothing here is refused what they asked
// for. Forms that ask before an act are about that act.
var askedActs = func() map[string]accounts.Act {
	const (
		account, cluster = "/accounts/:id", "/accounts/:id/clusters/:cluster"
		keys             = cluster + "/keys"
		key              = keys + "/:key"
		member           = pathMembers + "/:member"
	)
	acts := map[string]accounts.Act{}
	get := func(act accounts.Act, paths ...string) {
		for _, p := range paths {
			acts[http.MethodGet+" "+p] = act
		}
	}
	post := func(act accounts.Act, paths ...string) {
		for _, p := range paths {
			acts[http.MethodPost+" "+p] = act
		}
	}
	both := func(act accounts.Act, paths ...string) { get(act, paths...); post(act, paths...) }

	get(accounts.ActClusterRead, "/", pathHome, pathLive, cluster, cluster+"/history", pathWhy)
	get(accounts.ActAlertRead, pathAlerts, pathFiring)
	get(accounts.ActBackupRead, pathBackups, cluster+pathBackups)
	get(accounts.ActAccountRead, pathAccounts, account, pathUpstream)
	get(accounts.ActAccountCreate, pathAccountNew)
	post(accounts.ActAccountCreate, pathAccounts)
	post(accounts.ActAccountDisable, account+"/disable")
	post(accounts.ActAccountEnable, account+"/enable")
	both(accounts.ActAccountDelete, account+"/delete")
	both(accounts.ActAccountEdit, account+"/edit")
	both(accounts.ActAccountKey, account+"/key")
	both(accounts.ActManagementKeyCreate, account+"/key/mint")
	both(accounts.ActManagementKeyDelete, account+"/key/old/:key/delete")
	post(accounts.ActManagementKeyDismiss, account+"/key/old/:key/dismiss")
	both(accounts.ActAccountSwitch, account+"/switch")

	get(accounts.ActClusterCreate, pathClusterNew, account+"/clusters/quote")
	both(accounts.ActClusterCreate, account+"/clusters/new")
	post(accounts.ActClusterCreate, account+"/clusters")
	both(accounts.ActClusterUpdate, cluster+"/update")
	post(accounts.ActClusterUpdate, cluster+"/update/review")
	both(accounts.ActClusterRestart, cluster+"/restart")
	both(accounts.ActClusterSuspend, cluster+"/suspend")
	post(accounts.ActClusterUnsuspend, cluster+"/unsuspend")
	both(accounts.ActClusterDelete, cluster+"/delete")

	get(accounts.ActKeyRead, keys, pathRadar)
	get(accounts.ActKeyCreate, keys+"/new")
	post(accounts.ActKeyCreate, keys)
	both(accounts.ActKeyRotate, key+"/rotate")
	both(accounts.ActAdminKeyUpdate, key+"/update")
	both(accounts.ActKeyDelete, key+"/delete")

	get(accounts.ActPackageRead, pathPackages)
	get(accounts.ActAuditRead, pathAudit, "/audit/events/:seq", pathOutside, pathOutside+"/:seq")
	post(accounts.ActClusterAcknowledge, pathOutside+"/:seq/acknowledge")
	get(accounts.ActAuditExport, pathAuditExport)
	both(accounts.ActAuditVerify, pathAuditVerify)

	get(accounts.ActGroupRead, pathGroups)
	both(accounts.ActGroupRead, pathGroupsTry)
	get(accounts.ActGrantRead, pathGrants, pathGrants+"/:id", pathAccess, pathGroup)
	post(accounts.ActGrantCreate, pathGrants)
	both(accounts.ActGrantCreate, pathGrants+"/new")
	both(accounts.ActGrantDelete, pathGrants+"/:id/delete")
	get(accounts.ActRoleRead, pathRoles, pathRoles+"/:id")
	get(accounts.ActRoleCreate, pathRoles+"/new")
	post(accounts.ActRoleCreate, pathRoles)
	get(accounts.ActRoleEdit, pathRoles+"/:id/edit")
	post(accounts.ActRoleEdit, pathRoles+"/:id")
	both(accounts.ActRoleDelete, pathRoles+"/:id/delete")
	get(accounts.ActMemberRead, pathMembers, member, member+"/keys")
	both(accounts.ActMemberBlock, member+"/block")
	both(accounts.ActMemberUnblock, member+"/unblock")
	post(accounts.ActMemberSignOut, member+"/sessions/end", member+"/sessions/:id/end")
	get(accounts.ActBreakGlassRead, pathBreakGlassUse+"/:id")
	post(accounts.ActBreakGlassEnd, pathBreakGlass+"/:id/end")

	get(accounts.ActReviewRead, pathReview, pathReviewSigned, pathReviewSigned+"/:review", pathReviewMembers, pathReviewMembers+"/:member", pathReview+"/accounts/:id")
	post(accounts.ActReviewStart, pathReview+"/start")
	post(accounts.ActReviewDecide, pathReview+"/keep")
	both(accounts.ActReviewDecide, pathReview+"/lines/:line/revoke")
	both(accounts.ActReviewSign, pathReviewSign)
	get(accounts.ActReviewExport, pathReviewExport, pathReviewSigned+"/:review/export")
	return acts
}()

// asked is the act that a route is about; what is in no table is about reading clusters.
func asked(r route) accounts.Act {
	if act, ok := askedActs[r.Method+" "+r.Path]; ok {
		return act
	}
	return accounts.ActClusterRead
}
