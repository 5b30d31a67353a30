package main

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// crowd is people who work at the same time until its end. What goes wrong is noted: they are beside
// the test, and must not end it.
type crowd struct {
	stop   chan struct{}
	once   sync.Once
	people sync.WaitGroup
	failed struct {
		mu  sync.Mutex
		all []string
	}
}

// newCrowd is nobody yet. They stop before anything that was made for them ends, also when the test fails.
func newCrowd(t *testing.T) *crowd {
	c := &crowd{stop: make(chan struct{})}
	t.Cleanup(c.leave)
	return c
}

// leave has everybody stop, and waits for what they are at. It may be called twice.
func (c *crowd) leave() {
	c.once.Do(func() { close(c.stop) })
	c.people.Wait()
}

// end is leave, and tells what went wrong.
func (c *crowd) end(t *testing.T) {
	t.Helper()
	c.leave()
	if n := len(c.failed.all); n > 0 {
		t.Errorf("%d requests failed; the first of them:", n)
		for _, told := range c.failed.all[:min(n, 10)] {
			t.Error(told)
		}
	}
}

// fails notes what did not go as it must.
func (c *crowd) fails(format string, args ...any) {
	c.failed.mu.Lock()
	defer c.failed.mu.Unlock()
	c.failed.all = append(c.failed.all, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// works has somebody do something again and again until the end; n counts from 0.
func (c *crowd) works(do func(n int)) {
	c.people.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-c.stop:
				return
			case <-time.After(20 * time.Millisecond): // people think; and other processes need the machine
				do(n)
			}
		}
	})
}

// asks makes one request as a browser does, which sends no form again. It returns a page without a status when
// there is no whole answer.
func (c *crowd) asks(v *visitor, method, path string, form url.Values) page {
	request, err := v.request(method, path, form)
	if err != nil {
		c.fails("%v", err)
		return page{}
	}
	if method == http.MethodPost {
		request.GetBody = nil
	}
	got, err := v.send(request)
	if err != nil {
		c.fails("%s %s: %v", method, path, err)
	}
	return got
}
