package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"quartermaster/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var kekA, kekB = NewKEK([32]byte{1}), NewKEK([32]byte{2})

func open(t *testing.T, db *dbtest.DB, kek KEK) *Vault {
	t.Helper()
	v, err := Open(context.Background(), db.Pool, kek, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var here = RowID{Table: "management_keys", ID: uuid.MustParse("0191d000-0000-7000-8000-000000000001"), Field: "sealed", Version: 1}

func TestSealedValuesOpenAfterARestart(t *testing.T) {
	db := dbtest.New(t)
	before := open(t, db, kekA)
	sealed, err := before.Seal(ManagementKeys, here, []byte("the key"))
	if err != nil {
		t.Fatal(err)
	}
	hash := before.HashToken([]byte("token"))

	after := open(t, db, kekA)
	got, err := after.Open(ManagementKeys, here, sealed)
	if err != nil || string(got) != "the key" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if !bytes.Equal(after.HashToken([]byte("token")), hash) || len(hash) != 32 {
		t.Errorf("the hash of a token is another one after a restart, or not 32 bytes")
	}
	if bytes.Equal(after.HashToken([]byte("token2")), hash) {
		t.Error("two tokens have one hash")
	}
	again, err := after.Seal(ManagementKeys, here, []byte("the key"))
	if err != nil || bytes.Equal(again, sealed) {
		t.Errorf("sealing twice gives the same bytes (%v)", err)
	}
}

func TestTwoInstallationsHaveTheirOwnKeysets(t *testing.T) {
	a, b := open(t, dbtest.New(t), kekA), open(t, dbtest.New(t), kekA)
	sealed, err := a.Seal(ManagementKeys, here, []byte("the key"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Open(ManagementKeys, here, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("a value of another installation opens: %q, %v", got, err)
	}
	if bytes.Equal(a.HashToken([]byte("token")), b.HashToken([]byte("token"))) {
		t.Error("two installations hash alike")
	}
}

func TestAWrongKEKNamesTheOneItNeeds(t *testing.T) {
	db := dbtest.New(t)
	open(t, db, kekA)
	_, err := Open(context.Background(), db.Pool, kekB, nil)
	var wrong *WrongKEKError
	if !errors.As(err, &wrong) || wrong.Needs != kekA.Fingerprint() || wrong.Given != kekB.Fingerprint() || !strings.Contains(err.Error(), kekA.Fingerprint()) {
		t.Errorf("err = %v", err)
	}
	if _, err := Open(context.Background(), db.Pool, KEK{}, nil); err == nil {
		t.Error("the zero KEK opens")
	}
}

func TestAKeysetMovedToAnotherPurposeDoesNotOpen(t *testing.T) {
	db := dbtest.New(t)
	open(t, db, kekA)
	ctx := context.Background()
	owner := connect(t, db.OwnerURL)
	if _, err := owner.Exec(ctx, `UPDATE keysets SET wrapped = (SELECT wrapped FROM keysets WHERE purpose = $1) WHERE purpose = $2`, string(IDTokens), string(ManagementKeys)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, db.Pool, kekA, nil); !errors.Is(err, ErrSealed) {
		t.Errorf("err = %v, want ErrSealed", err)
	}
}

func TestManyStartsAtOnceMakeEachKeysetOnce(t *testing.T) {
	db := dbtest.New(t)
	var group sync.WaitGroup
	hashes := make([][]byte, 8)
	for i := range hashes {
		group.Go(func() {
			v, err := Open(context.Background(), db.Pool, kekA, nil)
			if err != nil {
				t.Error(err)
				return
			}
			hashes[i] = v.HashToken([]byte("token"))
		})
	}
	group.Wait()
	for i := range hashes {
		if !bytes.Equal(hashes[i], hashes[0]) {
			t.Errorf("start %d has another keyset than start 0", i)
		}
	}
	var n int
	if err := db.Pool.QueryRow(context.Background(), `SELECT count(*) FROM keysets`).Scan(&n); err != nil || n != 4 {
		t.Errorf("%d keysets (%v), want 4", n, err)
	}
}

func TestTheAppRoleCannotChangeKeysetsOrSealedKeys(t *testing.T) {
	db := dbtest.New(t)
	open(t, db, kekA)
	for _, sql := range []string{
		`UPDATE keysets SET wrapped = ''`, `DELETE FROM keysets`, `TRUNCATE keysets`,
		`UPDATE management_keys SET sealed = ''`, `UPDATE management_keys SET account_id = account_id`, `DELETE FROM management_keys`,
		`UPDATE accounts SET cloud_account_id = ''`, `TRUNCATE accounts CASCADE`,
	} {
		if _, err := db.Pool.Exec(context.Background(), sql); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
}

func TestValuesAreBoundToTheirPlace(t *testing.T) {
	v := testVault(t)
	sealed, err := v.Seal(ManagementKeys, here, []byte("the key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]RowID{
		"another row":     {here.Table, uuid.MustParse("0191d000-0000-7000-8000-000000000002"), here.Field, here.Version},
		"another table":   {"sessions", here.ID, here.Field, here.Version},
		"another field":   {here.Table, here.ID, "note", here.Version},
		"another version": {here.Table, here.ID, here.Field, 2},
		// The parts in another split: only lengths keep them apart.
		"shifted": {here.Table + here.ID.String()[:1], here.ID, here.Field, here.Version},
	} {
		if _, err := v.Open(ManagementKeys, at, sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("opens in %s: %v", name, err)
		}
	}
	if _, err := v.Open(IDTokens, here, sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("opens for another purpose: %v", err)
	}
	if _, err := v.Open("session tokens", here, sealed); err == nil {
		t.Error("the purpose that hashes opens")
	}
}

func TestAPlaceMustBeComplete(t *testing.T) {
	v := testVault(t)
	for _, at := range []RowID{{}, {Table: "t", Field: "f", Version: 1}, {Table: "t", ID: here.ID, Version: 1}, {ID: here.ID, Field: "f", Version: 1}, {Table: "t", ID: here.ID, Field: "f"}} {
		if _, err := v.Seal(ManagementKeys, at, []byte("x")); err == nil {
			t.Errorf("sealed for %+v", at)
		}
	}
}

func TestPartsAreUnambiguous(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {"\x00\x00\x00\x01a"}, {"", "a"}, {"a"}} {
		key := string(lengthPrefixed(parts...))
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q are the same bytes", parts, other)
		}
		seen[key] = parts
	}
}

// FuzzOpen: whatever is done to a sealed value, it does not open and nothing panics.
func FuzzOpen(f *testing.F) {
	v := testVault(f)
	sealed, err := v.Seal(ManagementKeys, here, []byte("canary"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), uint16(0), byte(0), uint8(0))
	f.Add(sealed, uint16(3), byte(0x80), uint8(1))
	f.Add(sealed[:5], uint16(0), byte(1), uint8(2))
	f.Fuzz(func(t *testing.T, other []byte, at uint16, flip byte, cut uint8) {
		if got, err := v.Open(ManagementKeys, here, other); err == nil && !bytes.Equal(other, sealed) {
			t.Fatalf("made-up bytes opened: %q", got)
		}
		flipped := bytes.Clone(sealed)
		flipped[int(at)%len(flipped)] ^= flip
		if _, err := v.Open(ManagementKeys, here, flipped); (err == nil) != (flip == 0) {
			t.Fatalf("bit flipped at %d: %v", int(at)%len(flipped), err)
		}
		short := sealed[:int(cut)%len(sealed)]
		if _, err := v.Open(ManagementKeys, here, short); err == nil {
			t.Fatalf("%d of %d bytes opened", len(short), len(sealed))
		}
	})
}

func TestParseKEK(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb}, 32) // its base64 has both special letters
	want := NewKEK([32]byte(key)).Fingerprint()
	folder := t.TempDir()
	file := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return "file://" + path
	}
	std, raw := base64.StdEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)
	for _, uri := range []string{
		"base64:" + std, "base64:" + raw, "BASE64:" + std,
		file("raw", key, 0o600), file("text", []byte(std+"\n"), 0o600), file("crlf", []byte(std+"\r\n"), 0o640), file("ro", []byte(raw), 0o400),
	} {
		kek, err := ParseKEK(uri)
		if err != nil || kek.Fingerprint() != want {
			t.Errorf("ParseKEK(%s) = %s, %v", uri, kek.Fingerprint(), err)
		}
	}
	for uri, words := range map[string]string{
		"": "must be", "plain": "must be", "env:KEY": "must be",
		"base64:":            "0 bytes",
		"base64:" + std[:40]: "30 bytes",
		"base64:" + base64.StdEncoding.EncodeToString(make([]byte, 33)): "33 bytes",
		"base64:!!!":                                  "not base64",
		"base64: " + std:                              "not base64",
		"file:relative":                               "absolute",
		"file://host/etc/kek":                         "absolute",
		"file:///nowhere/at/all":                      "opening",
		"file://" + folder:                            "not a regular file",
		file("open", key, 0o644):                      "chmod 600",
		file("world", key, 0o602):                     "chmod 600",
		file("short", key[:31], 0o600):                "not base64",
		file("two", []byte(std+"\n"+std+"\n"), 0o600): "not base64",
		"hcvault://vault/keys/x":                      "not built in yet",
		"aws-kms://arn:aws:kms:x":                     "not built in yet",
		"gcp-kms://projects/x":                        "not built in yet",
	} {
		kek, err := ParseKEK(uri)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("ParseKEK(%s) = %v, want words %q", uri, err, words)
		}
		if err != nil && (strings.Contains(err.Error(), std[:10]) || strings.Contains(err.Error(), raw[:10])) {
			t.Errorf("the error repeats the key: %v", err)
		}
		if kek.reveal != nil {
			t.Errorf("ParseKEK(%s) failed and gave a key", uri)
		}
	}
}

func TestAKEKNeverPrints(t *testing.T) {
	kek := NewKEK([32]byte([]byte("canary-canary-canary-canary-cana")))
	held := struct{ K KEK }{kek}
	var printed bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&printed, verb+verb, kek, held)
	}
	text, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(text)
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "kek", kek, "held", held)
	slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "kek", kek, "held", held)
	for _, form := range []string{"canary", fmt.Sprintf("%x", "canary"), fmt.Sprintf("%X", "canary"), "99 97 110 97 114 121", base64.StdEncoding.EncodeToString([]byte("canary"))} {
		if strings.Contains(printed.String(), form) {
			t.Errorf("the key prints as %q", form)
		}
	}
}

func FuzzParseKEK(f *testing.F) {
	f.Add("base64:AAAA")
	f.Add("file:///dev/null")
	f.Add("file://%00")
	f.Fuzz(func(t *testing.T, uri string) {
		if strings.HasPrefix(strings.ToLower(uri), "file:") {
			return // the fuzzer must not read this machine's files
		}
		kek, err := ParseKEK(uri)
		if (err == nil) != (len(kek.Fingerprint()) == 16) {
			t.Fatalf("fingerprint %q with error %v", kek.Fingerprint(), err)
		}
	})
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// testVault is a Vault without a database.
func testVault(t testing.TB) *Vault {
	t.Helper()
	v := &Vault{sealing: map[Purpose]tink.AEAD{}}
	for _, p := range []Purpose{ManagementKeys, IDTokens} {
		handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
		if err != nil {
			t.Fatal(err)
		}
		if v.sealing[p], err = aead.New(handle); err != nil {
			t.Fatal(err)
		}
	}
	return v
}
