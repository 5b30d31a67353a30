package sandbox

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// day is 24 hours.
const day = 24 * time.Hour

// released is how long a release has been out when the content is made.
func released(version string) time.Duration {
	days := map[string]time.Duration{
		"v1.17.2": 40, "v1.17.1": 75, "v1.16.3": 150, "v1.15.5": 260, "v1.14.1": 390, "v1.13.6": 450, "v1.12.6": 560, "v1.11.5": 690,
	}
	return days[version] * day
}

// seeder makes content. Everything it makes follows from the seed and the time of the first start.
type seeder struct {
	seed    int64
	now     time.Time
	cat     *catalogue
	scale   float64
	rng     *rand.Rand
	nightly cron           // of the seed's schedules
	shared  map[string]any // messages that many have in common, by a name
}

func newSeeder(seed int64, now time.Time, cat *catalogue, scale float64) *seeder {
	nightly, _ := parseCron("0 2 * * *") // it is one
	return &seeder{seed: seed, now: now, cat: cat, scale: scale, rng: rand.New(rand.NewPCG(uint64(seed), 0x51616e74)), nightly: nightly, shared: map[string]any{}}
}

// share returns the one value of a name, which is made the first time. A message that has been stored is never changed, so that a
// hundred thousand clusters can have the same.
func share[T any](g *seeder, name string, make func() T) T {
	v, ok := g.shared[name].(T)
	if !ok {
		v = make()
		g.shared[name] = v
	}
	return v
}

func seedBytes(seed int64, words ...string) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(seed))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(words, "/"))) // a hash never fails
	return mac.Sum(nil)
}

// id is a UUID (version 4 by its form) that follows from the seed and the words.
func (g *seeder) id(words ...string) string {
	var u uuid.UUID
	copy(u[:], seedBytes(g.seed, words...))
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u.String()
}

// fixtureKey is the management key an account of the seed starts with.
func fixtureKey(seed int64, accountID string) string {
	id := (&seeder{seed: seed}).id("management-key", accountID)
	return id + "|" + base64.RawURLEncoding.EncodeToString(append(seedBytes(seed, "secret", accountID), seedBytes(seed, "more", accountID)[:4]...))
}

// accountPlan is an account of the seed.
type accountPlan struct {
	slug, name, company, domain string
	owner                       string
	generation, environment     string
	registered, spare           bool
	free, premium               bool
	clusters                    []clusterPlan
	environments                []environmentPlan
}

type environmentPlan struct{ name, provider, namespace string }

// clusterPlan is one line of the seed.
type clusterPlan struct {
	name, provider, region, size string
	nodes                        int
	version                      string
	disk                         uint64
	phase                        enumValue
	ageDays                      int
	labels                       string // a=b,c=d
	extra                        string // words: jwt-off, ips, reserved, replicas, audit, oom, pending, cost
}

// state makes the whole content: the four accounts, or as many generated ones as asked for.
func (g *seeder) state(accounts, clusters int) *state {
	st := &state{seed: g.seed, accounts: map[string]*account{}}
	plans := g.plans()
	if accounts > 0 || clusters > 0 {
		plans = g.generated(max(accounts, 1), clusters)
	}
	for i, plan := range plans {
		a := g.account(plan)
		a.order = i
		st.accounts[a.id] = a
	}
	return st
}

// fixturesOf lists an installation's fixtures in the order of the seed.
func fixturesOf(st *state) []Fixture {
	var with []*account
	for _, a := range st.accounts {
		if a.fixture != nil {
			with = append(with, a)
		}
	}
	slices.SortFunc(with, func(a, b *account) int { return cmp.Compare(a.order, b.order) })
	out := make([]Fixture, len(with))
	for i, a := range with {
		out[i] = *a.fixture
	}
	return out
}

func (g *seeder) plans() []accountPlan {
	return []accountPlan{
		{
			slug: "production", name: "Northwind Search Production", company: "Northwind Retail", domain: "northwind-retail.example",
			owner: "maria.lindqvist", generation: "current", environment: "production", registered: true, premium: true,
			environments: []environmentPlan{{"Berlin data centre", "openshift", "qdrant-berlin"}},
			clusters: []clusterPlan{
				{"product-search-eu", providerAWS, "eu-central-1", "mx16-premium", 3, "v1.17.2", 0, phaseHealthy, 702, "team=search,tier=critical", "audit replicas cost"},
				{"product-search-us", providerAWS, "us-east-1", "mx16-premium", 3, "v1.17.2", 0, phaseHealthy, 698, "team=search,tier=critical", "audit replicas cost"},
				{"product-search-apac", providerAWS, "ap-southeast-1", "mx16", 3, "v1.17.1", 0, phaseHealthy, 455, "team=search,tier=critical", "replicas"},
				{"recommendations-eu", providerAWS, "eu-central-1", "mx32", 3, "v1.16.3", 256, phaseHealthy, 610, "team=recommendations,tier=critical", "reserved replicas"},
				{"recommendations-us", providerGCP, "us-east4", "mx32", 3, "v1.16.3", 256, phaseNotReady, 588, "team=recommendations,tier=critical", "oom replicas"},
				{"support-assistant", providerAzure, "germanywestcentral", "mx8", 2, "v1.17.2", 64, phaseHealthy, 301, "team=support", "ips"},
				{"image-similarity", providerAWS, "us-west-2", "gpu1", 2, "v1.16.3", 0, phaseHealthy, 214, "team=vision", ""},
				{"fraud-signals", providerAzure, "eastus", "cx8", 3, "v1.17.2", 0, phaseUpgrading, 388, "team=risk,tier=critical", "ips replicas"},
				{"catalogue-dedup", providerGCP, "europe-west3", "mx8", 1, "v1.15.5", 128, phaseHealthy, 520, "team=catalogue", ""},
				{"session-vectors", providerGCP, "europe-west3", "cx4", 2, "v1.17.2", 0, phaseScaling, 96, "team=recommendations", ""},
				{"legal-archive", providerHybrid, "Berlin data centre", "mx8", 2, "v1.14.1", 512, phaseHealthy, 640, "team=legal,residency=de", "ips"},
				{"hr-knowledge-base", providerHybrid, "Berlin data centre", "mx4", 1, "v1.12.6", 0, phaseFailedToSync, 580, "team=people,residency=de", "jwt-off"},
				{"pricing-experiments", providerAWS, "eu-west-1", "mx4", 1, "v1.13.6", 0, phaseSuspended, 245, "team=pricing", ""},
			},
		},
		{
			slug: "staging", name: "Northwind Search Staging", company: "Northwind Retail", domain: "northwind-retail.example",
			owner: "maria.lindqvist", generation: "current", environment: "staging", registered: true, free: true,
			clusters: []clusterPlan{
				{"product-search-staging", providerAWS, "eu-central-1", "mx4", 3, "v1.17.2", 0, phaseHealthy, 660, "team=search", "replicas"},
				{"recommendations-staging", providerAWS, "eu-central-1", "mx8", 1, "v1.17.2", 0, phaseHealthy, 601, "team=recommendations", ""},
				{"support-assistant-staging", providerAzure, "germanywestcentral", "mx2", 1, "v1.17.2", 0, phaseUpdating, 290, "team=support", "ips"},
				{"image-similarity-staging", providerAWS, "us-west-2", "mx4", 1, "v1.16.3", 0, phaseNotReady, 201, "team=vision", "pending"},
				{"fraud-signals-staging", providerAzure, "eastus", "cx2", 1, "v1.17.1", 0, phaseHealthy, 371, "team=risk", ""},
				{"load-test-2", providerGCP, "us-east4", "cx8", 5, "v1.17.2", 0, phaseSuspended, 60, "team=platform,purpose=load-test", ""},
				{"migration-rehearsal", providerAWS, "eu-west-2", "mx8", 1, "v1.15.5", 0, phaseManualMaintenance, 35, "team=platform", ""},
				{"embedding-bakeoff", providerGCP, "europe-west3", "mx2", 1, "v1.17.2", 0, phaseCreating, 0, "team=research", ""},
				{"docs-search-staging", providerAWS, "us-east-1", "free2", 1, "v1.17.2", 0, phaseHealthy, 150, "team=docs", ""},
				{"upgrade-canary", providerAWS, "ap-northeast-1", "mx1", 1, "v1.17.2", 0, phaseHealthy, 412, "team=platform,purpose=canary", ""},
			},
		},
		{
			slug: "legacy", name: "Fjord Analytics", company: "Fjord Analytics", domain: "fjord-analytics.example",
			owner: "jonas.eide", generation: "pa-v1", environment: "production", registered: true,
			clusters: []clusterPlan{
				{"market-reports", providerAWS, "eu-central-1", "mx8", 2, "v1.13.6", 0, phaseHealthy, 725, "", ""},
				{"news-clustering", providerGCP, "europe-west3", "mx4", 1, "v1.12.6", 64, phaseHealthy, 690, "", "jwt-off"},
				{"analyst-chat", providerAzure, "uksouth", "mx4", 2, "v1.15.5", 0, phaseHealthy, 320, "", "ips"},
				{"filings-archive", providerAWS, "us-east-1", "mx16", 1, "v1.11.5", 512, phaseRecoveryMode, 710, "", "jwt-off"},
				{"entity-linking", providerGCP, "us-east4", "cx4", 1, "v1.14.1", 0, phaseHealthy, 410, "", ""},
				{"quarterly-backfill", providerAWS, "eu-west-2", "mx8", 1, "v1.13.6", 0, phaseSuspended, 260, "", ""},
				{"sandbox-jonas", providerAWS, "ap-southeast-2", "free2", 1, "v1.16.3", 0, phaseHealthy, 88, "", ""},
			},
		},
		{
			slug: "spare", name: "Northwind Research", company: "Northwind Retail", domain: "northwind-retail.example",
			owner: "tomasz.zielinski", generation: "current", environment: "development", spare: true, free: true,
			clusters: []clusterPlan{
				{"multimodal-lab", providerAWS, "us-west-2", "gpu1", 1, "v1.17.2", 0, phaseHealthy, 120, "team=research", ""},
				{"sparse-vectors", providerGCP, "europe-west3", "mx2", 1, "v1.17.2", 0, phaseHealthy, 77, "team=research", ""},
				{"hackathon-2026", providerAzure, "southeastasia", "mx1", 1, "v1.16.3", 0, phaseSuspended, 31, "purpose=hackathon", ""},
				{"thesis-anna", providerAWS, "eu-central-1", "free2", 1, "v1.17.1", 0, phaseHealthy, 18, "owner=anna", ""},
				{"late-interaction", providerAWS, "us-east-1", "mx4", 1, "v1.17.2", 0, phaseHealthy, 9, "team=research", ""},
			},
		},
	}
}

// often repeats values, so that one taken at random is each as often as its number says.
func often[T any](values ...any) (out []T) {
	for i := 0; i < len(values); i += 2 {
		for range values[i].(int) {
			out = append(out, values[i+1].(T))
		}
	}
	return out
}

// generated makes plans for many accounts with clusters spread evenly over them: mostly healthy, of a few
// clouds, sizes and versions that are common and some that are rare, in a few regions of an account's own.
func (g *seeder) generated(accounts, clusters int) []accountPlan {
	trades := []string{"Search", "Commerce", "Support", "Insights", "Media", "Health", "Logistics", "Finance", "Travel", "Security"}
	uses := []string{
		"catalogue", "assistant", "recommendations", "dedup", "archive", "signals", "faq", "images", "product-search", "chat-memory", "docs-rag",
		"fraud-vectors", "ads-ranking", "tickets", "contracts", "similar-items", "voice", "news", "geo-lookup", "personalisation",
	}
	stages := often[string](6, "", 2, "-eu", 2, "-us", 2, "-staging", 1, "-dev", 1, "-canary")
	sizes := often[string](2, "mx1", 5, "mx2", 8, "mx4", 6, "mx8", 2, "mx16", 2, "cx2", 3, "cx4", 1, "cx8")
	nodes := often[int](6, 1, 3, 2, 8, 3, 1, 5)
	phases := often[enumValue](880, phaseHealthy, 70, phaseSuspended, 30, phaseNotReady, 8, phaseRecoveryMode, 6, phaseManualMaintenance, 4, phaseFailedToSync, 2, phaseUpgrading)
	versions := often[string](30, "v1.17.2", 20, "v1.17.1", 20, "v1.16.3", 12, "v1.15.5", 8, "v1.14.1", 4, "v1.13.6", 2, "v1.12.6", 1, "v1.11.5")
	tiers := often[string](2, "critical", 5, "standard", 3, "best-effort")
	clouds := often[string](5, providerAWS, 3, providerGCP, 2, providerAzure)
	environments := []string{"production", "production", "staging", "production", "development"}
	plans := make([]accountPlan, accounts)
	for i := range plans {
		trade := trades[i%len(trades)]
		plans[i] = accountPlan{
			slug: fmt.Sprintf("generated-%d", i), name: fmt.Sprintf("%s unit %d", trade, i+1), company: trade + " Group",
			domain: "units.example", owner: fmt.Sprintf("owner%d", i+1), generation: "current",
			environment: environments[i%len(environments)], registered: true,
		}
		count := clusters / accounts
		if i < clusters%accounts {
			count++
		}
		for n := range count {
			provider := clouds[g.rng.IntN(len(clouds))]
			regions := g.cat.regions[provider]
			// Mostly at home, sometimes anywhere.
			region := regions[(i+g.rng.IntN(2))%len(regions)]
			if g.rng.IntN(4) == 0 {
				region = regions[g.rng.IntN(len(regions))]
			}
			plans[i].clusters = append(plans[i].clusters, clusterPlan{
				name:     fmt.Sprintf("%s%s-%d-%d", uses[g.rng.IntN(len(uses))], stages[g.rng.IntN(len(stages))], i+1, n+1),
				provider: provider, region: region.str("id"), size: sizes[g.rng.IntN(len(sizes))], nodes: nodes[g.rng.IntN(len(nodes))],
				version: versions[g.rng.IntN(len(versions))], phase: phases[g.rng.IntN(len(phases))], ageDays: 1 + g.rng.IntN(730),
				labels: fmt.Sprintf("team=%s,tier=%s,cost-centre=cc-%03d", strings.ToLower(trade), tiers[g.rng.IntN(len(tiers))], g.rng.IntN(200)),
			})
		}
	}
	return plans
}

func (g *seeder) account(p accountPlan) *account {
	a := &account{
		id: g.id("account", p.slug), clusters: map[string]*cluster{}, managementKeys: map[string]*managementKey{}, keysV1: map[string]msg{},
		keysV2: map[string]msg{}, settled: g.now.Truncate(day).Add(-2*day - time.Nanosecond), invites: map[string]msg{},
		roles: map[string]msg{}, users: map[string]msg{}, userRoles: map[string][]string{}, environments: map[string]msg{},
		quotas: quotas{Clusters: max(25, 2*len(p.clusters)), Nodes: 10, DatabaseKeys: 20, FreeClusters: 1},
	}
	if a.tier = tierStandard; p.premium {
		a.tier = tierPremium
	}
	created := g.now.Add(-740 * day)
	a.resource = msg{
		"id": a.id, "created_at": created, "last_modified_at": created.Add(31 * day), "name": p.name,
		"external_owner_id": "auth0|" + strings.ReplaceAll(g.id("owner", p.owner), "-", "")[:24], "owner_email": p.owner + "@" + p.domain,
		"company": msg{"name": p.company, "domain": p.domain}, "settings": msg{},
	}
	secret := fixtureKey(g.seed, a.id)
	a.fixture = &Fixture{p.name, p.generation, a.id, secret, p.environment, p.registered, p.spare}
	key := newManagementKey(a.id, g.id("management-key-id", a.id), secret, created.Add(2*day), allPermissions())
	a.managementKeys[key.ID] = key
	old := newManagementKey(a.id, g.id("old-key-id", a.id), fixtureKey(g.seed, "old/"+a.id), created.Add(400*day), allPermissions())
	a.managementKeys[old.ID] = old
	g.people(a, p, created)
	for _, e := range p.environments {
		id := g.id("environment", p.slug, e.name)
		a.environments[id] = msg{
			"id": id, "name": e.name, "available": true, "provider": e.provider, "namespace": e.namespace,
			"capabilities": msg{"volume_snapshot": true, "volume_expansion": true},
			"storage_classes": []any{msg{
				"name": "fast-ssd", "default": true, "provisioner": "csi.trident.netapp.io", "allow_volume_expansion": true, "reclaim_policy": "Delete",
			}},
			"volume_snapshot_classes": []any{msg{"name": "trident-snapshots", "driver": "csi.trident.netapp.io"}},
		}
	}
	for i, cp := range p.clusters {
		g.cluster(a, p, cp, i)
	}
	g.keys(a, p)
	return a
}

// people makes the members, roles and invites of an account.
func (g *seeder) people(a *account, p accountPlan, created time.Time) {
	role := func(name, description string, kind enumValue, subType enumValue, permissions []string) string {
		id := g.id("role", a.id, name)
		m := msg{
			"id": id, "created_at": created, "last_modified_at": created, "account_id": a.id, "name": name, "description": description,
			"role_type": kind, "permissions": share(g, "permissions of "+name, func() []any { return permissionMessages(permissions) }),
		}
		if subType != 0 {
			m["sub_type"] = subType
		}
		a.roles[id] = m
		return id
	}
	var reads []string
	for _, v := range allPermissions() {
		if strings.HasPrefix(v, "read:") && v != "read:payment_information" {
			reads = append(reads, v)
		}
	}
	withoutAccount := slices.DeleteFunc(allPermissions(), func(v string) bool { return v == "delete:account" })
	owner := role("Owner", "Everything, and the account itself.", 1, 1, allPermissions())
	admin := role("Admin", "Everything but deleting the account.", 1, 2, withoutAccount)
	base := role("Base", "What every member may do.", 1, 3, []string{"read:account", "read:profile"})
	viewer := role("Cluster viewer", "Looks at clusters, keys and backups.", 2, 0, reads)
	for i, person := range []struct {
		name  string
		roles []string
	}{
		{p.owner, []string{owner, base}}, {"sofia.marin", []string{admin, base}}, {"deepak.rao", []string{viewer, base}}, {"lena.hoffmann", []string{viewer, base}},
	} {
		id := g.id("user", person.name)
		joined := created.Add(time.Duration(i*40) * day)
		a.users[id] = msg{
			"id": id, "created_at": joined, "last_modified_at": joined, "email": person.name + "@" + p.domain, "status": enumValue(1),
			"default_account_id": a.id, "onboarding_status": enumValue(2),
		}
		a.userRoles[id] = person.roles
		if i == 0 {
			a.ownerID = id
		}
	}
	invite := g.id("invite", a.id)
	invited := g.now.Add(-3 * day)
	a.invites[invite] = msg{
		"id": invite, "account_id": a.id, "account_name": p.name, "user_email": "new.hire@" + p.domain, "user_role_ids": []any{viewer},
		"created_at": invited, "last_modified_at": invited, "created_by_user_id": a.ownerID, "created_by_email": p.owner + "@" + p.domain,
		"status": invitePending,
	}
}

func (g *seeder) labels(text string) []any {
	var out []any
	for pair := range strings.SplitSeq(text, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			out = append(out, share(g, "label "+pair, func() msg { return msg{"key": k, "value": v} }))
		}
	}
	return out
}

// cluster makes one cluster with its backups and schedule.
func (g *seeder) cluster(a *account, p accountPlan, cp clusterPlan, n int) {
	size := g.cat.pkgNamed(cp.provider, cp.size)
	region := cp.region
	if cp.provider == providerHybrid {
		region = g.id("environment", p.slug, cp.region)
	}
	created := g.now.Add(-time.Duration(cp.ageDays)*day - time.Duration(g.rng.IntN(80_000))*time.Second)
	if cp.phase == phaseCreating {
		created = g.now
	}
	// Its nodes run since its release was out, or a while after it was made.
	earliest := created
	if out := g.now.Add(-released(cp.version)); out.After(earliest) {
		earliest = out
	}
	modified := earliest.Add(g.now.Sub(earliest) * time.Duration(g.rng.IntN(90)) / 100).Truncate(time.Second)
	config := g.config(cp, size, modified)
	spec := msg{"name": cp.name, "cloud_provider_id": cp.provider, "cloud_provider_region_id": region, "configuration": config}
	if l := g.labels(cp.labels); len(l) > 0 {
		spec["labels"] = l
	}
	if strings.Contains(cp.extra, "cost") {
		spec["cost_allocation_label"] = "team"
	}
	c := &cluster{
		id: g.id("cluster", p.slug, cp.name), createdAt: created, spec: spec, phase: cp.phase, since: g.now, nodesSince: modified,
		jwt: !strings.Contains(cp.extra, "jwt-off"),
	}
	c.running = c.asked()
	g.situation(c, cp)
	a.clusters[c.id] = c
	if cp.phase != phaseCreating {
		g.backups(a, c, n, size)
	}
}

func (g *seeder) config(cp clusterPlan, size *pkg, modified time.Time) msg {
	config := msg{"number_of_nodes": uint64(cp.nodes), "version": cp.version, "package_id": size.id, "last_modified_at": modified}
	if cp.disk > 0 {
		config["additional_resources"] = msg{"disk": cp.disk}
	}
	if !size.free {
		config["cluster_storage_configuration"] = share(g, "storage", func() msg { return msg{"storage_tier_type": storageCostOptimised} })
	}
	database := msg{}
	for word, set := range map[string]func(){
		"ips": func() { config["allowed_ip_source_ranges"] = []any{"203.0.113.0/24", "198.51.100.16/28"} },
		"reserved": func() {
			config["reserved_cpu_percentage"], config["reserved_memory_percentage"] = uint64(15), uint64(10)
		},
		"replicas": func() {
			database["collection"] = msg{"replication_factor": uint64(2), "write_consistency_factor": int64(1), "vectors": msg{"on_disk": true}}
			config["restart_policy"], config["rebalance_strategy"] = enumValue(1), enumValue(3)
		},
		"audit": func() {
			database["audit_logging"] = msg{"enabled": true, "rotation": enumValue(1), "max_log_files": uint64(14)}
		},
	} {
		if strings.Contains(cp.extra, word) {
			set()
		}
	}
	if cp.provider == providerHybrid {
		database["log_level"] = enumValue(3)
		if !strings.Contains(cp.extra, "jwt-off") {
			database["service"] = msg{"api_key": msg{"name": "qdrant-" + cp.name, "key": "api-key"}, "enable_tls": true}
		}
		config["service_type"] = enumValue(1)
		config["node_selector"] = []any{msg{"key": "node-role.example.com/vector", "value": "true"}}
		config["tolerations"] = []any{msg{"key": "dedicated", "operator": enumValue(2), "value": "qdrant", "effect": enumValue(1)}}
		config["pod_labels"] = []any{msg{"key": "app.kubernetes.io/part-of", "value": "search"}}
	}
	if len(database) > 0 {
		config["database_configuration"] = database
	}
	return config
}

// situation puts a cluster into the phase its plan names, with what belongs to it.
func (g *seeder) situation(c *cluster, cp clusterPlan) {
	ago := func(d time.Duration) { c.since = g.now.Add(-d) }
	soon := func(d time.Duration) { c.until = g.now.Add(time.Duration(float64(d) / g.scale)) }
	switch cp.phase {
	case phaseCreating:
		soon(90 * time.Second)
	case phaseUpgrading:
		c.running.Version = "v1.16.3"
		c.reason = "Upgrading nodes one by one."
		soon(4 * time.Minute)
	case phaseScaling:
		c.running.Nodes = 1
		c.reason = "Adding a node."
		soon(5 * time.Minute)
	case phaseUpdating:
		soon(3 * time.Minute)
	case phaseSuspended:
		ago(20 * day)
	case phaseManualMaintenance:
		ago(3 * time.Hour)
		c.reason = "Qdrant support is moving this cluster to a new volume (ticket 48213)."
	case phaseFailedToSync:
		ago(9 * time.Hour)
		c.reason = "The cloud agent of this environment could not apply the configuration: storage class \"fast-ssd\" has reached its quota."
		if cp.provider != providerHybrid {
			c.reason = "The configuration could not be applied in the region."
			return
		}
		c.sick = map[int]msg{0: {
			"condition": enumValue(1), "condition_message": "0/6 nodes are available: 6 node(s) did not have a volume to bind.",
			"actions": []any{msg{"kind": enumValue(2), "description": "Why a node cannot be scheduled", "url": "https://qdrant.tech/documentation/hybrid-cloud/"}},
		}}
	case phaseRecoveryMode:
		ago(26 * time.Hour)
		c.reason = "Qdrant is in recovery mode after it ran out of memory. Scale up or delete collections, then restart."
	case phaseNotReady:
		ago(25 * time.Minute)
		if strings.Contains(cp.extra, "pending") {
			c.reason = "1 of 1 nodes is not ready."
			c.sick = map[int]msg{0: {
				"condition": enumValue(2), "condition_message": "Back-off pulling image qdrant: the registry did not answer in time.",
				"actions": []any{msg{"kind": enumValue(2), "description": "Why a node does not start", "url": "https://qdrant.tech/documentation/cloud/cluster-monitoring/"}},
			}}
			return
		}
		bad := cp.nodes - 1
		c.reason = fmt.Sprintf("1 of %d nodes is not ready.", cp.nodes)
		c.sick = map[int]msg{bad: {
			"condition": enumValue(3), "condition_message": "Back-off restarting failed container qdrant.",
			"event": enumValue(1), "event_message": "The node used more memory than it has and was stopped.",
			"actions": []any{
				msg{"kind": enumValue(1), "description": "Choose a package with more memory"},
				msg{"kind": enumValue(2), "description": "Reduce memory consumption", "url": "https://qdrant.tech/documentation/guides/optimize/"},
			},
		}}
	default:
		ago(c.between(2*day, 40*day))
	}
	if c.phase == phaseHealthy && g.rng.IntN(3) == 0 {
		c.restartedAt = c.nodesSince
	}
}

// backups makes a schedule for every other cluster that can have backups. What it made in the last days is made when somebody reads the
// account; the oldest of them has failed for every fourth cluster.
func (g *seeder) backups(a *account, c *cluster, n int, size *pkg) {
	if size.free || n%2 == 1 || len(c.name()) < 4 {
		return
	}
	sch := &schedule{
		id: derivedID("schedule", c.id), cluster: c.id, text: "0 2 * * *", cron: g.nightly, display: "nightly", retention: 7 * day, made: c.createdAt.Add(day),
	}
	if n%4 == 0 {
		sch.fails = a.settled.Add(2*time.Hour + time.Nanosecond)
	}
	a.schedules = append(a.schedules, sch)
}
