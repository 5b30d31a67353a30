package accounts

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

// Environment is what an account is used for.
type Environment string

// The environments.
const (
	Production  Environment = "production"
	Staging     Environment = "staging"
	Development Environment = "development"
	Other       Environment = "other"
)

// Environments lists them in the order people expect.
var Environments = []Environment{Production, Staging, Development, Other}

// Account is a Qdrant Cloud account registered here.
type Account struct {
	ID             uuid.UUID
	Generation     cloudapi.Generation
	CloudAccountID string
	UpstreamName   string // as ListAccounts told it; empty for pa/v1
	OwnerEmail     string // upstream's owner; empty for pa/v1
	Name           string
	Environment    Environment
	Owner          string // who is responsible, as typed by the member who added it
	Note           string
	RotateBy       *time.Time
	Enabled        bool
	CreatedAt      time.Time
	CreatedBy      string
	Key            ManagementKey
	Sync           Sync
	Clusters       int // known and not gone; more than CountCap: so many at least; 0 for a member who may not see all of them
	// Hidden is set where the member sees clusters of the account, and may not open its own page.
	Hidden bool
}

// ManagementKey is what may be known of the key the console holds for an account.
type ManagementKey struct {
	ID          uuid.UUID
	Prefix      string   // first characters, enough to find it in Qdrant's own list
	Provenance  string   // pasted, minted
	Permissions []string // as ListEffectivePermissions told them; nil for pa/v1, which cannot tell
	ProbedAt    *time.Time
	AddedAt     time.Time
	AddedBy     string
	// UpstreamID is upstream's id, known of a key that was made here; else its prefix must do.
	UpstreamID string
	// Refused is upstream's reason when the last call was answered with unauthenticated or
	// forbidden; empty while the key works.
	Refused string
}

// May reports whether the key is known to hold the upstream permission. For pa/v1, where nothing
// is known, it is true.
func (k ManagementKey) May(permission string) bool {
	if k.Permissions == nil {
		return true
	}
	for _, p := range k.Permissions {
		if p == permission {
			return true
		}
	}
	return false
}

// Sync is how fresh the snapshot of an account is.
type Sync struct {
	OKAt     *time.Time // last complete refresh
	FailedAt *time.Time // last failure, when later than OKAt
	Error    string     // in words for people: why the last refresh failed, or what it could not read; empty when it went well
	Stale    bool       // the last refresh failed, or none has succeeded for three intervals, or the account is disabled
	Vanished int        // more than half of the clusters were missing at once: that many, and nothing is concluded
}

// NewAccount is what a member gives to register an account.
type NewAccount struct {
	Generation     cloudapi.Generation
	Key            cloudapi.Secret
	CloudAccountID string // required for pa/v1; for the current API only to choose among several
	Name           string // empty: upstream's name
	Environment    Environment
	Owner          string
	Note           string
	RotateBy       string // date, 2006-01-02, or empty
	FormToken      string
}

// AccountRemoval says how to remove an account.
type AccountRemoval struct {
	Confirm           string // must equal the account's name
	DeleteKeyUpstream bool
}

// CloudAccount is an account a pasted key opens.
type CloudAccount struct{ ID, Name string }

// Offer says whether an act is offered on a target to this member now, and if not, why.
type Offer struct {
	Act     string
	Offered bool
	Reason  string // in words for people; empty when offered
	StepUp  bool   // the member has to sign in anew first; of account.edit: before the environment is changed
}

// AccountDetail is the account page.
type AccountDetail struct {
	Account
	Offers   map[string]Offer // by act, for the acts on an account and cluster.create
	NotAble  []string         // upstream permissions the key lacks among those the console uses
	Legacy   bool
	OldKeys  []OldKey     // not in use, and valid upstream as far as is known
	Snapshot []ClusterRow // first clusters, by name
}

// ClusterRef names a cluster.
type ClusterRef struct {
	AccountID uuid.UUID
	ClusterID string
}

// ClusterRow is one row of the fleet.
type ClusterRow struct {
	AccountID   uuid.UUID
	AccountName string
	Environment Environment
	Generation  cloudapi.Generation
	ClusterID   string
	Name        string
	Phase       cloudapi.Phase
	Reason      string
	Cloud       string
	Region      string
	Version     string
	NodesUp     int
	Nodes       int
	Package     string
	RAMMiB      int64 // a node
	CPUMilli    int64 // a node
	DiskMiB     int64 // a node
	CreatedAt   *time.Time
	SeenAt      time.Time
	Stale       bool
	GoneAt      *time.Time // when upstream was found not to know it any more; nil: it does
}

// FleetQuery is what /clusters may be asked. Zero values do not filter.
type FleetQuery struct {
	Text        string
	Account     string // our id
	Environment string
	Phase       string
	Cloud       string
	Region      string
	Version     string
	Sort        string // name (default), account, environment, phase, cloud, region, version, nodes, package, created
	Dir         string // asc (default), desc
	After       string // opaque, from FleetPage.Next; ErrBadCursor when it is not
	Limit       int    // 0: 100
}

// FleetPage is one page of the fleet.
type FleetPage struct {
	Rows     []ClusterRow
	Next     string    // empty on the last page
	Total    int       // clusters that match, all pages; more than CountCap: so many at least
	All      int       // clusters the member may see at all; as above
	Accounts []Account // without their keys; their clusters are counted where there are few accounts
	// Gone are those that match and that upstream does not know any more, the latest first, on the first page only;
	// GoneMore is how many more there are, up to CountCap.
	Gone     []ClusterRow
	GoneMore int
	Choices  FleetChoices
	// SlowSearch says, to those who may mend it, why a text search reads every cluster; empty when it
	// has an index or there is none to say it to.
	SlowSearch string
}

// FleetChoices are the values that occur in what the member may see.
type FleetChoices struct {
	Environments, Phases, Clouds, Regions, Versions []string
}

// ClusterDetail is the cluster page.
type ClusterDetail struct {
	Account Account
	Cluster cloudapi.Cluster
	Row     ClusterRow
	Offers  map[string]Offer // by act, for the acts on a cluster
	Backups Offer            // whether a deletion may delete the backups, too
	Pending []PendingAct     // acts whose outcome is not known yet
	SeenAt  time.Time
	Gone    bool
	// ShownUntil is until when a cluster that is gone is shown.
	ShownUntil time.Time
}

// PendingAct is an operation without an outcome.
type PendingAct struct {
	Act     string
	By      string
	Since   time.Time
	Unknown bool // open for longer than QM_AUDIT_UNKNOWN_AFTER
}

// ClusterDeletion says how to delete a cluster. DeleteBackups must be chosen.
type ClusterDeletion struct {
	Confirm       string // must equal the cluster's name
	DeleteBackups *bool
}

// Identity is what the identity provider vouched for at a sign-in.
type Identity struct {
	Issuer, Subject, Name, Email string
	EmailVerified                bool
	Groups                       []string   // as received, in their order
	Reading                      Reading    // how they were read
	AuthTime                     *time.Time // when they signed in there; nil when the provider did not tell
	// Prompted is set when the provider told no time, was asked to have the member sign in anew, and
	// AuthTime is therefore when it made its answer.
	Prompted bool
	IssuedAt time.Time // of the provider's answer
	SID      string
	IDToken  string // kept sealed for the logout request
	Claims   map[string]string
}

// Session is a signed-in browser.
type Session struct {
	ID          uuid.UUID
	Issuer      string
	Subject     string
	Name        string
	Email       string
	Groups      []string
	Roles       []string // names of the roles that configuration gives
	AuthTime    *time.Time
	Prompted    bool // AuthTime is when the provider answered a request to sign in anew; it tells no other time
	CreatedAt   time.Time
	LastSeenAt  time.Time
	ExpiresAt   time.Time
	IP          string
	UserAgent   string
	Current     bool
	Overage     bool     // the member is in groups that were not read
	Reading     Reading  // how the ID token was read
	Permissions []string // sorted, all the member holds
	Claims      map[string]string
}

// Errors that callers branch on. The web's error table turns each into a status and words.
var (
	ErrNotFound         = errors.New("not found")
	ErrNoSession        = errors.New("no session")
	ErrAuditUnavailable = errors.New("the audit log cannot be written")
	ErrUnavailable      = errors.New("the database cannot be reached")
	ErrBadCursor        = errors.New("bad cursor")
	ErrRateLimited      = errors.New("too many requests")
	ErrBlocked          = errors.New("the member is blocked")
)

// ForbiddenError is a refusal on a target that the actor may read. Reason says more, in a sentence; it is
// often empty. Field is the form field that the refusal is about, where another value of it would be allowed.
type ForbiddenError struct{ Act, Missing, Reason, Field string }

func (e *ForbiddenError) Error() string { return fmt.Sprintf("%s needs %s", e.Act, e.Missing) }

// InvalidError is input that breaks a rule. Fields is by form field; "" is the form itself.
type InvalidError struct{ Fields map[string]string }

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid input in %d fields", len(e.Fields))
}

// BeforeLogError says that a moment was asked about which lies before the log begins, so that nothing is known of it.
type BeforeLogError struct{ Begins time.Time }

func (e *BeforeLogError) Error() string {
	return "the log begins at " + e.Begins.UTC().Format(time.RFC3339)
}

// ChooseAccountError says that the pasted key opens several accounts and none was chosen.
type ChooseAccountError struct{ Accounts []CloudAccount }

func (e *ChooseAccountError) Error() string { return "the key opens several accounts" }

// ConflictError is an act that the target's present state does not allow, or not offered there.
type ConflictError struct{ Reason string }

func (e *ConflictError) Error() string { return e.Reason }
