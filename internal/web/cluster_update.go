package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// clusterUpdateForm is what a browser may say about a change to a cluster. A field that is not sent is
// left as it is.
type clusterUpdateForm struct {
	Revision string `form:"revision"`
	Started  string `form:"started"` // the settings that the form was begun with
	Edit     string `form:"edit"`    // set by the button that leads back to the form

	Name                   *string `form:"name"`
	Labels                 *string `form:"labels"`
	CostAllocationLabel    *string `form:"cost_allocation_label"`
	PackageID              *string `form:"package_id"`
	Nodes                  *string `form:"nodes"`
	AdditionalDiskGiB      *string `form:"additional_disk_gib"`
	Version                *string `form:"version"`
	AllowedIPs             *string `form:"allowed_ips"`
	ReplicationFactor      *string `form:"replication_factor"`
	WriteConsistencyFactor *string `form:"write_consistency_factor"`
	VectorsOnDisk          *string `form:"vectors_on_disk"`
	RestartPolicy          *string `form:"restart_policy"`
	RebalanceStrategy      *string `form:"rebalance_strategy"`
}

// fields are those that were sent, by name.
func (f clusterUpdateForm) fields() map[string]string {
	sent := map[string]string{}
	for name, value := range map[string]*string{
		"name": f.Name, "labels": f.Labels, "cost_allocation_label": f.CostAllocationLabel, "package_id": f.PackageID, "nodes": f.Nodes,
		"additional_disk_gib": f.AdditionalDiskGiB, "version": f.Version, "allowed_ips": f.AllowedIPs, "replication_factor": f.ReplicationFactor,
		"write_consistency_factor": f.WriteConsistencyFactor, "vectors_on_disk": f.VectorsOnDisk, "restart_policy": f.RestartPolicy,
		"rebalance_strategy": f.RebalanceStrategy,
	} {
		if value != nil {
			sent[name] = *value
		}
	}
	return sent
}

func (f clusterUpdateForm) domain() accounts.ClusterUpdateForm {
	return accounts.ClusterUpdateForm{Revision: f.Revision, Started: f.Started, Fields: f.fields()}
}

// hidden is the form as hidden fields of another.
func (f clusterUpdateForm) hidden() []templates.Pair {
	pairs := []templates.Pair{{Name: "revision", Value: f.Revision}, {Name: "started", Value: f.Started}}
	return append(pairs, hiddenSettings(f.fields())...)
}

func hiddenSettings(fields map[string]string) []templates.Pair {
	var pairs []templates.Pair
	for _, name := range accounts.ClusterSettingNames() {
		if value, sent := fields[name]; sent {
			pairs = append(pairs, templates.Pair{Name: name, Value: value})
		}
	}
	return pairs
}

// handleClusterUpdateForm handles GET /accounts/{id}/clusters/{cluster}/update.
func (s *Server) handleClusterUpdateForm(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	u, err := s.accounts.AskClusterUpdate(c.Request().Context(), actorFrom(c), ref)
	if err != nil {
		return fmt.Errorf("read cluster: %w", err)
	}
	return s.render(c, http.StatusOK, templates.ClusterUpdate(s.clusterUpdateView(c, ref, u, clusterUpdateForm{}, nil)))
}

// handleClusterUpdateReview handles POST /accounts/{id}/clusters/{cluster}/update/review, which compares
// and changes nothing.
func (s *Server) handleClusterUpdateReview(c echo.Context) error {
	ref, form, err := bindClusterUpdate(c)
	if err != nil {
		return err
	}
	if form.Edit != "" {
		return s.renderClusterUpdateAgain(c, http.StatusOK, ref, form, nil, "", nil)
	}
	plan, err := s.accounts.PlanClusterUpdate(c.Request().Context(), actorFrom(c), ref, form.domain())
	if err != nil {
		return s.clusterUpdateRefused(c, ref, form, err)
	}
	return s.render(c, http.StatusOK, templates.ClusterReview(s.clusterReviewView(c, ref, plan, form)))
}

// handleClusterUpdate handles POST /accounts/{id}/clusters/{cluster}/update.
func (s *Server) handleClusterUpdate(c echo.Context) error {
	ref, form, err := bindClusterUpdate(c)
	if err != nil {
		return err
	}
	if err := s.accounts.UpdateCluster(c.Request().Context(), actorFrom(c), ref, form.domain()); err != nil {
		return s.clusterUpdateRefused(c, ref, form, err)
	}
	return s.redirect(c, clusterPath(ref.AccountID, ref.ClusterID), "Change asked for. This page follows it.")
}

// bindClusterUpdate reads the form; a request without a body is an empty one.
func bindClusterUpdate(c echo.Context) (accounts.ClusterRef, clusterUpdateForm, error) {
	var form clusterUpdateForm
	ref, err := clusterRef(c)
	if err == nil {
		err = bindForm(c, &form)
	}
	return ref, form, err
}

// clusterUpdateRefused shows what was typed again, with what is wrong with it; what is no fault of the form
// stays an error.
func (s *Server) clusterUpdateRefused(c echo.Context, ref accounts.ClusterRef, form clusterUpdateForm, err error) error {
	if stale, ok := errors.AsType[*accounts.StaleError](err); ok {
		return s.render(c, http.StatusConflict, templates.ClusterStale(s.clusterStaleView(c, ref, stale)))
	}
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderClusterUpdateAgain(c, http.StatusUnprocessableEntity, ref, form, invalid.Fields, "", nil)
	}
	// What may not be given to a field is said there, so that the rest of the form is not lost.
	if forbidden, ok := errors.AsType[*accounts.ForbiddenError](err); ok && forbidden.Field != "" {
		return s.renderClusterUpdateAgain(c, http.StatusForbidden, ref, form, map[string]string{forbidden.Field: forbiddenField(forbidden)}, "", s.refusal(c, err))
	}
	if conflict, ok := errors.AsType[*accounts.ConflictError](err); ok {
		return s.renderClusterUpdateAgain(c, http.StatusConflict, ref, form, map[string]string{"": conflict.Reason}, "", nil)
	}
	if refused, ok := errors.AsType[*accounts.RefusedError](err); ok {
		noteError(c, err)
		said := ""
		if refused.Fields[""] == "" { // else it is quoted there
			said = refused.Upstream.Public()
		}
		return s.renderClusterUpdateAgain(c, refusedStatus(refused), ref, form, refused.Fields, said, nil)
	}
	return fmt.Errorf("change cluster: %w", err)
}

// renderClusterUpdateAgain shows the form with what was typed, and asks nothing of upstream for it.
func (s *Server) renderClusterUpdateAgain(c echo.Context, status int, ref accounts.ClusterRef, form clusterUpdateForm, invalid map[string]string, upstream string, refusal *templates.RefusalView) error {
	u, err := s.accounts.ClusterUpdateAgain(c.Request().Context(), actorFrom(c), ref)
	if err != nil {
		return fmt.Errorf("read cluster: %w", err)
	}
	v := s.clusterUpdateView(c, ref, u, form, invalid)
	v.Upstream, v.Refusal = upstream, refusal
	return s.render(c, status, templates.ClusterUpdate(v))
}

// forbiddenField says at a field why its value is refused.
func forbiddenField(e *accounts.ForbiddenError) string {
	return sentence(e.Reason) + "It needs the right " + e.Missing + ", which you do not hold here."
}

func updateCrumbs(ref accounts.ClusterRef, u accounts.ClusterUpdate) []templates.Link {
	return append(clusterCrumbs(u.Account), templates.Link{Label: named(u.Cluster.Name, ref.ClusterID), Href: clusterPath(ref.AccountID, ref.ClusterID)})
}

// clusterUpdateView is the form, with what was typed over what the cluster has.
func (s *Server) clusterUpdateView(c echo.Context, ref accounts.ClusterRef, u accounts.ClusterUpdate, form clusterUpdateForm, invalid map[string]string) templates.ClusterUpdateView {
	self := clusterPath(ref.AccountID, ref.ClusterID)
	name := named(u.Cluster.Name, ref.ClusterID)
	if form.Revision == "" {
		form.Revision, form.Started = u.Revision, accounts.EncodeStarted(u.Values)
	}
	v := templates.ClusterUpdateView{
		Page: s.page(c, "Change "+name, "cluster-update", "clusters"), Crumbs: updateCrumbs(ref, u), Name: name,
		Legacy: u.Account.Generation == cloudapi.PAV1, Errors: invalid, Action: self + "/update/review", Back: self,
		Hidden: []templates.Pair{{Name: "revision", Value: form.Revision}, {Name: "started", Value: form.Started}},
	}
	typed := form.fields()
	for _, section := range updateSections(u) {
		out := templates.UpdateSection{ID: section.ID, Heading: section.Heading}
		for _, f := range section.Fields {
			f.NotOffered, f.Error = u.NotOffered[f.Name], invalid[f.Name]
			f.Value = u.Values[f.Name]
			f.Shown = settingWords(u, f.Name, f.Value)
			if value, sent := typed[f.Name]; sent {
				f.Value = value
			}
			f.Choices = settingChoices(u, f.Name, f.Value)
			out.Fields = append(out.Fields, f)
		}
		v.Sections = append(v.Sections, out)
	}
	focusFirstWrong(v.Sections)
	return v
}

func focusFirstWrong(sections []templates.UpdateSection) {
	for _, section := range sections {
		for i := range section.Fields {
			if f := &section.Fields[i]; f.Error != "" && f.NotOffered == "" {
				f.Focus = true
				return
			}
		}
	}
}

// updateSections are the parts of the form and their fields, without values.
func updateSections(u accounts.ClusterUpdate) []templates.UpdateSection {
	field := func(name, hint string) templates.UpdateField {
		return templates.UpdateField{Field: templates.Field{Name: name, Label: settingLabel(name), Hint: hint, Autocomplete: "off"}}
	}
	text := func(f templates.UpdateField) templates.UpdateField {
		f.Type = "textarea"
		return f
	}
	required := func(f templates.UpdateField) templates.UpdateField {
		f.Required = true
		return f
	}
	labels := "One a line, as in team=search. At most 10."
	if len(u.Closed) > 0 {
		labels += " Grants go by " + strings.Join(u.Closed, ", ") + ": only who gives rights here may change " + templates.ItOrThem(len(u.Closed)) + "."
	}
	nodes, version := "At least 1.", "Newer versions that this cluster can be updated to. There is no way back."
	if u.MaxNodes > 0 {
		nodes = fmt.Sprintf("From 1 to %d, the account’s quota.", u.MaxNodes)
	}
	if u.Account.Generation == cloudapi.PAV1 {
		version = "As in v1.15.4, or latest. The legacy API does not tell which there are."
	}
	return []templates.UpdateSection{
		{ID: "about", Heading: "Name and labels", Fields: []templates.UpdateField{
			required(field("name", "2 to 64 letters, digits, - and _. The endpoint stays the same.")),
			text(field("labels", labels)),
			field("cost_allocation_label", "What Qdrant’s bills call it."),
		}},
		{ID: "size", Heading: "Size", Fields: []templates.UpdateField{
			required(field("package_id", "What each node has. The price is of one node.")),
			required(field("nodes", nodes)),
			field("additional_disk_gib", "GiB for each node, beyond the package’s. Disks never shrink."),
		}},
		{ID: "software", Heading: "Version", Fields: []templates.UpdateField{required(field("version", version))}},
		{ID: "network", Heading: "Network", Fields: []templates.UpdateField{
			text(field("allowed_ips", "IPv4 ranges that may reach the cluster, one a line, as in 192.0.2.0/24. At most 40. With none, every address may.")),
		}},
		{ID: "defaults", Heading: "Defaults of new collections", Fields: []templates.UpdateField{
			field("replication_factor", "How many nodes hold each shard. Empty: Qdrant’s default."),
			field("write_consistency_factor", "How many of them must confirm a write. Empty: Qdrant’s default."),
			field("vectors_on_disk", ""),
		}},
		{ID: "policies", Heading: "Policies", Fields: []templates.UpdateField{field("restart_policy", ""), field("rebalance_strategy", "")}},
	}
}

func settingLabel(name string) string {
	switch name {
	case "package_id":
		return "Package"
	case "additional_disk_gib":
		return "Additional disk, GiB"
	case "allowed_ips":
		return "Allowed addresses"
	case "vectors_on_disk":
		return "Vectors on disk"
	}
	return templates.Words(strings.ToUpper(name))
}

// settingChoices are what a setting can be chosen from; none for a setting that is typed. What is
// typed stays among them.
func settingChoices(u accounts.ClusterUpdate, name, value string) []templates.Choice {
	var choices []templates.Choice
	explain := func(value, label, hint string) {
		if !slices.ContainsFunc(choices, func(c templates.Choice) bool { return c.Value == value }) {
			choices = append(choices, templates.Choice{Value: value, Label: label, Hint: hint})
		}
	}
	add := func(value, label string) { explain(value, label, "") }
	switch name {
	case "package_id":
		for _, p := range u.Packages {
			label := named(p.Name, p.ID)
			if p.ID == u.Values[name] {
				label += ", as it is"
			}
			explain(p.ID, label, packageHint(p))
		}
	case "version":
		if u.Account.Generation == cloudapi.PAV1 {
			return nil
		}
		present := u.Values["version"]
		add(present, settingWords(u, name, present)+", as it is")
		for _, r := range u.Releases {
			add(r.Version, releaseLabel(r))
		}
	case "vectors_on_disk":
		add("no", "No")
		add("yes", "Yes")
	case "restart_policy", "rebalance_strategy":
		values := accounts.RestartPolicies
		if name == "rebalance_strategy" {
			values = accounts.RebalanceStrategies
		}
		for _, v := range append([]string{""}, values...) {
			add(v, settingWords(u, name, v))
		}
	default:
		return nil
	}
	add(value, settingWords(u, name, value))
	for i := range choices {
		choices[i].Selected = choices[i].Value == value
	}
	return choices
}

// packageHint is what a package has and costs beside its name.
func packageHint(p cloudapi.Package) string {
	words := packageSize(p)
	if p.Currency != "" {
		words = append(words, templates.PerHour(p.PricePerHourMillicents, p.Currency)+" an hour", templates.PerMonth(p.PricePerHourMillicents, p.Currency)+" a month")
	}
	if p.Deactivated() {
		words = append(words, "no longer offered to others")
	}
	return strings.Join(words, " · ")
}

func packageWords(p cloudapi.Package) string {
	return strings.Join(append([]string{named(p.Name, p.ID)}, packageSize(p)...), " · ")
}

func packageSize(p cloudapi.Package) []string {
	words := []string{templates.MiB(p.RAMMiB) + " RAM", templates.CPU(p.CPUMilli), templates.MiB(p.DiskMiB) + " disk"}
	if p.GPUMilli > 0 {
		words = append(words, templates.Amount(float64(p.GPUMilli)/1000)+" GPU")
	}
	if p.MultiAZ {
		words = append(words, "multi-AZ")
	}
	return words
}

func releaseLabel(r cloudapi.Release) string {
	label := r.Version
	if r.Default {
		label += ", the default"
	}
	if r.Remarks != "" {
		label += ": " + r.Remarks
	}
	return label
}

// settingWords tells a setting, as the form has it, in words.
func settingWords(u accounts.ClusterUpdate, name, value string) string {
	switch name {
	case "package_id":
		if i := slices.IndexFunc(u.Packages, func(p cloudapi.Package) bool { return p.ID == value }); i >= 0 {
			return packageWords(u.Packages[i])
		}
	case "additional_disk_gib":
		if gib, err := strconv.Atoi(value); err == nil && gib > 0 {
			return value + " GiB"
		}
		if value == "" || value == "0" {
			return "none"
		}
	case "labels", "cost_allocation_label":
		if value == "" {
			return "none"
		}
	case "allowed_ips":
		if value == "" {
			return "every address"
		}
	case "version", "replication_factor", "write_consistency_factor", "restart_policy", "rebalance_strategy":
		if value == "" {
			return "Qdrant’s default"
		}
		return templates.Words(value)
	case "vectors_on_disk":
		return templates.Words(strings.ToUpper(value))
	}
	return value
}

// clusterReviewView compares the cluster with what it would be.
func (s *Server) clusterReviewView(c echo.Context, ref accounts.ClusterRef, plan accounts.ClusterPlan, form clusterUpdateForm) templates.ClusterReviewView {
	self := clusterPath(ref.AccountID, ref.ClusterID)
	name := named(plan.Cluster.Name, ref.ClusterID)
	v := templates.ClusterReviewView{
		Page: s.page(c, "Apply changes to "+name+"?", "cluster-update-review", "clusters"), Crumbs: updateCrumbs(ref, plan.ClusterUpdate), Name: name,
		Price: priceView(plan), Warnings: updateWarnings(plan), Points: updatePoints(plan), Risks: riskViews(plan), Hidden: form.hidden(),
		Apply: self + "/update", Edit: self + "/update/review", Back: self,
	}
	if plan.Account.Environment == accounts.Production {
		v.Production = plan.Account.Name
	}
	for _, setting := range plan.Differing {
		v.Rows = append(v.Rows, templates.ChangeRow{
			Field: setting, Label: settingLabel(setting),
			Before: settingWords(plan.ClusterUpdate, setting, plan.Values[setting]), After: settingWords(plan.ClusterUpdate, setting, plan.Wanted[setting]),
		})
	}
	return v
}

func priceView(plan accounts.ClusterPlan) templates.PriceView {
	before, after := plan.PriceBefore, plan.PriceAfter
	if before == nil || after == nil {
		return templates.PriceView{Note: "Qdrant Cloud does not tell the price of a package."}
	}
	differ := after.PerHour - before.PerHour
	v := templates.PriceView{
		Known:      true,
		BeforeHour: templates.PerHour(before.PerHour, before.Currency), BeforeMonth: templates.PerMonth(before.PerHour, before.Currency),
		AfterHour: templates.PerHour(after.PerHour, after.Currency), AfterMonth: templates.PerMonth(after.PerHour, after.Currency),
		DifferHour: templates.PerHour(differ, after.Currency), DifferMonth: templates.PerMonth(differ, after.Currency),
	}
	switch {
	case before.Currency != after.Currency:
		v.Tone, v.Word, v.DifferHour, v.DifferMonth = "tone-warn", "Another currency", "–", "–"
	case differ > 0:
		v.Tone, v.Word, v.DifferHour, v.DifferMonth = "tone-warn", "Costs more", "+"+v.DifferHour, "+"+v.DifferMonth
	case differ < 0:
		v.Tone, v.Word = "tone-ok", "Costs less"
	default:
		v.Tone, v.Word = "tone-off", "Costs the same"
	}
	var notes []string
	if after.Estimate != "" {
		notes = append(notes, "An estimate from the list prices: discounts of the account are not in it.")
	}
	if before.WithoutDisk || after.WithoutDisk {
		notes = append(notes, "Additional disk is not in it: its price is not told.")
	}
	v.Note = strings.Join(notes, " ")
	return v
}

func riskViews(plan accounts.ClusterPlan) []templates.RiskView {
	if !plan.Smaller {
		return nil
	}
	if plan.RisksUnknown != "" {
		return []templates.RiskView{{Tone: "tone-warn", Word: "Not known", Reason: asSentence(plan.RisksUnknown) + " Look at what the nodes use before you go on."}}
	}
	if len(plan.Risks) == 0 {
		return []templates.RiskView{{Tone: "tone-warn", Word: "Not known", Reason: "Qdrant Cloud says nothing of what this package risks. Look at what the nodes use before you go on."}}
	}
	var views []templates.RiskView
	for _, r := range plan.Risks {
		v := templates.RiskView{Reason: r.Reason}
		what := templates.Words(r.Resource)
		switch r.Status {
		case "NO_RISK":
			v.Tone, v.Word = "tone-ok", what+": no risk found"
		case "USAGE_EXCEEDS_TARGET":
			v.Tone, v.Word = "tone-bad", what+": more is used than the package has"
		case "USAGE_UNKNOWN":
			v.Tone, v.Word = "tone-warn", what+": not known what is used"
		default:
			v.Tone, v.Word = "tone-warn", what+": "+templates.Words(r.Status)
		}
		views = append(views, v)
	}
	return views
}

// updateWarnings are what may go wrong, or what others lose.
func updateWarnings(plan accounts.ClusterPlan) []string {
	var warnings []string
	before, after := count(plan.Values["nodes"]), count(plan.Wanted["nodes"])
	if after < before {
		warnings = append(warnings, fmt.Sprintf("%s taken away. What they hold has to move to the others first, and the others must have room for it.", nodesAre(before-after)))
	}
	if plan.Smaller {
		warnings = append(warnings, "The new package has less than the present one. A cluster that needs more than its nodes have stops answering.")
	}
	if slices.Contains(plan.Differing, "allowed_ips") && plan.Wanted["allowed_ips"] == "" {
		warnings = append(warnings, "Every address may reach the cluster then. Only its keys protect it.")
	}
	if factor := count(plan.Wanted["replication_factor"]); factor > after {
		warnings = append(warnings, fmt.Sprintf("The replication factor %d is more than the cluster has nodes.", factor))
	}
	return warnings
}

// updatePoints are what follows from a change.
func updatePoints(plan accounts.ClusterPlan) []string {
	differs := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(plan.Differing, n) })
	}
	var points []string
	if differs("package_id", "version") {
		points = append(points, "Its nodes restart.", restartPoints(plan.Cluster)[1])
	}
	if differs("version") {
		points = append(points, "A version cannot be taken back.")
	}
	if added := count(plan.Wanted["nodes"]) - count(plan.Values["nodes"]); added > 0 {
		points = append(points, fmt.Sprintf("%s added. Shards move to them as the rebalance strategy says.", nodesAre(added)))
	}
	if differs("additional_disk_gib") || plan.PackageAfter.DiskMiB > plan.PackageBefore.DiskMiB {
		points = append(points, "Disks never shrink, so more disk cannot be taken back.")
	}
	if differs("allowed_ips") && plan.Wanted["allowed_ips"] != "" {
		points = append(points, "Addresses outside the ranges cannot reach the cluster any more.")
	}
	if differs("replication_factor", "write_consistency_factor", "vectors_on_disk") {
		points = append(points, "Collections made from now on have the new defaults. Those that exist stay as they are.")
	}
	if differs("name") {
		points = append(points, "The endpoint and the keys stay the same.")
	}
	return points
}

func nodesAre(n int) string {
	if n == 1 {
		return "1 node is"
	}
	return fmt.Sprintf("%d nodes are", n)
}

// count reads a number of ours; what is none is 0.
func count(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// clusterStaleView shows both sides, and carries the wishes on to what the cluster is now.
func (s *Server) clusterStaleView(c echo.Context, ref accounts.ClusterRef, stale *accounts.StaleError) templates.ClusterStaleView {
	self := clusterPath(ref.AccountID, ref.ClusterID)
	u := stale.Now
	name := named(u.Cluster.Name, ref.ClusterID)
	v := templates.ClusterStaleView{
		Page: s.page(c, name+" was changed meanwhile", "cluster-update-stale", "clusters"), Crumbs: updateCrumbs(ref, u), Name: name,
		Started: stale.Started != nil, Left: len(stale.Left) > 0, Review: self + "/update/review", Back: self,
		Hidden: append([]templates.Pair{{Name: "revision", Value: u.Revision}, {Name: "started", Value: accounts.EncodeStarted(u.Values)}}, hiddenSettings(stale.Wished)...),
	}
	for _, setting := range accounts.ClusterSettingNames() {
		wanted, wished := stale.Wished[setting]
		started, told := stale.Started[setting]
		if !wished && (!told || started == u.Values[setting]) {
			continue
		}
		row := templates.StaleRow{Field: setting, Label: settingLabel(setting), Now: settingWords(u, setting, u.Values[setting]), Wished: wished}
		if told {
			row.Started = settingWords(u, setting, cut(started, maxShown))
		}
		if wished {
			row.Wanted = settingWords(u, setting, cut(wanted, maxShown))
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

// maxShown bounds what is repeated of a form beside other things, in bytes.
const maxShown = 4096
