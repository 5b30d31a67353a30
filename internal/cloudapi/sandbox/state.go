package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stateVersion is the layout of the state file.
const stateVersion = 1

// state is everything that changes.
type state struct {
	seed     int64
	offset   time.Duration // how far the clock was moved ahead
	accounts map[string]*account
}

// account is one Qdrant Cloud account with all it owns.
type account struct {
	id             string
	order          int // position in the seed
	fixture        *Fixture
	resource       msg // account.v1.Account
	quotas         quotas
	tier           enumValue // of the packages that are listed when none is asked for
	paymentMissing bool      // what costs more is refused
	notEntitled    bool      // may look but not act
	clusters       map[string]*cluster
	managementKeys map[string]*managementKey
	keysV1         map[string]msg // cluster.auth.v1.DatabaseApiKey
	keysV2         map[string]msg // cluster.auth.v2.DatabaseApiKey
	settled        time.Time      // up to when schedules have made their backups
	backups        []*backup      // the oldest first
	schedules      []*schedule
	restores       []*restore
	failing        map[failure]bool // while it is being settled
	invites        map[string]msg   // account.v1.AccountInvite
	roles          map[string]msg   // iam.v1.Role
	users          map[string]msg   // iam.v1.User
	userRoles      map[string][]string
	ownerID        string
	environments   map[string]msg // platform.v1.CloudProviderRegion of hybrid
}

// maxNodes is more than any quota gives a cluster.
const maxNodes = 1000

// quotas bound what an account may have.
type quotas struct {
	Clusters     int `json:"clusters"`
	Nodes        int `json:"nodes"`
	DatabaseKeys int `json:"database_keys"`
	FreeClusters int `json:"free_clusters"`
}

// managementKey is a key of an account. Its secret is not kept, only a hash.
type managementKey struct {
	ID          string    `json:"id"`
	AccountID   string    `json:"account_id"`
	CreatedAt   time.Time `json:"created_at"`
	Prefix      string    `json:"prefix"`
	Hash        string    `json:"hash"`
	Permissions []string  `json:"permissions"`
}

func hashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// newManagementKey returns the record of a secret.
func newManagementKey(account, id, secret string, at time.Time, permissions []string) *managementKey {
	return &managementKey{
		ID: id, AccountID: account, CreatedAt: at, Prefix: secret[:12], Hash: hashKey(secret), Permissions: permissions,
	}
}

// stateFile is the layout on disk. Protobuf messages are stored as their JSON.
type stateFile struct {
	Version  int           `json:"version"`
	Seed     int64         `json:"seed"`
	Offset   time.Duration `json:"offset_ns"`
	Accounts []accountFile `json:"accounts"`
}

type accountFile struct {
	ID             string                     `json:"id"`
	Order          int                        `json:"order"`
	Fixture        *fixtureFile               `json:"fixture,omitempty"`
	Resource       json.RawMessage            `json:"resource"`
	Quotas         quotas                     `json:"quotas"`
	Tier           enumValue                  `json:"tier,omitempty"` // 0, as in older files: standard
	PaymentMissing bool                       `json:"payment_missing,omitempty"`
	NotEntitled    bool                       `json:"not_entitled,omitempty"`
	Clusters       []clusterFile              `json:"clusters"`
	ManagementKeys []*managementKey           `json:"management_keys"`
	Messages       map[string]json.RawMessage `json:"messages"` // lists by kind
	Settled        time.Time                  `json:"settled,omitzero"`
	Backups        []backupFile               `json:"backups,omitempty"`
	Schedules      []scheduleFile             `json:"schedules,omitempty"`
	Restores       []restoreFile              `json:"restores,omitempty"`
	UserRoles      map[string][]string        `json:"user_roles"`
	OwnerID        string                     `json:"owner_id"`
}

// fixtureFile is a Fixture without its key, which is derived from the seed.
type fixtureFile struct {
	Name        string `json:"name"`
	Generation  string `json:"generation"`
	Environment string `json:"environment"`
	Registered  bool   `json:"registered"`
	Spare       bool   `json:"spare"`
}

type clusterFile struct {
	ID          string                  `json:"id"`
	CreatedAt   time.Time               `json:"created_at"`
	DeletedAt   time.Time               `json:"deleted_at"`
	Spec        json.RawMessage         `json:"spec"`
	Phase       int32                   `json:"phase"`
	Reason      string                  `json:"reason,omitempty"`
	Since       time.Time               `json:"since"`
	Until       time.Time               `json:"until"`
	Restarting  bool                    `json:"restarting,omitempty"`
	DropsData   bool                    `json:"drops_data,omitempty"`
	Running     running                 `json:"running"`
	RestartedAt time.Time               `json:"restarted_at"`
	NodesSince  time.Time               `json:"nodes_since"`
	Ailed       ailment                 `json:"ailed,omitzero"`
	Ailing      time.Time               `json:"ailing,omitzero"`
	Past        []span                  `json:"past,omitempty"`
	JWT         bool                    `json:"jwt,omitempty"`
	FailBackups int                     `json:"fail_backups,omitempty"`
	FailRestore int                     `json:"fail_restores,omitempty"`
	Fired       []firedAlert            `json:"fired,omitempty"`
	Sick        map[int]json.RawMessage `json:"sick,omitempty"`
}

// collection is one of an account's maps of messages, by its name in the state file.
type collection struct {
	name, message string
	items         *map[string]msg
}

func (a *account) collections() []collection {
	return []collection{
		{"keys_v1", "cluster.auth.v1.DatabaseApiKey", &a.keysV1},
		{"keys_v2", "cluster.auth.v2.DatabaseApiKey", &a.keysV2},
		{"invites", "account.v1.AccountInvite", &a.invites},
		{"roles", "iam.v1.Role", &a.roles},
		{"users", "iam.v1.User", &a.users},
		{"environments", "platform.v1.CloudProviderRegion", &a.environments},
	}
}

// ordered returns the values of a map in the order of creation, then id, which every listing has.
func ordered(items map[string]msg) []msg {
	out := make([]msg, 0, len(items))
	for _, m := range items {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b msg) int {
		return cmp.Or(a.when("created_at").Compare(b.when("created_at")), cmp.Compare(a.str("id"), b.str("id")))
	})
	return out
}

// anys turns messages into a repeated field.
func anys(messages []msg) []any {
	out := make([]any, len(messages))
	for i, m := range messages {
		out[i] = m
	}
	return out
}

// errNoState says that there is no state file yet: the ordinary first start.
var errNoState = errors.New("no state yet")

// load reads the state file.
func (s *Sandbox) load() (*state, error) {
	if s.cfg.StatePath == "" {
		return nil, errNoState
	}
	data, err := os.ReadFile(s.cfg.StatePath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoState
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's state: %w", err)
	}
	st, err := s.decodeState(data)
	if err != nil {
		return nil, fmt.Errorf("the sandbox's state file %s is damaged, remove it to begin anew: %w", s.cfg.StatePath, err)
	}
	return st, nil
}

// lockState keeps every other sandbox, in this process or another, from the state file until the lock
// is closed; the system does that for a process that is killed. It clears away what such a one left.
func lockState(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the sandbox's state: %w", err)
	}
	switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("another sandbox uses the state file %s", path), lock.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("locking the sandbox's state: %w", err), lock.Close())
	}
	dir, prefix := filepath.Dir(path), halfWritten(path)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("clearing the folder of the sandbox's state: %w", err), lock.Close())
	}
	return lock, nil
}

// halfWritten is what the names of files begin with that are not yet the state file.
func halfWritten(path string) string { return "." + filepath.Base(path) + "-" }

// save writes the state file in one step: a reader sees the old or the new one, whole. The
// caller holds the lock.
func (s *Sandbox) save() error {
	if s.cfg.StatePath == "" || !s.dirty {
		return nil
	}
	data, err := s.encodeState()
	if err != nil {
		return fmt.Errorf("saving the sandbox's state: %w", err)
	}
	if err := writeWhole(s.cfg.StatePath, data); err != nil {
		return fmt.Errorf("saving the sandbox's state: %w", err)
	}
	s.dirty = false
	return nil
}

func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), halfWritten(path)+"*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

func (s *Sandbox) encodeMessage(name string, m msg) json.RawMessage {
	return s.schema.messages[name].appendJSON(nil, m, Spelling{})
}

func (s *Sandbox) decodeMessage(name string, data []byte) (msg, error) {
	doc, err := readJSON(data)
	if err != nil {
		return nil, err
	}
	return s.schema.messages[name].fromJSON(doc)
}

func (s *Sandbox) encodeState() ([]byte, error) {
	file := stateFile{Version: stateVersion, Seed: s.state.seed, Offset: s.state.offset}
	for _, a := range s.state.accounts {
		file.Accounts = append(file.Accounts, s.encodeAccount(a))
	}
	slices.SortFunc(file.Accounts, func(a, b accountFile) int { return cmp.Compare(a.Order, b.Order) })
	return json.Marshal(file)
}

func (s *Sandbox) encodeAccount(a *account) accountFile {
	out := accountFile{
		ID: a.id, Order: a.order, Resource: s.encodeMessage("account.v1.Account", a.resource), Quotas: a.quotas, Tier: a.tier,
		PaymentMissing: a.paymentMissing, NotEntitled: a.notEntitled,
		Messages: map[string]json.RawMessage{}, UserRoles: a.userRoles, OwnerID: a.ownerID,
	}
	if f := a.fixture; f != nil {
		out.Fixture = &fixtureFile{f.Name, f.Generation, f.Environment, f.Registered, f.Spare}
	}
	for _, k := range a.managementKeys {
		out.ManagementKeys = append(out.ManagementKeys, k)
	}
	for _, c := range a.clusters {
		cf := clusterFile{
			ID: c.id, CreatedAt: c.createdAt, DeletedAt: c.deletedAt, Spec: s.encodeMessage("cluster.v1.Cluster", c.spec),
			Phase: int32(c.phase), Reason: c.reason, Since: c.since, Until: c.until, Restarting: c.restarting, DropsData: c.dropsData,
			Running: c.running, RestartedAt: c.restartedAt, NodesSince: c.nodesSince, JWT: c.jwt, Ailed: c.ailed, Ailing: c.ailing, Past: c.past,
			FailBackups: c.failBackups, FailRestore: c.failRestores, Fired: c.fired,
		}
		for i, info := range c.sick {
			if cf.Sick == nil {
				cf.Sick = map[int]json.RawMessage{}
			}
			cf.Sick[i] = s.encodeMessage("cluster.v1.ClusterNodeNotReadyInfo", info)
		}
		out.Clusters = append(out.Clusters, cf)
	}
	s.encodeBackups(a, &out)
	for _, col := range a.collections() {
		list := []byte{'['}
		for i, m := range ordered(*col.items) {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, s.encodeMessage(col.message, m)...)
		}
		out.Messages[col.name] = append(list, ']')
	}
	return out
}

func (s *Sandbox) decodeState(data []byte) (*state, error) {
	var file stateFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Version != stateVersion {
		return nil, fmt.Errorf("layout %d, this program knows %d", file.Version, stateVersion)
	}
	st := &state{seed: file.Seed, offset: file.Offset, accounts: map[string]*account{}}
	for _, af := range file.Accounts {
		a, err := s.decodeAccount(af, file.Seed, s.cfg.Now().UTC().Add(file.Offset))
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", af.ID, err)
		}
		st.accounts[a.id] = a
	}
	return st, nil
}

func (s *Sandbox) decodeAccount(af accountFile, seed int64, now time.Time) (*account, error) {
	if !isUUID(af.ID) {
		return nil, errors.New("its id is no UUID")
	}
	a := &account{
		id: af.ID, order: af.Order, quotas: af.Quotas, paymentMissing: af.PaymentMissing, notEntitled: af.NotEntitled, clusters: map[string]*cluster{}, managementKeys: map[string]*managementKey{},
		userRoles: af.UserRoles, ownerID: af.OwnerID, tier: max(af.Tier, tierStandard),
	}
	if f := af.Fixture; f != nil {
		a.fixture = &Fixture{f.Name, f.Generation, af.ID, fixtureKey(seed, af.ID), f.Environment, f.Registered, f.Spare}
	}
	var err error
	if a.resource, err = s.decodeMessage("account.v1.Account", af.Resource); err != nil {
		return nil, err
	}
	for _, k := range af.ManagementKeys {
		if k == nil || k.AccountID != af.ID {
			return nil, errors.New("a management key is not its own")
		}
		a.managementKeys[k.ID] = k
	}
	for _, cf := range af.Clusters {
		c, err := s.decodeCluster(cf)
		if err != nil {
			return nil, fmt.Errorf("cluster %q: %w", cf.ID, err)
		}
		a.clusters[c.id] = c
	}
	if err := s.decodeBackups(a, af, now); err != nil {
		return nil, err
	}
	for _, col := range a.collections() {
		*col.items = map[string]msg{}
		var list []json.RawMessage
		if raw, ok := af.Messages[col.name]; ok {
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, fmt.Errorf("%s: %w", col.name, err)
			}
		}
		for _, raw := range list {
			m, err := s.decodeMessage(col.message, raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", col.name, err)
			}
			(*col.items)[m.str("id")] = m
		}
	}
	return a, nil
}

func (s *Sandbox) decodeCluster(cf clusterFile) (*cluster, error) {
	if !isUUID(cf.ID) {
		return nil, errors.New("its id is no UUID")
	}
	if cf.Running.Nodes < 0 || cf.Running.Nodes > maxNodes {
		return nil, fmt.Errorf("%d nodes are running", cf.Running.Nodes)
	}
	spec, err := s.decodeMessage("cluster.v1.Cluster", cf.Spec)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		id: cf.ID, createdAt: cf.CreatedAt, deletedAt: cf.DeletedAt, spec: spec, phase: enumValue(cf.Phase), reason: cf.Reason,
		since: cf.Since, until: cf.Until, restarting: cf.Restarting, dropsData: cf.DropsData, running: cf.Running,
		restartedAt: cf.RestartedAt, nodesSince: cf.NodesSince, jwt: cf.JWT, ailed: cf.Ailed, ailing: cf.Ailing, past: cf.Past,
		failBackups: cf.FailBackups, failRestores: cf.FailRestore, fired: cf.Fired,
	}
	for i, raw := range cf.Sick {
		info, err := s.decodeMessage("cluster.v1.ClusterNodeNotReadyInfo", raw)
		if err != nil {
			return nil, err
		}
		if c.sick == nil {
			c.sick = map[int]msg{}
		}
		c.sick[i] = info
	}
	return c, nil
}
