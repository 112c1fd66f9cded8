package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// requestCase is a request with the verdict that it must get. An empty action is a pull, an empty resource is team/web
// of the owner. keys are the condition keys, as words KEY=VALUE, or KEY=[VALUE,VALUE] for a list; ~ stands for a blank.
type requestCase struct {
	caller, action, resource, keys string
	want                           policy.Verdict
}

func (a requestCase) request(t *testing.T) *policy.Request {
	t.Helper()
	r := pullRequest(t, a.caller)
	if a.action != "" {
		r.Action = a.action
	}
	if a.resource != "" {
		r.Resource = a.resource
	}
	for _, word := range strings.Fields(a.keys) {
		key, value, ok := strings.Cut(strings.ReplaceAll(word, "~", " "), "=")
		if !ok {
			t.Fatalf("%q is not KEY=VALUE", word)
		}
		if list, ok := strings.CutPrefix(value, "["); ok {
			r.Context.SetList(key, strings.Split(strings.TrimSuffix(list, "]"), ",")...)
		} else {
			r.Context.Set(key, value)
		}
	}
	return r
}

// decide compares the verdicts on the requests with those that they must get.
func (x texts) decide(t *testing.T, requests ...requestCase) {
	t.Helper()
	p := x.compile(t)
	for _, a := range requests {
		if got := policy.Evaluate(p, a.request(t)); got.Verdict != a.want {
			t.Errorf("%+v: got %s by %q, want %s", a, got.Verdict, got.Layer, a.want)
		}
	}
}

// allow returns a statement of an identity policy; actions is JSON.
func allow(actions, resource, condition string) string {
	s := `{"Effect":"Allow","Action":` + actions + `,"Resource":"` + resource + `"`
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return s + "}"
}

// Contract 5.1: the actions that have no repository, so that only the resource * allows them. All other actions have
// one.
func TestContract51ActionsWithoutRepository(t *testing.T) {
	t.Parallel()
	without := strings.Fields(`GetAuthorizationToken CreatePullThroughCacheRule UpdatePullThroughCacheRule
		DeletePullThroughCacheRule DescribePullThroughCacheRules ValidatePullThroughCacheRule CreateRepositoryCreationTemplate
		UpdateRepositoryCreationTemplate DeleteRepositoryCreationTemplate DescribeRepositoryCreationTemplates DescribeRegistry
		GetRegistryPolicy PutRegistryPolicy DeleteRegistryPolicy GetRegistryScanningConfiguration
		PutRegistryScanningConfiguration PutReplicationConfiguration GetSigningConfiguration PutSigningConfiguration
		DeleteSigningConfiguration RegisterPullTimeUpdateExclusion DeregisterPullTimeUpdateExclusion
		ListPullTimeUpdateExclusions GetAccountSetting PutAccountSetting StartReplicationBackfill StopReplicationBackfill
		ListReplicationBackfills DescribeReplicationBackfillResults`)
	const onRepositories = "arn:aws:ecr:*:*:repository/*"
	for _, action := range policy.Actions() {
		d, err := policy.Parse(`{"Statement":`+allow(`"`+action+`"`, onRepositories, "")+`}`, policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		warned := slices.ContainsFunc(policy.Warnings(d, name.Registry{}), func(w policy.Warning) bool { return w.Code == policy.WarnResource })
		if want := slices.Contains(without, strings.TrimPrefix(action, "ecr:")); warned != want {
			t.Errorf("%s on %s: warned that it has no repository is %v, want %v", action, onRepositories, warned, want)
		}
	}
	for _, action := range without {
		if !slices.Contains(policy.Actions(), "ecr:"+action) {
			t.Errorf("ecr:%s is missing", action)
		}
		texts{identity: allow(`"ecr:*"`, onRepositories, "")}.decide(t, requestCase{alice, "ecr:" + action, "*", "", implicit})
		texts{identity: allow(`"ecr:*"`, "*", "")}.decide(t, requestCase{alice, "ecr:" + action, "*", "", allowed})
	}
}

// Contract 5.1: the name in a resource may contain wildcards, which do not match beyond a part of the ARN; repository/*
// matches every repository.
func TestContract51Names(t *testing.T) {
	t.Parallel()
	const prefix = "arn:aws:ecr:eu-west-1:111111111111:repository/"
	for pattern, want := range map[string]string{ // the repositories that the pattern matches
		"*": "web team/web team/webs team/a/web", "team/*": "team/web team/webs team/a/web", "team/???": "team/web",
		"*/web": "team/web team/a/web", "team/web?": "team/webs", "web": "web", "*web": "web team/web team/a/web",
	} {
		for _, repository := range []string{"web", "team/web", "team/webs", "team/a/web"} {
			verdict := implicit
			if slices.Contains(strings.Fields(want), repository) {
				verdict = allowed
			}
			texts{identity: allow(`"ecr:*"`, prefix+pattern, "")}.decide(t, requestCase{alice, "", prefix + repository, "", verdict},
				requestCase{alice, "", strings.Replace(prefix, "eu-west-1", "eu-west-2", 1) + repository, "", implicit})
		}
	}
}

// Contract 5.1: the condition keys of ECR, and the global condition keys of every request.
func TestContract51ConditionKeys(t *testing.T) {
	t.Parallel()
	const always = "aws:PrincipalArn=" + alice + " aws:PrincipalAccount=" + owner + " aws:PrincipalType=User aws:userid=AIDA1 " +
		"aws:SourceIp=203.0.113.7 aws:SecureTransport=true aws:CurrentTime=2026-11-01T10:00:00Z aws:RequestedRegion=eu-west-1 " +
		"aws:UserAgent=docker/28.1 aws:ResourceAccount=" + owner + " aws:username=alice "
	for condition, test := range map[string]struct{ holds, fails string }{
		`{"StringEquals":{"aws:ResourceTag/env":"prod"}}`: {"aws:ResourceTag/env=prod", "aws:ResourceTag/env=Prod"},
		`{"StringEquals":{"ecr:ResourceTag/env":"prod"}}`: {"ecr:ResourceTag/env=prod", "aws:ResourceTag/env=prod"},
		`{"StringEquals":{"ecr:ResourceTag/Cost Center":"7"}}`: {"ecr:ResourceTag/cost~center=7",
			"ecr:ResourceTag/CostCenter=7"},
		`{"StringEquals":{"aws:RequestTag/env":["dev","test"]}}`:       {"aws:RequestTag/env=test", ""},
		`{"ForAllValues:StringEquals":{"aws:TagKeys":["env","team"]}}`: {"aws:TagKeys=[team]", "aws:TagKeys=[team,x]"},
		`{"ForAnyValue:StringEquals":{"aws:TagKeys":"env"}}`:           {"aws:TagKeys=[team,env]", "aws:TagKeys=[team]"},
		`{"StringEquals":{"ecr:AccountSetting":"REGISTRY_POLICY_SCOPE"}}`: {
			"ecr:AccountSetting=REGISTRY_POLICY_SCOPE", "ecr:AccountSetting=BLOB_MOUNTING"},
		`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111111111111:user/eng/*"}}`: {"", "aws:PrincipalArn=" + bobARN},
		`{"StringEquals":{"aws:PrincipalAccount":"111111111111"}}`:                {"", "aws:PrincipalAccount=" + other},
		`{"StringEquals":{"aws:ResourceAccount":"${aws:PrincipalAccount}"}}`:      {"", "aws:ResourceAccount=" + other},
		`{"StringEquals":{"aws:PrincipalType":"User"}}`:                           {"", "aws:PrincipalType=AssumedRole"},
		`{"StringLike":{"aws:userid":"AIDA*"}}`:                                   {"", "aws:userid=AROA1:s1"},
		`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`:                         {"", "aws:SourceIp=198.51.100.7"},
		`{"Bool":{"aws:SecureTransport":"true"}}`:                                 {"", "aws:SecureTransport=false"},
		`{"DateLessThan":{"aws:CurrentTime":"2026-11-01T10:00:01Z"}}`:             {"", "aws:CurrentTime=2026-11-01T10:00:01Z"},
		`{"NumericGreaterThanEquals":{"aws:EpochTime":"1793527200"}}`:             {"", "aws:CurrentTime=2026-11-01T09:59:59Z"},
		`{"StringEquals":{"aws:RequestedRegion":["eu-west-1","eu-central-1"]}}`:   {"", "aws:RequestedRegion=us-east-1"},
		`{"StringLike":{"aws:UserAgent":"docker/*"}}`:                             {"", "aws:UserAgent=curl/8"},
		`{"StringEquals":{"aws:username":"alice"}}`:                               {"", "aws:username=bob"},
		`{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-1/r-1/ou-1/*"}}`: {
			"aws:PrincipalOrgPaths=[o-1/r-1/ou-1/ou-2/]", "aws:PrincipalOrgPaths=[o-1/r-1/ou-3/]"},
		`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"},"Null":{"aws:SourceVpc":true}}`: {"", "aws:SourceVpc=vpc-1"},
	} {
		texts{identity: allow(`"ecr:*"`, "*", condition)}.decide(t,
			requestCase{alice, "", "", always + test.holds, allowed}, requestCase{alice, "", "", always + test.fails, implicit})
	}
}

// Contract 5.2: the guide's sets of actions for pushing and pulling allow that, and nothing else.
func TestContract52GuideSets(t *testing.T) {
	t.Parallel()
	quoted := func(actions []string) string { return `["` + strings.Join(actions, `","`) + `"]` }
	token := allow(`"ecr:GetAuthorizationToken"`, "*", "")
	sets := map[string][]string{
		"pusher": policy.PushActions(), "puller": {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
		"node": {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
	}
	for who, set := range sets {
		x := texts{identity: token + "," + allow(quoted(set), webARN, "")}
		x.decide(t, requestCase{alice, "ecr:GetAuthorizationToken", "*", "", allowed})
		for _, action := range policy.Actions() {
			if action == "ecr:GetAuthorizationToken" {
				continue
			}
			want := implicit
			if slices.Contains(set, action) {
				want = allowed
			}
			if got := policy.Evaluate(x.compile(t), requestCase{caller: alice, action: action}.request(t)); got.Verdict != want {
				t.Errorf("%s of a %s: got %s, want %s", action, who, got.Verdict, want)
			}
			x.decide(t, requestCase{alice, action, webARN + "2", "", implicit})
		}
	}
}

// Contract 5.3: the rows that depend on more than the kind of the principal. TestEvaluate has the others.
func TestContract53(t *testing.T) {
	t.Parallel()
	const sourceIP = `"Condition":{"NotIpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:db8::/32"]}},"Action"`
	byService := strings.Replace(pullBy("Allow", `{"Service":"lambda.amazonaws.com"}`), `"Action"`,
		`"Condition":{"StringLike":{"aws:SourceArn":"arn:aws:lambda:eu-west-1:222222222222:function:*"},"StringEquals":{"aws:SourceAccount":"222222222222"}},"Action"`, 1)
	everyoneAsRole := strings.Replace(pullBy("Allow", `"*"`), `"Action"`, `"Condition":{"ArnEquals":{"aws:PrincipalArn":"`+
		role+`"}},"Action"`, 1)
	denyAll := `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`
	foreignUser := "arn:aws:iam::222222222222:user/carol"
	const isRole = "aws:PrincipalArn=" + role
	for what, test := range map[string]struct {
		p        texts
		requests []requestCase
	}{
		"everyone, narrowed to a role, passes the boundary": {texts{repository: everyoneAsRole, boundary: listOnly}, []requestCase{
			{caller: session, keys: isRole, want: allowed}, {caller: session, keys: isRole + "2",
				want: implicit}, {caller: session, want: implicit}}},
		"and the session policy": {texts{repository: everyoneAsRole, session: listOnly},
			[]requestCase{{caller: session, keys: isRole, want: allowed}}},
		"deny from outside a range": {texts{identity: pull,
			repository: strings.Replace(pullBy("Deny", `"*"`), `"Action"`, sourceIP, 1)}, []requestCase{
			{caller: alice, keys: "aws:SourceIp=203.0.113.255", want: allowed}, {caller: alice, keys: "aws:SourceIp=203.0.114.0", want: explicit},
			{caller: alice, keys: "aws:SourceIp=::ffff:203.0.113.7", want: allowed}, {caller: alice,
				keys: "aws:SourceIp=2001:db8::1", want: allowed},
			{caller: alice, keys: "aws:SourceIp=2001:db9::1", want: explicit}, {caller: alice, keys: "aws:VpcSourceIp=203.0.113.7", want: explicit},
			{caller: root, keys: "aws:SourceIp=198.51.100.1", want: explicit}}},
		"service with conditions": {texts{repository: byService}, []requestCase{
			{caller: "lambda.amazonaws.com",
				keys: "aws:SourceAccount=222222222222 aws:SourceArn=arn:aws:lambda:eu-west-1:222222222222:function:f", want: allowed},
			{caller: "lambda.amazonaws.com",
				keys: "aws:SourceAccount=222222222222 aws:SourceArn=arn:aws:lambda:us-east-1:222222222222:function:f", want: implicit},
			{caller: "lambda.amazonaws.com",
				keys: "aws:SourceAccount=333333333333 aws:SourceArn=arn:aws:lambda:eu-west-1:222222222222:function:f", want: implicit},
			{caller: "lambda.amazonaws.com", want: implicit}, {caller: "codebuild.amazonaws.com", want: implicit}, {caller: alice, want: implicit}}},
		"a foreign user that is named": {texts{identity: pull, repository: pullBy("Allow", aws(foreignUser))}, []requestCase{
			{caller: foreignUser, want: allowed}, {caller: foreign,
				want: implicit}, {caller: "arn:aws:iam::333333333333:user/carol", want: implicit}}},
		"a foreign user, its own deny": {texts{identity: pull, boundary: noPull,
			repository: pullBy("Allow", aws(foreignUser))}, []requestCase{{caller: foreignUser, want: explicit}}},
		"a foreign user, the org's SCP": {texts{identity: pull, scp: []string{listOnly},
			repository: pullBy("Allow", aws(foreignUser))}, []requestCase{{caller: foreignUser, want: implicit}}},
		"the owner's RCP binds others": {texts{identity: pull, rcp: []string{denyAll}, repository: pullBy("Allow", `"*"`)},
			[]requestCase{{caller: foreignUser, want: explicit}, {caller: foreign, want: explicit}}},
		"root under an RCP": {texts{rcp: []string{denyAll}}, []requestCase{{caller: root, want: explicit}}},
		"root under an SCP that denies": {texts{scp: []string{allow(`"*"`, "*", "") + "," + noPull}},
			[]requestCase{{caller: root, want: explicit}, {caller: root, action: "ecr:PutImage", want: allowed}}},
		"an SCP allows, a lower denies": {texts{identity: pull,
			scp: []string{allow(`"*"`, "*", ""), allow(`"*"`, "*", "") + "," + noPull}}, []requestCase{{caller: alice, want: explicit}}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			test.p.decide(t, test.requests...)
		})
	}
}

// Contract 5.3, first row: a deny in any layer wins over every allow, for each kind of caller that the layer applies
// to.
func TestContract53AnyDenyWins(t *testing.T) {
	t.Parallel()
	all := allow(`"*"`, "*", "")
	rcp := `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`
	deny := func(s string) string { return s + "," + strings.Replace(s, "Allow", "Deny", 1) }
	everything := func() texts {
		return texts{identity: all, boundary: all, session: all, repository: pullBy("Allow", `"*"`),
			registry: pullBy("Allow", `"*"`), scp: []string{all, all}, rcp: []string{rcp, rcp}}
	}
	for layer, change := range map[string]func(*texts){
		"identity": func(x *texts) { x.identity = deny(all) }, "boundary": func(x *texts) { x.boundary = deny(all) },
		"session": func(x *texts) { x.session = deny(all) }, "repository": func(x *texts) { x.repository = deny(pullBy("Allow", `"*"`)) },
		"registry": func(x *texts) { x.registry = deny(pullBy("Allow", `"*"`)) }, "first SCP": func(x *texts) { x.scp[0] = deny(all) },
		"last SCP": func(x *texts) {
			x.scp[1] = deny(all)
		}, "first RCP": func(x *texts) { x.rcp[0] = deny(rcp) }, "last RCP": func(x *texts) { x.rcp[1] = deny(rcp) },
	} {
		for _, caller := range []string{alice, session, fed, foreign} {
			everything().decide(t, requestCase{caller: caller, want: allowed})
			x := everything()
			change(&x)
			if got := policy.Evaluate(x.compile(t), requestCase{caller: caller}.request(t)); got.Verdict != explicit {
				t.Errorf("%s, denied by the %s: got %s, want %s", caller, layer, got.Verdict, explicit)
			}
		}
	}
}

// Contract 5.4: several principals in one statement are alternatives, in any form and in any member.
func TestContract54Arrays(t *testing.T) {
	t.Parallel()
	x := texts{identity: pull, repository: pullBy("Allow",
		`{"Service":["ecs.amazonaws.com","lambda.amazonaws.com"],"AWS":["333333333333","`+foreigns+`"]}`)}
	x.decide(t,
		requestCase{caller: "lambda.amazonaws.com", want: allowed}, requestCase{caller: "ecs.amazonaws.com",
			want: allowed}, requestCase{caller: "eks.amazonaws.com", want: implicit},
		requestCase{caller: foreign, want: allowed}, requestCase{caller: "arn:aws:iam::333333333333:user/x",
			want: allowed}, requestCase{caller: "arn:aws:iam::222222222222:user/x", want: implicit},
		requestCase{caller: "arn:aws:sts::222222222222:assumed-role/nodes/i-1", want: implicit}, requestCase{caller: "anonymous", want: implicit})
}

// Contract 5.5: a returned policy has its elements in ECR's order, whatever their order was when it was set.
func TestContract55Order(t *testing.T) {
	t.Parallel()
	const text = `{"Statement":[{"Condition":{"Bool":{"aws:SecureTransport":"true"}},"Resource":"*","Action":["ecr:B*","ecr:A*"],
		"Principal":{"Service":"lambda.amazonaws.com","AWS":["222222222222"]},"Effect":"Allow","Sid":"a b"}],"Id":"x","Version":"2008-10-17"}`
	const want = `{
  "Version" : "2008-10-17",
  "Id" : "x",
  "Statement" : [ {
    "Sid" : "a b",
    "Effect" : "Allow",
    "Principal" : {
      "Service" : "lambda.amazonaws.com",
      "AWS" : [ "222222222222" ]
    },
    "Action" : [ "ecr:B*", "ecr:A*" ],
    "Resource" : "*",
    "Condition" : {
      "Bool" : {
        "aws:SecureTransport" : "true"
      }
    }
  } ]
}`
	if diff := cmp.Diff(want, mustParse(t, text).String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Contract 5.5: a repository policy without Resource, or with *, applies to its repository; with another repository as
// Resource it applies to none. A registry policy applies to the repositories that it names.
func TestContract55Resource(t *testing.T) {
	t.Parallel()
	const mine, others = `"Resource":"arn:aws:ecr:eu-west-1:111111111111:repository/team/*"`,
		`"Resource":"arn:aws:ecr:eu-west-1:111111111111:repository/prod/*"`
	for resource, want := range map[string]policy.Verdict{"": allowed, `"Resource":"*",`: allowed, mine + ",": allowed,
		others + ",": implicit} {
		texts{repository: strings.Replace(pullBy("Allow", aws(alice)), `"Action"`, resource+`"Action"`, 1)}.decide(t,
			requestCase{caller: alice, want: want})
	}
	for resource, want := range map[string]policy.Verdict{`"Resource":"*"`: allowed, mine: allowed, others: implicit} {
		d, err := policy.Parse(`{"Statement":`+strings.Replace(pullBy("Allow", aws(alice)), `"Action"`, resource+`,"Action"`,
			1)+`}`, policy.Registry)
		if err != nil {
			t.Fatal(err)
		}
		p := &policy.Policies{Registry: policy.Compile(d, nil)}
		if got := policy.Evaluate(p, requestCase{caller: alice}.request(t)); got.Verdict != want {
			t.Errorf("registry policy with %s: got %s, want %s", resource, got.Verdict, want)
		}
	}
}

// Contract 5.6: a pull through a cache is allowed by the identity policies or by the registry policy, in both scopes; a
// deny in either wins. Another account can replicate into the registry if the registry policy allows it.
func TestContract56PullThrough(t *testing.T) {
	t.Parallel()
	const imports, creates = "ecr:BatchImportUpstreamImage", "ecr:CreateRepository"
	statement := func(effect, principal, action string) string {
		return `{"Effect":"` + effect + `","Principal":` + principal + `,"Action":"` + action + `"}`
	}
	for _, v1 := range []bool{true, false} {
		texts{v1: v1, registry: statement("Allow", aws(alice), imports)}.decide(t, requestCase{alice, imports, "", "", allowed},
			requestCase{alice, creates, "", "", implicit})
		texts{v1: v1, identity: allow(`"`+creates+`"`, "*", ""), registry: statement("Allow", aws(alice), imports)}.decide(t,
			requestCase{alice, imports, "", "", allowed}, requestCase{alice, creates, "", "", allowed}, requestCase{alice,
				"ecr:PutImage", "", "", implicit})
		texts{v1: v1, identity: allow(`"`+imports+`"`, "*", ""), registry: statement("Deny", aws(owner), imports)}.decide(t,
			requestCase{alice, imports, "", "", explicit})
		texts{v1: v1, identity: allow(`"`+imports+`"`, "*", ""), registry: statement("Allow", aws(other), imports)}.decide(t,
			requestCase{foreign, imports, "", "", allowed})
		texts{v1: v1, registry: statement("Allow", aws(other), imports)}.decide(t, requestCase{foreign, imports, "", "", implicit})
		texts{v1: v1, identity: allow(`"ecr:*"`, "*", ""), registry: statement("Allow", aws(other), "ecr:ReplicateImage")}.decide(t,
			requestCase{"arn:aws:iam::222222222222:root", "ecr:ReplicateImage", "", "",
				allowed}, requestCase{"arn:aws:iam::333333333333:root", "ecr:ReplicateImage", "", "", implicit})
	}
}
