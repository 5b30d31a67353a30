package sandbox

// schemaMonitoring describes the messages of the monitoring service
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
message monitoring.v1.ClusterInferenceModelMetrics
  1 inference_model_id string min=1
  2 values []monitoring.v1.Metric
message monitoring.v1.ClusterMetricOverview
  1 avg []monitoring.v1.IntervalAverage
  2 total monitoring.v1.ResourceValue required
message monitoring.v1.ClusterNodeMetrics
  1 node_id string min=1
  2 cpu monitoring.v1.ClusterMetricOverview required
  3 ram monitoring.v1.ClusterMetricOverview required
  4 ram_cache monitoring.v1.ClusterMetricOverview required
  5 ram_rss monitoring.v1.ClusterMetricOverview required
  6 ram_qdrant_rss monitoring.v1.ClusterMetricOverview required
  7 disk monitoring.v1.ClusterMetricOverview required
  8 gpu? monitoring.v1.ClusterMetricOverview
  9 gpu_ram? monitoring.v1.ClusterMetricOverview
message monitoring.v1.ClusterNodeUsageMetrics
  1 node_id string min=1
  2 cpu []monitoring.v1.Metric
  3 ram []monitoring.v1.Metric
  4 ram_cache []monitoring.v1.Metric
  5 ram_rss []monitoring.v1.Metric
  6 ram_qdrant_rss []monitoring.v1.Metric
  7 disk []monitoring.v1.Metric
  8 gpu []monitoring.v1.Metric
  9 gpu_ram []monitoring.v1.Metric
message monitoring.v1.GetClusterEventsRequest
  rule get_cluster_events.until_gt_since until must be after since
  1 account_id string uuid
  2 cluster_id string uuid
  3 since? timestamp
  4 until? timestamp
message monitoring.v1.GetClusterEventsResponse
  1 items []monitoring.v1.LogEntry
message monitoring.v1.GetClusterInferenceMetricsRequest
  rule get_cluster_inference_metrics.until_gt_since until must be after since
  1 account_id string uuid
  2 cluster_id string uuid
  3 since? timestamp
  4 until? timestamp
  5 interval? monitoring.v1.InferenceMetricsInterval defined nonzero
  6 inference_model_id? string min=1
message monitoring.v1.GetClusterInferenceMetricsResponse
  1 models []monitoring.v1.ClusterInferenceModelMetrics
message monitoring.v1.GetClusterLogsRequest
  rule get_cluster_logs.until_gt_since until must be after since
  1 account_id string uuid
  2 cluster_id string uuid
  3 since? timestamp
  4 until? timestamp
message monitoring.v1.GetClusterLogsResponse
  1 items []monitoring.v1.LogEntry
message monitoring.v1.GetClusterSummaryMetricsRequest
  1 account_id string uuid
  2 cluster_id string uuid
message monitoring.v1.GetClusterSummaryMetricsResponse
  1 nodes []monitoring.v1.ClusterNodeMetrics
message monitoring.v1.GetClusterUsageMetricsRequest
  rule get_cluster_usage_metrics.until_gt_since until must be after since
  1 account_id string uuid
  2 cluster_id string uuid
  3 since? timestamp
  4 until? timestamp
  5 aggregator? monitoring.v1.Aggregator defined nonzero
message monitoring.v1.GetClusterUsageMetricsResponse
  1 cpu []monitoring.v1.Metric
  2 ram []monitoring.v1.Metric
  3 ram_cache []monitoring.v1.Metric
  4 ram_rss []monitoring.v1.Metric
  5 ram_qdrant_rss []monitoring.v1.Metric
  6 disk []monitoring.v1.Metric
  7 rps []monitoring.v1.Metric
  8 latency []monitoring.v1.Metric
  9 nodes []monitoring.v1.ClusterNodeUsageMetrics
  10 gpu []monitoring.v1.Metric
  11 gpu_ram []monitoring.v1.Metric
message monitoring.v1.IntervalAverage
  1 interval duration required
  2 value double gte=0
message monitoring.v1.LogEntry
  1 timestamp timestamp required
  2 message string min=1
message monitoring.v1.Metric
  1 timestamp timestamp required
  2 value double gte=0
message monitoring.v1.ResourceValue
  1 value double gte=0
  2 unit string min=1
enum monitoring.v1.Aggregator
  0 AGGREGATOR_UNSPECIFIED
  1 AGGREGATOR_SUM
  2 AGGREGATOR_AVG
  3 AGGREGATOR_MAX
  4 AGGREGATOR_MIN
enum monitoring.v1.InferenceMetricsInterval
  0 INFERENCE_METRICS_INTERVAL_UNSPECIFIED
  1 INFERENCE_METRICS_INTERVAL_DAY
  2 INFERENCE_METRICS_INTERVAL_WEEK
  3 INFERENCE_METRICS_INTERVAL_MONTH
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
