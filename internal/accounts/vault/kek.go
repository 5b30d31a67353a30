package vault

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// kekSize is the length of a key encryption key in bytes: AES-256.
const kekSize = 32

// KEK is the key that wraps the keysets. It prints as [redacted]; the bytes sit behind a function,
// where fmt and encoding/json do not reach. The zero KEK is refused by Open.
type KEK struct {
	reveal      func() []byte
	fingerprint string
}

// NewKEK returns the KEK of 32 random bytes.
func NewKEK(key [kekSize]byte) KEK {
	derived, err := hkdf.Key(sha256.New, key[:], nil, "quartermaster kek fingerprint v1", 8)
	if err != nil {
		panic("vault: hkdf of a fixed length: " + err.Error()) // only a length that is too great fails
	}
	kept := bytes.Clone(key[:])
	return KEK{reveal: func() []byte { return kept }, fingerprint: hex.EncodeToString(derived)}
}

// Fingerprint names the KEK in errors and in the database: 16 hexadecimal digits derived one way,
// of no use to find the key.
func (k KEK) Fingerprint() string { return k.fingerprint }

const redacted = "[redacted]"

func (KEK) String() string               { return redacted }
func (KEK) GoString() string             { return redacted }
func (KEK) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (KEK) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ParseKEK reads the key encryption key that a URI names:
//
//   - base64:... holds the 32 bytes themselves, in standard or URL-safe base64 with or without padding;
//   - file:///absolute/path is a file that holds them raw or as base64, with one line end at most.
//     A file that others than its owner and group may read is refused.
//
// Everything else is refused, hcvault://, aws-kms:// and gcp-kms:// with the plain word that they
// are not built in yet. No error repeats a key.
func ParseKEK(uri string) (KEK, error) {
	scheme, rest, found := strings.Cut(uri, ":")
	if !found {
		return KEK{}, errors.New("the key encryption key must be file:///path or base64:...")
	}
	switch strings.ToLower(scheme) {
	case "base64":
		key, err := decodeKEK([]byte(rest))
		if err != nil {
			return KEK{}, fmt.Errorf("base64: %w", err)
		}
		return NewKEK(key), nil
	case "file":
		return kekFromFile(uri)
	case "hcvault", "aws-kms", "gcp-kms":
		return KEK{}, fmt.Errorf("%s:// is not built in yet; use file:///path or base64:...", strings.ToLower(scheme))
	default:
		return KEK{}, errors.New("the key encryption key must be file:///path or base64:...")
	}
}

func kekFromFile(uri string) (KEK, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host != "" || u.RawQuery != "" || u.Fragment != "" || !filepath.IsAbs(u.Path) {
		return KEK{}, errors.New("a key file is named as file:///absolute/path")
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return KEK{}, fmt.Errorf("opening the key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return KEK{}, fmt.Errorf("reading the key file's mode: %w", err)
	}
	if !info.Mode().IsRegular() {
		return KEK{}, fmt.Errorf("%s is not a regular file", u.Path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return KEK{}, fmt.Errorf("%s is open to everyone on this machine (mode %04o): chmod 600 it", u.Path, info.Mode().Perm())
	}
	content, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return KEK{}, fmt.Errorf("reading the key file: %w", err)
	}
	if len(content) == kekSize {
		return NewKEK([kekSize]byte(content)), nil
	}
	key, err := decodeKEK(content)
	if err != nil {
		return KEK{}, fmt.Errorf("%s holds %d bytes and is no key (%w): it must hold %d bytes, or them as base64", u.Path, len(content), err, kekSize)
	}
	return NewKEK(key), nil
}

// decodeKEK reads 32 bytes written as base64. One line end may follow.
func decodeKEK(text []byte) ([kekSize]byte, error) {
	trimmed := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), "=")
	trimmed = strings.NewReplacer("-", "+", "_", "/").Replace(trimmed)
	key, err := base64.RawStdEncoding.Strict().DecodeString(trimmed)
	if err != nil {
		return [kekSize]byte{}, errors.New("not base64")
	}
	if len(key) != kekSize {
		return [kekSize]byte{}, fmt.Errorf("the key has %d bytes and must have %d", len(key), kekSize)
	}
	return [kekSize]byte(key), nil
}

// aead is the cipher that wraps keysets.
func (k KEK) aead() (*subtle.AESGCM, error) {
	if k.reveal == nil {
		return nil, errors.New("no key encryption key")
	}
	return subtle.NewAESGCM(k.reveal())
}
