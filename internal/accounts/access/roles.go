package access

import (
	"slices"
	"strings"
	"sync"
)

// Permissions of the Cloud API that acts ask for by name. They mean here what they mean upstream.
const (
	ReadAccount          = "read:account"
	ReadClusters         = "read:clusters"
	WriteClusters        = "write:clusters"
	DeleteClusters       = "delete:clusters"
	ReadAPIKeys          = "read:api_keys"
	WriteAPIKeys         = "write:api_keys"
	DeleteAPIKeys        = "delete:api_keys"
	ReadBackups          = "read:backups"
	DeleteBackups        = "delete:backups"
	ReadBackupSchedules  = "read:backup_schedules"
	ReadManagementKeys   = "read:management_keys"
	WriteManagementKeys  = "write:management_keys"
	DeleteManagementKeys = "delete:management_keys"
)

// Permissions of the console itself; the Cloud API does not know them.
const (
	AccountsManage = "accounts:manage" // register, edit, disable, enable and remove accounts
	GrantsManage   = "grants:manage"   // give rights to others, and change labels that rights hang on
	MembersManage  = "members:manage"  // see members, block them, end their sessions
	AuditRead      = "audit:read"      // read, search and verify the log
	AuditExport    = "audit:export"    // take the log away
	KeysRotate     = "keys:rotate"     // rotate what seals and hashes
	LogsRead       = "logs:read"       // read the logs of clusters, in which data may stand
)

const readPaymentInformation = "read:payment_information"

// Upstream returns every permission the Cloud API is known to have, sorted: those of the rpc
// options of qdrant-cloud-public-api v0.173.0, and read:cluster_data, write:cluster_data and
// read:profile of the product documentation.
func Upstream() []string { return slices.Clone(upstream()) }

var upstream = sync.OnceValue(func() []string {
	var all []string
	for _, resource := range []string{
		"account", "api_keys", "backup_schedules", "backups", "clusters", "hybrid_cloud_environments", "invites",
		"management_keys", "roles", "serverless_api_keys", "serverless_backup_schedules", "serverless_backups", "serverless_spaces",
	} {
		all = append(all, "read:"+resource, "write:"+resource, "delete:"+resource)
	}
	all = append(all,
		"restore:backups", "restore:serverless_backups",
		"read:users", "delete:users",
		readPaymentInformation, "write:payment_information",
		"read:cluster_data", "write:cluster_data",
		"read:profile",
	)
	slices.Sort(all)
	return all
})

// Own returns the permissions of the console itself, sorted.
func Own() []string {
	own := []string{AccountsManage, GrantsManage, MembersManage, AuditRead, AuditExport, KeysRotate, LogsRead}
	slices.Sort(own)
	return own
}

// ofClusters are the permissions that are about one cluster and what belongs to it, or about what lies in a scope whatever
// it is.
var ofClusters = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{GrantsManage: true, AuditRead: true, AuditExport: true, LogsRead: true, "restore:backups": true}
	for _, resource := range []string{"api_keys", "backup_schedules", "backups", "cluster_data", "clusters"} {
		for _, verb := range []string{"read:", "write:", "delete:"} {
			all[verb+resource] = true
		}
	}
	return all
})

// Effective returns those of the permissions that can take effect in a scope of the kind, in their order: a scope of
// clusters gives nothing on accounts, and only everything gives what is about the console as a whole.
func Effective(permissions []string, kind ScopeKind) []string {
	var out []string
	for _, p := range permissions {
		switch kind {
		case ScopeEverything:
		case ScopeEnvironment, ScopeAccount:
			if p == MembersManage || p == KeysRotate {
				continue
			}
		case ScopeCluster, ScopeLabels:
			if !ofClusters()[p] {
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// Role is a named set of permissions.
type Role struct {
	// ID is the name that grants keep: a word for a built-in role, a UUID for one of the team's own.
	ID          string
	Name        string
	Description string
	Permissions []string // sorted, each once
}

// BuiltIn returns the roles that always exist, from the one that may least to the one that may most.
func BuiltIn() []Role {
	return []Role{Viewer(), Operator(), KeyManager(), AccountAdmin(), Auditor(), PlatformAdmin()}
}

// Viewer reads everything of the Cloud API but payment information.
func Viewer() Role {
	return Role{
		ID: "viewer", Name: "viewer", Description: "Looks at accounts, clusters, keys and backups, and changes nothing.",
		Permissions: slices.DeleteFunc(reading(), func(p string) bool { return p == readPaymentInformation }),
	}
}

// Operator is a viewer who also writes and deletes clusters, database keys and backups, and reads the
// logs of clusters. Restoring is not among it: it replaces what a cluster holds.
func Operator() Role {
	permissions := append(Viewer().Permissions, LogsRead)
	for _, resource := range []string{"clusters", "api_keys", "backups"} {
		permissions = append(permissions, "write:"+resource, "delete:"+resource)
	}
	return sortedRole("operator", "operator", "Works on clusters: makes, changes and deletes them, their keys and backups.", permissions)
}

// KeyManager is a viewer who also makes and deletes database keys.
func KeyManager() Role {
	return sortedRole("key-manager", "key manager", "Makes, rotates and deletes database keys, and changes no cluster.",
		append(Viewer().Permissions, WriteAPIKeys, DeleteAPIKeys))
}

// AccountAdmin may do everything that concerns an account and its clusters, and give rights there.
func AccountAdmin() Role {
	permissions := slices.DeleteFunc(slices.Clone(everything()), func(p string) bool { return p == MembersManage || p == KeysRotate })
	return sortedRole("account-admin", "account admin", "Does everything with accounts and their clusters, reads their log and gives rights on them.", permissions)
}

// Auditor reads everything, payment information and the log included, takes the log away and
// changes nothing.
func Auditor() Role {
	return sortedRole("auditor", "auditor", "Reads everything, the log included, takes it away, and changes nothing.", append(reading(), AuditRead, AuditExport))
}

// PlatformAdmin may do everything.
func PlatformAdmin() Role {
	return sortedRole("platform-admin", "platform admin", "Does everything.", slices.Clone(everything()))
}

func sortedRole(id, name, description string, permissions []string) Role {
	slices.Sort(permissions)
	return Role{ID: id, Name: name, Description: description, Permissions: slices.Compact(permissions)}
}

var everything = sync.OnceValue(func() []string {
	permissions := append(Upstream(), Own()...)
	slices.Sort(permissions)
	return permissions
})

// Everything returns rights without limit, for the console's own jobs and for the command line on
// its host; name is the role's name in the log.
func Everything(name string) Rights {
	role := PlatformAdmin()
	role.Name = name
	return NewRights(Grant{Role: role, Scope: Scope{Everything: true}})
}

// reading returns the read:* permissions of the Cloud API.
func reading() []string {
	return slices.DeleteFunc(Upstream(), func(p string) bool { return !strings.HasPrefix(p, "read:") })
}
