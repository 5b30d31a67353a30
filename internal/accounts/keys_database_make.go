package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// KeyForm is what a form that makes a key needs.
type KeyForm struct {
	Account   Account
	Cluster   cloudapi.Cluster
	Choices   []OpenedCluster // for an admin key: the clusters that it may be made for
	Replaces  *ClusterKey     // the key that is rotated
	FormToken string          // empty where the form is shown again
}

// Admin reports whether the form makes an admin key, the only kind that the account's API has.
func (f KeyForm) Admin() bool { return f.Account.Generation == cloudapi.PAV1 }

// MadeKey is what the post of a form has made. The secret is in here and nowhere else: whoever holds
// it shows it once and forgets it.
type MadeKey struct {
	Key      cloudapi.DatabaseKey
	Secret   cloudapi.Secret
	Account  Account
	Cluster  cloudapi.Cluster
	Replaces *ClusterKey // of a rotation
	// Again is set when the form had been sent before: nothing was made now, and there is no secret.
	Again bool
	// Unsure is set with Again while nobody knows what the first post made.
	Unsure bool
}

// AskNewKey is the form of a new key for those who may make one, with its token. Others are refused,
// and that is recorded; *ConflictError when no key can be made now.
func (s *Service) AskNewKey(ctx context.Context, by audit.Actor, ref ClusterRef) (KeyForm, error) {
	form, err := s.NewKeyForm(ctx, by, ref)
	if err != nil {
		return KeyForm{}, err
	}
	form.FormToken, err = s.FormToken(ctx, by, createKeyOf(form.Account.Generation).Name)
	return form, err
}

// NewKeyForm is AskNewKey without a token, to show a form again.
func (s *Service) NewKeyForm(ctx context.Context, by audit.Actor, ref ClusterRef) (KeyForm, error) {
	known, detail, err := s.keyStage(ctx, by, ref, createKeyOf)
	if err != nil {
		return KeyForm{}, err
	}
	form := KeyForm{Account: detail.Account, Cluster: detail.Cluster}
	if !form.Admin() {
		return form, nil
	}
	clusters, err := s.clusterTargets(ctx, known.account)
	if err != nil {
		return KeyForm{}, err
	}
	form.Choices = choices(mayOn(s.rights(by), ActAdminKeyCreate, clusters), ref.ClusterID)
	return form, nil
}

// choices are clusters to choose from, the one at hand first.
func choices(clusters []target, here string) []OpenedCluster {
	var out []OpenedCluster
	for _, on := range clusters {
		c := OpenedCluster{ID: on.ID, Name: on.Name, Here: on.ID == here}
		if strings.TrimSpace(c.Name) == "" {
			c.Name = c.ID
		}
		if c.Here {
			out = append([]OpenedCluster{c}, out...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// keyStage is keyGround with the cluster's page, where the act is possible now.
func (s *Service) keyStage(ctx context.Context, by audit.Actor, ref ClusterRef, act func(cloudapi.Generation) Act) (actedCluster, ClusterDetail, error) {
	known, err := s.keyGround(ctx, by, ref, act)
	if err != nil {
		return actedCluster{}, ClusterDetail{}, err
	}
	if reason := s.keyNotOffered(by, act(known.account.Generation), known); reason != "" {
		return actedCluster{}, ClusterDetail{}, &ConflictError{Reason: reason}
	}
	detail, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return actedCluster{}, ClusterDetail{}, err
	}
	if detail.Gone {
		return actedCluster{}, ClusterDetail{}, &ConflictError{Reason: "Qdrant Cloud does not know this cluster any more."}
	}
	return known, detail, nil
}

// CreateKey makes a database key: one with a name and an end, or in an account of pa/v1 an admin key.
// *InvalidError when the form breaks a rule, before anything is asked of upstream. The same form makes
// one key, however often it is sent.
func (s *Service) CreateKey(ctx context.Context, by audit.Actor, ref ClusterRef, n NewKey) (MadeKey, error) {
	known, err := s.keyGround(ctx, by, ref, createKeyOf)
	if err != nil {
		return MadeKey{}, err
	}
	if before, err := s.sentBefore(ctx, by, createKeyOf(known.account.Generation), n.FormToken); err != nil || before.Again {
		return before, err
	}
	known, detail, err := s.keyStage(ctx, by, ref, createKeyOf)
	if err != nil {
		return MadeKey{}, err
	}
	made := MadeKey{Account: detail.Account, Cluster: detail.Cluster}
	if known.account.Generation == cloudapi.PAV1 {
		return s.createAdminKey(ctx, by, known, made, n)
	}
	asked, err := n.asked(ref.ClusterID, s.now())
	if err != nil {
		return MadeKey{}, err
	}
	op := operation{id: s.newID(), act: ActKeyCreate, on: known.key(KindKey, "", asked.Name), intended: askedChange(asked)}
	return s.makeKey(ctx, by, op, n.FormToken, made, func(ctx context.Context, up *link) (cloudapi.DatabaseKey, cloudapi.Secret, error) {
		return up.cloud.CreateDatabaseKey(ctx, asked)
	})
}

func (s *Service) createAdminKey(ctx context.Context, by audit.Actor, known actedCluster, made MadeKey, n NewKey) (MadeKey, error) {
	clusters, err := s.clusterTargets(ctx, known.account)
	if err != nil {
		return MadeKey{}, err
	}
	chosen, problem := chosenClusters(n.Clusters, mayOn(s.rights(by), ActAdminKeyCreate, clusters), known.on.ID)
	if problem != "" {
		return MadeKey{}, invalidField("clusters", problem)
	}
	op := operation{
		id: s.newID(), act: ActAdminKeyCreate, on: known.key(KindAdminKey, "", ""), opens: among(clusters, chosen),
		intended: audit.Change{changeCluster: {nil, known.on.ID}, changeClusters: {nil, chosen}},
	}
	return s.makeKey(ctx, by, op, n.FormToken, made, func(ctx context.Context, up *link) (cloudapi.DatabaseKey, cloudapi.Secret, error) {
		return up.cloud.CreateAdminKey(ctx, chosen)
	})
}

// chosenClusters are the clusters of a form, each once and in one order. One that may not be chosen is
// refused like one that does not exist.
func chosenClusters(typed []string, may []target, here string) (chosen []string, problem string) {
	for _, id := range typed {
		if !slices.ContainsFunc(may, func(t target) bool { return t.ID == id }) {
			return nil, "Choose among the clusters listed here."
		}
		chosen = append(chosen, id)
	}
	if !slices.Contains(chosen, here) {
		return nil, "Choose at least the cluster whose keys these are."
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), ""
}

// among are the clusters with these ids.
func among(clusters []target, ids []string) []target {
	return slices.DeleteFunc(slices.Clone(clusters), func(t target) bool { return !slices.Contains(ids, t.ID) })
}

// askedChange is what the log keeps of a key that is asked for.
func askedChange(n cloudapi.NewDatabaseKey) audit.Change {
	return audit.Change{
		changeCluster: {nil, n.Cluster}, "name": {nil, n.Name}, "access": {nil, accessLines(n.Access)}, "expires_at": {nil, endOf(n.ExpiresAt)},
	}
}

// endOf is when a key ends, for the log.
func endOf(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// madeChange is what was intended with what upstream told of the key.
func madeChange(intended audit.Change, k cloudapi.DatabaseKey) audit.Change {
	change := audit.Change{}
	for field, values := range intended {
		change[field] = values
	}
	if k.Admin {
		change["prefix"] = [2]any{nil, k.Prefix}
		change[changeClusters] = [2]any{nil, slices.Sorted(slices.Values(k.Clusters))}
		return change
	}
	change["name"], change["postfix"] = [2]any{nil, k.Name}, [2]any{nil, k.Postfix}
	change["access"], change["expires_at"] = [2]any{nil, accessLines(k.Access)}, [2]any{nil, endOf(k.ExpiresAt)}
	return change
}

// sentBefore tells whether a form was sent before: then nothing else about it counts any more, because
// its own first post may have changed what the second would be checked against.
func (s *Service) sentBefore(ctx context.Context, by audit.Actor, act Act, token string) (MadeKey, error) {
	result, err := s.formResult(ctx, by, act, token)
	if _, invalid := errors.AsType[*InvalidError](err); invalid {
		return MadeKey{}, nil // refused where it is taken, after what else is wrong
	}
	if err != nil || result == "" {
		return MadeKey{}, err
	}
	return MadeKey{Again: true, Unsure: strings.HasPrefix(result, begun)}, nil
}

// makeKey leads the making of a key through perform, once for each form.
func (s *Service) makeKey(ctx context.Context, by audit.Actor, op operation, token string, made MadeKey,
	make func(context.Context, *link) (cloudapi.DatabaseKey, cloudapi.Secret, error),
) (MadeKey, error) {
	result, again, err := s.once(ctx, by, op.act, token, op.id, func() (string, error) {
		defer s.keysChanged(ctx, op.on.Account.ID)
		err := s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
			var err error
			if made.Key, made.Secret, err = make(ctx, up); err != nil {
				return done{}, fmt.Errorf("%s: %w", op.act.Name, err)
			}
			return done{change: madeChange(op.intended, made.Key), id: made.Key.ID, name: keyName(made.Key)}, nil
		})
		return made.Key.ID, err
	})
	if err != nil {
		return MadeKey{}, err
	}
	if again {
		return MadeKey{Again: true, Unsure: result == ""}, nil
	}
	return made, nil
}

// Rotation is what a member gives to make the successor of a key. Its rules are the key's own.
type Rotation struct {
	Name          string
	ExpiresInDays *string // as NewKey has it
	FormToken     string
}

// AskRotation is the form that rotates a key, with its token.
func (s *Service) AskRotation(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (KeyForm, error) {
	form, err := s.RotationForm(ctx, by, ref, keyID)
	if err != nil {
		return KeyForm{}, err
	}
	form.FormToken, err = s.FormToken(ctx, by, ActKeyRotate.Name)
	return form, err
}

// RotationForm is AskRotation without a token, to show a form again.
func (s *Service) RotationForm(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (KeyForm, error) {
	_, detail, old, err := s.rotated(ctx, by, ref, keyID)
	if err != nil {
		return KeyForm{}, err
	}
	return KeyForm{Account: detail.Account, Cluster: detail.Cluster, Replaces: &old}, nil
}

// rotated is the key that somebody wants to rotate, where that is possible now.
func (s *Service) rotated(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string) (actedCluster, ClusterDetail, ClusterKey, error) {
	known, detail, err := s.keyStage(ctx, by, ref, always(ActKeyRotate))
	if err != nil {
		return actedCluster{}, ClusterDetail{}, ClusterKey{}, err
	}
	old, err := s.keyByID(ctx, by, known, keyID)
	if err != nil {
		return actedCluster{}, ClusterDetail{}, ClusterKey{}, err
	}
	if old.Admin {
		return actedCluster{}, ClusterDetail{}, ClusterKey{}, &ConflictError{Reason: "An admin key cannot be rotated, because no more of them can be made. Make a key with a name, then delete this one."}
	}
	if reason := notRotatable(old); reason != "" {
		return actedCluster{}, ClusterDetail{}, ClusterKey{}, &ConflictError{Reason: reason}
	}
	return known, detail, old, nil
}

// keyByID returns a key of the cluster; ErrNotFound when upstream lists none with the id.
func (s *Service) keyByID(ctx context.Context, by audit.Actor, known actedCluster, keyID string) (ClusterKey, error) {
	list, err := s.databaseKeys(ctx, by, known.account)
	if err != nil {
		return ClusterKey{}, err
	}
	pending, err := s.pendingKeys(ctx, known)
	if err != nil {
		return ClusterKey{}, err
	}
	keys, err := s.keysOf(ctx, by, known, list.keys, pending)
	if err != nil {
		return ClusterKey{}, err
	}
	i := slices.IndexFunc(keys, func(k ClusterKey) bool { return k.ID == keyID })
	if i < 0 {
		return ClusterKey{}, ErrNotFound
	}
	return keys[i], nil
}

// RotateKey makes a key with the rules of another, to take its place. The other stays until somebody
// deletes it, which belongs to the same rotation in the log.
func (s *Service) RotateKey(ctx context.Context, by audit.Actor, ref ClusterRef, keyID string, r Rotation) (MadeKey, error) {
	if _, err := s.keyGround(ctx, by, ref, always(ActKeyRotate)); err != nil {
		return MadeKey{}, err
	}
	if before, err := s.sentBefore(ctx, by, ActKeyRotate, r.FormToken); err != nil || before.Again {
		return before, err
	}
	known, detail, old, err := s.rotated(ctx, by, ref, keyID)
	if err != nil {
		return MadeKey{}, err
	}
	asked, err := NewKey{Name: r.Name, ExpiresInDays: r.ExpiresInDays, Access: KeyManages}.asked(ref.ClusterID, s.now())
	if err != nil {
		return MadeKey{}, err
	}
	asked.Access = old.Access
	intended := askedChange(asked)
	intended[changeSuccessorOf] = [2]any{nil, old.ID}
	op := operation{id: s.newID(), act: ActKeyRotate, on: known.key(KindKey, "", asked.Name), intended: intended}
	made := MadeKey{Account: detail.Account, Cluster: detail.Cluster, Replaces: &old}
	return s.makeKey(ctx, by, op, r.FormToken, made, func(ctx context.Context, up *link) (cloudapi.DatabaseKey, cloudapi.Secret, error) {
		listed, err := up.cloud.DatabaseKeys(ctx, ref.ClusterID)
		if err != nil {
			return cloudapi.DatabaseKey{}, cloudapi.Secret{}, fmt.Errorf("listing keys: %w", err)
		}
		if !slices.ContainsFunc(listed.Keys, func(k cloudapi.DatabaseKey) bool { return k.ID == old.ID }) {
			return cloudapi.DatabaseKey{}, cloudapi.Secret{}, &ConflictError{Reason: goneMeanwhile}
		}
		return up.cloud.CreateDatabaseKey(ctx, asked)
	})
}

const goneMeanwhile = "The key is not there any more: somebody deleted it meanwhile."
