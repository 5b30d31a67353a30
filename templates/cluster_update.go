package templates

// ClusterUpdateView is the form that changes a cluster.
type ClusterUpdateView struct {
	Page     Page
	Crumbs   []Link
	Name     string
	Legacy   bool
	Sections []UpdateSection
	Hidden   []Pair // revision, and what the form was begun with
	Errors   map[string]string
	Upstream string // what Qdrant Cloud said to it
	Refusal  *RefusalView
	Action   string // path of the comparison
	Back     string
}

// UpdateSection is a part of the form.
type UpdateSection struct {
	ID, Heading string
	Fields      []UpdateField
}

// UpdateField is one setting. With Choices it is a list to choose from, all of which can be read when
// they need more words than a label; with NotOffered it cannot be changed, and Shown is what it is.
type UpdateField struct {
	Field
	Choices           []Choice
	NotOffered, Shown string
}

func (f UpdateField) radios() Radios {
	return Radios{Name: f.Name, Legend: f.Label, Hint: f.Hint, Error: f.Error, Choices: f.Choices, Focus: f.Focus}
}

// ClusterReviewView compares a cluster with what it would be, before that is applied.
type ClusterReviewView struct {
	Page       Page
	Crumbs     []Link
	Name       string
	Production string // the account's name, when it is used for production
	Rows       []ChangeRow
	Price      PriceView
	Warnings   []string
	Points     []string
	Risks      []RiskView
	Hidden     []Pair // the form as it was typed
	Apply      string // path
	Edit       string // path that shows the form again
	Back       string
}

// ChangeRow is one setting side by side.
type ChangeRow struct{ Field, Label, Before, After string }

// PriceView is what a change does to the price.
type PriceView struct {
	Known                   bool
	BeforeHour, BeforeMonth string
	AfterHour, AfterMonth   string
	Tone, Word              string // more, less, or the same
	DifferHour, DifferMonth string // with their sign
	Note                    string // how far the price can be believed
}

// RiskView is something that may happen with a smaller package.
type RiskView struct{ Tone, Word, Reason string }

// ClusterStaleView says that a cluster was changed since a form was filled in for it.
type ClusterStaleView struct {
	Page    Page
	Crumbs  []Link
	Name    string
	Rows    []StaleRow
	Started bool // what the form was begun with is known
	Left    bool // something that was wished for is not so already
	Hidden  []Pair
	Review  string // path
	Back    string
}

// StaleRow is one setting of three sides.
type StaleRow struct {
	Field, Label         string
	Started, Now, Wanted string
	Wished               bool
}

// problems sums up what is wrong in the form, in the order of the page.
func (v ClusterUpdateView) problems() []Link {
	var out []Link
	told := map[string]bool{}
	for _, name := range []string{"", "revision"} {
		told[name] = true
		if e := v.Errors[name]; e != "" {
			out = append(out, Link{Label: e})
		}
	}
	for _, section := range v.Sections {
		for _, f := range section.Fields {
			told[f.Name] = true
			switch {
			case v.Errors[f.Name] == "":
			case f.NotOffered != "":
				out = append(out, Link{Label: f.Label + ": " + v.Errors[f.Name]})
			default:
				out = append(out, Link{Label: f.Label + ": " + v.Errors[f.Name], Href: "#" + f.id()})
			}
		}
	}
	for _, name := range sortedKeys(v.Errors) {
		if !told[name] {
			out = append(out, Link{Label: v.Errors[name]})
		}
	}
	return out
}
