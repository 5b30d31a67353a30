package sandbox

// schemaCatalogue describes the messages of BookingService, PlatformService and QuotaService, and the messages several services share
// (qdrant-cloud-public-api v0.173.0, Apache-2.0) in the notation of parseSchema.
const schemaCatalogue = `
message booking.v1.AvailableAdditionalResources
  1 disk_price_per_hour uint32
message booking.v1.AvailableStoragePerformanceTierConfigurations
  1 storage_tier_type common.v1.StorageTierType
  2 price_per_hour uint32
message booking.v1.GetBackupQuoteRequest
  rule get_backup_quote.cloud_provider_region_id_present cloud_provider_region_id is required when cloud_provider_id is not 'hybrid'
  1 account_id string uuid
  2 cloud_provider_id string min=3
  4 cloud_provider_region_id? string min=1
  5 backup_size_gib? uint32 gt=0
message booking.v1.GetBackupQuoteResponse
  1 currency string re=^[A-Z]{3}$
  2 original_price_per_hour int64 gte=0
  3 discounted_price_per_hour int64 gte=0
  4 discount_percentage double gte=0 lte=100
message booking.v1.GetPackageRequest
  rule list_packages.cloud_provider_region_id_present cloud_provider_region_id is required when cloud_provider_id is not 'hybrid'
  1 account_id string uuid
  2 id string uuid
  3 cloud_provider_id string min=3
  4 cloud_provider_region_id? string min=1
message booking.v1.GetPackageResponse
  1 package booking.v1.Package required
message booking.v1.GetQuoteRequest
  rule get_quote.cloud_provider_region_id_present cloud_provider_region_id is required when cloud_provider_id is not 'hybrid'
  1 account_id string uuid
  2 cloud_provider_id string min=3
  3 cloud_provider_region_id? string min=1
  4 number_of_nodes uint32 gte=1
  5 package_id string uuid
  6 additional_disk_gib uint32 gte=0
  7 storage_tier_type? common.v1.StorageTierType
message booking.v1.GetQuoteResponse
  1 currency string re=^[A-Z]{3}$
  2 original_price_per_hour int64 gte=0
  3 discounted_price_per_hour int64 gte=0
  4 discount_percentage double gte=0 lte=100
  5 package? booking.v1.PriceBreakdown
  6 extra_disk? booking.v1.PriceBreakdown
  7 disk_speed? booking.v1.PriceBreakdown
message booking.v1.InferenceModel
  1 id string uuid
  2 name string min=1
  3 title string min=1
  4 description string min=1
  5 vector_type booking.v1.VectorType defined nonzero
  6 modality booking.v1.ModelModality defined nonzero
  7 vendor string min=1
  8 unit_int_price uint32
  9 is_external bool
  10 dimensionality? uint32
  11 max_tokens_per_request? uint32
  12 external_docs_url? string uri
message booking.v1.ListGlobalPackagesRequest
  rule list_global_packages.cloud_provider_region_id_present cloud_provider_region_id is required when cloud_provider_id is not 'hybrid'
  1 cloud_provider_id string min=3
  2 cloud_provider_region_id? string min=1
  3 min_resources? booking.v1.ResourceConfigurationFilter
  4 gpu? bool
  5 tier? booking.v1.PackageTier defined nonzero
message booking.v1.ListGlobalPackagesResponse
  1 items []booking.v1.Package
message booking.v1.ListInferenceModelsRequest
  1 account_id string uuid
  2 cloud_provider_id string min=3
  3 cloud_provider_region_id string min=1
message booking.v1.ListInferenceModelsResponse
  1 items []booking.v1.InferenceModel
message booking.v1.ListPackagesRequest
  rule list_packages.cloud_provider_region_id_present cloud_provider_region_id is required when cloud_provider_id is not 'hybrid'
  1 account_id string uuid
  2 cloud_provider_id string min=3
  3 cloud_provider_region_id? string min=1
  4 statuses []booking.v1.PackageStatus
  5 min_resources? booking.v1.ResourceConfigurationFilter
  6 multi_az? bool
  7 gpu? bool
  8 tier? booking.v1.PackageTier defined nonzero
message booking.v1.ListPackagesResponse
  1 items []booking.v1.Package
message booking.v1.ListStorageTierTypesRequest
  1 account_id string uuid
  2 cloud_provider_id string min=3
  3 cloud_provider_region_id string min=1
message booking.v1.ListStorageTierTypesResponse
  1 items []booking.v1.StorageTiers
message booking.v1.Package
  1 id string uuid
  2 name string max=64 min=3 re=^[a-zA-Z0-9-_]+$
  3 type string in=free,paid
  4 resource_configuration booking.v1.ResourceConfiguration
  5 currency string re=^[A-Z]{3}$
  6 unit_int_price_per_hour int32 gte=0
  7 status booking.v1.PackageStatus defined nonzero
  9 tier booking.v1.PackageTier defined nonzero
  8 available_additional_resources? booking.v1.AvailableAdditionalResources
  10 available_storage_tier_configurations []booking.v1.AvailableStoragePerformanceTierConfigurations minitems=1
  11 multi_az bool
message booking.v1.PriceBreakdown
  1 original_price_per_hour int64 gte=0
  2 discounted_price_per_hour int64 gte=0
  3 discount_percentage double gte=0 lte=100
message booking.v1.ResourceConfiguration
  1 ram string min=1
  2 cpu string min=1
  3 disk string min=1
  4 gpu? string min=1
  5 gpu_ram? string min=1
message booking.v1.ResourceConfigurationFilter
  1 ram? string min=1
  2 cpu? string min=1
  3 disk? string min=1
  4 gpu? string min=1
message booking.v1.StorageTiers
  1 storage_tier_type common.v1.StorageTierType
message common.v1.KeyValue
  1 key string max=253 re=^([a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?(\.[a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?)*\/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$
  2 value string max=1024
message common.v1.SecretKeyRef
  1 name string max=253 min=1 re=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
  2 key string max=1024 min=1
message common.v1.TopologySpreadConstraint
  1 max_skew? int32 gt=0
  2 topology_key string min=1
  3 when_unsatisfiable? common.v1.TopologySpreadConstraintWhenUnsatisfiable defined nonzero
message hybrid.v1.HybridCloudEnvironmentStorageClass
  1 name string min=1
  2 default bool
  3 provisioner string min=1
  4 allow_volume_expansion bool
  5 reclaim_policy string
  6 parameters []common.v1.KeyValue
message hybrid.v1.HybridCloudEnvironmentVolumeSnapshotClass
  1 name string min=1
  2 driver string min=1
message platform.v1.CloudProvider
  1 id string min=3
  2 name string min=1
  3 free_tier bool
  4 available bool
message platform.v1.CloudProviderRegion
  1 id string min=1
  2 name string min=1
  3 free_tier bool
  4 available bool
  5 provider string min=1
  6 country_iso_code? string len=2 re=^[A-Z]{2}$
  7 geographical_sub_region? string min=1
  8 namespace? string min=1
  9 capabilities platform.v1.CloudProviderRegionCapabilities
  11 storage_classes []hybrid.v1.HybridCloudEnvironmentStorageClass
  12 volume_snapshot_classes []hybrid.v1.HybridCloudEnvironmentVolumeSnapshotClass
message platform.v1.CloudProviderRegionCapabilities
  1 volume_snapshot bool
  2 volume_expansion bool
message platform.v1.GetCloudProviderRegionRequest
  1 account_id string uuid
  2 cloud_provider_id string min=3
  3 region_id string min=1
message platform.v1.GetCloudProviderRegionResponse
  1 region platform.v1.CloudProviderRegion
message platform.v1.GetGlobalCloudProviderRegionRequest
  1 cloud_provider_id string min=3
  2 region_id string min=1
message platform.v1.GetGlobalCloudProviderRegionResponse
  1 region platform.v1.CloudProviderRegion
message platform.v1.ListCloudProviderRegionsRequest
  1 account_id string uuid
  2 cloud_provider_id string min=3
message platform.v1.ListCloudProviderRegionsResponse
  1 items []platform.v1.CloudProviderRegion
message platform.v1.ListCloudProvidersRequest
  1 account_id string uuid
message platform.v1.ListCloudProvidersResponse
  1 items []platform.v1.CloudProvider
message platform.v1.ListGlobalCloudProviderRegionsRequest
  1 cloud_provider_id string min=3
message platform.v1.ListGlobalCloudProviderRegionsResponse
  1 items []platform.v1.CloudProviderRegion
message platform.v1.ListGlobalCloudProvidersRequest
message platform.v1.ListGlobalCloudProvidersResponse
  1 items []platform.v1.CloudProvider
message quota.v1.GetAccountQuotasRequest
  1 account_id string uuid
message quota.v1.GetAccountQuotasResponse
  1 account_id string uuid
  2 max_clusters uint32 gte=0
  3 max_cluster_nodes uint32 gte=0
  4 max_cluster_database_api_keys uint32 gte=0
  5 max_free_tier_clusters uint32 gte=0
enum booking.v1.ModelModality
  0 MODEL_MODALITY_UNSPECIFIED
  1 MODEL_MODALITY_TEXT
  2 MODEL_MODALITY_IMAGE
enum booking.v1.PackageStatus
  0 PACKAGE_STATUS_UNSPECIFIED
  1 PACKAGE_STATUS_ACTIVE
  2 PACKAGE_STATUS_DEACTIVATED
enum booking.v1.PackageTier
  0 PACKAGE_TIER_STATUS_UNSPECIFIED
  1 PACKAGE_TIER_STANDARD
  2 PACKAGE_TIER_PREMIUM
enum booking.v1.VectorType
  0 VECTOR_TYPE_UNSPECIFIED
  1 VECTOR_TYPE_DENSE
  2 VECTOR_TYPE_SPARSE
  3 VECTOR_TYPE_MULTI
enum common.v1.StorageTierType
  0 STORAGE_TIER_TYPE_UNSPECIFIED
  1 STORAGE_TIER_TYPE_COST_OPTIMISED
  2 STORAGE_TIER_TYPE_BALANCED
  3 STORAGE_TIER_TYPE_PERFORMANCE
enum common.v1.TopologySpreadConstraintWhenUnsatisfiable
  0 TOPOLOGY_SPREAD_CONSTRAINT_WHEN_UNSATISFIABLE_UNSPECIFIED
  1 TOPOLOGY_SPREAD_CONSTRAINT_WHEN_UNSATISFIABLE_DO_NOT_SCHEDULE
  2 TOPOLOGY_SPREAD_CONSTRAINT_WHEN_UNSATISFIABLE_SCHEDULE_ANYWAY
`
