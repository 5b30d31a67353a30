package dbtest

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestTheServerIsTheOneAskedFor(t *testing.T) {
	db := New(t)
	super, err := pgx.Connect(t.Context(), db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.Background())
	var address string
	if err := super.QueryRow(t.Context(), `SELECT host(inet_server_addr())`).Scan(&address); err != nil {
		t.Fatal(err)
	}
	// A container's server is reached through a published port and sees an address of its own network.
	contained := !net.ParseIP(address).IsLoopback()
	image := os.Getenv("TEST_POSTGRES_IMAGE")
	t.Logf("TEST_POSTGRES_IMAGE is %q; the server's own address is %s, so it runs in a container: %v", image, address, contained)
	if image != "" && os.Getenv("TEST_DATABASE_URL") == "" && !contained {
		t.Error("a container was asked for, and the server runs in none")
	}
}

// Where no Docker engine answers this shows the one error, and where one does the other.
func TestAnImageAskedForAndNotHadIsAnError(t *testing.T) {
	t.Setenv("TEST_POSTGRES_IMAGE", "127.0.0.1:1/quartermaster-has-no-such-image")
	if s, err := containerServer(t.Context()); s != nil || err == nil || !strings.Contains(err.Error(), "TEST_POSTGRES_IMAGE") {
		t.Errorf("got %v, %v; want an error that names the variable", s, err)
	}
}
