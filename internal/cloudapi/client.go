package cloudapi

import (
	"context"
	"net/url"
	"time"
)

// Client is the one shared client for both generations.
type Client struct{}

// Op is one operation of the Cloud API: the wire binding, and what upstream asks of the caller.
type Op struct {
	Name       string // RestartCluster; for pa/v1 the operationId, list_clusters; unique in its generation
	RPC        string // qdrant.cloud.cluster.v1.ClusterService/RestartCluster; pa/v1/list_clusters
	Generation Generation
	Method     string
	Path       string // with {placeholders} as in the specification
	// Permissions are upstream's; all are needed, or any one when AnyPermission is set. Empty: any
	// authenticated caller.
	Permissions   []string
	AnyPermission bool
	UserOnly      bool // a management key is refused
	Public        bool // no authentication at all
	Body          bool // takes a JSON body; without it every field is in the path or the query
	Mutates       bool
}

// Conn is one account's access to the API with one key, for one request of ours.
type Conn struct{}

// ConnConfig names account and key.
type ConnConfig struct {
	Generation     Generation
	CloudAccountID string // empty only while a pasted key is being identified
	Key            Secret
	RequestID      string // travels in the User-Agent
	// Budget names the account's limiter; our account id, or empty for none.
	Budget string
}

// Connect returns a Conn. It does not call upstream.
func (c *Client) Connect(cfg ConnConfig) *Conn { panic("stub") }

// Params fill a path's placeholders; the account id is filled in by Conn.
type Params map[string]string

// Answer is what upstream said.
type Answer struct {
	Status  int
	Body    []byte
	TraceID string
	Latency time.Duration
}

// Call is one call that a Conn made.
type Call struct {
	Op Op
	Answer
	Err error
}

// Do calls one operation. It returns *Error for everything that upstream or the network refused,
// with the Answer as far as there was one.
func (c *Conn) Do(ctx context.Context, op Op, params Params, query url.Values, body any) (Answer, error) {
	panic("stub")
}

// Calls returns the calls made so far, oldest first.
func (c *Conn) Calls() []Call { panic("stub") }
