package web

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// curlCommand is a line for bash or zsh that tries a key against a cluster's endpoint. It asks for the
// key, so that the key is in no history, and hands it to curl through a pipe, so that it is in no list
// of processes. Of what upstream told only host and port get into the line, and only where the endpoint
// is https and its host is of letters, digits, dots and hyphens; otherwise there is no line.
func curlCommand(endpoint string, port int) string {
	address, ok := ordinaryAddress(endpoint, port)
	if !ok {
		return ""
	}
	return `printf 'Key: ' && read -rs QDRANT_API_KEY && printf 'api-key: %s\n' "$QDRANT_API_KEY" | curl --header @- '` + address + `/collections'; unset QDRANT_API_KEY`
}

// ordinaryAddress is the endpoint without anything that a shell could take for more than letters.
func ordinaryAddress(endpoint string, port int) (string, bool) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return "", false
	}
	host := u.Hostname()
	if !isOrdinaryHost(host) {
		return "", false
	}
	if told, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || told < 1 || told > 65535) {
		return "", false
	} else if port == 0 {
		port = told
	}
	if port < 0 || port > 65535 {
		return "", false
	}
	if port == 0 {
		return "https://" + host, true
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port)), true
}

func isOrdinaryHost(host string) bool {
	if host == "" || len(host) > 253 || strings.HasPrefix(host, "-") || strings.HasPrefix(host, ".") {
		return false
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.'
	})
}
