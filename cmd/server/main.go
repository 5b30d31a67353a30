// Command quartermaster is a self-hosted team console for Qdrant Cloud accounts. This package
// holds configuration, wiring, signals and subcommands; what the program does is in the packages
// below internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker for releases; see versionText.
var version = ""

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // something went wrong, or was found wrong
	exitMisused = 2 // the command line or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever reads what this prints may leave: that is an error of a write, and no reason to die at once and
	// leave behind what dev has started.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the program at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// commandLine is what kong fills. Values are text; what they mean is checked by Config.validate,
// so that all problems are told at once.
type commandLine struct {
	Config `embed:""`

	Serve struct{} `cmd:"" help:"Run the console, configured by QM_* variables or flags."`
	Dev   struct {
		Accounts string `default:"0" help:"How many accounts the sandbox of a new data folder has; 0: the four of the tour."`
		Clusters string `default:"0" help:"How many clusters they have in all; 0: as many as the tour."`
	} `cmd:"" help:"Run everything on this machine, with nothing configured: Postgres, an identity provider, the Cloud API sandbox and the console."`
	Sandbox struct {
		Seed     string `default:"1" help:"Number the accounts and clusters are made from."`
		Accounts string `default:"0" help:"How many accounts; 0: the four that dev has."`
		Clusters string `default:"0" help:"How many clusters in all; 0: as dev has."`
		State    string `help:"File that keeps the state between two starts; none when empty."`
	} `cmd:"" help:"Run the Cloud API stand-in alone."`
	Migrate struct {
		Up struct {
			ForDev bool `help:"Make a new database one that dev may use in a container, which serve then refuses; refuse any other."`
		} `cmd:"" help:"Bring roles and schema to what this program needs."`
		Down struct {
			Steps string `default:"1" help:"How many migrations to take back, with their data."`
		} `cmd:"" help:"Take back migrations. Their data is lost."`
		Status struct{} `cmd:"" help:"Say which schema the database has."`
	} `cmd:"" help:"Work on the database's schema and roles."`
	Check struct{} `cmd:"" help:"Check the configuration against the world: identity provider, redirect address, groups, database, key, Cloud API."`
	Audit struct {
		Verify struct {
			File  string `help:"Check this export file instead of the database."`
			State bool   `help:"Also replay the log and compare accounts, keys, grants, roles and blocks with it."`
		} `cmd:"" help:"Check that the audit log is whole and unchanged."`
		Export struct {
			Output string `short:"o" help:"File to write to, which must not exist; standard output when empty."`
			Reason string `help:"Why the log is taken away; recorded with the export."`
		} `cmd:"" help:"Write the audit log as lines of JSON that audit verify can check."`
	} `cmd:"" help:"Check or export the audit log."`
	Keys struct {
		Fingerprint struct{} `cmd:"" help:"Print the fingerprint of QM_KEK, by which errors and the database name it."`
	} `cmd:"" help:"Tell which key this is."`
	Breakglass struct {
		Reason string `help:"Why; needed, recorded, and shown to everybody who is signed in."`
		Dev    bool   `help:"For the console that dev (make run) runs on this machine: what is needed comes from its folder, QM_DEV_DIR. Without it, QM_BASE_URL, QM_DATABASE_URL and QM_KEK are those of serve."`
	} `cmd:"" help:"Print a link that signs an administrator in without the identity provider, once, within ten minutes."`
	Healthcheck struct {
		Ready bool `help:"Ask whether it can do its work, not only whether it runs."`
	} `cmd:"" help:"Ask the console on this machine whether it is well; for containers."`
	Version struct{} `cmd:"" help:"Print the version."`
}

// program is one run of the program.
type program struct {
	line     commandLine
	command  string // migrate up
	env      environment
	given    given
	addrFlag string // --addr, which the sandbox command takes for its own
	settings Settings
	stdout   io.Writer
	stderr   io.Writer

	inContainer func() bool
}

// run is the program without its process: it returns the exit code, and returns when ctx ends.
func run(ctx context.Context, args []string, env environment, stdout, stderr io.Writer) int {
	p := &program{env: env, stdout: stdout, stderr: stderr, inContainer: inContainer}
	answered, err := p.parse(ctx, args)
	if answered {
		return exitOK
	}
	if err != nil {
		return p.fail(err)
	}
	return p.fail(p.commands()[p.command](ctx))
}

// commands maps what kong calls a command to what it does.
func (p *program) commands() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"serve":            p.serve,
		"dev":              p.dev,
		"sandbox":          p.sandbox,
		"migrate up":       p.migrateUp,
		"migrate down":     p.migrateDown,
		"migrate status":   p.migrateStatus,
		"check":            p.check,
		"audit verify":     p.auditVerify,
		"audit export":     p.auditExport,
		"keys fingerprint": p.keysFingerprint,
		"breakglass":       p.breakGlass,
		"healthcheck":      p.healthcheck,
		"version":          p.printVersion,
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() + " (see quartermaster --help)" }
func (e *usageError) Unwrap() error { return e.err }

// errToldAlready ends the program with exitFailed without another word: what is wrong was printed.
var errToldAlready = errors.New("told already")

// fail prints an error once and returns its exit code.
func (p *program) fail(err error) int {
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errToldAlready) {
		p.complain("quartermaster: %v\n", err)
	}
	_, usage := errors.AsType[*usageError](err)
	_, config := errors.AsType[*configError](err)
	if usage || config {
		return exitMisused
	}
	return exitFailed
}

// say prints to the standard output. A reader that went away is not worth more than the output.
func (p *program) say(format string, args ...any) { _, _ = fmt.Fprintf(p.stdout, format, args...) }

// complain prints to the standard error.
func (p *program) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, format, args...)
}

// parse reads the command line and the configuration of its command. answered says that the
// command line only asked for help, which was printed.
func (p *program) parse(ctx context.Context, args []string) (answered bool, err error) {
	k, err := kong.New(&p.line,
		kong.Name("quartermaster"),
		kong.Description("A self-hosted team console for Qdrant Cloud accounts. Every flag that is not of one command only is also an environment variable: --base-url is QM_BASE_URL."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(int) { answered = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Help(printHelp),
	)
	if err != nil {
		return false, fmt.Errorf("laying out the command line: %w", err)
	}
	parsed, err := k.Parse(args)
	if answered {
		return true, nil
	}
	if err != nil {
		return false, &usageError{err}
	}
	p.command, p.addrFlag = parsed.Command(), p.line.Addr
	if p.command == "version" {
		return false, nil
	}
	var found problems
	scope := p.command
	if scope == "audit verify" && p.line.Audit.Verify.File != "" {
		scope = "audit verify file" // which needs no database
	}
	if scope == "breakglass" && p.line.Breakglass.Dev {
		scope = "breakglass dev" // which finds in the folder of dev what it needs
	}
	p.given, found = p.line.resolve(scope, p.env)
	settings, more := p.line.validate(scope, p.given)
	found = append(found, more...)
	found = append(found, p.ownProblems()...)
	if len(found) > 0 {
		p.nameNeededKEK(ctx, settings, found)
		return false, &configError{found}
	}
	p.settings = settings
	return false, nil
}

// ownProblems are those of one command's own rules.
func (p *program) ownProblems() problems {
	switch p.command {
	case "dev":
		return p.devProblems()
	case "breakglass":
		return p.breakGlassProblems()
	}
	return nil
}

// printHelp shows a command's own flags only: forty variables help nobody.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	command := ctx.Command()
	byFlag := map[string]variable{}
	for _, v := range variables() {
		byFlag[v.Flag] = v
	}
	for _, flag := range ctx.Model.Flags {
		if v, ok := byFlag[flag.Name]; ok {
			flag.Hidden = !v.usedBy(command)
		}
	}
	return kong.DefaultHelpPrinter(options, ctx)
}

func (p *program) printVersion(context.Context) error {
	p.say("quartermaster %s\n", versionText())
	return nil
}

// versionText is the version set by the linker, else what the build knows of its commit.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if commit == "" {
		return "development"
	}
	return "development-" + commit + changed
}
