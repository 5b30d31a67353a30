package cloudapi

import (
	"encoding/json"
	"time"
)

// Generation names one of the two API generations.
type Generation string

// The generations.
const (
	Current Generation = "current" // REST gateway of qdrant-cloud-public-api v0.173.0
	PAV1    Generation = "pa-v1"   // legacy "programmatic access" API 0.1.0; end announced for 2025-11-01
)

// Cluster is a cluster as either generation tells of it. What one does not tell is the zero
// value. Raw keeps the whole resource, so that nothing unknown is lost: as received but for
// insignificant space, and for what jsonb cannot hold (see DecodeCluster). Strings are at most
// 1,024 bytes of valid UTF-8 without NUL.
type Cluster struct {
	Generation Generation // that tells of it, and in whose shape Raw is

	ID        string
	AccountID string
	Name      string
	CreatedAt time.Time
	DeletedAt time.Time // marked for deletion

	CloudProvider       string // aws, gcp, azure, hybrid (pa/v1 "private" is mapped to hybrid)
	Region              string // for hybrid the id of the environment
	Labels              []Label
	CostAllocationLabel string

	Configuration Configuration
	State         State

	Raw json.RawMessage
}

// Label is a key with a value.
type Label struct{ Key, Value string }

// Configuration is what was asked of a cluster.
type Configuration struct {
	LastModifiedAt    time.Time
	Nodes             int
	Version           string
	PackageID         string
	AdditionalDiskGiB int
	AllowedIPs        []string

	ReplicationFactor      int    // of new collections; 0: upstream's default
	WriteConsistencyFactor int    // of new collections; 0: upstream's default
	VectorsOnDisk          bool   // of new collections
	RestartPolicy          string // ROLLING, PARALLEL, AUTOMATIC; empty: upstream's default
	RebalanceStrategy      string // BY_COUNT, BY_SIZE, BY_COUNT_AND_SIZE, DISABLED; empty: upstream's default
	StorageTier            string // COST_OPTIMISED, BALANCED, PERFORMANCE; empty: not told

	// Settings lists everything in the configuration but what stands above the first empty line, flattened to dotted
	// names as the generation documents them (lowerCamel for the current API, snake_case for pa/v1)
	// and sorted by name; enums without their prefix. What is null, zero, false or empty is left out,
	// for the gateway may write unset members so. At most 500.
	Settings []Setting
}

// Setting is one flattened value of a configuration.
type Setting struct{ Name, Value string }

// State is what a cluster is like.
type State struct {
	Phase        Phase
	Reason       string
	Version      string // running
	NodesUp      int
	RestartedAt  time.Time
	EndpointURL  string
	RESTPort     int
	GRPCPort     int
	JWTRBAC      *bool // nil: not told
	Resources    []Resource
	Nodes        []Node
	Capabilities []Capability
}

// Resource is one resource of each node: ram and disk in GiB, cpu in cores.
type Resource struct {
	Name                                                 string // ram, cpu, disk, gpu, gpu_ram
	Unit                                                 string
	Base, Complimentary, Additional, Reserved, Available float64
}

// Node is one node of a cluster.
type Node struct {
	Name             string
	State            string // HEALTHY, STARTING, ... without the enum's prefix
	Version          string
	AvailabilityZone string
	EndpointURL      string
	StartedAt        time.Time
	NotReady         *NotReady
}

// NotReady says why a node is not.
type NotReady struct {
	Condition, ConditionMessage string
	Event, EventMessage         string
	Actions                     []string
}

// Capability is something upstream says a cluster can or cannot do now.
type Capability struct{ Name, Status, Reason string }

// Phase is a cluster's phase, upper case without the enum's prefix (HEALTHY). pa/v1's words are
// mapped onto the current API's; a word neither knows is kept as it came.
type Phase string

// Phases of ClusterPhase, and RESTARTING, RESTORING, BACKUP_RUNNING and FAILED_TO_* that only pa/v1 has.
const (
	PhaseCreating          Phase = "CREATING"
	PhaseFailedToCreate    Phase = "FAILED_TO_CREATE"
	PhaseUpdating          Phase = "UPDATING"
	PhaseFailedToUpdate    Phase = "FAILED_TO_UPDATE"
	PhaseScaling           Phase = "SCALING"
	PhaseUpgrading         Phase = "UPGRADING"
	PhaseSuspending        Phase = "SUSPENDING"
	PhaseSuspended         Phase = "SUSPENDED"
	PhaseFailedToSuspend   Phase = "FAILED_TO_SUSPEND"
	PhaseResuming          Phase = "RESUMING"
	PhaseFailedToResume    Phase = "FAILED_TO_RESUME"
	PhaseHealthy           Phase = "HEALTHY"
	PhaseNotReady          Phase = "NOT_READY"
	PhaseRecoveryMode      Phase = "RECOVERY_MODE"
	PhaseManualMaintenance Phase = "MANUAL_MAINTENANCE"
	PhaseFailedToSync      Phase = "FAILED_TO_SYNC"
	PhaseNotFound          Phase = "NOT_FOUND"
	PhaseDeleting          Phase = "DELETING"
	PhaseUnknown           Phase = "UNKNOWN"
	PhaseRestarting        Phase = "RESTARTING"
	PhaseFailedToRestart   Phase = "FAILED_TO_RESTART"
	PhaseRestoring         Phase = "RESTORING"
	PhaseFailedToRestore   Phase = "FAILED_TO_RESTORE"
	PhaseBackupRunning     Phase = "BACKUP_RUNNING"
	PhaseFailedToBackup    Phase = "FAILED_TO_BACKUP"
	PhaseFailedToScale     Phase = "FAILED_TO_SCALE"
	PhaseFailedToUpgrade   Phase = "FAILED_TO_UPGRADE"
)

// Moving reports whether a cluster in this phase is expected to leave it by itself soon.
func (p Phase) Moving() bool {
	switch p {
	case PhaseCreating, PhaseUpdating, PhaseScaling, PhaseUpgrading, PhaseSuspending, PhaseResuming,
		PhaseDeleting, PhaseRestarting, PhaseRestoring, PhaseBackupRunning:
		return true
	}
	return false
}

// Troubled reports whether a cluster in this phase is neither well nor on its way to something.
func (p Phase) Troubled() bool {
	return p != PhaseHealthy && p != PhaseSuspended && !p.Moving()
}

// ClusterPage is one page of a listing. Next is empty on the last one.
type ClusterPage struct {
	Clusters []Cluster
	// Unreadable are the items that are no cluster of a shape known here. They are there upstream all
	// the same: from their absence in Clusters nothing follows.
	Unreadable []UnreadableCluster
	Next       string
}

// UnreadableCluster is an item of a listing that could not be decoded.
type UnreadableCluster struct {
	ID     string // empty where it names none that is one
	Reason string // at most 300 runes, fit to be shown
}

// Account is an account as ListAccounts and GetAccount tell of it.
type Account struct {
	ID, Name, OwnerEmail string
	CreatedAt            time.Time
}

// ManagementKey is a management key as ListManagementKeys tells of it; never its secret.
type ManagementKey struct {
	ID, Prefix string
	CreatedAt  time.Time
}

// Package is a size of node that can be booked. RAM and disk in MiB, CPU in thousandths of a
// core, price in thousandths of a cent (millicents) a node and hour.
type Package struct {
	ID, Name, Type, Tier, Currency, Status string
	CPUMilli, RAMMiB, DiskMiB              int64
	GPUMilli, GPURAMMiB                    int64 // 0: none
	PricePerHourMillicents                 int64
	DiskPricePerHourMillicents             int64 // of one additional GiB on one node; 0: none can be added, or not told
	StorageTiers                           []StorageTier
	MultiAZ                                bool
}

// Deactivated reports whether the package cannot be booked any more. Clusters that have it keep it.
func (p Package) Deactivated() bool { return p.Status == "DEACTIVATED" }

// StorageTier is a speed of disk that a package can be booked with, and what it costs more a node and
// hour, in millicents.
type StorageTier struct {
	Name                   string // COST_OPTIMISED, BALANCED, PERFORMANCE
	PricePerHourMillicents int64
}

// Region is a region of a cloud provider.
type Region struct {
	ID, Name, Provider, Country string
	Available                   bool
	// StorageClasses and VolumeSnapshotClasses are those of a hybrid environment.
	StorageClasses, VolumeSnapshotClasses []string
}

// Provider is a cloud provider.
type Provider struct {
	ID, Name  string
	Available bool
}

// Release is a version of Qdrant that upstream knows.
type Release struct {
	Version, NotesURL, Remarks      string
	Default, EndOfLife, Unavailable bool
}
