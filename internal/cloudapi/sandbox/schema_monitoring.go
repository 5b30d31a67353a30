package sandbox

// schemaMonitoring describes the messages of the monitoring service that are served
// (qdrant-cloud-public-api v0.173.0, Apache-2.0) in the notation of parseSchema.
const schemaMonitoring = `
message monitoring.v1.ClusterAlert
  1 id string
  2 type monitoring.v1.ClusterAlertType
  3 severity monitoring.v1.ClusterAlertSeverity
  4 title string
  5 description string
  6 last_firing_at timestamp
  7 state monitoring.v1.ClusterAlertState
message monitoring.v1.ListClusterAlertsRequest
  1 account_id string uuid
  2 cluster_id string uuid
  3 state? monitoring.v1.ClusterAlertState
message monitoring.v1.ListClusterAlertsResponse
  1 alerts []monitoring.v1.ClusterAlert
enum monitoring.v1.ClusterAlertSeverity
  0 CLUSTER_ALERT_SEVERITY_UNSPECIFIED
  1 CLUSTER_ALERT_SEVERITY_INFO
  2 CLUSTER_ALERT_SEVERITY_WARNING
  3 CLUSTER_ALERT_SEVERITY_CRITICAL
enum monitoring.v1.ClusterAlertState
  0 CLUSTER_ALERT_STATE_UNSPECIFIED
  1 CLUSTER_ALERT_STATE_FIRING
  2 CLUSTER_ALERT_STATE_RESOLVED
enum monitoring.v1.ClusterAlertType
  0 CLUSTER_ALERT_TYPE_UNSPECIFIED
  1 CLUSTER_ALERT_TYPE_DISK_OVERUTILIZED
  2 CLUSTER_ALERT_TYPE_MEMORY_OVERUTILIZED
  3 CLUSTER_ALERT_TYPE_OOD
  4 CLUSTER_ALERT_TYPE_OOM
  5 CLUSTER_ALERT_TYPE_RECOVERY_MODE
  6 CLUSTER_ALERT_TYPE_QDRANT_CLUSTER_UNHEALTHY
  7 CLUSTER_ALERT_TYPE_TOO_MANY_COLLECTIONS
  8 CLUSTER_ALERT_TYPE_QDRANT_CLUSTER_CPU_THROTTLED
  9 CLUSTER_ALERT_TYPE_QDRANT_JWT_API_KEY_ABOUT_TO_EXPIRE
  10 CLUSTER_ALERT_TYPE_CLUSTER_VERSION_IS_NOT_COVERED_BY_SLA
  11 CLUSTER_ALERT_TYPE_CLUSTER_DISK_HOTSPOT
  12 CLUSTER_ALERT_TYPE_CLUSTER_MEMORY_HOTSPOT
  13 CLUSTER_ALERT_TYPE_CLUSTER_CPU_HOTSPOT
`
