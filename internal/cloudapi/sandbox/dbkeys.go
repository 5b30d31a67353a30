package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Numbers of GlobalAccessRuleAccessType and of CollectionAccessRuleAccessType.
const (
	globalReadOnly enumValue = 1
	globalManage   enumValue = 2

	collectionReadOnly  enumValue = 1
	collectionReadWrite enumValue = 2
)

// jwtSince is the first release whose clusters take keys of version 2.
const jwtSince = "v1.11.0"

// How many characters of a secret stay visible: the last of version 2, the first of version 1.
const (
	postfixLength = 6
	prefixLength  = 8
)

func (r *request) listDatabaseKeysV2() (msg, error) {
	items := slices.DeleteFunc(ordered(r.account.keysV2), func(k msg) bool {
		return r.in.has("cluster_id") && k.str("cluster_id") != strings.ToLower(r.in.str("cluster_id"))
	})
	return msg{"items": anys(items)}, nil
}

func (r *request) listDatabaseKeysV1() (msg, error) {
	items := slices.DeleteFunc(ordered(r.account.keysV1), func(k msg) bool {
		return r.in.has("cluster_id") && !opens(k, strings.ToLower(r.in.str("cluster_id")))
	})
	return msg{"items": anys(items)}, nil
}

// opens reports whether a key of version 1 opens a cluster.
func opens(k msg, cluster string) bool { return slices.Contains(k.list("cluster_ids"), any(cluster)) }

// createDatabaseKeyV2 leaves created_by_email empty, as documented for keys that a program makes.
func (r *request) createDatabaseKeyV2() (msg, error) {
	k, secret, err := r.newKeyV2(r.in.sub("database_api_key"))
	if err != nil {
		return nil, err
	}
	return msg{"database_api_key": k.with("key", secret)}, nil
}

// newKeyV2 makes a key of one cluster from what was asked for, which fulfils the rules of single
// fields. The secret leaves in the answer and is not kept.
func (r *request) newKeyV2(asked msg) (k msg, secret string, err error) {
	if err := r.checkEntitled(); err != nil {
		return nil, "", err
	}
	if asked.has("expires_at") && !asked.when("expires_at").After(r.now) {
		return nil, "", invalidField("database_api_key.expires_at", "expires_at must be in the future")
	}
	for i, item := range asked.list("access_rules") {
		if rule, _ := item.(msg); len(rule) == 0 {
			return nil, "", invalidField(fmt.Sprintf("database_api_key.access_rules[%d]", i), "an access rule must be global or name a collection")
		}
	}
	c, err := r.keyedCluster(asked.str("cluster_id"))
	if err != nil {
		return nil, "", err
	}
	if err := r.checkJWT(c); err != nil {
		return nil, "", err
	}
	have := 0
	for _, other := range r.account.keysV2 {
		if other.str("cluster_id") == c.id {
			have++
		}
	}
	if err := r.checkKeyQuota(have); err != nil {
		return nil, "", err
	}
	k = asked.clone()
	k["id"], k["account_id"], k["cluster_id"], k["created_at"] = newID(), r.account.id, c.id, r.now.Truncate(time.Microsecond)
	if secret, err = newJWT(k); err != nil {
		return nil, "", err
	}
	k["postfix"] = secret[len(secret)-postfixLength:]
	r.account.keysV2[k.str("id")] = k
	r.changed()
	return k, secret, nil
}

// keyedCluster finds a cluster that keys can be made for.
func (r *request) keyedCluster(id string) (*cluster, error) {
	c := r.account.clusters[strings.ToLower(id)]
	if c == nil {
		return nil, legacyWords(legacyNoCluster, notFound("cluster", id))
	}
	if c.phase == phaseDeleting {
		return nil, refuse(codeFailedPrecondition, "cluster %s is being deleted", c.id)
	}
	return c, nil
}

// checkJWT refuses clusters that cannot read keys of version 2, which are JSON Web Tokens.
func (r *request) checkJWT(c *cluster) error {
	switch {
	case olderVersion(c.running.Version, jwtSince):
		return refuse(codeFailedPrecondition, "database API keys need version %s or later, cluster %s runs %s", jwtSince, c.id, c.running.Version)
	case !c.jwt:
		return refuse(codeFailedPrecondition, "JWT RBAC is not enabled for cluster %s", c.id)
	}
	return nil
}

// checkKeyQuota bounds the keys of one cluster. Each version is counted by itself, since the quota
// is documented against the listing of version 2 alone; expired keys count as long as they are listed.
func (r *request) checkKeyQuota(have int) error {
	if most := r.account.quotas.DatabaseKeys; have >= most {
		return refuse(codeFailedPrecondition, "quota exceeded: a cluster of this account may have %d database API keys", most)
	}
	return nil
}

// newJWT makes the secret of a key of version 2: a token with its access and its end in it. What
// signs it is thrown away, for no cluster here checks one.
func newJWT(k msg) (string, error) {
	claims := map[string]any{"access": jwtAccess(k.list("access_rules")), "subject": "api-key:" + k.str("id")}
	if k.has("expires_at") {
		claims["exp"] = k.when("expires_at").Unix()
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(payload) + "." + part(randomBytes(32)), nil
}

// jwtAccess is the access claim of Qdrant's tokens; without rules a key manages everything.
func jwtAccess(rules []any) any {
	var collections []any
	for _, item := range rules {
		rule, _ := item.(msg)
		if one := rule.sub("collection_access"); one != nil {
			access := "r"
			if one.enum("access_type") == collectionReadWrite {
				access = "rw"
			}
			collections = append(collections, map[string]any{"collection": one.str("collection_name"), "access": access})
		}
		if rule.sub("global_access").enum("access_type") == globalReadOnly {
			return "r"
		}
	}
	if len(collections) > 0 {
		return collections
	}
	return "m"
}

// deleteDatabaseKeyV2 wants the key's cluster beside its id.
func (r *request) deleteDatabaseKeyV2() (msg, error) {
	k := r.account.keysV2[strings.ToLower(r.in.str("database_api_key_id"))]
	if k == nil || k.str("cluster_id") != strings.ToLower(r.in.str("cluster_id")) {
		return nil, notFound("database API key", r.in.str("database_api_key_id"))
	}
	delete(r.account.keysV2, k.str("id"))
	r.changed()
	return msg{}, nil
}

func (r *request) createDatabaseKeyV1() (msg, error) {
	k, secret, err := r.newKeyV1(r.in.sub("database_api_key").list("cluster_ids"))
	if err != nil {
		return nil, err
	}
	return msg{"database_api_key": k.with("key", secret)}, nil
}

// newKeyV1 makes a key of the old kind, which manages every cluster it names and never ends. The
// secret leaves in the answer and is not kept.
func (r *request) newKeyV1(asked []any) (k msg, secret string, err error) {
	if err := r.checkEntitled(); err != nil {
		return nil, "", err
	}
	var ids []any
	for _, item := range asked {
		id, _ := item.(string)
		c, err := r.keyedCluster(id)
		if err != nil {
			return nil, "", err
		}
		have := 0
		for _, other := range r.account.keysV1 {
			if opens(other, c.id) {
				have++
			}
		}
		if err := r.checkKeyQuota(have); err != nil {
			return nil, "", err
		}
		if !slices.Contains(ids, any(c.id)) {
			ids = append(ids, c.id)
		}
	}
	secret = base64.RawURLEncoding.EncodeToString(randomBytes(36))
	k = msg{
		"id": newID(), "account_id": r.account.id, "created_at": r.now.Truncate(time.Microsecond), "cluster_ids": ids, "prefix": secret[:prefixLength],
	}
	r.account.keysV1[k.str("id")] = k
	r.changed()
	return k, secret, nil
}

func (r *request) deleteDatabaseKeyV1() (msg, error) {
	k := r.account.keysV1[strings.ToLower(r.in.str("database_api_key_id"))]
	if k == nil {
		return nil, notFound("database API key", r.in.str("database_api_key_id"))
	}
	delete(r.account.keysV1, k.str("id"))
	r.changed()
	return msg{}, nil
}
