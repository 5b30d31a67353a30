package devenv

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// binaryFolders are where distributions put the server's programs, which are often not in PATH.
func binaryFolders() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                   // the Postgres project's packages for Red Hat
		"/usr/lib64/pgsql/bin",               // SUSE
		"/opt/homebrew/opt/postgresql@*/bin", // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// findBinaries gives the folder with postgres and initdb: PATH first, else the highest version
// in the distributions' folders. fs.ErrNotExist when there is none.
func findBinaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		// The other programs and the server's files lie beside the real one.
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		if hasBinaries(filepath.Dir(path)) {
			return filepath.Dir(path), nil
		}
	}
	return newestBinaries(binaryFolders())
}

func newestBinaries(patterns []string) (string, error) {
	var found []string
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return "", fmt.Errorf("looking for Postgres: %w", err)
		}
		for _, dir := range matches {
			if hasBinaries(dir) {
				found = append(found, dir)
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("looking for Postgres: %w", fs.ErrNotExist)
	}
	return slices.MaxFunc(found, func(a, b string) int { return versionIn(a) - versionIn(b) }), nil
}

func hasBinaries(dir string) bool {
	for _, name := range []string{"postgres", "initdb"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// versionIn is the major version in the folder above the programs, such as 17 or pgsql-17.
func versionIn(dir string) int {
	digits := strings.FieldsFunc(filepath.Base(filepath.Dir(dir)), func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, err := strconv.Atoi(digits[0])
	if err != nil {
		return 0
	}
	return n
}

// fetchBinaries downloads a server built for this system and gives the folder of its programs.
func fetchBinaries(into string) (string, error) {
	bin := filepath.Join(into, "bin")
	if hasBinaries(bin) {
		return bin, nil
	}
	scratch, err := os.MkdirTemp("", "quartermaster-postgres-fetch-")
	if err != nil {
		return "", fmt.Errorf("fetching Postgres: %w", err)
	}
	defer os.RemoveAll(scratch)
	port, err := usablePort(0)
	if err != nil {
		return "", err
	}
	// The library has no call that only downloads. Its Start does so first; what comes after is
	// refused to root and not needed by anybody else, so only the binaries are looked at.
	embedded := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Port(uint32(port)).BinariesPath(into).CachePath(filepath.Join(scratch, "cache")).
		RuntimePath(filepath.Join(scratch, "run")).Logger(io.Discard))
	startErr := embedded.Start()
	if startErr == nil {
		if err := embedded.Stop(); err != nil {
			return "", fmt.Errorf("fetching Postgres: %w", err)
		}
	}
	if hasBinaries(bin) {
		return bin, nil
	}
	return "", fmt.Errorf("no Postgres is installed and none could be fetched (%w): install it (apt-get install postgresql, dnf install postgresql-server, brew install postgresql@17) and start again", startErr)
}

// BinariesVersion is what the installed server says of its version, empty when none is
// installed. Data folders of different versions do not fit each other.
func BinariesVersion(ctx context.Context) string {
	dir, err := findBinaries()
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	return dir + " " + strings.TrimSpace(string(out))
}
