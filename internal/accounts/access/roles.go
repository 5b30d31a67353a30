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
	ReadManagementKeys   = "read:management_keys"
	WriteManagementKeys  = "write:management_keys"
	DeleteManagementKeys = "delete:management_keys"
)

// Permissions of the console itself; the Cloud API does not know them.
const (
	AccountsManage = "accounts:manage" // register, disable, enable and remove accounts
	GrantsManage   = "grants:manage"   // give rights to others
	SessionsManage = "sessions:manage" // end the sessions of others
	MembersManage  = "members:manage"  // see members, block them, end their sessions
	AuditRead      = "audit:read"      // read, search and verify the log
	AuditExport    = "audit:export"    // take the log away
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
	own := []string{AccountsManage, GrantsManage, MembersManage, SessionsManage, AuditRead, AuditExport}
	slices.Sort(own)
	return own
}

// Role is a named set of permissions.
type Role struct {
	Name        string
	Permissions []string
}

// Viewer reads everything of the Cloud API but payment information.
func Viewer() Role {
	return Role{Name: "viewer", Permissions: slices.DeleteFunc(reading(), func(p string) bool { return p == readPaymentInformation })}
}

// Operator is a viewer who also writes and deletes clusters, database keys and backups.
func Operator() Role {
	permissions := Viewer().Permissions
	for _, resource := range []string{"clusters", "api_keys", "backups"} {
		permissions = append(permissions, "write:"+resource, "delete:"+resource)
	}
	slices.Sort(permissions)
	return Role{Name: "operator", Permissions: permissions}
}

// Auditor reads everything, payment information and the log included, takes the log away and
// changes nothing.
func Auditor() Role {
	permissions := append(reading(), AuditRead, AuditExport)
	slices.Sort(permissions)
	return Role{Name: "auditor", Permissions: permissions}
}

// Admin may do everything.
func Admin() Role {
	return Role{Name: "admin", Permissions: slices.Clone(everything())}
}

var everything = sync.OnceValue(func() []string {
	permissions := append(Upstream(), Own()...)
	slices.Sort(permissions)
	return permissions
})

// Everything returns rights without limit, for the console's own jobs and for the command line on
// its host; name is the role's name in the log.
func Everything(name string) Rights {
	role := Admin()
	role.Name = name
	return NewRights(Grant{Role: role, Scope: Scope{Everything: true}})
}

// reading returns the read:* permissions of the Cloud API.
func reading() []string {
	return slices.DeleteFunc(Upstream(), func(p string) bool { return !strings.HasPrefix(p, "read:") })
}
