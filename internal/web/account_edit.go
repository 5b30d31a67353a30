package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/templates"
)

// accountEditForm is what a browser may say about an account that is there.
type accountEditForm struct {
	Revision    string `form:"revision"`
	Name        string `form:"name"`
	Environment string `form:"environment"`
	Owner       string `form:"owner"`
	Note        string `form:"note"`
	RotateBy    string `form:"rotate_by"`
}

func (f accountEditForm) edit() accounts.AccountEdit {
	return accounts.AccountEdit{Revision: f.Revision, AccountDetails: accounts.AccountDetails{
		Name: f.Name, Environment: accounts.Environment(f.Environment), Owner: f.Owner, Note: f.Note, RotateBy: f.RotateBy,
	}}
}

// editFormOf is the form as it is opened.
func editFormOf(a accounts.Account) accountEditForm {
	return accountEditForm{
		Revision: a.Revision(), Name: a.Name, Environment: string(a.Environment), Owner: a.Owner, Note: a.Note, RotateBy: dateOf(a.RotateBy),
	}
}

func dateOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}

// handleAccountEditForm handles GET /accounts/{id}/edit.
func (s *Server) handleAccountEditForm(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	d, err := s.accounts.AskAccount(c.Request().Context(), actorFrom(c), accounts.ActAccountEdit, id)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	form := editFormOf(d.Account)
	takeTyped(s, c, &form)
	v := s.accountEditView(c, d.Account, form)
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActAccountEdit.Name])
	return s.render(c, http.StatusOK, templates.AccountEdit(v))
}

// handleAccountEdit handles POST /accounts/{id}/edit.
func (s *Server) handleAccountEdit(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form accountEditForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.EditAccount(ctx, by, id, form.edit())
	if err == nil {
		return s.redirect(c, accountPath(id), "Account changed.")
	}
	invalid, wrong := errors.AsType[*accounts.InvalidError](err)
	stale, changed := errors.AsType[*accounts.AccountChangedError](err)
	if !wrong && !changed {
		return fmt.Errorf("edit account: %w", err)
	}
	d, err := s.accounts.Account(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	if changed {
		return s.renderAccountChanged(c, stale.Now, form)
	}
	v := s.accountEditView(c, d.Account, form)
	v.Errors = invalid.Fields
	if form.Revision == "" {
		v.Revision = d.Revision() // the form says so, and what is sent next is about what it shows
	}
	return s.render(c, http.StatusUnprocessableEntity, templates.AccountEdit(v))
}

// renderAccountChanged shows what somebody else changed beside what was sent. The form has the new
// revision: sending it once more is about what is shown now.
func (s *Server) renderAccountChanged(c echo.Context, now accounts.Account, form accountEditForm) error {
	theirs := editFormOf(now)
	v := s.accountEditView(c, now, form)
	v.Revision = theirs.Revision
	v.Errors = map[string]string{"": "Somebody changed the account after you opened this form. Look at both sides; sending the form again stores what is in it."}
	for _, f := range []templates.ChangedField{
		{Name: "Name", Now: theirs.Name, Wanted: form.Name}, {Name: "Used for", Now: theirs.Environment, Wanted: form.Environment},
		{Name: "Responsible", Now: theirs.Owner, Wanted: form.Owner}, {Name: "Rotate the key by", Now: theirs.RotateBy, Wanted: form.RotateBy},
		{Name: "Note", Now: theirs.Note, Wanted: form.Note},
	} {
		if f.Now != f.Wanted {
			v.Changed = append(v.Changed, f)
		}
	}
	return s.render(c, http.StatusConflict, templates.AccountEdit(v))
}

// accountEditView is the form as it was sent.
func (s *Server) accountEditView(c echo.Context, a accounts.Account, f accountEditForm) templates.AccountEditView {
	return templates.AccountEditView{
		Page: s.accountPage(c, a, "Edit "+a.Name, "account-edit", "accounts"), Crumbs: accountCrumbs(a), Self: accountPath(a.ID),
		Revision: f.Revision, Name: f.Name, Env: f.Environment, Owner: f.Owner, Note: f.Note, RotateBy: f.RotateBy,
	}
}
