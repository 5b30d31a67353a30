package cloudapi

// enum is one enum of the current API: what its values' names start with, and the names by number
// from 1 on. 0 is always unspecified.
type enum struct {
	prefix string
	names  []string
}

// The enums that are decoded, as qdrant-cloud-public-api v0.173.0 numbers them.
var (
	enumPhase = enum{"CLUSTER_PHASE_", []string{
		"CREATING", "FAILED_TO_CREATE", "UPDATING", "FAILED_TO_UPDATE", "SCALING", "UPGRADING", "SUSPENDING", "SUSPENDED",
		"FAILED_TO_SUSPEND", "RESUMING", "FAILED_TO_RESUME", "HEALTHY", "NOT_READY", "RECOVERY_MODE", "MANUAL_MAINTENANCE",
		"FAILED_TO_SYNC", "NOT_FOUND", "DELETING", "UNKNOWN",
	}}
	enumNodeState     = enum{"CLUSTER_NODE_STATE_", []string{"STARTING", "HEALTHY", "UNHEALTHY", "SUSPENDED", "RECOVERING"}}
	enumNotReady      = enum{"CLUSTER_NODE_NOT_READY_CONDITION_", []string{"POD_SCHEDULING_ERROR", "CONTAINER_START_BLOCKED", "CONTAINER_RESTARTING", "READINESS_FAILING", "UNKNOWN"}}
	enumTermination   = enum{"CLUSTER_NODE_TERMINATION_EVENT_", []string{"OUT_OF_MEMORY", "PROCESS_EXITED"}}
	enumNodeAction    = enum{"CLUSTER_NODE_ACTION_KIND_", []string{"SCALE_VERTICALLY", "DOCUMENTATION"}}
	enumDiskExpansion = enum{"CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_", []string{"SUPPORTED", "NOT_SUPPORTED"}}
	enumBackupSupport = enum{"CLUSTER_BACKUP_SUPPORT_STATUS_", []string{"SUPPORTED", "NOT_SUPPORTED"}}
	enumScalability   = enum{"CLUSTER_SCALABILITY_STATUS_", []string{"NOT_SCALABLE", "SCALABLE"}}
	enumPackageTier   = enum{"PACKAGE_TIER_", []string{"STANDARD", "PREMIUM"}}
	enumPackageStatus = enum{"PACKAGE_STATUS_", []string{"ACTIVE", "DEACTIVATED"}}
	enumStorageTier   = enum{"STORAGE_TIER_TYPE_", []string{"COST_OPTIMISED", "BALANCED", "PERFORMANCE"}}
	enumRiskResource  = enum{"CLUSTER_DOWNSCALE_RISK_RESOURCE_", []string{"MEMORY"}}
	enumRiskStatus    = enum{"CLUSTER_DOWNSCALE_RISK_STATUS_", []string{"NO_RISK", "USAGE_EXCEEDS_TARGET", "USAGE_UNKNOWN"}}

	enumAlertType = enum{"CLUSTER_ALERT_TYPE_", []string{
		"DISK_OVERUTILIZED", "MEMORY_OVERUTILIZED", "OOD", "OOM", "RECOVERY_MODE", "QDRANT_CLUSTER_UNHEALTHY", "TOO_MANY_COLLECTIONS",
		"QDRANT_CLUSTER_CPU_THROTTLED", "QDRANT_JWT_API_KEY_ABOUT_TO_EXPIRE", "CLUSTER_VERSION_IS_NOT_COVERED_BY_SLA",
		"CLUSTER_DISK_HOTSPOT", "CLUSTER_MEMORY_HOTSPOT", "CLUSTER_CPU_HOTSPOT",
	}}
	enumAlertSeverity = enum{"CLUSTER_ALERT_SEVERITY_", []string{"INFO", "WARNING", "CRITICAL"}}
	enumAlertState    = enum{"CLUSTER_ALERT_STATE_", []string{"FIRING", "RESOLVED"}}

	enumBackupStatus   = enum{"BACKUP_STATUS_", []string{"RUNNING", "SKIPPED", "FAILED", "SUCCEEDED", "FAILED_TO_SYNC", "NOT_FOUND", "UNKNOWN"}}
	enumScheduleStatus = enum{"BACKUP_SCHEDULE_STATUS_", []string{"ACTIVE", "FAILED_TO_SYNC", "NOT_FOUND", "DISABLED"}}
	enumRestoreStatus  = enum{"BACKUP_RESTORE_STATUS_", []string{"RUNNING", "FAILED", "SUCCEEDED", "FAILED_TO_SYNC", "NOT_FOUND", "SKIPPED"}}

	enumGlobalAccess     = enum{"GLOBAL_ACCESS_RULE_ACCESS_TYPE_", []string{"READ_ONLY", "MANAGE"}}
	enumCollectionAccess = enum{"COLLECTION_ACCESS_RULE_ACCESS_TYPE_", []string{"READ_ONLY", "READ_WRITE"}}
)

// settingEnums are the enums of a configuration by member.
var settingEnums = map[string]enum{
	"serviceType":       {"CLUSTER_SERVICE_TYPE_", []string{"CLUSTER_IP", "NODE_PORT", "LOAD_BALANCER"}},
	"gpuType":           {"CLUSTER_CONFIGURATION_GPU_TYPE_", []string{"NVIDIA", "AMD"}},
	"restartPolicy":     {"CLUSTER_CONFIGURATION_RESTART_POLICY_", []string{"ROLLING", "PARALLEL", "AUTOMATIC"}},
	"rebalanceStrategy": {"CLUSTER_CONFIGURATION_REBALANCE_STRATEGY_", []string{"BY_COUNT", "BY_SIZE", "BY_COUNT_AND_SIZE", "DISABLED"}},
	"storageTierType":   enumStorageTier,
	"logLevel":          {"DATABASE_CONFIGURATION_LOG_LEVEL_", []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"}},
	"rotation":          {"AUDIT_LOG_ROTATION_", []string{"DAILY", "HOURLY"}},
	"operator":          {"TOLERATION_OPERATOR_", []string{"EXISTS", "EQUAL"}},
	"whenUnsatisfiable": {"TOPOLOGY_SPREAD_CONSTRAINT_WHEN_UNSATISFIABLE_", []string{"DO_NOT_SCHEDULE", "SCHEDULE_ANYWAY"}},
	"effect":            {"TOLERATION_EFFECT_", []string{"NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"}},
}
