package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// linkedPackage is a package of another module, or of Go itself, that is linked into the program.
type linkedPackage struct {
	Dir        string
	Standard   bool
	ImportPath string
	Module     *struct {
		Path    string
		Version string
		Dir     string
		Main    bool
	}
}

// linkedPackages lists the packages that the program of a platform consists of.
func linkedPackages(ctx context.Context, p platform) ([]linkedPackage, error) {
	out, err := command(ctx, p.environment(), "go", "list", "-deps", "-trimpath", "-json=Dir,Standard,ImportPath,Module", "./cmd/server")
	if err != nil {
		return nil, fmt.Errorf("listing the packages of %s: %w", p, err)
	}
	var packages []linkedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one linkedPackage
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("listing the packages of %s: %w", p, err)
		}
		packages = append(packages, one)
	}
}

// licenceName matches files that a licence may ask to pass on.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|unlicense)([.-].*)?$`)

// notOurs matches what may not be linked into a program under the Apache licence.
var notOurs = regexp.MustCompile(`(?i)GNU\s+(AFFERO\s+|LESSER\s+)?GENERAL\s+PUBLIC\s+LICENSE`)

// vendored are works of others that are not Go modules: what the style sheet and the scripts are made of.
// static/build.mjs puts their licences there.
const vendored = "static/licences"

// thirdPartyNotices is the text that licences ask to go with the program: for every module, the
// licence and notice files of the folders whose packages are linked, and of those above them.
func thirdPartyNotices(ctx context.Context, packages []linkedPackage) ([]byte, error) {
	found := map[string]map[string]string{} // module, file within it, text
	for _, p := range packages {
		switch {
		case p.Standard || p.Module == nil || p.Module.Main:
			continue
		}
		module := p.Module.Path + " " + p.Module.Version
		if found[module] == nil {
			found[module] = map[string]string{}
		}
		if err := collect(found[module], p.Module.Dir, p.Dir); err != nil {
			return nil, fmt.Errorf("licences of %s: %w", p.ImportPath, err)
		}
	}
	root, err := command(ctx, nil, "go", "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(root)), "\n")
	library := map[string]string{}
	if err := collect(library, goroot, goroot); err != nil {
		return nil, fmt.Errorf("licence of the standard library: %w", err)
	}
	found["The Go standard library and runtime "+version] = library
	assets, err := os.ReadDir(vendored)
	if err != nil {
		return nil, fmt.Errorf("licences of vendored files: %w", err)
	}
	for _, e := range assets {
		text, err := os.ReadFile(filepath.Join(vendored, e.Name()))
		if err != nil {
			return nil, err
		}
		found[strings.TrimSuffix(e.Name(), ".txt")+" (npm)"] = map[string]string{e.Name(): string(text)}
	}
	return printNotices(found)
}

// collect reads the licence files of dir and of the folders above it, up to the module's root.
func collect(into map[string]string, root, dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type()&fs.ModeType != 0 || !licenceName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			within, err := filepath.Rel(root, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			into[filepath.ToSlash(within)] = string(text)
		}
		if dir == root {
			return nil
		}
		if dir = filepath.Dir(dir); len(dir) < len(root) {
			return fmt.Errorf("a package lies outside of its module")
		}
	}
}

func printNotices(found map[string]map[string]string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("Quartermaster contains these works of others, under the licences that follow each name.\n")
	for _, module := range slices.Sorted(maps.Keys(found)) {
		if len(found[module]) == 0 {
			return nil, fmt.Errorf("%s has no licence file: whoever adds it must find out what may be done with it", module)
		}
		fmt.Fprintf(&out, "\n%s\n%s\n%s\n", strings.Repeat("=", 100), module, strings.Repeat("=", 100))
		for _, path := range slices.Sorted(maps.Keys(found[module])) {
			text := found[module][path]
			if notOurs.MatchString(text) {
				return nil, fmt.Errorf("%s: %s is a licence that cannot go into this program", module, path)
			}
			fmt.Fprintf(&out, "\n--- %s\n\n%s\n", path, strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n"))
		}
	}
	return out.Bytes(), nil
}
