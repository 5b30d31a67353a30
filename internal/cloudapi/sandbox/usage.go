package sandbox

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// usageDefault is how far back usage metrics reach when nobody says, usageKept how far at the most.
	usageDefault, usageKept = time.Hour, 90 * day
	// inferenceDefault is the same for inference metrics.
	inferenceDefault, inferenceKept = 7 * day, 400 * day
	// mostSamples is about how many samples one series has.
	mostSamples = 240
)

// Numbers of Aggregator and of InferenceMetricsInterval.
const (
	aggregateAvg enumValue = 2
	aggregateMax enumValue = 3
	aggregateMin enumValue = 4

	perWeek  enumValue = 2
	perMonth enumValue = 3
)

// load is the share, from 0 to 1, of what a node has that it used at a moment. It follows from the cluster, the node and the time, and
// from nothing that changes, so that a sample that was seen once is always the same.
func (c *cluster) load(metric string, node int, at time.Time) float64 {
	low := c.random(metric+" base", int64(node))
	noise := c.random(fmt.Sprint(metric, " noise ", node), at.Unix()/60)
	hour := float64(at.Unix()%86400)/86400 + c.random("peak", 0)
	daily := (1 + math.Sin(2*math.Pi*hour)) / 2
	var share float64
	switch metric {
	case "disk": // grows by the month and falls when old data goes
		month := float64(at.Unix()%(30*86400)) / (30 * 86400)
		share = 0.2 + 0.4*low + 0.15*month
	case "ram", "gpu_ram":
		share = 0.3 + 0.35*low + 0.05*daily + 0.03*noise
	default:
		share = 0.08 + 0.25*low + 0.3*daily + 0.1*noise
	}
	kind, began, ended := c.shortTime(at)
	short := map[enumValue]string{alertMemory: "ram", alertDisk: "disk", alertThrottled: "cpu"}[kind] == metric
	if short && began.After(c.createdAt) && at.Before(ended) {
		share = 0.91 + 0.08*noise
	}
	return share
}

// measure is one series of a node.
type measure struct {
	field string // of the answers
	from  string // the resource it is measured of
	share float64
}

func measures(size *pkg) []measure {
	out := []measure{
		{"cpu", "cpu", 1}, {"ram", "ram", 1}, {"ram_cache", "ram", 0.25}, {"ram_rss", "ram", 0.72}, {"ram_qdrant_rss", "ram", 0.7}, {"disk", "disk", 1},
	}
	if size != nil && size.gpuMilli > 0 {
		out = append(out, measure{"gpu", "gpu", 1}, measure{"gpu_ram", "gpu_ram", 1})
	}
	return out
}

// total is what a node has of a resource, with its unit: the definitions name none, so these are the ones of the cluster's state.
func (c *cluster) total(resource string, size *pkg) (float64, string) {
	if size == nil {
		return 0, "GiB"
	}
	switch resource {
	case "cpu":
		return float64(size.cpuMilli) / 1000, "vcpu/core"
	case "ram":
		return float64(size.ramGiB), "GiB"
	case "gpu":
		return float64(size.gpuMilli) / 1000, "gpu"
	case "gpu_ram":
		return float64(size.gpuRAMGiB), "GiB"
	}
	return float64(size.diskGiB + c.running.DiskGiB), "GiB"
}

// nodeName is the name of a node.
func (c *cluster) nodeName(node int) string { return fmt.Sprintf("qdrant-%s-%d", c.id, node) }

// measured reports whether there is a sample of a node at a moment: where it ran and was well.
func measured(spans []span, node int, at time.Time) bool {
	s := spanAt(spans, at)
	return runs(s.Phase) && node < s.Nodes && !slices.Contains(s.Sick, node)
}

// usageMetrics serves series of samples: the finer the shorter the time they are asked of.
func (r *request) usageMetrics() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	since, until := r.window(c, usageDefault, usageKept)
	every := time.Minute
	for _, coarser := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, day} {
		if until.Sub(since)/every > mostSamples {
			every = coarser
		}
	}
	spans, size := c.spans(r.now), r.catalogue.packages[c.running.Package]
	out := msg{}
	var nodes []any
	perNode := make([]msg, c.running.Nodes)
	for node := range perNode {
		perNode[node] = msg{"node_id": c.nodeName(node)}
		nodes = append(nodes, perNode[node])
	}
	for _, m := range measures(size) {
		total, _ := c.total(m.from, size)
		series := make([][]any, len(perNode))
		var all []any
		for at := range ticks(since, until.Add(time.Nanosecond), every, 0) {
			var values []float64
			for node := range perNode {
				if measured(spans, node, at) {
					v := rounded(total * m.share * c.load(m.from, node, at))
					values = append(values, v)
					series[node] = append(series[node], msg{"timestamp": at, "value": v})
				}
			}
			if len(values) > 0 {
				all = append(all, msg{"timestamp": at, "value": rounded(aggregate(r.in.enum("aggregator"), values))})
			}
		}
		out.replace(m.field, all)
		for node := range perNode {
			perNode[node].replace(m.field, series[node])
		}
	}
	var rps, latency []any
	for at := range ticks(since, until.Add(time.Nanosecond), every, 0) {
		if !measured(spans, -1, at) {
			continue
		}
		busy := c.load("cpu", 0, at)
		rps = append(rps, msg{"timestamp": at, "value": rounded(busy * float64(20+c.between(0, 400)))})
		latency = append(latency, msg{"timestamp": at, "value": rounded(3 + 25*busy*busy)}) // milliseconds
	}
	out.replace("rps", rps)
	out.replace("latency", latency)
	out.replace("nodes", nodes)
	return out, nil
}

func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

// aggregate combines what the nodes of a cluster used; without a word for it, their sum.
func aggregate(by enumValue, values []float64) float64 {
	out := 0.0
	for i, v := range values {
		switch {
		case i == 0:
			out = v
		case by == aggregateMax:
			out = max(out, v)
		case by == aggregateMin:
			out = min(out, v)
		default:
			out += v
		}
	}
	if by == aggregateAvg {
		out /= float64(len(values))
	}
	return out
}

// summaryMetrics serves averages of the last minutes, hour and day of each node.
func (r *request) summaryMetrics() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	spans, size := c.spans(r.now), r.catalogue.packages[c.running.Package]
	var nodes []any
	for node := range c.running.Nodes {
		one := msg{"node_id": c.nodeName(node)}
		for _, m := range measures(size) {
			total, unit := c.total(m.from, size)
			var averages []any
			for _, over := range []time.Duration{5 * time.Minute, time.Hour, day} {
				sum, n := 0.0, 0
				for at := range ticks(later(r.now.Add(-over), c.createdAt), r.now.Add(time.Nanosecond), over/5, 0) {
					if measured(spans, node, at) {
						sum += total * m.share * c.load(m.from, node, at)
						n++
					}
				}
				if n > 0 {
					averages = append(averages, msg{"interval": over, "value": rounded(sum / float64(n))})
				}
			}
			overview := msg{"total": msg{"value": total, "unit": unit}}
			overview.replace("avg", averages)
			one[m.field] = overview
		}
		nodes = append(nodes, one)
	}
	out := msg{}
	out.replace("nodes", nodes)
	return out, nil
}

// inferenceMetrics serves tokens by model and day, week or month for clusters that use inference; the last of these still grows.
func (r *request) inferenceMetrics() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	if !c.config().sub("database_configuration").sub("inference").flag("enabled") {
		return msg{}, nil
	}
	since, until := r.window(c, inferenceDefault, inferenceKept)
	begin := func(at time.Time) time.Time {
		at = at.UTC().Truncate(day)
		switch r.in.enum("interval") {
		case perWeek:
			return at.AddDate(0, 0, -(int(at.Weekday())+6)%7) // Mondays
		case perMonth:
			return at.AddDate(0, 0, 1-at.Day())
		}
		return at
	}
	next := func(at time.Time) time.Time {
		switch r.in.enum("interval") {
		case perWeek:
			return at.AddDate(0, 0, 7)
		case perMonth:
			return at.AddDate(0, 1, 0)
		}
		return at.AddDate(0, 0, 1)
	}
	spans := c.spans(r.now)
	var models []any
	for _, name := range []string{"sentence-transformers/all-minilm-l6-v2", "mixedbread-ai/mxbai-embed-large-v1"} {
		id := idOf("model", name)
		if r.in.has("inference_model_id") && r.in.str("inference_model_id") != id {
			continue
		}
		var values []any
		for at := begin(since); at.Before(until); at = next(at) {
			tokens := 0.0
			for d := later(at, c.createdAt.Truncate(day)); d.Before(next(at)) && d.Before(until); d = d.Add(day) {
				part := min(1, float64(until.Sub(d))/float64(day))
				if runs(spanAt(spans, d).Phase) {
					tokens += part * (10_000 + 90_000*c.random("tokens "+name, d.Unix()/86400))
				}
			}
			values = append(values, msg{"timestamp": at, "value": math.Floor(tokens)})
		}
		model := msg{"inference_model_id": id}
		model.replace("values", values)
		models = append(models, model)
	}
	return msg{"models": models}, nil
}
