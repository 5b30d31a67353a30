package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	nameLength    = 64   // characters
	ownerLength   = 128  // characters
	noteLength    = 2000 // characters
	longestKey    = 4096 // bytes
	shortestKey   = 8    // bytes; nothing shorter could be a secret
	cloudIDLength = 128  // bytes
	// probeTimeout bounds all calls that identify a pasted key.
	probeTimeout = 30 * time.Second
	// storeTimeout bounds the transaction that stores an account.
	storeTimeout = 15 * time.Second
)

// candidate is a new account on its way from the form to the database.
type candidate struct {
	Account
	key       cloudapi.Secret
	sealed    []byte
	formToken string
}

func (c candidate) target() target {
	return target{Account: accountRef{ID: c.ID, Name: c.Name}, Kind: KindAccount, ID: c.ID.String(), Name: c.Name}
}

// Create probes the key, stores it sealed and records account.create in the same transaction:
// either the account, its key, its first refresh and the event exist, or none of them.
//
// The attempt is recorded before the key is tried, so upstream is not called by one who may not
// add accounts, nor when the log cannot be written. *InvalidError tells everything that is wrong
// with the form at once, and afterwards what the probe found; *ChooseAccountError that the key
// opens several accounts and none was chosen; *ForbiddenError; ErrAuditUnavailable;
// *cloudapi.Error when upstream cannot be asked. With a form token already used it returns what the
// first call made, and changes and records nothing.
func (s *Service) Create(ctx context.Context, by audit.Actor, n NewAccount) (Account, error) {
	if err := s.authorize(ctx, by, ActAccountCreate, installation(KindAccount)); err != nil {
		return Account{}, err
	}
	if made, before, err := s.madeBefore(ctx, by, n.FormToken); err != nil || before {
		return made, err
	}
	c, err := s.newCandidate(by, n)
	if err != nil {
		return Account{}, err
	}

	attempt := c.target().event(by, ActAccountCreate)
	attempt.Change = accountChange(nil, &c.Account)
	outcome, end, err := s.begin(ctx, attempt)
	if err != nil {
		return Account{}, err
	}
	defer end()

	found, calls, err := s.probe(ctx, by, c.Generation, c.CloudAccountID, c.key)
	outcome.Upstream = upstreamOf(outcome.Upstream, calls)
	if err != nil {
		outcome.Reason = formReason(err)
		s.appendOutcome(ctx, outcome)
		return Account{}, err
	}
	c.complete(found)
	account, already, err := s.store(ctx, by, c, outcome)
	switch {
	case already != "":
		outcome.Reason = "The same form was sent twice; the first one made the account."
		s.appendOutcome(ctx, outcome)
		return s.made(ctx, already)
	case err == nil:
		s.refreshing.nudge()
		return account, nil
	case unsettled(err):
		return Account{}, err
	default:
		outcome.Reason = formReason(err)
		s.appendOutcome(ctx, outcome)
		return Account{}, err
	}
}

// newCandidate checks the form, all of it, and seals the key.
func (s *Service) newCandidate(by audit.Actor, n NewAccount) (candidate, error) {
	invalid := map[string]string{}
	say := func(field, problem string) {
		if problem != "" && invalid[field] == "" {
			invalid[field] = problem
		}
	}
	now := s.now()
	c := candidate{formToken: n.FormToken, Account: Account{
		ID: s.newID(), Generation: n.Generation, CloudAccountID: strings.TrimSpace(n.CloudAccountID), Enabled: true,
		CreatedAt: now, CreatedBy: nameOf(by),
		Key: ManagementKey{ID: s.newID(), Provenance: "pasted", AddedAt: now, AddedBy: nameOf(by)},
	}}

	switch n.Generation {
	case cloudapi.Current:
		say("cloud_account_id", textProblem(c.CloudAccountID, cloudIDLength, false))
	case cloudapi.PAV1:
		id, err := uuid.Parse(c.CloudAccountID)
		if err != nil || len(c.CloudAccountID) != 36 {
			say("cloud_account_id", "The legacy API does not tell the account's id: give it, as in 11111111-2222-4333-8444-555555555555.")
		} else {
			c.CloudAccountID = id.String()
		}
		if tidy(n.Name) == "" {
			say("name", "The legacy API does not tell the account's name: give one.")
		}
	default:
		say("generation", "Choose the API: current or pa-v1.")
	}
	s.describe(&c.Account, AccountDetails{Name: n.Name, Environment: n.Environment, Owner: n.Owner, Note: n.Note, RotateBy: n.RotateBy}, say)
	problem, err := s.sealKey(&c, n.Key)
	if err != nil {
		return candidate{}, err
	}
	say("management_key", problem)
	if len(invalid) > 0 {
		return candidate{}, &InvalidError{Fields: invalid}
	}
	return c, nil
}

// sealKey keeps the pasted key sealed, and its first characters. Space around it comes from
// copying and is cut off. problem says for people why it cannot be a key.
func (s *Service) sealKey(c *candidate, pasted cloudapi.Secret) (problem string, err error) {
	plain := strings.TrimSpace(string(pasted.Reveal()))
	switch {
	case plain == "":
		return "Paste a management key.", nil
	case len(plain) < shortestKey || len(plain) > longestKey:
		return "This is not a management key: it is too short or too long.", nil
	case strings.ContainsFunc(plain, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "This is not a management key: it holds characters that keys do not have.", nil
	}
	c.key = cloudapi.NewSecret([]byte(plain))
	c.Key.Prefix = plain[:min(8, len(plain)/4)]
	if c.sealed, err = s.cfg.Vault.Seal(vault.ManagementKeys, keyPlace(c.Key.ID), []byte(plain)); err != nil {
		return "", fmt.Errorf("sealing the management key: %w", err)
	}
	return "", nil
}

// opened is what a key was found to open, and what it may do there.
type opened struct {
	account     cloudapi.Account // zero for pa/v1, which does not tell
	permissions []string         // nil for pa/v1, which does not tell
	at          *time.Time       // when the permissions were read
}

// probe asks upstream which account a key opens and what it may do there. A cloudAccountID says which
// one it must be; without it the key must open one only. The calls it made are returned also with an
// error.
func (s *Service) probe(ctx context.Context, by audit.Actor, g cloudapi.Generation, cloudAccountID string, key cloudapi.Secret) (found opened, calls []cloudapi.Call, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var conns []*cloudapi.Conn
	connect := func(cloudAccountID string) cloud {
		conn := s.cfg.Cloud.Connect(cloudapi.ConnConfig{Generation: g, CloudAccountID: cloudAccountID, Key: key, RequestID: by.RequestID})
		conns = append(conns, conn)
		return cloudOf(g, conn)
	}
	if g == cloudapi.PAV1 {
		_, err = connect(cloudAccountID).ListClusters(ctx, "")
		err = probeError("listing clusters", err)
	} else {
		found, err = s.identify(ctx, connect, cloudAccountID)
	}
	for _, conn := range conns {
		calls = append(calls, conn.Calls()...)
	}
	return found, calls, err
}

// identify asks the current API which account a key opens and what it may do there. connect opens it
// for an account; for none while that is not known.
func (s *Service) identify(ctx context.Context, connect func(cloudAccountID string) cloud, cloudAccountID string) (opened, error) {
	all, err := connect("").Accounts(ctx)
	if err != nil {
		return opened{}, probeError("finding the key's account", err)
	}
	account, err := chosen(all, cloudAccountID)
	if err != nil {
		return opened{}, err
	}
	permissions, err := connect(account.ID).Permissions(ctx)
	if err != nil {
		return opened{}, probeError("reading the key's permissions", err)
	}
	if !slices.Contains(permissions, access.ReadClusters) {
		return opened{}, invalidField("management_key", "The key lacks read:clusters, without which there is nothing to show.")
	}
	at := s.now()
	account.Name, account.OwnerEmail = shown(account.Name, 256), shown(account.OwnerEmail, 320)
	return opened{account: account, permissions: sortedOnce(permissions), at: &at}, nil
}

// complete adds to a candidate what its key was found to open.
func (c *candidate) complete(found opened) {
	if c.Generation == cloudapi.PAV1 {
		return
	}
	c.CloudAccountID, c.UpstreamName, c.OwnerEmail = found.account.ID, found.account.Name, found.account.OwnerEmail
	c.Key.Permissions, c.Key.ProbedAt = found.permissions, found.at
	if c.Name == "" {
		c.Name = shown(found.account.Name, nameLength)
	}
	if c.Name == "" {
		c.Name = shown(found.account.ID, nameLength)
	}
}

// chosen picks the account among those the key opens.
func chosen(opened []cloudapi.Account, id string) (cloudapi.Account, error) {
	if len(opened) == 0 {
		return cloudapi.Account{}, invalidField("management_key", "The key opens no account.")
	}
	if id != "" {
		i := slices.IndexFunc(opened, func(a cloudapi.Account) bool { return strings.EqualFold(a.ID, id) })
		if i < 0 {
			return cloudapi.Account{}, invalidField("cloud_account_id", "The key does not open this account.")
		}
		return opened[i], nil
	}
	if len(opened) == 1 {
		return opened[0], nil
	}
	choose := &ChooseAccountError{}
	for _, a := range opened {
		choose.Accounts = append(choose.Accounts, CloudAccount{ID: a.ID, Name: shown(a.Name, 256)})
	}
	return cloudapi.Account{}, choose
}

// probeError turns what upstream says against the key into a message at its field. What says
// nothing about the key stays an error of upstream.
func probeError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if upstream, ok := cloudapi.AsError(err); ok {
		switch upstream.Kind {
		case cloudapi.Unauthenticated, cloudapi.Forbidden:
			return invalidField("management_key", "Qdrant Cloud refuses the key: "+upstream.Public())
		case cloudapi.NotFound, cloudapi.Invalid:
			return invalidField("cloud_account_id", "Qdrant Cloud does not know the account: "+upstream.Public())
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// formReason is what the log says of a form that was not taken.
func formReason(err error) string {
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		fields := make([]string, 0, len(invalid.Fields))
		for field := range invalid.Fields {
			fields = append(fields, field)
		}
		slices.Sort(fields)
		var words []string
		for _, field := range fields {
			words = append(words, invalid.Fields[field])
		}
		return strings.Join(words, " ")
	}
	if _, ok := errors.AsType[*ChooseAccountError](err); ok {
		return "The key opens several accounts and none was chosen."
	}
	return reasonOf(err)
}

// store writes the account, its key, its first refresh and the outcome in one transaction. already
// is what the same form has made meanwhile; then nothing is written.
func (s *Service) store(ctx context.Context, by audit.Actor, c candidate, outcome audit.Event) (stored Account, already string, err error) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if c.formToken != "" {
			var err error
			if already, err = s.useFormToken(ctx, tx, by, ActAccountCreate.Name, c.formToken); err != nil {
				return err
			}
			if already != "" {
				return errMadeAlready
			}
		}
		if err := s.insertAccount(ctx, tx, by, c); err != nil {
			return err
		}
		if err := s.scheduleRefresh(ctx, tx, c.ID); err != nil {
			return err
		}
		if c.formToken != "" {
			if err := s.finishFormToken(ctx, tx, c.formToken, c.ID.String()); err != nil {
				return err
			}
		}
		done := c.target().event(by, ActAccountCreate)
		done.Phase, done.Outcome, done.Operation, done.Upstream = audit.PhaseOutcome, audit.OK, outcome.Operation, outcome.Upstream
		done.Change = accountChange(nil, &c.Account)
		return s.recordLast(ctx, tx, done)
	})
	switch {
	case err == nil:
		return c.Account, "", nil
	case errors.Is(err, errMadeAlready):
		return Account{}, already, nil
	case violates(err, "accounts_cloud_account_id_key"):
		return Account{}, "", s.registeredAlready(ctx, c)
	case violates(err, "accounts_name_key"):
		return Account{}, "", invalidField("name", "An account has this name already; give another.")
	default:
		return Account{}, "", dbError("storing the account", err)
	}
}

// errMadeAlready rolls the transaction of store back.
var errMadeAlready = errors.New("the form has made its account already")

func (s *Service) insertAccount(ctx context.Context, tx pgx.Tx, by audit.Actor, c candidate) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO accounts (id, generation, cloud_account_id, upstream_name, owner_email, name, environment, owner, note,
			rotate_by, enabled, created_at, created_by, created_by_issuer, created_by_subject, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $12)`,
		c.ID, string(c.Generation), c.CloudAccountID, c.UpstreamName, c.OwnerEmail, c.Name, string(c.Environment), c.Owner, c.Note,
		c.RotateBy, c.Enabled, c.CreatedAt, c.CreatedBy, by.Issuer, by.Subject); err != nil {
		return err
	}
	if err := s.certify(ctx, tx, c.Account); err != nil {
		return err
	}
	return insertKey(ctx, tx, c)
}

// insertKey stores the candidate's key as the one in use.
func insertKey(ctx context.Context, tx pgx.Tx, c candidate) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, permissions, probed_at, added_at, added_by, upstream_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		c.Key.ID, c.ID, c.Key.Prefix, c.sealed, c.Key.Provenance, c.Key.Permissions, c.Key.ProbedAt, c.Key.AddedAt, c.Key.AddedBy, c.Key.UpstreamID)
	return err
}

// registeredAlready names the account that is in the way. One who may add accounts may know it.
func (s *Service) registeredAlready(ctx context.Context, c candidate) error {
	at := "management_key"
	if c.Generation == cloudapi.PAV1 {
		at = "cloud_account_id"
	}
	var name string
	if err := s.cfg.DB.QueryRow(ctx, `SELECT name FROM accounts WHERE lower(cloud_account_id) = lower($1)`, c.CloudAccountID).Scan(&name); err != nil {
		return invalidField(at, "This Qdrant Cloud account is registered already.")
	}
	return invalidField(at, fmt.Sprintf("This Qdrant Cloud account is registered already, as %s.", name))
}

// madeBefore returns the account that a form token made when it was posted first; ok is false when
// it has made nothing yet.
func (s *Service) madeBefore(ctx context.Context, by audit.Actor, token string) (account Account, ok bool, err error) {
	if token == "" {
		return Account{}, false, nil
	}
	already, err := s.formResult(ctx, by, ActAccountCreate, token)
	if err != nil || already == "" {
		return Account{}, false, err
	}
	account, err = s.made(ctx, already)
	return account, err == nil, err
}

// made returns the account whose id a form token remembers.
func (s *Service) made(ctx context.Context, id string) (Account, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return Account{}, fmt.Errorf("reading what a form token made: %w", err)
	}
	return accountByID(ctx, s.cfg.DB, parsed, false)
}

func invalidField(field, problem string) *InvalidError {
	return &InvalidError{Fields: map[string]string{field: problem}}
}

// tidy brings typed text into one form: composed characters, no space around it, one kind of line end.
func tidy(text string) string {
	return strings.TrimSpace(norm.NFC.String(strings.ReplaceAll(text, "\r\n", "\n")))
}

// textProblem says what is wrong with typed text: too long, or characters that do not print.
func textProblem(text string, longest int, lines bool) string {
	if utf8.RuneCountInString(text) > longest {
		return fmt.Sprintf("At most %d characters.", longest)
	}
	for i, r := range text {
		if lines && (r == '\n' || r == '\t' || unicode.Is(unicode.Variation_Selector, r)) {
			continue
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return "This is not text."
			}
		}
		if !legible(r) {
			return "This holds characters that do not print."
		}
	}
	return ""
}

// legible reports whether a character can be seen. Some that count as printing are blank, so that two
// texts would look alike.
func legible(r rune) bool {
	return unicode.IsPrint(r) && r != '\u2800' && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// shown makes a text of upstream's fit to be stored and shown: what does not print is left out.
func shown(text string, longest int) string {
	printable := strings.Map(func(r rune) rune {
		if !legible(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, tidy(text))
	runes := []rune(printable)
	return strings.TrimSpace(string(runes[:min(len(runes), longest)]))
}

func sortedOnce(list []string) []string {
	sorted := make([]string, 0, len(list))
	for _, v := range list {
		sorted = append(sorted, shown(v, 128))
	}
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// nameOf is what people call an actor.
func nameOf(by audit.Actor) string {
	for _, name := range []string{by.Name, by.Email, by.Subject} {
		if name = shown(name, 128); name != "" {
			return name
		}
	}
	return by.Issuer
}
