package cloudapi

import "net/http"

// The operations of the Cloud API that have a place in the console, one value an operation: the
// services below as qdrant-cloud-public-api v0.173.0 defines them, and all ten of pa/v1. Name is
// unique within a generation; the two DatabaseApiKeyServices, whose rpcs are named alike, carry
// their version. Mutates follows upstream's own records: set where the platform writes an event
// (GetQuote is a POST and changes nothing). pa/v1 documents no permissions, so its rows have none.

// cluster.v1.ClusterService.
var (
	OpListClusters            = Op{Name: "ListClusters", RPC: "qdrant.cloud.cluster.v1.ClusterService/ListClusters", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/clusters", Permissions: []string{"read:clusters"}}
	OpGetCluster              = Op{Name: "GetCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/GetCluster", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}", Permissions: []string{"read:clusters"}}
	OpGetClusterDownscaleRisk = Op{Name: "GetClusterDownscaleRisk", RPC: "qdrant.cloud.cluster.v1.ClusterService/GetClusterDownscaleRisk", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}/downscale-risk", Permissions: []string{"read:clusters"}}
	OpCreateCluster           = Op{Name: "CreateCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/CreateCluster", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{cluster.account_id}/clusters", Permissions: []string{"write:clusters"}, Body: true, Mutates: true}
	OpCreateClusterFromBackup = Op{Name: "CreateClusterFromBackup", RPC: "qdrant.cloud.cluster.v1.ClusterService/CreateClusterFromBackup", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{account_id}/backups/{backup_id}/clusters", Permissions: []string{"restore:backups", "write:clusters"}, Mutates: true}
	OpUpdateCluster           = Op{Name: "UpdateCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/UpdateCluster", Generation: Current, Method: http.MethodPut, Path: "/api/cluster/v1/accounts/{cluster.account_id}/clusters/{cluster.id}", Permissions: []string{"write:clusters"}, Body: true, Mutates: true}
	OpDeleteCluster           = Op{Name: "DeleteCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/DeleteCluster", Generation: Current, Method: http.MethodDelete, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}", Permissions: []string{"delete:clusters"}, Mutates: true}
	OpRestartCluster          = Op{Name: "RestartCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/RestartCluster", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}/restart", Permissions: []string{"write:clusters"}, Mutates: true}
	OpSuspendCluster          = Op{Name: "SuspendCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/SuspendCluster", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}/suspend", Permissions: []string{"write:clusters"}, Mutates: true}
	OpUnsuspendCluster        = Op{Name: "UnsuspendCluster", RPC: "qdrant.cloud.cluster.v1.ClusterService/UnsuspendCluster", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}/unsuspend", Permissions: []string{"write:clusters"}, Mutates: true}
	OpEnableClusterJWTRBAC    = Op{Name: "EnableClusterJwtRbac", RPC: "qdrant.cloud.cluster.v1.ClusterService/EnableClusterJwtRbac", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}/enable-jwt", Permissions: []string{"write:clusters"}, Mutates: true}
	OpSuggestClusterName      = Op{Name: "SuggestClusterName", RPC: "qdrant.cloud.cluster.v1.ClusterService/SuggestClusterName", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/clusters/suggest-name"}
	OpListQdrantReleases      = Op{Name: "ListQdrantReleases", RPC: "qdrant.cloud.cluster.v1.ClusterService/ListQdrantReleases", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/releases", Permissions: []string{"read:clusters"}}
	OpGetQdrantRelease        = Op{Name: "GetQdrantRelease", RPC: "qdrant.cloud.cluster.v1.ClusterService/GetQdrantRelease", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/v1/accounts/{account_id}/releases/{version}", Permissions: []string{"read:clusters"}}
)

// account.v1.AccountService.
var (
	OpListAccounts               = Op{Name: "ListAccounts", RPC: "qdrant.cloud.account.v1.AccountService/ListAccounts", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts"}
	OpGetAccount                 = Op{Name: "GetAccount", RPC: "qdrant.cloud.account.v1.AccountService/GetAccount", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts/{account_id}", Permissions: []string{"read:account"}}
	OpCreateAccount              = Op{Name: "CreateAccount", RPC: "qdrant.cloud.account.v1.AccountService/CreateAccount", Generation: Current, Method: http.MethodPost, Path: "/api/account/v1/accounts", UserOnly: true, Body: true, Mutates: true}
	OpUpdateAccount              = Op{Name: "UpdateAccount", RPC: "qdrant.cloud.account.v1.AccountService/UpdateAccount", Generation: Current, Method: http.MethodPut, Path: "/api/account/v1/accounts/{account.id}", Permissions: []string{"write:account"}, Body: true, Mutates: true}
	OpDeleteAccount              = Op{Name: "DeleteAccount", RPC: "qdrant.cloud.account.v1.AccountService/DeleteAccount", Generation: Current, Method: http.MethodDelete, Path: "/api/account/v1/accounts/{account_id}", Permissions: []string{"delete:account"}, UserOnly: true, Mutates: true}
	OpLeaveAccount               = Op{Name: "LeaveAccount", RPC: "qdrant.cloud.account.v1.AccountService/LeaveAccount", Generation: Current, Method: http.MethodPost, Path: "/api/account/v1/accounts/{account_id}/leave", UserOnly: true, Mutates: true}
	OpListAccountInvites         = Op{Name: "ListAccountInvites", RPC: "qdrant.cloud.account.v1.AccountService/ListAccountInvites", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts/{account_id}/invites", Permissions: []string{"read:invites"}}
	OpListReceivedAccountInvites = Op{Name: "ListReceivedAccountInvites", RPC: "qdrant.cloud.account.v1.AccountService/ListReceivedAccountInvites", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/self/invites", UserOnly: true}
	OpGetAccountInvite           = Op{Name: "GetAccountInvite", RPC: "qdrant.cloud.account.v1.AccountService/GetAccountInvite", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts/{account_id}/invites/{invite_id}", Permissions: []string{"read:invites"}}
	OpCreateAccountInvite        = Op{Name: "CreateAccountInvite", RPC: "qdrant.cloud.account.v1.AccountService/CreateAccountInvite", Generation: Current, Method: http.MethodPost, Path: "/api/account/v1/accounts/{account_invite.account_id}/invites", Permissions: []string{"write:invites"}, UserOnly: true, Body: true, Mutates: true}
	OpDeleteAccountInvite        = Op{Name: "DeleteAccountInvite", RPC: "qdrant.cloud.account.v1.AccountService/DeleteAccountInvite", Generation: Current, Method: http.MethodDelete, Path: "/api/account/v1/accounts/{account_id}/invites/{invite_id}", Permissions: []string{"delete:invites"}, Mutates: true}
	OpAcceptAccountInvite        = Op{Name: "AcceptAccountInvite", RPC: "qdrant.cloud.account.v1.AccountService/AcceptAccountInvite", Generation: Current, Method: http.MethodPost, Path: "/api/account/v1/accounts/{account_id}/invites/{invite_id}/accept", UserOnly: true, Mutates: true}
	OpRejectAccountInvite        = Op{Name: "RejectAccountInvite", RPC: "qdrant.cloud.account.v1.AccountService/RejectAccountInvite", Generation: Current, Method: http.MethodPost, Path: "/api/account/v1/accounts/{account_id}/invites/{invite_id}/reject", UserOnly: true, Mutates: true}
	OpListAccountMembers         = Op{Name: "ListAccountMembers", RPC: "qdrant.cloud.account.v1.AccountService/ListAccountMembers", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts/{account_id}/members", Permissions: []string{"read:users"}}
	OpGetAccountMember           = Op{Name: "GetAccountMember", RPC: "qdrant.cloud.account.v1.AccountService/GetAccountMember", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/accounts/{account_id}/members/{user_id}", Permissions: []string{"read:users"}}
	OpDeleteAccountMember        = Op{Name: "DeleteAccountMember", RPC: "qdrant.cloud.account.v1.AccountService/DeleteAccountMember", Generation: Current, Method: http.MethodDelete, Path: "/api/account/v1/accounts/{account_id}/members/{user_id}", Permissions: []string{"delete:users"}, UserOnly: true, Mutates: true}
	OpSuggestCompanies           = Op{Name: "SuggestCompanies", RPC: "qdrant.cloud.account.v1.AccountService/SuggestCompanies", Generation: Current, Method: http.MethodGet, Path: "/api/account/v1/suggest-company"}
)

// iam.v1.IAMService.
var (
	OpGetAuthenticatedUser     = Op{Name: "GetAuthenticatedUser", RPC: "qdrant.cloud.iam.v1.IAMService/GetAuthenticatedUser", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/users/me", UserOnly: true}
	OpListUsers                = Op{Name: "ListUsers", RPC: "qdrant.cloud.iam.v1.IAMService/ListUsers", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/users", Permissions: []string{"read:users"}}
	OpUpdateUser               = Op{Name: "UpdateUser", RPC: "qdrant.cloud.iam.v1.IAMService/UpdateUser", Generation: Current, Method: http.MethodPut, Path: "/api/iam/v1/users/{user.id}", Body: true, Mutates: true}
	OpDeleteUser               = Op{Name: "DeleteUser", RPC: "qdrant.cloud.iam.v1.IAMService/DeleteUser", Generation: Current, Method: http.MethodDelete, Path: "/api/iam/v1/users/{user_id}", Mutates: true}
	OpGetUserProfile           = Op{Name: "GetUserProfile", RPC: "qdrant.cloud.iam.v1.IAMService/GetUserProfile", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/users/me/profile", UserOnly: true}
	OpUpdateUserProfile        = Op{Name: "UpdateUserProfile", RPC: "qdrant.cloud.iam.v1.IAMService/UpdateUserProfile", Generation: Current, Method: http.MethodPut, Path: "/api/iam/v1/users/me/profile", UserOnly: true, Body: true, Mutates: true}
	OpGetUserConsent           = Op{Name: "GetUserConsent", RPC: "qdrant.cloud.iam.v1.IAMService/GetUserConsent", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/users/me/consent", UserOnly: true}
	OpRecordUserConsent        = Op{Name: "RecordUserConsent", RPC: "qdrant.cloud.iam.v1.IAMService/RecordUserConsent", Generation: Current, Method: http.MethodPost, Path: "/api/iam/v1/users/me/consent", UserOnly: true, Body: true, Mutates: true}
	OpListPermissions          = Op{Name: "ListPermissions", RPC: "qdrant.cloud.iam.v1.IAMService/ListPermissions", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/permissions", Permissions: []string{"read:roles"}}
	OpListRoles                = Op{Name: "ListRoles", RPC: "qdrant.cloud.iam.v1.IAMService/ListRoles", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/roles", Permissions: []string{"read:roles"}}
	OpGetRole                  = Op{Name: "GetRole", RPC: "qdrant.cloud.iam.v1.IAMService/GetRole", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/roles/{role_id}", Permissions: []string{"read:roles"}}
	OpCreateRole               = Op{Name: "CreateRole", RPC: "qdrant.cloud.iam.v1.IAMService/CreateRole", Generation: Current, Method: http.MethodPost, Path: "/api/iam/v1/accounts/{role.account_id}/roles", Permissions: []string{"write:roles"}, Body: true, Mutates: true}
	OpUpdateRole               = Op{Name: "UpdateRole", RPC: "qdrant.cloud.iam.v1.IAMService/UpdateRole", Generation: Current, Method: http.MethodPut, Path: "/api/iam/v1/accounts/{role.account_id}/roles/{role.id}", Permissions: []string{"write:roles"}, Body: true, Mutates: true}
	OpDeleteRole               = Op{Name: "DeleteRole", RPC: "qdrant.cloud.iam.v1.IAMService/DeleteRole", Generation: Current, Method: http.MethodDelete, Path: "/api/iam/v1/accounts/{account_id}/roles/{role_id}", Permissions: []string{"delete:roles"}, Mutates: true}
	OpListEffectivePermissions = Op{Name: "ListEffectivePermissions", RPC: "qdrant.cloud.iam.v1.IAMService/ListEffectivePermissions", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/effective-permissions"}
	OpListUserRoles            = Op{Name: "ListUserRoles", RPC: "qdrant.cloud.iam.v1.IAMService/ListUserRoles", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/users/{user_id}/roles", Permissions: []string{"read:roles"}}
	OpListRoleUsers            = Op{Name: "ListRoleUsers", RPC: "qdrant.cloud.iam.v1.IAMService/ListRoleUsers", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/accounts/{account_id}/roles/{role_id}/users", Permissions: []string{"read:roles"}}
	OpAssignUserRoles          = Op{Name: "AssignUserRoles", RPC: "qdrant.cloud.iam.v1.IAMService/AssignUserRoles", Generation: Current, Method: http.MethodPost, Path: "/api/iam/v1/accounts/{account_id}/users/{user_id}/roles", Permissions: []string{"write:roles"}, Body: true, Mutates: true}
	OpLogoutUser               = Op{Name: "LogoutUser", RPC: "qdrant.cloud.iam.v1.IAMService/LogoutUser", Generation: Current, Method: http.MethodPost, Path: "/api/iam/v1/users/me/logout", UserOnly: true, Mutates: true}
	OpListUserMFAMethods       = Op{Name: "ListUserMfaMethods", RPC: "qdrant.cloud.iam.v1.IAMService/ListUserMfaMethods", Generation: Current, Method: http.MethodGet, Path: "/api/iam/v1/users/me/mfa-methods", UserOnly: true}
	OpUpdateUserMFAMethod      = Op{Name: "UpdateUserMfaMethod", RPC: "qdrant.cloud.iam.v1.IAMService/UpdateUserMfaMethod", Generation: Current, Method: http.MethodPut, Path: "/api/iam/v1/users/me/mfa-methods/{mfa_method.external_id}", UserOnly: true, Mutates: true}
	OpDeleteUserMFAMethod      = Op{Name: "DeleteUserMfaMethod", RPC: "qdrant.cloud.iam.v1.IAMService/DeleteUserMfaMethod", Generation: Current, Method: http.MethodDelete, Path: "/api/iam/v1/users/me/mfa-methods/{mfa_method.external_id}", UserOnly: true, Mutates: true}
)

// auth.v1.AuthService.
var (
	OpListManagementKeys  = Op{Name: "ListManagementKeys", RPC: "qdrant.cloud.auth.v1.AuthService/ListManagementKeys", Generation: Current, Method: http.MethodGet, Path: "/api/auth/v1/accounts/{account_id}/management-keys", Permissions: []string{"read:management_keys"}}
	OpCreateManagementKey = Op{Name: "CreateManagementKey", RPC: "qdrant.cloud.auth.v1.AuthService/CreateManagementKey", Generation: Current, Method: http.MethodPost, Path: "/api/auth/v1/accounts/{management_key.account_id}/management-keys", Permissions: []string{"write:management_keys"}, Body: true, Mutates: true}
	OpDeleteManagementKey = Op{Name: "DeleteManagementKey", RPC: "qdrant.cloud.auth.v1.AuthService/DeleteManagementKey", Generation: Current, Method: http.MethodDelete, Path: "/api/auth/v1/accounts/{account_id}/management-keys/{management_key_id}", Permissions: []string{"delete:management_keys"}, Mutates: true}
)

// platform.v1.PlatformService.
var (
	OpListGlobalCloudProviders       = Op{Name: "ListGlobalCloudProviders", RPC: "qdrant.cloud.platform.v1.PlatformService/ListGlobalCloudProviders", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/cloud-providers", Public: true}
	OpListCloudProviders             = Op{Name: "ListCloudProviders", RPC: "qdrant.cloud.platform.v1.PlatformService/ListCloudProviders", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/accounts/{account_id}/cloud-providers"}
	OpListGlobalCloudProviderRegions = Op{Name: "ListGlobalCloudProviderRegions", RPC: "qdrant.cloud.platform.v1.PlatformService/ListGlobalCloudProviderRegions", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/cloud-providers/{cloud_provider_id}/regions", Public: true}
	OpGetGlobalCloudProviderRegion   = Op{Name: "GetGlobalCloudProviderRegion", RPC: "qdrant.cloud.platform.v1.PlatformService/GetGlobalCloudProviderRegion", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/cloud-providers/{cloud_provider_id}/regions/{region_id}", Public: true}
	OpListCloudProviderRegions       = Op{Name: "ListCloudProviderRegions", RPC: "qdrant.cloud.platform.v1.PlatformService/ListCloudProviderRegions", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/accounts/{account_id}/cloud-providers/{cloud_provider_id}/regions"}
	OpGetCloudProviderRegion         = Op{Name: "GetCloudProviderRegion", RPC: "qdrant.cloud.platform.v1.PlatformService/GetCloudProviderRegion", Generation: Current, Method: http.MethodGet, Path: "/api/platform/v1/accounts/{account_id}/cloud-providers/{cloud_provider_id}/regions/{region_id}"}
)

// booking.v1.BookingService.
var (
	OpListPackages         = Op{Name: "ListPackages", RPC: "qdrant.cloud.booking.v1.BookingService/ListPackages", Generation: Current, Method: http.MethodGet, Path: "/api/booking/v1/accounts/{account_id}/packages"}
	OpGetPackage           = Op{Name: "GetPackage", RPC: "qdrant.cloud.booking.v1.BookingService/GetPackage", Generation: Current, Method: http.MethodGet, Path: "/api/booking/v1/accounts/{account_id}/packages/{id}"}
	OpListGlobalPackages   = Op{Name: "ListGlobalPackages", RPC: "qdrant.cloud.booking.v1.BookingService/ListGlobalPackages", Generation: Current, Method: http.MethodGet, Path: "/api/booking/v1/packages", Public: true}
	OpGetQuote             = Op{Name: "GetQuote", RPC: "qdrant.cloud.booking.v1.BookingService/GetQuote", Generation: Current, Method: http.MethodPost, Path: "/api/booking/v1/accounts/{account_id}/quote", Permissions: []string{"write:clusters"}, Body: true}
	OpGetBackupQuote       = Op{Name: "GetBackupQuote", RPC: "qdrant.cloud.booking.v1.BookingService/GetBackupQuote", Generation: Current, Method: http.MethodPost, Path: "/api/booking/v1/accounts/{account_id}/backup-quote", Permissions: []string{"write:backups"}, Body: true}
	OpListInferenceModels  = Op{Name: "ListInferenceModels", RPC: "qdrant.cloud.booking.v1.BookingService/ListInferenceModels", Generation: Current, Method: http.MethodGet, Path: "/api/booking/v1/accounts/{account_id}/inference-models"}
	OpListStorageTierTypes = Op{Name: "ListStorageTierTypes", RPC: "qdrant.cloud.booking.v1.BookingService/ListStorageTierTypes", Generation: Current, Method: http.MethodGet, Path: "/api/booking/v1/accounts/{account_id}/storage-tiers"}
)

// monitoring.v1.MonitoringService.
var (
	OpGetClusterSummaryMetrics   = Op{Name: "GetClusterSummaryMetrics", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/GetClusterSummaryMetrics", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/summary-metrics", Permissions: []string{"read:clusters"}}
	OpGetClusterUsageMetrics     = Op{Name: "GetClusterUsageMetrics", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/GetClusterUsageMetrics", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/usage-metrics", Permissions: []string{"read:clusters"}}
	OpGetClusterLogs             = Op{Name: "GetClusterLogs", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/GetClusterLogs", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/logs", Permissions: []string{"read:clusters"}, Logs: true}
	OpGetClusterEvents           = Op{Name: "GetClusterEvents", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/GetClusterEvents", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/events", Permissions: []string{"read:clusters"}, Logs: true}
	OpGetClusterInferenceMetrics = Op{Name: "GetClusterInferenceMetrics", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/GetClusterInferenceMetrics", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/metrics/inference", Permissions: []string{"read:clusters"}}
	OpListClusterAlerts          = Op{Name: "ListClusterAlerts", RPC: "qdrant.cloud.monitoring.v1.MonitoringService/ListClusterAlerts", Generation: Current, Method: http.MethodGet, Path: "/api/monitoring/v1/accounts/{account_id}/cluster/{cluster_id}/alerts", Permissions: []string{"read:clusters"}}
)

// quota.v1.QuotaService.
var (
	OpGetAuthenticatedUserQuotas = Op{Name: "GetAuthenticatedUserQuotas", RPC: "qdrant.cloud.quota.v1.QuotaService/GetAuthenticatedUserQuotas", Generation: Current, Method: http.MethodGet, Path: "/api/quota/v1/users/me/quotas", UserOnly: true}
	OpGetAccountQuotas           = Op{Name: "GetAccountQuotas", RPC: "qdrant.cloud.quota.v1.QuotaService/GetAccountQuotas", Generation: Current, Method: http.MethodGet, Path: "/api/quota/v1/accounts/{account_id}/quotas"}
)

// cluster.auth.v2.DatabaseApiKeyService.
var (
	OpListDatabaseAPIKeysV2  = Op{Name: "ListDatabaseApiKeysV2", RPC: "qdrant.cloud.cluster.auth.v2.DatabaseApiKeyService/ListDatabaseApiKeys", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/auth/v2/accounts/{account_id}/database-api-keys", Permissions: []string{"read:api_keys"}}
	OpCreateDatabaseAPIKeyV2 = Op{Name: "CreateDatabaseApiKeyV2", RPC: "qdrant.cloud.cluster.auth.v2.DatabaseApiKeyService/CreateDatabaseApiKey", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/auth/v2/accounts/{database_api_key.account_id}/database-api-keys", Permissions: []string{"write:api_keys"}, Body: true, Mutates: true}
	OpDeleteDatabaseAPIKeyV2 = Op{Name: "DeleteDatabaseApiKeyV2", RPC: "qdrant.cloud.cluster.auth.v2.DatabaseApiKeyService/DeleteDatabaseApiKey", Generation: Current, Method: http.MethodDelete, Path: "/api/cluster/auth/v2/accounts/{account_id}/database-api-keys/{database_api_key_id}", Permissions: []string{"delete:api_keys"}, Mutates: true}
)

// cluster.auth.v1.EphemeralDashboardTokenService and ui.v1.ClusterDataService, which are for users only.
var (
	OpCreateEphemeralDashboardToken = Op{Name: "CreateEphemeralDashboardToken", RPC: "qdrant.cloud.cluster.auth.v1.EphemeralDashboardTokenService/CreateEphemeralDashboardToken", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/auth/v1/accounts/{account_id}/ephemeral-dashboard-tokens", Permissions: []string{"read:clusters"}, UserOnly: true, Body: true, Mutates: true}
	OpListCollections               = Op{Name: "ListCollections", RPC: "qdrant.cloud.ui.v1.ClusterDataService/ListCollections", Generation: Current, Method: http.MethodGet, Path: "/api/ui/v1/accounts/{account_id}/clusters/{cluster_id}/collections", Permissions: []string{"read:clusters"}, UserOnly: true}
)

// cluster.auth.v1.DatabaseApiKeyService, deprecated upstream.
var (
	OpListDatabaseAPIKeysV1  = Op{Name: "ListDatabaseApiKeysV1", RPC: "qdrant.cloud.cluster.auth.v1.DatabaseApiKeyService/ListDatabaseApiKeys", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/auth/v1/accounts/{account_id}/database-api-keys", Permissions: []string{"read:api_keys"}}
	OpCreateDatabaseAPIKeyV1 = Op{Name: "CreateDatabaseApiKeyV1", RPC: "qdrant.cloud.cluster.auth.v1.DatabaseApiKeyService/CreateDatabaseApiKey", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/auth/v1/accounts/{database_api_key.account_id}/database-api-keys", Permissions: []string{"write:api_keys"}, Body: true, Mutates: true}
	OpDeleteDatabaseAPIKeyV1 = Op{Name: "DeleteDatabaseApiKeyV1", RPC: "qdrant.cloud.cluster.auth.v1.DatabaseApiKeyService/DeleteDatabaseApiKey", Generation: Current, Method: http.MethodDelete, Path: "/api/cluster/auth/v1/accounts/{account_id}/database-api-keys/{database_api_key_id}", Permissions: []string{"delete:api_keys"}, Mutates: true}
)

// cluster.backup.v1.BackupService.
var (
	OpListBackups          = Op{Name: "ListBackups", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/ListBackups", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/backup/v1/accounts/{account_id}/backups", Permissions: []string{"read:backups"}}
	OpGetBackup            = Op{Name: "GetBackup", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/GetBackup", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/backup/v1/accounts/{account_id}/backups/{backup_id}", Permissions: []string{"read:backups"}}
	OpCreateBackup         = Op{Name: "CreateBackup", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/CreateBackup", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/backup/v1/accounts/{backup.account_id}/backups", Permissions: []string{"write:backups"}, Body: true, Mutates: true}
	OpUpdateBackup         = Op{Name: "UpdateBackup", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/UpdateBackup", Generation: Current, Method: http.MethodPatch, Path: "/api/cluster/backup/v1/accounts/{backup.account_id}/backups/{backup.id}", Permissions: []string{"write:backups"}, Body: true, Mutates: true}
	OpDeleteBackup         = Op{Name: "DeleteBackup", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/DeleteBackup", Generation: Current, Method: http.MethodDelete, Path: "/api/cluster/backup/v1/accounts/{account_id}/backups/{backup_id}", Permissions: []string{"delete:backups"}, Mutates: true}
	OpListBackupRestores   = Op{Name: "ListBackupRestores", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/ListBackupRestores", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/backup/v1/accounts/{account_id}/backup_restores", Permissions: []string{"read:backups"}}
	OpRestoreBackup        = Op{Name: "RestoreBackup", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/RestoreBackup", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/backup/v1/accounts/{account_id}/backups/{backup_id}/restore", Permissions: []string{"restore:backups"}, Mutates: true}
	OpListBackupSchedules  = Op{Name: "ListBackupSchedules", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/ListBackupSchedules", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/backup/v1/accounts/{account_id}/backup_schedules", Permissions: []string{"read:backup_schedules"}}
	OpGetBackupSchedule    = Op{Name: "GetBackupSchedule", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/GetBackupSchedule", Generation: Current, Method: http.MethodGet, Path: "/api/cluster/backup/v1/accounts/{account_id}/backup_schedules/{backup_schedule_id}", Permissions: []string{"read:backup_schedules"}}
	OpCreateBackupSchedule = Op{Name: "CreateBackupSchedule", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/CreateBackupSchedule", Generation: Current, Method: http.MethodPost, Path: "/api/cluster/backup/v1/accounts/{backup_schedule.account_id}/backup_schedules", Permissions: []string{"write:backup_schedules"}, Body: true, Mutates: true}
	OpUpdateBackupSchedule = Op{Name: "UpdateBackupSchedule", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/UpdateBackupSchedule", Generation: Current, Method: http.MethodPut, Path: "/api/cluster/backup/v1/accounts/{backup_schedule.account_id}/backup_schedules/{backup_schedule.id}", Permissions: []string{"write:backup_schedules"}, Body: true, Mutates: true}
	OpDeleteBackupSchedule = Op{Name: "DeleteBackupSchedule", RPC: "qdrant.cloud.cluster.backup.v1.BackupService/DeleteBackupSchedule", Generation: Current, Method: http.MethodDelete, Path: "/api/cluster/backup/v1/accounts/{account_id}/backup_schedules/{backup_schedule_id}", Permissions: []string{"delete:backup_schedules"}, Mutates: true}
)

// pa/v1, legacy.
var (
	OpPAListClusters  = Op{Name: "list_clusters", RPC: "pa/v1/list_clusters", Generation: PAV1, Method: http.MethodGet, Path: "/pa/v1/accounts/{account_id}/clusters"}
	OpPACreateCluster = Op{Name: "create_cluster", RPC: "pa/v1/create_cluster", Generation: PAV1, Method: http.MethodPost, Path: "/pa/v1/accounts/{account_id}/clusters", Body: true, Mutates: true}
	OpPAGetCluster    = Op{Name: "get_cluster", RPC: "pa/v1/get_cluster", Generation: PAV1, Method: http.MethodGet, Path: "/pa/v1/accounts/{account_id}/clusters/{cluster_id}"}
	OpPAUpdateCluster = Op{Name: "update_cluster", RPC: "pa/v1/update_cluster", Generation: PAV1, Method: http.MethodPatch, Path: "/pa/v1/accounts/{account_id}/clusters/{cluster_id}", Body: true, Mutates: true}
	OpPADeleteCluster = Op{Name: "delete_cluster", RPC: "pa/v1/delete_cluster", Generation: PAV1, Method: http.MethodDelete, Path: "/pa/v1/accounts/{account_id}/clusters/{cluster_id}", Mutates: true}
	OpPAListAPIKeys   = Op{Name: "list_api_keys", RPC: "pa/v1/list_api_keys", Generation: PAV1, Method: http.MethodGet, Path: "/pa/v1/accounts/{account_id}/auth/api-keys"}
	OpPACreateAPIKey  = Op{Name: "create_api_key", RPC: "pa/v1/create_api_key", Generation: PAV1, Method: http.MethodPost, Path: "/pa/v1/accounts/{account_id}/auth/api-keys", Body: true, Mutates: true}
	OpPAUpdateAPIKey  = Op{Name: "update_api_key", RPC: "pa/v1/update_api_key", Generation: PAV1, Method: http.MethodPut, Path: "/pa/v1/accounts/{account_id}/auth/api-keys/{api_key_id}", Body: true, Mutates: true}
	OpPADeleteAPIKey  = Op{Name: "delete_api_key", RPC: "pa/v1/delete_api_key", Generation: PAV1, Method: http.MethodDelete, Path: "/pa/v1/accounts/{account_id}/auth/api-keys/{api_key_id}", Mutates: true}
	OpPAGetPackages   = Op{Name: "get_packages", RPC: "pa/v1/get_packages", Generation: PAV1, Method: http.MethodGet, Path: "/pa/v1/booking/packages"}
)

// Operations returns every operation of the table, the current generation first. The slice is the
// caller's; what the rows hold is shared and must not be written to.
func Operations() []Op {
	return []Op{
		OpListClusters, OpGetCluster, OpGetClusterDownscaleRisk, OpCreateCluster, OpCreateClusterFromBackup,
		OpUpdateCluster, OpDeleteCluster, OpRestartCluster, OpSuspendCluster, OpUnsuspendCluster,
		OpEnableClusterJWTRBAC, OpSuggestClusterName, OpListQdrantReleases, OpGetQdrantRelease,

		OpListAccounts, OpGetAccount, OpCreateAccount, OpUpdateAccount, OpDeleteAccount,
		OpLeaveAccount, OpListAccountInvites, OpListReceivedAccountInvites, OpGetAccountInvite, OpCreateAccountInvite,
		OpDeleteAccountInvite, OpAcceptAccountInvite, OpRejectAccountInvite, OpListAccountMembers, OpGetAccountMember,
		OpDeleteAccountMember, OpSuggestCompanies,

		OpGetAuthenticatedUser, OpListUsers, OpUpdateUser, OpDeleteUser, OpGetUserProfile,
		OpUpdateUserProfile, OpGetUserConsent, OpRecordUserConsent, OpListPermissions, OpListRoles,
		OpGetRole, OpCreateRole, OpUpdateRole, OpDeleteRole, OpListEffectivePermissions,
		OpListUserRoles, OpListRoleUsers, OpAssignUserRoles, OpLogoutUser, OpListUserMFAMethods,
		OpUpdateUserMFAMethod, OpDeleteUserMFAMethod,

		OpListManagementKeys, OpCreateManagementKey, OpDeleteManagementKey,

		OpListGlobalCloudProviders, OpListCloudProviders, OpListGlobalCloudProviderRegions, OpGetGlobalCloudProviderRegion, OpListCloudProviderRegions,
		OpGetCloudProviderRegion,

		OpListPackages, OpGetPackage, OpListGlobalPackages, OpGetQuote, OpGetBackupQuote,
		OpListInferenceModels, OpListStorageTierTypes,

		OpGetAuthenticatedUserQuotas, OpGetAccountQuotas,

		OpListDatabaseAPIKeysV2, OpCreateDatabaseAPIKeyV2, OpDeleteDatabaseAPIKeyV2,

		OpListDatabaseAPIKeysV1, OpCreateDatabaseAPIKeyV1, OpDeleteDatabaseAPIKeyV1,

		OpCreateEphemeralDashboardToken, OpListCollections,

		OpListBackups, OpGetBackup, OpCreateBackup, OpUpdateBackup, OpDeleteBackup,
		OpListBackupRestores, OpRestoreBackup, OpListBackupSchedules, OpGetBackupSchedule, OpCreateBackupSchedule,
		OpUpdateBackupSchedule, OpDeleteBackupSchedule,

		OpGetClusterSummaryMetrics, OpGetClusterUsageMetrics, OpGetClusterLogs, OpGetClusterEvents, OpGetClusterInferenceMetrics,
		OpListClusterAlerts,

		OpPAListClusters, OpPACreateCluster, OpPAGetCluster, OpPAUpdateCluster, OpPADeleteCluster,
		OpPAListAPIKeys, OpPACreateAPIKey, OpPAUpdateAPIKey, OpPADeleteAPIKey, OpPAGetPackages,
	}
}
