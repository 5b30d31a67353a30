package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/templates"
)

// The floor runs in a process of its own, as the console does: the program of the tests, which
// these variables make into the floor.
const (
	floorDatabase = "QM_BENCH_FLOOR_DATABASE"
	floorAddress  = "QM_BENCH_FLOOR_ADDRESS"
	floorPage     = "QM_BENCH_FLOOR_PAGE" // file with the console's page
)

// startFloor starts the floor and returns its address.
func startFloor(t *testing.T, database, page string) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	cutTable(t, []byte(page))
	address := freeAddress(t)
	p := launch(t, path, []string{floorDatabase + "=" + database, floorAddress + "=" + address, floorPage + "=" + file}, "-test.run=^$")
	p.waitReady(t, "http://"+address)
	return address
}

// floor is what the page of the fleet costs at least: net/http, one SELECT of what the page shows,
// and a buffer written by hand. What stands around the rows is the console's own, word for word.
type floor struct {
	db         *pgxpool.Pool
	head, tail string
	buffers    sync.Pool
	packers    sync.Pool
}

func runFloor(ctx context.Context) error {
	raw, err := os.ReadFile(os.Getenv(floorPage))
	if err != nil {
		return err
	}
	const open = `<tbody role="rowgroup">`
	head, rest, _ := strings.Cut(string(raw), open)
	_, tail, _ := strings.Cut(rest, `</tbody>`)
	f := &floor{head: head + open, tail: `</tbody>` + tail}
	f.buffers.New = func() any { b := make([]byte, 0, 2*len(raw)); return &b }
	if f.db, err = pgxpool.New(ctx, os.Getenv(floorDatabase)); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", os.Getenv(floorAddress))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /clusters", f.clusters)
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (f *floor) clusters(w http.ResponseWriter, r *http.Request) {
	rows, err := f.db.Query(r.Context(), `
		SELECT a.id::text, a.name, a.environment, c.cluster_id, c.name, c.phase, c.reason, c.cloud, c.region, c.version, c.nodes_up, c.nodes,
			c.package, c.ram_mib, c.cpu_milli, c.disk_mib, c.created_at
		FROM clusters c JOIN accounts a ON a.id = c.account_id
		WHERE c.gone_at IS NULL ORDER BY lower(c.name) COLLATE "C", c.account_id, c.cluster_id LIMIT 100`)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	buffer := f.buffers.Get().(*[]byte)
	defer f.buffers.Put(buffer)
	b, now := append((*buffer)[:0], f.head...), time.Now()
	var row templates.FleetRow
	var ram, cpu, disk int64
	if _, err := pgx.ForEachRow(rows, []any{
		&row.AccountID, &row.AccountName, &row.Environment, &row.ClusterID, &row.Name, &row.Phase, &row.Reason, &row.Cloud, &row.Region, &row.Version,
		&row.NodesUp, &row.Nodes, &row.Package, &ram, &cpu, &disk, &row.CreatedAt,
	}, func() error {
		row.AccountHref = "/accounts/" + row.AccountID
		row.Href = row.AccountHref + "/clusters/" + row.ClusterID
		row.RAM, row.CPU, row.Disk = templates.MiB(ram), templates.CPU(cpu), templates.MiB(disk)
		b = appendRow(b, now, &row)
		return nil
	}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b = append(b, f.tail...)
	*buffer = b
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		f.pack(w, b)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

// pack compresses as the console does.
func (f *floor) pack(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	packer, ok := f.packers.Get().(*gzip.Writer)
	if !ok {
		packer, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
	}
	defer f.packers.Put(packer)
	packer.Reset(w)
	_, _ = packer.Write(b)
	_ = packer.Close()
}

// floorMain is the main function of the floor.
func floorMain(ctx context.Context) int {
	if err := runFloor(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
