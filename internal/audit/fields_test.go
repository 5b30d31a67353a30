package audit

import (
	"reflect"
	"strings"
	"testing"
)

// TestFieldsAreThoseOfTheBody fails when a field is added to the body and not to the list of fields,
// from which the export's columns and the documentation come.
func TestFieldsAreThoseOfTheBody(t *testing.T) {
	listed := map[string]bool{}
	for _, f := range Fields() {
		if listed[f.Name] || f.Type == "" || f.Meaning == "" || f.text == nil {
			t.Errorf("%s is listed twice or by half", f.Name)
		}
		listed[f.Name] = true
	}
	var walk func(of reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if inner := of.Field(i).Type; inner.Kind() == reflect.Struct && inner.Name() == "" {
				walk(inner, name+".")
				continue
			}
			if !listed[prefix+name] {
				t.Errorf("the body has %s, which is not listed", prefix+name)
			}
			delete(listed, prefix+name)
		}
	}
	walk(reflect.TypeFor[wire](), "")
	for name := range listed {
		t.Errorf("%s is listed, and the body has no such field", name)
	}
}
