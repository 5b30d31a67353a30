package accounts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"quartermaster/internal/cloudapi"
)

// clusterSettings are the settings of a cluster that can be changed. Labels and ranges are sorted,
// for their order means nothing; a list without items is nil.
type clusterSettings struct {
	Name                string
	Labels              []cloudapi.Label
	CostAllocationLabel string

	Nodes             int
	PackageID         string
	Version           string
	AdditionalDiskGiB int
	AllowedIPs        []string

	ReplicationFactor      int
	WriteConsistencyFactor int
	VectorsOnDisk          bool
	RestartPolicy          string
	RebalanceStrategy      string
}

func settingsOf(c cloudapi.Cluster) clusterSettings {
	conf := c.Configuration
	return clusterSettings{
		Name: c.Name, Labels: sortedLabels(c.Labels), CostAllocationLabel: c.CostAllocationLabel,
		Nodes: conf.Nodes, PackageID: conf.PackageID, Version: conf.Version, AdditionalDiskGiB: conf.AdditionalDiskGiB, AllowedIPs: sortedTexts(conf.AllowedIPs),
		ReplicationFactor: conf.ReplicationFactor, WriteConsistencyFactor: conf.WriteConsistencyFactor, VectorsOnDisk: conf.VectorsOnDisk,
		RestartPolicy: conf.RestartPolicy, RebalanceStrategy: conf.RebalanceStrategy,
	}
}

func sortedLabels(labels []cloudapi.Label) []cloudapi.Label {
	if len(labels) == 0 {
		return nil
	}
	return slices.SortedStableFunc(slices.Values(labels), func(a, b cloudapi.Label) int { return strings.Compare(a.Key, b.Key) })
}

func sortedTexts(texts []string) []string {
	if len(texts) == 0 {
		return nil
	}
	return slices.Sorted(slices.Values(texts))
}

// clusterSetting is one of them: a field of the form, and of the log under the same name.
type clusterSetting struct {
	field[clusterSettings]
	text func(clusterSettings) string                                 // as the form shows it
	read func(e *cloudapi.ClusterEdit, typed string) (problem string) // takes what was typed
}

// The restart policies and rebalance strategies there are.
var (
	RestartPolicies     = []string{"ROLLING", "PARALLEL", "AUTOMATIC"}
	RebalanceStrategies = []string{"BY_COUNT", "BY_SIZE", "BY_COUNT_AND_SIZE", "DISABLED"}
)

// clusterSettingsTable lists them in the order of the form.
func clusterSettingsTable() []clusterSetting {
	type s = clusterSettings
	type e = cloudapi.ClusterEdit
	return []clusterSetting{
		{
			field[s]{"Name", "name", tracked, func(c s) any { return c.Name }},
			func(c s) string { return c.Name },
			func(edit *e, typed string) string { edit.Name = &typed; return clusterNameProblem(typed) },
		},
		{
			field[s]{"Labels", "labels", tracked, func(c s) any { return labelTexts(c.Labels) }},
			func(c s) string { return labelLines(c.Labels) },
			func(edit *e, typed string) string {
				labels, problem := parseLabels(typed)
				labels = sortedLabels(labels)
				edit.Labels = &labels
				return problem
			},
		},
		{
			field[s]{"CostAllocationLabel", "cost_allocation_label", tracked, func(c s) any { return textOrNil(c.CostAllocationLabel) }},
			func(c s) string { return c.CostAllocationLabel },
			func(edit *e, typed string) string { edit.CostAllocationLabel = &typed; return costLabelProblem(typed) },
		},
		{
			field[s]{"PackageID", "package_id", tracked, func(c s) any { return textOrNil(c.PackageID) }},
			func(c s) string { return c.PackageID },
			func(edit *e, typed string) string { edit.PackageID = &typed; return "" },
		},
		{
			field[s]{"Nodes", "nodes", tracked, func(c s) any { return countOrNil(c.Nodes) }},
			func(c s) string { return strconv.Itoa(c.Nodes) },
			func(edit *e, typed string) string { return readCount(&edit.Nodes, typed, 1, maxClusterNodes) },
		},
		{
			field[s]{"AdditionalDiskGiB", "additional_disk_gib", tracked, func(c s) any { return c.AdditionalDiskGiB }},
			func(c s) string { return strconv.Itoa(c.AdditionalDiskGiB) },
			func(edit *e, typed string) string {
				return readCount(&edit.AdditionalDiskGiB, typed, 0, maxExtraDiskGiB)
			},
		},
		{
			field[s]{"Version", "version", tracked, func(c s) any { return textOrNil(c.Version) }},
			func(c s) string { return c.Version },
			func(edit *e, typed string) string { edit.Version = &typed; return versionProblem(typed) },
		},
		{
			field[s]{"AllowedIPs", "allowed_ips", tracked, func(c s) any { return listOrNil(c.AllowedIPs) }},
			func(c s) string { return strings.Join(c.AllowedIPs, "\n") },
			func(edit *e, typed string) string {
				ranges, problem := parseIPRanges(typed)
				ranges = sortedTexts(ranges)
				edit.AllowedIPs = &ranges
				return problem
			},
		},
		{
			field[s]{"ReplicationFactor", "replication_factor", tracked, func(c s) any { return countOrNil(c.ReplicationFactor) }},
			func(c s) string { return countText(c.ReplicationFactor) },
			func(edit *e, typed string) string { return readFactor(&edit.ReplicationFactor, typed) },
		},
		{
			field[s]{"WriteConsistencyFactor", "write_consistency_factor", tracked, func(c s) any { return countOrNil(c.WriteConsistencyFactor) }},
			func(c s) string { return countText(c.WriteConsistencyFactor) },
			func(edit *e, typed string) string { return readFactor(&edit.WriteConsistencyFactor, typed) },
		},
		{
			field[s]{"VectorsOnDisk", "vectors_on_disk", tracked, func(c s) any { return c.VectorsOnDisk }},
			func(c s) string { return yesNo(c.VectorsOnDisk) },
			func(edit *e, typed string) string { return readYes(&edit.VectorsOnDisk, typed) },
		},
		{
			field[s]{"RestartPolicy", "restart_policy", tracked, func(c s) any { return textOrNil(c.RestartPolicy) }},
			func(c s) string { return c.RestartPolicy },
			func(edit *e, typed string) string {
				edit.RestartPolicy = &typed
				return choiceProblem(typed, RestartPolicies)
			},
		},
		{
			field[s]{"RebalanceStrategy", "rebalance_strategy", tracked, func(c s) any { return textOrNil(c.RebalanceStrategy) }},
			func(c s) string { return c.RebalanceStrategy },
			func(edit *e, typed string) string {
				edit.RebalanceStrategy = &typed
				return choiceProblem(typed, RebalanceStrategies)
			},
		},
	}
}

// clusterFields declares what the log does with the settings of a cluster.
func clusterFields() []field[clusterSettings] {
	var fields []field[clusterSettings]
	for _, s := range clusterSettingsTable() {
		fields = append(fields, s.field)
	}
	return fields
}

// ClusterSettingNames lists the settings of a cluster that can be changed, in the order of the form.
func ClusterSettingNames() []string {
	var names []string
	for _, s := range clusterSettingsTable() {
		names = append(names, s.name)
	}
	return names
}

// texts are the settings as the form shows them, by name.
func (c clusterSettings) texts() map[string]string {
	texts := map[string]string{}
	for _, s := range clusterSettingsTable() {
		texts[s.name] = s.text(c)
	}
	return texts
}

// with returns the settings as an edit makes them.
func (c clusterSettings) with(e cloudapi.ClusterEdit) clusterSettings {
	take(&c.Name, e.Name)
	take(&c.Labels, e.Labels)
	take(&c.CostAllocationLabel, e.CostAllocationLabel)
	take(&c.Nodes, e.Nodes)
	take(&c.PackageID, e.PackageID)
	take(&c.Version, e.Version)
	take(&c.AdditionalDiskGiB, e.AdditionalDiskGiB)
	take(&c.AllowedIPs, e.AllowedIPs)
	take(&c.ReplicationFactor, e.ReplicationFactor)
	take(&c.WriteConsistencyFactor, e.WriteConsistencyFactor)
	take(&c.VectorsOnDisk, e.VectorsOnDisk)
	take(&c.RestartPolicy, e.RestartPolicy)
	take(&c.RebalanceStrategy, e.RebalanceStrategy)
	return c
}

func take[T any](setting *T, wanted *T) {
	if wanted != nil {
		*setting = *wanted
	}
}

// differing leaves in an edit what differs from the settings.
func (c clusterSettings) differing(e cloudapi.ClusterEdit) cloudapi.ClusterEdit {
	drop(&e.Name, c.Name)
	drop(&e.Labels, c.Labels)
	drop(&e.CostAllocationLabel, c.CostAllocationLabel)
	drop(&e.Nodes, c.Nodes)
	drop(&e.PackageID, c.PackageID)
	drop(&e.Version, c.Version)
	drop(&e.AdditionalDiskGiB, c.AdditionalDiskGiB)
	drop(&e.AllowedIPs, c.AllowedIPs)
	drop(&e.ReplicationFactor, c.ReplicationFactor)
	drop(&e.WriteConsistencyFactor, c.WriteConsistencyFactor)
	drop(&e.VectorsOnDisk, c.VectorsOnDisk)
	drop(&e.RestartPolicy, c.RestartPolicy)
	drop(&e.RebalanceStrategy, c.RebalanceStrategy)
	return e
}

func drop[T any](wanted **T, setting T) {
	if *wanted != nil && reflect.DeepEqual(**wanted, setting) {
		*wanted = nil
	}
}

// readCount reads a whole number; nothing typed is none.
func readCount(into **int, typed string, least, most int) (problem string) {
	n := 0
	if typed != "" {
		var err error
		if n, err = strconv.Atoi(typed); err != nil {
			n = least - 1
		}
	}
	*into = &n
	return countProblem(n, least, most)
}

// readFactor reads a factor of new collections; nothing typed is upstream's default.
func readFactor(into **int, typed string) (problem string) {
	if typed == "" {
		*into = new(int)
		return ""
	}
	return readCount(into, typed, 1, maxClusterNodes)
}

func readYes(into **bool, typed string) (problem string) {
	yes := typed == "yes" || typed == "on" || typed == "true"
	*into = &yes
	if !yes && !slices.Contains([]string{"", "no", "off", "false"}, typed) {
		return "Choose yes or no."
	}
	return ""
}

func choiceProblem(typed string, choices []string) string {
	if typed == "" || slices.Contains(choices, typed) {
		return ""
	}
	return "Choose one of the list."
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func labelTexts(labels []cloudapi.Label) any {
	if len(labels) == 0 {
		return nil
	}
	return pairTexts(labels)
}

func countOrNil(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func countText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// ClusterUpdateForm is what a member wants to be different about a cluster, as typed.
type ClusterUpdateForm struct {
	// Revision is that of the cluster the form was filled in for.
	Revision string
	// Fields are by the names of ClusterSettingNames. What is not there is left as it is, and what is
	// there and empty is cleared where that is possible.
	Fields map[string]string
	// Started are the settings that the form was begun with, as EncodeStarted wrote them; optional.
	// A field that still says what it was begun with is no wish.
	Started string
}

// EncodeStarted writes the settings that a form is begun with, for ClusterUpdateForm.Started.
func EncodeStarted(values map[string]string) string {
	text, err := json.Marshal(values)
	if err != nil {
		return "" // a map of texts can always be written
	}
	return string(text)
}

// started are the settings the form was begun with; nil when it does not tell.
func (f ClusterUpdateForm) started() map[string]string {
	var values map[string]string
	if json.Unmarshal([]byte(f.Started), &values) != nil {
		return nil
	}
	return values
}

// wishes are the fields that the member wants to be different, tidied.
func (f ClusterUpdateForm) wishes() map[string]string {
	started := f.started()
	wishes := map[string]string{}
	for _, name := range ClusterSettingNames() {
		typed, sent := f.Fields[name]
		if !sent {
			continue
		}
		if was, known := started[name]; known && tidyText(was) == tidyText(typed) {
			continue
		}
		wishes[name] = tidyText(typed)
	}
	return wishes
}

// tidyText takes away space around a text, and what browsers make of line ends.
func tidyText(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
}

// edit reads the wishes, and says at each field what breaks a rule that can be told without
// upstream. Such a field is not in the edit.
func (f ClusterUpdateForm) edit(generation cloudapi.Generation) (e cloudapi.ClusterEdit, invalid map[string]string) {
	invalid = map[string]string{}
	if strings.TrimSpace(f.Revision) == "" {
		invalid["revision"] = "The form does not say which state of the cluster it was filled in for. Look at the fields and send it again."
	}
	wishes := f.wishes()
	for _, s := range clusterSettingsTable() {
		typed, wished := wishes[s.name]
		if !wished {
			continue
		}
		lacking := legacyLacks(generation, s.name)
		if lacking != "" && typed == "" {
			continue // empty, as it is
		}
		with := e
		if problem := cmp.Or(s.read(&with, typed), lacking); problem != "" {
			invalid[s.name] = problem
			continue
		}
		e = with
	}
	return e, invalid
}

// legacyLacks says why the legacy API does not offer a setting; empty when it does.
func legacyLacks(generation cloudapi.Generation, setting string) string {
	what := map[string]string{
		"labels": "labels", "cost_allocation_label": "cost allocation label",
		"restart_policy": "restart policy", "rebalance_strategy": "rebalance strategy",
	}[setting]
	if generation != cloudapi.PAV1 || what == "" {
		return ""
	}
	return fmt.Sprintf("The legacy pa/v1 API has no %s.", what)
}
