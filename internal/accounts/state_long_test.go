package accounts

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// longLog writes events of acts that clusters, sign-ins and grants leave, as a busy log has them: of a hundred two are about
// grants and eight are sign-ins.
func (w *watched) longLog(events int) {
	w.t.Helper()
	bodies := make([][]byte, 0, 1000)
	grant := ""
	for i := range events {
		e := singleEvent(target{Account: w.account.ref(), Kind: KindCluster, ID: "c" + strconv.Itoa(i%500), Name: "cluster"}, w.by, ActClusterUpdate,
			audit.Change{"nodes": {3, 4}, "version": {"v1.15.0", "v1.15.1"}})
		switch {
		case i%100 == 0:
			grant = uuid.NewString()
			e = singleEvent(target{Kind: KindGrant, ID: grant}, w.by, ActGrantCreate, audit.Change{"subject": {nil, "g"}})
		case i%100 == 1:
			e = singleEvent(target{Kind: KindGrant, ID: grant}, w.by, ActGrantDelete, nil)
		case i%100 < 10:
			e = singleEvent(target{Kind: KindMember, ID: "m"}, w.reader, ActSessionLogin, audit.Change{"groups": {nil, []string{"a", "b"}}})
		}
		e.ID, e.At = uuid.Must(uuid.NewV7()), w.clock.now()
		if bodies = append(bodies, audit.Encode(e)); len(bodies) == cap(bodies) || i == events-1 {
			if _, err := w.db.Pool.Exec(w.t.Context(), `SELECT audit.append($1)`, bodies); err != nil {
				w.t.Fatal(err)
			}
			bodies = bodies[:0]
		}
	}
}

// TestComparingALongLogTakesLittleMemory: what the comparison keeps grows with the things there were and not with the
// log; the chain is read as it comes.
func TestComparingALongLogTakesLittleMemory(t *testing.T) {
	w := newWatchedOn(t, newStageOn(t, dbtest.New(t), nil)) // beside no other test, whose memory would count
	const events = 10_000
	w.longLog(events)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}
	}()
	started := time.Now()
	r, err := VerifyState(t.Context(), w.db.Pool)
	w.must(err)
	compared := time.Since(started)
	chain, err := audit.Verify(t.Context(), w.db.Pool, 1, nil)
	w.must(err)
	close(done)
	grown := int64(<-peak) - int64(before.HeapAlloc)
	t.Logf("%d events: compared in %s, chain in %s, heap grew by %d MiB at most", r.Last, compared, chain.Took, grown>>20)
	if !chain.OK() || len(r.Problems)+r.More != events/100 {
		t.Errorf("chain %+v, %d problems", chain.Problems, len(r.Problems))
	}
	if grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}
