package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

const (
	pathAccounts   = "/accounts"
	pathAccountNew = "/accounts/new"
)

// accountsQuery is what the address of the list of accounts may say.
type accountsQuery struct {
	Text  string `form:"q"`
	State string `form:"state"`
	After string `form:"after"`
}

const stateTrouble = "trouble"

// address is the canonical address of the list narrowed like this.
func (q accountsQuery) address() string { return q.addressOf(pathAccounts) }

// addressOf is the address of another list of accounts narrowed like this.
func (q accountsQuery) addressOf(path string) string {
	return withQuery(path, given(param{"q", q.Text}, param{"state", q.State}, param{"after", q.After}))
}

// from is the address of the page that comes after a place of the list; the first one after none.
func (q accountsQuery) from(after string) string {
	q.After = after
	return q.address()
}

// fewAccounts is a list that is seen at one look and needs no filter.
const fewAccounts = 10

// handleAccounts handles GET /accounts.
func (s *Server) handleAccounts(c echo.Context) error {
	var q accountsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	if q.State != stateTrouble {
		q.State = ""
	}
	page, err := s.accounts.AccountsPage(c.Request().Context(), actorFrom(c), accounts.AccountsQuery{Text: q.Text, Trouble: q.State == stateTrouble, After: q.After})
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	p := s.page(c, "Accounts", "accounts-index", "accounts")
	v := templates.AccountsView{Page: p, MayAdd: p.Member.MayManage, Contact: s.opts.Contact, Total: page.Total, All: page.All}
	v.Filter = templates.AccountsFilter{
		Shown: page.All > fewAccounts || q.Text+q.State != "", Text: q.Text,
		State: templates.Select{Name: "state", Label: "State", Any: "Any", Choices: []templates.Choice{
			{Value: stateTrouble, Label: "Needs a look", Selected: q.State == stateTrouble},
		}},
	}
	if page.All == 0 {
		if v.Clusters, err = s.clustersSeen(c); err != nil {
			return err
		}
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	for _, a := range page.Accounts {
		v.Rows = append(v.Rows, accountRow(a))
	}
	return s.render(c, http.StatusOK, templates.Accounts(v))
}

func accountRow(a accounts.Account) templates.AccountRow {
	return templates.AccountRow{
		ID: a.ID.String(), Name: a.Name, Href: accountPath(a.ID), CloudAccountID: a.CloudAccountID, Environment: string(a.Environment),
		Owner: a.Owner, Legacy: a.Generation == cloudapi.PAV1, Enabled: a.Enabled, Clusters: a.Clusters, ClustersHref: fleetOf(a.ID),
		KeyPrefix: a.Key.Prefix, KeyRefused: a.Key.Refused, RotateBy: a.RotateBy,
		OKAt: a.Sync.OKAt, Error: a.Sync.Error, Stale: a.Sync.Stale, Vanished: a.Sync.Vanished,
	}
}

// clustersSeen counts the clusters that the member may see, for pages of accounts that have none to show.
func (s *Server) clustersSeen(c echo.Context) (int, error) {
	page, err := s.accounts.Fleet(c.Request().Context(), actorFrom(c), accounts.FleetQuery{Limit: 1})
	if err != nil {
		return 0, fmt.Errorf("count clusters: %w", err)
	}
	return page.All, nil
}

// fleetOf is the fleet narrowed to one account.
func fleetOf(id uuid.UUID) string { return fleetQuery{Account: id.String()}.address() }

// accountForm is what a browser may say about a new account.
type accountForm struct {
	Generation     string          `form:"generation"`
	Key            cloudapi.Secret `form:"management_key"`
	CloudAccountID string          `form:"cloud_account_id"`
	Name           string          `form:"name"`
	Environment    string          `form:"environment"`
	Owner          string          `form:"owner"`
	Note           string          `form:"note"`
	RotateBy       string          `form:"rotate_by"`
	FormToken      string          `form:"form_token"`
}

func (f accountForm) newAccount() accounts.NewAccount {
	return accounts.NewAccount{
		Generation: cloudapi.Generation(f.Generation), Key: f.Key, CloudAccountID: f.CloudAccountID, Name: f.Name,
		Environment: accounts.Environment(f.Environment), Owner: f.Owner, Note: f.Note, RotateBy: f.RotateBy, FormToken: f.FormToken,
	}
}

// view is the form as it was sent, without the key.
func (f accountForm) view(p templates.Page) templates.AccountFormView {
	return templates.AccountFormView{
		Page: p, Crumbs: []templates.Link{{Label: "Accounts", Href: pathAccounts}}, FormToken: f.FormToken, Generation: f.Generation,
		CloudID: f.CloudAccountID, Name: f.Name, Env: f.Environment, Owner: f.Owner, Note: f.Note, RotateBy: f.RotateBy,
	}
}

// handleAccountNew handles GET /accounts/new.
func (s *Server) handleAccountNew(c echo.Context) error {
	token, err := s.accounts.AskCreate(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("make form token: %w", err)
	}
	form := accountForm{FormToken: token, Generation: string(cloudapi.Current)}
	return s.render(c, http.StatusOK, templates.AccountForm(form.view(s.page(c, "Add an account", "account-new", "accounts"))))
}

// handleAccountCreate handles POST /accounts.
func (s *Server) handleAccountCreate(c echo.Context) error {
	var form accountForm // only what a browser may set
	if err := bindForm(c, &form); err != nil {
		return err
	}
	account, err := s.accounts.Create(c.Request().Context(), actorFrom(c), form.newAccount())
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderAccountForm(c, form, invalid.Fields, nil)
	}
	if choose, ok := errors.AsType[*accounts.ChooseAccountError](err); ok {
		return s.renderAccountForm(c, form, map[string]string{"cloud_account_id": "Choose one of the accounts that the key opens."}, choose.Accounts)
	}
	if err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	return s.redirect(c, accountPath(account.ID), "Account added. Its clusters appear as soon as Qdrant Cloud has answered.")
}

// renderAccountForm shows the form again with what is wrong in it. The key is not sent back to the
// page. A token that is too old is replaced, so that sending again works.
func (s *Server) renderAccountForm(c echo.Context, form accountForm, invalid map[string]string, several []accounts.CloudAccount) error {
	invalid = maps.Clone(invalid)
	var err error
	if form.FormToken, err = s.freshToken(c, accounts.ActAccountCreate, form.FormToken, invalid, "paste the key and send it once more."); err != nil {
		return err
	}
	v := form.view(s.page(c, "Add an account", "account-new", "accounts"))
	v.Errors = invalid
	v.KeyAgain = !form.Key.IsZero()
	for _, a := range several {
		v.Choices = append(v.Choices, templates.Choice{Value: a.ID, Label: named(a.Name, a.ID), Hint: a.ID, Selected: a.ID == form.CloudAccountID})
	}
	return s.render(c, http.StatusUnprocessableEntity, templates.AccountForm(v))
}

// handleAccount handles GET /accounts/{id}.
func (s *Server) handleAccount(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	d, err := s.accounts.Account(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	v := accountView(s.accountPage(c, d.Account, d.Name, "account-show", "accounts"), d)
	v.WhoCanHref = s.whoCanHref(c, accounts.ClusterRef{AccountID: id})
	return s.render(c, http.StatusOK, templates.Account(v))
}

func accountView(p templates.Page, d accounts.AccountDetail) templates.AccountView {
	v := templates.AccountView{
		Page: p, Crumbs: []templates.Link{{Label: "Accounts", Href: pathAccounts}},
		ID: d.ID.String(), Name: d.Name, CloudAccountID: d.CloudAccountID, UpstreamName: d.UpstreamName, OwnerEmail: d.OwnerEmail,
		Environment: string(d.Environment), Owner: d.Owner, Note: d.Note, RotateBy: d.RotateBy, Enabled: d.Enabled,
		Legacy: d.Legacy || d.Generation == cloudapi.PAV1, CreatedAt: d.CreatedAt, CreatedBy: d.CreatedBy, Offers: accountOffers(d),
		Key: keyView(d.Key), KeyOffers: keyOffers(d), OldKeys: oldKeyViews(d),
		KeyProbedAt: d.Key.ProbedAt, KeyRefused: asSentence(d.Key.Refused), Permissions: permissionGroups(d.Key.Permissions),
		PermsTold: d.Key.Permissions != nil, NotOffered: notOfferedHere(d),
		OKAt: d.Sync.OKAt, FailedAt: d.Sync.FailedAt, Error: d.Sync.Error, Stale: d.Sync.Stale, Vanished: d.Sync.Vanished,
		Clusters: d.Clusters, ClustersHref: fleetOf(d.ID), UpstreamHref: upstreamOf(d.Account),
	}
	stale := staleReason(d.Account)
	for _, r := range d.Snapshot {
		v.Rows = append(v.Rows, fleetRow(r, stale))
	}
	return v
}

// accountOffers lists the acts of an account's page. Disable and enable share one place.
func accountOffers(d accounts.AccountDetail) []templates.Offer {
	self := accountPath(d.ID)
	offer := func(act accounts.Act, label, verb string) templates.Offer {
		o := d.Offers[act.Name]
		return templates.Offer{Label: label, Href: self + "/" + verb, Offered: o.Offered, Reason: o.Reason, Why: whyHref(accounts.ClusterRef{AccountID: d.ID}, o)}
	}
	turn := offer(accounts.ActAccountDisable, "Disable", "disable")
	if !d.Enabled {
		turn = offer(accounts.ActAccountEnable, "Enable", "enable")
		turn.Primary = true
	}
	turn.Post = true
	remove := offer(accounts.ActAccountDelete, "Remove", "delete")
	remove.Danger = true
	offers := []templates.Offer{clusterOffer(d), offer(accounts.ActAccountEdit, "Edit", "edit")}
	if d.Legacy {
		offers = append(offers, offer(accounts.ActAccountSwitch, "Move to the current API", "switch"))
	}
	return append(offers, turn, remove)
}

// handleAccountDisable handles POST /accounts/{id}/disable.
func (s *Server) handleAccountDisable(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	if err := s.accounts.Disable(c.Request().Context(), actorFrom(c), id); err != nil {
		return fmt.Errorf("disable account: %w", err)
	}
	return s.redirect(c, accountPath(id), "Account disabled. Its key is not used any more.")
}

// handleAccountEnable handles POST /accounts/{id}/enable.
func (s *Server) handleAccountEnable(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	if err := s.accounts.Enable(c.Request().Context(), actorFrom(c), id); err != nil {
		return fmt.Errorf("enable account: %w", err)
	}
	return s.redirect(c, accountPath(id), "Account enabled. It is asked for its clusters now.")
}

// accountRemovalForm is what a browser may say about removing an account.
type accountRemovalForm struct {
	Confirm   string `form:"confirm"`
	DeleteKey string `form:"delete_key"` // yes, no, or nothing chosen
}

// handleAccountDeleteForm handles GET /accounts/{id}/delete.
func (s *Server) handleAccountDeleteForm(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	d, err := s.accounts.AskAccount(c.Request().Context(), actorFrom(c), accounts.ActAccountDelete, id)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	var form accountRemovalForm
	takeTyped(s, c, &form)
	return s.renderAccountDelete(c, http.StatusOK, d, form, nil)
}

func (s *Server) renderAccountDelete(c echo.Context, status int, d accounts.AccountDetail, form accountRemovalForm, invalid map[string]string) error {
	self := accountPath(d.ID)
	v := templates.ConfirmView{
		Page:   s.accountPage(c, d.Account, "Remove "+d.Name, "account-delete", "accounts"),
		Crumbs: accountCrumbs(d.Account),
		Lead:   fmt.Sprintf("The account %s, its sealed management key and what is known of its clusters are removed from this console.", d.Name),
		Points: []string{
			"Its clusters go on running. Nothing is deleted at Qdrant Cloud, but for the key if you choose so below.",
			"What was done here stays in the audit log.",
		},
		Action: self + "/delete", Back: self, Button: "Remove account", Danger: true,
		Confirm: d.Name, Kind: "account", Typed: cut(form.Confirm, 300), Errors: invalid,
	}
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActAccountDelete.Name])
	keep := templates.Choice{
		Value: "no", Label: "Leave the key at Qdrant Cloud", Selected: form.DeleteKey != "yes",
		Hint: "It stays valid: whoever has a copy can go on using it. Its first characters are " + d.Key.Prefix + ".",
	}
	o := d.Offers[accounts.ActManagementKeyDelete.Name]
	if o.Offered {
		v.Radios = []templates.Radios{{
			Name: "delete_key", Legend: "What about the management key?", Error: invalid["delete_key"], Focus: invalid["delete_key"] != "",
			Choices: []templates.Choice{
				{Value: "yes", Label: "Delete the key at Qdrant Cloud, too", Hint: "Every copy of it stops working. If that fails, the account stays here.", Selected: form.DeleteKey == "yes"},
				keep,
			},
		}}
	} else {
		v.Warning = "The management key stays valid at Qdrant Cloud: whoever has a copy can go on using it. Delete it in Qdrant’s own console; its first characters are " + d.Key.Prefix + ". It cannot be deleted from here: " + asSentence(o.Reason)
	}
	return s.render(c, status, templates.Confirm(v))
}

// handleAccountDelete handles POST /accounts/{id}/delete.
func (s *Server) handleAccountDelete(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form accountRemovalForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	invalid := map[string]string{}
	if form.DeleteKey != "" && form.DeleteKey != "yes" && form.DeleteKey != "no" {
		invalid["delete_key"] = "Choose whether the key is deleted."
	} else {
		err = s.accounts.Remove(ctx, by, id, accounts.AccountRemoval{Confirm: form.Confirm, DeleteKeyUpstream: form.DeleteKey == "yes"})
		if e, ok := errors.AsType[*accounts.InvalidError](err); ok {
			invalid = e.Fields
		} else if err != nil {
			return fmt.Errorf("remove account: %w", err)
		}
	}
	if len(invalid) == 0 {
		return s.redirect(c, pathAccounts, "Account removed.")
	}
	d, err := s.accounts.Account(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read account: %w", err)
	}
	return s.renderAccountDelete(c, http.StatusUnprocessableEntity, d, form, invalid)
}
