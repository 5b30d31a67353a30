package web

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/templates"
)

const (
	pathRoles   = "/admin/roles"
	pathRoleNew = "/admin/roles/new"
)

func rolePath(id string) string { return pathRoles + "/" + url.PathEscape(id) }

// grantsOfRole is the list of grants that give a role.
func grantsOfRole(id string) string { return grantsQuery{Role: id}.address() }

// roleID reads the role of the path.
func roleID(c echo.Context) (string, error) {
	id, err := url.PathUnescape(c.Param("id"))
	if err != nil {
		return "", fmt.Errorf("role in the path: %w", accounts.ErrNotFound)
	}
	return id, nil
}

// handleRoles handles GET /admin/roles.
func (s *Server) handleRoles(c echo.Context) error {
	roles, err := s.accounts.Roles(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("list roles: %w", err)
	}
	v := templates.RolesView{Page: s.page(c, "Roles", "roles-index", "admin"), MayDo: true}
	for _, r := range roles {
		v.Rows = append(v.Rows, roleRow(r))
	}
	return s.render(c, http.StatusOK, templates.Roles(v))
}

func roleRow(r accounts.RoleDetail) templates.RoleRow {
	return templates.RoleRow{
		ID: r.ID, Name: r.Name, Href: rolePath(r.ID), Description: r.Description, BuiltIn: r.BuiltIn, Permissions: len(r.Permissions),
		Uses: r.Uses, UsesHref: grantsOfRole(r.ID), WrittenAt: r.WrittenAt, WrittenBy: r.WrittenBy, Withheld: r.Withheld,
		CopyHref: pathRoleNew + "?" + url.Values{"from": {r.ID}}.Encode(),
	}
}

// usesShown bounds the grants on a role's page.
const usesShown = 20

// handleRole handles GET /admin/roles/{id}.
func (s *Server) handleRole(c echo.Context) error {
	id, err := roleID(c)
	if err != nil {
		return err
	}
	var q struct {
		Compare string `form:"compare"`
	}
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	r, err := s.accounts.Role(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	all, err := s.accounts.Roles(ctx, by)
	if err != nil {
		return fmt.Errorf("list roles: %w", err)
	}
	uses, err := s.accounts.Grants(ctx, by, accounts.GrantQuery{Role: r.ID})
	if err != nil {
		return fmt.Errorf("list the role's grants: %w", err)
	}
	row := roleRow(r)
	v := templates.RoleView{
		Page: s.page(c, r.Name, "role-show", "admin"), Crumbs: []templates.Link{{Label: "Roles", Href: pathRoles}}, Role: row, Version: r.Version,
		Grid: permissionGrid(r.Permissions, nil, ""), More: uses.Total > usesShown, Everybody: s.accounts.SeesAllGrants(by),
		Offers: []templates.Offer{
			{Label: "Copy", Href: row.CopyHref, Offered: true},
			{Label: "Edit", Href: row.Href + "/edit", Offered: r.MayEdit, Reason: r.WhyNot},
			{Label: "Remove", Href: row.Href + "/delete", Danger: true, Offered: r.MayDelete, Reason: r.WhyNotDelete},
		},
	}
	if s.accounts.May(by, access.GrantsManage) {
		v.GiveHref = withQuery(pathGrantNew, url.Values{"role": {r.ID}})
	}
	v.Differs, v.Compare = roleDifference(r, all, q.Compare)
	for _, g := range uses.Grants[:min(len(uses.Grants), usesShown)] {
		v.Uses = append(v.Uses, s.grantRow(c, g))
	}
	return s.render(c, http.StatusOK, templates.Role(v))
}

// roleDifference compares a role with the one that is named, or else with the one that it differs least from.
func roleDifference(r accounts.RoleDetail, all []accounts.RoleDetail, with string) (*templates.RoleDifference, templates.Select) {
	var other *accounts.RoleDetail
	for i := range all {
		one := &all[i]
		if one.ID == r.ID {
			continue
		}
		if one.ID == with {
			other = one
			break
		}
		if other == nil || distance(r.Role, one.Role) < distance(r.Role, other.Role) {
			other = one
		}
	}
	compare := templates.Select{Name: "compare", Label: "Compare with"}
	if other == nil {
		return nil, compare
	}
	for _, one := range all {
		if one.ID != r.ID {
			compare.Choices = append(compare.Choices, templates.Choice{Value: one.ID, Label: one.Name, Selected: one.ID == other.ID})
		}
	}
	return &templates.RoleDifference{
		Other: other.Name, OtherHref: rolePath(other.ID), Added: lackedBy(other.Role, r.Role), Lacking: lackedBy(r.Role, other.Role),
	}, compare
}

func distance(a, b access.Role) int { return len(lackedBy(a, b)) + len(lackedBy(b, a)) }

// lackedBy are the permissions of b that a has not.
func lackedBy(a, b access.Role) []templates.Pair {
	var out []templates.Pair
	for _, p := range b.Permissions {
		if !slices.Contains(a.Permissions, p) {
			out = append(out, templates.Pair{Name: p, Value: permissionSays(p)})
		}
	}
	return out
}

// gridVerbs are the columns of the grid: how permissions at Qdrant Cloud begin.
var gridVerbs = []string{"read", "write", "delete", "restore"}

// permissionGrid lays every permission out, those that are held and those of a role to compare with.
func permissionGrid(held []string, base *access.Role, baseName string) templates.PermissionGrid {
	g := templates.PermissionGrid{Verbs: gridVerbs, Base: baseName}
	cell := func(name string) templates.PermissionCell {
		return templates.PermissionCell{
			Name: name, Says: permissionSays(name), Held: slices.Contains(held, name), InBase: base != nil && slices.Contains(base.Permissions, name),
		}
	}
	rows := map[string][]templates.PermissionCell{}
	for _, p := range access.Upstream() {
		verb, kind, _ := strings.Cut(p, ":")
		if rows[kind] == nil {
			rows[kind] = make([]templates.PermissionCell, len(gridVerbs))
		}
		if i := slices.Index(gridVerbs, verb); i >= 0 {
			rows[kind][i] = cell(p)
		}
	}
	for kind, cells := range rows {
		g.Rows = append(g.Rows, templates.PermissionRow{Kind: kindWords(kind), Cells: cells})
	}
	slices.SortFunc(g.Rows, func(a, b templates.PermissionRow) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Kind), strings.ToLower(b.Kind)), strings.Compare(a.Kind, b.Kind))
	})
	for _, p := range access.Own() {
		g.Own = append(g.Own, cell(p))
	}
	return g
}

// permissionSays says in a sentence what a permission allows.
func permissionSays(permission string) string {
	switch permission {
	case access.AccountsManage:
		return "Add, change, disable and remove accounts, and replace their management keys."
	case access.GrantsManage:
		return "Give rights to others and take them back, and change the labels that rights go by."
	case access.MembersManage:
		return "See who signs in, block members and end their sessions."
	case access.AuditRead:
		return "Read and search the audit log, and check that nobody altered it."
	case access.AuditExport:
		return "Take the audit log away as a file."
	case access.KeysRotate:
		return "Rotate the keys that seal secrets in this console."
	case access.LogsRead:
		return "Read the logs of clusters, in which data may stand."
	}
	verb, kind, _ := strings.Cut(permission, ":")
	does, ok := map[string]string{"read": "Look at", "write": "Make and change", "delete": "Delete", "restore": "Restore"}[verb]
	if !ok || kind == "" {
		return ""
	}
	return does + " " + kindWords(kind) + "."
}

// roleForm is what a browser may say about a role.
type roleForm struct {
	Name        string   `form:"name"`
	Description string   `form:"description"`
	Permissions []string `form:"permissions"`
	From        string   `form:"from"`
	Version     string   `form:"version"`
	FormToken   string   `form:"form_token"`
}

// handleRoleNew handles GET /admin/roles/new. With ?from= it begins as a copy of that role.
func (s *Server) handleRoleNew(c echo.Context) error {
	var q struct {
		From string `form:"from"`
	}
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	token, err := s.accounts.AskRole(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("make form token: %w", err)
	}
	form := roleForm{From: q.From, FormToken: token}
	base, err := s.baseOf(c, form)
	if err != nil {
		return err
	}
	if base != nil {
		form.Permissions = base.Permissions // and not what it is for: a copy without some of them is for something else
	}
	takeTyped(s, c, &form)
	return s.renderRoleNew(c, http.StatusOK, form, base, nil)
}

// baseOf is the role that a new one is a copy of; nil for none.
func (s *Server) baseOf(c echo.Context, form roleForm) (*access.Role, error) {
	if form.From == "" {
		return nil, nil
	}
	r, err := s.accounts.Role(c.Request().Context(), actorFrom(c), form.From)
	if err != nil {
		return nil, fmt.Errorf("read the role to copy: %w", err)
	}
	return &r.Role, nil
}

func (s *Server) renderRoleNew(c echo.Context, status int, form roleForm, base *access.Role, invalid map[string]string) error {
	v := templates.RoleFormView{
		Page: s.page(c, "New role", "role-new", "admin"), Crumbs: []templates.Link{{Label: "Roles", Href: pathRoles}}, Action: pathRoles, Button: "Make role",
		Back: pathRoles, FormToken: form.FormToken, Errors: invalid, Name: form.Name, Description: form.Description,
	}
	if base == nil {
		v.Grid = permissionGrid(form.Permissions, nil, "")
	} else {
		v.From, v.Grid = base.ID, permissionGrid(form.Permissions, base, base.Name)
		v.Page.Title = "New role, a copy of " + base.Name
	}
	v.Grid.Edit = true
	return s.render(c, status, templates.RoleForm(v))
}

// handleRoleCreate handles POST /admin/roles.
func (s *Server) handleRoleCreate(c echo.Context) error {
	var form roleForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	r, err := s.accounts.CreateRole(c.Request().Context(), actorFrom(c), accounts.NewRole{
		Name: form.Name, Description: form.Description, Permissions: form.Permissions, FormToken: form.FormToken,
	})
	if e, ok := errors.AsType[*accounts.InvalidError](err); ok {
		invalid := maps.Clone(e.Fields)
		if form.FormToken, err = s.freshToken(c, accounts.ActRoleCreate, form.FormToken, invalid, "look at it and send it once more."); err != nil {
			return err
		}
		base, err := s.baseOf(c, form)
		if err != nil && !errors.Is(err, accounts.ErrNotFound) {
			return err
		}
		return s.renderRoleNew(c, http.StatusUnprocessableEntity, form, base, invalid)
	}
	if err != nil {
		return fmt.Errorf("create role: %w", err)
	}
	return s.redirect(c, rolePath(r.ID), "Role made. It does nothing until a grant gives it.")
}

// handleRoleEditForm handles GET /admin/roles/{id}/edit.
func (s *Server) handleRoleEditForm(c echo.Context) error {
	id, err := roleID(c)
	if err != nil {
		return err
	}
	r, err := s.accounts.Role(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	if !r.MayEdit {
		return s.redirect(c, rolePath(r.ID), r.WhyNot)
	}
	form := roleForm{Name: r.Name, Description: r.Description, Permissions: r.Permissions, Version: strconv.Itoa(r.Version)}
	takeTyped(s, c, &form)
	return s.renderRoleEdit(c, http.StatusOK, r, form, nil)
}

// renderRoleEdit shows what was typed beside what the role is now.
func (s *Server) renderRoleEdit(c echo.Context, status int, r accounts.RoleDetail, form roleForm, invalid map[string]string) error {
	self := rolePath(r.ID)
	v := templates.RoleFormView{
		Page:   s.page(c, "Change "+r.Name, "role-edit", "admin"),
		Crumbs: []templates.Link{{Label: "Roles", Href: pathRoles}, {Label: r.Name, Href: self}}, Action: self, Button: "Save role", Back: self,
		Version: form.Version, Errors: invalid, Name: form.Name, Description: form.Description, Uses: r.Uses, UsesHref: grantsOfRole(r.ID),
		Grid: permissionGrid(form.Permissions, &r.Role, "what it allows now"),
	}
	v.Grid.Edit = true
	v.Page.StepUp = s.freshSignIn(c, accounts.ActRoleEdit)
	return s.render(c, status, templates.RoleForm(v))
}

// handleRoleEdit handles POST /admin/roles/{id}.
func (s *Server) handleRoleEdit(c echo.Context) error {
	id, err := roleID(c)
	if err != nil {
		return err
	}
	var form roleForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	version, err := strconv.Atoi(form.Version)
	if err != nil {
		version = 0 // no role has it, so the form is shown again with the present one
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.EditRole(ctx, by, id, accounts.RoleEdit{Version: version, Name: form.Name, Description: form.Description, Permissions: form.Permissions})
	if err == nil {
		return s.redirect(c, rolePath(id), "Role saved. What it allows counts from the next request on.")
	}
	if changed, ok := errors.AsType[*accounts.RoleChangedError](err); ok {
		form.Version = strconv.Itoa(changed.Now.Version)
		return s.renderRoleEdit(c, http.StatusConflict, changed.Now, form, map[string]string{
			"": fmt.Sprintf("%s changed this role meanwhile. Below is what you sent, marked against what it allows now. Send it again to put yours in place.", changed.Now.WrittenBy),
		})
	}
	status, invalid := 0, map[string]string(nil)
	if e, ok := errors.AsType[*accounts.InvalidError](err); ok {
		status, invalid = http.StatusUnprocessableEntity, e.Fields
	}
	if status == 0 {
		return fmt.Errorf("edit role: %w", err)
	}
	r, err := s.accounts.Role(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	return s.renderRoleEdit(c, status, r, form, invalid)
}

// handleRoleDeleteForm handles GET /admin/roles/{id}/delete.
func (s *Server) handleRoleDeleteForm(c echo.Context) error {
	id, err := roleID(c)
	if err != nil {
		return err
	}
	r, err := s.accounts.Role(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	if !r.MayDelete {
		return s.redirect(c, rolePath(r.ID), r.WhyNotDelete)
	}
	return s.renderRoleDelete(c, http.StatusOK, r, "", nil)
}

func (s *Server) renderRoleDelete(c echo.Context, status int, r accounts.RoleDetail, typed string, invalid map[string]string) error {
	self := rolePath(r.ID)
	v := templates.ConfirmView{
		Page:   s.page(c, "Remove "+r.Name, "role-delete", "admin"),
		Crumbs: []templates.Link{{Label: "Roles", Href: pathRoles}, {Label: r.Name, Href: self}},
		Lead:   "The role " + r.Name + " is removed. No grant in force gives it.",
		Points: []string{"Grants that ended go on naming it, and so does the log."},
		Action: self + "/delete", Back: self, Button: "Remove role", Danger: true, Confirm: r.Name, Kind: "role", Typed: typed, Errors: invalid,
	}
	v.Page.StepUp = s.freshSignIn(c, accounts.ActRoleDelete)
	return s.render(c, status, templates.Confirm(v))
}

// handleRoleDelete handles POST /admin/roles/{id}/delete.
func (s *Server) handleRoleDelete(c echo.Context) error {
	id, err := roleID(c)
	if err != nil {
		return err
	}
	var form struct {
		Confirm string `form:"confirm"`
	}
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	r, err := s.accounts.Role(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	if r.MayDelete && strings.TrimSpace(form.Confirm) != r.Name {
		return s.renderRoleDelete(c, http.StatusUnprocessableEntity, r, cut(form.Confirm, 300), map[string]string{"confirm": "Type the role’s name exactly."})
	}
	if err := s.accounts.DeleteRole(ctx, by, id); err != nil {
		return fmt.Errorf("delete role: %w", err)
	}
	return s.redirect(c, pathRoles, "Role removed.")
}
