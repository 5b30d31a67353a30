package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Bounds of one database key.
const (
	maxAccessRules = 100
	maxKeyClusters = 1000
)

// KeyListing are the keys that one answer lists.
type KeyListing struct {
	Keys       []DatabaseKey
	Unreadable []UnreadableKey // listed, too, and what they open cannot be read
}

// UnreadableKey is a key that is listed in a way that is not known here.
type UnreadableKey struct {
	ID     string // empty when that cannot be read either
	Reason string // in words for people
}

// DatabaseKey is an API key of a cluster, never its secret: of cluster.auth.v2, or an admin key of the
// deprecated cluster.auth.v1, which is also the only kind that pa/v1 has.
type DatabaseKey struct {
	ID        string
	Admin     bool     // of version 1: manages everything in all of its clusters, never expires
	Name      string   // empty for an admin key
	Clusters  []string // one, or of an admin key at least one; each once
	More      int      // so many clusters it names besides, of an admin key: they are too many, or cannot be read
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	Access    KeyAccess
	CreatedBy string // e-mail as upstream tells it; empty where a management key made it
	Prefix    string // first characters, of an admin key
	Postfix   string // last characters, of the others
}

// KeyAccess is what a database key opens: everything, or the named collections.
type KeyAccess struct {
	Global      string // MANAGE, READ_ONLY; empty when Collections say it
	Collections []CollectionAccess
	// Unreadable is set when a rule is of a kind that is not known here, so what the key opens is not known.
	Unreadable bool
}

// CollectionAccess is what a key may do with one collection.
type CollectionAccess struct {
	Collection string
	Access     string // READ_ONLY, READ_WRITE
}

// NewDatabaseKey is what is asked for when a key is made.
type NewDatabaseKey struct {
	Cluster   string
	Name      string
	ExpiresAt time.Time // zero: never
	Access    KeyAccess
}

// The access types of a KeyAccess.
const (
	AccessManage    = "MANAGE"
	AccessReadOnly  = "READ_ONLY"
	AccessReadWrite = "READ_WRITE"
)

// DatabaseKeys returns the version 2 keys of a cluster, or of the whole account for an empty id. A list of which no key at all
// can be read is Malformed.
func (api *CurrentAPI) DatabaseKeys(ctx context.Context, cluster string) (KeyListing, error) {
	return api.keys(ctx, OpListDatabaseAPIKeysV2, cluster, api.conn.databaseKey)
}

// AdminKeys returns the version 1 keys of a cluster, or of the whole account for an empty id, as DatabaseKeys does.
func (api *CurrentAPI) AdminKeys(ctx context.Context, cluster string) (KeyListing, error) {
	return api.keys(ctx, OpListDatabaseAPIKeysV1, cluster, api.conn.adminKey)
}

func (api *CurrentAPI) keys(ctx context.Context, op Op, cluster string, decode func(node) (DatabaseKey, error)) (KeyListing, error) {
	answer, err := api.conn.Do(ctx, op, nil, clusterQuery("clusterId", cluster), nil)
	if err != nil {
		return KeyListing{}, err
	}
	list := gatherKeys(decode)
	_, err = members(answer.Body, "items", list.add)
	return list.end(api.conn, op, answer, err)
}

// keyGathering collects the keys of one answer. Whoever is told what a key opens relies on that no other does, so one that cannot
// be read is counted and not left out.
type keyGathering struct {
	decode func(node) (DatabaseKey, error)
	got    KeyListing
}

func gatherKeys(decode func(node) (DatabaseKey, error)) *keyGathering {
	return &keyGathering{decode: decode}
}

func (g *keyGathering) add(raw json.RawMessage) error {
	n, err := parseNode(raw)
	var key DatabaseKey
	if err == nil {
		key, err = g.decode(n)
	}
	if err != nil {
		g.got.Unreadable = append(g.got.Unreadable, UnreadableKey{ID: idOf(raw), Reason: clean(err.Error(), maxMessageRunes)})
		return nil
	}
	g.got.Keys = append(g.got.Keys, key)
	return nil
}

// end returns what was gathered, and an error where that is nothing but unreadable.
func (g *keyGathering) end(c *Conn, op Op, answer Answer, err error) (KeyListing, error) {
	if err == nil && len(g.got.Keys) == 0 && len(g.got.Unreadable) > 0 {
		err = errors.New(g.got.Unreadable[0].Reason)
	}
	if err != nil {
		return KeyListing{}, c.misshapen(op, answer, err)
	}
	return g.got, nil
}

// CreateDatabaseKey makes a key and returns it with its secret, which is in this answer and nowhere
// else. It is sent once: where the answer is lost the key may exist, and nobody knows its secret. No
// access at all is Invalid and is not sent: to upstream a key without rules manages everything.
func (api *CurrentAPI) CreateDatabaseKey(ctx context.Context, n NewDatabaseKey) (DatabaseKey, Secret, error) {
	if len(n.Access.rules()) == 0 {
		return DatabaseKey{}, Secret{}, &Error{Kind: Invalid, Op: OpCreateDatabaseAPIKeyV2, Message: "Nothing is said of what the key may do."}
	}
	body := map[string]any{"clusterId": n.Cluster, "name": n.Name, "accessRules": n.Access.rules()}
	if !n.ExpiresAt.IsZero() {
		body["expiresAt"] = n.ExpiresAt.UTC().Format(time.RFC3339)
	}
	answer, err := api.conn.Do(ctx, OpCreateDatabaseAPIKeyV2, nil, nil, map[string]any{"databaseApiKey": body})
	if err != nil {
		return DatabaseKey{}, Secret{}, err
	}
	key, secret, err := wrapped(answer.Body, "databaseApiKey", "key", api.conn.databaseKey)
	if err == nil && !strings.EqualFold(key.Clusters[0], n.Cluster) {
		err = errors.New("it is a key of another cluster")
	}
	if err != nil {
		return DatabaseKey{}, Secret{}, api.conn.misshapen(OpCreateDatabaseAPIKeyV2, answer, err)
	}
	return key, secret, nil
}

// DeleteDatabaseKey deletes a version 2 key of a cluster.
func (api *CurrentAPI) DeleteDatabaseKey(ctx context.Context, cluster, id string) error {
	_, err := api.conn.Do(ctx, OpDeleteDatabaseAPIKeyV2, Params{"database_api_key_id": id}, url.Values{"clusterId": {cluster}}, nil)
	return err
}

// CreateAdminKey is not offered: version 1 of the current API is deprecated upstream.
func (*CurrentAPI) CreateAdminKey(context.Context, []string) (DatabaseKey, Secret, error) {
	return DatabaseKey{}, Secret{}, &UnsupportedError{Op: "CreateAdminKey", Reason: "Admin keys are deprecated at Qdrant Cloud: make a key with a name and an end instead."}
}

// UpdateAdminKey is not in the current API.
func (*CurrentAPI) UpdateAdminKey(context.Context, string, []string) (DatabaseKey, error) {
	return DatabaseKey{}, &UnsupportedError{Op: "UpdateAdminKey", Reason: "The current API has no update of a key: make a new one and delete the old one."}
}

// DeleteAdminKey deletes a version 1 key.
func (api *CurrentAPI) DeleteAdminKey(ctx context.Context, id string) error {
	_, err := api.conn.Do(ctx, OpDeleteDatabaseAPIKeyV1, Params{"database_api_key_id": id}, nil, nil)
	return err
}

// databaseKey decodes a key of version 2.
func (c *Conn) databaseKey(n node) (DatabaseKey, error) {
	id, err := n.id()
	if err != nil {
		return DatabaseKey{}, err
	}
	if err := c.ownAccount(n.text("accountId")); err != nil {
		return DatabaseKey{}, err
	}
	cluster := n.text("clusterId")
	if !isIdentifier(cluster) {
		return DatabaseKey{}, errors.New("a key names no cluster")
	}
	return DatabaseKey{
		ID: id, Name: n.words("name"), Clusters: []string{cluster}, CreatedAt: n.time("createdAt"), ExpiresAt: n.time("expiresAt"),
		Access: keyAccess(n.objects("accessRules")), CreatedBy: n.words("createdByEmail"), Postfix: n.words("postfix"),
	}, nil
}

// adminKey decodes a key of version 1, as either generation spells it.
func (c *Conn) adminKey(n node) (DatabaseKey, error) {
	id, err := n.id()
	if err != nil {
		return DatabaseKey{}, err
	}
	if err := c.ownAccount(n.text("accountId")); err != nil {
		return DatabaseKey{}, err
	}
	key := DatabaseKey{ID: id, Admin: true, CreatedAt: n.time("createdAt"), Prefix: n.words("prefix"), Access: KeyAccess{Global: AccessManage}}
	named := map[string]bool{}
	for _, item := range n.list("clusterIds") {
		switch cluster := scalar(item); {
		case named[cluster]:
		case len(key.Clusters) == maxKeyClusters || !isIdentifier(cluster):
			key.More++
		default:
			named[cluster] = true
			key.Clusters = append(key.Clusters, cluster)
		}
	}
	if len(key.Clusters) == 0 {
		return DatabaseKey{}, errors.New("a key names no cluster")
	}
	return key, nil
}

func (c *Conn) ownAccount(account string) error {
	if account != "" && !strings.EqualFold(account, c.cfg.CloudAccountID) {
		return errors.New("a key belongs to another account")
	}
	return nil
}

// keyAccess reads access rules; without any a key manages everything.
func keyAccess(rules []node) KeyAccess {
	if len(rules) == 0 {
		return KeyAccess{Global: AccessManage}
	}
	access := KeyAccess{Unreadable: len(rules) > maxAccessRules}
	for _, rule := range rules[:min(maxAccessRules, len(rules))] {
		global, collection := rule.object("globalAccess"), rule.object("collectionAccess")
		switch {
		case len(global.members) > 0:
			access.Global = global.enum("accessType", enumGlobalAccess)
		case collection.text("collectionName") != "":
			access.Collections = append(access.Collections, CollectionAccess{
				Collection: collection.words("collectionName"), Access: collection.enum("accessType", enumCollectionAccess),
			})
		default:
			access.Unreadable = true
		}
	}
	return access
}

// rules are the access rules as CreateDatabaseApiKeyRequest wants them.
func (a KeyAccess) rules() []any {
	var rules []any
	if a.Global != "" {
		rules = append(rules, map[string]any{"globalAccess": map[string]any{"accessType": enumGlobalAccess.prefix + a.Global}})
	}
	for _, c := range a.Collections {
		rules = append(rules, map[string]any{"collectionAccess": map[string]any{
			"collectionName": c.Collection, "accessType": enumCollectionAccess.prefix + c.Access,
		}})
	}
	return rules
}

func clusterQuery(name, cluster string) url.Values {
	if cluster == "" {
		return nil
	}
	return url.Values{name: {cluster}}
}

// wrapped decodes an answer {"name": {...}} with a secret in one member of it. An answer without the
// secret is an error: what was made is of no use to anybody.
func wrapped[T any](body []byte, name, secret string, decode func(node) (T, error)) (T, Secret, error) {
	var none T
	rest, err := members(body, "", nil)
	if err != nil {
		return none, Secret{}, err
	}
	raw := rest[name]
	if len(raw) == 0 {
		raw = rest[snakeCase(name)]
	}
	if len(raw) == 0 {
		return none, Secret{}, fmt.Errorf("there is no %s in it", name)
	}
	return withSecret(raw, secret, decode)
}

func withSecret[T any](raw json.RawMessage, secret string, decode func(node) (T, error)) (T, Secret, error) {
	var none T
	n, err := parseNode(raw)
	if err != nil {
		return none, Secret{}, err
	}
	decoded, err := decode(n)
	if err != nil {
		return none, Secret{}, err
	}
	value, _ := n.get(secret).(string)
	if err := checkSecret(value); err != nil {
		return none, Secret{}, err
	}
	return decoded, NewSecret([]byte(value)), nil
}

// checkSecret refuses what could not be sent in a header or would show as something else in a page.
func checkSecret(value string) error {
	switch {
	case value == "":
		return errors.New("there is no secret in it")
	case len(value) > maxKey || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("its secret is not one word of letters, digits and signs")
	}
	return nil
}

// DatabaseKeys is not in pa/v1: it has admin keys only.
func (*LegacyAPI) DatabaseKeys(context.Context, string) (KeyListing, error) {
	return KeyListing{}, lacks("DatabaseKeys", "keys with a name or an end")
}

// CreateDatabaseKey is not in pa/v1.
func (*LegacyAPI) CreateDatabaseKey(context.Context, NewDatabaseKey) (DatabaseKey, Secret, error) {
	return DatabaseKey{}, Secret{}, lacks("CreateDatabaseKey", "keys with a name or an end")
}

// DeleteDatabaseKey is not in pa/v1.
func (*LegacyAPI) DeleteDatabaseKey(context.Context, string, string) error {
	return lacks("DeleteDatabaseKey", "keys with a name or an end")
}

// AdminKeys returns the keys of a cluster, or of the whole account for an empty id. A list of which no key at all can be read is
// Malformed.
func (api *LegacyAPI) AdminKeys(ctx context.Context, cluster string) (KeyListing, error) {
	answer, err := api.conn.Do(ctx, OpPAListAPIKeys, nil, clusterQuery("cluster_id", cluster), nil)
	if err != nil {
		return KeyListing{}, err
	}
	list := gatherKeys(api.conn.adminKey)
	err = topList(answer.Body, list.add)
	return list.end(api.conn, OpPAListAPIKeys, answer, err)
}

// CreateAdminKey makes a key for the clusters and returns it with its secret, which is in this answer
// and nowhere else.
func (api *LegacyAPI) CreateAdminKey(ctx context.Context, clusters []string) (DatabaseKey, Secret, error) {
	answer, err := api.conn.Do(ctx, OpPACreateAPIKey, nil, nil, map[string]any{"cluster_ids": clusters})
	if err != nil {
		return DatabaseKey{}, Secret{}, err
	}
	key, secret, err := withSecret(answer.Body, "token", api.conn.adminKey)
	if err != nil {
		return DatabaseKey{}, Secret{}, api.conn.misshapen(OpPACreateAPIKey, answer, err)
	}
	return key, secret, nil
}

// UpdateAdminKey sends the clusters of a key. They cannot be changed after creation and everything else
// is read-only, so upstream answers with the key as it is, or refuses.
func (api *LegacyAPI) UpdateAdminKey(ctx context.Context, id string, clusters []string) (DatabaseKey, error) {
	answer, err := api.conn.Do(ctx, OpPAUpdateAPIKey, Params{"api_key_id": id}, nil, map[string]any{"cluster_ids": clusters})
	if err != nil {
		return DatabaseKey{}, err
	}
	n, err := parseNode(answer.Body)
	var key DatabaseKey
	if err == nil {
		key, err = api.conn.adminKey(n)
	}
	if err != nil {
		return DatabaseKey{}, api.conn.misshapen(OpPAUpdateAPIKey, answer, err)
	}
	return key, nil
}

// DeleteAdminKey deletes a key.
func (api *LegacyAPI) DeleteAdminKey(ctx context.Context, id string) error {
	_, err := api.conn.Do(ctx, OpPADeleteAPIKey, Params{"api_key_id": id}, nil, nil)
	return err
}

// CreateManagementKey makes a management key for the account, with all that the key in use may do, and
// returns it with its secret, which is in this answer and nowhere else.
func (api *CurrentAPI) CreateManagementKey(ctx context.Context) (ManagementKey, Secret, error) {
	answer, err := api.conn.Do(ctx, OpCreateManagementKey, nil, nil, map[string]any{"managementKey": map[string]any{}})
	if err != nil {
		return ManagementKey{}, Secret{}, err
	}
	key, secret, err := wrapped(answer.Body, "managementKey", "key", api.conn.managementKey)
	if err != nil {
		return ManagementKey{}, Secret{}, api.conn.misshapen(OpCreateManagementKey, answer, err)
	}
	return key, secret, nil
}

func (c *Conn) managementKey(n node) (ManagementKey, error) {
	id, err := n.id()
	if err == nil {
		err = c.ownAccount(n.text("accountId"))
	}
	return ManagementKey{ID: id, Prefix: n.words("prefix"), CreatedAt: n.time("createdAt")}, err
}

// CreateManagementKey is not in pa/v1.
func (*LegacyAPI) CreateManagementKey(context.Context) (ManagementKey, Secret, error) {
	return ManagementKey{}, Secret{}, lacks("CreateManagementKey", "way to make a management key")
}
