package templates

import (
	"time"

	"github.com/a-h/templ"
)

func sampleStepUp(untold bool) *StepUp {
	s := &StepUp{Href: "/login?step_up=1&return_to=%2Faccounts%2F1", After: "10 minutes", Since: beforePtr(42 * time.Minute)}
	if untold {
		s.Since, s.Untold = nil, true
	}
	return s
}

// stepUpSamples are the pages that ask for a fresh sign-in, and those of break-glass.
func stepUpSamples() map[string]templ.Component {
	remove := sampleDelete(nil)
	remove.Page.StepUp = sampleStepUp(false)
	edit := sampleAccountEdit()
	edit.Page.StepUp = sampleStepUp(true)
	glass := sampleFleet(sampleRows(), sampleStrip())
	glass.Page.BreakGlass = []BreakGlassNotice{
		{Name: "Break-glass (root@console-1)", Reason: "The identity provider is down, ticket 4711", Since: before(12 * time.Minute), Until: sampleNow.Add(48 * time.Minute), End: "/break-glass/1/end"},
		{Name: "Break-glass (ops@console-2)", Reason: "Somebody has to see to the disk <b>now</b>", Since: before(time.Minute), Until: sampleNow.Add(59 * time.Minute), End: "/break-glass/2/end"},
	}
	return map[string]templ.Component{
		"delete-step-up": Confirm(remove),
		"edit-step-up":   AccountEdit(edit),
		"error-step-up": ErrorPage(ErrorView{Page: samplePage("This needs a fresh sign-in", "error", ""), Status: 403, Heading: "This needs a fresh sign-in",
			Detail: "You may do this, but only within 10 minutes of signing in at your identity provider. Nothing was done.", StepUp: "/login?step_up=1&return_to=%2Faccounts%2F1", RequestID: "019aafc2"}),
		"break-glass": BreakGlass(BreakGlassView{Page: Page{Title: "Sign in without the identity provider", BodyID: "break-glass", Now: sampleNow},
			Action: "/break-glass", Link: "token", Life: "1 hour", LinkLife: "10 minutes"}),
		"break-glass-in-use": Fleet(glass),
	}
}
