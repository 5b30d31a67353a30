package sandbox

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

func (r *request) listAccounts() (msg, error) {
	return msg{"items": []any{r.accounts[r.key.AccountID].resource}}, nil
}

func (r *request) getAccount() (msg, error) {
	return msg{"account": r.account.resource}, nil
}

func (r *request) updateAccount() (msg, error) {
	in, old := r.in.sub("account"), r.account.resource
	if in.str("external_owner_id") != old.str("external_owner_id") {
		return nil, refuse(codePermissionDenied, "only the owner, signed in as a user, can transfer an account")
	}
	if in.has("settings") && in.sub("settings").flag("mfa_required") != old.sub("settings").flag("mfa_required") {
		return nil, refuse(codePermissionDenied, "only owners can change the settings of an account")
	}
	updated := in.clone()
	for _, kept := range []string{"id", "created_at", "owner_email", "privileges", "settings"} { // read-only, or an owner's to change
		delete(updated, kept)
		if old.has(kept) {
			updated[kept] = old[kept]
		}
	}
	updated["last_modified_at"] = r.now.Truncate(time.Microsecond)
	r.account.resource = updated
	r.changed()
	return msg{"account": updated}, nil
}

func (r *request) listInvites() (msg, error) {
	statuses := r.in.list("statuses")
	var items []any
	for _, invite := range ordered(r.account.invites) {
		if len(statuses) == 0 || slices.Contains(statuses, any(invite.enum("status"))) {
			items = append(items, invite)
		}
	}
	return msg{"items": items}, nil
}

func (r *request) getInvite() (msg, error) {
	invite := r.account.invites[strings.ToLower(r.in.str("invite_id"))]
	if invite == nil {
		return nil, notFound("invite", r.in.str("invite_id"))
	}
	return msg{"account_invite": invite}, nil
}

// deleteInvite cancels an invite that is pending.
func (r *request) deleteInvite() (msg, error) {
	invite := r.account.invites[strings.ToLower(r.in.str("invite_id"))]
	if invite == nil {
		return nil, notFound("invite", r.in.str("invite_id"))
	}
	if invite.enum("status") != invitePending {
		return nil, refuse(codeFailedPrecondition, "invite %s is not pending", invite.str("id"))
	}
	changed := invite.with("status", inviteCanceled)
	changed["last_modified_at"] = r.now.Truncate(time.Microsecond)
	r.account.invites[invite.str("id")] = changed
	r.changed()
	return msg{}, nil
}

// Numbers of AccountInviteStatus.
const (
	invitePending  enumValue = 1
	inviteAccepted enumValue = 2
	inviteCanceled enumValue = 5
)

func (a *account) member(user msg) msg {
	m := msg{"account_member": user}
	if user.str("id") == a.ownerID {
		m["is_owner"] = true
	}
	return m
}

func (r *request) listMembers() (msg, error) {
	var items []any
	for _, user := range ordered(r.account.users) {
		items = append(items, r.account.member(user))
	}
	return msg{"items": items}, nil
}

func (r *request) getMember() (msg, error) {
	user := r.account.users[strings.ToLower(r.in.str("user_id"))]
	if user == nil {
		return nil, notFound("member", r.in.str("user_id"))
	}
	return msg{"account_member": r.account.member(user)}, nil
}

// suggestCompanies answers from the companies of the sandbox's own account.
func (r *request) suggestCompanies() (msg, error) {
	company := r.accounts[r.key.AccountID].resource.sub("company")
	name := strings.ToLower(r.in.str("name"))
	_, domain, _ := strings.Cut(r.in.str("email"), "@")
	if company != nil && (name != "" && strings.Contains(strings.ToLower(company.str("name")), name) || domain != "" && domain == company.str("domain")) {
		return msg{"items": []any{company}}, nil
	}
	return msg{}, nil
}

// keyMessage is a key as listings show it; the secret is nowhere in it.
func (k *managementKey) keyMessage() msg {
	return msg{"id": k.ID, "account_id": k.AccountID, "created_at": k.CreatedAt, "prefix": k.Prefix}
}

func (r *request) listManagementKeys() (msg, error) {
	items := make(map[string]msg, len(r.account.managementKeys))
	for id, k := range r.account.managementKeys {
		items[id] = k.keyMessage()
	}
	return msg{"items": anys(ordered(items))}, nil
}

// createManagementKey mints a key with the rights of the one that asks; keys have no scopes of
// their own.
func (r *request) createManagementKey() (msg, error) {
	k, secret := r.mint(r.account, r.key.Permissions)
	return msg{"management_key": k.keyMessage().with("key", secret)}, nil
}

// mint makes a management key. The secret leaves in the answer and is not kept.
func (s *Sandbox) mint(a *account, permissions []string) (*managementKey, string) {
	secret := newID() + "|" + base64.RawURLEncoding.EncodeToString(randomBytes(36))
	k := newManagementKey(a.id, newID(), secret, s.now().Truncate(time.Microsecond), slices.Clone(permissions))
	a.managementKeys[k.ID], s.keys[k.Hash] = k, k
	s.changed()
	return k, secret
}

func (r *request) deleteManagementKey() (msg, error) {
	k := r.account.managementKeys[strings.ToLower(r.in.str("management_key_id"))]
	if k == nil {
		return nil, notFound("management key", r.in.str("management_key_id"))
	}
	r.revoke(k)
	return msg{}, nil
}

func (s *Sandbox) revoke(k *managementKey) {
	delete(s.accounts[k.AccountID].managementKeys, k.ID)
	delete(s.keys, k.Hash)
	s.changed()
}

func (r *request) listUsers() (msg, error) {
	return msg{"items": anys(ordered(r.account.users))}, nil
}

func (r *request) listPermissions() (msg, error) {
	return msg{"permissions": permissionMessages(allPermissions())}, nil
}

func (r *request) listEffectivePermissions() (msg, error) {
	return msg{"permissions": permissionMessages(r.key.Permissions)}, nil
}

func (r *request) listRoles() (msg, error) {
	return msg{"items": anys(ordered(r.account.roles))}, nil
}

func (r *request) getRole() (msg, error) {
	role, err := r.role()
	if err != nil {
		return nil, err
	}
	return msg{"role": role}, nil
}

func (r *request) role() (msg, error) {
	if role := r.account.roles[strings.ToLower(r.in.str("role_id"))]; role != nil {
		return role, nil
	}
	return nil, notFound("role", r.in.str("role_id"))
}

func (r *request) listUserRoles() (msg, error) {
	id := strings.ToLower(r.in.str("user_id"))
	if r.account.users[id] == nil {
		return nil, notFound("user", r.in.str("user_id"))
	}
	var roles []any
	for _, role := range r.account.userRoles[id] {
		roles = append(roles, r.account.roles[role])
	}
	return msg{"roles": roles}, nil
}

func (r *request) listRoleUsers() (msg, error) {
	role, err := r.role()
	if err != nil {
		return nil, err
	}
	var users []any
	for _, user := range ordered(r.account.users) {
		if slices.Contains(r.account.userRoles[user.str("id")], role.str("id")) {
			users = append(users, user)
		}
	}
	return msg{"users": users}, nil
}

// getQuotas tells each quota to keys with the permission it is documented for, and zero to others.
func (r *request) getQuotas() (msg, error) {
	q := r.account.quotas
	m := msg{"account_id": r.account.id}
	for field, quota := range map[string]struct {
		limit      int
		permission string
	}{
		"max_clusters":                  {q.Clusters, "write:clusters"},
		"max_cluster_nodes":             {q.Nodes, "write:clusters"},
		"max_free_tier_clusters":        {q.FreeClusters, "write:clusters"},
		"max_cluster_database_api_keys": {q.DatabaseKeys, "read:api_keys"},
	} {
		if slices.Contains(r.key.Permissions, quota.permission) {
			m[field] = uint64(quota.limit)
		}
	}
	return m, nil
}
