package web

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/templates"
)

// accountSwitchForm is what a browser may say about moving an account.
type accountSwitchForm struct {
	Seen     string `form:"seen"`
	Accepted bool   `form:"accepted"`
}

// handleAccountSwitchForm handles GET /accounts/{id}/switch.
func (s *Server) handleAccountSwitchForm(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	return s.renderSwitch(c, http.StatusOK, id, nil)
}

// renderSwitch compares the two APIs and asks, with what is wrong in the form when it was sent.
func (s *Server) renderSwitch(c echo.Context, status int, id uuid.UUID, invalid map[string]string) error {
	preview, err := s.accounts.PreviewSwitch(c.Request().Context(), actorFrom(c), id)
	v := switchView(preview)
	if blocked, ok := errors.AsType[*accounts.InvalidError](err); ok {
		v.Blocked = blocked.Fields[""]
	} else if err != nil {
		return fmt.Errorf("compare the two APIs: %w", err)
	}
	v.Page = s.accountPage(c, preview.Account.Account, "Move "+preview.Account.Name+" to the current API", "account-switch", "accounts")
	v.Page.StepUp = s.stepUp(c, preview.Account.Offers[accounts.ActAccountSwitch.Name])
	v.Page.Legacy = nil // this is where its banner leads
	v.Errors = invalid
	return s.render(c, status, templates.AccountSwitch(v))
}

func switchView(p accounts.SwitchPreview) templates.AccountSwitchView {
	v := templates.AccountSwitchView{
		Crumbs: accountCrumbs(p.Account.Account), Self: accountPath(p.Account.ID), Name: p.Account.Name, UpstreamName: p.UpstreamName, OwnerEmail: p.OwnerEmail,
		NotAble: p.NotAble, LegacyError: asSentence(p.LegacyError), Differences: p.Differences, Seen: p.Seen,
	}
	for _, k := range p.Clusters {
		row := templates.SwitchRow{ID: k.ID, InLegacy: k.Legacy != nil, InCurrent: k.Current != nil}
		if k.Legacy != nil {
			row.Legacy = *k.Legacy
		}
		if k.Current != nil {
			row.Current = *k.Current
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}

// handleAccountSwitch handles POST /accounts/{id}/switch.
func (s *Server) handleAccountSwitch(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form accountSwitchForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	err = s.accounts.SwitchAccount(c.Request().Context(), actorFrom(c), id, accounts.AccountSwitch{Seen: form.Seen, Accepted: form.Accepted})
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderSwitch(c, http.StatusUnprocessableEntity, id, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("switch account: %w", err)
	}
	return s.redirect(c, accountPath(id), "The account works through the current API.")
}
