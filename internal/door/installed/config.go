package installed

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
)

// configField is a value that the application asks for.
type configField struct {
	install.ConfigItem
	Index    int
	Kind     string // text, area, check or secret; "" for what is no value
	On       bool   // of check
	Set      bool   // of secret
	Shown    string // what the field has
	Inherits string // what counts without a value
}

// configView is the form with the values.
type configView struct {
	Fields []configField
	Seen   int64
	Busy   string
	Label  string // of the version that asks for them
}

// kindOf returns the kind of the field of a value.
func kindOf(item install.ConfigItem) string {
	switch item.Type {
	case "label", "heading", "file":
		return ""
	case "password":
		return "secret"
	case "bool":
		return "check"
	case "textarea":
		return "area"
	}
	return "text"
}

// isOn reports whether a text stands for a ticked box.
func isOn(text string) bool { return text == "1" || text == "true" }

// fields returns the values that a version asks for.
func fields(items []install.ConfigItem) (all []configField) {
	for i, item := range items {
		f := configField{ConfigItem: item, Index: i, Kind: kindOf(item), Inherits: item.Default, Shown: item.Value}
		f.On = isOn(item.Value) || item.Value == "" && isOn(item.Default)
		if f.Kind == "secret" {
			f.Set, f.Shown, f.Inherits = item.Value != "", "", ""
		}
		all = append(all, f)
	}
	return all
}

// configPage shows the values that the newest version asks for.
func (x *request) configPage() error {
	h, err := x.installation()
	if err != nil {
		return err
	}
	out := configView{Seen: -1, Busy: x.lookAt().busy()}
	if v, err := h.Version(-1); err == nil {
		out.Seen, out.Label = v.Sequence, v.Label
		if v.Status != install.PendingDownload {
			items, err := h.ConfigItems(v.Sequence)
			if err != nil {
				return err
			}
			out.Fields = fields(items)
		}
	}
	return x.render(http.StatusOK, "config", &view{Title: "Config", Section: "Config", Main: out})
}

// saveConfig sets the values that differ, which makes a version. The form names values by their place among those of the version that it
// was made for: of another version it is refused.
func (x *request) saveConfig() error {
	changed := map[string]string{}
	same := x.unchanged(newest)
	prepare := func(i *install.Installation) error {
		if err := same(i); err != nil {
			return err
		}
		items, err := i.ConfigItems(newest(i))
		if err != nil {
			return err
		}
		for _, f := range fields(items) {
			if value, ok := x.sent(f); ok {
				changed[f.Name] = value
			}
		}
		if len(changed) == 0 {
			return errSame
		}
		return nil
	}
	err := x.run(&job{title: "Change of the config", sequence: -1, to: "/"}, prepare,
		func(ctx context.Context, i *install.Installation) (string, bool, error) {
			if err := i.SetConfig(ctx, changed); err != nil {
				return "", false, err
			}
			return made(ctx, i)
		})
	if errors.Is(err, errSame) {
		x.say(flash{Text: "Nothing was changed."})
		return x.redirect("/config")
	}
	return err
}

var errSame = &problem{http.StatusBadRequest, "Nothing was changed", "the values are those that were set"}

// made says that a change has made a version, after a check of its images.
func made(ctx context.Context, i *install.Installation) (string, bool, error) {
	v, err := i.Version(-1)
	if err != nil {
		return "", false, err
	}
	bad := checkImages(ctx, i, []install.Version{v})
	return "Sequence " + number(v.Sequence) + " was made: deploy it to put the change into force.", bad > 0, nil
}

// sent returns the value of a field of the form, and whether it differs from the one that is set.
func (x *request) sent(f configField) (string, bool) {
	value := strings.ReplaceAll(x.form.Get("value-"+strconv.Itoa(f.Index)), "\r\n", "\n")
	switch f.Kind {
	case "":
		return "", false
	case "secret":
		if x.form.Get("clear-"+strconv.Itoa(f.Index)) != "" {
			return "", f.Set
		}
		return value, value != ""
	case "check":
		on := value != ""
		if on == f.On {
			return "", false
		}
		if on {
			return "1", true
		}
		return "0", true
	}
	return value, value != f.Shown
}

// expiry returns the end of the licence, zero for none, and whether it has come.
func expiry(h *install.History, now time.Time) (time.Time, bool) {
	end, err := h.License().Expiry()
	if err != nil || end.IsZero() {
		return time.Time{}, false
	}
	return end, !end.After(now)
}

// fact is something with its name.
type fact struct{ Name, Value string }

// licenceFields returns what the vendor has set for the customer, by name, without the fields that it hides.
func licenceFields(h *install.History) (all []fact) {
	values := h.License().Fields
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f := values[name]
		if f.Hidden || name == license.FieldExpiry {
			continue
		}
		all = append(all, fact{cmp.Or(f.Title, name), f.Value.String()})
	}
	return all
}

// licenceView is what the licence says, without what is secret in it.
type licenceView struct {
	Customer, Type, Slug, Endpoint, Proxy string
	Sequence                              int64
	Expires                               time.Time
	Expired                               bool
	Channels                              []string
	Fields                                []fact
	Changed                               []string // members that were edited after it was signed
	Offline                               bool
	Airgap                                bool
	Busy                                  string
}

// licencePage shows the licence.
func (x *request) licencePage() error {
	h, err := x.installation()
	if err != nil {
		return err
	}
	l := h.License()
	out := licenceView{Customer: l.CustomerName, Type: l.Type, Slug: l.AppSlug, Endpoint: l.Endpoint, Proxy: l.ProxyDomain,
		Sequence: l.Sequence,
		Changed:  l.Changed, Offline: h.Offline(), Airgap: l.Features.Airgap, Busy: x.lookAt().busy()}
	out.Expires, out.Expired = expiry(h, x.Now())
	for _, c := range l.Channels {
		out.Channels = append(out.Channels, c.Name)
	}
	out.Fields = licenceFields(h)
	return x.render(http.StatusOK, "licence", &view{Title: "Licence", Section: "Licence", Main: out})
}

// syncLicence takes the licence as the vendor has it now.
func (x *request) syncLicence() error {
	if x.form.Get("do") != "sync" {
		return errNothing
	}
	return x.run(&job{title: "Look at the licence", sequence: -1, to: "/licence"}, anything,
		func(ctx context.Context, i *install.Installation) (string, bool, error) {
			changed, err := i.SyncLicense(ctx)
			if err != nil {
				return "", false, err
			}
			if !changed {
				return "The licence has not changed.", false, nil
			}
			return made(ctx, i)
		})
}

// registryView is where images are pulled from.
type registryView struct {
	Own      *install.Registry
	Proxy    string
	Settings install.Settings
	Allowed  []netip.Prefix // private addresses of registries that are asked
}

// registryPage shows where images are pulled from.
func (x *request) registryPage() error {
	h, err := x.installation()
	if err != nil {
		return err
	}
	out := registryView{Own: h.Registry(), Proxy: h.License().ProxyDomain, Settings: h.Settings(), Allowed: x.Install.Egress.Allow}
	return x.render(http.StatusOK, "registry", &view{Title: "Registry", Section: "Registry", Main: out})
}
