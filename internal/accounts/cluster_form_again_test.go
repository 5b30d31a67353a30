package accounts

import (
	"errors"
	"testing"
)

// A form that breaks a rule is shown again from what is known here: neither the act nor the page asks
// upstream, also where a place was made up.
func TestAWrongFormAsksNothingOfUpstream(t *testing.T) {
	s := newStage(t)
	for _, account := range []Account{s.register(s.current(), "Search"), s.register(s.legacy(), "Old")} {
		by := s.signedIn("operators")
		form, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false)
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*NewCluster){
			"a name":             func(n *NewCluster) { n.Name = "not a name" },
			"nodes":              func(n *NewCluster) { n.Name, n.Nodes = "right", "many" },
			"a region of none":   func(n *NewCluster) { n.Name, n.Region = "x", "mars-1" },
			"a provider of none": func(n *NewCluster) { n.Name, n.CloudProvider, n.Region = "x", "mars", "mars-1" },
		} {
			asked := form.Asked
			change(&asked)
			before, _ := s.calls()
			if _, err := s.svc.CreateCluster(t.Context(), by, account.ID, asked); err == nil {
				t.Fatalf("%s: %s was taken", account.Name, name)
			} else if _, invalid := errors.AsType[*InvalidError](err); !invalid {
				continue // a rule of upstream's, which had to be asked
			}
			again, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, asked, true)
			if err != nil {
				t.Fatal(err)
			}
			if after, _ := s.calls(); after != before {
				t.Errorf("%s, %s: upstream was asked %d times", account.Name, name, after-before)
			}
			if again.Asked.Name != asked.Name || again.Asked.CloudProvider != asked.CloudProvider || again.Asked.Region != asked.Region || again.Asked.Nodes != asked.Nodes {
				t.Errorf("%s, %s: what was typed is %+v now", account.Name, name, again.Asked)
			}
		}
	}
}
