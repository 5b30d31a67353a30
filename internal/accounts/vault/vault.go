// Package vault seals what the console must keep and nobody may read from the database: the
// management keys and the ID tokens. It also hashes session tokens with a key, and makes the message
// authentication codes without which a row of the rights counts for nothing.
//
// What is guaranteed: a sealed value opens only with its keyset, and only as the value it was
// sealed as. Purpose, table, row, field and version are bound to it as associated data, so one
// who can write to the database can delete a value or put an old one back into its own place, and
// cannot move one elsewhere. Keysets are wrapped with a key encryption key (KEK) that the database
// never sees; it is used once, at Open. Nothing here protects from one who has both the database
// and the KEK, or who reads the memory of the process.
package vault

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Purpose says what a keyset is for. A value sealed for one purpose does not open for another.
type Purpose string

// The purposes that seal.
const (
	ManagementKeys Purpose = "management keys"
	IDTokens       Purpose = "id tokens"
)

// The purposes of keysets that hash.
const (
	sessionTokens Purpose = "session tokens"
	rights        Purpose = "rights"
)

// hashSize is the length of a hash in bytes.
const hashSize = 32

// RowID is the place of a sealed value. All of it is bound to the value.
type RowID struct {
	Table   string
	ID      uuid.UUID
	Field   string
	Version int // of the value in that place, from 1
}

// ErrSealed is the error of a value that does not open: altered, cut, moved from another place,
// or sealed with another keyset. Which of them cannot be told.
var ErrSealed = errors.New("the sealed value does not open")

// WrongKEKError says that the keysets were wrapped with another KEK than the one given.
type WrongKEKError struct{ Needs, Given string }

func (e *WrongKEKError) Error() string {
	return fmt.Sprintf("the stored keysets need the key encryption key with fingerprint %s; the one given has %s", e.Needs, e.Given)
}

// Vault seals, opens and hashes. It is safe for concurrent use.
type Vault struct {
	sealing map[Purpose]tink.AEAD
	hashing *prf.Set
	signing *prf.Set
}

// openLock serialises the making of keysets among processes; the number is arbitrary and ours.
const openLock = 0x716d_7661_756c_74

// Open unwraps the keysets with the KEK, and makes and stores those that do not exist yet. Several
// processes may do so at once: each keyset is made once. A KEK that is not the one the keysets were
// wrapped with is *WrongKEKError.
//
// adopt runs in the transaction that makes the keyset of MAC, and never again: rows that were there
// before MACs were are believed once, and get theirs. It may be nil.
func Open(ctx context.Context, pool *pgxpool.Pool, kek KEK, adopt func(ctx context.Context, tx pgx.Tx, v *Vault) error) (*Vault, error) {
	wrapping, err := kek.aead()
	if err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	v := &Vault{sealing: map[Purpose]tink.AEAD{}}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(openLock)); err != nil {
			return fmt.Errorf("waiting for the keysets' lock: %w", err)
		}
		for _, p := range []Purpose{ManagementKeys, IDTokens} {
			handle, _, err := keysetFor(ctx, tx, p, wrapping, kek.fingerprint, aead.AES256GCMKeyTemplate())
			if err != nil {
				return err
			}
			if v.sealing[p], err = aead.New(handle); err != nil {
				return fmt.Errorf("keyset %q: %w", p, err)
			}
		}
		if v.hashing, _, err = prfFor(ctx, tx, sessionTokens, wrapping, kek.fingerprint); err != nil {
			return err
		}
		var made bool
		if v.signing, made, err = prfFor(ctx, tx, rights, wrapping, kek.fingerprint); err != nil || !made || adopt == nil {
			return err
		}
		return adopt(ctx, tx, v)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the vault: %w", err)
	}
	return v, nil
}

// prfFor is keysetFor for a keyset that hashes.
func prfFor(ctx context.Context, tx pgx.Tx, p Purpose, wrapping tink.AEAD, fingerprint string) (set *prf.Set, made bool, err error) {
	handle, made, err := keysetFor(ctx, tx, p, wrapping, fingerprint, prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, false, err
	}
	if set, err = prf.NewPRFSet(handle); err != nil {
		return nil, false, fmt.Errorf("keyset %q: %w", p, err)
	}
	return set, made, nil
}

// keysetFor reads one keyset, or makes it from the template when it does not exist.
func keysetFor(ctx context.Context, tx pgx.Tx, p Purpose, wrapping tink.AEAD, fingerprint string, template *tinkpb.KeyTemplate) (handle *keyset.Handle, made bool, err error) {
	bound := lengthPrefixed("quartermaster keyset v1", string(p))
	var wrapped []byte
	var needs string
	err = tx.QueryRow(ctx, `SELECT wrapped, kek FROM keysets WHERE purpose = $1`, string(p)).Scan(&wrapped, &needs)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		handle, err = newKeyset(ctx, tx, p, wrapping, fingerprint, template, bound)
		return handle, err == nil, err
	case err != nil:
		return nil, false, fmt.Errorf("reading keyset %q: %w", p, err)
	case needs != fingerprint:
		return nil, false, &WrongKEKError{Needs: needs, Given: fingerprint}
	}
	handle, err = keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), wrapping, bound)
	if err != nil {
		return nil, false, fmt.Errorf("unwrapping keyset %q: %w", p, ErrSealed)
	}
	return handle, false, nil
}

func newKeyset(ctx context.Context, tx pgx.Tx, p Purpose, wrapping tink.AEAD, fingerprint string, template *tinkpb.KeyTemplate, bound []byte) (*keyset.Handle, error) {
	handle, err := keyset.NewHandle(template)
	if err != nil {
		return nil, fmt.Errorf("making keyset %q: %w", p, err)
	}
	var wrapped bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&wrapped), wrapping, bound); err != nil {
		return nil, fmt.Errorf("wrapping keyset %q: %w", p, err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO keysets (purpose, wrapped, kek, created_at) VALUES ($1, $2, $3, $4)`,
		string(p), wrapped.Bytes(), fingerprint, time.Now().UTC()); err != nil {
		return nil, fmt.Errorf("storing keyset %q: %w", p, err)
	}
	return handle, nil
}

// Seal encrypts plaintext for the purpose, bound to its place. Sealing the same value twice gives
// different bytes.
func (v *Vault) Seal(p Purpose, at RowID, plaintext []byte) ([]byte, error) {
	cipher, ok := v.sealing[p]
	if !ok {
		return nil, fmt.Errorf("sealing: no keyset for %q", p)
	}
	if at.Table == "" || at.Field == "" || at.ID == uuid.Nil || at.Version < 1 {
		return nil, errors.New("sealing: the place of the value is incomplete")
	}
	sealed, err := cipher.Encrypt(plaintext, place(p, at))
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same purpose and place; everything else is ErrSealed.
func (v *Vault) Open(p Purpose, at RowID, sealed []byte) ([]byte, error) {
	cipher, ok := v.sealing[p]
	if !ok {
		return nil, fmt.Errorf("opening: no keyset for %q", p)
	}
	plaintext, err := cipher.Decrypt(sealed, place(p, at))
	if err != nil {
		return nil, ErrSealed // Tink's error tells no more and would only be repeated to people
	}
	return plaintext, nil
}

// HashToken returns the keyed hash of a token, 32 bytes. The same token gives the same hash as long
// as the keyset lives; without the keyset nothing can be told about a token from its hash.
func (v *Vault) HashToken(token []byte) []byte {
	hash, err := v.hashing.ComputePrimaryPRF(token, hashSize)
	if err != nil {
		panic("vault: hash of a fixed length: " + err.Error()) // only a length that is too great fails
	}
	return slices.Clone(hash)
}

// MAC returns the message authentication code, 32 bytes, of what a row says, bound to the row's place.
// Who can write to the database and has no KEK cannot make one.
func (v *Vault) MAC(at RowID, says []byte) []byte {
	mac, err := v.signing.ComputePrimaryPRF(append(place(rights, at), says...), hashSize)
	if err != nil {
		panic("vault: hash of a fixed length: " + err.Error()) // only a length that is too great fails
	}
	return slices.Clone(mac)
}

// Verify reports whether mac is the one of what a row says in this place.
func (v *Vault) Verify(at RowID, says, mac []byte) bool {
	return hmac.Equal(v.MAC(at, says), mac)
}

// place is the associated data of a value.
func place(p Purpose, at RowID) []byte {
	return lengthPrefixed("quartermaster value v1", string(p), at.Table, at.ID.String(), at.Field, fmt.Sprint(at.Version))
}

// lengthPrefixed joins the parts so that no two different lists give the same bytes.
func lengthPrefixed(parts ...string) []byte {
	var out []byte
	for _, part := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}

// NeededKEK returns the fingerprint of the KEK that the stored keysets were wrapped with; empty when
// there are none yet. It opens nothing.
func NeededKEK(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	var fingerprint string
	err := pool.QueryRow(ctx, `SELECT kek FROM keysets WHERE purpose = $1`, string(ManagementKeys)).Scan(&fingerprint)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading which key the keysets need: %w", err)
	}
	return fingerprint, nil
}
