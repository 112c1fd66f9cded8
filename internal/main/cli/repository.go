package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) repository() *cobra.Command {
	cmd := &cobra.Command{Use: "repository", Short: "List and restore deleted repositories"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.repositoryDeleted(), c.repositoryRestore())
	return cmd
}

func (c *commands) repositoryDeleted() *cobra.Command {
	cmd := &cobra.Command{Use: "deleted", Args: cobra.NoArgs, Short: "List deleted repositories that can still be restored"}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.ListDeletedRepositoriesRequest{RegistryId: reg.account}
		all := ecrintypes.ListDeletedRepositoriesResponse{Repositories: []ecrintypes.DeletedRepository{}}
		for {
			var out ecrintypes.ListDeletedRepositoriesResponse
			if err := s.Call(cmd.Context(), "ListDeletedRepositories", in, &out); err != nil {
				return err
			}
			all.Repositories = append(all.Repositories, out.Repositories...)
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if *asJSON {
			return c.printJSON(all)
		}
		if len(all.Repositories) == 0 {
			c.say("no repository of the registry is deleted")
			return nil
		}
		rows := [][]string{{"ID", "NAME", "CREATED", "DELETED"}}
		for _, r := range all.Repositories {
			rows = append(rows, []string{r.RepositoryId, r.RepositoryName, stamp(r.CreatedAt.Time), stamp(r.DeletedAt.Time)})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) repositoryRestore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore ID", Args: exactly("ID"), Short: "Take back the deletion of a repository, with its images, tags and policy",
		Example: "  ecrin repository deleted\n  ecrin repository restore 1867349023457280001 --as team/app-of-may",
	}
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	as := cmd.Flags().String("as", "", "`name` to give it (its own without it, which must be free)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connectTo(cmd, reg)
		if err != nil {
			return err
		}
		in := &ecrintypes.RestoreRepositoryRequest{RegistryId: reg.account, RepositoryId: args[0], RepositoryName: *as}
		var out ecrintypes.RestoreRepositoryResponse
		if err := s.Call(cmd.Context(), "RestoreRepository", in, &out); err != nil {
			var refused *client.Error
			if errors.As(err, &refused) && refused.Name == "RepositoryAlreadyExistsException" {
				err = fmt.Errorf("%w; to restore this one under another name: ecrin repository restore %s --as NAME", err, args[0])
			}
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("restored the repository %s as %s", args[0], out.RepositoryName)
		return nil
	}
	return cmd
}
