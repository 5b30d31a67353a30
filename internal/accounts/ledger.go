package accounts

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"quartermaster/internal/audit"
)

// ledger is what the log says there is: who may do what, on which accounts, with which keys. It is made
// by applying events in their order, and knows nothing of the tables that say the same.
type ledger struct {
	accounts map[string]*ledgerAccount
	keys     map[string]*ledgerKey // management keys by our id
	grants   map[string]*ledgerGrant
	roles    map[string]*ledgerRole
	members  map[principal]*ledgerMember
}

// values are the fields of one thing as the log has them: texts, numbers, booleans, lists of texts.
type values map[string]any

// ledgerAccount is an account. One that was removed stays, so that its log can be told.
type ledgerAccount struct {
	values
	key        string // in use
	seq        int64  // of the event that said so last
	removedSeq int64
}

type ledgerKey struct {
	account string
	seq     int64
}

type ledgerGrant struct {
	values
	seq      int64 // of the event that made it
	by       audit.Actor
	made     audit.Stored
	endedSeq int64
}

type ledgerRole struct {
	values
	seq        int64
	deletedSeq int64
}

type ledgerMember struct {
	name, email string
	verified    bool // the address
	groups      []string
	loginSeq    int64
	loginAt     time.Time
	blocked     bool
	blockedSeq  int64
}

func newLedger() *ledger {
	return &ledger{
		accounts: map[string]*ledgerAccount{}, keys: map[string]*ledgerKey{}, grants: map[string]*ledgerGrant{},
		roles: map[string]*ledgerRole{}, members: map[principal]*ledgerMember{},
	}
}

// ledgerActs are the acts that a ledger is made from.
func ledgerActs() []string {
	var names []string
	for _, act := range []Act{
		ActAccountCreate, ActAccountEdit, ActAccountKey, ActAccountSwitch, ActAccountEnable, ActAccountDisable, ActAccountDelete,
		ActManagementKeyCreate, ActGrantCreate, ActGrantBind, ActGrantDelete, ActRoleCreate, ActRoleEdit, ActRoleDelete,
		ActMemberBlock, ActMemberUnblock, ActSessionLogin,
	} {
		names = append(names, act.Name)
	}
	return names
}

// apply reads one event that came to pass.
func (l *ledger) apply(e audit.Stored) {
	switch e.Act {
	case ActAccountCreate.Name, ActAccountEdit.Name, ActAccountKey.Name, ActAccountSwitch.Name, ActAccountEnable.Name, ActAccountDisable.Name:
		l.applyAccount(e)
	case ActAccountDelete.Name:
		if a := l.accounts[e.Target.ID]; a != nil {
			a.removedSeq = e.Seq
		}
	case ActManagementKeyCreate.Name:
		l.applyKey(e)
	case ActGrantCreate.Name, ActGrantBind.Name:
		l.applyGrant(e)
	case ActGrantDelete.Name:
		if g := l.grants[e.Target.ID]; g != nil {
			g.endedSeq = e.Seq
		}
	case ActRoleCreate.Name, ActRoleEdit.Name, ActRoleDelete.Name:
		l.applyRole(e)
	case ActMemberBlock.Name, ActMemberUnblock.Name, ActSessionLogin.Name:
		l.applyMember(e)
	}
}

// after writes what a change says to be so afterwards over what was.
func (v values) after(change audit.Change) values {
	out := maps.Clone(v)
	if out == nil {
		out = values{}
	}
	for name, sides := range change {
		out[name] = sides[1]
	}
	return out
}

// text returns a field as text; empty when it is none.
func (v values) text(name string) string {
	text, _ := v[name].(string)
	return text
}

// number returns a field as a number; 0 when it is none.
func (v values) number(name string) int {
	n, err := strconv.Atoi(fmt.Sprint(v[name]))
	if err != nil {
		return 0
	}
	return n
}

// list returns a field as a sorted list of texts.
func (v values) list(name string) []string {
	var out []string
	switch list := v[name].(type) {
	case []string:
		out = slices.Clone(list)
	case []any:
		for _, item := range list {
			out = append(out, fmt.Sprint(item))
		}
	}
	slices.Sort(out)
	return out
}

func (l *ledger) applyAccount(e audit.Stored) {
	id := e.Target.ID
	a := l.accounts[id]
	if a == nil || e.Act == ActAccountCreate.Name {
		a = &ledgerAccount{}
		l.accounts[id] = a
	}
	a.values, a.seq = a.after(e.Change), e.Seq
	l.applyKey(e)
	if key := (values{}).after(e.Change).text("management_key_id"); key != "" {
		a.key = key
	}
}

func (l *ledger) applyKey(e audit.Stored) {
	if key := (values{}).after(e.Change).text("management_key_id"); key != "" && l.keys[key] == nil {
		account := e.Account.ID
		if e.Target.Kind == KindAccount {
			account = e.Target.ID
		}
		l.keys[key] = &ledgerKey{account: account, seq: e.Seq}
	}
}

func (l *ledger) applyGrant(e audit.Stored) {
	g := &ledgerGrant{values: values{}.after(e.Change), seq: e.Seq, by: e.Actor, made: e}
	l.grants[e.Target.ID] = g
	if from := l.grants[g.text("bound_from")]; from != nil && from.endedSeq == 0 {
		from.endedSeq = e.Seq
	}
}

func (l *ledger) applyRole(e audit.Stored) {
	r := l.roles[e.Target.ID]
	if r == nil {
		r = &ledgerRole{}
		l.roles[e.Target.ID] = r
	}
	r.seq = e.Seq
	if e.Act == ActRoleDelete.Name {
		r.deletedSeq = e.Seq
		return
	}
	r.values, r.deletedSeq = r.after(e.Change), 0 // one that somebody brought back and an administrator saved is there again
}

func (l *ledger) applyMember(e audit.Stored) {
	if e.Act == ActSessionLogin.Name {
		m := l.member(principal{e.Actor.Issuer, e.Actor.Subject})
		m.name, m.email, m.verified = e.Actor.Name, e.Actor.Email, e.Actor.EmailVerified
		m.loginSeq, m.loginAt = e.Seq, e.RecordedAt
		m.groups = values{}.after(e.Change).list("groups")
		return
	}
	m := l.member(principal{values{}.after(e.Change).text("issuer"), e.Target.ID})
	m.blocked, m.blockedSeq = e.Act == ActMemberBlock.Name, e.Seq
}

func (l *ledger) member(who principal) *ledgerMember {
	if l.members[who] == nil {
		l.members[who] = &ledgerMember{}
	}
	return l.members[who]
}
