package main

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"strconv"
	"testing"
	"time"

	"quartermaster/templates"
)

// table measures the fleet's table of 200 rows as the page has it, against a buffer written by hand
// and against html/template. All three write the same bytes.
func (b *bench) table(t *testing.T) {
	view := templates.FleetView{Page: templates.Page{Now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}, Self: "/clusters", Clear: "/clusters", Total: 200, All: 200, Rows: sampleRows(200)}
	var page bytes.Buffer
	ours := func() {
		page.Reset()
		if err := templates.FleetRegion(view).Render(context.Background(), &page); err != nil {
			t.Fatal(err)
		}
	}
	ours()
	head, _, tail := cutTable(t, page.Bytes())
	var plain []byte
	byHand := func() {
		plain = append(plain[:0], head...)
		for i := range view.Rows {
			plain = appendRow(plain, view.Page.Now, &view.Rows[i])
		}
		plain = append(plain, tail...)
	}
	std := template.Must(template.New("rows").Funcs(template.FuncMap{"span": spanOf}).Parse(rowsTemplate))
	var other bytes.Buffer
	byTemplate := func() {
		other.Reset()
		other.Write(head)
		if err := std.Execute(&other, view); err != nil {
			t.Fatal(err)
		}
		other.Write(tail)
	}
	byHand()
	byTemplate()
	sameBytes(t, "the buffer written by hand", page.Bytes(), plain)
	sameBytes(t, "html/template", page.Bytes(), other.Bytes())

	per := func(f func()) func() float64 { return func() float64 { return secondsOf(b.round/4, f) } }
	holds, limit := atMost(8)
	b.ratio("R2 fleet table, 200 rows, to a hand-written buffer", b.pairs(per(ours), per(byHand)), holds, limit, inMicros)
	holds, limit = atMost(0.25)
	b.ratio("R2 fleet table, 200 rows, to html/template", b.pairs(per(ours), per(byTemplate)), holds, limit, inMicros)
}

// secondsOf does something again and again for a while, and returns how long it takes once.
func secondsOf(long time.Duration, f func()) float64 {
	start, n := time.Now(), 0
	for {
		for range 10 {
			f()
		}
		n += 10
		if took := time.Since(start); took >= long {
			return took.Seconds() / float64(n)
		}
	}
}

// cutTable cuts a page before and after the rows of its table.
func cutTable(t *testing.T, page []byte) (head, rows, tail []byte) {
	t.Helper()
	const open, end = `<tbody role="rowgroup">`, `</tbody>`
	from, to := bytes.Index(page, []byte(open)), bytes.Index(page, []byte(end))
	if from < 0 || to < from {
		t.Fatalf("the page has no table:\n%.2000s", page)
	}
	from += len(open)
	return bytes.Clone(page[:from]), bytes.Clone(page[from:to]), bytes.Clone(page[to:])
}

// sameBytes keeps a floor honest: one that writes less is no floor.
func sameBytes(t *testing.T, what string, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	from := max(0, i-60)
	t.Fatalf("%s writes other bytes than the page, from byte %d on:\n%q\n%q", what, i, want[from:min(len(want), i+60)], got[from:min(len(got), i+60)])
}

// sampleRows are rows such as the sandbox makes, some of them stale or in trouble.
func sampleRows(n int) []templates.FleetRow {
	phases := []string{"HEALTHY", "HEALTHY", "HEALTHY", "HEALTHY", "SUSPENDED", "NOT_READY"}
	environments := []string{"production", "staging", "development", "other"}
	rows := make([]templates.FleetRow, n)
	for i := range rows {
		account := fmt.Sprintf("019a0000-0000-7000-8000-%012d", i%4)
		cluster := fmt.Sprintf("6f1c5f1e-7d0a-4f7e-9a51-%012d", i)
		r := templates.FleetRow{
			AccountID: account, AccountName: fmt.Sprintf("Search & Commerce unit %d", i%4), AccountHref: "/accounts/" + account, Environment: environments[i%4],
			ClusterID: cluster, Name: fmt.Sprintf("recommendations-%d-%d", i%4+1, i+1), Href: "/accounts/" + account + "/clusters/" + cluster,
			Phase: phases[i%len(phases)], Cloud: "aws", Region: "eu-central-1", Version: "v1.17.2", NodesUp: 3, Nodes: 3, Package: "mx2",
			RAM: "16 GiB", CPU: "4 vCPU", Disk: "64 GiB", CreatedAt: time.Date(2025, 1, 1+i, 10, i%60, 0, 0, time.UTC), SeenAt: time.Date(2026, 11, 25, 11, 59, 0, 0, time.UTC),
		}
		if r.Phase == "NOT_READY" {
			r.NodesUp, r.Reason = 2, "node 2 isn't reachable"
		}
		if i%50 == 49 {
			r.Stale = "Qdrant Cloud does not answer."
		}
		rows[i] = r
	}
	return rows
}

// appendRow is the row of the fleet's table by somebody who wants it fast and needs it once.
func appendRow(b []byte, now time.Time, r *templates.FleetRow) []byte {
	b = append(b, `<tr role="row" id="c-`...)
	b = appendEscaped(b, r.AccountID)
	b = append(b, '-')
	b = appendEscaped(b, r.ClusterID)
	b = append(b, `" data-testid="cluster-row" data-account="`...)
	b = appendEscaped(b, r.AccountID)
	b = append(b, `" data-cluster="`...)
	b = appendEscaped(b, r.ClusterID)
	b = append(b, `" data-phase="`...)
	b = appendEscaped(b, r.Phase)
	b = append(b, `"><td role="cell" class="head-cell"><a class="rowlnk [overflow-wrap:anywhere]" href="`...)
	b = appendEscaped(b, r.Href)
	b = append(b, `">`...)
	b = appendEscaped(b, r.Name)
	b = append(b, `</a>`...)
	if r.Stale != "" {
		b = append(b, ` <span class="chip tone-warn" title="`...)
		b = appendEscaped(b, r.Stale)
		b = append(b, `">stale<span class="sr-only">: `...)
		b = appendEscaped(b, r.Stale)
		b = append(b, `</span></span>`...)
	}
	b = append(b, `</td><td role="cell" class="state-cell"><span class="state `...)
	tone, word := toneAndWord(r.Phase)
	b = append(b, tone...)
	b = append(b, `">`...)
	b = appendEscaped(b, word)
	b = append(b, `</span>`...)
	if r.Reason != "" && r.Phase != "HEALTHY" {
		b = append(b, `<div class="sub line-clamp-2 max-w-60 [overflow-wrap:anywhere]" title="`...)
		b = appendEscaped(b, r.Reason)
		b = append(b, `">`...)
		b = appendEscaped(b, r.Reason)
		b = append(b, `</div>`...)
	}
	b = append(b, `</td><td role="cell" class="flow owner"><a class="txtlnk" href="`...)
	b = appendEscaped(b, r.AccountHref)
	b = append(b, `">`...)
	b = appendEscaped(b, r.AccountName)
	b = append(b, `</a></td><td role="cell" class="flow"><span class="chip`...)
	if r.Environment == "production" {
		b = append(b, ` chip-strong`...)
	}
	b = append(b, `">`...)
	b = appendEscaped(b, r.Environment)
	b = append(b, `</span></td><td role="cell" class="place flow"><span class="text-muted">`...)
	b = appendEscaped(b, r.Cloud)
	b = append(b, `</span> <span>`...)
	b = appendEscaped(b, r.Region)
	b = append(b, `</span></td><td role="cell" class="num flow">`...)
	b = appendEscaped(b, r.Version)
	b = append(b, `</td><td role="cell" class="num flow" data-label="Nodes"><span`...)
	if r.NodesUp < r.Nodes && r.Phase != "SUSPENDED" {
		b = append(b, ` class="font-medium text-error"`...)
	}
	b = append(b, '>')
	b = strconv.AppendInt(b, int64(r.NodesUp), 10)
	b = append(b, `</span> / `...)
	b = strconv.AppendInt(b, int64(r.Nodes), 10)
	b = append(b, `</td><td role="cell" class="package"><span class="pkg">`...)
	b = appendEscaped(b, r.Package)
	b = append(b, `</span> <span class="size3"><span>`...)
	b = appendEscaped(b, r.RAM)
	b = append(b, `</span> <span>`...)
	b = appendEscaped(b, r.CPU)
	b = append(b, `</span> <span>`...)
	b = appendEscaped(b, r.Disk)
	b = append(b, `</span></span></td><td role="cell" class="num flow" data-label="Created"><time datetime="`...)
	created := r.CreatedAt.UTC()
	b = created.AppendFormat(b, time.RFC3339)
	b = append(b, `" title="`...)
	b = created.AppendFormat(b, "2006-01-02 15:04:05 UTC")
	b = append(b, `" data-ago="short" class="whitespace-nowrap">`...)
	b = appendSpan(b, now, created)
	return append(b, `</time></td></tr>`...)
}

func toneAndWord(phase string) (tone, word string) {
	switch phase {
	case "HEALTHY":
		return "tone-ok", "Healthy"
	case "SUSPENDED":
		return "tone-off", "Suspended"
	case "NOT_READY":
		return "tone-warn", "Not ready"
	}
	return "tone-warn", phase
}

func appendSpan(b []byte, now, t time.Time) []byte {
	s := int64(now.Sub(t).Abs() / time.Second)
	switch {
	case s < 5:
		return append(b, "now"...)
	case s >= 31536000:
		return append(strconv.AppendInt(b, s/31536000, 10), " y"...)
	case s >= 2592000:
		return append(strconv.AppendInt(b, s/2592000, 10), " mo"...)
	case s >= 86400:
		return append(strconv.AppendInt(b, s/86400, 10), " d"...)
	case s >= 3600:
		return append(strconv.AppendInt(b, s/3600, 10), " h"...)
	case s >= 60:
		return append(strconv.AppendInt(b, s/60, 10), " min"...)
	}
	return append(strconv.AppendInt(b, s, 10), " s"...)
}

func spanOf(now, t time.Time) string { return string(appendSpan(nil, now, t)) }

func appendEscaped(b []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		var escaped string
		switch s[i] {
		case '&':
			escaped = "&amp;"
		case '<':
			escaped = "&lt;"
		case '>':
			escaped = "&gt;"
		case '"':
			escaped = "&#34;"
		case '\'':
			escaped = "&#39;"
		default:
			continue
		}
		b = append(append(b, s[from:i]...), escaped...)
		from = i + 1
	}
	return append(b, s[from:]...)
}

// rowsTemplate is the same for html/template.
const rowsTemplate = `{{range .Rows}}<tr role="row" id="c-{{.AccountID}}-{{.ClusterID}}" data-testid="cluster-row" data-account="{{.AccountID}}" data-cluster="{{.ClusterID}}" data-phase="{{.Phase}}">` +
	`<td role="cell" class="head-cell"><a class="rowlnk [overflow-wrap:anywhere]" href="{{.Href}}">{{.Name}}</a>` +
	`{{if .Stale}} <span class="chip tone-warn" title="{{.Stale}}">stale<span class="sr-only">: {{.Stale}}</span></span>{{end}}</td>` +
	`<td role="cell" class="state-cell">{{if eq .Phase "HEALTHY"}}<span class="state tone-ok">Healthy</span>{{else if eq .Phase "SUSPENDED"}}<span class="state tone-off">Suspended</span>` +
	`{{else if eq .Phase "NOT_READY"}}<span class="state tone-warn">Not ready</span>{{else}}<span class="state tone-warn">{{.Phase}}</span>{{end}}` +
	`{{if and .Reason (ne .Phase "HEALTHY")}}<div class="sub line-clamp-2 max-w-60 [overflow-wrap:anywhere]" title="{{.Reason}}">{{.Reason}}</div>{{end}}</td>` +
	`<td role="cell" class="flow owner"><a class="txtlnk" href="{{.AccountHref}}">{{.AccountName}}</a></td>` +
	`<td role="cell" class="flow">{{if eq .Environment "production"}}<span class="chip chip-strong">{{else}}<span class="chip">{{end}}{{.Environment}}</span></td>` +
	`<td role="cell" class="place flow"><span class="text-muted">{{.Cloud}}</span> <span>{{.Region}}</span></td>` +
	`<td role="cell" class="num flow">{{.Version}}</td>` +
	`<td role="cell" class="num flow" data-label="Nodes"><span{{if and (lt .NodesUp .Nodes) (ne .Phase "SUSPENDED")}} class="font-medium text-error"{{end}}>{{.NodesUp}}</span> / {{.Nodes}}</td>` +
	`<td role="cell" class="package"><span class="pkg">{{.Package}}</span> <span class="size3"><span>{{.RAM}}</span> <span>{{.CPU}}</span> <span>{{.Disk}}</span></span></td>` +
	`<td role="cell" class="num flow" data-label="Created"><time datetime="{{.CreatedAt.UTC.Format "2006-01-02T15:04:05Z07:00"}}" title="{{.CreatedAt.UTC.Format "2006-01-02 15:04:05 UTC"}}" data-ago="short" class="whitespace-nowrap">{{span $.Page.Now .CreatedAt}}</time></td></tr>{{end}}`
