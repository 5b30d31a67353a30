package templates

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/a-h/templ"
)

// fleetRows are the rows of the fleet's table. They are the one part of a page that is not written as
// a component: a page has a hundred of them, and components make fifty small allocations for each,
// which was half of what a request for the fleet cost.
func fleetRows(now time.Time, rows []FleetRow) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		out := make(writing, 0, 2<<10)
		for i := range rows {
			out = out[:0]
			out.fleetRow(now, &rows[i])
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		return nil
	})
}

// markup is HTML that stands in this package's source. A string of anybody else's does not become it
// without a conversion, so the compiler sees to it that such strings are escaped.
type markup string

// writing is HTML under way.
type writing []byte

func (o *writing) markup(m markup) { *o = append(*o, m...) }

// text writes text, or the value of an attribute in double quotes.
func (o *writing) text(s string) {
	b, from := *o, 0
	for i := range len(s) {
		var escaped markup
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
	*o = append(b, s[from:]...)
}

func (o *writing) number(n int) { *o = strconv.AppendInt(*o, int64(n), 10) }

func (o *writing) link(class markup, href, label string) {
	o.markup(`<a class="` + class + `" href="`)
	o.text(string(templ.URL(href)))
	o.markup(`">`)
	o.text(label)
	o.markup(`</a>`)
}

func (o *writing) fleetRow(now time.Time, r *FleetRow) {
	o.markup(`<tr role="row" id="c-`)
	o.text(r.AccountID)
	o.markup(`-`)
	o.text(r.ClusterID)
	o.markup(`" data-testid="cluster-row" data-account="`)
	o.text(r.AccountID)
	o.markup(`" data-cluster="`)
	o.text(r.ClusterID)
	o.markup(`" data-phase="`)
	o.text(r.Phase)
	o.markup(`"><td role="cell" class="head-cell">`)
	o.link(`rowlnk [overflow-wrap:anywhere]`, r.Href, r.Name)
	if r.Stale != "" {
		o.markup(` <span class="chip tone-warn" title="`)
		o.text(r.Stale)
		o.markup(`">stale<span class="sr-only">: `)
		o.text(r.Stale)
		o.markup(`</span></span>`)
	}
	o.markup(`</td><td role="cell" class="state-cell"><span class="state `)
	o.text(phaseTone(r.Phase))
	o.markup(`">`)
	o.text(phaseWord(r.Phase))
	o.markup(`</span>`)
	if r.Reason != "" && r.Phase != "HEALTHY" {
		o.markup(`<div class="sub line-clamp-2 max-w-60 [overflow-wrap:anywhere]" title="`)
		o.text(r.Reason)
		o.markup(`">`)
		o.text(r.Reason)
		o.markup(`</div>`)
	}
	o.markup(`</td><td role="cell" class="flow owner">`)
	if r.AccountHref == "" { // the member may see the cluster, and not its account
		o.text(r.AccountName)
	} else {
		o.link(`txtlnk`, r.AccountHref, r.AccountName)
	}
	o.markup(`</td><td role="cell" class="flow">`)
	if r.Environment == "production" {
		o.markup(`<span class="chip chip-strong">`)
	} else {
		o.markup(`<span class="chip">`)
	}
	o.text(r.Environment)
	o.markup(`</span></td><td role="cell" class="place flow"><span class="text-muted">`)
	o.text(dash(r.Cloud))
	o.markup(`</span> `)
	o.region(r.Region)
	o.markup(`</td><td role="cell" class="num flow">`)
	o.text(dash(r.Version))
	o.markup(`</td><td role="cell" class="num flow" data-label="Nodes">`)
	if r.NodesUp < r.Nodes && r.Phase != "SUSPENDED" {
		o.markup(`<span class="font-medium text-error">`)
	} else {
		o.markup(`<span>`)
	}
	o.number(r.NodesUp)
	o.markup(`</span> / `)
	o.number(r.Nodes)
	o.markup(`</td><td role="cell" class="package"><span class="pkg">`)
	o.text(dash(r.Package))
	o.markup(`</span> <span class="size3"><span>`)
	o.text(r.RAM)
	o.markup(`</span> <span>`)
	o.text(r.CPU)
	o.markup(`</span> <span>`)
	o.text(r.Disk)
	o.markup(`</span></span></td><td role="cell" class="num flow" data-label="Created">`)
	o.since(now, r.CreatedAt)
	o.markup(`</td></tr>`)
}

// region writes what the component of that name does.
func (o *writing) region(id string) {
	if isUUID(id) {
		o.markup(`<span title="`)
		o.text(id)
		o.markup(`">`)
		o.text(id[:8] + "…")
		o.markup(`</span>`)
		return
	}
	o.markup(`<span>`)
	o.text(dash(id))
	o.markup(`</span>`)
}

// since writes what the component Since does.
func (o *writing) since(now, t time.Time) {
	if t.IsZero() {
		o.markup(`<span class="text-muted">–</span>`)
		return
	}
	t = t.UTC()
	o.markup(`<time datetime="`)
	*o = t.AppendFormat(*o, time.RFC3339)
	o.markup(`" title="`)
	*o = t.AppendFormat(*o, exactLayout)
	o.markup(`" data-ago="short" class="whitespace-nowrap">`)
	o.text(span(now, t))
	o.markup(`</time>`)
}
