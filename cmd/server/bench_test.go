package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/dbtest"
)

// benchDoc is where `make bench` writes its numbers, after the line measuredHere.
const (
	benchDoc     = "../../docs/benchmarks.md"
	measuredHere = "## The last run"
)

// bench is one run of the benchmarks. BENCH=3s makes it a full one, of rounds that long. Without it it
// is a short one that belongs to the ordinary tests: what is noisy is measured for a moment, so that
// measuring keeps working, and held to no limit.
type bench struct {
	full   bool
	rounds int
	round  time.Duration // of each side of a pair
	lines  []benchLine
}

// benchLine is a row of the report.
type benchLine struct {
	name, ours, floor, value, spread, limit string
	noisy                                   bool // held to its limit in a full run only
	missed                                  bool
}

func TestBench(t *testing.T) {
	b := &bench{rounds: 1, round: 100 * time.Millisecond}
	if text := os.Getenv("BENCH"); text != "" {
		round, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("BENCH is the length of a round, such as 3s: %v", err)
		}
		b = &bench{full: true, rounds: 7, round: round}
	}
	started := time.Now()
	t.Run("the built program", b.program)
	t.Run("the fleet's table", b.table)
	t.Run("the log", b.log)
	t.Run("rights", b.rights)
	t.Run("accounts in trouble", b.trouble)
	t.Run("live pages", b.live)
	t.Run("scale", b.scale)
	for _, l := range b.lines {
		t.Logf("%-52s %-12s %-18s limit %-10s ours %s, floor %s", l.name, l.value, l.spread, l.limit, l.ours, l.floor)
		if l.missed && (b.full || !l.noisy) {
			t.Errorf("%s: %s, the limit is %s", l.name, l.value, l.limit)
		}
	}
	if b.full && os.Getenv("UPDATE_DOCS") != "" {
		b.write(t, time.Since(started))
	}
}

// pair is what ours and the floor came to in one round after the other.
type pair struct{ ours, floor float64 }

// pairs measures both sides in turn, so that a machine that gets slower gets slower for both. One
// round before the first is not counted.
func (b *bench) pairs(ours, floor func() float64) []pair {
	ours()
	floor()
	out := make([]pair, b.rounds)
	for i := range out {
		out[i] = pair{ours(), floor()}
	}
	return out
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func each(pairs []pair, of func(pair) float64) []float64 {
	out := make([]float64, len(pairs))
	for i, p := range pairs {
		out[i] = of(p)
	}
	return out
}

// ratio reports the ratios of ours to the floor, pair by pair. show writes one side's number.
func (b *bench) ratio(name string, pairs []pair, holds func(float64) bool, limit string, show func(float64) string) {
	ratios := each(pairs, func(p pair) float64 { return p.ours / p.floor })
	middle := median(ratios)
	b.lines = append(b.lines, benchLine{
		name: name, value: fmt.Sprintf("%.2f", middle), spread: fmt.Sprintf("%.2f–%.2f", slices.Min(ratios), slices.Max(ratios)), limit: limit,
		ours:  show(median(each(pairs, func(p pair) float64 { return p.ours }))),
		floor: show(median(each(pairs, func(p pair) float64 { return p.floor }))),
		noisy: true, missed: !holds(middle),
	})
}

// absolute reports a number that has no floor.
func (b *bench) absolute(name string, values []float64, most float64, show func(float64) string) {
	middle := median(values)
	b.lines = append(b.lines, benchLine{
		name: name, value: show(middle), spread: show(slices.Min(values)) + "–" + show(slices.Max(values)), limit: "at most " + show(most),
		ours: show(middle), floor: "–", missed: middle > most,
	})
}

func atLeast(limit float64) (func(float64) bool, string) {
	return func(v float64) bool { return v >= limit }, fmt.Sprintf("at least %.2f", limit)
}

func atMost(limit float64) (func(float64) bool, string) {
	return func(v float64) bool { return v <= limit }, fmt.Sprintf("at most %.2f", limit)
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }

func inMillis(v float64) string { return fmt.Sprintf("%.1f ms", v*1000) }

func inMicros(v float64) string { return fmt.Sprintf("%.0f µs", v*1e6) }

func inMiB(v float64) string { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }

func inKiB(v float64) string { return fmt.Sprintf("%.1f KiB", v/(1<<10)) }

// write writes the report. What it says of the machine names no machine.
func (b *bench) write(t *testing.T, took time.Duration) {
	t.Helper()
	db := dbtest.New(t)
	var postgres string
	if err := db.Pool.QueryRow(t.Context(), `SELECT split_part(current_setting('server_version'), ' ', 1)`).Scan(&postgres); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, l := range b.lines {
		verdict := "met"
		if l.missed {
			verdict = "**missed**"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s | %s | %s |\n", l.name, l.ours, l.floor, l.value, l.spread, l.limit, verdict)
	}
	raw, err := os.ReadFile(benchDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(raw), measuredHere)
	if !found {
		t.Fatalf("%s has no line %q, after which the numbers stand", benchDoc, measuredHere)
	}
	text := before + measuredHere + fmt.Sprintf(`

Measured on %s at %s: %s, %d processors, %s; Go %s, Postgres %s. Rounds of %s; the whole run took %d s.

| measured | ours | floor | value | lowest–highest | limit | |
|---|---|---|---|---|---|---|
%s`, time.Now().UTC().Format(time.DateOnly), commit(), processor(), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH,
		strings.TrimPrefix(runtime.Version(), "go"), postgres, b.round, int(took.Seconds()), rows.String())
	if err := os.WriteFile(benchDoc, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commit names what was measured.
func commit() string {
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty=+changes").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// processor is the processor's model, as far as the system tells.
func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return cmp.Or(os.Getenv("PROCESSOR_IDENTIFIER"), "not told")
}
