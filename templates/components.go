package templates

import "time"

// Field is one labelled input of a form.
type Field struct {
	Name, Label, Hint, Value, Error string
	Type                            string // text when empty; textarea for a text area
	Placeholder, Autocomplete       string
	Required, Mono                  bool
	Focus                           bool // the first field that is wrong
}

func (f Field) id() string { return "f-" + f.Name }

// describedBy names the elements that explain the field to a screen reader.
func (f Field) describedBy() string {
	by := ""
	if f.Hint != "" {
		by = f.id() + "-hint"
	}
	if f.Error != "" {
		if by != "" {
			by += " "
		}
		by += f.id() + "-error"
	}
	return by
}

func (f Field) kind() string {
	return inputKind(f.Type, f.Value)
}

// inputKind is the type of an input. Browsers drop what does not fit an input for dates, so there
// a value that is none is shown in a text field, as it was typed.
func inputKind(kind, value string) string {
	layout := map[string]string{"date": time.DateOnly, "datetime-local": "2006-01-02T15:04"}[kind]
	if layout != "" && value != "" {
		if _, err := time.Parse(layout, value); err != nil {
			return "text"
		}
	}
	if kind == "" {
		return "text"
	}
	return kind
}

// Choice is one of a Select or of Radios.
type Choice struct {
	Value, Label, Hint string
	Selected           bool
}

// Select is a labelled list to choose one from.
type Select struct {
	Name, Label, Error string
	Any                string // words of the empty choice; none when empty
	Choices            []Choice
}

// Radios is a question with its answers.
type Radios struct {
	Name, Legend, Hint, Error string
	Choices                   []Choice
	Focus                     bool
}

// explained reports whether an answer needs more words than its label.
func (r Radios) explained() bool {
	for _, c := range r.Choices {
		if c.Hint != "" {
			return true
		}
	}
	return false
}

// Column is a column of a listing. It may show two things and so be sorted in two ways.
type Column struct {
	Sorts   []Sort
	Numeric bool
}

// Sort is a way to sort a listing.
type Sort struct {
	Label string
	Href  string // sorts so, or turns the direction; empty when that is not possible
	Order string // ascending, descending, or empty when the listing is sorted in another way
}

// order is how the listing is sorted by the column, as aria-sort says it; empty when it is not.
func (c Column) order() string {
	for _, s := range c.Sorts {
		if s.Order != "" {
			return s.Order
		}
	}
	return ""
}

// Offer is an act on a page: offered, or shown with the reason why it is not.
type Offer struct {
	Label   string
	Href    string // GET page that asks first; used when Post is false
	Post    bool   // Href is posted to directly
	Danger  bool
	Primary bool
	Offered bool
	Reason  string
	Why     string // page that explains what is missing and whom to ask; empty when the reason says all
}

// ConfirmView asks before an act.
type ConfirmView struct {
	Page    Page
	Crumbs  []Link
	Lead    string   // what is about to happen, to which thing
	Points  []string // what follows from it
	Beside  *Link    // where more of what follows is told
	Warning string   // what cannot be undone
	Action  string   // path posted to
	Button  string
	Danger  bool
	Confirm string // the name that must be typed; empty when nothing must
	Kind    string // what the name is of: cluster, account
	Ask     string // what is to be typed, where it is no name
	Typed   string // what was typed, when it was wrong
	Radios  []Radios
	Fields  []Field           // asked beside; what is wrong with one stands in Errors
	Errors  map[string]string // by field; "" is the form
	Back    string
}

// Link is a place with its name.
type Link struct{ Label, Href string }

// Moment is a time and the time it is told at.
type Moment struct{ At, Now time.Time }
