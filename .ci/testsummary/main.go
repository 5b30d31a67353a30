// Command testsummary reads `go test -json` from its standard input. It prints what failed as it
// fails, then names the tests that were not run and why, then the lines with which go test closes
// each package. It ends with 1 when something failed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// notRun begins the reason of every skip that a reader must know of.
const notRun = "NOT RUN:"

// event is one line of test2json.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	FailedBuild string
}

type summary struct {
	out     io.Writer
	output  map[string][]string // by package and test
	skipped []string
	closing []string
	ran     int
	failed  bool
}

func main() {
	s := &summary{out: os.Stdout, output: map[string][]string{}}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(1)
	}
	s.close()
	if s.failed {
		os.Exit(1)
	}
}

func (s *summary) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the tests' output: %w", err)
		}
	}
}

func (s *summary) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		s.print(string(line)) // go itself: downloads, build failures of the tool chain
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		s.print(e.Output)
	case "build-fail":
		s.failed = true
	case "output":
		s.take(e, key)
	case "pass", "fail", "skip":
		s.end(e, key)
	}
}

// take keeps a line until it is known whether somebody needs it.
func (s *summary) take(e event, key string) {
	text := strings.TrimSpace(e.Output)
	if e.Test != "" {
		s.output[key] = append(s.output[key], e.Output)
		return
	}
	switch {
	case strings.HasPrefix(text, "ok "), strings.HasPrefix(text, "ok\t"), strings.HasPrefix(text, "FAIL\t"), strings.HasPrefix(text, "---"), strings.HasPrefix(text, "?"), strings.Contains(text, "[no test files]"):
		s.closing = append(s.closing, e.Output)
		s.print(e.Output)
	case text == "PASS" || text == "FAIL" || strings.HasPrefix(text, "coverage:") || text == "":
	default:
		s.print(e.Output) // panics, race reports, TestMain
	}
}

func (s *summary) end(e event, key string) {
	lines := s.output[key]
	delete(s.output, key)
	if e.Test == "" {
		s.failed = s.failed || e.Action == "fail"
		return
	}
	s.ran++
	switch e.Action {
	case "fail":
		s.failed = true
		for _, l := range lines {
			s.print(l)
		}
	case "skip":
		s.ran--
		s.skipped = append(s.skipped, e.Package+" "+e.Test+": "+reason(lines))
	}
}

// reason finds what a skipped test said.
func reason(lines []string) string {
	for _, l := range lines {
		if i := strings.Index(l, notRun); i >= 0 {
			return strings.TrimSpace(l[i+len(notRun):])
		}
	}
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "===") && !strings.HasPrefix(l, "---") {
			return l
		}
	}
	return "no reason given"
}

func (s *summary) close() {
	// What a killed test binary left without an end is what one needs most.
	for _, lines := range s.output {
		for _, l := range lines {
			s.print(l)
		}
	}
	s.print("\n")
	if len(s.skipped) == 0 {
		s.print("Every test was run.\n")
	} else {
		slices.Sort(s.skipped)
		s.print(fmt.Sprintf("NOT RUN (%d):\n", len(s.skipped)))
		for _, l := range s.skipped {
			s.print("  " + l + "\n")
		}
	}
	s.print(fmt.Sprintf("\n%d tests and subtests ran.\n", s.ran))
	for _, l := range s.closing {
		s.print(l)
	}
}

func (s *summary) print(text string) {
	if _, err := io.WriteString(s.out, text); err != nil {
		s.failed = true // nobody reads what is wrong
	}
}
