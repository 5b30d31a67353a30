package accounts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"quartermaster/internal/cloudapi"
)

// NewHybrid is what only a cluster of a hybrid environment can be asked to have, as it was typed.
type NewHybrid struct {
	ServiceType        string // CLUSTER_IP, NODE_PORT, LOAD_BALANCER, or empty
	NodeSelector       string // lines key=value
	Tolerations        string // lines key=value:Effect, key:Effect or key
	Annotations        string // lines key=value
	ServiceAnnotations string // lines key=value
	PodLabels          string // lines key=value
	ReservedCPU        string // per cent
	ReservedMemory     string // per cent

	DatabaseStorageClass, SnapshotStorageClass, VolumeSnapshotClass string
}

// Bounds of the Cloud API on hybrid settings.
const (
	maxHybridPairs        = 10
	maxServiceAnnotations = 64
	maxTolerations        = 10
	maxReserved           = 80 // per cent
	maxClassName          = 253
)

var (
	serviceTypes      = map[string]bool{"": true, "CLUSTER_IP": true, "NODE_PORT": true, "LOAD_BALANCER": true}
	tolerationValue   = regexp.MustCompile(`^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$`)
	tolerationEffects = map[string]string{"": "", "NoSchedule": "NO_SCHEDULE", "PreferNoSchedule": "PREFER_NO_SCHEDULE", "NoExecute": "NO_EXECUTE"}
)

// field is a text that was typed, under its name in the form.
type typedField struct{ name, text string }

// fields are all that was typed.
func (n NewHybrid) fields() []typedField {
	return []typedField{
		{"service_type", n.ServiceType}, {"node_selector", n.NodeSelector}, {"tolerations", n.Tolerations}, {"annotations", n.Annotations},
		{"service_annotations", n.ServiceAnnotations}, {"pod_labels", n.PodLabels}, {"reserved_cpu_percentage", n.ReservedCPU},
		{"reserved_memory_percentage", n.ReservedMemory}, {"database_storage_class", n.DatabaseStorageClass},
		{"snapshot_storage_class", n.SnapshotStorageClass}, {"volume_snapshot_class", n.VolumeSnapshotClass},
	}
}

// lackingHybrid are the hybrid settings that pa/v1 has no member for.
var lackingHybrid = map[string]bool{
	"service_type": true, "service_annotations": true, "pod_labels": true, "reserved_cpu_percentage": true, "reserved_memory_percentage": true,
	"database_storage_class": true, "snapshot_storage_class": true, "volume_snapshot_class": true,
}

// options reads what was typed, by the rules of the Cloud API; say takes what is wrong with a field. It
// returns nil when nothing was typed.
func (n NewHybrid) options(g cloudapi.Generation, hybrid bool, say func(field, problem string)) *cloudapi.HybridOptions {
	asked := false
	for _, f := range n.fields() {
		if strings.TrimSpace(f.text) == "" {
			continue
		}
		asked = true
		switch {
		case !hybrid:
			say(f.name, "Only clusters of a hybrid environment have this.")
		case g == cloudapi.PAV1 && lackingHybrid[f.name]:
			say(f.name, "The legacy pa/v1 API cannot set this.")
		}
	}
	if !asked {
		return nil
	}
	if !serviceTypes[n.ServiceType] {
		say("service_type", "Choose one of the service types.")
	}
	pairs := func(name, text string, most int, what string) []cloudapi.Label {
		read, problem := parsePairs(text, most, what)
		say(name, problem)
		return read
	}
	class := func(name, text string) string {
		text = strings.TrimSpace(text)
		say(name, textProblem(text, maxClassName, false))
		return text
	}
	tolerations, problem := parseTolerations(n.Tolerations)
	say("tolerations", problem)
	return &cloudapi.HybridOptions{
		ServiceType:              n.ServiceType,
		NodeSelector:             pairs("node_selector", n.NodeSelector, maxHybridPairs, "lines"),
		Annotations:              pairs("annotations", n.Annotations, maxHybridPairs, "annotations"),
		ServiceAnnotations:       pairs("service_annotations", n.ServiceAnnotations, maxServiceAnnotations, "annotations"),
		PodLabels:                pairs("pod_labels", n.PodLabels, maxHybridPairs, "labels"),
		Tolerations:              tolerations,
		ReservedCPUPercentage:    typedNumber(n.ReservedCPU, 1, maxReserved, 0, func(p string) { say("reserved_cpu_percentage", p) }),
		ReservedMemoryPercentage: typedNumber(n.ReservedMemory, 1, maxReserved, 0, func(p string) { say("reserved_memory_percentage", p) }),
		DatabaseStorageClass:     class("database_storage_class", n.DatabaseStorageClass),
		SnapshotStorageClass:     class("snapshot_storage_class", n.SnapshotStorageClass),
		VolumeSnapshotClass:      class("volume_snapshot_class", n.VolumeSnapshotClass),
	}
}

// typedNumber reads a whole number from least to most; empty is otherwise.
func typedNumber(text string, least, most, otherwise int, say func(problem string)) int {
	text = strings.TrimSpace(text)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || !plainDigits(text) {
		n = least - 1
	}
	say(countProblem(n, least, most))
	return n
}

// plainDigits reports whether text is a number as people write it: no sign, no leading zero.
func plainDigits(text string) bool {
	return text == "0" || text[0] != '0' && strings.Trim(text, "0123456789") == ""
}

// parseTolerations reads lines as kubectl writes taints: key=value:Effect, key:Effect for any value, key
// for any value and effect, and after NoExecute how many seconds, as in key:NoExecute:300.
func parseTolerations(text string) (tolerations []cloudapi.Toleration, problem string) {
	lines := typedLines(text)
	if len(lines) > maxTolerations {
		return nil, fmt.Sprintf("At most %d tolerations.", maxTolerations)
	}
	for i, line := range lines {
		t, problem := parseToleration(line)
		if problem != "" {
			return nil, fmt.Sprintf("Line %d: %s", i+1, problem)
		}
		tolerations = append(tolerations, t)
	}
	return tolerations, ""
}

func parseToleration(line string) (t cloudapi.Toleration, problem string) {
	taint, rest, _ := strings.Cut(line, ":")
	effect, seconds, limited := strings.Cut(rest, ":")
	key, value, equal := strings.Cut(taint, "=")
	var known bool
	t = cloudapi.Toleration{Key: key, Operator: "EXISTS", Value: value}
	if t.Effect, known = tolerationEffects[effect]; !known {
		return t, "the effect is NoSchedule, PreferNoSchedule or NoExecute."
	}
	if equal {
		t.Operator = "EQUAL"
	}
	switch {
	case len(key) > maxLabelKey || !qualifiedName.MatchString(key):
		return t, "write key=value:Effect, as in dedicated=qdrant:NoSchedule."
	case equal && !tolerationValue.MatchString(value):
		return t, "a value has letters, digits, -, _ and dots, with a letter or digit at both ends."
	case limited && t.Effect != "NO_EXECUTE":
		return t, "only NoExecute has seconds."
	case limited:
		n := typedNumber(seconds, 0, 1<<31-1, -1, func(p string) { problem = p })
		if n < 0 {
			return t, "write whole seconds, as in key:NoExecute:300."
		}
		t.Seconds = &n
	}
	return t, problem
}
