package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func keysPath(f Fixture, version int) string {
	return fmt.Sprintf("/api/cluster/auth/v%d/accounts/%s/database-api-keys", version, f.CloudAccountID)
}

// newKey is a valid key of version 2.
func newKey(cluster, name string) map[string]any {
	return map[string]any{"clusterId": cluster, "name": name}
}

func (b *bench) makeKey(f Fixture, version int, key map[string]any) reply {
	b.t.Helper()
	return b.call(f, "POST", keysPath(f, version), map[string]any{"databaseApiKey": key})
}

// keyIDs lists the ids of an account's keys.
func (b *bench) keyIDs(f Fixture, version int, query string) []string {
	b.t.Helper()
	list := b.call(f, "GET", keysPath(f, version)+query, nil).want(b.t, 200)
	items, _ := list.get("items").([]any)
	var out []string
	for i := range items {
		out = append(out, list.get("items", i, "id").(string))
	}
	return out
}

func globalRule(access string) map[string]any {
	return map[string]any{"globalAccess": map[string]any{"accessType": "GLOBAL_ACCESS_RULE_ACCESS_TYPE_" + access}}
}

func collectionRule(name, access string) map[string]any {
	return map[string]any{"collectionAccess": map[string]any{"collectionName": name, "accessType": "COLLECTION_ACCESS_RULE_ACCESS_TYPE_" + access}}
}

// TestDatabaseKey follows a key of version 2 from its making to its end: the secret is in the first
// answer and nowhere else.
func TestDatabaseKey(t *testing.T) {
	var logged bytes.Buffer
	path := filepath.Join(t.TempDir(), "state.json")
	b := setup(t, func(c *Config) {
		c.StatePath, c.Logger = path, slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	f := b.fixture(0)
	cluster, other := b.clusterNamed(f, "product-search-eu"), b.clusterNamed(f, "product-search-us")
	for _, c := range []struct {
		name   string
		set    func(map[string]any)
		access any
	}{
		{"all by default", func(map[string]any) {}, "m"},
		{"manage all", func(k map[string]any) { k["accessRules"] = []any{globalRule("MANAGE")} }, "m"},
		{"read all", func(k map[string]any) { k["accessRules"] = []any{globalRule("READ_ONLY")} }, "r"},
		{"two collections", func(k map[string]any) {
			k["accessRules"] = []any{collectionRule("products", "READ_ONLY"), collectionRule("a-b_c.d", "READ_WRITE")}
		}, []any{map[string]any{"collection": "products", "access": "r"}, map[string]any{"collection": "a-b_c.d", "access": "rw"}}},
		{"ends", func(k map[string]any) { k["expiresAt"] = b.clock.Add(90 * day).Format(time.RFC3339) }, "m"},
	} {
		asked := newKey(cluster, c.name)
		c.set(asked)
		made := b.makeKey(f, 2, asked).want(t, 200)
		got := made.get("databaseApiKey").(map[string]any)
		secret, id := got["key"].(string), got["id"].(string)
		if !strings.HasPrefix(secret, "eyJhb") || !strings.HasSuffix(secret, got["postfix"].(string)) || got["createdByEmail"] != nil || got["createdAt"] == nil {
			t.Errorf("%s: %s", c.name, made.body)
		}
		claims := claimsOf(t, secret)
		if diff := cmp.Diff(c.access, claims["access"]); diff != "" {
			t.Errorf("%s: access in the token:\n%s", c.name, diff)
		}
		if (asked["expiresAt"] != nil) != (claims["exp"] != nil) {
			t.Errorf("%s: the token ends at %v", c.name, claims["exp"])
		}
		for name, want := range asked {
			if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got[name])); diff != "" {
				t.Errorf("%s: %s differs from what was asked:\n%s", c.name, name, diff)
			}
		}
		delete(got, "key")
		list := b.call(f, "GET", keysPath(f, 2)+"?clusterId="+cluster, nil).want(t, 200)
		items := list.get("items").([]any)
		at := slices.IndexFunc(items, func(k any) bool { return k.(map[string]any)["id"] == id })
		if at < 0 {
			t.Fatalf("%s is not listed: %s", c.name, list.body)
		}
		if diff := cmp.Diff(got, items[at]); diff != "" {
			t.Errorf("%s: the listing differs from the answer:\n%s", c.name, diff)
		}
		b.call(f, "DELETE", keysPath(f, 2)+"/"+id, nil).want(t, 400) // without its cluster
		b.call(f, "DELETE", keysPath(f, 2)+"/"+id+"?clusterId="+other, nil).want(t, 404)
		if !slices.Contains(b.keyIDs(f, 2, ""), id) {
			t.Errorf("%s was deleted through another cluster", c.name)
		}
		b.mu.Lock()
		if err := b.save(); err != nil {
			t.Error(err)
		}
		b.mu.Unlock()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte(id)) || bytes.Contains(data, []byte(secret)) || strings.Contains(logged.String(), secret) {
			t.Errorf("%s: the state has not the key, or state or log have its secret", c.name)
		}
		b.call(f, "DELETE", keysPath(f, 2)+"/"+id+"?clusterId="+cluster, nil).want(t, 200)
		b.call(f, "DELETE", keysPath(f, 2)+"/"+id+"?clusterId="+cluster, nil).want(t, 404)
		if slices.Contains(b.keyIDs(f, 2, ""), id) {
			t.Errorf("%s is still listed", c.name)
		}
	}
}

// claimsOf reads the middle of a JSON Web Token.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestDatabaseKeyRefusals: what is refused beyond the rules of single fields, and that nothing is
// made then.
func TestDatabaseKeyRefusals(t *testing.T) {
	b := setup(t)
	f, stranger := b.fixture(0), b.fixture(1)
	cluster := b.clusterNamed(f, "product-search-eu")
	noJWT := b.clusterNamed(f, "hr-knowledge-base")
	old := b.clusterNamed(f, "catalogue-dedup")
	b.accounts[f.CloudAccountID].clusters[old].running.Version = "v1.10.9"
	going := b.ready(f, newCluster("going"))
	b.call(f, "DELETE", clustersPath(f)+"/"+going, nil).want(t, 200)
	many := slices.Repeat([]any{collectionRule("products", "READ_ONLY")}, 21)
	before := b.keyIDs(f, 2, "")
	for _, c := range []struct {
		what   string
		key    map[string]any
		status int
		code   float64
		field  string
	}{
		{"a name of three letters", newKey(cluster, "abc"), 400, 3, "database_api_key.name"},
		{"a name with a dot", newKey(cluster, "a.b.c"), 400, 3, "database_api_key.name"},
		{"no name", map[string]any{"clusterId": cluster}, 400, 3, "database_api_key.name"},
		{"no cluster", map[string]any{"name": "nowhere"}, 400, 3, "database_api_key.cluster_id"},
		{"ended already", edit(newKey(cluster, "ended"), "expiresAt", b.clock.Format(time.RFC3339)), 400, 3, "database_api_key.expires_at"},
		{"an empty rule", edit(newKey(cluster, "empty rule"), "accessRules", []any{map[string]any{}}), 400, 3, "database_api_key.access_rules[0]"},
		{"two global rules", edit(newKey(cluster, "twice"), "accessRules", []any{globalRule("MANAGE"), globalRule("READ_ONLY")}), 400, 3, "database_api_key"},
		{"mixed rules", edit(newKey(cluster, "mixed"), "accessRules", []any{globalRule("MANAGE"), collectionRule("products", "READ_ONLY")}), 400, 3, "database_api_key"},
		{"21 rules", edit(newKey(cluster, "many"), "accessRules", many), 400, 3, "database_api_key.access_rules"},
		{"a collection with a slash", edit(newKey(cluster, "slash"), "accessRules", []any{collectionRule("a/b", "READ_ONLY")}), 400, 3, "database_api_key.access_rules[0].collection_access.collection_name"},
		{"read-only key", edit(newKey(cluster, "chosen"), "key", "eyJhbchosen"), 400, 3, ""},
		{"an unknown cluster", newKey(newID(), "unknown"), 404, 5, ""},
		{"another account's cluster", newKey(b.clusterNamed(stranger, "upgrade-canary"), "stranger"), 404, 5, ""},
		{"a cluster without JWT RBAC", newKey(noJWT, "no jwt"), 400, 9, ""},
		{"a cluster that is too old", newKey(old, "too old"), 400, 9, ""},
		{"a cluster that is being deleted", newKey(going, "going"), 400, 9, ""},
	} {
		got := b.makeKey(f, 2, c.key)
		field, _ := got.get("details", 0, "fieldViolations", 0, "field").(string)
		if got.status != c.status || got.get("code") != c.code || field != c.field {
			t.Errorf("%s: %d at %q: %s", c.what, got.status, field, got.body)
		}
	}
	if diff := cmp.Diff(before, b.keyIDs(f, 2, "")); diff != "" {
		t.Errorf("a refused key was made:\n%s", diff)
	}
	narrow := b.ctl("POST", "keys", map[string]any{"account": f.CloudAccountID, "permissions": []string{"read:api_keys"}}).get("management_key").(string)
	reader := Fixture{CloudAccountID: f.CloudAccountID, ManagementKey: narrow}
	b.call(reader, "GET", keysPath(f, 2), nil).want(t, 200)
	b.makeKey(reader, 2, newKey(cluster, "not allowed")).want(t, 403)
	b.makeKey(reader, 1, map[string]any{"clusterIds": []any{cluster}}).want(t, 403)
	b.call(reader, "DELETE", keysPath(f, 2)+"/"+before[0]+"?clusterId="+cluster, nil).want(t, 403)
}

// TestEnablingJWTAllowsKeys: what EnableClusterJwtRbac is for, once and for good.
func TestEnablingJWTAllowsKeys(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	id := b.clusterNamed(f, "news-clustering")
	b.makeKey(f, 2, newKey(id, "too early")).want(t, 400)
	enable := func() reply { return b.call(f, "POST", clustersPath(f)+"/"+id+"/enable-jwt", nil) }
	enable().want(t, 200)
	b.clock = b.clock.Add(time.Minute)
	if got := b.cluster(f, id); got.get("cluster", "state", "jwtRbac") != true || b.phase(f, id) != "HEALTHY" {
		t.Errorf("enabled: %s", got.body)
	}
	if got := enable(); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("a second time: %d %s", got.status, got.body)
	}
	b.makeKey(f, 2, newKey(id, "now it may")).want(t, 200)
	hybrid := b.fixture(0)
	if got := b.call(hybrid, "POST", clustersPath(hybrid)+"/"+b.clusterNamed(hybrid, "hr-knowledge-base")+"/enable-jwt", nil); got.status != 400 {
		t.Errorf("hybrid: %d", got.status)
	}
}

// TestQuotaOfDatabaseKeys: for each cluster and version by itself; a deleted key makes room.
func TestQuotaOfDatabaseKeys(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	one, two := b.ready(f, newCluster("keyed-one")), b.ready(f, newCluster("keyed-two"))
	b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "quotas": map[string]any{"database_keys": 2}})
	first := b.makeKey(f, 2, edit(newKey(one, "first"), "expiresAt", b.clock.Add(time.Hour).Format(time.RFC3339))).want(t, 200).get("databaseApiKey", "id").(string)
	b.makeKey(f, 2, newKey(one, "second")).want(t, 200)
	b.clock = b.clock.Add(2 * time.Hour)
	if got := b.makeKey(f, 2, newKey(one, "third")); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("over the quota: %d %s", got.status, got.body)
	}
	if !slices.Contains(b.keyIDs(f, 2, "?clusterId="+one), first) {
		t.Error("a key that has ended is not listed")
	}
	b.makeKey(f, 2, newKey(two, "elsewhere")).want(t, 200)
	b.call(f, "DELETE", keysPath(f, 2)+"/"+first+"?clusterId="+one, nil).want(t, 200)
	b.makeKey(f, 2, newKey(one, "third")).want(t, 200)
	both := map[string]any{"clusterIds": []any{one, two}}
	b.makeKey(f, 1, both).want(t, 200)
	b.makeKey(f, 1, map[string]any{"clusterIds": []any{one}}).want(t, 200)
	b.makeKey(f, 1, both).want(t, 400)
	b.makeKey(f, 1, map[string]any{"clusterIds": []any{two}}).want(t, 200)
}

// TestDatabaseKeyV1: keys of the old kind open several clusters, and are the same in pa/v1.
func TestDatabaseKeyV1(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	one, two := b.clusterNamed(f, "market-reports"), b.clusterNamed(f, "filings-archive")
	made := b.makeKey(f, 1, map[string]any{"clusterIds": []any{strings.ToUpper(one), two, one}}).want(t, 200)
	id, secret := made.get("databaseApiKey", "id").(string), made.get("databaseApiKey", "key").(string)
	if ids := fmt.Sprint(made.get("databaseApiKey", "clusterIds")); ids != fmt.Sprint([]any{one, two}) || !strings.HasPrefix(secret, made.get("databaseApiKey", "prefix").(string)) {
		t.Errorf("made: %s", made.body)
	}
	for _, cluster := range []string{one, two} {
		if !slices.Contains(b.keyIDs(f, 1, "?clusterId="+cluster), id) {
			t.Errorf("not listed for %s", cluster)
		}
		legacy := b.call(f, "GET", legacyPath(f)+"/auth/api-keys?cluster_id="+cluster, nil).want(t, 200)
		if !bytes.Contains(legacy.body, []byte(id)) || bytes.Contains(legacy.body, []byte(secret)) {
			t.Errorf("pa/v1 lists %s", legacy.body)
		}
	}
	if slices.Contains(b.keyIDs(f, 1, "?clusterId="+b.clusterNamed(f, "analyst-chat")), id) {
		t.Error("listed for a cluster it does not open")
	}
	for what, c := range map[string]struct {
		key    map[string]any
		status int
	}{
		"no clusters":         {map[string]any{}, 400},
		"an unknown one":      {map[string]any{"clusterIds": []any{one, newID()}}, 404},
		"no identifier":       {map[string]any{"clusterIds": []any{"market-reports"}}, 400},
		"a chosen prefix":     {map[string]any{"clusterIds": []any{one}, "prefix": "chosen"}, 400},
		"another account's":   {map[string]any{"clusterIds": []any{b.clusterNamed(b.fixture(0), "legal-archive")}}, 404},
		"something read-only": {map[string]any{"clusterIds": []any{one}, "createdAt": "2026-01-01T00:00:00Z"}, 400},
	} {
		if got := b.makeKey(f, 1, c.key); got.status != c.status {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	b.call(f, "DELETE", clustersPath(f)+"/"+one, nil).want(t, 200)
	b.makeKey(f, 1, map[string]any{"clusterIds": []any{two, one}}).want(t, 400)
	b.clock = b.clock.Add(time.Minute)
	if left := b.call(f, "GET", keysPath(f, 1)+"?clusterId="+two, nil).want(t, 200); !bytes.Contains(left.body, []byte(id)) || bytes.Contains(left.body, []byte(one)) {
		t.Errorf("after one of its clusters is gone: %s", left.body)
	}
	b.call(f, "DELETE", keysPath(f, 1)+"/"+id, nil).want(t, 200)
	b.call(f, "DELETE", keysPath(f, 1)+"/"+id, nil).want(t, 404)
	b.call(f, "DELETE", legacyPath(f)+"/auth/api-keys/"+id, nil).want(t, 404)
}

// TestSeedHasEveryKindOfKey: each account of the seed has keys that never end, have ended, and end
// soon, with every kind of access, made by members, by others and by programs.
func TestSeedHasEveryKindOfKey(t *testing.T) {
	b := setup(t)
	for _, f := range b.Fixtures() {
		a := b.accounts[f.CloudAccountID]
		seen, names := map[string]bool{}, map[string]bool{}
		members := map[string]bool{}
		for _, u := range a.users {
			members[u.str("email")] = true
		}
		for id, k := range a.keysV2 {
			c := a.clusters[k.str("cluster_id")]
			name := c.id + k.str("name")
			if !c.jwt || olderVersion(c.running.Version, jwtSince) || names[name] {
				t.Errorf("%s: key %s of %s cannot be", f.Name, k.str("name"), c.name())
			}
			names[name] = true
			if at := k.when("created_at"); at.Before(c.createdAt) || at.After(b.clock) || k.has("expires_at") && !k.when("expires_at").After(at) {
				t.Errorf("%s: key %s of %s was made %s and ends %s", f.Name, k.str("name"), c.name(), at, k.when("expires_at"))
			}
			if v := b.validator.validate(b.schema.messages["cluster.auth.v2.DatabaseApiKey"], k); len(v) > 0 || id != k.str("id") || len(k.str("postfix")) != postfixLength {
				t.Errorf("%s: key %s breaks %+v", f.Name, k.str("name"), v)
			}
			switch left := k.when("expires_at").Sub(b.clock); {
			case !k.has("expires_at"):
				seen["never ends"] = true
			case left < 0:
				seen["ended"] = true
			case left < day:
				seen["a day"] = true
			case left < 7*day:
				seen["a week"] = true
			case left < 30*day:
				seen["a month"] = true
			default:
				seen["later"] = true
			}
			rules := k.list("access_rules")
			if len(rules) == 0 {
				seen["no rules"] = true
			}
			for _, item := range rules {
				rule := item.(msg)
				seen[fmt.Sprint("global ", rule.sub("global_access").enum("access_type"))] = true
				seen[fmt.Sprint("collection ", rule.sub("collection_access").enum("access_type"))] = true
			}
			by := k.str("created_by_email")
			seen[fmt.Sprint("made by a member: ", members[by], ", a person: ", by != "")] = true
		}
		for _, k := range a.keysV1 {
			if len(k.list("cluster_ids")) > 1 {
				seen["several clusters"] = true
			}
		}
		for _, want := range []string{
			"never ends", "ended", "a day", "a week", "a month", "later", "no rules", "global 1", "global 2", "collection 1", "collection 2", "several clusters",
			"made by a member: true, a person: true", "made by a member: false, a person: true", "made by a member: false, a person: false",
		} {
			if !seen[want] {
				t.Errorf("%s has no key of the kind %q", f.Name, want)
			}
		}
	}
}

// TestKeysAreKept: database keys, and what the control surface set of an account, outlive a restart.
func TestKeysAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	kept := func(c *Config) { c.StatePath = path }
	b := setup(t, kept)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "product-search-eu")
	b.makeKey(f, 2, edit(newKey(cluster, "kept"), "accessRules", []any{collectionRule("products", "READ_WRITE")})).want(t, 200)
	b.makeKey(f, 1, map[string]any{"clusterIds": []any{cluster}}).want(t, 200)
	set := b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "quotas": map[string]any{"nodes": 3}, "payment": "missing", "entitled": false})
	before := map[int]reply{1: b.call(f, "GET", keysPath(f, 1), nil), 2: b.call(f, "GET", keysPath(f, 2), nil)}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	second := setup(t, kept)
	for version, want := range before {
		if got := second.call(f, "GET", keysPath(f, version), nil).want(t, 200); !bytes.Equal(got.body, want.body) {
			t.Errorf("version %d:\n%s\n%s", version, want.body, got.body)
		}
	}
	if again := second.ctl("POST", "account", map[string]any{"account": f.CloudAccountID}); !bytes.Equal(again.body, set.body) {
		t.Errorf("the account was %s and is %s", set.body, again.body)
	}
}
