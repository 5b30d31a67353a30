package main

import (
	"testing"
)

// TestJourneys does what people do with the running program: one dev for all, each journey with
// clusters of its own. What has to hold of everything they left behind is looked at in the end.
func TestJourneys(t *testing.T) {
	st := openStage(t)
	t.Run("people", func(t *testing.T) { // returns when all of them have ended
		for name, journey := range map[string]func(*testing.T, *stage){
			"the four roles meet every page and act": everyRoleEverywhere,
			"hidden targets are like missing ones":   hiddenTargets,
			"bad forms":                              badForms,
			"every page by its forms alone":          withFormsAlone,
			"in a browser with scripts":              func(t *testing.T, st *stage) { inTheBrowser(t, st, true) },
			"in a browser without scripts":           func(t *testing.T, st *stage) { inTheBrowser(t, st, false) },
			"an account gets better, with scripts":   func(t *testing.T, st *stage) { accountGetsBetter(t, st, true) },
			"an account gets better, without":        func(t *testing.T, st *stage) { accountGetsBetter(t, st, false) },
			"a cluster is made, with scripts":        func(t *testing.T, st *stage) { makesCluster(t, st, true) },
			"a cluster is made, without":             func(t *testing.T, st *stage) { makesCluster(t, st, false) },
			"a form is sent twice":                   sentTwice,
			"a key is minted once":                   mintedTwice,
			"changing a cluster":                     changingAClusterJourney,
			"every link":                             everyLink,
			"many restarts at once":                  manyRestartsAtOnce,
			"packages and their prices":              packagesAndPrices,
			"two copies and one browser":             twoCopies,
			"an auditor exports the log":             exportsTheLog,
			"keys by forms alone":                    keysByForms,
			"bad keys":                               badKeys,
			"one key from many posts":                oneKeyFromManyPosts,
			"keys in a browser with scripts":         func(t *testing.T, st *stage) { keysInTheBrowser(t, st, true) },
			"keys in a browser without scripts":      func(t *testing.T, st *stage) { keysInTheBrowser(t, st, false) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				journey(t, st)
			})
		}
	})
	t.Run("keys of the legacy API", func(t *testing.T) { legacyKeys(t, st) }) // when nobody else reads their pages
	t.Run("the log is whole", func(t *testing.T) { logIsWhole(t, st) })
	t.Run("no secret is anywhere", func(t *testing.T) { noSecretAnywhere(t, st) })
}
