package web

import "net/url"

// param is a parameter of an address.
type param struct{ name, value string }

// given are the parameters that have a value; those that say nothing are left out of addresses.
func given(params ...param) url.Values {
	v := url.Values{}
	for _, p := range params {
		if p.value != "" {
			v.Set(p.name, p.value)
		}
	}
	return v
}

func withQuery(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// pageLinks are the addresses of a listing's first page, none on it, and of the page that comes next, none
// on the last. at gives the address of the page after a place of the listing.
func pageLinks(after, next string, at func(after string) string) (first, following string) {
	if after != "" {
		first = at("")
	}
	if next != "" {
		following = at(next)
	}
	return first, following
}
