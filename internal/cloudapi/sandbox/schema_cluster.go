package sandbox

// schemaCluster describes the messages of ClusterService
// (qdrant-cloud-public-api v0.173.0, Apache-2.0) in the notation of parseSchema.
const schemaCluster = `
message cluster.v1.AdditionalResources
  3 disk uint32
message cluster.v1.Cluster
  rule cluster.id value must be a valid UUID
  rule cluster.cloud_provider_region_id cloud_provider_region_id must be a UUID if cloud_provider_id is 'hybrid'
  1 id string
  2 created_at timestamp
  3 account_id string uuid
  4 name string max=64 min=2 re=^[a-zA-Z0-9-_]+$
  5 deleted_at timestamp
  10 cloud_provider_id string min=3
  11 cloud_provider_region_id string min=1
  12 labels []common.v1.KeyValue maxitems=10
  13 cost_allocation_label? string max=253 re=^([a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?(\.[a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?)*\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$
  20 configuration cluster.v1.ClusterConfiguration required
  100 state cluster.v1.ClusterState
message cluster.v1.ClusterBackupSupportInfo
  1 status cluster.v1.ClusterBackupSupportStatus defined nonzero
  2 reason? string min=1
message cluster.v1.ClusterCapabilities
  1 disk_expansion cluster.v1.ClusterDiskExpansionSupportInfo required
  2 backup cluster.v1.ClusterBackupSupportInfo required
  3 scalability_info cluster.v1.ClusterScalabilityInfo required
message cluster.v1.ClusterConfiguration
  1 last_modified_at timestamp
  2 number_of_nodes uint32 gte=1
  3 version? string re=^(v(\d+)\.(\d+)\.(\d+)|latest)$
  4 package_id string uuid
  5 additional_resources? cluster.v1.AdditionalResources
  7 database_configuration? cluster.v1.DatabaseConfiguration
  8 node_selector []common.v1.KeyValue maxitems=10
  9 tolerations []cluster.v1.Toleration maxitems=10
  10 annotations []common.v1.KeyValue maxitems=10
  11 allowed_ip_source_ranges []string items:ipv4prefix maxitems=40
  12 service_type? cluster.v1.ClusterServiceType defined nonzero
  13 service_annotations []common.v1.KeyValue maxitems=64
  14 pod_labels []common.v1.KeyValue maxitems=10
  20 reserved_cpu_percentage? uint32 gte=1 lte=80
  21 reserved_memory_percentage? uint32 gte=1 lte=80
  22 gpu_type? cluster.v1.ClusterConfigurationGpuType defined nonzero
  23 restart_policy? cluster.v1.ClusterConfigurationRestartPolicy defined nonzero
  24 rebalance_strategy? cluster.v1.ClusterConfigurationRebalanceStrategy defined nonzero
  25 topology_spread_constraints []common.v1.TopologySpreadConstraint maxitems=10
  26 cluster_storage_configuration? cluster.v1.ClusterStorageConfiguration
  27 gpu_configuration? cluster.v1.ClusterConfigurationGpuConfiguration
message cluster.v1.ClusterConfigurationGpuConfiguration
  1 force_half_precision? bool
  2 device_filter []string maxitems=10
  3 devices []string maxitems=10
  4 parallel_indexes? uint32 gte=1
  5 groups_count? uint32 gte=1
  6 allow_integrated? bool
message cluster.v1.ClusterDiskExpansionSupportInfo
  1 status cluster.v1.ClusterDiskExpansionSupportStatus defined nonzero
  2 reason? string min=1
message cluster.v1.ClusterDownscaleRiskInfo
  1 resource cluster.v1.ClusterDownscaleRiskResource defined nonzero
  2 status cluster.v1.ClusterDownscaleRiskStatus defined nonzero
  3 reason? string min=1
message cluster.v1.ClusterEndpoint
  1 url string uri
  2 rest_port int32 gt=0
  3 grpc_port int32 gt=0
message cluster.v1.ClusterNodeAction
  1 kind cluster.v1.ClusterNodeActionKind defined nonzero
  2 description string min=1
  3 url? string uri
message cluster.v1.ClusterNodeInfo
  1 name string min=1
  2 started_at timestamp
  3 version string
  4 endpoint cluster.v1.ClusterEndpoint
  10 state cluster.v1.ClusterNodeState defined
  11 availability_zone? string
  12 not_ready_info? cluster.v1.ClusterNodeNotReadyInfo
message cluster.v1.ClusterNodeNotReadyInfo
  1 condition cluster.v1.ClusterNodeNotReadyCondition defined nonzero
  2 condition_message string min=1
  3 event? cluster.v1.ClusterNodeTerminationEvent defined nonzero
  4 event_message? string min=1
  5 actions []cluster.v1.ClusterNodeAction maxitems=10
message cluster.v1.ClusterNodeResources
  1 base double gte=0
  2 complimentary double gte=0
  3 additional double gte=0
  4 reserved double gte=0
  5 available double gte=0
message cluster.v1.ClusterNodeResourcesSummary
  1 disk cluster.v1.ClusterNodeResources required
  2 ram cluster.v1.ClusterNodeResources required
  3 cpu cluster.v1.ClusterNodeResources required
  4 gpu? cluster.v1.ClusterNodeResources
  5 gpu_ram? cluster.v1.ClusterNodeResources
message cluster.v1.ClusterScalabilityInfo
  1 status cluster.v1.ClusterScalabilityStatus defined nonzero
  2 reason? string min=1
message cluster.v1.ClusterState
  1 version string min=1
  2 nodes_up uint32
  3 restarted_at timestamp
  4 phase cluster.v1.ClusterPhase defined
  5 reason string
  6 endpoint cluster.v1.ClusterEndpoint required
  7 resources cluster.v1.ClusterNodeResourcesSummary required
  8 scalability_info cluster.v1.ClusterScalabilityInfo required
  9 nodes []cluster.v1.ClusterNodeInfo
  10 jwt_rbac bool
  11 capabilities cluster.v1.ClusterCapabilities required
message cluster.v1.ClusterStorageConfiguration
  1 storage_tier_type common.v1.StorageTierType
  2 database_storage_class? string min=1
  3 snapshot_storage_class? string min=1
  4 volume_snapshot_class? string min=1
  5 volume_attributes_class? string min=1
message cluster.v1.CreateClusterFromBackupRequest
  1 account_id string uuid
  2 backup_id string uuid
  3 cluster_name string max=64 min=4 re=^[a-zA-Z0-9-_]+$
message cluster.v1.CreateClusterFromBackupResponse
  1 cluster cluster.v1.Cluster required
message cluster.v1.CreateClusterRequest
  rule create_cluster.no_read_only_fields read-only fields (id, created_at, deleted_at, state) must not be set on create
  1 cluster cluster.v1.Cluster required
message cluster.v1.CreateClusterResponse
  rule create_cluster.state_present state is required for an existing cluster
  1 cluster cluster.v1.Cluster required
message cluster.v1.DatabaseConfiguration
  1 collection? cluster.v1.DatabaseConfigurationCollection
  2 storage? cluster.v1.DatabaseConfigurationStorage
  3 service? cluster.v1.DatabaseConfigurationService
  4 log_level? cluster.v1.DatabaseConfigurationLogLevel defined nonzero
  5 tls? cluster.v1.DatabaseConfigurationTls
  6 inference? cluster.v1.DatabaseConfigurationInference
  7 audit_logging? cluster.v1.DatabaseConfigurationAuditLogging
message cluster.v1.DatabaseConfigurationAuditLogging
  1 enabled bool
  2 rotation? cluster.v1.AuditLogRotation
  3 max_log_files? uint32 gte=1 lte=1000
  4 trust_forwarded_headers? bool
message cluster.v1.DatabaseConfigurationCollection
  1 replication_factor? uint32 gte=1
  2 write_consistency_factor? int32 gte=1
  3 vectors? cluster.v1.DatabaseConfigurationCollectionVectors
message cluster.v1.DatabaseConfigurationCollectionVectors
  1 on_disk? bool
message cluster.v1.DatabaseConfigurationInference
  1 enabled bool
message cluster.v1.DatabaseConfigurationService
  1 api_key? common.v1.SecretKeyRef
  2 read_only_api_key? common.v1.SecretKeyRef
  4 enable_tls? bool
message cluster.v1.DatabaseConfigurationStorage
  1 performance? cluster.v1.DatabaseConfigurationStoragePerformance
message cluster.v1.DatabaseConfigurationStoragePerformance
  1 optimizer_cpu_budget? int32
  2 async_scorer? bool
message cluster.v1.DatabaseConfigurationTls
  1 cert common.v1.SecretKeyRef required
  2 key common.v1.SecretKeyRef required
message cluster.v1.DeleteClusterRequest
  1 account_id string uuid
  2 cluster_id string uuid
  3 delete_backups? bool
  4 force? bool
message cluster.v1.DeleteClusterResponse
message cluster.v1.EnableClusterJwtRbacRequest
  1 account_id string uuid
  2 cluster_id string uuid
message cluster.v1.EnableClusterJwtRbacResponse
message cluster.v1.GetClusterDownscaleRiskRequest
  1 account_id string uuid
  2 cluster_id string uuid
  3 package_id string uuid
message cluster.v1.GetClusterDownscaleRiskResponse
  1 downscale_risks []cluster.v1.ClusterDownscaleRiskInfo minitems=1
message cluster.v1.GetClusterRequest
  1 account_id string uuid
  2 cluster_id string uuid
message cluster.v1.GetClusterResponse
  1 cluster cluster.v1.Cluster required
message cluster.v1.GetQdrantReleaseRequest
  1 account_id string uuid
  2 version string min=1
message cluster.v1.GetQdrantReleaseResponse
  1 release cluster.v1.QdrantRelease required
message cluster.v1.ListClustersRequest
  rule list_clusters.cloud_provider_id_present cloud_provider_id is required when cloud_provider_region_id is set
  rule cluster.cloud_provider_region_id cloud_provider_region_id must be a UUID if cloud_provider_id is 'hybrid'
  1 account_id string uuid
  10 cloud_provider_id? string min=3
  11 cloud_provider_region_id? string min=1
  20 page_size? int32 gt=0 lte=250
  21 page_token? string min=1
message cluster.v1.ListClustersResponse
  1 items []cluster.v1.Cluster
  10 total_size? int32 gte=0
  11 next_page_token? string min=1
message cluster.v1.ListQdrantReleasesRequest
  1 account_id string uuid
  2 cluster_id? string uuid
message cluster.v1.ListQdrantReleasesResponse
  1 items []cluster.v1.QdrantRelease
message cluster.v1.QdrantRelease
  1 version string min=1
  2 default bool
  3 release_notes_url? string uri
  4 remarks? string min=1
  5 end_of_life bool
  6 unavailable bool
message cluster.v1.RestartClusterRequest
  1 account_id string uuid
  2 cluster_id string uuid
message cluster.v1.RestartClusterResponse
message cluster.v1.SuggestClusterNameRequest
  1 account_id string uuid
message cluster.v1.SuggestClusterNameResponse
  1 name string min=1
message cluster.v1.SuspendClusterRequest
  1 account_id string uuid
  2 cluster_id string uuid
message cluster.v1.SuspendClusterResponse
message cluster.v1.Toleration
  rule toleration.value_for_exists value must not be set when operator is Exists
  rule toleration.value_for_equal value must be set when operator is Equal (or is not set, which defaults to Equal)
  rule toleration.key_format_when_present key must be a valid Kubernetes qualified name when set and non-empty
  rule toleration.key_empty_requires_exists operator must be 'Exists' if key is empty
  rule toleration.seconds_only_for_noexecute tolerationSeconds is only valid when effect is NoExecute
  1 key? string max=317
  2 operator? cluster.v1.TolerationOperator defined nonzero
  3 value? string re=(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?
  4 effect? cluster.v1.TolerationEffect defined nonzero
  5 toleration_seconds? uint64 gte=0
message cluster.v1.UnsuspendClusterRequest
  1 account_id string uuid
  2 cluster_id string uuid
message cluster.v1.UnsuspendClusterResponse
message cluster.v1.UpdateClusterRequest
  rule update_cluster.id_present cluster.id is required for an update
  1 cluster cluster.v1.Cluster required
  2 update_mask mask
message cluster.v1.UpdateClusterResponse
  rule update_cluster.state_present state is required for an existing cluster
  1 cluster cluster.v1.Cluster required
enum cluster.v1.AuditLogRotation
  0 AUDIT_LOG_ROTATION_UNSPECIFIED
  1 AUDIT_LOG_ROTATION_DAILY
  2 AUDIT_LOG_ROTATION_HOURLY
enum cluster.v1.ClusterBackupSupportStatus
  0 CLUSTER_BACKUP_SUPPORT_STATUS_UNSPECIFIED
  1 CLUSTER_BACKUP_SUPPORT_STATUS_SUPPORTED
  2 CLUSTER_BACKUP_SUPPORT_STATUS_NOT_SUPPORTED
enum cluster.v1.ClusterConfigurationGpuType
  0 CLUSTER_CONFIGURATION_GPU_TYPE_UNSPECIFIED
  1 CLUSTER_CONFIGURATION_GPU_TYPE_NVIDIA
  2 CLUSTER_CONFIGURATION_GPU_TYPE_AMD
enum cluster.v1.ClusterConfigurationRebalanceStrategy
  0 CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_UNSPECIFIED
  1 CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_BY_COUNT
  2 CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_BY_SIZE
  3 CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_BY_COUNT_AND_SIZE
  4 CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_DISABLED
enum cluster.v1.ClusterConfigurationRestartPolicy
  0 CLUSTER_CONFIGURATION_RESTART_POLICY_UNSPECIFIED
  1 CLUSTER_CONFIGURATION_RESTART_POLICY_ROLLING
  2 CLUSTER_CONFIGURATION_RESTART_POLICY_PARALLEL
  3 CLUSTER_CONFIGURATION_RESTART_POLICY_AUTOMATIC
enum cluster.v1.ClusterDiskExpansionSupportStatus
  0 CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_UNSPECIFIED
  1 CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_SUPPORTED
  2 CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_NOT_SUPPORTED
enum cluster.v1.ClusterDownscaleRiskResource
  0 CLUSTER_DOWNSCALE_RISK_RESOURCE_UNSPECIFIED
  1 CLUSTER_DOWNSCALE_RISK_RESOURCE_MEMORY
enum cluster.v1.ClusterDownscaleRiskStatus
  0 CLUSTER_DOWNSCALE_RISK_STATUS_UNSPECIFIED
  1 CLUSTER_DOWNSCALE_RISK_STATUS_NO_RISK
  2 CLUSTER_DOWNSCALE_RISK_STATUS_USAGE_EXCEEDS_TARGET
  3 CLUSTER_DOWNSCALE_RISK_STATUS_USAGE_UNKNOWN
enum cluster.v1.ClusterNodeActionKind
  0 CLUSTER_NODE_ACTION_KIND_UNSPECIFIED
  1 CLUSTER_NODE_ACTION_KIND_SCALE_VERTICALLY
  2 CLUSTER_NODE_ACTION_KIND_DOCUMENTATION
enum cluster.v1.ClusterNodeNotReadyCondition
  0 CLUSTER_NODE_NOT_READY_CONDITION_UNSPECIFIED
  1 CLUSTER_NODE_NOT_READY_CONDITION_POD_SCHEDULING_ERROR
  2 CLUSTER_NODE_NOT_READY_CONDITION_CONTAINER_START_BLOCKED
  3 CLUSTER_NODE_NOT_READY_CONDITION_CONTAINER_RESTARTING
  4 CLUSTER_NODE_NOT_READY_CONDITION_READINESS_FAILING
  5 CLUSTER_NODE_NOT_READY_CONDITION_UNKNOWN
enum cluster.v1.ClusterNodeState
  0 CLUSTER_NODE_STATE_UNSPECIFIED
  1 CLUSTER_NODE_STATE_STARTING
  2 CLUSTER_NODE_STATE_HEALTHY
  3 CLUSTER_NODE_STATE_UNHEALTHY
  4 CLUSTER_NODE_STATE_SUSPENDED
  5 CLUSTER_NODE_STATE_RECOVERING
enum cluster.v1.ClusterNodeTerminationEvent
  0 CLUSTER_NODE_TERMINATION_EVENT_UNSPECIFIED
  1 CLUSTER_NODE_TERMINATION_EVENT_OUT_OF_MEMORY
  2 CLUSTER_NODE_TERMINATION_EVENT_PROCESS_EXITED
enum cluster.v1.ClusterPhase
  0 CLUSTER_PHASE_UNSPECIFIED
  1 CLUSTER_PHASE_CREATING
  2 CLUSTER_PHASE_FAILED_TO_CREATE
  3 CLUSTER_PHASE_UPDATING
  4 CLUSTER_PHASE_FAILED_TO_UPDATE
  5 CLUSTER_PHASE_SCALING
  6 CLUSTER_PHASE_UPGRADING
  7 CLUSTER_PHASE_SUSPENDING
  8 CLUSTER_PHASE_SUSPENDED
  9 CLUSTER_PHASE_FAILED_TO_SUSPEND
  10 CLUSTER_PHASE_RESUMING
  11 CLUSTER_PHASE_FAILED_TO_RESUME
  12 CLUSTER_PHASE_HEALTHY
  13 CLUSTER_PHASE_NOT_READY
  14 CLUSTER_PHASE_RECOVERY_MODE
  15 CLUSTER_PHASE_MANUAL_MAINTENANCE
  16 CLUSTER_PHASE_FAILED_TO_SYNC
  17 CLUSTER_PHASE_NOT_FOUND
  18 CLUSTER_PHASE_DELETING
  19 CLUSTER_PHASE_UNKNOWN
enum cluster.v1.ClusterScalabilityStatus
  0 CLUSTER_SCALABILITY_STATUS_UNSPECIFIED
  1 CLUSTER_SCALABILITY_STATUS_NOT_SCALABLE
  2 CLUSTER_SCALABILITY_STATUS_SCALABLE
enum cluster.v1.ClusterServiceType
  0 CLUSTER_SERVICE_TYPE_UNSPECIFIED
  1 CLUSTER_SERVICE_TYPE_CLUSTER_IP
  2 CLUSTER_SERVICE_TYPE_NODE_PORT
  3 CLUSTER_SERVICE_TYPE_LOAD_BALANCER
enum cluster.v1.DatabaseConfigurationLogLevel
  0 DATABASE_CONFIGURATION_LOG_LEVEL_UNSPECIFIED
  1 DATABASE_CONFIGURATION_LOG_LEVEL_TRACE
  2 DATABASE_CONFIGURATION_LOG_LEVEL_DEBUG
  3 DATABASE_CONFIGURATION_LOG_LEVEL_INFO
  4 DATABASE_CONFIGURATION_LOG_LEVEL_WARN
  5 DATABASE_CONFIGURATION_LOG_LEVEL_ERROR
  6 DATABASE_CONFIGURATION_LOG_LEVEL_OFF
enum cluster.v1.TolerationEffect
  0 TOLERATION_EFFECT_UNSPECIFIED
  1 TOLERATION_EFFECT_NO_SCHEDULE
  2 TOLERATION_EFFECT_PREFER_NO_SCHEDULE
  3 TOLERATION_EFFECT_NO_EXECUTE
enum cluster.v1.TolerationOperator
  0 TOLERATION_OPERATOR_UNSPECIFIED
  1 TOLERATION_OPERATOR_EXISTS
  2 TOLERATION_OPERATOR_EQUAL
`
