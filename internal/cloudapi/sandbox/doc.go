// Package sandbox is a stand-in for the Qdrant Cloud API: what people try the console with, and
// what all tests trust. It serves the current REST gateway (/api/...) and the legacy pa/v1 API
// (/pa/v1/...) on one listener over one state, and is written from the public API definitions,
// not from what the console's client sends: it shares only the table of operations with it.
//
// The tables in schema_*.go hold facts of the definitions (qdrant-cloud-public-api v0.173.0 by Qdrant,
// Apache-2.0 as this project is): names, numbers, types, rules, and the one-line texts of message
// rules, which callers get to read when they break one. Comments and code of the definitions are not
// in them. A test compares them line by line with the published definitions where those are at hand.
//
// It promises to be as strict as the real service where that is known: the apikey check with 401
// and 403 told apart, permissions for each key, the rules of protovalidate for every request it
// decodes, read-only and immutable fields, hybrid-only settings, quotas, packages and releases
// that must exist, disks that never shrink, acts that a phase does not allow. Phases, backups, schedules, restores,
// keys, alerts, logs and metrics move with the clock. Nothing runs in the background: an account is brought up to now when somebody
// asks about it, so moving the clock by years costs nothing, and asking afterwards costs what there is to see and not what
// happened meanwhile; it shows the same as if somebody had looked all the time. A management key opens both generations of its one
// account. Secrets of keys appear once, in the answer that made them; of management keys a hash is
// kept, of database keys nothing but the part that listings show, since no cluster here checks one.
//
// Where the facts leave a choice, this is the one made:
//   - RestartCluster has no phase of its own in the current API: the cluster is UPDATING while its
//     nodes go down and up one by one; pa/v1 says Restarting.
//   - An exceeded quota and an act that does not fit the phase are FAILED_PRECONDITION (400).
//   - Settings documented as "ignored for managed cloud clusters" are dropped there; those that are
//     "for hybrid cloud clusters only" are refused.
//   - A database key may not end in the past, its access rules may not be empty, and its cluster may
//     be in any phase but DELETING. Keys of version 2 need a cluster that runs v1.11.0 or later with
//     JWT RBAC enabled: FAILED_PRECONDITION. The quota bounds the keys of one cluster, those of each
//     version by themselves; a key that has ended stays listed, and counts, until it is deleted. A
//     cluster named twice in a key of version 1 is named once.
//   - Missing payment details refuse what costs more an hour than before, FAILED_PRECONDITION; an account
//     that is not entitled may not create or update clusters nor create database keys, PERMISSION_DENIED.
//   - A cluster's update options are the newer releases that are neither withdrawn nor at their end.
//   - A package has the same id in all regions of a provider, and a price for each. An account may have packages of either tier: its own
//     says which are listed when none is asked for. pa/v1 knows no tiers and lists all.
//   - A management key may delete itself, also when it is the last.
//   - pa/v1 asks the permissions of the corresponding rpc and does not show clusters in regions its enum
//     does not know. A cluster being deleted has marked_for_deletion_at and no phase there. What an older
//     revision of it has a code for is {"detail": "E1015 Cluster not found"} and so on with the
//     status of the current API; what is invalid otherwise is 422. Its keys are those of version 1; a PUT
//     that names the clusters of a key changes nothing, any other is 422.
//   - A PATCH of pa/v1 keeps the lists and maps of a configuration that it leaves out, and clears them when they are empty: what its last
//     client does not know of, allowed addresses among it, survives that client. Null is taken for what the schema says may be null, and is
//     422 elsewhere. A version that is "" is no version: 422. A cluster is private or of a cloud, and not both: 422. A cluster's service
//     has jwt_rbac where its database is configured at all. FailedToScale, FailedToUpgrade, FailedToRestart and FailedToBackup do not occur.
//   - An update is checked by the rules as it comes, read-only members among it, but for what it leaves out and the resource has where a mask
//     is given; then the whole is. Replacing an account without its settings keeps them: they are an owner's to change.
//   - The body of an error names broken rules in a google.rpc.BadRequest detail.
//   - Alerts follow from what a cluster is and from the clock. A phase in which something is wrong fires one, and so do a
//     release at its end and a key in its last week; about one cluster in four is short of memory, disk or CPU for half an
//     hour, several times a day, and the last of these times is listed. A resolved alert stays listed for three days; while one
//     fires, it last fired in this minute, and when it fires again it has another id. Of the other types none fires but by POST /_sandbox/alerts.
//   - A backup takes 15 seconds and half a second for each GiB, which is a share of the cluster's disks, and a restore as long. Free
//     clusters have none; without payment details none is made. A cluster that does not run cannot be backed up, and a schedule's backup
//     of it is SKIPPED; one that is FAILED_TO_SYNC, or managed and UNKNOWN, makes FAILED_TO_SYNC. Suspending or deleting a cluster while it is
//     backed up or restored makes that fail. A backup that is being restored cannot be deleted, not with its schedule either, and a
//     deletion takes five seconds. What is being deleted cannot be deleted again, but by force: FAILED_PRECONDITION.
//   - A schedule is FAILED_TO_SYNC or NOT_FOUND when its cluster is. One that was set to be DISABLED or NOT_FOUND makes no backups.
//   - A hybrid cluster that is UNKNOWN is one whose agent is silent. Its backups are all UNKNOWN then, and it cannot be backed up by hand.
//     Deletions of its backups wait until it is in another phase. Its own deletion makes it DELETING for good: force ends that, and so does
//     POST /_sandbox/outside that puts it into DELETING once more. Force does not ask for a phase: it is clients that do.
//   - A backup is restored with the package it was made of, and when that cannot be booked any more with the cheapest one that has as much
//     memory, CPU and GPU and is multi-AZ when that was; the disk stays as large. Without one: FAILED_PRECONDITION. A new cluster whose restore
//     fails is FAILED_TO_CREATE.
//   - The current API has no phases for backups and restores: a cluster that is backed up stays as it is, one that is restored is
//     UPDATING, and one whose restore failed is FAILED_TO_UPDATE. pa/v1 has words for them: BackupRunning, Restoring, FailedToRestore.
//   - Schedules are in UTC. The definition's pattern lets pass what is no schedule: INVALID_ARGUMENT at the field. Six fields begin with
//     seconds, the last one of seven is the year, @every is rounded to seconds, @reboot never comes round. The cluster of a
//     schedule does not change. Whatever its retention, a schedule has its latest 400 backups. Deleting a cluster deletes its schedules,
//     and its backups when asked to.
//   - Updating a backup with its id wants its generated name too, which no rule tells to leave out.
//   - These limits are documented nowhere and are INVALID_ARGUMENT: at most 16384 GiB of additional disk; no move between multi-AZ and
//     other packages; no version older than the one that runs; and for free clusters one node, no additional disk and the basic storage tier.
//     An update that leaves the version out keeps it.
//   - The trace id is a header of the answer, Grpc-Metadata-Qc-Trace-Id. JSON is written without white space, and unknown names of enums in a
//     body are refused. Nothing changes these three, which the real gateway may do otherwise.
//   - Logs and events reach back 14 days, usage metrics 90, and an answer has the latest 5,000 lines or about 240 samples of a series. Cores
//     and GiB are what usage is measured in, latency in milliseconds. Events are for hybrid clusters: FAILED_PRECONDITION elsewhere.
//
// Roles and users can be listed and read; changing them is not served: 501, code 12. Rpcs for users only answer 403 to keys. The
// services hybrid, billing, metering, payment, serverless and ui.v1.AggregationService are not there: 404.
//
// # Control surface
//
// Control serves a second handler, for tests and for development. Every request carries
// "Authorization: Bearer <Config.ControlToken>"; bodies are JSON and unknown fields are refused.
// Answers are 204, or 200 with JSON; errors are {"error": "..."}: 400 for a body that cannot be
// read, 401, and 422 for a wrong value.
//
//	POST   /_sandbox/faults    {account, operation, kind, status, latency_ms, retry_after, times}
//	GET    /_sandbox/faults    the faults that are set
//	DELETE /_sandbox/faults    removes all, also those at random
//	POST   /_sandbox/random    {seed, share, kinds, latency_ms} faults at random, see below
//	GET    /_sandbox/calls     {total, mutating, accounts: {cloud account id: {operation: n}}, recent: [...]}
//	DELETE /_sandbox/calls     starts counting anew
//	POST   /_sandbox/clock     {advance: "1h"} moves the sandbox's clock ahead -> {now}
//	POST   /_sandbox/keys      {account, permissions: [...]} -> {id, management_key}; {revoke: key}
//	POST   /_sandbox/backups   {account, cluster, fail_backups, fail_restores} so many of the next ones fail -> both, as they are then;
//	                           {account, backup or schedule or restore, status} gives one of them a status, see below
//	POST   /_sandbox/alerts    {account, cluster, type, severity, title, description} fires one, or resolves it with {..., resolved: true}
//	POST   /_sandbox/account   what an account may do, see below -> the same, as it is then
//	POST   /_sandbox/catalogue what the platform offers no more, see below
//	POST   /_sandbox/outside   a change by somebody else, see below
//	POST   /_sandbox/spelling  {unset, numeric_int64, snake_case, numeric_enums}, see Spelling
//
// A fault meets the calls of one account (a cloud account id; empty: any) and one operation (its
// Op.Name, such as ListClusters or list_clusters; empty: any), the given number of times (0: until
// deleted); the first that fits is taken. latency_ms is waited with every kind. Kinds that come
// before any work, and before the key is judged:
//
//	latency      waits latency_ms, then serves as usual
//	hang         answers nothing until the caller gives up
//	close        closes the connection without an answer
//	status       answers the given status with an error body of the API
//	retry_after  answers 429 (or status) with the given Retry-After header
//	html         answers a proxy's page, 502 or status
//	malformed    answers 200 with JSON that breaks off, complete as far as HTTP goes
//	huge         answers 200 with 100 MiB of JSON
//
// Kinds that come after the work was done:
//
//	truncated    answers half of the body under the whole one's Content-Length; without a body lost_answer
//	lost_answer  closes the connection instead of answering
//	half_page    leaves the second half of every list out, and the next page's token and the total with it
//	empty_list   leaves all items out, and those two
//
// Faults at random meet that share of the calls, from 0 (none) to 1, which no fault above meets: of the given kinds, or
// of all but half_page and empty_list, which look like the truth; latency waits up to latency_ms (500 when zero), status answers 500, 502, 503, 504, 429, 401 or 403. What the
// n-th call of an operation of an account meets follows from the seed alone.
//
// Calls are counted when they arrive, whatever becomes of them; those of accounts that do not exist
// under "".
//
// /_sandbox/backups counts backups that take their time, by hand or by schedule, and restores of the cluster's backups into whichever
// cluster; what is left out stays as it is. A status is one of BackupStatus, BackupScheduleStatus or BackupRestoreStatus, with or without
// its prefix: RUNNING ends in SUCCEEDED after 15 seconds, ACTIVE lets a schedule follow its cluster again, and UNKNOWN is for backups of hybrid
// clusters. All of it outlives the program.
//
// /_sandbox/alerts fires an alert of any type by its name, with or without CLUSTER_ALERT_TYPE_, at most one of each at a time; without severity
// (INFO, WARNING, CRITICAL) and words it has usual ones. It fires until it is resolved, and outlives the program.
//
// /_sandbox/account takes {account, quotas: {clusters, nodes, database_keys, free_clusters}, tier: "standard" or
// "premium", payment: "ok" or "missing", entitled: true or false}. What is left out stays as it is; all of it is kept in the state file.
//
// /_sandbox/catalogue takes {region_unavailable: {provider, region}, package_deactivated: {provider, name},
// release_end_of_life: version, restore: true}. restore puts back all that was taken away before, and is done
// first. Nothing of it outlives the program. When the default release ends, the newest that can still be had is the
// default.
//
// /_sandbox/outside takes {act, account, ...} and the API's own rules apply:
//
//	rename          {cluster, name}
//	labels          {cluster, labels: {key: value}} replaces all
//	scale           {cluster, nodes and/or package} package by name, such as mx4
//	upgrade         {cluster, version}
//	create_cluster  {name, cloud_provider, region, package, nodes, version} -> {cluster}; aws, eu-central-1, mx1, 1
//	delete_cluster  {cluster, delete_backups, at_once} at_once: gone without passing through DELETING
//	phase           {cluster, phase and/or reason} phase with or without CLUSTER_PHASE_; no rules apply
//	node_not_ready  {cluster, node, message}
//	create_key      {cluster, name, days} a database key of version 2 that ends then; 0 days: never -> {key}
//	delete_key      {cluster, key} by the id of a database key of either version
//	create_backup   {cluster, name, days} kept for so long; 0 days: for ever -> {backup}
//	rename_backup   {cluster, backup, name}
//	delete_backup   {cluster, backup} by its id
//	restore_backup  {cluster, backup}
//	create_cluster_from_backup {backup, name} -> {cluster}
//	create_schedule {cluster, name, schedule, days} -> {schedule}
//	update_schedule {cluster, schedule, cron, name, days} by its id; what is left out stays as it is
//	delete_schedule {cluster, schedule, delete_backups} by its id
//	revoke_key      {key} by the id of a management key
package sandbox
