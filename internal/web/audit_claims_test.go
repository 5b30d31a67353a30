package web

import (
	"testing"

	"quartermaster/internal/audit"
)

// TestLogTellsClaimsFromKnowledge: two people with one name and one e-mail must not look alike.
func TestLogTellsClaimsFromKnowledge(t *testing.T) {
	ada := audit.Actor{Subject: "1", Name: "Ada Admin", Email: "ada@example.test", EmailVerified: true}
	mallory := audit.Actor{Subject: "2", Name: "Ada Admin", Email: "ada@example.test"}
	if got := actorView(ada); got.Email != "ada@example.test" {
		t.Errorf("a verified e-mail reads %q", got.Email)
	}
	if got := actorView(mallory); got.Email != "ada@example.test (not verified)" {
		t.Errorf("a claimed e-mail reads %q", got.Email)
	}
	if got := actorView(audit.Actor{Subject: "3"}); got.Email != "" {
		t.Errorf("no e-mail reads %q", got.Email)
	}
}
