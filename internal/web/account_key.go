package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// accountKeyForm is what a browser may say about another key.
type accountKeyForm struct {
	Key       cloudapi.Secret `form:"management_key"`
	FormToken string          `form:"form_token"`
}

const keyReplaced = "The account works with its new key. The old one is still valid at Qdrant Cloud."

// handleAccountKeyForm handles GET /accounts/{id}/key.
func (s *Server) handleAccountKeyForm(c echo.Context) error {
	d, token, err := s.keyToAsk(c, accounts.ActAccountKey)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, templates.AccountKey(s.accountKeyView(c, d, accountKeyForm{FormToken: token})))
}

// keyToAsk reads the account for a page that asks before its key is replaced.
func (s *Server) keyToAsk(c echo.Context, act accounts.Act) (accounts.AccountDetail, string, error) {
	id, err := accountID(c)
	if err != nil {
		return accounts.AccountDetail{}, "", err
	}
	d, token, err := s.accounts.AskKey(c.Request().Context(), actorFrom(c), act, id)
	if err != nil {
		return accounts.AccountDetail{}, "", fmt.Errorf("read account: %w", err)
	}
	return d, token, nil
}

// handleAccountKey handles POST /accounts/{id}/key.
func (s *Server) handleAccountKey(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form accountKeyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	old, err := s.accounts.ReplaceKey(c.Request().Context(), actorFrom(c), id, accounts.ReplacementKey{Key: form.Key, FormToken: form.FormToken})
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderKeyAgain(c, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("replace key: %w", err)
	}
	return s.afterKey(c, id, old)
}

// afterKey leads to the offer to delete the old key, as long as it is there.
func (s *Server) afterKey(c echo.Context, id, old uuid.UUID) error {
	_, _, err := s.accounts.AskOldKey(c.Request().Context(), actorFrom(c), id, old)
	if err != nil { // gone meanwhile, or not theirs to delete
		return s.redirect(c, accountPath(id), "The account works with its new key.")
	}
	return s.redirect(c, oldKeyPath(id, old)+"/delete", keyReplaced)
}

// renderKeyAgain shows the form again with what is wrong. The key is not sent back to the page. A token
// that is too old is replaced, so that sending again works.
func (s *Server) renderKeyAgain(c echo.Context, form accountKeyForm, invalid map[string]string) error {
	d, token, err := s.keyToAsk(c, accounts.ActAccountKey)
	if err != nil {
		return err
	}
	invalid = maps.Clone(invalid)
	if invalid["form_token"] != "" {
		form.FormToken = token
		delete(invalid, "form_token")
		invalid[""] = "This form was too old, so it was not sent on. It is fresh now: paste the key and send it once more."
	}
	v := s.accountKeyView(c, d, form)
	v.Errors, v.KeyAgain = invalid, !form.Key.IsZero()
	return s.render(c, http.StatusUnprocessableEntity, templates.AccountKey(v))
}

func (s *Server) accountKeyView(c echo.Context, d accounts.AccountDetail, form accountKeyForm) templates.AccountKeyView {
	v := templates.AccountKeyView{
		Page: s.accountPage(c, d.Account, "Replace the key of "+d.Name, "account-key", "accounts"), Crumbs: accountCrumbs(d.Account), Self: accountPath(d.ID),
		FormToken: form.FormToken, Name: d.Name, Key: keyView(d.Key), Other: mintOffer(d), Enabled: d.Enabled,
	}
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActAccountKey.Name])
	return v
}

// accountMintForm is what a browser says when it has a key made.
type accountMintForm struct {
	FormToken string `form:"form_token"`
}

// handleAccountMintForm handles GET /accounts/{id}/key/mint.
func (s *Server) handleAccountMintForm(c echo.Context) error {
	d, token, err := s.keyToAsk(c, accounts.ActManagementKeyCreate)
	if err != nil {
		return err
	}
	return s.render(c, http.StatusOK, templates.AccountMint(s.accountMintView(c, d, token)))
}

func (s *Server) accountMintView(c echo.Context, d accounts.AccountDetail, token string) templates.AccountKeyView {
	v := templates.AccountKeyView{
		Page: s.accountPage(c, d.Account, "Mint a key for "+d.Name, "account-mint", "accounts"), Crumbs: accountCrumbs(d.Account), Self: accountPath(d.ID),
		FormToken: token, Name: d.Name, Key: keyView(d.Key), Other: pasteOffer(d), Enabled: d.Enabled,
	}
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActManagementKeyCreate.Name])
	return v
}

// handleAccountMint handles POST /accounts/{id}/key/mint.
func (s *Server) handleAccountMint(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form accountMintForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	old, err := s.accounts.MintKey(c.Request().Context(), actorFrom(c), id, form.FormToken)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok && invalid.Fields["form_token"] != "" {
		d, token, err := s.keyToAsk(c, accounts.ActManagementKeyCreate)
		if err != nil {
			return err
		}
		v := s.accountMintView(c, d, token)
		v.Errors = map[string]string{"": "This form was too old, so it was not sent on. It is fresh now: send it once more."}
		return s.render(c, http.StatusUnprocessableEntity, templates.AccountMint(v))
	}
	if err != nil {
		return fmt.Errorf("mint key: %w", err)
	}
	return s.afterKey(c, id, old)
}

func oldKeyPath(account, key uuid.UUID) string {
	return accountPath(account) + "/key/old/" + key.String()
}

// oldKeyIDs reads the account and the old key of a path.
func oldKeyIDs(c echo.Context) (account, key uuid.UUID, err error) {
	if account, err = accountID(c); err != nil {
		return account, key, err
	}
	key, err = uuid.Parse(c.Param("key"))
	if err != nil || key.String() != c.Param("key") {
		return account, key, fmt.Errorf("key in the path: %w", accounts.ErrNotFound)
	}
	return account, key, nil
}

// handleOldKeyForm handles GET /accounts/{id}/key/old/{key}/delete.
func (s *Server) handleOldKeyForm(c echo.Context) error {
	return s.renderOldKey(c, http.StatusOK, "", nil)
}

// renderOldKey asks whether an old key is deleted, with what is wrong in the form when it was sent.
func (s *Server) renderOldKey(c echo.Context, status int, typed string, invalid map[string]string) error {
	id, key, err := oldKeyIDs(c)
	if err != nil {
		return err
	}
	d, old, err := s.accounts.AskOldKey(c.Request().Context(), actorFrom(c), id, key)
	if err != nil {
		return fmt.Errorf("read old key: %w", err)
	}
	self := oldKeyPath(id, key)
	v := templates.OldKeyPage{
		Page: s.accountPage(c, d.Account, "Delete an old key of "+d.Name, "account-old-key", "accounts"), Crumbs: accountCrumbs(d.Account), Self: accountPath(id),
		Name: d.Name, InUse: keyView(d.Key), Old: oldKeyView(old), Delete: offerOf(d.Offers[accounts.ActManagementKeyDelete.Name], "Delete", self+"/delete"),
		Dismiss: self + "/dismiss", Typed: cut(typed, 100), Errors: invalid, EditHref: accountPath(id) + "/edit",
	}
	if d.RotateBy != nil && d.RotateBy.Before(v.Page.Now) {
		v.Overdue = d.RotateBy
	}
	return s.render(c, status, templates.AccountOldKey(v))
}

// oldKeyForm is what a browser may say about deleting an old key.
type oldKeyForm struct {
	Confirm string `form:"confirm"`
}

// handleOldKeyDelete handles POST /accounts/{id}/key/old/{key}/delete.
func (s *Server) handleOldKeyDelete(c echo.Context) error {
	id, key, err := oldKeyIDs(c)
	if err != nil {
		return err
	}
	var form oldKeyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	err = s.accounts.DeleteOldKey(c.Request().Context(), actorFrom(c), id, key, form.Confirm)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderOldKey(c, http.StatusUnprocessableEntity, form.Confirm, invalid.Fields)
	}
	if conflict, ok := errors.AsType[*accounts.ConflictError](err); ok {
		return s.renderOldKey(c, http.StatusConflict, form.Confirm, map[string]string{"": conflict.Reason})
	}
	if err != nil {
		return fmt.Errorf("delete old key: %w", err)
	}
	return s.redirect(c, accountPath(id), "The old key is deleted at Qdrant Cloud. No copy of it works any more.")
}

// handleOldKeyDismiss handles POST /accounts/{id}/key/old/{key}/dismiss.
func (s *Server) handleOldKeyDismiss(c echo.Context) error {
	id, key, err := oldKeyIDs(c)
	if err != nil {
		return err
	}
	if err := s.accounts.DismissOldKey(c.Request().Context(), actorFrom(c), id, key); err != nil {
		return fmt.Errorf("dismiss old key: %w", err)
	}
	return s.redirect(c, accountPath(id), "The old key is not shown any more.")
}
