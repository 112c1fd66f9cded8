package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// clusterRow is a cluster of the list.
type clusterRow struct {
	Name, To, ID, Principal, Region, Cloud string
	Connected                              bool
	Seen, Added                            time.Time
	ByRole                                 bool // of this account, whose uses are known
}

// clustersView is the list of clusters.
type clustersView struct {
	Parts  []settingsPart
	Rows   []clusterRow
	Denied *trouble
	Add    right
	Pager  pager
	First  bool
}

// clustersPage lists the clusters of the account: who pulls for each, where, and when it was last seen.
func (x *request) clustersPage() error {
	from := x.r.URL.Query().Get("after")
	v := clustersView{Parts: x.settingsParts("clusters"), First: from == ""}
	rights, err := x.mayOn("cluster/*", "ecrin:PutCluster")
	if err != nil {
		return err
	}
	v.Add = rights["ecrin:PutCluster"]
	status := http.StatusOK
	out, err := do[ecrintypes.DescribeClustersResponse](x, "ecrin", "DescribeClusters",
		&ecrintypes.DescribeClustersRequest{AccountId: x.account.String()})
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		page, next := after(out.Clusters, from, func(c ecrintypes.Cluster) string { return c.ClusterName })
		for _, c := range page {
			v.Rows = append(v.Rows, x.clusterRow(c))
		}
		v.Pager = x.pagerOf(many(int64(len(page)), "cluster", "clusters")+" of "+count(int64(len(out.Clusters)))+", by name", next)
	}
	return x.render(status, "clusters", &view{Title: "Clusters", Section: "clusters", Crumbs: x.settingsCrumbs(), Main: v})
}

func (x *request) clusterPath(name string) string { return x.base() + "/clusters/" + pathOf(name) }

func (x *request) clusterRow(c ecrintypes.Cluster) clusterRow {
	return clusterRow{Name: c.ClusterName, To: x.clusterPath(c.ClusterName), ID: c.PrincipalAccountId, Principal: c.Principal,
		Region: c.Region, Cloud: c.CloudName, Connected: c.State == ecrintypes.ClusterStateCONNECTED, Seen: timeOf(c.LastSeenAt),
		Added: c.CreatedAt.Time, ByRole: isRole(c.Principal) && c.PrincipalAccountId == c.AccountId}
}

// formView is the form of a new thing, or of one that is changed.
type formView struct {
	Parts  []fieldset
	Wrong  *trouble
	Submit right
	To     string // that gets the form
	Back   string // the page without it
}

// clusterForm is the form of a cluster.
func (x *request) clusterForm(c ecrintypes.Cluster) []fieldset {
	name := field{Name: "name", Label: "Name", Value: c.ClusterName, Placeholder: "staging", Required: true}
	return []fieldset{{Fields: []field{name,
		{Name: "region", Label: "Region", Value: c.Region, Required: true, Help: "It pulls from repositories of this region only."},
		{Name: "principal", Label: "AWS IAM ID or ARN that pulls", Value: c.Principal, Required: true,
			Placeholder: "arn:aws:iam::111122223333:role/nodes",
			Help:        "12 digits for a whole account, or the ARN of the role or user of its nodes."},
		{Name: "cloud", Label: "Cloud integration", Kind: "select", Options: choices("none", c.CloudName, x.cloudNames(c.CloudName)...),
			Help: "The account that the cluster belongs to."}}}}
}

// cloudNames returns the names of the cloud integrations of the account that the person may see, and chosen in any case.
func (x *request) cloudNames(chosen string) (all []string) {
	out, err := do[ecrintypes.DescribeCloudIntegrationsResponse](x, "ecrin", "DescribeCloudIntegrations",
		&ecrintypes.DescribeCloudIntegrationsRequest{AccountId: x.account.String()})
	if err != nil {
		if chosen != "" {
			all = append(all, chosen)
		}
		return all
	}
	for _, c := range out.CloudIntegrations {
		all = append(all, c.CloudName)
	}
	return all
}

func (x *request) addClusterPage() error { return x.showAddCluster(http.StatusOK, nil) }

func (x *request) showAddCluster(status int, wrong *trouble) error {
	rights, err := x.mayOn("cluster/*", "ecrin:PutCluster")
	if err != nil {
		return err
	}
	v := formView{Parts: filled(x.clusterForm(ecrintypes.Cluster{Region: x.region.String()}), x.form), Wrong: wrong,
		Submit: rights["ecrin:PutCluster"], To: x.base() + "/clusters", Back: x.base() + "/clusters"}
	return x.render(status, "addcluster", &view{Title: "Add cluster", Section: "clusters",
		Crumbs: x.settingsCrumbs(link{Text: "Clusters", To: x.base() + "/clusters"}), Main: v})
}

// addCluster stores a cluster that the account does not have.
func (x *request) addCluster() error {
	in := x.sentCluster(x.value("name"))
	if err := x.fresh("a cluster", add(x, "ecrin", "PutCluster", in)); err != nil {
		return x.showAddCluster(x.status(err), x.troubleOf(err))
	}
	return x.done(x.clusterPath(in.ClusterName), "The cluster was added.")
}

func (x *request) sentCluster(name string) *ecrintypes.PutClusterRequest {
	return &ecrintypes.PutClusterRequest{AccountId: x.account.String(), ClusterName: name, Region: x.value("region"),
		Principal: x.value("principal"), CloudName: x.value("cloud")}
}

// clusterView is a cluster.
type clusterView struct {
	clusterRow
	Issuer, By string
	Revision   string   // for the form
	Policy     string   // that lets it pull
	Lines      []string // of the policy
	Wrong      *trouble
	Form       []fieldset
	Put        right
	Delete     right
}

func (x *request) clusterPage() error { return x.showCluster(http.StatusOK, nil) }

// cluster returns the cluster of the page.
func (x *request) cluster() (c ecrintypes.Cluster, err error) {
	out, err := do[ecrintypes.DescribeClustersResponse](x, "ecrin", "DescribeClusters",
		&ecrintypes.DescribeClustersRequest{AccountId: x.account.String(), ClusterName: x.at["repo"]})
	if err != nil {
		return c, err
	}
	return out.Clusters[0], nil
}

func (x *request) showCluster(status int, wrong *trouble) error {
	c, err := x.cluster()
	if err != nil {
		return err
	}
	v := clusterView{clusterRow: x.clusterRow(c), Issuer: c.Issuer, By: c.CreatedBy, Revision: c.Revision, Wrong: wrong}
	v.Policy = pullPolicy(c.Principal)
	v.Lines = linesOf(v.Policy)
	rights, err := x.mayOn("cluster/"+c.ClusterName, "ecrin:PutCluster", "ecrin:DeleteCluster")
	if err != nil {
		return err
	}
	v.Put, v.Delete = rights["ecrin:PutCluster"], rights["ecrin:DeleteCluster"]
	form := x.clusterForm(c)
	form[0].Fields = form[0].Fields[1:] // its name stays
	v.Form = form
	if x.r.Method == http.MethodPost {
		v.Form = filled(form, x.form)
	}
	return x.render(status, "cluster", &view{Title: c.ClusterName, Section: "clusters",
		Crumbs: x.settingsCrumbs(link{Text: "Clusters", To: x.base() + "/clusters"}), Main: v})
}

// pullPolicy returns the policy of a repository that lets a principal pull; "" if it is none that a policy can name.
func pullPolicy(principal string) string {
	to, err := policy.ParsePrincipal(principal)
	if err != nil {
		return ""
	}
	d, _, _ := policy.Grant(nil, to, policy.PullActions(), policy.PullSid)
	return indented(d.String())
}

// onCluster changes or removes a cluster.
func (x *request) onCluster() error {
	name := x.at["repo"]
	var err error
	switch x.form.Get("do") {
	case "save":
		var c ecrintypes.Cluster
		if c, err = x.cluster(); err == nil {
			in := x.sentCluster(name)
			in.Issuer, in.State = c.Issuer, c.State
			err = replace(x, x.form.Get("seen"), "ecrin", "PutCluster", in)
		}
	case "remove":
		if err = act(x, "ecrin", "DeleteCluster",
			&ecrintypes.ClusterRequest{AccountId: x.account.String(), ClusterName: name}); err == nil {
			return x.done(x.base()+"/clusters", "The cluster "+shown(name)+" was removed. Its role and its identity provider stay.")
		}
	default:
		err = errNothing
	}
	if err != nil {
		return x.showCluster(x.status(err), x.troubleOf(err))
	}
	return x.done(x.clusterPath(name), "The cluster was saved.")
}

// isRole reports whether an ARN is that of a role or of a session of one.
func isRole(arn string) bool {
	return strings.Contains(arn, ":role/") || strings.Contains(arn, ":assumed-role/")
}
