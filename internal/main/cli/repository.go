package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) repository() *cobra.Command {
	cmd := &cobra.Command{Use: "repository", Short: "Protect repositories from deletion, list and restore deleted ones"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.repositoryDeleted(), c.repositoryRestore(), c.repositoryProtect(), c.repositoryUnprotect(),
		c.repositoryProtection())
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

func (c *commands) repositoryProtect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "protect REPOSITORY", Args: exactly("REPOSITORY"), Short: "Refuse every deletion of a repository, also with force",
		Example: "  ecrin repository protect team/app\n  ecrin repository protect team/app --images",
	}
	images := cmd.Flags().Bool("images", false, "refuse deletions of its images and tags too, also by lifecycle rules")
	return c.protectionCommand(cmd, "PutRepositoryProtection", func() ecrintypes.Protection {
		if *images {
			return ecrintypes.ProtectionREPOSITORY_AND_IMAGES
		}
		return ecrintypes.ProtectionREPOSITORY
	})
}

func (c *commands) repositoryUnprotect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unprotect REPOSITORY", Args: exactly("REPOSITORY"), Short: "End the deletion protection of a repository and of its images",
		Example: "  ecrin repository unprotect team/app",
	}
	return c.protectionCommand(cmd, "PutRepositoryProtection", func() ecrintypes.Protection { return ecrintypes.ProtectionNONE })
}

func (c *commands) repositoryProtection() *cobra.Command {
	cmd := &cobra.Command{
		Use: "protection REPOSITORY", Args: exactly("REPOSITORY"), Short: "Show what of a repository cannot be deleted",
		Example: "  ecrin repository protection team/app",
	}
	return c.protectionCommand(cmd, "GetRepositoryProtection", nil)
}

// protectionCommand returns cmd with a function that calls an operation with the protection that wanted returns, if it is not nil, and
// shows the result.
func (c *commands) protectionCommand(cmd *cobra.Command, operation string, wanted func() ecrintypes.Protection) *cobra.Command {
	reg, asJSON := registryFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, image, err := c.connectToImage(cmd, reg, args[0])
		if err != nil {
			return err
		}
		if image.tag != (name.Tag{}) || image.digest != (name.Digest{}) {
			return usageError{fmt.Errorf("want REPOSITORY, got %q", args[0])}
		}
		var in any = &ecrintypes.GetRepositoryProtectionRequest{RegistryId: reg.account, RepositoryName: image.repo.String()}
		if wanted != nil {
			in = &ecrintypes.PutRepositoryProtectionRequest{RegistryId: reg.account, RepositoryName: image.repo.String(), Protection: wanted()}
		}
		var out ecrintypes.RepositoryProtectionResponse
		if err := s.Call(cmd.Context(), operation, in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("%s: %s", out.RepositoryName, protectionTexts[out.Protection])
		return nil
	}
	return cmd
}

// protectionTexts describe the protections.
var protectionTexts = map[ecrintypes.Protection]string{
	ecrintypes.ProtectionNONE:                  "can be deleted",
	ecrintypes.ProtectionREPOSITORY:            "cannot be deleted; its images can",
	ecrintypes.ProtectionREPOSITORY_AND_IMAGES: "cannot be deleted, nor can its images and tags",
}
