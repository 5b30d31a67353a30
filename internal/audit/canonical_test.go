package audit

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unicode"
)

// TestCanonicalIsTheLibrarys holds what is written directly equal to what jcs makes of it.
func TestCanonicalIsTheLibrarys(t *testing.T) {
	for r := range rune(0x3000) {
		sameAsLibrary(t, object{"v": string(r), "w": `"` + string(r) + `\`})
		sameAsLibrary(t, object{"a": 1, string(r): 2, "b": 3})
	}
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the values need to be varied, not secret
		sameAsLibrary(t, randomObject(r, 4))
	}
}

// TestCanonicalIsWrittenDirectly makes sure that ordinary events take the fast way, without which
// the comparison above would compare the library with itself.
func TestCanonicalIsWrittenDirectly(t *testing.T) {
	for name, test := range map[string]struct {
		value  any
		direct bool
	}{
		"text":                     {"a\u0000b\"é日👩", true},
		"numbers":                  {[]any{1, int64(maxExact), int64(-maxExact), uint64(maxExact), nil, true}, true},
		"objects":                  {object{"a": map[string]any{"b": []any{}}, "c": object{}}, true},
		"a number with a fraction": {1.5, false},
		"an integer out of range":  {int64(maxExact + 1), false},
		"an unsigned out of range": {uint64(maxExact + 1), false},
		"invalid UTF-8":            {"\xed\xa0\x80", false},
		"a name that is not ASCII": {object{"é": 1}, false},
		"deep within":              {[]any{object{"a": []any{0.5}}}, false},
	} {
		if _, ok := appendValue(nil, test.value); ok != test.direct {
			t.Errorf("%s: written directly is %v, want %v", name, ok, test.direct)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("", "a", int64(0), 0.0)
	f.Add("\xff\xed\xa0\x80", "\U0001f469\uffff", int64(math.MinInt64), 1e21)
	f.Add("\u2028\u2029\x7f\x1f<>&", "\x00\b\f\t\n\r\"\\/", int64(maxExact+1), -0.5)
	f.Fuzz(func(t *testing.T, s, key string, n int64, x float64) {
		//nolint:gosec // every bit pattern is wanted
		o := object{"s": s, "n": n, "i": int(n), "u": uint64(n), "list": []any{s, nil, n, object{s: key}}, "o": object{key: map[string]any{"b": s, "a": true}}}
		sameAsLibrary(t, o)
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			o["x"] = x
			sameAsLibrary(t, o)
		}
	})
}

func sameAsLibrary(t *testing.T, o object) {
	t.Helper()
	got, gotPanic := tried(canonical, o)
	want, wantPanic := tried(canonicalByLibrary, o)
	if !bytes.Equal(got, want) || gotPanic != wantPanic {
		t.Errorf("%#v:\n got %q (panics: %v)\nwant %q (panics: %v)", o, got, gotPanic, want, wantPanic)
	}
}

// tried tells a panic apart: the library refuses two names that are the same once invalid UTF-8 is replaced.
func tried(encode func(object) []byte, o object) (out []byte, panics bool) {
	defer func() { panics = recover() != nil }()
	return encode(o), false
}

func randomObject(r *rand.Rand, depth int) object {
	o := object{}
	for range r.IntN(6) {
		o[randomText(r)] = randomValue(r, depth-1)
	}
	return o
}

func randomValue(r *rand.Rand, depth int) any {
	switch kind := r.IntN(12); {
	case kind == 0:
		return nil
	case kind == 1:
		return r.IntN(2) == 0
	case kind == 2:
		return int(r.Int64()) >> r.IntN(64)
	case kind == 3:
		return int64(r.Uint64()) >> r.IntN(64) //nolint:gosec // every bit pattern is wanted
	case kind == 8:
		return r.Uint64() >> r.IntN(64)
	case kind == 4 && r.IntN(8) == 0:
		return r.NormFloat64()
	case kind == 5 && depth > 0:
		return randomObject(r, depth)
	case kind == 6 && depth > 0:
		return map[string]any(randomObject(r, depth))
	case kind == 7 && depth > 0:
		list := []any{}
		for range r.IntN(5) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	default:
		return randomText(r)
	}
}

func randomText(r *rand.Rand) string {
	var out []byte
	for range r.IntN(8) {
		switch r.IntN(12) {
		case 0:
			out = append(out, byte(r.IntN(' ')))
		case 1:
			out = fmt.Appendf(out, "%c", rune(r.IntN(unicode.MaxRune)))
		case 2:
			if r.IntN(10) == 0 {
				out = append(out, byte(0x80+r.IntN(0x80)))
			}
		default:
			out = append(out, byte(' '+r.IntN(95)))
		}
	}
	return string(out)
}

// TestHiddenIsAsTheTablesSay is about the short way for ASCII.
func TestHiddenIsAsTheTablesSay(t *testing.T) {
	for r := range rune(0x80) {
		if got, want := hidden(r), unicode.Is(unicode.Cc, r); got != want {
			t.Errorf("%q is hidden: %v, want %v", r, got, want)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := Event{
		Act: "cluster.update", Phase: PhaseSingle, Actor: Actor{Issuer: "https://login.example.com/realms/platform", Subject: "0001", Name: "Ada Example", Roles: []string{"operator"}},
		Account: Ref{ID: "acc-1", Name: "Production"}, Change: Change{"nodes": {1, 3}, "package": {"mx1", "mx2"}},
	}
	for b.Loop() {
		Encode(e)
	}
}
