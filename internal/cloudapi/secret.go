package cloudapi

import "log/slog"

const redacted = "[redacted]"

// Secret holds the bytes of a management key. It prints as [redacted] through fmt in every verb,
// slog, encoding/json and encoding.TextMarshaler, also from inside another struct: the bytes sit
// behind a function, where reflection does not reach. Comparing two Secrets does not compile.
type Secret struct {
	reveal func() []byte
}

// NewSecret keeps a copy of b.
func NewSecret(b []byte) Secret {
	kept := append([]byte(nil), b...)
	return Secret{reveal: func() []byte { return kept }}
}

// Reveal returns the bytes. It is called where a request is signed and where a key is sealed,
// and nowhere else; a test counts the call sites of this package.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.reveal == nil || len(s.reveal()) == 0 }

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
