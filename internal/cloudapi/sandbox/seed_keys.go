package sandbox

import (
	"encoding/base64"
	"fmt"
	"slices"
	"time"
)

// keyPlan is one database key of the seed.
type keyPlan struct {
	name  string
	by    string        // who made it, before the @; empty: a program
	ends  time.Duration // from now on, negative: it has ended; 0: never
	rules []any
}

// keyPlans are the keys of an account, in the order in which its clusters get them: one, two, three,
// one and so on, and again from the start when all are given out.
func (g *seeder) keyPlans(owner string) []keyPlan {
	global := func(access enumValue) []any {
		return share(g, fmt.Sprint("global access ", access), func() []any { return []any{msg{"global_access": msg{"access_type": access}}} })
	}
	collection := func(name string, access enumValue) any {
		return share(g, fmt.Sprint("access to ", name, access), func() msg {
			return msg{"collection_access": msg{"collection_name": name, "access_type": access}}
		})
	}
	return []keyPlan{
		{"ingest pipeline", owner, 0, global(globalManage)},
		{"web frontend", "", 62 * day, global(globalReadOnly)},
		{"nightly reindex", "henrik.solberg", -9 * day, nil}, // he is no member any more
		{"data science", "sofia.marin", 5 * day, []any{collection("events", collectionReadOnly), collection("features_v2", collectionReadWrite)}},
		{"mobile app", "", 20 * time.Hour, []any{collection("products", collectionReadOnly)}},
		{"support widget", owner, 24 * day, []any{collection("articles", collectionReadOnly)}},
		{"load generator", "", 0, global(globalReadOnly)},
	}
}

// keys makes the database keys of an account: version 2 for clusters that read JSON Web Tokens, and of
// the old kind one for several clusters, and one for each cluster that reads nothing else.
func (g *seeder) keys(a *account, p accountPlan) {
	queue := g.keyPlans(p.owner)
	var opened []any
	var since time.Time
	for i, cp := range p.clusters {
		c := a.clusters[g.id("cluster", p.slug, cp.name)]
		if c.phase == phaseCreating {
			continue
		}
		if len(opened) < 3 {
			opened = append(opened, c.id)
			since = later(since, c.createdAt)
		}
		if !c.jwt {
			g.keyV1(a, c.createdAt.Add(time.Hour), []any{c.id})
			continue
		}
		for n := range 1 + i%3 {
			at := slices.IndexFunc(queue, func(k keyPlan) bool { return k.ends >= 0 || g.now.Add(k.ends).After(c.createdAt.Add(day)) })
			k := queue[at] // there is always one, since most have not ended
			queue = append(slices.Delete(queue, at, at+1), k)
			g.keyV2(a, p, c, k, c.createdAt.Add(time.Duration(n+1)*time.Hour))
		}
	}
	if len(opened) > 0 {
		g.keyV1(a, since.Add(time.Hour), opened)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// keyV2 makes a key not before earliest; one that ends lives 90 days where it can.
func (g *seeder) keyV2(a *account, p accountPlan, c *cluster, plan keyPlan, earliest time.Time) {
	id := g.id("key", c.id, plan.name)
	k := msg{
		"id": id, "account_id": a.id, "created_at": earliest, "cluster_id": c.id, "name": plan.name, "postfix": g.visible(id, postfixLength),
	}
	if plan.ends != 0 {
		ends := g.now.Add(plan.ends)
		k["expires_at"], k["created_at"] = ends, later(earliest, ends.Add(-90*day))
	}
	if plan.by != "" {
		k["created_by_email"] = plan.by + "@" + p.domain
	}
	if len(plan.rules) > 0 {
		k["access_rules"] = plan.rules
	}
	a.keysV2[id] = k
}

func (g *seeder) keyV1(a *account, created time.Time, clusters []any) {
	words := []string{"key-v1"}
	for _, id := range clusters {
		s, _ := id.(string)
		words = append(words, s)
	}
	id := g.id(words...)
	a.keysV1[id] = msg{"id": id, "account_id": a.id, "created_at": created, "cluster_ids": clusters, "prefix": g.visible(id, prefixLength)}
}

// visible is the part of a key's secret that listings show.
func (g *seeder) visible(id string, length int) string {
	return base64.RawURLEncoding.EncodeToString(seedBytes(g.seed, "visible", id))[:length]
}
