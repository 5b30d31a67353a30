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
	KindSession       = "session"
	KindAudit         = "audit"
	KindConfig        = "config"
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
	// CarriesSecret is set when the answer has a secret in it.
	CarriesSecret bool
	// StepUp asks for a fresh sign-in.
	StepUp bool
	// Escapes marks acts that hand out power past this console.
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
	ActAccountDelete  = Act{Name: "account.delete", Needs: access.Needs(access.AccountsManage), TargetKind: KindAccount, Mutates: true, Idempotent: true}

	ActManagementKeyDelete = Act{
		Name: "management_key.delete", Needs: access.Needs(access.AccountsManage, access.DeleteManagementKeys),
		TargetKind: KindManagementKey, Mutates: true, Idempotent: true, Current: &cloudapi.OpDeleteManagementKey,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API cannot delete a management key. Delete it in Qdrant's own console."},
	}

	ActClusterRead = Act{
		Name: "cluster.read", Needs: access.Needs(access.ReadClusters),
		TargetKind: KindCluster, Idempotent: true, Current: &cloudapi.OpGetCluster, PAV1: &cloudapi.OpPAGetCluster,
	}
	ActClusterRestart = Act{
		Name: "cluster.restart", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Current: &cloudapi.OpRestartCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no restart."},
	}
	ActClusterSuspend = Act{
		Name: "cluster.suspend", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, Current: &cloudapi.OpSuspendCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no suspend."},
	}
	ActClusterUnsuspend = Act{
		Name: "cluster.unsuspend", Needs: access.Needs(access.WriteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, Current: &cloudapi.OpUnsuspendCluster,
		Lacking: map[cloudapi.Generation]string{cloudapi.PAV1: "The legacy pa/v1 API has no resume."},
	}
	ActClusterDelete = Act{
		Name: "cluster.delete", Needs: access.Needs(access.DeleteClusters),
		TargetKind: KindCluster, Mutates: true, Idempotent: true, Current: &cloudapi.OpDeleteCluster, PAV1: &cloudapi.OpPADeleteCluster,
	}

	ActSessionLogin  = Act{Name: "session.login", Self: true, TargetKind: KindSession, Mutates: true}
	ActSessionLogout = Act{Name: "session.logout", Self: true, TargetKind: KindSession, Mutates: true, Idempotent: true}
	ActSessionRevoke = Act{Name: "session.revoke", Self: true, TargetKind: KindSession, Mutates: true, Idempotent: true}

	ActAuditRead   = Act{Name: "audit.read", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditSearch = Act{Name: "audit.search", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditVerify = Act{Name: "audit.verify", Needs: access.Needs(access.AuditRead), TargetKind: KindAudit, Idempotent: true}
	ActAuditExport = Act{Name: "audit.export", Needs: access.Needs(access.AuditExport), TargetKind: KindAudit, Idempotent: true}

	ActConfigChanged = Act{Name: "config.changed", Self: true, TargetKind: KindConfig, Mutates: true}
)

// Acts returns the act table.
func Acts() []Act {
	return []Act{
		ActAccountRead, ActAccountCreate, ActAccountDisable, ActAccountEnable, ActAccountDelete,
		ActManagementKeyDelete,
		ActClusterRead, ActClusterRestart, ActClusterSuspend, ActClusterUnsuspend, ActClusterDelete,
		ActSessionLogin, ActSessionLogout, ActSessionRevoke,
		ActAuditRead, ActAuditSearch, ActAuditVerify, ActAuditExport,
		ActConfigChanged,
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
	case KindCluster:
		return ActClusterRead, true
	}
	return Act{}, false
}
