package dbtest_test

import (
	"context"
	"testing"
	"time"

	"quartermaster/internal/dbtest"
	"quartermaster/internal/schema"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestEachTestHasItsOwnMigratedDatabase(t *testing.T) {
	ctx := context.Background()
	one, two := dbtest.New(t), dbtest.New(t)
	if one.Name == two.Name {
		t.Fatalf("both databases are %s", one.Name)
	}
	if err := schema.Check(ctx, one.Pool); err != nil {
		t.Errorf("schema of a fresh clone: %v", err)
	}
	if _, err := one.Pool.Exec(ctx, `UPDATE installation SET config = '{"QM_ADDR": "x"}'`); err != nil {
		t.Fatalf("writing as the app role: %v", err)
	}
	var config string
	if err := two.Pool.QueryRow(ctx, `SELECT config::text FROM installation`).Scan(&config); err != nil {
		t.Fatalf("reading the other database: %v", err)
	}
	if config != "{}" {
		t.Errorf("a change in one database is seen in the other: %s", config)
	}
}

func TestPrivateServerStopsCrashesAndComesBack(t *testing.T) {
	ctx := context.Background()
	server := dbtest.NewServer(t)
	db := server.New(t)
	for name, down := range map[string]func(testing.TB){"stop": server.Stop, "crash": server.Crash} {
		down(t)
		if err := schema.Check(ctx, db.Pool); err == nil {
			t.Errorf("%s: the database still answers", name)
		}
		server.Start(t)
		if err := schema.Check(ctx, db.Pool); err != nil {
			t.Errorf("%s: after the start: %v", name, err)
		}
	}
}

func TestTheClockOfAPrivateServerTurns(t *testing.T) {
	server, clock := dbtest.NewServerWithClock(t)
	db := server.New(t)
	for _, ahead := range []time.Duration{0, 365 * 24 * time.Hour, -24 * time.Hour, 0} {
		clock.Turn(t, ahead)
		var now time.Time
		if err := db.Pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now); err != nil {
			t.Fatal(err)
		}
		if off := time.Until(now) - ahead; off.Abs() > time.Minute {
			t.Errorf("turned by %s, the server's clock is %s off", ahead, off)
		}
	}
}
