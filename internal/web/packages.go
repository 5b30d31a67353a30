package web

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/templates"
)

const pathPackages = "/packages"

// packageQuery is what the address of the packages may say.
type packageQuery struct {
	Account  string `form:"account"`
	Provider string `form:"cloud_provider"`
	Region   string `form:"region"`
	RAM      string `form:"ram"` // GiB
	CPU      string `form:"cpu"` // cores
	GPU      bool   `form:"gpu"`
	MultiAZ  bool   `form:"multi_az"`
	Tier     string `form:"tier"`
	Sort     string `form:"sort"`
	Dir      string `form:"dir"`
}

// packageColumns are the columns that the packages can be sorted by; those without a key cannot.
var packageColumns = []struct {
	key, label string
	numeric    bool
}{
	{"package", "Package", false}, {"region", "Region", false}, {"", "Tier", false}, {"ram", "RAM", true}, {"cpu", "CPU", true}, {"disk", "Disk", true},
	{"gpu", "GPU", true}, {"price", "An hour", true}, {"price", "A month", true}, {"", "Extra GiB, a month", true}, {"", "Other regions", false},
}

func (q packageQuery) address() string {
	v := given(
		param{"account", q.Account}, param{"cloud_provider", q.Provider}, param{"region", q.Region}, param{"ram", q.RAM}, param{"cpu", q.CPU},
		param{"tier", q.Tier}, param{"sort", q.Sort}, param{"dir", q.Dir},
	)
	if q.GPU {
		v.Set("gpu", "yes")
	}
	if q.MultiAZ {
		v.Set("multi_az", "yes")
	}
	return withQuery(pathPackages, v)
}

// query reads the numbers. invalid is by field.
func (q packageQuery) query() (out accounts.PackageQuery, invalid map[string]string) {
	invalid = map[string]string{}
	out = accounts.PackageQuery{Provider: q.Provider, Region: q.Region, GPU: q.GPU, MultiAZ: q.MultiAZ, Tier: q.Tier, Sort: q.Sort, Dir: q.Dir}
	amount := func(field, text string, unit float64) int64 {
		text = strings.TrimSpace(text)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || n < 0 || n > 1e6 {
			invalid[field] = "Give a number, as in 16 or 0.5."
			return 0
		}
		return int64(n * unit)
	}
	out.MinRAMMiB, out.MinCPU = amount("ram", q.RAM, 1024), amount("cpu", q.CPU, 1000)
	return out, invalid
}

func (q packageQuery) columns() []templates.Column {
	sorted := q.Sort
	if sorted == "" {
		sorted = "price"
	}
	out := make([]templates.Column, 0, len(packageColumns))
	for _, c := range packageColumns {
		way := templates.Sort{Label: c.label}
		if c.key != "" {
			by := q
			by.Sort, by.Dir = c.key, "asc"
			switch {
			case c.key == sorted && q.Dir == "desc":
				way.Order = "descending"
			case c.key == sorted:
				way.Order, by.Dir = "ascending", "desc"
			}
			way.Href = by.address()
		}
		out = append(out, templates.Column{Numeric: c.numeric, Sorts: []templates.Sort{way}})
	}
	return out
}

// handlePackages handles GET /packages.
func (s *Server) handlePackages(c echo.Context) error {
	var q packageQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	query, invalid := q.query()
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil {
			return fmt.Errorf("account in the query: %w", accounts.ErrNotFound)
		}
		query.Account = id
	}
	page, err := s.accounts.Packages(c.Request().Context(), actorFrom(c), query)
	if err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	status := http.StatusOK
	if len(invalid) > 0 {
		status = http.StatusUnprocessableEntity
	}
	v := packagesView(s.page(c, "Packages and prices", "packages-index", "packages"), q, page)
	v.Invalid, v.Contact = invalid, s.opts.Contact
	if v.None && len(page.Accounts) == 0 {
		if v.Clusters, err = s.clustersSeen(c); err != nil {
			return err
		}
	}
	return s.render(c, status, templates.Packages(v))
}

func packagesView(p templates.Page, q packageQuery, page accounts.PackagesPage) templates.PackagesView {
	if page.Account.ID != uuid.Nil {
		q.Account = page.Account.ID.String()
	}
	q.Provider = page.Provider
	v := templates.PackagesView{
		Page: p, GPU: q.GPU, MultiAZ: q.MultiAZ, MinRAM: cut(q.RAM, 20), MinCPU: cut(q.CPU, 20), Columns: q.columns(), All: page.All, Provider: page.Provider,
		Clear: packageQuery{Account: q.Account, Provider: q.Provider}.address(), Failure: asSentence(page.Failure),
		None: page.Account.ID == uuid.Nil, MayAdd: p.Member != nil && p.Member.MayManage, NoPlace: page.Failure == "" && page.Provider == "",
		Create: templates.Offer{Offered: page.Create.Offered, Reason: page.Create.Reason},
	}
	v.Filter.Selects = packageSelects(q, page)
	for _, h := range []templates.Pair{{Name: "sort", Value: q.Sort}, {Name: "dir", Value: q.Dir}} {
		if h.Value != "" {
			v.Filter.Hidden = append(v.Filter.Hidden, h)
		}
	}
	for _, r := range page.Regions {
		if why := page.Missing[r.ID]; why != "" {
			v.Notes = append(v.Notes, fmt.Sprintf("The packages of %s cannot be shown: %s", r.ID, asSentence(why)))
		}
	}
	if why := page.Missing[""]; why != "" {
		v.Failure = asSentence(why)
	}
	for _, o := range page.Offers {
		v.Rows = append(v.Rows, packageRow(page, o))
	}
	return v
}

func packageSelects(q packageQuery, page accounts.PackagesPage) []templates.Select {
	account := accountSelect(page.Accounts, q.Account)
	account.Any = "" // one is always chosen
	provider := templates.Select{Name: "cloud_provider", Label: "Provider"}
	for _, p := range page.Providers {
		provider.Choices = append(provider.Choices, templates.Choice{Value: p.ID, Label: p.ID, Selected: p.ID == page.Provider})
	}
	region := templates.Select{Name: "region", Label: "Region", Any: "All"}
	for _, r := range page.Regions {
		if r.Available {
			region.Choices = append(region.Choices, templates.Choice{Value: r.ID, Label: r.ID, Selected: r.ID == q.Region})
		}
	}
	return []templates.Select{account, provider, region, filterSelect("tier", "Tier", "Any", page.Tiers, q.Tier, templates.Words)}
}

func packageRow(page accounts.PackagesPage, o accounts.PackageOffer) templates.PackageRow {
	row := templates.PackageRow{
		ID: o.ID, Name: o.Name, Tier: o.Tier, Region: o.Region.ID, RegionName: o.Region.Name, MultiAZ: o.MultiAZ,
		Free: o.PricePerHourMillicents == 0, RAM: templates.MiB(o.RAMMiB), CPU: templates.CPU(o.CPUMilli), Disk: templates.MiB(o.DiskMiB),
		Hour: templates.PerHour(o.PricePerHourMillicents, o.Currency), Month: templates.PerMonth(o.PricePerHourMillicents, o.Currency),
		Cheapest: o.Cheapest,
	}
	if o.Region.ID == "" {
		row.RegionName = "every environment"
	}
	if o.GPUMilli > 0 {
		row.GPU = strings.TrimSpace(templates.Amount(float64(o.GPUMilli)/1000) + " × " + templates.MiB(o.GPURAMMiB))
	}
	if o.DiskPricePerHourMillicents > 0 {
		row.ExtraDisk = templates.PerMonth(o.DiskPricePerHourMillicents, o.Currency)
	}
	switch {
	case o.Currencies:
		row.Against = "in other currencies"
	case !o.Compared:
		row.Against = "only here"
	case row.Cheapest:
		row.Against = "cheapest"
	case o.Over > 0:
		row.Against = "+" + strconv.FormatFloat(o.Over, 'f', 1, 64) + " %"
	default:
		row.Against = "the same price"
	}
	if page.Create.Offered {
		choice := url.Values{"cloud_provider": {page.Provider}, "package_id": {o.ID}}
		if o.Region.ID != "" {
			choice.Set("region", o.Region.ID)
		}
		row.Create = withQuery(accountPath(page.Account.ID)+"/clusters/new", choice)
	}
	return row
}
