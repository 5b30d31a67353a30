package sandbox

// schemaAccount describes the messages of AccountService, AuthService and IAMService
// (qdrant-cloud-public-api v0.173.0, Apache-2.0) in the notation of parseSchema.
const schemaAccount = `
message account.v1.Account
  rule account.id value must be a valid UUID
  rule account.last_modified_at last_modified_at must be set if created_at is set and must be after or equal to created_at
  rule account.owner_email value must be a valid email address
  1 id string
  2 created_at timestamp
  3 last_modified_at timestamp
  5 name string max=256 min=4 re=^([^\x00-\x1F\x7F])*$
  6 external_owner_id string min=1
  7 owner_email string
  8 privileges []string items:min=1
  9 company? account.v1.Company
  10 settings? account.v1.AccountSettings
message account.v1.AccountInvite
  rule account_invite.id value must be a valid UUID
  rule account_invite.account_name account_name must not be empty
  rule account_invite.created_by_email created_by_email must not be empty if created_by_user_id is set
  rule account_invite.last_modified_at last_modified_at must be set if created_at is set and must be after or equal to created_at
  1 id string
  2 account_id string uuid
  3 account_name string
  4 user_email string email min=1
  5 user_role_ids []string items:uuid
  6 created_at timestamp
  7 created_by_user_id? string uuid
  8 created_by_email? string email
  9 last_modified_at timestamp
  10 status account.v1.AccountInviteStatus defined
message account.v1.AccountMember
  1 account_member iam.v1.User required
  2 is_owner bool
message account.v1.AccountSettings
  1 mfa_required bool
message account.v1.Company
  1 domain? string re=^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$
  2 name string min=1
message account.v1.DeleteAccountInviteRequest
  1 account_id string uuid
  2 invite_id string uuid
message account.v1.DeleteAccountInviteResponse
message account.v1.GetAccountInviteRequest
  1 account_id string uuid
  2 invite_id string uuid
message account.v1.GetAccountInviteResponse
  1 account_invite account.v1.AccountInvite required
message account.v1.GetAccountMemberRequest
  1 account_id string uuid
  2 user_id string uuid
message account.v1.GetAccountMemberResponse
  1 account_member account.v1.AccountMember required
message account.v1.GetAccountRequest
  1 account_id string uuid
message account.v1.GetAccountResponse
  1 account account.v1.Account required
message account.v1.ListAccountInvitesRequest
  1 account_id string uuid
  2 statuses []account.v1.AccountInviteStatus
message account.v1.ListAccountInvitesResponse
  1 items []account.v1.AccountInvite
message account.v1.ListAccountMembersRequest
  1 account_id string uuid
message account.v1.ListAccountMembersResponse
  1 items []account.v1.AccountMember
message account.v1.ListAccountsRequest
message account.v1.ListAccountsResponse
  1 items []account.v1.Account
message account.v1.SuggestCompaniesRequest
  1 name string oneof:criteria min=1
  2 email string oneof:criteria email
message account.v1.SuggestCompaniesResponse
  1 items []account.v1.Company
message account.v1.UpdateAccountRequest
  rule update_account.id_present account.id is required for an update
  1 account account.v1.Account required
  2 update_mask mask
message account.v1.UpdateAccountResponse
  1 account account.v1.Account required
message auth.v1.CreateManagementKeyRequest
  1 management_key auth.v1.ManagementKey required
message auth.v1.CreateManagementKeyResponse
  1 management_key auth.v1.ManagementKey required
message auth.v1.DeleteManagementKeyRequest
  1 account_id string uuid
  2 management_key_id string uuid
message auth.v1.DeleteManagementKeyResponse
message auth.v1.ListManagementKeysRequest
  1 account_id string uuid
message auth.v1.ListManagementKeysResponse
  1 items []auth.v1.ManagementKey
message auth.v1.ManagementKey
  rule management_key.id value must be a valid UUID
  rule management_key.prefix prefix must not be empty
  1 id string
  2 account_id string uuid
  3 created_at timestamp
  4 prefix string
  5 key string
message iam.v1.GetRoleRequest
  1 account_id string uuid
  2 role_id string uuid
message iam.v1.GetRoleResponse
  1 role iam.v1.Role required
message iam.v1.ListEffectivePermissionsRequest
  1 account_id string uuid
message iam.v1.ListEffectivePermissionsResponse
  1 permissions []iam.v1.Permission minitems=1
message iam.v1.ListPermissionsRequest
  1 account_id string uuid
message iam.v1.ListPermissionsResponse
  1 permissions []iam.v1.Permission minitems=1
message iam.v1.ListRoleUsersRequest
  1 account_id string uuid
  2 role_id string uuid
message iam.v1.ListRoleUsersResponse
  1 users []iam.v1.User
message iam.v1.ListRolesRequest
  1 account_id string uuid
message iam.v1.ListRolesResponse
  1 items []iam.v1.Role
message iam.v1.ListUserRolesRequest
  1 account_id string uuid
  2 user_id string uuid
message iam.v1.ListUserRolesResponse
  1 roles []iam.v1.Role
message iam.v1.ListUsersRequest
  1 account_id string uuid
message iam.v1.ListUsersResponse
  1 items []iam.v1.User
message iam.v1.Permission
  1 value string min=1
  2 category? string min=1
message iam.v1.Role
  rule role.id value must be a valid UUID
  rule role.last_modified_at last_modified_at must be set if created_at is set and must be after or equal to created_at
  1 id string
  2 created_at timestamp
  3 last_modified_at timestamp
  4 account_id string uuid
  5 name string max=64 min=4 re=^([^\x00-\x1F\x7F])*$
  6 description string max=256
  7 role_type iam.v1.RoleType defined nonzero
  8 permissions []iam.v1.Permission minitems=1
  9 sub_type? iam.v1.SystemRoleSubType defined nonzero
message iam.v1.User
  rule user.last_modified_at last_modified_at must be set if created_at is set and must be after or equal to created_at
  1 id string uuid
  2 created_at timestamp
  3 last_modified_at timestamp
  4 email string email
  5 status iam.v1.UserStatus defined
  6 default_account_id string uuid
  7 onboarding_status iam.v1.OnboardingStatus defined
enum account.v1.AccountInviteStatus
  0 ACCOUNT_INVITE_STATUS_UNSPECIFIED
  1 ACCOUNT_INVITE_STATUS_PENDING
  2 ACCOUNT_INVITE_STATUS_ACCEPTED
  3 ACCOUNT_INVITE_STATUS_REJECTED
  5 ACCOUNT_INVITE_STATUS_CANCELED
enum iam.v1.OnboardingStatus
  0 ONBOARDING_STATUS_UNSPECIFIED
  1 ONBOARDING_STATUS_PENDING
  2 ONBOARDING_STATUS_COMPLETED
enum iam.v1.RoleType
  0 ROLE_TYPE_UNSPECIFIED
  1 ROLE_TYPE_SYSTEM
  2 ROLE_TYPE_CUSTOM
enum iam.v1.SystemRoleSubType
  0 SYSTEM_ROLE_SUB_TYPE_UNSPECIFIED
  1 SYSTEM_ROLE_SUB_TYPE_OWNER
  2 SYSTEM_ROLE_SUB_TYPE_ADMIN
  3 SYSTEM_ROLE_SUB_TYPE_BASE
enum iam.v1.UserStatus
  0 USER_STATUS_UNSPECIFIED
  1 USER_STATUS_ACTIVE
  2 USER_STATUS_BLOCKED
  3 USER_STATUS_DELETED
`
