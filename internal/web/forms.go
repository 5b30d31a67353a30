package web

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

// bindForm fills the fields of the struct that form points to from the request's body, and from
// nothing else: not from the query, not from the path. Only fields with a `form` tag are set, by
// their exact name; what the body holds beyond them is ignored. Field types are string, *string (nil
// when the field was not sent), []string, bool, int and cloudapi.Secret. A field that is sent twice
// (but []string), a number that is none, text that is not UTF-8 or holds NUL is a 400; another content type is 415, a body over 1 MiB 413.
func bindForm[T any](c echo.Context, form *T) error {
	r := c.Request()
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return echo.NewHTTPError(http.StatusUnsupportedMediaType)
	}
	if err := r.ParseForm(); err != nil {
		if _, tooBig := errors.AsType[*http.MaxBytesError](err); tooBig {
			return echo.NewHTTPError(http.StatusRequestEntityTooLarge)
		}
		// Without the cause: it may quote what was typed into a secret field.
		return badForm("the form is not spelt as one")
	}
	fields := reflect.ValueOf(form).Elem()
	c.Set(keyTyped, typedOf(r.PostForm, fields))
	return bindValues(r.PostForm, fields)
}

// bindQuery fills a struct from the query in the same way, for forms that are sent with GET.
func bindQuery[T any](c echo.Context, form *T) error {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return badForm("the query is not spelt as one")
	}
	return bindValues(values, reflect.ValueOf(form).Elem())
}

func badForm(why string) error {
	return &problem{status: http.StatusBadRequest, heading: "That form cannot be read", detail: "Go back, reload the page and try again.", cause: errors.New(why)}
}

func bindValues(values url.Values, form reflect.Value) error {
	for i := range form.NumField() {
		name := form.Type().Field(i).Tag.Get("form")
		if name == "" {
			continue
		}
		sent := values[name]
		if len(sent) == 0 {
			continue
		}
		for _, v := range sent {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return badForm("field " + name + " is not text")
			}
		}
		if err := bindField(form.Field(i), name, sent); err != nil {
			return err
		}
	}
	return nil
}

func bindField(field reflect.Value, name string, sent []string) error {
	if list, ok := field.Addr().Interface().(*[]string); ok {
		*list = sent
		return nil
	}
	if len(sent) > 1 {
		return badForm("field " + name + " was sent more than once")
	}
	switch p := field.Addr().Interface().(type) {
	case *string:
		*p = sent[0]
	case **string:
		*p = &sent[0]
	case *cloudapi.Secret:
		*p = cloudapi.NewSecret([]byte(sent[0]))
	case *bool:
		b, ok := parseYes(sent[0])
		if !ok {
			return badForm("field " + name + " is neither yes nor no")
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(sent[0])
		if err != nil {
			return badForm("field " + name + " is no number")
		}
		*p = n
	default:
		return fmt.Errorf("bind form: field %s has type %s, which forms do not have", name, field.Type())
	}
	return nil
}

// parseYes reads a checkbox or a yes-or-no choice.
func parseYes(v string) (value, ok bool) {
	switch v {
	case "on", "yes", "true":
		return true, true
	case "", "off", "no", "false":
		return false, true
	}
	return false, false
}

// freshToken replaces the token of a form that is shown again when it is too old, so that sending it again
// works, and puts that with what to do in the place of what is wrong with the token.
func (s *Server) freshToken(c echo.Context, act accounts.Act, token string, invalid map[string]string, todo string) (string, error) {
	if invalid["form_token"] == "" {
		return token, nil
	}
	delete(invalid, "form_token")
	invalid[""] = "This form was too old, so it was not sent on. It is fresh now: " + todo
	token, err := s.accounts.FormToken(c.Request().Context(), actorFrom(c), act.Name)
	if err != nil {
		return "", fmt.Errorf("make form token: %w", err)
	}
	return token, nil
}
