package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/cloudapi"
)

type sampleForm struct {
	Name    string          `form:"name"`
	Many    []string        `form:"many"`
	Yes     bool            `form:"yes"`
	Count   int             `form:"count"`
	Key     cloudapi.Secret `form:"key"`
	ID      string          // control fields have no tag, so that no client can set them
	Enabled bool
}

func bind(t *testing.T, target, contentType, body string) (sampleForm, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var form sampleForm
	err := bindForm(echo.New().NewContext(r, w), &form)
	return form, err
}

const urlencoded = "application/x-www-form-urlencoded"

func TestBindForm(t *testing.T) {
	got, err := bind(t, "/?name=from-query&ID=q", urlencoded+"; charset=utf-8",
		"name=a+b&many=x&many=y&yes=on&count=-3&key=canary-key&ID=1&Enabled=true&enabled=true&NAME=upper&other=z")
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Key.Reveal()) != "canary-key" || strings.Contains(fmt.Sprintf("%+v", got), "canary") {
		t.Errorf("key %q; printed %+v", got.Key.Reveal(), got)
	}
	got.Key = cloudapi.Secret{}
	want := sampleForm{Name: "a b", Many: []string{"x", "y"}, Yes: true, Count: -3}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b cloudapi.Secret) bool { return a.IsZero() && b.IsZero() })); diff != "" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
}

func TestBindFormRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		contentType, body string
		status            int
	}{
		"twice":           {urlencoded, "name=a&name=b", 400},
		"secret twice":    {urlencoded, "key=a&key=b", 400},
		"no number":       {urlencoded, "count=1e3", 400},
		"too large":       {urlencoded, "count=99999999999999999999", 400},
		"neither yes no":  {urlencoded, "yes=maybe", 400},
		"not UTF-8":       {urlencoded, "name=%ff", 400},
		"NUL":             {urlencoded, "name=a%00b", 400},
		"bad escape":      {urlencoded, "name=%zz&key=canary-key", 400},
		"JSON":            {"application/json", `{"name":"a"}`, 415},
		"plain text":      {"text/plain", "name=a", 415},
		"multipart":       {"multipart/form-data; boundary=x", "--x--", 415},
		"no content type": {"", "name=a", 415},
		"over 1 MiB":      {urlencoded, "name=" + strings.Repeat("a", maxBody), 413},
	} {
		_, err := bind(t, "/", tt.contentType, tt.body)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if p := explain(err); p.status != tt.status {
			t.Errorf("%s: %d, want %d", name, p.status, tt.status)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes a secret: %v", name, err)
		}
	}
}

func TestBindFormOfAnUnknownTypeIsOurFault(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("when=now"))
	r.Header.Set("Content-Type", urlencoded)
	var form struct {
		When struct{} `form:"when"`
	}
	err := bindForm(echo.New().NewContext(r, httptest.NewRecorder()), &form)
	if _, ok := errors.AsType[*problem](err); ok || err == nil {
		t.Errorf("error %v, want one that becomes a 500", err)
	}
}

func TestBindQuery(t *testing.T) {
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/?name=a&many=x&many=y&utm=1", nil), httptest.NewRecorder())
	var form sampleForm
	if err := bindQuery(c, &form); err != nil || form.Name != "a" || len(form.Many) != 2 {
		t.Errorf("%+v, %v", form.Name, err)
	}
	c = echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/?name=a&name=b", nil), httptest.NewRecorder())
	if err := bindQuery(c, &form); err == nil {
		t.Error("a field sent twice was accepted")
	}
}
