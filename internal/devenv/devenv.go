// Package devenv holds what `quartermaster dev` starts besides the console itself: the data
// folder with its lock and the secrets made for it, an OpenID provider with five members, and a
// Postgres server. Nothing in it is meant to be reached from another machine: every address is
// checked to be on loopback before it is used, and the provider refuses requests whose Host is
// not its own.
package devenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"github.com/google/uuid"
)

// Member is a person the development identity provider knows.
type Member struct {
	Email  string   `json:"email"`
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	About  string   `json:"about"` // what this member may do in a console started by dev
}

// Subject is the member's `sub` claim: the same at every start and in every data folder.
func (m Member) Subject() string {
	sum := sha256.Sum256([]byte("quartermaster development member " + m.Email))
	id, _ := uuid.FromBytes(sum[:16]) // sixteen bytes always make one
	return id.String()
}

// The groups that a console started by dev gives rights to.
const (
	AdminGroup    = "platform-admins"
	OperatorGroup = "platform-operators"
	ViewerGroup   = "platform-viewers"
	AuditorGroup  = "platform-auditors"
)

// Members are the five people of a development installation, one for each set of rights.
func Members() []Member {
	return []Member{
		{Email: "admin@example.test", Name: "Ada Admin", Groups: []string{AdminGroup, "engineering"}, About: "may do everything"},
		{Email: "operator@example.test", Name: "Oscar Operator", Groups: []string{OperatorGroup, "engineering"}, About: "looks at everything, works on clusters"},
		{Email: "viewer@example.test", Name: "Vera Viewer", Groups: []string{ViewerGroup, "engineering"}, About: "looks at everything but the audit log"},
		{Email: "auditor@example.test", Name: "Aron Auditor", Groups: []string{AuditorGroup}, About: "looks at everything and reads the audit log"},
		{Email: "nobody@example.test", Name: "Nora Nobody", Groups: []string{"engineering", "search-team"}, About: "is in none of the console's groups"},
	}
}

// CheckLoopback returns an error unless addr is host:port with a loopback host. A host name
// other than localhost is refused, because what it means is for a resolver to say.
func CheckLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if strings.EqualFold(host, "localhost") {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not a loopback address such as 127.0.0.1:8080", addr)
	}
	return nil
}

func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
