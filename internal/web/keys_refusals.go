package web

import (
	"cmp"
	"net/http"
	"strings"

	"quartermaster/internal/cloudapi"
)

// refusal is what a form of keys says when upstream refuses it: what is wrong by field, in our words,
// and upstream's own.
type refusal struct {
	status int
	fields map[string]string
	said   string
}

// keyRefusal explains an error of upstream's to a form; ok is false for one that is no refusal of what
// the form says, such as a refused management key.
func keyRefusal(err error) (r refusal, ok bool) {
	e, ok := cloudapi.AsError(err)
	if !ok || e.OutcomeUnknown {
		return refusal{}, false
	}
	r = refusal{status: http.StatusConflict, fields: map[string]string{}, said: e.Public()}
	switch e.Kind {
	case cloudapi.Invalid:
		r.status = http.StatusUnprocessableEntity
		for _, f := range e.Fields {
			if field := keyField(f.Field); field != "" && r.fields[field] == "" {
				r.fields[field] = "Qdrant Cloud does not take this: " + asSentence(f.Message)
			}
		}
		if len(r.fields) == 0 {
			r.fields[""] = cmp.Or(keyRefusalWords(e.Message), "Qdrant Cloud does not take what was asked for. Correct it and send it again.")
		}
		return r, true
	case cloudapi.Conflict:
		r.fields[""] = cmp.Or(keyRefusalWords(e.Message), "Qdrant Cloud does not allow it in the present state. Look at the cluster, then send this again.")
		return r, true
	case cloudapi.Forbidden:
		if !strings.Contains(strings.ToLower(e.Message), "entitled") {
			return refusal{}, false
		}
		r.fields[""] = "The account at Qdrant Cloud is not entitled to make keys. Its owner can ask Qdrant’s support why."
		return r, true
	}
	return refusal{}, false
}

// keyRefusalWords says what upstream's refusal means and what to do. Which one it is stands in upstream's
// words alone; empty for words that are not known here, which are shown as they came all the same.
func keyRefusalWords(message string) string {
	words := strings.ToLower(message)
	switch {
	case strings.Contains(words, "quota"), strings.Contains(words, "limit"):
		return "The cluster has as many keys as the account may have for one. Delete a key that is no longer used, then send this again."
	case strings.Contains(words, "jwt"), strings.Contains(words, "v1.11"), strings.Contains(words, "version"):
		return "The cluster does not take keys with a name yet: it needs Qdrant v1.11.0 or later, with JWT access control enabled. Bring it there first, then send this again."
	case strings.Contains(words, "deleted"), strings.Contains(words, "deleting"):
		return "The cluster is being deleted, so no key can be made for it."
	case strings.Contains(words, "payment"):
		return "Payment details of the account are missing or out of date. Its owner can put that right in Qdrant’s own console."
	}
	return ""
}

// keyField is the form's field that a path of upstream's names; empty when it names none.
func keyField(path string) string {
	path = strings.ToLower(strings.ReplaceAll(path, "_", ""))
	switch {
	case strings.Contains(path, "accessrules"):
		return "collections"
	case strings.Contains(path, "clusterids"):
		return "clusters"
	case strings.HasSuffix(path, "expiresat"):
		return "expires_in_days"
	case path == "name", strings.HasSuffix(path, ".name"):
		return "name"
	}
	return ""
}
