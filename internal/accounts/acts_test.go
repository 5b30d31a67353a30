package accounts

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

func TestTheActTable(t *testing.T) {
	known := append(access.Upstream(), access.Own()...)
	nameOfAct := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	names := map[string]bool{}
	for _, act := range Acts() {
		if names[act.Name] || !nameOfAct.MatchString(act.Name) {
			t.Errorf("%q is there twice, or is not kind and verb", act.Name)
		}
		names[act.Name] = true
		if found, ok := ActNamed(act.Name); !ok || found.Name != act.Name {
			t.Errorf("%s is not found by its name", act.Name)
		}
		needs := append(slices.Clone(act.Needs.All), act.Needs.Any...)
		if (len(needs) == 0) != act.Self {
			t.Errorf("%s: needs %v, of oneself %v", act.Name, needs, act.Self)
		}
		for _, p := range needs {
			if !slices.Contains(known, p) {
				t.Errorf("%s needs %s, which nobody can hold", act.Name, p)
			}
		}
		if !strings.HasPrefix(act.Name, act.TargetKind+".") {
			t.Errorf("%s is done to a %s", act.Name, act.TargetKind)
		}
		for _, g := range []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1} {
			op := act.Op(g)
			ofUpstream := act.Current != nil || act.PAV1 != nil
			switch {
			case op == nil && ofUpstream && act.Lacking[g] == "":
				t.Errorf("%s: nothing says why %s lacks it", act.Name, g)
			case op != nil && act.Lacking[g] != "":
				t.Errorf("%s: %s has it and says it lacks it", act.Name, g)
			case op == nil:
				continue
			}
			if op.Generation != g || op.Mutates && !act.Mutates || op.UserOnly {
				t.Errorf("%s is bound to %s %s, mutates %v, user only %v", act.Name, op.Generation, op.Name, op.Mutates, op.UserOnly)
			}
			for _, p := range op.Permissions {
				if !slices.Contains(needs, p) {
					t.Errorf("%s: upstream asks for %s and we do not", act.Name, p)
				}
			}
		}
	}
	if _, ok := ActNamed("cluster.explode"); ok {
		t.Error("an act that does not exist was found")
	}
}

// The methods through which this package changes something upstream, each with its acts. A method
// of the cloud interface whose name says that it changes something, and that is not here, fails the test.
func TestEveryChangingCallHasAnAct(t *testing.T) {
	acts := map[string][]Act{
		"CreateCluster": {ActClusterCreate}, "UpdateCluster": {ActClusterUpdate}, "DeleteCluster": {ActClusterDelete},
		"RestartCluster": {ActClusterRestart}, "SuspendCluster": {ActClusterSuspend}, "UnsuspendCluster": {ActClusterUnsuspend},
		"CreateDatabaseKey": {ActKeyCreate, ActKeyRotate}, "DeleteDatabaseKey": {ActKeyDelete},
		"CreateAdminKey": {ActAdminKeyCreate}, "UpdateAdminKey": {ActAdminKeyUpdate}, "DeleteAdminKey": {ActAdminKeyDelete},
		"CreateManagementKey": {ActManagementKeyCreate}, "DeleteManagementKey": {ActManagementKeyDelete},
	}
	changes := regexp.MustCompile(`^(Create|Update|Delete|Restart|Suspend|Unsuspend|Enable|Assign|Restore)`)
	offered := reflect.TypeFor[cloud]()
	for i := range offered.NumMethod() {
		name := offered.Method(i).Name
		if !changes.MatchString(name) {
			continue
		}
		if len(acts[name]) == 0 {
			t.Errorf("%s changes something and has no act", name)
		}
		for _, act := range acts[name] {
			mutates := false
			for _, g := range []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1} {
				op := act.Op(g)
				mutates = mutates || op != nil && op.Mutates
			}
			if !mutates || !act.Mutates {
				t.Errorf("%s is said to be %s, which changes nothing", name, act.Name)
			}
		}
		delete(acts, name)
	}
	for name := range acts {
		t.Errorf("%s is no method of the cloud interface", name)
	}
}

func TestAnActWithoutARightIsRefused(t *testing.T) {
	s := New(Config{Rights: access.Configured{AdminGroups: []string{"admins"}}})
	if s.rights(member("admins")).Allows(Act{Name: "x.y"}.Needs, access.Target{}) {
		t.Error("an empty permission means allowed")
	}
}

func TestWhoIsTheConsoleItself(t *testing.T) {
	s := New(Config{Rights: access.Configured{AdminGroups: []string{"admins"}}})
	job := JobActor("test")
	if s.rights(job).Empty() {
		t.Error("a job may do nothing")
	}
	for name, by := range map[string]audit.Actor{
		"a browser that says it is the console": {Issuer: InternalIssuer, Subject: "x", Via: audit.ViaBrowser, Groups: []string{"admins"}},
		"a token that says it is the console":   {Issuer: InternalIssuer, Subject: "x", Via: audit.ViaToken, Groups: []string{"admins"}},
		"a member who says it is a job":         {Issuer: "https://id.example.test", Subject: "x", Via: audit.ViaJob},
		"a browser that names a link":           {Issuer: InternalIssuer, Subject: "break-glass:x", Via: audit.ViaBrowser, Groups: []string{"admins"}},
		"a token that names a link":             {Issuer: InternalIssuer, Subject: "break-glass:x", Session: "5e", Via: audit.ViaToken},
		"a session of no link":                  {Issuer: InternalIssuer, Subject: "x", Session: "5e", Via: audit.ViaBrowser},
		"a member who names a link":             {Issuer: "https://id.example.test", Subject: "break-glass:x", Session: "5e", Via: audit.ViaBrowser},
		"nobody":                                {},
		"no subject":                            {Issuer: "https://id.example.test", Groups: []string{"admins"}},
		"no issuer":                             {Subject: "x", Groups: []string{"admins"}},
	} {
		if r := s.rights(by); !r.Empty() {
			t.Errorf("%s holds %v", name, r.Roles())
		}
	}
}

func TestPhasesAndActs(t *testing.T) {
	offered := map[string][]cloudapi.Phase{
		"cluster.update":    {"HEALTHY", "NOT_READY", "RECOVERY_MODE", "SUSPENDED", "FAILED_TO_UPDATE", "FAILED_TO_SYNC", "UNKNOWN", "A_NEW_ONE"},
		"cluster.restart":   {"HEALTHY", "NOT_READY", "RECOVERY_MODE", "FAILED_TO_UPDATE", "FAILED_TO_SYNC", "UNKNOWN", "A_NEW_ONE"},
		"cluster.suspend":   {"HEALTHY", "NOT_READY", "RECOVERY_MODE", "FAILED_TO_SUSPEND", "UNKNOWN", "A_NEW_ONE"},
		"cluster.unsuspend": {"SUSPENDED", "FAILED_TO_RESUME"},
		"cluster.delete":    {"HEALTHY", "SUSPENDED", "CREATING", "FAILED_TO_CREATE", "UNKNOWN", "MANUAL_MAINTENANCE", "A_NEW_ONE"},
	}
	refused := map[string][]cloudapi.Phase{
		"cluster.update":    {"CREATING", "UPDATING", "SCALING", "SUSPENDING", "DELETING", "MANUAL_MAINTENANCE", "FAILED_TO_CREATE", "NOT_FOUND"},
		"cluster.restart":   {"CREATING", "UPDATING", "SUSPENDED", "SUSPENDING", "DELETING", "MANUAL_MAINTENANCE", "FAILED_TO_CREATE", "NOT_FOUND", "RESTARTING"},
		"cluster.suspend":   {"CREATING", "SUSPENDED", "SUSPENDING", "DELETING", "RESUMING"},
		"cluster.unsuspend": {"HEALTHY", "RESUMING", "DELETING", "A_NEW_ONE", ""},
		"cluster.delete":    {"DELETING", "NOT_FOUND"},
	}
	for _, act := range []Act{ActClusterUpdate, ActClusterRestart, ActClusterSuspend, ActClusterUnsuspend, ActClusterDelete} {
		for _, phase := range offered[act.Name] {
			if reason := phaseForbids(act, phase); reason != "" {
				t.Errorf("%s in %s: %s", act.Name, phase, reason)
			}
		}
		for _, phase := range refused[act.Name] {
			if phaseForbids(act, phase) == "" {
				t.Errorf("%s in %s is offered", act.Name, phase)
			}
		}
	}
}

// TestPhasesAreToldInWords proves that no reason shows an enum's value.
func TestPhasesAreToldInWords(t *testing.T) {
	for phase, want := range map[cloudapi.Phase]string{
		"UPDATING": "The cluster is updating: wait until that has ended.", "DELETING": "The cluster is being deleted: nothing can be done with it.",
		"FAILED_TO_CREATE": "The cluster failed to create: there is nothing running.", "BACKUP_RUNNING": "The cluster is being backed up: wait until that has ended.",
		"MANUAL_MAINTENANCE": "The cluster is under manual maintenance: wait until that has ended.", "SUSPENDED": "The cluster is suspended: resume it first.",
	} {
		if got := phaseForbids(ActClusterRestart, phase); got != want {
			t.Errorf("%s: %q, want %q", phase, got, want)
		}
	}
}

// TestEveryFieldIsDeclared fails when a field is added and nobody said what the log does with it.
func TestEveryFieldIsDeclared(t *testing.T) {
	declared(t, accountFields())
	declared(t, keyFields())
}

func declared[T any](t *testing.T, fields []field[T]) {
	t.Helper()
	of := reflect.TypeFor[T]()
	names, inLog := map[string]int{}, map[string]int{}
	for _, f := range fields {
		names[f.of]++
		if f.treatment == ignored {
			continue
		}
		inLog[f.name]++
		if f.treatment != tracked && f.treatment != secret || f.name == "" || f.value == nil {
			t.Errorf("%s.%s is declared by half", of, f.of)
		}
	}
	for i := range of.NumField() {
		name := of.Field(i).Name
		if names[name] != 1 {
			t.Errorf("%s.%s is declared %d times, want tracked, ignored or secret once", of, name, names[name])
		}
		delete(names, name)
	}
	for name := range names {
		t.Errorf("%s has no field %s", of, name)
	}
	for name, n := range inLog {
		if n > 1 {
			t.Errorf("%s: %d fields are %s in the log", of, n, name)
		}
	}
}

func TestAChangeHoldsWhatChanged(t *testing.T) {
	before := Account{ID: uuid.New(), Name: "A", Environment: Staging, Enabled: true, Key: ManagementKey{ID: uuid.New(), Prefix: "abcd", Permissions: []string{"read:clusters"}}}
	same := before
	same.Key.Permissions = []string{"read:clusters"} // equal, and another slice
	same.Sync.Stale, same.Clusters = true, 7
	if change := accountChange(&before, &same); len(change) != 0 {
		t.Errorf("nothing changed and the log says %v", change)
	}
	after := before
	after.Name, after.Key.ID, after.Key.Permissions = "B", uuid.New(), nil
	want := audit.Change{
		"name": {"A", "B"}, "management_key": {"[changed]", "[changed]"}, "management_key_id": {before.Key.ID.String(), after.Key.ID.String()},
		"management_key_permissions": {[]string{"read:clusters"}, nil},
	}
	if diff := cmp.Diff(want, accountChange(&before, &after)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
