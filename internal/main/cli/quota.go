package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const quotaHelp = `Limit the repositories, images and bytes of an account, or of its repositories with a prefix.

A quota applies to all regions together. The prefix team is that of the repository team and of all whose names begin with team/; without
a prefix the quota is that of the whole account. A push, copy, replication or pull through a cache that would exceed a quota is refused,
and nothing of it is stored. What there is already stays, also if it is more.

Bytes are those of the layers that repositories hold, once for each repository. Those of deleted images and repositories count until they
are collected, because they can be restored until then: "ecrin gc" shows when that is.`

func (c *commands) quota() *cobra.Command {
	cmd := &cobra.Command{Use: "quota", Short: "Limit what accounts and repositories may have", Long: quotaHelp,
		Example: "  ecrin quota put --bytes 500GiB --repositories 1000\n  ecrin quota put team --images 5000\n  ecrin quota list\n" +
			"  ecrin quota delete team"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.quotaPut(), c.quotaList(), c.quotaDelete())
	return cmd
}

func (c *commands) quotaPut() *cobra.Command {
	cmd := &cobra.Command{Use: "put [PREFIX]", Args: atMostOne("PREFIX"), Short: "Set a quota, or replace the one of the prefix",
		Example: "  ecrin quota put team --bytes 20GiB --images 500"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	limit := map[string]*string{}
	for _, what := range []string{"repositories", "images", "bytes"} {
		limit[what] = cmd.Flags().String(what, "", "`number` of "+what+" that there may be (default: any)")
	}
	cmd.Flags().Lookup("bytes").Usage = "`size` of what there may be, such as 500MiB or 20GB (default: any)"
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in := ecrintypes.PutQuotaRequest{AccountId: *account, Prefix: first(args)}
		for what, to := range map[string]**int64{"repositories": &in.MaxRepositories, "images": &in.MaxImages, "bytes": &in.MaxBytes} {
			if *limit[what] == "" {
				continue
			}
			n, err := parseSize(*limit[what])
			if err != nil || what != "bytes" && strings.Trim(*limit[what], "0123456789") != "" {
				return usageError{fmt.Errorf("--%s: want a number, got %q", what, *limit[what])}
			}
			*to = &n
		}
		if in.MaxRepositories == nil && in.MaxImages == nil && in.MaxBytes == nil {
			return usageError{fmt.Errorf("want --repositories, --images or --bytes")}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.QuotaResponse
		if err := s.Call(cmd.Context(), "PutQuota", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Quota)
		}
		return c.table(quotaRows(out.Quota))
	}
	return cmd
}

// parseSize returns a number of bytes, from digits and perhaps a unit: KB, MB, GB and TB are powers of 1000, KiB to TiB powers of 1024.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "KMGTiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	factor := int64(1)
	switch unit := text[len(digits):]; unit {
	case "", "B":
	case "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB":
		base := int64(1000)
		if len(unit) == len("KiB") {
			base = 1024
		}
		for range 1 + strings.IndexByte("KMGT", unit[0]) {
			factor *= base
		}
	default:
		return 0, fmt.Errorf("unknown unit %q", unit)
	}
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("want a size, got %q", text)
	}
	return n * factor, nil
}

func (c *commands) quotaList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the quotas of an account, with what there is now"}
	account := cmd.Flags().String("account", "", "`account` whose quotas are listed, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.DescribeQuotasResponse
		if err := s.Call(cmd.Context(), "DescribeQuotas", &ecrintypes.DescribeQuotasRequest{AccountId: *account}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.Quotas) == 0 {
			c.say("the account has no quota")
			return nil
		}
		return c.table(quotaRows(out.Quotas...))
	}
	return cmd
}

func quotaRows(all ...ecrintypes.Quota) [][]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	of := func(used int64, most *int64, text func(int64) string) string {
		if most == nil {
			return text(used)
		}
		return text(used) + " of " + text(*most)
	}
	rows := [][]string{{"PREFIX", "REPOSITORIES", "IMAGES", "BYTES"}}
	for _, q := range all {
		prefix := q.Prefix
		if prefix == "" {
			prefix = "(all)"
		}
		rows = append(rows, []string{prefix, of(q.Repositories, q.MaxRepositories, number), of(q.Images, q.MaxImages, number),
			of(q.Bytes, q.MaxBytes, bytesText)})
	}
	return rows
}

func (c *commands) quotaDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete [PREFIX]", Args: atMostOne("PREFIX"), Short: "Delete a quota; without PREFIX that of the account"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.QuotaResponse
		in := ecrintypes.DeleteQuotaRequest{AccountId: *account, Prefix: first(args)}
		if err := s.Call(cmd.Context(), "DeleteQuota", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Quota)
		}
		c.say("deleted the quota of the account %s for %s", out.Quota.AccountId, quotaRows(out.Quota)[1][0])
		return nil
	}
	return cmd
}
