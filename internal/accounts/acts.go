package accounts

import (
	"slices"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/cloudapi"
)

// The kinds of things acts are done to.
const (
	KindAccount       = "account"
	KindManagementKey = "management_key"
	KindCluster       = "cluster"
	KindAlert         = "alert"     // of a cluster
	KindBackup        = "backup"    // of a cluster
	KindKey           = "key"       // a database key with name and rules
	KindAdminKey      = "admin_key" // a database key of the first version, of one cluster or several
	KindPackage       = "package"
	KindSession       = "session"
	KindAudit         = "audit"
	KindConfig        = "config"
	KindBreakGlass    = "break_glass" // a way in without the identity provider
	KindGroup         = "group"       // a value of the groups claim
	KindGrant         = "grant"
	KindRole          = "role"
	KindMember        = "member"
	KindReview        = "review" // an access review
	KindRights        = "rights" // the rows that rights follow from, as a whole
)

// Act is one thing that can be done: one row of the act table, from which rights, audit actions
// and what is offered are derived. Its name is the audit action.
type Act struct {
	// Name is kind and verb, e.g. cluster.delete.
	Name string
	// Needs is what the member must hold on the target. It is never empty but for acts of oneself
	// and of the console.
	Needs access.Requirement
	// Self marks what a member does to their own session and what the console itself does; no
	// right is asked for.
	Self bool
	// TargetKind is one of the Kind constants.
	TargetKind string
	// Mutates is set when something is different afterwards, here or upstream.
	Mutates bool
	// Idempotent is set when doing it twice is doing it once.
	Idempotent bool
	// GoesOn is set when the work goes on upstream after the call was answered. Its end is recorded
	// by a settled event.
	GoesOn bool
	// CarriesSecret is set when the answer has a secret in it.
	CarriesSecret bool
	// StepUp says when the act asks for a fresh sign-in; never is the zero value.
	StepUp StepUp
	// Escapes marks acts that hand out power past this console. They always ask for a fresh sign-in, and a right by
	// cluster or by labels is not enough. No act sets it yet; restoring a backup as a new cluster will.
	Escapes bool
	// Current and PAV1 are the operations of the Cloud API that the act comes down to; nil for
	// an act of the console alone, and for a generation that has no such operation.
	Current, PAV1 *cloudapi.Op
	// Lacking says for people why a generation without an operation does not offer the act.
	Lacking map[cloudapi.Generation]string
}

// Op returns the operation the act comes down to in a generation, or nil.
func (a Act) Op(g cloudapi.Generation) *cloudapi.Op {
	switch g {
	case cloudapi.Current:
		return a.Current
	case cloudapi.PAV1:
		return a.PAV1
	}
	return nil
}

// The acts.
var (
	ActAccountRead    = Act{Name: "account.read", Needs: access.Needs(access.ReadAccount), TargetKind: KindAccount, Idempotent: true}
	ActAccountCreate  = Act{Name: "account.create", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true}
	ActAccountDisable = Act{Name: "account.disable", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, Idempotent: true}
	ActAccountEnable  = Act{Name: "account.enable", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, Idempotent: true}
	ActAccountDelete  = Act{Name: "account.delete", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, Idempotent: true, StepUp: StepUpAlways}

	ActAccountEdit = Act{Name: "account.edit", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, Idempotent: true, StepUp: StepUpOfEnvironment}
	// The two acts that put another key or another API in place of the one in use.
	ActAccountKey    = Act{Name: "account.key", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, StepUp: StepUpAlways}
	ActAccountSwitch = Act{Name: "account.switch", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, StepUp: StepUpAlways}

	// A key minted here is sealed at once and shown to nobody, so it hands out no power.
	ActManagementKeyCreate = Act{
		Name: "management_key.create", Needs: access.Needs(access.AccountsManage, access.WriteManagementKeys),
		TargetKind: KindManagementKey, Mutates: true, CarriesSecret: true, StepUp: StepUpAlways, Current: &cloudapi.OpCreateManagementKey,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API cannot make a management key."},
	}
	ActManagementKeyDelete = Act{
		Name: "management_key.delete", Needs: access.Needs(access.AccountsManage, access.DeleteManagementKeys),
		TargetKind: KindManagementKey, Mutates: true, Idempotent: true, StepUp: StepUpAlways, Current: &cloudapi.OpDeleteManagementKey,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API cannot delete a management key. Delete it in Qdrant's own console."},
	}

	// An old key that a member says is gone upstream; upstream is not asked.
	ActManagementKeyDismiss = Act{
		Name: "management_key.dismiss", Needs: access.Needs(access.AccountsManage), TargetKind: KindManagementKey, Mutates: true, Idempotent: true,
	}

	ActClusterRead = Act{
		Name: "cluster.read", Needs: access.Needs(access.ReadClusters),
		TargetKind: KindCluster, Idempotent: true, Current: &cloudapi.OpGetCluster, PAV1: &cloudapi.OpPAGetCluster,
	}
	ActClusterCreate = Act{
		Name: "cluster.create", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, GoesOn: true, Current: &cloudapi.OpCreateCluster, PAV1: &cloudapi.OpPACreateCluster,
	}
	ActClusterUpdate = Act{
		Name: "cluster.update", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, GoesOn: true, Current: &cloudapi.OpUpdateCluster, PAV1: &cloudapi.OpPAUpdateCluster,
	}
	ActClusterRestart = Act{
		Name: "cluster.restart", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, GoesOn: true, Current: &cloudapi.OpRestartCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no restart."},
	}
	ActClusterSuspend = Act{
		Name: "cluster.suspend", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, GoesOn: true, Current: &cloudapi.OpSuspendCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no suspend."},
	}
	ActClusterUnsuspend = Act{
		Name: "cluster.unsuspend", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, GoesOn: true, Current: &cloudapi.OpUnsuspendCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no resume."},
	}
	ActClusterDelete = Act{
		Name: "cluster.delete", Needs: access.Needs(access.DeleteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, GoesOn: true, StepUp: StepUpInProduction, Current: &cloudapi.OpDeleteCluster, PAV1: &cloudapi.OpPADeleteCluster,
	}

	// Alerts of a cluster, as they were last read.
	ActAlertRead = Act{
		Name: "alert.read", Needs: access.Needs(access.ReadClusters),
		TargetKind: KindAlert, Idempotent: true, Current: &cloudapi.OpListClusterAlerts,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no alerts."},
	}

	// Backups of a cluster and what they come to, as they were last listed. Schedules are shown to those who may read them, too.
	ActBackupRead = Act{
		Name: "backup.read", Needs: access.Needs(access.ReadBackups),
		TargetKind: KindBackup, Idempotent: true, Current: &cloudapi.OpListBackups,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no backups."},
	}

	// A refresh found a difference that no act of ours explains; it is recorded, and nothing is done.
	ActClusterChangedOutside = Act{Name: "cluster.changed_outside", Self: true, TargetKind: KindCluster}
	// The same of the cluster's database keys: which somebody made or deleted elsewhere.
	ActClusterKeysOutside = Act{Name: "cluster.keys_changed_outside", Self: true, TargetKind: KindCluster}
	// The same told of an account: of a key that opens many clusters, and how many changes no event tells of one by one.
	ActAccountChangedOutside = Act{Name: "account.changed_outside", Self: true, TargetKind: KindAccount}
	// Somebody who may change the cluster has looked at such a difference. The event's parent is the id of the difference's.
	ActClusterAcknowledge = Act{Name: "cluster.acknowledge_outside", Needs: access.Needs(access.WriteClusters), TargetKind: KindCluster, Mutates: true, Idempotent: true}

	ActKeyRead = Act{
		Name: "key.read", Needs: access.Needs(access.ReadAPIKeys),
		TargetKind: KindKey, Idempotent: true, Current: &cloudapi.OpListDatabaseAPIKeysV2,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: noNamedKeys},
	}
	ActKeyCreate = Act{
		Name: "key.create", Needs: access.Needs(access.WriteAPIKeys),
		TargetKind: KindKey, Mutates: true, CarriesSecret: true, Current: &cloudapi.OpCreateDatabaseAPIKeyV2,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: noNamedKeys},
	}
	// Making the successor; the old key is deleted by key.delete of the same rotation.
	ActKeyRotate = Act{
		Name: "key.rotate", Needs: access.Needs(access.WriteAPIKeys, access.DeleteAPIKeys),
		TargetKind: KindKey, Mutates: true, CarriesSecret: true, Current: &cloudapi.OpCreateDatabaseAPIKeyV2,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: noNamedKeys},
	}
	ActKeyDelete = Act{
		Name: "key.delete", Needs: access.Needs(access.DeleteAPIKeys),
		TargetKind: KindKey, Mutates: true, Idempotent: true, StepUp: StepUpInProduction, Current: &cloudapi.OpDeleteDatabaseAPIKeyV2,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: noNamedKeys},
	}
	ActAdminKeyRead = Act{
		Name: "admin_key.read", Needs: access.Needs(access.ReadAPIKeys),
		TargetKind: KindAdminKey, Idempotent: true, Current: &cloudapi.OpListDatabaseAPIKeysV1, PAV1: &cloudapi.OpPAListAPIKeys,
	}
	ActAdminKeyCreate = Act{
		Name: "admin_key.create", Needs: access.Needs(access.WriteAPIKeys),
		TargetKind: KindAdminKey, Mutates: true, CarriesSecret: true, PAV1: &cloudapi.OpPACreateAPIKey,
		Lacking: map[cloudapi.Generation]string{cloudapi.Current: "Admin keys are deprecated at Qdrant Cloud: make a key with a name and an end instead."},
	}
	ActAdminKeyUpdate = Act{
		Name: "admin_key.update", Needs: access.Needs(access.WriteAPIKeys),
		TargetKind: KindAdminKey, Mutates: true, Idempotent: true, PAV1: &cloudapi.OpPAUpdateAPIKey,
		Lacking: map[cloudapi.Generation]string{cloudapi.Current: "The current API has no update of a key: make a new one and delete this one."},
	}
	ActAdminKeyDelete = Act{
		Name: "admin_key.delete", Needs: access.Needs(access.DeleteAPIKeys),
		TargetKind: KindAdminKey, Mutates: true, Idempotent: true, StepUp: StepUpInProduction, Current: &cloudapi.OpDeleteDatabaseAPIKeyV1, PAV1: &cloudapi.OpPADeleteAPIKey,
	}

	// Packages and prices; upstream asks no permission, and here they are part of what a reader of clusters sees.
	ActPackageRead = Act{
		Name: "package.read", Needs: access.Needs(access.ReadClusters),
		TargetKind: KindPackage, Idempotent: true, Current: &cloudapi.OpListPackages, PAV1: &cloudapi.OpPAGetPackages,
	}

	ActSessionLogin  = Act{Name: "session.login", Self: true, TargetKind: KindSession, Mutates: true}
	ActSessionLogout = Act{Name: "session.logout", Self: true, TargetKind: KindSession, Mutates: true, Idempotent: true}
	ActSessionRevoke = Act{Name: "session.revoke", Self: true, TargetKind: KindSession, Mutates: true, Idempotent: true}

	ActGroupRead = Act{
		Name: "group.read", Needs: access.Requirement{Any: []string{access.GrantsManage, access.MembersManage}}, TargetKind: KindGroup, Idempotent: true,
	}

	ActAuditRead   = Act{Name: "audit.read", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditSearch = Act{Name: "audit.search", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditVerify = Act{Name: "audit.verify", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditExport = Act{Name: "audit.export", Needs: access.Needs(access.AuditExport), TargetKind: KindAudit, Idempotent: true, StepUp: StepUpAlways}

	// The command line makes a way in; session.login tells of its use.
	ActBreakGlassCreate = Act{Name: "break_glass.create", Self: true, TargetKind: KindBreakGlass, Mutates: true}
	ActBreakGlassRead   = Act{Name: "break_glass.read", Needs: access.Needs(access.MembersManage), TargetKind: KindBreakGlass, Idempotent: true}
	ActBreakGlassEnd    = Act{Name: "break_glass.end", Needs: access.Needs(access.MembersManage), TargetKind: KindBreakGlass, Mutates: true, Idempotent: true}

	ActConfigChanged = Act{Name: "config.changed", Self: true, TargetKind: KindConfig, Mutates: true}

	ActGrantRead   = Act{Name: "grant.read", Needs: access.Needs(access.GrantsManage), TargetKind: KindGrant, Idempotent: true}
	ActGrantCreate = Act{Name: "grant.create", Needs: access.Needs(access.GrantsManage), TargetKind: KindGrant, Mutates: true, StepUp: StepUpAlways}
	ActGrantDelete = Act{Name: "grant.delete", Needs: access.Needs(access.GrantsManage), TargetKind: KindGrant, Mutates: true, Idempotent: true, StepUp: StepUpAlways}
	// A grant to an address becomes the member's at their first sign-in.
	ActGrantBind  = Act{Name: "grant.bind", Self: true, TargetKind: KindGrant, Mutates: true}
	ActRoleRead   = Act{Name: "role.read", Needs: access.Needs(access.GrantsManage), TargetKind: KindRole, Idempotent: true}
	ActRoleCreate = Act{Name: "role.create", Needs: access.Needs(access.GrantsManage), TargetKind: KindRole, Mutates: true, StepUp: StepUpAlways}
	ActRoleEdit   = Act{Name: "role.edit", Needs: access.Needs(access.GrantsManage), TargetKind: KindRole, Mutates: true, Idempotent: true, StepUp: StepUpAlways}
	ActRoleDelete = Act{Name: "role.delete", Needs: access.Needs(access.GrantsManage), TargetKind: KindRole, Mutates: true, Idempotent: true, StepUp: StepUpAlways}

	ActMemberRead    = Act{Name: "member.read", Needs: access.Needs(access.MembersManage), TargetKind: KindMember, Idempotent: true}
	ActMemberBlock   = Act{Name: "member.block", Needs: access.Needs(access.MembersManage), TargetKind: KindMember, Mutates: true, Idempotent: true, StepUp: StepUpAlways}
	ActMemberUnblock = Act{Name: "member.unblock", Needs: access.Needs(access.MembersManage), TargetKind: KindMember, Mutates: true, Idempotent: true, StepUp: StepUpAlways}

	// Ending the sessions of a member, one or all; they may sign in again.
	ActMemberSignOut = Act{Name: "member.sign_out", Needs: access.Needs(access.MembersManage), TargetKind: KindMember, Mutates: true, Idempotent: true}

	// An access review. Revoking a line of it is grant.delete, with the review as its parent.
	ActReviewRead   = Act{Name: "review.read", Needs: access.Requirement{Any: []string{access.AuditRead, access.GrantsManage}}, TargetKind: KindReview, Idempotent: true}
	ActReviewExport = Act{Name: "review.export", Needs: access.Needs(access.AuditExport), TargetKind: KindReview, Idempotent: true, StepUp: StepUpAlways}
	ActReviewStart  = Act{Name: "review.start", Needs: access.Needs(access.GrantsManage), TargetKind: KindReview, Mutates: true, Idempotent: true}
	ActReviewDecide = Act{Name: "review.decide", Needs: access.Needs(access.GrantsManage), TargetKind: KindReview, Mutates: true, Idempotent: true, StepUp: StepUpAlways}
	ActReviewSign   = Act{Name: "review.sign", Needs: access.Needs(access.GrantsManage), TargetKind: KindReview, Mutates: true, StepUp: StepUpAlways}

	// A row that the console did not write was found among those that rights follow from.
	ActRightsUnverified = Act{Name: "rights.unverified", Self: true, TargetKind: KindRights}
)

const noNamedKeys = "The legacy pa/v1 API has no keys with a name or an end, only admin keys."

// Acts returns the act table.
func Acts() []Act {
	return []Act{
		ActAccountRead, ActAccountCreate, ActAccountDisable, ActAccountEnable, ActAccountDelete,
		ActAccountEdit, ActAccountKey, ActAccountSwitch,
		ActManagementKeyCreate, ActManagementKeyDelete, ActManagementKeyDismiss,
		ActClusterRead, ActClusterCreate, ActClusterUpdate, ActClusterRestart, ActClusterSuspend, ActClusterUnsuspend, ActClusterDelete,
		ActAlertRead, ActBackupRead,
		ActClusterChangedOutside, ActClusterKeysOutside, ActAccountChangedOutside, ActClusterAcknowledge,
		ActKeyRead, ActKeyCreate, ActKeyRotate, ActKeyDelete,
		ActAdminKeyRead, ActAdminKeyCreate, ActAdminKeyUpdate, ActAdminKeyDelete,
		ActPackageRead,
		ActSessionLogin, ActSessionLogout, ActSessionRevoke,
		ActBreakGlassCreate, ActBreakGlassRead, ActBreakGlassEnd,
		ActGroupRead,
		ActAuditRead, ActAuditSearch, ActAuditVerify, ActAuditExport,
		ActConfigChanged,
		ActGrantRead, ActGrantCreate, ActGrantDelete, ActGrantBind, ActRoleRead, ActRoleCreate, ActRoleEdit, ActRoleDelete,
		ActReviewRead, ActReviewExport, ActReviewStart, ActReviewDecide, ActReviewSign,
		ActMemberRead, ActMemberBlock, ActMemberUnblock, ActMemberSignOut, ActRightsUnverified,
	}
}

// ActNamed returns the act of that name.
func ActNamed(name string) (Act, bool) {
	acts := Acts()
	i := slices.IndexFunc(acts, func(a Act) bool { return a.Name == name })
	if i < 0 {
		return Act{}, false
	}
	return acts[i], true
}

// readOf returns the act that decides whether a target of the kind may be read at all, and so
// whether a refusal may say that the target exists. ok is false for kinds whose existence is no
// secret: the log, the configuration, the member's own sessions.
func readOf(kind string) (act Act, ok bool) {
	switch kind {
	case KindAccount, KindManagementKey:
		return ActAccountRead, true
	case KindCluster, KindAlert, KindBackup, KindKey, KindAdminKey:
		return ActClusterRead, true
	}
	return Act{}, false
}
