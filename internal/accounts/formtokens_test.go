package accounts

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// post does what a form's post does with its token: make something once.
func post(ctx context.Context, r *rig, by audit.Actor, act, token, makes string) (made string, err error) {
	err = pgx.BeginFunc(ctx, r.db.Pool, func(tx pgx.Tx) error {
		already, err := r.svc.useFormToken(ctx, tx, by, act, token)
		if err != nil || already != "" {
			made = already
			return err
		}
		made = makes
		return r.svc.finishFormToken(ctx, tx, token, makes)
	})
	return made, err
}

func wantFormRefused(t *testing.T, err error) {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.Fields["form_token"] == "" {
		t.Errorf("%v, want *InvalidError at form_token", err)
	}
}

func TestFormTokenWorksOnce(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	token, err := r.svc.FormToken(t.Context(), by, "account.create")
	if err != nil {
		t.Fatal(err)
	}
	var posts sync.WaitGroup
	results := make(chan string, 8)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		posts.Go(func() {
			made, err := post(within(t), r, by, "account.create", token, name)
			if err != nil {
				t.Error(err)
			}
			results <- made
		})
	}
	posts.Wait()
	first := <-results
	for range 7 {
		if next := <-results; next != first || first == "" {
			t.Errorf("two posts made %q and %q", first, next)
		}
	}
}

func TestFormTokenOfAPostThatFailedWorksAgain(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	token, err := r.svc.FormToken(t.Context(), by, "account.create")
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("the post failed")
	err = pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
		if _, err := r.svc.useFormToken(t.Context(), tx, by, "account.create", token); err != nil {
			return err
		}
		if err := r.svc.finishFormToken(t.Context(), tx, token, "x"); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if made, err := post(t.Context(), r, by, "account.create", token, "y"); err != nil || made != "y" {
		t.Errorf("%q, %v, want y", made, err)
	}
}

func TestFormTokenIsBoundToSessionActAndTime(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	_, again := signIn(t, r, vera())
	token, err := r.svc.FormToken(t.Context(), by, "account.create")
	if err != nil {
		t.Fatal(err)
	}
	session, _ := signIn(t, r, vera())
	for name, try := range map[string]struct {
		by         audit.Actor
		act, token string
	}{
		"another session of the member": {again, "account.create", token},
		"another act":                   {by, "cluster.delete", token},
		"a session token":               {by, "account.create", session},
		"empty":                         {by, "account.create", ""},
		"nonsense":                      {by, "account.create", "\x00'"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := post(t.Context(), r, try.by, try.act, try.token, "x")
			wantFormRefused(t, err)
		})
	}
	r.clock.advance(formTokenLife + time.Second)
	_, err = post(t.Context(), r, by, "account.create", token, "x")
	wantFormRefused(t, err)
}

func TestOpenFormsAreBounded(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	var last string
	for range maxOpenForms + 20 {
		r.clock.advance(time.Second)
		var err error
		if last, err = r.svc.FormToken(t.Context(), by, "account.create"); err != nil {
			t.Fatal(err)
		}
	}
	if n := value[int](t, r, `SELECT count(*) FROM form_tokens`); n != maxOpenForms {
		t.Errorf("%d open forms, want %d", n, maxOpenForms)
	}
	if _, err := post(t.Context(), r, by, "account.create", last, "x"); err != nil {
		t.Error(err)
	}
}
