package audit

import (
	"time"

	"github.com/google/uuid"
)

// Via says through which door an actor came.
type Via string

// The doors.
const (
	ViaBrowser Via = "browser" // a member in a browser
	ViaToken   Via = "token"   // a program with a token of a member
	ViaJob     Via = "job"     // the console itself, in the background
	ViaCLI     Via = "cli"     // the command line where the console runs
)

// Actor is who acts, from where, in which request. It is an explicit argument of every domain
// method, built in one place from the session of the request, and never from a form.
type Actor struct {
	Issuer  string // of the identity provider; "quartermaster" for jobs and the command line
	Subject string
	Name    string
	Email   string
	// EmailVerified is set when the identity provider vouches for Email. Without it the e-mail, like
	// Name, is what somebody said of themselves: only issuer and subject tell people apart.
	EmailVerified bool

	Roles   []string // names of the roles held at the time, for the record only
	Session string   // hash of the session token, hex; never the token
	Via     Via

	IP        string
	UserAgent string
	RequestID string

	// What follows decides rights and is not recorded.

	Groups     []string
	SignedInAt time.Time // at the identity provider; zero when that is not known
}

// Phase is the part of an operation that an event tells of.
type Phase string

// The phases. An operation is an attempt followed by one outcome, perhaps by settled; or it is
// a single event.
const (
	PhaseAttempt Phase = "attempt" // written before upstream is called, with what is intended
	PhaseOutcome Phase = "outcome" // upstream's answer to the call
	PhaseSettled Phase = "settled" // long work reached its end, as the poller saw it
	PhaseSingle  Phase = "single"  // all there is to say, in one event
)

// Outcome is how an operation ended. Attempts have none.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // it was done
	Failed  Outcome = "failed"  // it was tried and not done; reason says why
	Denied  Outcome = "denied"  // the member lacks the right; nothing was tried
	Unknown Outcome = "unknown" // the answer was lost and upstream does not tell
)

// Change is what an operation did to its target: for each field the value before and the value
// after. Values are JSON scalars or lists of them; a changed secret is recorded as Redacted on
// both sides.
type Change map[string][2]any

// Names is a list of names in a Change of which as many are recorded as fit in 40 KiB, where other
// lists end at 200 values. Record their number beside it: a list that was cut ends with a mark only.
type Names []string

// Redacted stands for the value of a secret in a Change.
const Redacted = "[changed]"

// Ref is an id and the name it had at the time. There is no foreign key behind it: the log
// outlives the rows it tells of.
type Ref struct {
	ID   string
	Name string
}

// Target is what an operation was done to.
type Target struct {
	Kind string // account, cluster, management_key, session, audit, ...
	ID   string
	Name string
}

// Upstream is what the Cloud API answered.
type Upstream struct {
	RPC       string // e.g. qdrant.cloud.cluster.v1.ClusterService/RestartCluster, or pa/v1 and its operation
	KeyID     string // our id of the management key that was used
	Status    int    // HTTP status; 0 when there was no answer
	TraceID   string
	LatencyMS int64
}

// Event is one line of the log. Build it with the fields that are known: Append and Record fill
// ID, Schema and At, and nothing in it can make them fail (see Encode).
type Event struct {
	ID        uuid.UUID
	Schema    int
	At        time.Time // when the console built it; recorded_at is the database's
	Act       string    // name of the act, e.g. cluster.delete
	Phase     Phase
	Outcome   Outcome
	Reason    string // of a refusal or failure, in words for people
	Count     int    // refusals and failures summed into this event; 0 and 1 mean one
	Inferred  bool   // found by the reconciler, not told by upstream's answer
	Operation uuid.UUID
	Parent    uuid.UUID
	Actor     Actor
	Account   Ref
	Target    Target
	Upstream  Upstream
	Change    Change
}
