package templates

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/a-h/templ"
)

var keysSelf = []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}}

func keyTabs() []Tab {
	return []Tab{{Label: "Overview", Href: "/accounts/1/clusters/c"}, {Label: "Keys", Href: "/accounts/1/clusters/c/keys", Current: true}}
}

func sampleKeys() KeysView {
	acts := []Offer{{Label: "Delete", Href: "/accounts/1/clusters/c/keys/k/delete", Offered: true, Danger: true}, {Label: "Rotate", Href: "/accounts/1/clusters/c/keys/k/rotate", Offered: true}}
	in := func(d time.Duration) time.Time { return sampleNow.Add(d) }
	return KeysView{
		Page: samplePage("Keys of search-main", "keys-index", "clusters"), Crumbs: keysSelf, Tabs: keyTabs(), Cluster: "search-main",
		AdminsFailed: "The service is no longer available.",
		Offers:       []Offer{{Label: "New key", Href: "/accounts/1/clusters/c/keys/new", Offered: true, Primary: true}},
		Pending:      []PendingKeyView{{Name: "batch loader", By: "Olga Operator", Since: before(4 * time.Second)}, {Name: "mobile app", By: "Olga Operator", Since: before(5 * time.Minute), Unknown: true}, {By: "Olga Operator", Since: before(time.Minute), Unknown: true}},
		Rows: []KeyRow{
			{ID: "k1", Name: "data science", Mark: "x9TzQ4", Access: []string{"events: read", "features_v2: read and write"}, Creator: "Olga Operator", CreatedAt: before(time.Hour), ExpiresAt: in(89 * day), Acts: acts,
				Note: "It is to take the place of the key that ends in 7Hq2Lw, which still works.", OldHref: "/accounts/1/clusters/c/keys/k2/delete"},
			{ID: "k2", Name: "data science", Mark: "7Hq2Lw", Access: []string{"events: read", "features_v2: read and write"}, Creator: "sofia.marin@example.test", CreatedAt: before(85 * day), ExpiresAt: in(5 * day), Acts: acts[:1],
				Note: "The key that ends in x9TzQ4 is to take its place. Delete this one when nothing uses it any more.", Why: []string{"Rotate: This key has a successor already."}},
			{ID: "k3", Name: "ingest pipeline with a rather long name that goes on and on until the cell has to break it", Mark: "aB3dE6", Access: []string{"manage everything"}, CreatedAt: before(400 * day), Acts: acts},
			{ID: "k4", Name: "nightly reindex", Mark: "Zz9Yx8", Access: []string{"read everything"}, Creator: "henrik.solberg@example.test", CreatedAt: before(99 * day), ExpiresAt: before(9 * day), Acts: acts},
			{ID: "k5", Name: "mobile app", Mark: "mN0pQ1", Access: []string{"products: read"}, Creator: "Olga Operator", NobodySaw: true, CreatedAt: before(2 * day), ExpiresAt: in(20 * time.Hour), Acts: acts},
			{ID: "k6", Name: "support widget", Mark: "rS2tU3", Access: []string{"articles: read"}, CreatedAt: before(60 * day), ExpiresAt: in(24 * day), Acts: acts},
			{ID: "k7", Name: "Admin key", Mark: "h9Jk2lMn", Admin: true, Access: []string{"manage everything"}, CreatedAt: before(700 * day), Hidden: 2, Opens: []Link{{"search-main", "/accounts/1/clusters/c"}, {"catalog-prod", "/accounts/1/clusters/d"}}, Acts: acts[:1]},
		},
	}
}

func sampleNoKeys() KeysView {
	v := sampleKeys()
	v.Rows, v.Pending, v.AdminsFailed, v.Legacy, v.Gone = nil, nil, "", true, true
	v.Offers = []Offer{{Label: "New key", Reason: "You need write:api_keys here."}, {Label: "Delete", Reason: "You need delete:api_keys here."}}
	return v
}

func sampleKeyForm(wrong map[string]string) KeyFormView {
	return KeyFormView{
		Page: samplePage("New key for search-main", "key-new", "clusters"), Crumbs: append(keysSelf, Link{"Keys", "/accounts/1/clusters/c/keys"}), Action: "/accounts/1/clusters/c/keys", Back: "/accounts/1/clusters/c/keys",
		Lead: "The key is shown once, on the page that answers this form, and is not stored here.", FormToken: "t0k3n", Days: "90", Button: "Make key", Errors: wrong,
	}
}

func sampleWrongKeyForm() KeyFormView {
	v := sampleKeyForm(map[string]string{"": "The cluster has as many keys as the account may have for one.", "name": "4 to 128 letters, digits, spaces, - and _.", "expires_in_days": "A whole number.", "access": "Choose what the key may do.", "collections": "Line 2: write name=read or name=read-write."})
	v.Name, v.Days, v.Collections, v.Said, v.Warning = "ab", "soon", "events=read\nfeatures", "quota exceeded", "JWT access control is not enabled for this cluster, as far as is known here."
	return v
}

func sampleRotation() KeyFormView {
	v := sampleKeyForm(nil)
	v.Page, v.Rotation, v.Rules = samplePage("Rotate data science", "key-rotate", "clusters"), true, []string{"events: read", "features_v2: read and write"}
	v.Points, v.Button, v.Name = []string{"Both keys work until you delete the old one.", "The list of keys reminds everybody of the old key until it is gone."}, "Make the successor", "data science"
	return v
}

func sampleAdminKeyForm() KeyFormView {
	v := sampleKeyForm(map[string]string{"clusters": "Choose at least the cluster whose keys these are."})
	v.Admin, v.Warning = true, "The legacy pa/v1 API makes admin keys only."
	v.Clusters = Checks{Name: "clusters", Legend: "Which clusters is it for?", Choices: []Choice{{Value: "c", Label: "search-main", Hint: "7c9f4b60, the cluster whose keys these are", Selected: true}, {Value: "d", Label: "catalog-prod", Hint: "8d0a5c71"}}}
	return v
}

func sampleSecret() KeySecretView {
	return KeySecretView{
		Page: samplePage("Your new key", "key-secret", "clusters"), Crumbs: append(keysSelf, Link{"Keys", "/accounts/1/clusters/c/keys"}), Name: "data science", Cluster: "search-main",
		Secret: "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + strings.Repeat("eyJhY2Nlc3MiOiJyIn0", 6) + ".b0X", Access: []string{"events: read", "features_v2: read and write"}, ExpiresAt: sampleNow.Add(89 * day),
		Curl: `printf 'Key: ' && read -rs QDRANT_API_KEY && printf 'api-key: %s\n' "$QDRANT_API_KEY" | curl --header @- 'https://7c9f4b60.eu-central-1-0.aws.cloud.qdrant.io:6333/collections'; unset QDRANT_API_KEY`,
		Old:  "“data science”, which ends in 7Hq2Lw,", OldHref: "/accounts/1/clusters/c/keys/k2/delete", Back: "/accounts/1/clusters/c/keys",
	}
}

func samplePlainSecret() KeySecretView {
	v := sampleSecret()
	v.Admin, v.Name, v.Curl, v.OldHref, v.ExpiresAt = true, "", "", "", time.Time{}
	return v
}

func sampleKeyDelete() ConfirmView {
	return ConfirmView{
		Page: samplePage("Delete data science", "key-delete", "clusters"), Crumbs: append(keysSelf, Link{"Keys", "/accounts/1/clusters/c/keys"}), Lead: "The key data science of the cluster search-main in Search production is deleted.",
		Points: []string{"Whatever uses it is refused by the cluster from then on.", "It has a successor, which goes on working."}, Warning: "A deleted key cannot be brought back.", Action: "/accounts/1/clusters/c/keys/k2/delete",
		Button: "Delete key", Danger: true, Confirm: "7Hq2Lw", Kind: "key", Ask: "Type the last characters of the key to confirm:", Back: "/accounts/1/clusters/c/keys", Errors: map[string]string{"confirm": "These are not the key's characters."},
	}
}

// keyPages are the pages about keys, full, empty and wrong.
func keyPages() map[string]templ.Component {
	return map[string]templ.Component{
		"keys": Keys(sampleKeys()), "keys-none": Keys(sampleNoKeys()), "key-new": KeyForm(sampleKeyForm(nil)), "key-new-wrong": KeyForm(sampleWrongKeyForm()), "key-rotate": KeyForm(sampleRotation()),
		"key-admin": KeyForm(sampleAdminKeyForm()), "key-secret": KeySecret(sampleSecret()), "key-secret-plain": KeySecret(samplePlainSecret()), "key-delete": Confirm(sampleKeyDelete()),
	}
}

func TestHowSoonAKeyEnds(t *testing.T) {
	for left, want := range map[time.Duration]string{
		-time.Second: EndExpired, 0: EndExpired, time.Second: EndDay, day: EndDay, day + 1: EndWeek, 7 * day: EndWeek, 7*day + 1: EndMonth, 30 * day: EndMonth, 30*day + 1: EndLater, 3650 * day: EndLater,
	} {
		if got := EndOf(sampleNow, sampleNow.Add(left)); got != want {
			t.Errorf("%s before its end: %s, want %s", left, got, want)
		}
	}
	if got := EndOf(sampleNow, time.Time{}); got != EndNever {
		t.Errorf("a key without an end: %s", got)
	}
}

// TestKeyRowsAreMarked proves that each row says how soon its key ends, to machines and in words.
func TestKeyRowsAreMarked(t *testing.T) {
	root, _ := rendered(t, Keys(sampleKeys()))
	words := map[string]string{EndNever: "Never ends", EndExpired: "Expired", EndDay: "Ends within a day", EndWeek: "Ends within 7 days", EndMonth: "Ends within 30 days"}
	var ends []string
	for _, n := range elements(root) {
		if hook, _ := attr(n, "data-testid"); hook != "key-row" {
			continue
		}
		end, _ := attr(n, "data-end")
		ends = append(ends, end)
		expires, _ := attr(n, "data-expires")
		if at, err := time.Parse(time.RFC3339, expires); (err != nil) != (expires == EndNever) || err == nil && EndOf(sampleNow, at) != end {
			t.Errorf("the row says %q and %q", end, expires)
		}
		if !strings.Contains(textOf(n), words[end]) {
			t.Errorf("a row that ends %q does not say %q:\n%s", end, words[end], textOf(n))
		}
		if key, _ := attr(n, "data-key"); key == "" {
			t.Error("a row without a key")
		}
	}
	if len(ends) != len(sampleKeys().Rows) {
		t.Errorf("rows that end %v", ends)
	}
}

// TestTheSecretIsInOnePlace proves that the page shows the key once, with its copy button, in a part that
// goes when the page is left, and that neither title nor command has it.
func TestTheSecretIsInOnePlace(t *testing.T) {
	v := sampleSecret()
	root, page := rendered(t, KeySecret(v))
	if n := strings.Count(page, v.Secret); n != 2 {
		t.Errorf("the key is in the page %d times, want 2: as text and for the copy button", n)
	}
	for _, n := range elements(root) {
		for _, a := range n.Attr {
			if strings.Contains(a.Val, v.Secret) && (a.Key != "data-copy" || !inOnce(n)) {
				t.Errorf("<%s %s> has the key", n.Data, a.Key)
			}
		}
		if n.FirstChild != nil && n.FirstChild.Type == html.TextNode && strings.Contains(n.FirstChild.Data, v.Secret) && (n.Data != "code" || !inOnce(n)) {
			t.Errorf("<%s> shows the key", n.Data)
		}
	}
}

func inOnce(n *html.Node) bool {
	for p := range n.Ancestors() {
		if _, once := attr(p, "data-once"); once {
			return true
		}
	}
	return false
}
