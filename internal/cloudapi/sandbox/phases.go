package sandbox

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Numbers of ClusterPhase.
const (
	phaseCreating          enumValue = 1
	phaseFailedToCreate    enumValue = 2
	phaseUpdating          enumValue = 3
	phaseFailedToUpdate    enumValue = 4
	phaseScaling           enumValue = 5
	phaseUpgrading         enumValue = 6
	phaseSuspending        enumValue = 7
	phaseSuspended         enumValue = 8
	phaseFailedToSuspend   enumValue = 9
	phaseResuming          enumValue = 10
	phaseFailedToResume    enumValue = 11
	phaseHealthy           enumValue = 12
	phaseNotReady          enumValue = 13
	phaseRecoveryMode      enumValue = 14
	phaseManualMaintenance enumValue = 15
	phaseFailedToSync      enumValue = 16
	phaseNotFound          enumValue = 17
	phaseDeleting          enumValue = 18
	phaseUnknown           enumValue = 19
)

// phaseNames are the names of ClusterPhase without their prefix, by number.
func phaseNames() []string {
	return []string{
		"UNSPECIFIED", "CREATING", "FAILED_TO_CREATE", "UPDATING", "FAILED_TO_UPDATE", "SCALING", "UPGRADING", "SUSPENDING", "SUSPENDED",
		"FAILED_TO_SUSPEND", "RESUMING", "FAILED_TO_RESUME", "HEALTHY", "NOT_READY", "RECOVERY_MODE", "MANUAL_MAINTENANCE", "FAILED_TO_SYNC",
		"NOT_FOUND", "DELETING", "UNKNOWN",
	}
}

func phaseName(p enumValue) string {
	if names := phaseNames(); int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprint(int(p))
}

// phaseNumber is the number of a phase by its name with or without CLUSTER_PHASE_.
func phaseNumber(name string) (enumValue, bool) {
	i := slices.Index(phaseNames(), strings.TrimPrefix(name, "CLUSTER_PHASE_"))
	return enumValue(i), i > 0
}

// Numbers of ClusterNodeState.
const (
	nodeStarting   enumValue = 1
	nodeHealthy    enumValue = 2
	nodeUnhealthy  enumValue = 3
	nodeSuspended  enumValue = 4
	nodeRecovering enumValue = 5
)

// cluster is one cluster: what was asked for, and where it is on the way there. Its state is
// computed from the clock when somebody looks; nothing runs in between.
type cluster struct {
	id        string
	createdAt time.Time
	deletedAt time.Time
	spec      msg // cluster.v1.Cluster without id, account and state

	phase      enumValue
	reason     string
	since      time.Time // when phase began
	until      time.Time // when it ends by itself; zero: it stays
	restarting bool      // phase is UPDATING because of RestartCluster
	dropsData  bool      // the deletion takes the backups along

	running     running
	restartedAt time.Time
	nodesSince  time.Time
	jwt         bool
	sick        map[int]msg // cluster.v1.ClusterNodeNotReadyInfo by node
	ailed       ailment     // the last trouble that is over
	ailing      time.Time   // when the present trouble began; zero: with the phase
	past        []span      // phases that are over, the oldest first, keptSpans of them

	restore                   *restore // what the present phase restores; nil: nothing
	failBackups, failRestores int      // how many of the next ones shall fail
	fired                     []firedAlert
}

// running is what the nodes are like now, while spec is what they shall be like.
type running struct {
	Version string `json:"version"`
	Nodes   int    `json:"nodes"`
	Package string `json:"package"`
	DiskGiB int64  `json:"disk_gib"` // additional
}

func (c *cluster) config() msg      { return c.spec.sub("configuration") }
func (c *cluster) name() string     { return c.spec.str("name") }
func (c *cluster) provider() string { return c.spec.str("cloud_provider_id") }
func (c *cluster) region() string   { return c.spec.str("cloud_provider_region_id") }

// asked is what the specification wants to run.
func (c *cluster) asked() running {
	config := c.config()
	return running{
		Version: config.str("version"), Nodes: int(config.uint("number_of_nodes")),
		Package: config.str("package_id"), DiskGiB: int64(config.sub("additional_resources").uint("disk")),
	}
}

// between returns a duration from low to high that is the same for the same cluster.
func (c *cluster) between(low, high time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(c.id)) // a hash never fails
	return low + time.Duration(h.Sum32()%1000)*(high-low)/1000
}

// usual is how long a phase lasts at time scale 1.
func (c *cluster) usual(phase enumValue, restarting bool) time.Duration {
	nodes := time.Duration(max(c.running.Nodes, 1))
	switch phase {
	case phaseCreating:
		return c.between(20*time.Second, 40*time.Second)
	case phaseScaling:
		return c.between(20*time.Second, 35*time.Second)
	case phaseUpgrading:
		return 5*time.Second + nodes*6*time.Second
	case phaseSuspending:
		return c.between(6*time.Second, 12*time.Second)
	case phaseResuming:
		return c.between(12*time.Second, 20*time.Second)
	case phaseDeleting:
		return c.between(8*time.Second, 15*time.Second)
	case phaseUpdating:
		if restarting {
			return 4*time.Second + nodes*4*time.Second
		}
		return c.between(5*time.Second, 10*time.Second)
	}
	return 0
}

// silent reports whether the agent of a hybrid cluster has not reported for so long that nothing is known of it: then deletions wait for
// the agent.
func (c *cluster) silent() bool {
	return c.provider() == providerHybrid && (c.phase == phaseUnknown || c.phase == phaseDeleting && c.until.IsZero())
}

// enter begins a phase at now; moving phases end after their usual time.
func (c *cluster) enter(phase enumValue, reason string, now time.Time, scale float64) {
	began := c.ailsSince()
	switch was, is := troubles[c.phase].alert, troubles[phase].alert; {
	case is == 0:
		began = time.Time{}
	case is != was:
		began = now
	}
	if was := troubles[c.phase].alert; was != 0 && was != troubles[phase].alert {
		c.ailed = ailment{Phase: int32(c.phase), Since: c.ailsSince(), Until: now}
	}
	c.ailing = began
	c.leave(now)
	c.breakRestore(now)
	c.phase, c.reason, c.since, c.until, c.restarting = phase, reason, now, time.Time{}, false
	c.lasts(now, scale)
}

// span is a phase that is over, with what the nodes were like in it.
type span struct {
	Phase   enumValue `json:"phase"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason,omitempty"`
	Version string    `json:"version"`
	Nodes   int       `json:"nodes"`
	Sick    []int     `json:"sick,omitempty"`      // nodes that were not ready
	Memory  bool      `json:"no_memory,omitempty"` // one of them had run out of memory
}

// present is the present phase as if it were over at a moment.
func (c *cluster) present(until time.Time) span {
	s := span{Phase: c.phase, Since: c.since, Until: until, Reason: c.reason, Version: c.running.Version, Nodes: c.running.Nodes}
	for node, info := range c.sick {
		s.Sick = append(s.Sick, node)
		s.Memory = s.Memory || info.enum("event") == eventOutOfMemory
	}
	slices.Sort(s.Sick)
	return s
}

// eventOutOfMemory is the number of the event of a node that ran out of memory.
const eventOutOfMemory enumValue = 1

// keptSpans is how many phases that are over a cluster remembers for its logs.
const keptSpans = 40

// leave remembers the present phase, which ends at a moment.
func (c *cluster) leave(at time.Time) {
	if c.phase == 0 || !at.After(c.since) {
		return
	}
	if len(c.past) == keptSpans {
		c.past = slices.Delete(c.past, 0, 1)
	}
	c.past = append(c.past, c.present(at))
}

// breakRestore ends a restore that is running: it failed.
func (c *cluster) breakRestore(now time.Time) {
	if x := c.restore; x != nil && now.Before(x.ends) {
		x.ends, x.status = now, restoreFailed
	}
	c.restore = nil
}

// lasts sets the end of the present phase.
func (c *cluster) lasts(now time.Time, scale float64) {
	if d := c.usual(c.phase, c.restarting); d > 0 {
		c.until = now.Add(time.Duration(float64(d) / scale))
	}
}

// settle brings the cluster up to now and reports whether it still exists.
func (c *cluster) settle(now time.Time) bool {
	if c.until.IsZero() || now.Before(c.until) {
		return true
	}
	if c.phase == phaseDeleting {
		return false
	}
	at := c.until
	c.leave(at)
	if c.phase != phaseSuspending {
		if c.phase != phaseUpdating || c.restarting {
			c.nodesSince = at
		}
		c.running = c.asked()
	}
	c.phase, c.reason = c.next()
	c.since, c.until, c.restarting, c.restore = at, time.Time{}, false, nil
	return true
}

// next is the phase that the present one ends in by itself, with its reason.
func (c *cluster) next() (phase enumValue, reason string) {
	switch {
	case c.phase == phaseSuspending:
		return phaseSuspended, ""
	case c.phase == phaseUpdating && c.restore != nil && c.restore.status == restoreFailed:
		return phaseFailedToUpdate, restoreFailedReason
	case c.phase == phaseCreating && c.restore != nil && c.restore.status == restoreFailed:
		return phaseFailedToCreate, restoreFailedReason
	}
	return phaseHealthy, ""
}

// progress is how far the present phase has come, from 0 to 1.
func (c *cluster) progress(now time.Time) float64 {
	if c.until.IsZero() || !c.until.After(c.since) {
		return 1
	}
	p := float64(now.Sub(c.since)) / float64(c.until.Sub(c.since))
	return min(max(p, 0), 1)
}

// nodeView is one node as it is at a moment.
type nodeView struct {
	state   enumValue
	version string
	started time.Time
}

// nodes computes the nodes at now.
func (c *cluster) nodes(now time.Time) []nodeView {
	p, n := c.progress(now), c.running.Nodes
	asked := c.asked()
	out := make([]nodeView, 0, max(n, asked.Nodes))
	add := func(state enumValue, version string, started time.Time) {
		out = append(out, nodeView{state, version, started})
	}
	turn := int(p * float64(n)) // the node a rolling change is at
	turnOf := func(i int) time.Time {
		return c.since.Add(c.until.Sub(c.since) * time.Duration(i) / time.Duration(n)).Truncate(time.Millisecond)
	}
	switch c.phase {
	case phaseCreating:
		for i := range int(p * float64(asked.Nodes+1)) {
			state := nodeStarting
			if float64(i+1) <= p*float64(asked.Nodes) && i < asked.Nodes {
				state = nodeHealthy
			}
			if i < asked.Nodes {
				add(state, asked.Version, c.since)
			}
		}
	case phaseFailedToCreate, phaseNotFound:
	case phaseSuspending, phaseDeleting:
		for i := range n {
			state := nodeHealthy
			if i < turn && !c.silent() {
				state = nodeSuspended
			}
			add(state, c.running.Version, c.nodesSince)
		}
	case phaseSuspended, phaseFailedToResume:
		for range n {
			add(nodeSuspended, c.running.Version, time.Time{})
		}
	case phaseResuming:
		for i := range n {
			state := nodeStarting
			if i < turn {
				state = nodeHealthy
			}
			add(state, c.running.Version, c.since)
		}
	case phaseScaling:
		for i := range max(n, asked.Nodes) {
			switch {
			case i < n:
				add(nodeHealthy, c.running.Version, c.nodesSince)
			case float64(i-n) < p*float64(asked.Nodes-n+1):
				add(nodeStarting, c.running.Version, c.since)
			}
		}
	case phaseUpgrading, phaseUpdating:
		for i := range n {
			rolling := c.phase == phaseUpgrading || c.restarting
			switch {
			case rolling && i == turn:
				add(nodeStarting, c.running.Version, turnOf(i))
			case rolling && i < turn && c.phase == phaseUpgrading:
				add(nodeHealthy, asked.Version, turnOf(i))
			case rolling && i < turn:
				add(nodeHealthy, c.running.Version, turnOf(i))
			default:
				add(nodeHealthy, c.running.Version, c.nodesSince)
			}
		}
	case phaseRecoveryMode:
		for range n {
			add(nodeRecovering, c.running.Version, c.nodesSince)
		}
	default:
		for range n {
			add(nodeHealthy, c.running.Version, c.nodesSince)
		}
	}
	for i := range out {
		if c.sick[i] != nil && out[i].state != nodeSuspended {
			out[i].state = nodeUnhealthy
		}
	}
	return out
}

// host is the host name of a cluster, or of one node of it.
func (c *cluster) host(node int) string {
	name := c.id
	if node >= 0 {
		name = fmt.Sprintf("node-%d-%s", node, c.id)
	}
	if c.provider() == providerHybrid {
		return fmt.Sprintf("%s.%s.hybrid.cloud.qdrant.io", name, c.region()[:8])
	}
	return fmt.Sprintf("%s.%s.%s.cloud.qdrant.io", name, c.region(), c.provider())
}

// zone is the availability zone of a node: the nodes are spread over three.
func (c *cluster) zone(node int) string {
	letter := string(rune('a' + node%3))
	switch c.provider() {
	case providerGCP:
		return c.region() + "-" + letter
	case providerAzure:
		return c.region() + "-" + strconv.Itoa(1+node%3)
	}
	return c.region() + letter
}

func endpoint(host string) msg {
	return msg{"url": "https://" + host, "rest_port": int64(6333), "grpc_port": int64(6334)}
}

// state is the cluster.v1.ClusterState at now.
func (c *cluster) state(now time.Time, cat *catalogue) msg {
	views := c.nodes(now)
	size := cat.packages[c.running.Package]
	up := uint64(0)
	var nodes []any
	for i, v := range views {
		node := msg{
			"name": fmt.Sprintf("qdrant-%s-%d", c.id, i), "version": v.version, "endpoint": endpoint(c.host(i)), "state": v.state,
		}
		if !v.started.IsZero() {
			node["started_at"] = v.started
		}
		if size != nil && size.multiAZ {
			node["availability_zone"] = c.zone(i)
		}
		if info := c.sick[i]; info != nil && v.state == nodeUnhealthy {
			node["not_ready_info"] = info
		}
		if v.state == nodeHealthy {
			up++
		}
		nodes = append(nodes, node)
	}
	s := msg{
		"version": c.running.Version, "nodes_up": up, "phase": c.phase, "endpoint": endpoint(c.host(-1)),
		"resources": c.resources(size), "scalability_info": c.scalability(size), "capabilities": c.capabilities(size),
	}
	if c.phase == phaseFailedToCreate || c.phase == phaseCreating && c.progress(now) < 0.5 {
		s["endpoint"] = msg{"rest_port": int64(6333), "grpc_port": int64(6334)}
	}
	if len(nodes) > 0 {
		s["nodes"] = nodes
	}
	if c.reason != "" {
		s["reason"] = c.reason
	}
	if !c.restartedAt.IsZero() {
		s["restarted_at"] = c.restartedAt
	}
	if c.jwt {
		s["jwt_rbac"] = true
	}
	return s
}

// resources are what each node has; the API says GiB for ram and disk, cores for cpu.
func (c *cluster) resources(size *pkg) msg {
	if size == nil {
		return msg{"disk": msg{}, "ram": msg{}, "cpu": msg{}}
	}
	share := func(name string) float64 {
		if v := c.config().uint(name); v > 0 {
			return float64(v) / 100
		}
		return 0.2 // the documented default of reserved_*_percentage
	}
	one := func(base, additional, reserved float64) msg {
		m := msg{}
		for name, v := range map[string]float64{
			"base": base, "additional": additional, "reserved": reserved, "available": base + additional - reserved,
		} {
			if v != 0 {
				m[name] = v
			}
		}
		return m
	}
	cpu, ram := float64(size.cpuMilli)/1000, float64(size.ramGiB)
	m := msg{
		"cpu":  one(cpu, 0, cpu*share("reserved_cpu_percentage")),
		"ram":  one(ram, 0, ram*share("reserved_memory_percentage")),
		"disk": one(float64(size.diskGiB), float64(c.running.DiskGiB), 0),
	}
	if size.gpuMilli > 0 {
		m["gpu"] = one(float64(size.gpuMilli)/1000, 0, 0)
		m["gpu_ram"] = one(float64(size.gpuRAMGiB), 0, 0)
	}
	return m
}

// scalability is the cluster.v1.ClusterScalabilityInfo.
func (c *cluster) scalability(size *pkg) msg {
	if size != nil && size.free {
		return msg{"status": enumValue(1), "reason": "Free clusters cannot be scaled."}
	}
	return msg{"status": enumValue(2)}
}

func (c *cluster) capabilities(size *pkg) msg {
	supported := msg{"status": enumValue(1)}
	m := msg{"disk_expansion": supported, "backup": supported, "scalability_info": c.scalability(size)}
	if size != nil && size.free {
		m["disk_expansion"] = msg{"status": enumValue(2), "reason": "Free clusters have a fixed disk."}
		m["backup"] = msg{"status": enumValue(2), "reason": "Free clusters have no backups."}
	}
	return m
}

// resource is the whole cluster.v1.Cluster at now.
func (c *cluster) resource(account string, now time.Time, cat *catalogue) msg {
	m := c.spec.clone()
	m["id"], m["account_id"], m["created_at"], m["state"] = c.id, account, c.createdAt, c.state(now, cat)
	if !c.deletedAt.IsZero() {
		m["deleted_at"] = c.deletedAt
	}
	return m
}
