// Command release builds what a release consists of: for each platform an archive and its bill of
// materials, and the checksums of all. It guarantees that the bytes depend on the commit, the version
// and the versions of Go and of the SBOM tool, and on nothing else: not on the folder, the user, the time or
// the caches. .ci/check-release builds twice and compares.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// name is the program's, and begins the name of every file.
const name = "quartermaster"

// release is one run.
type release struct {
	version   string
	at        time.Time // of the commit; every file in an archive has it
	platforms []platform
	sbomTool  string
	out       string
}

// platform is one that is built for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// base names the files of a platform.
func (r *release) base(p platform) string {
	return fmt.Sprintf("%s_%s_%s_%s", name, r.version, p.os, p.arch)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	version := flags.String("version", "", "what the program calls itself and the archives are named after")
	platforms := flags.String("platforms", "linux/amd64 linux/arm64 darwin/amd64 darwin/arm64", "platforms to build for")
	sbomTool := flags.String("sbom-tool", "", "path of cyclonedx-gomod")
	out := flags.String("out", "bin/release", "folder to write to; what is in it is removed")
	noticesOnly := flags.String("notices", "", "file to write the notices of others' work to, and nothing else")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := &release{version: *version, sbomTool: *sbomTool, out: *out}
	for _, text := range strings.Fields(*platforms) {
		system, arch, _ := strings.Cut(text, "/")
		r.platforms = append(r.platforms, platform{system, arch})
	}
	if *noticesOnly != "" {
		notices, err := r.notices(ctx)
		if err != nil {
			return err
		}
		return os.WriteFile(*noticesOnly, notices, 0o644)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`).MatchString(r.version) {
		return fmt.Errorf("%q cannot be a version; this tree has no git to name it, or the name is wrong: make release VERSION=v1.2.3", r.version)
	}
	if strings.HasSuffix(r.version, "+changes") {
		fmt.Fprintln(os.Stderr, "release: the tree has changes that are not committed, so nobody can build these bytes again")
	}
	var err error
	if r.at, err = commitTime(ctx); err != nil {
		return err
	}
	return r.build(ctx)
}

// commitTime is SOURCE_DATE_EPOCH, else the time of the commit.
func commitTime(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := command(ctx, nil, "git", "log", "-1", "--format=%ct")
		if err != nil {
			return time.Time{}, fmt.Errorf("asking git for the time of the commit (without git, set SOURCE_DATE_EPOCH): %w", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the time of the commit: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (r *release) build(ctx context.Context) error {
	if err := errors.Join(os.RemoveAll(r.out), os.MkdirAll(r.out, 0o755)); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "quartermaster-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()

	notices, err := r.notices(ctx)
	if err != nil {
		return err
	}
	common, err := commonFiles(ctx)
	if err != nil {
		return err
	}
	common = append(common, file{name: "THIRD_PARTY_NOTICES.txt", content: notices, mode: 0o644})
	for _, p := range r.platforms {
		binary := filepath.Join(work, p.os+"-"+p.arch, name)
		if err := r.compile(ctx, p, binary); err != nil {
			return err
		}
		bill, err := r.billOfMaterials(ctx, binary)
		if err != nil {
			return fmt.Errorf("the bill of materials of %s: %w", p, err)
		}
		if err := os.WriteFile(filepath.Join(r.out, r.base(p)+".cdx.json"), bill, 0o644); err != nil {
			return err
		}
		program, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		files := append([]file{{name: name, content: program, mode: 0o755}}, common...)
		if err := r.archive(r.base(p), files); err != nil {
			return fmt.Errorf("archiving %s: %w", p, err)
		}
		fmt.Printf("%s: %s.tar.gz\n", p, filepath.Join(r.out, r.base(p)))
	}
	return r.checksums()
}

// notices is the text that licences ask to go with the programs of all platforms.
func (r *release) notices(ctx context.Context) ([]byte, error) {
	var linked []linkedPackage
	for _, p := range r.platforms {
		packages, err := linkedPackages(ctx, p)
		if err != nil {
			return nil, err
		}
		linked = append(linked, packages...)
	}
	return thirdPartyNotices(ctx, linked)
}

// environment is what the go command may see of this machine: everything that could change the
// bytes is set.
func (p platform) environment() []string {
	return append(os.Environ(), "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0",
		"GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
}

func (r *release) compile(ctx context.Context, p platform, to string) error {
	_, err := command(ctx, p.environment(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", to, "./cmd/server")
	if err != nil {
		return fmt.Errorf("building for %s: %w", p, err)
	}
	return nil
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	var sums strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// command runs a program and returns what it printed. env is nil for this process's own.
func command(ctx context.Context, env []string, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", program, err, complaint.String())
	}
	return out, nil
}
