package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// keyRoutes are the pages and forms of a cluster's keys.
func (s *Server) keyRoutes() []route {
	const keys = "/accounts/:id/clusters/:cluster/keys"
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{Method: get, Path: keys, Handler: s.handleKeys},
		{Method: post, Path: keys, Handler: s.handleKeyCreate},
		{Method: get, Path: keys + "/new", Handler: s.handleKeyNew},
		{Method: get, Path: keys + "/:key/rotate", Handler: s.handleKeyRotateForm},
		{Method: post, Path: keys + "/:key/rotate", Handler: s.handleKeyRotate},
		{Method: get, Path: keys + "/:key/update", Handler: s.handleKeyUpdateForm},
		{Method: post, Path: keys + "/:key/update", Handler: s.handleKeyUpdate},
		{Method: get, Path: keys + "/:key/delete", Handler: s.handleKeyDeleteForm},
		{Method: post, Path: keys + "/:key/delete", Handler: s.handleKeyDelete},
	}
}

func keysPath(ref accounts.ClusterRef) string {
	return clusterPath(ref.AccountID, ref.ClusterID) + "/keys"
}

func keyPath(ref accounts.ClusterRef, key string) string {
	return keysPath(ref) + "/" + url.PathEscape(key)
}

// clusterTabs are the pages about a cluster; current is the path of the one at hand.
func clusterTabs(self, current string) []templates.Tab {
	tabs := []templates.Tab{{Label: "Overview", Href: self}, {Label: "Keys", Href: self + "/keys"}, {Label: "Backups", Href: self + pathBackups}, {Label: "History", Href: self + "/history"}}
	for i := range tabs {
		tabs[i].Current = tabs[i].Href == current
	}
	return tabs
}

func keysCrumbs(ref accounts.ClusterRef, a accounts.Account, k cloudapi.Cluster, more ...templates.Link) []templates.Link {
	self := clusterPath(ref.AccountID, ref.ClusterID)
	crumbs := append(clusterCrumbs(a), templates.Link{Label: named(k.Name, ref.ClusterID), Href: self})
	return append(crumbs, more...)
}

func keysCrumb(ref accounts.ClusterRef) templates.Link {
	return templates.Link{Label: "Keys", Href: keysPath(ref)}
}

// keyRef reads the cluster and the key of a path.
func keyRef(c echo.Context) (ref accounts.ClusterRef, key string, err error) {
	if ref, err = clusterRef(c); err != nil {
		return ref, "", err
	}
	key, err = url.PathUnescape(c.Param("key"))
	if err != nil || key == "" || len(key) > maxClusterID || hasControl(key) {
		return ref, "", fmt.Errorf("key in the path: %w", accounts.ErrNotFound)
	}
	return ref, key, nil
}

// handleKeys handles GET /accounts/{id}/clusters/{cluster}/keys.
func (s *Server) handleKeys(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	list, err := s.accounts.Keys(c.Request().Context(), actorFrom(c), ref)
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	title := "Keys of " + named(list.Cluster.Name, ref.ClusterID)
	return s.render(c, http.StatusOK, templates.Keys(keysView(s.page(c, title, "keys-index", "clusters"), ref, list)))
}

func keysView(p templates.Page, ref accounts.ClusterRef, list accounts.ClusterKeys) templates.KeysView {
	v := templates.KeysView{
		Page: p, Crumbs: keysCrumbs(ref, list.Account, list.Cluster), Tabs: clusterTabs(clusterPath(ref.AccountID, ref.ClusterID), keysPath(ref)),
		Cluster: named(list.Cluster.Name, ref.ClusterID), Legacy: list.Account.Generation == cloudapi.PAV1, Gone: list.Gone,
		AdminsFailed: asSentence(list.AdminsFailed), Unreadable: list.Unreadable, Offers: keysOffers(ref, list.Offers),
	}
	for _, pending := range list.Pending {
		v.Pending = append(v.Pending, templates.PendingKeyView{Name: pending.Name, By: pending.By, Since: pending.Since, Unknown: pending.Unknown})
	}
	for _, k := range list.Keys {
		v.Rows = append(v.Rows, keyRow(ref, k, list))
	}
	return v
}

// keysOffers are the acts of the page: to make a key, and whatever cannot be done with any key here.
func keysOffers(ref accounts.ClusterRef, offers map[string]accounts.Offer) []templates.Offer {
	var out []templates.Offer
	for _, act := range slices.Sorted(maps.Keys(offers)) {
		o := offers[act]
		label, makes := keyLabel(act), act == accounts.ActKeyCreate.Name || act == accounts.ActAdminKeyCreate.Name
		if makes || !o.Offered {
			out = append(out, templates.Offer{Label: label, Href: keysPath(ref) + "/new", Offered: o.Offered, Reason: o.Reason, Why: whyHref(ref, o), Primary: makes})
		}
	}
	return out
}

func keyLabel(act string) string {
	_, verb, _ := strings.Cut(act, ".")
	if verb == "create" {
		return "New key"
	}
	return strings.ToUpper(verb[:1]) + verb[1:]
}

func keyRow(ref accounts.ClusterRef, k accounts.ClusterKey, list accounts.ClusterKeys) templates.KeyRow {
	row := templates.KeyRow{
		ID: k.ID, Name: keyTitle(k.DatabaseKey), Mark: accounts.KeyMark(k.DatabaseKey), Admin: k.Admin, Access: accessWords(k.Access), Creator: k.Creator,
		NobodySaw: k.NobodySaw, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, Hidden: k.Hidden,
	}
	for _, on := range k.Opens {
		row.Opens = append(row.Opens, templates.Link{Label: on.Name, Href: clusterPath(ref.AccountID, on.ID)})
	}
	for _, act := range slices.Backward(slices.Sorted(maps.Keys(k.Offers))) { // what deletes stands last
		o := k.Offers[act]
		label := keyLabel(act)
		switch {
		case o.Offered:
			row.Acts = append(row.Acts, templates.Offer{Label: label, Href: keyPath(ref, k.ID) + "/" + strings.ToLower(label), Offered: true, Danger: label == "Delete"})
		case list.Offers[act].Offered || list.Offers[act].Act == "": // else the page tells it once
			row.Why = append(row.Why, label+": "+o.Reason)
		}
	}
	switch {
	case k.SuccessorOf != "":
		old := markOf(list.Keys, k.SuccessorOf)
		row.Note = "It is to take the place of the key that ends in " + old + ", which still works."
		if k.NobodySaw {
			row.Note = "It was to take the place of the key that ends in " + old + ", which still works and must stay."
		} else if o := list.Offers[accounts.ActKeyDelete.Name]; o.Offered {
			row.OldHref = keyPath(ref, k.SuccessorOf) + "/delete"
		}
	case k.Successor != "":
		row.Note = "The key that ends in " + markOf(list.Keys, k.Successor) + " is to take its place. Delete this one when nothing uses it any more."
	}
	return row
}

func markOf(keys []accounts.ClusterKey, id string) string {
	for _, k := range keys {
		if k.ID == id {
			return accounts.KeyMark(k.DatabaseKey)
		}
	}
	return id
}

func keyTitle(k cloudapi.DatabaseKey) string {
	if k.Admin {
		return "Admin key"
	}
	return named(k.Name, k.ID)
}

// accessWords tells what a key may do.
func accessWords(a cloudapi.KeyAccess) []string {
	var words []string
	switch a.Global {
	case "":
	case cloudapi.AccessManage:
		words = append(words, "manage everything")
	case cloudapi.AccessReadOnly:
		words = append(words, "read everything")
	default:
		words = append(words, templates.Words(a.Global))
	}
	for _, rule := range a.Collections {
		may := templates.Words(rule.Access)
		switch rule.Access {
		case cloudapi.AccessReadOnly:
			may = "read"
		case cloudapi.AccessReadWrite:
			may = "read and write"
		}
		words = append(words, rule.Collection+": "+may)
	}
	if a.Unreadable {
		words = append(words, "more than this console understands")
	}
	return words
}

// keyForm is what a browser may say about a new key.
type keyForm struct {
	Name        string   `form:"name"`
	Days        []string `form:"expires_in_days"` // absent is not the same as empty
	Access      string   `form:"access"`
	Collections string   `form:"collections"`
	Clusters    []string `form:"clusters"`
	FormToken   string   `form:"form_token"`
}

// days is the field as it was typed; nil when the form had none.
func (f keyForm) days() (*string, error) {
	switch len(f.Days) {
	case 0:
		return nil, nil
	case 1:
		return &f.Days[0], nil
	}
	return nil, badForm("field expires_in_days was sent more than once")
}

func (f keyForm) newKey() (accounts.NewKey, error) {
	days, err := f.days()
	return accounts.NewKey{Name: f.Name, ExpiresInDays: days, Access: f.Access, Collections: f.Collections, Clusters: f.Clusters, FormToken: f.FormToken}, err
}

// handleKeyNew handles GET /accounts/{id}/clusters/{cluster}/keys/new.
func (s *Server) handleKeyNew(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	asked, err := s.accounts.AskNewKey(c.Request().Context(), actorFrom(c), ref)
	if err != nil {
		return fmt.Errorf("ask for a key: %w", err)
	}
	form := keyForm{FormToken: asked.FormToken, Days: []string{fmt.Sprint(accounts.DefaultKeyDays)}, Clusters: []string{ref.ClusterID}}
	return s.renderKeyForm(c, http.StatusOK, ref, asked, form, refusal{})
}

func (s *Server) renderKeyForm(c echo.Context, status int, ref accounts.ClusterRef, asked accounts.KeyForm, form keyForm, wrong refusal) error {
	name := named(asked.Cluster.Name, ref.ClusterID)
	v := templates.KeyFormView{
		Page: s.page(c, "New key for "+name, "key-new", "clusters"), Crumbs: keysCrumbs(ref, asked.Account, asked.Cluster, keysCrumb(ref)),
		Action: keysPath(ref), Back: keysPath(ref), FormToken: form.FormToken, Button: "Make key", Errors: wrong.fields, Said: wrong.said,
		Lead: "The key is shown once, on the page that answers this form, and is not stored here.",
		Name: form.Name, Days: strings.Join(form.Days, ""), Access: form.Access, Collections: form.Collections, Admin: asked.Admin(),
	}
	switch {
	case asked.Admin():
		v.Clusters = clusterChecks("Which clusters is it for?", asked.Choices, form.Clusters)
		v.Warning = "The legacy pa/v1 API makes admin keys only: they have no name, manage everything in each of their clusters, and never end. Their clusters cannot be changed later."
	case asked.Cluster.State.JWTRBAC != nil && !*asked.Cluster.State.JWTRBAC:
		v.Warning = "JWT access control is not enabled for this cluster, as far as is known here. Without it Qdrant Cloud makes no such keys."
	}
	return s.render(c, status, templates.KeyForm(v))
}

func clusterChecks(legend string, choices []accounts.OpenedCluster, chosen []string) templates.Checks {
	checks := templates.Checks{Name: "clusters", Legend: legend}
	for _, on := range choices {
		hint := on.ID
		if on.Here {
			hint += ", the cluster whose keys these are"
		}
		checks.Choices = append(checks.Choices, templates.Choice{Value: on.ID, Label: on.Name, Hint: hint, Selected: slices.Contains(chosen, on.ID)})
	}
	return checks
}

// handleKeyCreate handles POST /accounts/{id}/clusters/{cluster}/keys. Its answer with 200 is the one
// page that shows the key.
func (s *Server) handleKeyCreate(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	var form keyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	asked, err := form.newKey()
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	made, err := s.accounts.CreateKey(ctx, by, ref, asked)
	if wrong, ok := formRefusal(err); ok {
		again, err := s.accounts.NewKeyForm(ctx, by, ref)
		if err != nil {
			return fmt.Errorf("read the form of a key: %w", err)
		}
		act := accounts.ActKeyCreate
		if again.Admin() {
			act = accounts.ActAdminKeyCreate
		}
		if form.FormToken, err = s.freshToken(c, act, form.FormToken, wrong.fields, "send it once more."); err != nil {
			return err
		}
		return s.renderKeyForm(c, wrong.status, ref, again, form, wrong)
	}
	if err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	return s.renderMadeKey(c, ref, made)
}

// formRefusal is what a form says again: rules of ours that it breaks, or a refusal of upstream's.
func formRefusal(err error) (refusal, bool) {
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return refusal{status: http.StatusUnprocessableEntity, fields: maps.Clone(invalid.Fields)}, true
	}
	return keyRefusal(err)
}

// renderMadeKey shows a key once, or says that it was shown before.
func (s *Server) renderMadeKey(c echo.Context, ref accounts.ClusterRef, made accounts.MadeKey) error {
	if made.Again {
		words := "This form has made its key already, and the key was shown once. If nobody kept it, delete that key and make another."
		if made.Unsure {
			words = "This form was sent already. Whether it made a key is not known yet: look at the list below."
		}
		return s.redirect(c, keysPath(ref), words)
	}
	k, state := made.Key, made.Cluster.State
	v := templates.KeySecretView{
		Page: s.page(c, "Your new key", "key-secret", "clusters"), Crumbs: keysCrumbs(ref, made.Account, made.Cluster, keysCrumb(ref)),
		Name: k.Name, Cluster: named(made.Cluster.Name, ref.ClusterID), Secret: string(made.Secret.Reveal()), Admin: k.Admin,
		Curl: curlCommand(state.EndpointURL, state.RESTPort), Access: accessWords(k.Access), ExpiresAt: k.ExpiresAt, Back: keysPath(ref),
	}
	if old := made.Replaces; old != nil {
		v.Old = fmt.Sprintf("“%s”, which ends in %s,", keyTitle(old.DatabaseKey), accounts.KeyMark(old.DatabaseKey))
		v.OldHref = keyPath(ref, old.ID) + "/delete"
	}
	return s.render(c, http.StatusOK, templates.KeySecret(v))
}

// handleKeyRotateForm handles GET /accounts/{id}/clusters/{cluster}/keys/{key}/rotate.
func (s *Server) handleKeyRotateForm(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	asked, err := s.accounts.AskRotation(c.Request().Context(), actorFrom(c), ref, key)
	if err != nil {
		return fmt.Errorf("ask for a rotation: %w", err)
	}
	form := keyForm{FormToken: asked.FormToken, Name: asked.Replaces.Name, Days: []string{accounts.LifetimeDays(asked.Replaces.DatabaseKey)}}
	return s.renderRotation(c, http.StatusOK, ref, asked, form, refusal{})
}

func (s *Server) renderRotation(c echo.Context, status int, ref accounts.ClusterRef, asked accounts.KeyForm, form keyForm, wrong refusal) error {
	old := asked.Replaces
	title := "Rotate " + keyTitle(old.DatabaseKey)
	return s.render(c, status, templates.KeyForm(templates.KeyFormView{
		Page: s.page(c, title, "key-rotate", "clusters"), Crumbs: keysCrumbs(ref, asked.Account, asked.Cluster, keysCrumb(ref)),
		Action: keyPath(ref, old.ID) + "/rotate", Back: keysPath(ref), FormToken: form.FormToken, Button: "Make the successor", Errors: wrong.fields, Said: wrong.said,
		Lead: fmt.Sprintf("A successor is made for the key %s, which ends in %s. It is shown once, on the page that answers this form.", keyTitle(old.DatabaseKey), accounts.KeyMark(old.DatabaseKey)),
		Points: []string{
			"Both keys work until you delete the old one: give the new one to everything that uses it first.",
			"The list of keys reminds everybody of the old key until it is gone.",
		},
		Rotation: true, Rules: accessWords(old.Access), Name: form.Name, Days: strings.Join(form.Days, ""),
	}))
}

// handleKeyRotate handles POST /accounts/{id}/clusters/{cluster}/keys/{key}/rotate.
func (s *Server) handleKeyRotate(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	var form keyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	days, err := form.days()
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	made, err := s.accounts.RotateKey(ctx, by, ref, key, accounts.Rotation{Name: form.Name, ExpiresInDays: days, FormToken: form.FormToken})
	if wrong, ok := formRefusal(err); ok {
		again, err := s.accounts.RotationForm(ctx, by, ref, key)
		if err != nil {
			return fmt.Errorf("read the form of a rotation: %w", err)
		}
		if form.FormToken, err = s.freshToken(c, accounts.ActKeyRotate, form.FormToken, wrong.fields, "send it once more."); err != nil {
			return err
		}
		return s.renderRotation(c, wrong.status, ref, again, form, wrong)
	}
	if err != nil {
		return fmt.Errorf("rotate key: %w", err)
	}
	return s.renderMadeKey(c, ref, made)
}

// handleKeyUpdateForm handles GET /accounts/{id}/clusters/{cluster}/keys/{key}/update.
func (s *Server) handleKeyUpdateForm(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	asked, err := s.accounts.AskKeyUpdate(c.Request().Context(), actorFrom(c), ref, key)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return s.renderKeyUpdate(c, http.StatusOK, ref, asked, asked.Key.Clusters, refusal{})
}

func (s *Server) renderKeyUpdate(c echo.Context, status int, ref accounts.ClusterRef, asked accounts.AskedKey, chosen []string, wrong refusal) error {
	mark := accounts.KeyMark(asked.Key.DatabaseKey)
	return s.render(c, status, templates.KeyForm(templates.KeyFormView{
		Page: s.page(c, "Update admin key "+mark, "key-update", "clusters"), Crumbs: keysCrumbs(ref, asked.Account, asked.Cluster, keysCrumb(ref)),
		Action: keyPath(ref, asked.Key.ID) + "/update", Back: keysPath(ref), Button: "Send the update", Errors: wrong.fields, Said: wrong.said,
		Lead: "The legacy pa/v1 API has an update of keys, and there is nothing that it can change.",
		Points: []string{
			"It takes the clusters of a key, which are fixed when the key is made: sent as they are nothing happens, and other ones are refused.",
			"ID, beginning, date and the key itself can only be read. To change what opens a cluster, make another key and delete this one.",
		},
		Admin: true, Clusters: clusterChecks("Clusters to send", asked.Choices, chosen),
	}))
}

// handleKeyUpdate handles POST /accounts/{id}/clusters/{cluster}/keys/{key}/update.
func (s *Server) handleKeyUpdate(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	var form keyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.UpdateAdminKey(ctx, by, ref, key, form.Clusters)
	if wrong, ok := formRefusal(err); ok {
		asked, err := s.accounts.AskKeyUpdate(ctx, by, ref, key)
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		return s.renderKeyUpdate(c, wrong.status, ref, asked, form.Clusters, wrong)
	}
	if err != nil {
		return fmt.Errorf("update key: %w", err)
	}
	return s.redirect(c, keysPath(ref), "Qdrant Cloud took the update. The key is as it was.")
}

// keyDeletionForm is what a browser may say about deleting a key.
type keyDeletionForm struct {
	Confirm string `form:"confirm"`
}

// handleKeyDeleteForm handles GET /accounts/{id}/clusters/{cluster}/keys/{key}/delete.
func (s *Server) handleKeyDeleteForm(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	asked, err := s.accounts.AskKeyDelete(c.Request().Context(), actorFrom(c), ref, key)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return s.renderKeyDelete(c, http.StatusOK, ref, asked, keyDeletionForm{}, nil)
}

func (s *Server) renderKeyDelete(c echo.Context, status int, ref accounts.ClusterRef, asked accounts.AskedKey, form keyDeletionForm, invalid map[string]string) error {
	k, title := asked.Key, keyTitle(asked.Key.DatabaseKey)
	cluster := named(asked.Cluster.Name, ref.ClusterID)
	v := templates.ConfirmView{
		Page: s.page(c, "Delete "+title, "key-delete", "clusters"), Crumbs: keysCrumbs(ref, asked.Account, asked.Cluster, keysCrumb(ref)),
		Lead:   fmt.Sprintf("The key %s of the cluster %s in %s is deleted.", title, cluster, asked.Account.Name),
		Points: keyDeletionPoints(k, s.now()), Warning: "A deleted key cannot be brought back.",
		Action: keyPath(ref, k.ID) + "/delete", Back: keysPath(ref), Button: "Delete key", Danger: true,
		Confirm: accounts.KeyMark(k.DatabaseKey), Kind: "key", Ask: "Type the last characters of the key to confirm:", Typed: cut(form.Confirm, 300), Errors: invalid,
	}
	if k.Admin {
		v.Ask = "Type the first characters of the key to confirm:"
	}
	return s.render(c, status, templates.Confirm(v))
}

// keyDeletionPoints say what stops working.
func keyDeletionPoints(k accounts.ClusterKey, now time.Time) []string {
	var points []string
	switch {
	case k.NobodySaw:
		points = append(points, "Nobody saw its secret, so nothing uses it.")
	case !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now):
		points = append(points, "It has expired, so nothing can use it any more.")
	default:
		points = append(points, "Whatever uses it is refused by the cluster from then on. It could "+strings.Join(accessWords(k.Access), "; ")+".")
	}
	if k.Admin {
		var names []string
		for _, on := range k.Opens {
			names = append(names, on.Name)
		}
		points = append(points, "It opens "+strings.Join(names, ", ")+", and stops working in all of them.")
	}
	if k.Successor != "" {
		points = append(points, "It has a successor, which goes on working.")
	}
	if k.SuccessorOf != "" {
		points = append(points, "It is the successor of another key. That one goes on working, and the rotation is off.")
	}
	return points
}

// handleKeyDelete handles POST /accounts/{id}/clusters/{cluster}/keys/{key}/delete.
func (s *Server) handleKeyDelete(c echo.Context) error {
	ref, key, err := keyRef(c)
	if err != nil {
		return err
	}
	var form keyDeletionForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.DeleteKey(ctx, by, ref, key, form.Confirm)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		asked, err := s.accounts.AskKeyDelete(ctx, by, ref, key)
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		return s.renderKeyDelete(c, http.StatusUnprocessableEntity, ref, asked, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("delete key: %w", err)
	}
	return s.redirect(c, keysPath(ref), "Key deleted. Nothing can use it any more.")
}
