// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Output follows what the job's program writes with kubectl bourse logs, as its buyer does, does something else meanwhile, and then prints it
// until it ends. Its last line must be the given one.
func (t *Teller) Output(ctx context.Context, lab *Lab, job *Job, last string, meanwhile func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	follow := lab.Bourse(ctx, buyer, "logs", job.Name, "-n", job.Namespace, "--follow")
	var why bytes.Buffer
	follow.Stderr = &why
	output, err := follow.StdoutPipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	if err := follow.Start(); err != nil {
		return fmt.Errorf("start kubectl bourse: %w", err)
	}
	if err := meanwhile(ctx); err != nil {
		cancel()
		return errors.Join(err, follow.Wait())
	}
	lines := make(chan string)
	go func() { // until the command has ended
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Title("The program's own output, as the buyer follows it")
	printed := t.print(ctx, lab, job, lines)
	err = follow.Wait()
	if printed == last {
		return nil // the pods may be gone before it is said that there is no more
	}
	if err != nil {
		return fmt.Errorf("follow the output of %s: %w: %s", job.Name, err, strings.TrimSpace(why.String()))
	}
	return fmt.Errorf("the output of %s ends with %q, want %q", job.Name, printed, last)
}

// print prints lines, and meanwhile what is new of their job. It returns the last of them.
func (t *Teller) print(ctx context.Context, lab *Lab, job *Job, lines <-chan string) (last string) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case line, more := <-lines:
			if !more {
				return last
			}
			fmt.Fprintf(t.out, "          | %s\n", line)
			last = line
		case <-tick.C:
			if err := t.Look(ctx, lab, job); err != nil {
				t.Say("could not look at %s: %v", job.Name, err) // the next look may succeed; what is waited for has its own limit
			}
		}
	}
}
