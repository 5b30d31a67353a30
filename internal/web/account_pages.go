package web

import (
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// accountPage is page for a page of an account, or of what is in it: all pages of one of the legacy
// API say that this API ends, and how to move the account or whom to ask.
func (s *Server) accountPage(c echo.Context, a accounts.Account, title, bodyID, section string) templates.Page {
	p := s.page(c, title, bodyID, section)
	if a.Generation != cloudapi.PAV1 {
		return p
	}
	p.Legacy = &templates.LegacyNotice{Contact: s.opts.Contact}
	if p.Member != nil && p.Member.MayManage {
		p.Legacy.SwitchHref = accountPath(a.ID) + "/switch"
	}
	return p
}

// accountCrumbs is the way up from a page below an account's.
func accountCrumbs(a accounts.Account) []templates.Link {
	return []templates.Link{{Label: "Accounts", Href: pathAccounts}, {Label: a.Name, Href: accountPath(a.ID)}}
}

func keyView(k accounts.ManagementKey) templates.KeyView {
	return templates.KeyView{Prefix: k.Prefix, Minted: k.Provenance == "minted", AddedAt: k.AddedAt, AddedBy: k.AddedBy}
}

// keyOffers lists what can be done with the key of an account.
func keyOffers(d accounts.AccountDetail) []templates.Offer {
	return []templates.Offer{pasteOffer(d), mintOffer(d)}
}

func pasteOffer(d accounts.AccountDetail) templates.Offer {
	return offerOf(d.Offers[accounts.ActAccountKey.Name], "Replace the key", accountPath(d.ID)+"/key")
}

func mintOffer(d accounts.AccountDetail) templates.Offer {
	return offerOf(d.Offers[accounts.ActManagementKeyCreate.Name], "Mint a key here", accountPath(d.ID)+"/key/mint")
}

func offerOf(o accounts.Offer, label, href string) templates.Offer {
	return templates.Offer{Label: label, Href: href, Offered: o.Offered, Reason: o.Reason}
}

// oldKeyViews lists the old keys of an account; those who may manage it are led to what can be done.
func oldKeyViews(d accounts.AccountDetail) []templates.OldKeyView {
	var views []templates.OldKeyView
	for _, k := range d.OldKeys {
		v := oldKeyView(k)
		if d.Offers[accounts.ActAccountKey.Name].Offered {
			v.Href = oldKeyPath(d.ID, k.ID) + "/delete"
		}
		views = append(views, v)
	}
	return views
}

func oldKeyView(k accounts.OldKey) templates.OldKeyView {
	v := templates.OldKeyView{KeyView: keyView(k.ManagementKey), ID: k.ID.String(), RetiredAt: k.RetiredAt, Lost: k.Lost}
	v.Unseen = k.Unseen
	return v
}

// notOfferedHere lists the acts that nobody is offered on the account, whatever their rights, by the
// reason: first what the API has no operation for, then what the key lacks a permission for. Admin
// keys, which the current API has put better ones in place of, are not missed there.
func notOfferedHere(d accounts.AccountDetail) []templates.Pair {
	var byAPI, byKey []templates.Pair
	for _, act := range accounts.Acts() {
		if act.Current == nil && act.PAV1 == nil || act.TargetKind == accounts.KindAdminKey && d.Generation == cloudapi.Current {
			continue
		}
		lacking := slices.DeleteFunc(act.KeyNeeds(d.Generation), func(p string) bool { return !slices.Contains(d.NotAble, p) })
		switch {
		case act.Op(d.Generation) == nil:
			byAPI = withReason(byAPI, act, act.Lacking[d.Generation])
		case len(lacking) > 0:
			slices.Sort(lacking)
			byKey = withReason(byKey, act, "The key lacks "+strings.Join(lacking, " and ")+".")
		}
	}
	return append(byAPI, byKey...)
}

// withReason adds an act to those that are not offered for the same reason.
func withReason(list []templates.Pair, act accounts.Act, reason string) []templates.Pair {
	words := templates.ActWords(act.Name)
	i := slices.IndexFunc(list, func(p templates.Pair) bool { return p.Value == reason })
	if i < 0 {
		return append(list, templates.Pair{Name: words, Value: reason})
	}
	list[i].Name += ", " + strings.ToLower(words[:1]) + words[1:]
	return list
}
