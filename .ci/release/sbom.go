package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// billOfMaterials is the CycloneDX document of a built program: the modules that are linked into
// it, as cyclonedx-gomod reads them out of the program, and the vendored npm packages. It is
// compared with the program's own list before it is given out.
func (r *release) billOfMaterials(ctx context.Context, binary string) ([]byte, error) {
	out, err := command(ctx, nil, r.sbomTool, "bin", "-json", "-noserial", "-notimestamp", "-std", "-version", r.version, binary)
	if err != nil {
		return nil, err
	}
	var bill map[string]any
	if err := json.Unmarshal(out, &bill); err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	metadata, _ := bill["metadata"].(map[string]any)
	main, _ := metadata["component"].(map[string]any)
	components, _ := bill["components"].([]any)
	tools, _ := metadata["tools"].([]any)
	if main == nil || components == nil || tools == nil {
		return nil, fmt.Errorf("%s wrote a document of another form", r.sbomTool)
	}
	for _, tool := range tools {
		// The tool was built on this machine, and its hash differs from that on another one.
		delete(tool.(map[string]any), "hashes")
	}
	main["licenses"] = []any{licence("Apache-2.0")}
	if err := compareModules(binary, components); err != nil {
		return nil, err
	}
	packages, err := npmComponents()
	if err != nil {
		return nil, err
	}
	bill["components"] = append(components, packages...)
	dependencies, _ := bill["dependencies"].([]any)
	for _, d := range dependencies {
		if d := d.(map[string]any); d["ref"] == main["bom-ref"] {
			on, _ := d["dependsOn"].([]any)
			for _, p := range packages {
				on = append(on, p.(map[string]any)["bom-ref"])
			}
			d["dependsOn"] = on
		}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text) // members of objects come out sorted
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(bill)
	return text.Bytes(), err
}

func licence(id string) any { return map[string]any{"license": map[string]any{"id": id}} }

// compareModules fails when the document and the program do not name the same modules.
func compareModules(binary string, components []any) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("reading what the program consists of: %w", err)
	}
	linked := map[string]bool{"std@" + strings.Fields(info.GoVersion)[0]: true}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		linked[m.Path+"@"+m.Version] = true
	}
	for _, c := range components {
		c, _ := c.(map[string]any)
		key := fmt.Sprintf("%v@%v", c["name"], c["version"])
		if !linked[key] {
			return fmt.Errorf("it names %s, which is not linked", key)
		}
		delete(linked, key)
	}
	if len(linked) > 0 {
		return fmt.Errorf("it leaves out %v", slices.Sorted(maps.Keys(linked)))
	}
	return nil
}

// vendoredPackages are the npm packages whose work is in static/assets.
var vendoredPackages = []string{"daisyui", "htmx.org", "tailwindcss"}

// spdx maps what a package calls its licence to what the list of SPDX calls it.
var spdx = map[string]string{"BSD-0-Clause": "0BSD"}

// npmComponents describes the vendored packages from the lock file they were installed by.
func npmComponents() ([]any, error) {
	content, err := os.ReadFile("static/package-lock.json")
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity, License string }
	}
	if err := json.Unmarshal(content, &lock); err != nil {
		return nil, fmt.Errorf("reading static/package-lock.json: %w", err)
	}
	var components []any
	for _, name := range vendoredPackages {
		p, ok := lock.Packages["node_modules/"+name]
		hash, isSHA512 := strings.CutPrefix(p.Integrity, "sha512-")
		sum, err := base64.StdEncoding.DecodeString(hash)
		if !ok || !isSHA512 || err != nil || p.License == "" {
			return nil, fmt.Errorf("static/package-lock.json does not tell version, licence and hash of %s", name)
		}
		purl := "pkg:npm/" + name + "@" + p.Version
		components = append(components, map[string]any{
			"bom-ref": purl, "purl": purl, "type": "library", "name": name, "version": p.Version, "scope": "required",
			"hashes":   []any{map[string]any{"alg": "SHA-512", "content": hex.EncodeToString(sum)}},
			"licenses": []any{licence(cmp.Or(spdx[p.License], p.License))},
		})
	}
	return components, nil
}
