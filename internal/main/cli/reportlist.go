package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) reportList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List reported images",
		Example: "  ecrin report list --deployed\n  ecrin report list --repositories\n" +
			"  ecrin report list --git-branch main --sort updated"}
	var in ecrintypes.ListImageReportsRequest
	f := cmd.Flags()
	f.StringVar(&in.AccountId, "account", "", "`account` that they are of, 12 digits (default: the account of the caller)")
	f.StringSliceVar(&in.Repositories, "repository", nil, "`HOST/NAME` of a repository; may be repeated")
	f.StringVar(&in.ImageTag, "tag", "", "`tag` of the images")
	kind := f.String("registry-type", "", "`type` of the registry: docker_hub, ecr, gcr, ghcr, jfrog, quay or other")
	f.StringVar(&in.ApplicationName, "application", "", "`name` of an application that runs them")
	deployed := f.Bool("deployed", false, "only what runs now; --deployed=false for what does not")
	f.StringVar(&in.GitBranch, "git-branch", "", "`branch` that they come from")
	f.StringSliceVar(&in.GitRepositories, "git-repository", nil, "git `repository` that they come from, OWNER/NAME; may be repeated")
	sort := f.String("sort", "name", "`order`: name, or updated for the last report first")
	repositories := f.Bool("repositories", false, "one line for each repository, with its newest image and what is deployed of it")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in.RegistryType, in.SortBy = ecrintypes.ReportedRegistryType(strings.ToUpper(*kind)), ecrintypes.ReportSortKey(strings.ToUpper(*sort))
		if f.Changed("deployed") {
			in.Deployed = deployed
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		if *repositories {
			found, err := reportedRepositories(cmd.Context(), s, &in)
			switch {
			case err != nil:
				return err
			case *asJSON:
				return c.printJSON(found)
			case len(found) == 0:
				c.say("no images have been reported")
				return nil
			}
			return c.table(repositoryRows(found))
		}
		all := []ecrintypes.ImageReport{}
		for more := true; more; more = in.NextToken != "" {
			var out ecrintypes.ListImageReportsResponse
			if err := s.Call(cmd.Context(), "ListImageReports", &in, &out); err != nil {
				return err
			}
			all, in.NextToken = append(all, out.Reports...), out.NextToken
		}
		switch {
		case *asJSON:
			return c.printJSON(all)
		case len(all) == 0:
			c.say("no images have been reported")
			return nil
		}
		rows := [][]string{{"REPOSITORY", "TAG", "DIGEST", "REGISTRY", "OS/ARCH", "SIZE", "UPDATED", "COMMIT", "APPLICATIONS"}}
		for _, r := range all {
			rows = append(rows, []string{r.Repository, orDash(r.ImageTag), shortDigest(r.ImageDigest), string(r.RegistryType), platformOf(r),
				sizeOf(r), stamp(r.ReportedAt.Time), orDash(commitOf(r)), orDash(strings.Join(r.Applications, ","))})
		}
		return c.table(rows)
	}
	return cmd
}

// reportedRepository is what has been reported of a repository.
type reportedRepository struct {
	Repository   string                  `json:"repository"`
	Newest       *ecrintypes.ImageReport `json:"newest,omitempty"` // the image that was created last; absent if none was reported
	Images       int32                   `json:"images"`
	Deployed     int32                   `json:"deployed"`     // images that run
	Applications []string                `json:"applications"` // that run them
}

// reportedRepositories returns the repositories that a request for reports selects.
func reportedRepositories(ctx context.Context, s caller, of *ecrintypes.ListImageReportsRequest) ([]reportedRepository, error) {
	in := ecrintypes.ListReportedRepositoriesRequest{AccountId: of.AccountId, ImageTag: of.ImageTag, RegistryType: of.RegistryType,
		ApplicationName: of.ApplicationName, Deployed: of.Deployed, GitBranch: of.GitBranch, GitRepositories: of.GitRepositories,
		SortBy: of.SortBy}
	all := []reportedRepository{}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.ListReportedRepositoriesResponse
		if err := s.Call(ctx, "ListReportedRepositories", &in, &out); err != nil {
			return nil, err
		}
		for _, r := range out.Repositories {
			if len(of.Repositories) == 0 || slices.Contains(of.Repositories, r.Repository) {
				all = append(all, reportedRepository{r.Repository, r.Newest, r.ImageCount, r.DeployedCount, r.Applications})
			}
		}
		in.NextToken = out.NextToken
	}
	return all, nil
}

func repositoryRows(all []reportedRepository) [][]string {
	rows := [][]string{{"REPOSITORY", "REGISTRY", "DEPLOYED", "APPLICATIONS", "NEWEST", "CREATED", "SIZE", "COMMIT"}}
	for _, one := range all {
		row := []string{one.Repository, "-", fmt.Sprint(one.Deployed), orDash(strings.Join(one.Applications, ",")), "-", "-", "-", "-"}
		if r := one.Newest; r != nil {
			row[1], row[4], row[5] = string(r.RegistryType), cmp.Or(r.ImageTag, shortDigest(r.ImageDigest)), stamp(r.CreatedAt.Time)
			row[6], row[7] = sizeOf(*r), orDash(commitOf(*r))
		}
		rows = append(rows, row)
	}
	return rows
}

func shortDigest(d string) string {
	if _, hash, ok := strings.Cut(d, ":"); ok && len(hash) > 12 {
		return hash[:12]
	}
	return d
}

func platformOf(r ecrintypes.ImageReport) string {
	if r.ManifestList {
		return "index"
	}
	return orDash(strings.Trim(r.Os+"/"+r.Architecture, "/"))
}

func sizeOf(r ecrintypes.ImageReport) string {
	if r.ManifestList {
		return "-"
	}
	return bytesText(r.ImageSize)
}

func commitOf(r ecrintypes.ImageReport) string {
	text := r.CommitMessage
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "…"
	}
	if len(r.Revision) > 7 {
		text = strings.TrimSpace(r.Revision[:7] + " " + text)
	}
	return text
}

func (c *commands) reportShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show IMAGE", Args: exactly("IMAGE"),
		Short: "Show all that is known about an image, by the name that it was reported with"}
	var in ecrintypes.GetImageReportRequest
	cmd.Flags().StringVar(&in.AccountId, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.ImageName = args[0]
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.GetImageReportResponse
		if err := s.Call(cmd.Context(), "GetImageReport", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		return c.showReport(out)
	}
	return cmd
}

// showReport prints the three parts of a report: summary, Dockerfile, layers; and annotations and deployments.
func (c *commands) showReport(out ecrintypes.GetImageReportResponse) error {
	for _, b := range out.Images {
		r := b.Report
		rows := [][]string{{"IMAGE", r.ImageName}, {"DIGEST", r.ImageDigest}, {"CONFIG", r.ConfigDigest}, {"INDEX", r.ParentDigest},
			{"REGISTRY", string(r.RegistryType)}, {"OS/ARCH", platformOf(r)}, {"SIZE", sizeOf(r)}, {"CREATED", stamp(r.CreatedAt.Time)},
			{"REPORTED", stamp(r.ReportedAt.Time)}, {"APPLICATIONS", strings.Join(r.Applications, ", ")},
			{"WORKFLOW", strings.TrimSpace(b.WorkflowName + " " + b.WorkflowUrl)}, {"LOGS", b.LogsUrl}, {"CI", b.CiType},
			{"GIT", strings.TrimSpace(r.GitRepository + " " + r.GitBranch)}, {"PULL REQUEST", r.PullRequestUrl}}
		if b.Commit != nil {
			first, _, _ := strings.Cut(b.Commit.Message, "\n")
			rows = append(rows, []string{"COMMIT", strings.TrimSpace(b.Commit.Sha + " " + b.Commit.Author)}, []string{"MESSAGE", first},
				[]string{"COMMIT URL", b.Commit.Url})
		}
		for _, l := range b.Labels {
			rows = append(rows, []string{"LABEL", l.Key + "=" + l.Value})
		}
		if err := c.table(slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })); err != nil {
			return err
		}
		if len(b.Layers) > 0 {
			rows := [][]string{{"", ""}, {"LAYER", "SIZE", "CREATED", "ARGUMENTS"}}
			for _, l := range b.Layers {
				at := "-"
				if l.CreatedAt != nil {
					at = stamp(l.CreatedAt.Time)
				}
				rows = append(rows, []string{orDash(l.Instruction), bytesText(l.LayerSize), at, strings.Join(strings.Fields(l.Arguments), " ")})
			}
			if err := c.table(rows); err != nil {
				return err
			}
		}
		if b.Dockerfile != "" {
			fmt.Fprintf(c.Out, "\nDOCKERFILE\n%s\n", strings.TrimRight(b.Dockerfile, "\n"))
		}
		fmt.Fprintln(c.Out)
	}
	rows := [][]string{}
	for _, a := range out.Annotations {
		rows = append(rows, []string{strings.ToUpper(a.Type), a.Key, annotationText(a.Value)})
	}
	for _, d := range out.Deployments {
		rows = append(rows, []string{"RUNS IN", strings.Trim(d.Namespace+"/"+d.ApplicationName, "/"), "until " + stamp(d.Until.Time)})
	}
	if len(rows) == 0 {
		return nil
	}
	return c.table(rows)
}

// annotationText returns the value of an annotation in a line.
func annotationText(value string) string {
	var v struct{ Title, Status, Assignee, URL string }
	if json.Unmarshal([]byte(value), &v) == nil && v.Title != "" {
		text := v.Title
		if more := strings.Join(slices.DeleteFunc([]string{v.Status, v.Assignee}, func(s string) bool { return s == "" }), ", "); more != "" {
			text += " (" + more + ")"
		}
		return text + " " + v.URL
	}
	var text string
	if json.Unmarshal([]byte(value), &text) == nil {
		return text
	}
	return value
}

func (c *commands) reportDeployed() *cobra.Command {
	cmd := &cobra.Command{Use: "deployed [IMAGE...] --application NAME",
		Short: "Report which images an application runs, instead of what was reported before",
		Long: `Report which images an application runs in a namespace. They are in use until the time of --until: no lifecycle policy deletes
them. Each report replaces the one before; without images the application runs none.`,
		Example: "  ecrin report deployed registry.example.com/team/app:1 --application shop --namespace production"}
	var in ecrintypes.ReportDeploymentsRequest
	f := cmd.Flags()
	f.StringVar(&in.AccountId, "account", "", "`account` whose application it is, 12 digits (default: the account of the caller)")
	f.StringVar(&in.ApplicationName, "application", "", "`name` of the application")
	f.StringVar(&in.Namespace, "namespace", "", "`name` of the namespace or environment")
	until := f.String("until", "", "`time` until which this holds, as 2026-12-31T00:00:00Z or 72h (default: 7 days)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if in.ApplicationName == "" {
			return usageError{fmt.Errorf("--application is needed")}
		}
		in.Images = append([]string{}, args...)
		if *until != "" {
			at, err := time.Parse(time.RFC3339, *until)
			if err != nil {
				d, err := time.ParseDuration(*until)
				if err != nil {
					return usageError{fmt.Errorf("--until must be a time, 2026-12-31T00:00:00Z, or a duration, 72h")}
				}
				at = time.Now().Add(d)
			}
			in.Until = awswire.At(at)
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.DeploymentsResponse
		if err := s.Call(cmd.Context(), "ReportDeployments", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Deployments)
		}
		for _, d := range out.Deployments {
			c.say("%s runs %s until %s", in.ApplicationName, cmp.Or(d.ImageName, d.ImageDigest), stamp(d.Until.Time))
		}
		if len(out.Deployments) == 0 {
			c.say("%s runs no images", in.ApplicationName)
		}
		return nil
	}
	return cmd
}

func (c *commands) reportMatrix() *cobra.Command {
	cmd := &cobra.Command{Use: "matrix", Args: cobra.NoArgs, Short: "Show which tag of each repository runs in which environment",
		Long: "Show which tag of each repository runs in which environment: the namespace of the application, or the application without one."}
	account := cmd.Flags().String("account", "", "`account` that is shown, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		all, err := deployments(cmd.Context(), s, *account)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(append([]ecrintypes.Deployment{}, all...))
		case len(all) == 0:
			c.say("no deployments have been reported: ecrin report deployed, ecrin report watch")
			return nil
		}
		return c.table(matrixOf(all))
	}
	return cmd
}

// matrixOf returns a table of repositories by environments, with the tags that run.
func matrixOf(all []ecrintypes.Deployment) [][]string {
	environments, cells := map[string]bool{}, map[string]map[string][]string{}
	for _, d := range all {
		env := cmp.Or(d.Namespace, d.ApplicationName)
		environments[env] = true
		if cells[d.Repository] == nil {
			cells[d.Repository] = map[string][]string{}
		}
		tag := cmp.Or(d.ImageTag, shortDigest(d.ImageDigest))
		if !slices.Contains(cells[d.Repository][env], tag) {
			cells[d.Repository][env] = append(cells[d.Repository][env], tag)
		}
	}
	columns := slices.Sorted(maps.Keys(environments))
	rows := [][]string{append([]string{"REPOSITORY"}, columns...)}
	for _, repository := range slices.Sorted(maps.Keys(cells)) {
		row := []string{repository}
		for _, env := range columns {
			row = append(row, orDash(strings.Join(cells[repository][env], ",")))
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *commands) reportAnnotate() *cobra.Command {
	cmd := &cobra.Command{Use: "annotate IMAGE KEY VALUE", Short: "Annotate an image by its name, or by a digest whatever its name",
		Example: "  ecrin report annotate registry.example.com/team/app:1 quality passed"}
	var in ecrintypes.AnnotateImageRequest
	cmd.Flags().StringVar(&in.AccountId, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	cmd.Flags().StringVar(&in.Type, "type", "", "`type` of the annotation (default: note)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 3 {
			return usageError{fmt.Errorf("IMAGE, KEY and VALUE are needed, got %d arguments", len(args))}
		}
		in.ImageName, in.Key, in.Value = args[0], args[1], args[2]
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out map[string]any
		if err := s.Call(cmd.Context(), "AnnotateImage", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("annotated %s", args[0])
		return nil
	}
	return cmd
}
