// Package bounded limits the functions that templates of others call: what makes a text or a list of any size has a largest result.
package bounded

import (
	"fmt"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// The largest results of one call.
const (
	MaxText = 32 << 20 // bytes
	maxList = 1 << 20  // items
	maxPad  = 1000     // blanks
)

// Bound replaces functions of a library of templates by those of the same names with limits.
func Bound(f map[string]any) {
	usual := sprig.GenericFuncMap()
	f["repeat"] = func(n int, s string) (string, error) {
		if n < 0 || len(s) > 0 && n > MaxText/len(s) {
			return "", fmt.Errorf("repeat: the result would have more than %d bytes", MaxText)
		}
		return strings.Repeat(s, n), nil
	}
	f["indent"] = indent
	f["nindent"] = func(n int, s string) (string, error) {
		out, err := indent(n, s)
		return "\n" + out, err
	}
	f["print"] = func(all ...any) (string, error) { return fmt.Sprint(all...), tooLong(all...) }
	f["println"] = func(all ...any) (string, error) { return fmt.Sprintln(all...), tooLong(all...) }
	f["printf"] = func(form string, all ...any) (string, error) {
		if err := tooLong(append([]any{form}, all...)...); err != nil {
			return "", err
		}
		return fmt.Sprintf(form, all...), nil
	}
	f["cat"] = func(all ...any) (string, error) {
		if err := tooLong(all...); err != nil {
			return "", err
		}
		return usual["cat"].(func(...any) string)(all...), nil
	}
	f["replace"] = func(old, new, s string) (string, error) {
		if strings.Count(s, old) > MaxText/(len(new)+1) {
			return "", fmt.Errorf("replace: the result would have more than %d bytes", MaxText)
		}
		return strings.ReplaceAll(s, old, new), nil
	}
	f["until"] = func(n int) ([]int, error) { return steps(0, n, sign(n)) }
	f["untilStep"] = steps
	f["seq"] = func(all ...int) (string, error) { return seq(usual, all) }
	f["concat"] = func(lists ...any) (any, error) {
		n := 0
		for _, l := range lists {
			if list, ok := l.([]any); ok {
				n += len(list)
			}
		}
		if n > maxList {
			return nil, fmt.Errorf("concat: the list would have more than %d items", maxList)
		}
		return usual["concat"].(func(...any) any)(lists...), nil
	}
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

func indent(n int, s string) (string, error) {
	if n < 0 || n > maxPad || strings.Count(s, "\n") > MaxText/(maxPad+1) && n > 0 {
		return "", fmt.Errorf("indent: 0 to %d blanks, and at most %d bytes", maxPad, MaxText)
	}
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

// tooLong is the error for texts that are too long together.
func tooLong(all ...any) error {
	n := 0
	for _, v := range all {
		if s, ok := v.(string); ok {
			n += len(s)
		}
	}
	if n > MaxText {
		return fmt.Errorf("the text would have more than %d bytes", MaxText)
	}
	return nil
}

// steps returns the numbers from one to before another.
func steps(from, to, step int) ([]int, error) {
	all := []int{}
	if step == 0 || to > from && step < 0 || to < from && step > 0 {
		return all, nil
	}
	for n := from; step > 0 && n < to || step < 0 && n > to; n += step {
		if len(all) == maxList {
			return nil, fmt.Errorf("the list would have more than %d items", maxList)
		}
		all = append(all, n)
	}
	return all, nil
}

// seq returns numbers as the program seq prints them.
func seq(usual map[string]any, all []int) (string, error) {
	from, to, step := 1, 1, 1
	switch len(all) {
	case 1:
		to = all[0]
	case 2:
		from, to = all[0], all[1]
	case 3:
		from, step, to = all[0], all[1], all[2]
	}
	if step != 0 && abs(to-from)/abs(step) > maxList {
		return "", fmt.Errorf("seq: more than %d numbers", maxList)
	}
	return usual["seq"].(func(...int) string)(all...), nil
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
