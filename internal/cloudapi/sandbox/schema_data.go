package sandbox

// schemaData describes the messages of the database key and backup services
// (qdrant-cloud-public-api v0.173.0, Apache-2.0) in the notation of parseSchema.
const schemaData = `
message cluster.auth.v1.CreateDatabaseApiKeyRequest
  rule create_database_api_key.no_read_only_fields read-only fields (id, created_at, prefix, key) must not be set on create
  1 database_api_key cluster.auth.v1.DatabaseApiKey required
message cluster.auth.v1.CreateDatabaseApiKeyResponse
  1 database_api_key cluster.auth.v1.DatabaseApiKey required
message cluster.auth.v1.DatabaseApiKey
  rule database_api_key.id value must be a valid UUID
  rule database_api_key.prefix prefix must not be empty
  1 id string
  2 account_id string uuid
  3 created_at timestamp
  4 cluster_ids []string items:uuid minitems=1
  5 prefix string
  6 key string
message cluster.auth.v1.DeleteDatabaseApiKeyRequest
  1 account_id string uuid
  2 database_api_key_id string uuid
message cluster.auth.v1.DeleteDatabaseApiKeyResponse
message cluster.auth.v1.ListDatabaseApiKeysRequest
  1 account_id string uuid
  2 cluster_id? string uuid
message cluster.auth.v1.ListDatabaseApiKeysResponse
  1 items []cluster.auth.v1.DatabaseApiKey
message cluster.auth.v2.AccessRule
  1 global_access cluster.auth.v2.GlobalAccessRule oneof:scope
  2 collection_access cluster.auth.v2.CollectionAccessRule oneof:scope
message cluster.auth.v2.CollectionAccessRule
  1 collection_name string max=255 min=1 re=^[a-zA-Z0-9-_.]+$
  2 access_type cluster.auth.v2.CollectionAccessRuleAccessType defined nonzero
message cluster.auth.v2.CreateDatabaseApiKeyRequest
  rule create_database_api_key.no_read_only_fields read-only fields (id, created_at, created_by_email, postfix, key) must not be set on create
  1 database_api_key cluster.auth.v2.DatabaseApiKey required
message cluster.auth.v2.CreateDatabaseApiKeyResponse
  1 database_api_key cluster.auth.v2.DatabaseApiKey required
message cluster.auth.v2.DatabaseApiKey
  rule database_api_key.id value must be a valid UUID
  rule database_api_key.no_mixed_global_and_collection There can't be global and collection access rules in the same database api key.
  rule database_api_key.only_one_global_access There can't be more than one global access rule in the configuration.
  rule database_api_key.postfix postfix must not be empty
  1 id string
  2 account_id string uuid
  3 created_at timestamp
  4 cluster_id string uuid
  5 name string max=128 min=4 re=^[\w\s-]+$
  6 expires_at? timestamp
  7 access_rules []cluster.auth.v2.AccessRule maxitems=20
  8 created_by_email string cel=database_api_key.created_by_email
  9 postfix string
  10 key string
message cluster.auth.v2.DeleteDatabaseApiKeyRequest
  1 account_id string uuid
  2 cluster_id string uuid
  3 database_api_key_id string uuid
message cluster.auth.v2.DeleteDatabaseApiKeyResponse
message cluster.auth.v2.GlobalAccessRule
  1 access_type cluster.auth.v2.GlobalAccessRuleAccessType defined nonzero
message cluster.auth.v2.ListDatabaseApiKeysRequest
  1 account_id string uuid
  2 cluster_id? string uuid
message cluster.auth.v2.ListDatabaseApiKeysResponse
  1 items []cluster.auth.v2.DatabaseApiKey
message cluster.backup.v1.Backup
  rule cluster.id value must be a valid UUID
  rule backup.name name must not be empty
  rule backup.display_name display_name must not be empty
  1 id string
  2 created_at timestamp
  3 account_id string uuid
  4 cluster_id string uuid
  5 name string
  6 status cluster.backup.v1.BackupStatus defined
  7 deleted_at timestamp
  8 backup_duration duration
  9 backup_schedule_id? string uuid
  10 retention_period? duration gte=86400s lte=31536000s
  12 cluster_info cluster.backup.v1.ClusterInfo
  11 display_name string
  13 price? cluster.backup.v1.BackupPrice
message cluster.backup.v1.BackupPrice
  1 currency string len=3 re=^[A-Z]{3}$
  2 original_price_per_hour int64 gte=0
  3 discounted_price_per_hour int64 gte=0
  4 original_price_per_month int64 gte=0
  5 discounted_price_per_month int64 gte=0
  6 discount_percentage double gte=0 lte=100
message cluster.backup.v1.BackupRestore
  1 id string uuid
  2 created_at timestamp
  3 account_id string uuid
  4 cluster_id string uuid
  5 backup_id string uuid
  6 status cluster.backup.v1.BackupRestoreStatus defined
  7 deleted_at timestamp
message cluster.backup.v1.BackupSchedule
  rule backup_schedule.id value must be a valid UUID
  1 id string
  2 created_at timestamp
  3 account_id string uuid
  4 cluster_id string uuid
  5 schedule string re=^(@(annually|yearly|monthly|weekly|daily|hourly|reboot))|(@every (\d+(ns|us|µs|ms|s|m|h))+)|((((\d+,)+\d+|([\d\*]+(\/|-)\d+)|\d+|\*) ?){5,7})$
  6 retention_period? duration gte=86400s lte=31536000s
  7 deleted_at timestamp
  8 status cluster.backup.v1.BackupScheduleStatus defined
  9 display_name? string max=64 min=4 re=^[a-zA-Z0-9-_]+$
message cluster.backup.v1.ClusterInfo
  rule cluster.cloud_provider_region_id cloud_provider_region_id must be a UUID if cloud_provider_id is 'hybrid'
  1 name string max=64 min=4 re=^[a-zA-Z0-9-_]+$
  2 cloud_provider_id string min=3
  3 cloud_provider_region_id string min=1
  4 configuration cluster.v1.ClusterConfiguration required
  5 resources_summary cluster.backup.v1.ClusterResourcesSummary
  6 restore_package_id? string uuid
  7 created_at timestamp
message cluster.backup.v1.ClusterResourcesSummary
  1 cpu cluster.backup.v1.ResourceQuantity
  2 ram cluster.backup.v1.ResourceQuantity
  3 disk cluster.backup.v1.ResourceQuantity
  4 gpu? cluster.backup.v1.ResourceQuantity
message cluster.backup.v1.CreateBackupRequest
  rule create_backup.no_read_only_fields read-only fields (id, created_at, name, status, deleted_at, backup_duration, backup_schedule_id, cluster_info, price) must not be set on create
  rule create_backup.display_name_rule display_name is required and must be 4-64 characters of letters, digits, hyphens and underscores
  1 backup cluster.backup.v1.Backup required
message cluster.backup.v1.CreateBackupResponse
  1 backup cluster.backup.v1.Backup required
message cluster.backup.v1.CreateBackupScheduleRequest
  rule create_backup_schedule.no_read_only_fields read-only fields (id, created_at, deleted_at, status) must not be set on create
  rule create_backup_schedule.display_name_rule display_name is required and must be 4-64 characters of letters, digits, hyphens and underscores
  1 backup_schedule cluster.backup.v1.BackupSchedule required
message cluster.backup.v1.CreateBackupScheduleResponse
  1 backup_schedule cluster.backup.v1.BackupSchedule required
message cluster.backup.v1.DeleteBackupRequest
  1 account_id string uuid
  2 backup_id string uuid
  3 force? bool
message cluster.backup.v1.DeleteBackupResponse
message cluster.backup.v1.DeleteBackupScheduleRequest
  1 account_id string uuid
  2 backup_schedule_id string uuid
  3 delete_backups? bool
message cluster.backup.v1.DeleteBackupScheduleResponse
message cluster.backup.v1.GetBackupRequest
  1 account_id string uuid
  2 backup_id string uuid
message cluster.backup.v1.GetBackupResponse
  1 backup cluster.backup.v1.Backup required
message cluster.backup.v1.GetBackupScheduleRequest
  1 account_id string uuid
  2 cluster_id string uuid
  3 backup_schedule_id string uuid
message cluster.backup.v1.GetBackupScheduleResponse
  1 backup_schedule cluster.backup.v1.BackupSchedule required
message cluster.backup.v1.ListBackupRestoresRequest
  1 account_id string uuid
  2 cluster_id? string uuid
  10 page_size? int32 gt=0 lte=250
  11 page_token? string min=1
message cluster.backup.v1.ListBackupRestoresResponse
  1 items []cluster.backup.v1.BackupRestore
  10 total_size? int32 gte=0
  11 next_page_token? string min=1
message cluster.backup.v1.ListBackupSchedulesRequest
  1 account_id string uuid
  2 cluster_id? string uuid
  10 page_size? int32 gt=0 lte=250
  11 page_token? string min=1
message cluster.backup.v1.ListBackupSchedulesResponse
  1 items []cluster.backup.v1.BackupSchedule
  10 total_size? int32 gte=0
  11 next_page_token? string min=1
message cluster.backup.v1.ListBackupsRequest
  1 account_id string uuid
  2 cluster_id? string uuid
  3 backup_schedule_id? string uuid
  10 page_size? int32 gt=0 lte=250
  11 page_token? string min=1
message cluster.backup.v1.ListBackupsResponse
  1 items []cluster.backup.v1.Backup
  10 total_size? int32 gte=0
  11 next_page_token? string min=1
message cluster.backup.v1.ResourceQuantity
  1 amount int32
  2 unit string min=1
message cluster.backup.v1.RestoreBackupRequest
  1 account_id string uuid
  2 backup_id string uuid
message cluster.backup.v1.RestoreBackupResponse
message cluster.backup.v1.UpdateBackupRequest
  rule update_backup.id_present backup.id is required for an update
  rule update_backup.display_name_rule display_name must be 4-64 characters of letters, digits, hyphens and underscores
  1 backup cluster.backup.v1.Backup required
message cluster.backup.v1.UpdateBackupResponse
  1 backup cluster.backup.v1.Backup required
message cluster.backup.v1.UpdateBackupScheduleRequest
  rule update_backup_schedule.id_present backup_schedule.id is required for an update
  1 backup_schedule cluster.backup.v1.BackupSchedule required
  2 update_mask mask
message cluster.backup.v1.UpdateBackupScheduleResponse
  1 backup_schedule cluster.backup.v1.BackupSchedule required
enum cluster.auth.v2.CollectionAccessRuleAccessType
  0 COLLECTION_ACCESS_RULE_ACCESS_TYPE_UNSPECIFIED
  1 COLLECTION_ACCESS_RULE_ACCESS_TYPE_READ_ONLY
  2 COLLECTION_ACCESS_RULE_ACCESS_TYPE_READ_WRITE
enum cluster.auth.v2.GlobalAccessRuleAccessType
  0 GLOBAL_ACCESS_RULE_ACCESS_TYPE_UNSPECIFIED
  1 GLOBAL_ACCESS_RULE_ACCESS_TYPE_READ_ONLY
  2 GLOBAL_ACCESS_RULE_ACCESS_TYPE_MANAGE
enum cluster.backup.v1.BackupRestoreStatus
  0 BACKUP_RESTORE_STATUS_UNSPECIFIED
  1 BACKUP_RESTORE_STATUS_RUNNING
  2 BACKUP_RESTORE_STATUS_FAILED
  3 BACKUP_RESTORE_STATUS_SUCCEEDED
  4 BACKUP_RESTORE_STATUS_FAILED_TO_SYNC
  5 BACKUP_RESTORE_STATUS_NOT_FOUND
  6 BACKUP_RESTORE_STATUS_SKIPPED
enum cluster.backup.v1.BackupScheduleStatus
  0 BACKUP_SCHEDULE_STATUS_UNSPECIFIED
  1 BACKUP_SCHEDULE_STATUS_ACTIVE
  2 BACKUP_SCHEDULE_STATUS_FAILED_TO_SYNC
  3 BACKUP_SCHEDULE_STATUS_NOT_FOUND
  4 BACKUP_SCHEDULE_STATUS_DISABLED
enum cluster.backup.v1.BackupStatus
  0 BACKUP_STATUS_UNSPECIFIED
  1 BACKUP_STATUS_RUNNING
  2 BACKUP_STATUS_SKIPPED
  3 BACKUP_STATUS_FAILED
  4 BACKUP_STATUS_SUCCEEDED
  5 BACKUP_STATUS_FAILED_TO_SYNC
  6 BACKUP_STATUS_NOT_FOUND
  7 BACKUP_STATUS_UNKNOWN
`
