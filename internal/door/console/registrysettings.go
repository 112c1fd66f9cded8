package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// registrySettingRows are the pages of what holds for a whole registry.
var registrySettingRows = []row{
	{method: "GET", path: "{account}/{region}/registry-settings", serve: (*request).registrySettingsPage},
	{method: "POST", path: "{account}/{region}/registry-settings", serve: (*request).onRegistrySettings},
	{method: "GET", path: "{account}/{region}/scanning", serve: (*request).scanningPage},
	{method: "POST", path: "{account}/{region}/scanning", serve: (*request).onScanning},
}

// accountSetting is a setting of PutAccountSetting.
type accountSetting struct {
	Name, Title, Effect, Default string
	Values                       []option
	Value                        string
	Denied                       *trouble
}

// accountSettings are the settings of ECR, in the order of the page.
var accountSettings = []accountSetting{
	{Name: "REGISTRY_POLICY_SCOPE", Title: "What the registry policy may say", Default: "V2",
		Effect: "V2: it may have any action of ECR. V1: only replication and pull-through.", Values: choices("", "", "V2", "V1")},
	{Name: "BLOB_MOUNTING", Title: "Layers from other repositories",
		Default: "ENABLED, or DISABLED where the operator runs ecrin strictly as ECR",
		Effect:  "A push takes a layer that another repository of the registry has without sending it again, where the pusher may pull there.",
		Values:  choices("", "", "ENABLED", "DISABLED")},
	{Name: "BASIC_SCAN_TYPE_VERSION", Title: "Engine of basic scanning", Default: "AWS_NATIVE",
		Effect: "None here: no images are scanned. ECR has this one value.", Values: choices("", "", "AWS_NATIVE")},
}

// quotaRow is a quota that is in force.
type quotaRow struct{ Prefix, Repositories, Images, Bytes string }

// registrySettingsView is what holds for a whole registry.
type registrySettingsView struct {
	To         string
	Other      string // another account, whose registry has its settings for its own principals only; "" if not
	Policy     editor
	Denied     *trouble
	None       bool   // there is no policy
	Was        string // its tag, for the form
	Statements []statementRow
	Change     []diffLine
	Settings   []accountSetting
	Excluded   []string
	NoExcluded *trouble
	Exclude    string // of a form that was refused
	Pager      pager
	Quotas     []quotaRow
	NoQuotas   *trouble
	Wrong      *trouble
	Rights     map[string]right
}

// registrySettingActions are what can be changed.
var registrySettingActions = []string{"ecr:PutRegistryPolicy", "ecr:DeleteRegistryPolicy", "ecr:PutAccountSetting",
	"ecr:RegisterPullTimeUpdateExclusion", "ecr:DeregisterPullTimeUpdateExclusion"}

func (x *request) registrySettingsPage() error {
	return x.showRegistrySettings(http.StatusOK, registrySettingsView{}, nil)
}

// showRegistrySettings shows the page; text is that of the editor, nil for the policy in force.
func (x *request) showRegistrySettings(status int, v registrySettingsView, text *string) error {
	v.To = x.base() + "/registry-settings"
	if x.account != x.session.Caller.Account {
		v.Other = x.account.String()
	}
	saved, err := x.registryPolicy(&v)
	if err != nil {
		return err
	}
	shown := indented(saved)
	if text != nil {
		shown = *text
	}
	if v.Was = policy.Hash(saved); v.Denied != nil {
		v.Was = unseen
	}
	var d *policy.Document
	var problems []problem
	if strings.TrimSpace(shown) != "" {
		d, problems = checkPolicy(shown, policy.Registry, name.Registry{Account: x.session.Caller.Account, Region: x.region})
	}
	v.Policy = newEditor("Registry policy, JSON", shown, problems)
	if d != nil {
		v.Statements = statementsOf(d, shown)
	}
	if err := x.accountSettings(&v); err != nil {
		return err
	}
	out, err := do[ecrtypes.ListPullTimeUpdateExclusionsResponse](x, "ecr", "ListPullTimeUpdateExclusions",
		&ecrtypes.ListPullTimeUpdateExclusionsRequest{NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	if v.NoExcluded, err = x.part(err); err != nil {
		return err
	}
	if out != nil {
		v.Excluded = out.PullTimeUpdateExclusions
		v.Pager = x.pagerOf(many(int64(len(v.Excluded)), "principal", "principals")+", by ARN", out.NextToken)
	}
	if err := x.quotas(&v); err != nil {
		return err
	}
	if v.Rights, err = x.may("", registrySettingActions...); err != nil {
		return err
	}
	return x.render(status, "registrysettings", &view{Title: "Registry settings", Section: "registry-settings", Main: v})
}

// registryPolicy returns the policy of the registry in force; "" for none, or if the person may not read it.
func (x *request) registryPolicy(v *registrySettingsView) (string, error) {
	out, err := do[ecrtypes.GetRegistryPolicyResponse](x, "ecr", "GetRegistryPolicy", &ecrtypes.GetRegistryPolicyRequest{})
	if errors.Is(err, fault.RegistryPolicyNotFound) {
		v.None = true
		return "", nil
	}
	if v.Denied, err = x.part(err); err != nil || v.Denied != nil || out.PolicyText == nil {
		return "", err
	}
	return *out.PolicyText, nil
}

// accountSettings adds the settings with their values.
func (x *request) accountSettings(v *registrySettingsView) error {
	v.Settings = slices.Clone(accountSettings)
	for i := range v.Settings {
		s := &v.Settings[i]
		out, err := do[ecrtypes.GetAccountSettingResponse](x, "ecr", "GetAccountSetting", &ecrtypes.GetAccountSettingRequest{Name: s.Name})
		if s.Denied, err = x.part(err); err != nil {
			return err
		}
		if out != nil {
			s.Value = out.Value
		}
		s.Values = slices.Clone(s.Values)
		for j := range s.Values {
			s.Values[j].On = s.Values[j].Value == s.Value
		}
	}
	return nil
}

// quotas adds the quotas of the account.
func (x *request) quotas(v *registrySettingsView) error {
	out, err := do[ecrintypes.DescribeQuotasResponse](x, "ecrin", "DescribeQuotas", &ecrintypes.DescribeQuotasRequest{
		AccountId: x.account.String()})
	if v.NoQuotas, err = x.part(err); err != nil || out == nil {
		return err
	}
	of := func(used int64, most *int64, text func(int64) string) string {
		if most == nil {
			return text(used) + ", no limit"
		}
		return text(used) + " of " + text(*most)
	}
	for _, q := range out.Quotas {
		v.Quotas = append(v.Quotas, quotaRow{Prefix: q.Prefix, Repositories: of(q.Repositories, q.MaxRepositories, count),
			Images: of(q.Images, q.MaxImages, count), Bytes: of(q.Bytes, q.MaxBytes, size)})
	}
	return nil
}

// onRegistrySettings checks, saves or deletes the registry policy, sets a setting, or changes who is excluded.
func (x *request) onRegistrySettings() error {
	text, v := formText(x.form.Get("text")), registrySettingsView{}
	to, principal := x.base()+"/registry-settings", x.value("principal")
	if x.account != x.session.Caller.Account {
		v.Wrong = x.troubleOf(fault.InvalidParameter.New("the settings of a registry are set by its own account: switch to a role of it"))
		return x.showRegistrySettings(http.StatusBadRequest, v, nil)
	}
	var err error
	said, edited := "", &text
	switch x.form.Get("do") {
	case "check":
		return x.showRegistrySettings(http.StatusOK, v, edited)
	case "preview":
		saved, err := x.registryPolicy(&v)
		if err != nil {
			return err
		}
		v.Change = diff(indented(saved), indented(text))
		return x.showRegistrySettings(http.StatusOK, v, edited)
	case "save":
		said = "The registry policy was saved."
		err = replace(x, x.form.Get("was"), "ecr", "PutRegistryPolicy", &ecrtypes.PutRegistryPolicyRequest{PolicyText: text})
	case "delete":
		said = "The registry policy was deleted."
		err = replace(x, x.form.Get("was"), "ecr", "DeleteRegistryPolicy", &ecrtypes.DeleteRegistryPolicyRequest{})
	case "set":
		said, edited = "The setting was saved.", nil
		err = act(x, "ecr", "PutAccountSetting", &ecrtypes.PutAccountSettingRequest{Name: x.form.Get("name"), Value: x.form.Get("value")})
	case "exclude":
		said, edited, v.Exclude = "The pulls of "+shown(principal)+" are no uses of images any more.", nil, principal
		err = act(x, "ecr", "RegisterPullTimeUpdateExclusion", &ecrtypes.RegisterPullTimeUpdateExclusionRequest{PrincipalArn: principal})
	case "include":
		said, edited = "The pulls of "+shown(principal)+" are uses of images again.", nil
		err = act(x, "ecr", "DeregisterPullTimeUpdateExclusion", &ecrtypes.DeregisterPullTimeUpdateExclusionRequest{PrincipalArn: principal})
	default:
		err, edited = errNothing, nil
	}
	if err == nil {
		return x.done(to, said)
	}
	if errors.Is(err, errChanged) {
		saved, wrong := x.registryPolicy(&v)
		if wrong != nil {
			return wrong
		}
		v.Change = diff(indented(saved), indented(text))
	}
	v.Wrong = x.troubleOf(err)
	return x.showRegistrySettings(x.status(err), v, edited)
}

// scanningView is when images of a registry are to be scanned.
type scanningView struct {
	To, Other string
	Type      string
	Rules     []ecrtypes.RegistryScanningRule
	OnPush    string // the filters of the form, one a line
	Manual    string
	Denied    *trouble
	Wrong     *trouble
	Put       right
}

func (x *request) scanningPage() error { return x.showScanning(http.StatusOK, scanningView{}) }

func (x *request) showScanning(status int, v scanningView) error {
	v.To = x.base() + "/scanning"
	if x.account != x.session.Caller.Account {
		v.Other = x.account.String()
	}
	out, err := do[ecrtypes.GetRegistryScanningConfigurationResponse](x, "ecr", "GetRegistryScanningConfiguration",
		&ecrtypes.GetRegistryScanningConfigurationRequest{})
	if v.Denied, err = x.part(err); err != nil {
		return err
	}
	if out != nil && out.ScanningConfiguration != nil {
		v.Type, v.Rules = string(out.ScanningConfiguration.ScanType), out.ScanningConfiguration.Rules
	}
	if x.r.Method == http.MethodPost {
		v.OnPush, v.Manual = x.form.Get("on-push"), x.form.Get("manual")
	} else {
		for _, r := range v.Rules {
			var filters []string
			for _, f := range r.RepositoryFilters {
				filters = append(filters, f.Filter)
			}
			if r.ScanFrequency == ecrtypes.ScanFrequencySCAN_ON_PUSH {
				v.OnPush = strings.Join(filters, "\n")
			} else {
				v.Manual = strings.Join(filters, "\n")
			}
		}
	}
	rights, err := x.may("", "ecr:PutRegistryScanningConfiguration")
	if err != nil {
		return err
	}
	v.Put = rights["ecr:PutRegistryScanningConfiguration"]
	return x.render(status, "scanning", &view{Title: "Scanning", Section: "scanning", Main: v})
}

// onScanning stores the scanning configuration.
func (x *request) onScanning() error {
	if x.form.Get("do") != "save" {
		return errNothing
	}
	err := error(fault.InvalidParameter.New("the settings of a registry are set by its own account: switch to a role of it"))
	if x.account == x.session.Caller.Account {
		in := ecrtypes.PutRegistryScanningConfigurationRequest{ScanType: ecrtypes.ScanTypeBASIC, Rules: []ecrtypes.RegistryScanningRule{}}
		for _, of := range []struct {
			frequency ecrtypes.ScanFrequency
			filters   []string
		}{{ecrtypes.ScanFrequencySCAN_ON_PUSH, filledLines(x.form.Get("on-push"))}, {ecrtypes.ScanFrequencyMANUAL,
			filledLines(x.form.Get("manual"))}} {
			rule := ecrtypes.RegistryScanningRule{ScanFrequency: of.frequency}
			for _, f := range of.filters {
				rule.RepositoryFilters = append(rule.RepositoryFilters, ecrtypes.ScanningRepositoryFilter{Filter: f,
					FilterType: ecrtypes.ScanningRepositoryFilterTypeWILDCARD})
			}
			if len(rule.RepositoryFilters) > 0 {
				in.Rules = append(in.Rules, rule)
			}
		}
		if err = act(x, "ecr", "PutRegistryScanningConfiguration", &in); err == nil {
			return x.done(x.base()+"/scanning", "The scanning configuration was saved. No images are scanned by it.")
		}
	}
	return x.showScanning(x.status(err), scanningView{Wrong: x.troubleOf(err)})
}
