package sandbox

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

const (
	// logsDefault and eventsDefault are how far back logs and events reach when nobody says.
	logsDefault, eventsDefault = 3 * day, 7 * day
	// logsKept is how far back they reach at the most.
	logsKept = 14 * day
	// mostLines bounds one answer: the latest.
	mostLines = 5000
	// routineEvery is how often a node that runs writes a line.
	routineEvery = 10 * time.Minute
	// troubleEvery is how often a cluster in trouble says so.
	troubleEvery = time.Minute
)

// random is a number from 0 to 1 that follows from a cluster, words and a number.
func (c *cluster) random(what string, n int64) float64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%d", c.id, what, n) // a hash never fails
	x := h.Sum64()
	x ^= x >> 33 // FNV leaves the upper bits of texts that differ at the end alike
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// spans are the phases of a cluster in order, the present one last; before the first it was healthy.
func (c *cluster) spans(now time.Time) []span {
	return append(slices.Clone(c.past), c.present(now.Add(time.Nanosecond)))
}

// spanAt is the one of some spans that a moment is in.
func spanAt(spans []span, at time.Time) span {
	for _, s := range slices.Backward(spans) {
		if !at.Before(s.Since) && at.Before(s.Until) {
			return s
		}
	}
	return span{Phase: phaseHealthy, Version: spans[0].Version, Nodes: spans[0].Nodes}
}

// runs reports whether nodes run in a phase.
func runs(phase enumValue) bool {
	switch phase {
	case phaseCreating, phaseFailedToCreate, phaseSuspended, phaseFailedToResume, phaseResuming, phaseNotFound:
		return false
	}
	return true
}

// logLine is one line of a log.
type logLine struct {
	at   time.Time
	text string
}

// window is the time that a request asks about, which ends now at the latest and begins when there was something to see.
func (r *request) window(c *cluster, before, most time.Duration) (since, until time.Time) {
	until = r.now
	if r.in.has("until") && r.in.when("until").Before(until) {
		until = r.in.when("until")
	}
	since = r.now.Add(-before)
	if r.in.has("since") {
		since = r.in.when("since")
	}
	return later(later(since, r.now.Add(-most)), c.createdAt), until
}

// clusterLogs serves the lines of a cluster's log in order: a line that is there stays there, and time adds others.
func (r *request) clusterLogs() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	since, until := r.window(c, logsDefault, logsKept)
	return msg{"items": lines(c.log(since, until, r.now))}, nil
}

// clusterEvents serves what Kubernetes would tell of a hybrid cluster.
func (r *request) clusterEvents() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	if c.provider() != providerHybrid {
		return nil, refuse(codeFailedPrecondition, "events are available for hybrid cloud clusters only")
	}
	since, until := r.window(c, eventsDefault, logsKept)
	var out []logLine
	for _, s := range c.spans(r.now) {
		out = append(out, logLine{s.Since, fmt.Sprintf("Normal PhaseChanged QdrantCluster/%s: %s", c.name(), cmp.Or(s.Reason, "the phase is "+phaseName(s.Phase)))})
		if trouble, is := troubles[s.Phase]; is {
			for at := range ticks(later(since, s.Since), s.Until, 15*time.Minute, 0) {
				out = append(out, logLine{at, fmt.Sprintf("Warning Unhealthy QdrantCluster/%s: %s", c.name(), trouble.words)})
			}
		}
	}
	return msg{"items": lines(within(out, since, until))}, nil
}

// within are the lines of a time, in order, the latest mostLines of them.
func within(all []logLine, since, until time.Time) []logLine {
	all = slices.DeleteFunc(all, func(l logLine) bool { return l.at.Before(since) || l.at.After(until) })
	slices.SortStableFunc(all, func(a, b logLine) int { return a.at.Compare(b.at) })
	return all[max(0, len(all)-mostLines):]
}

func lines(of []logLine) []any {
	out := make([]any, len(of))
	for i, l := range of {
		out[i] = msg{"timestamp": l.at, "message": l.text}
	}
	return out
}

// ticks are the moments from one up to but without another that are an offset after a multiple of a duration.
func ticks(from, to time.Time, every, offset time.Duration) func(func(time.Time) bool) {
	return func(yield func(time.Time) bool) {
		at := from.Add(-offset).Truncate(every).Add(offset)
		if at.Before(from) {
			at = at.Add(every)
		}
		for ; at.Before(to); at = at.Add(every) {
			if !yield(at) {
				return
			}
		}
	}
}

// log is what a cluster's nodes wrote from one moment to another.
func (c *cluster) log(since, until, now time.Time) []logLine {
	var out []logLine
	spans := c.spans(now)
	for _, s := range spans {
		for i, text := range began(s) {
			out = append(out, logLine{s.Since.Add(time.Duration(i) * 137 * time.Millisecond), text})
		}
		texts := complaints(s)
		if len(texts) == 0 {
			continue
		}
		for at := range ticks(later(since, s.Since), s.Until, troubleEvery, 11*time.Second) {
			n := at.Unix() / int64(troubleEvery/time.Second)
			out = append(out, logLine{at, texts[int(c.random("complaint", n)*float64(len(texts)))]})
		}
	}
	offset := time.Duration(c.random("offset", 0) * float64(routineEvery))
	for at := range ticks(since, until.Add(time.Nanosecond), routineEvery, offset.Truncate(time.Millisecond)) {
		if runs(spanAt(spans, at).Phase) {
			out = append(out, logLine{at, c.routine(at)})
		}
	}
	return within(out, since, until)
}

// began is what the nodes write when a phase begins.
func began(s span) []string {
	version := "INFO qdrant: Version: " + s.Version
	switch s.Phase {
	case phaseResuming, phaseCreating:
		return []string{version, "INFO storage::content_manager::consensus::persistent: Loading raft state from ./storage/raft_state.json"}
	case phaseHealthy:
		return []string{"INFO qdrant::actix: Qdrant HTTP listening on 6333", "INFO qdrant::tonic: Qdrant gRPC listening on 6334"}
	case phaseUpdating, phaseUpgrading:
		out := []string{"INFO actix_server::server: SIGTERM received; starting graceful shutdown"}
		if s.Reason == restoringReason {
			out = append(out, "INFO storage::content_manager::snapshots::recover: Recovering collections from a snapshot")
		}
		return append(out, version)
	case phaseScaling:
		return []string{"INFO storage::content_manager::toc: Adding a peer to the cluster"}
	case phaseSuspending, phaseDeleting:
		return []string{"INFO actix_server::server: SIGTERM received; starting graceful shutdown"}
	case phaseRecoveryMode:
		return []string{"WARN qdrant: Qdrant is loaded in recovery mode: the last start ran out of memory"}
	}
	return nil
}

// complaints are what a cluster in trouble writes again and again.
func complaints(s span) []string {
	switch s.Phase {
	case phaseNotReady:
		if s.Memory {
			return []string{
				"ERROR qdrant::startup: Panic occurred: memory allocation failed", "WARN storage::content_manager::consensus_manager: Failed to reach a peer: connection refused",
			}
		}
		return []string{
			"ERROR qdrant::common::health: Readiness check failed: not all shards are active", "WARN collection::shards::replica_set: Replica is dead, deactivating it on this peer",
			"WARN storage::content_manager::consensus_manager: Failed to reach a peer: connection refused",
		}
	case phaseRecoveryMode:
		return []string{"WARN qdrant: Request refused: Qdrant is in recovery mode, collections cannot be read"}
	case phaseFailedToUpdate:
		return []string{"ERROR qdrant: Startup failed: the configuration could not be applied"}
	case phaseFailedToSync:
		return []string{"ERROR storage::content_manager::consensus_manager: The state of the cluster could not be reported"}
	}
	return nil
}

// routine is what a node writes in between, or that it is short of something.
func (c *cluster) routine(at time.Time) string {
	if kind, began, ended := c.shortTime(at); kind != 0 && began.After(c.createdAt) && at.Before(ended) {
		return map[enumValue]string{
			alertMemory:    "WARN qdrant::common::memory: Memory usage is above 90 %",
			alertDisk:      "WARN collection::update_handler: Disk usage is above 90 %, optimizations are delayed",
			alertThrottled: "WARN qdrant::common::cpu: CPU is throttled, optimizations take longer",
		}[kind]
	}
	n := at.Unix() / int64(routineEvery/time.Second)
	texts := []string{
		"INFO segment::segment: Flushed segment, %d points", "INFO collection::collection_manager::optimizers: Optimizing %d segments",
		"INFO actix_web::middleware::logger: \"POST /collections/items/points/search HTTP/1.1\" 200 %d", "INFO storage::content_manager::consensus_manager: Heartbeat of %d peers",
		"INFO collection::operations: Upserted %d points",
	}
	text := texts[int(c.random("routine", n)*float64(len(texts)))]
	return fmt.Sprintf(text, 1+int(c.random("count", n)*2000))
}
