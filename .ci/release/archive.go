package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// file is one file of an archive.
type file struct {
	name    string // with slashes, below the archive's one folder
	content []byte
	mode    int64
}

// shipped are the paths of this repository that go into every archive besides the program: what texts link to, without
// the pictures.
var shipped = []string{"LICENSE", "README.md", "SECURITY.md", "CONTRIBUTING.md", ":(glob)docs/**/*.md", "deploy"}

// commonFiles reads what every archive holds, as far as it is in the repository.
func commonFiles(ctx context.Context) ([]file, error) {
	listed, err := command(ctx, nil, "git", append([]string{"ls-files", "-z", "--"}, shipped...)...)
	if err != nil {
		return nil, fmt.Errorf("asking git for the files to ship: %w", err)
	}
	var files []file
	for _, path := range strings.Split(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		mode := int64(0o644) // whatever the umask of the clone was
		if info.Mode().Perm()&0o100 != 0 {
			mode = 0o755
		}
		files = append(files, file{name: filepath.ToSlash(path), content: content, mode: mode})
	}
	return files, nil
}

// archive writes a tar.gz with one folder of the same name.
func (r *release) archive(folder string, files []file) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	var packed bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // its header names no time and no file
	if err != nil {
		return err
	}
	tarred := tar.NewWriter(compressed)
	made := map[string]bool{}
	header := func(h tar.Header) error {
		h.ModTime, h.Format = r.at, tar.FormatUSTAR // USTAR has no times but this one; owners are 0 and nameless
		return tarred.WriteHeader(&h)
	}
	for _, f := range files {
		full := path.Join(folder, f.name)
		for _, dir := range foldersOf(full) {
			if made[dir] {
				continue
			}
			made[dir] = true
			if err := header(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
		if err := header(tar.Header{Typeflag: tar.TypeReg, Name: full, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return err
		}
		if _, err := tarred.Write(f.content); err != nil {
			return err
		}
	}
	if err := tarred.Close(); err != nil {
		return err
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, folder+".tar.gz"), packed.Bytes(), 0o644)
}

// foldersOf lists the folders above a path, outermost first.
func foldersOf(name string) []string {
	var folders []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		folders = append([]string{dir}, folders...)
	}
	return folders
}
