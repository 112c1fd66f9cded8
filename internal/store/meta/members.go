package meta

import (
	"context"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// AddMember adds a user to a group, or a role to an instance profile; adding it twice is not an error. A member may
// be in at most maxContainers containers, and a container may have at most maxMembers members (0 for any number).
//
// Errors: fault.LimitExceeded, fault.NoSuchEntity (the container or the member was deleted).
func (s *Store) AddMember(ctx context.Context, container, member string, maxContainers, maxMembers int) error {
	return s.identity(ctx, func(t *tx) error {
		for _, id := range []string{container, member} {
			if err := checkEntity(t, id); err != nil {
				return err
			}
		}
		n, err := t.exec(`INSERT INTO entity_members (container, member) VALUES ($1, $2) ON CONFLICT (container, member) DO NOTHING`, container, member)
		if err != nil || n == 0 {
			return err
		}
		var in, of int
		if _, err := t.one(`SELECT COUNT(*) FROM entity_members WHERE member = $1`, args{member}, &in); err != nil {
			return err
		}
		if _, err := t.one(`SELECT COUNT(*) FROM entity_members WHERE container = $1`, args{container}, &of); err != nil {
			return err
		}
		switch {
		case in > maxContainers && isUser(member):
			return overQuota("GroupsPerUser", maxContainers)
		case in > maxContainers:
			return overQuota("InstanceProfilesPerRole", maxContainers)
		case maxMembers > 0 && of > maxMembers:
			return overQuota("InstanceSessionsPerInstanceProfile", maxMembers)
		}
		return nil
	})
}

// RemoveMember removes a member from a container. Errors: fault.NoSuchEntity.
func (s *Store) RemoveMember(ctx context.Context, container, member string) error {
	return s.identity(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM entity_members WHERE container = $1 AND member = $2`, container, member)
		if err == nil && n == 0 {
			err = fault.NoSuchEntity.New("The role is not in the instance profile.")
			if isUser(member) {
				err = fault.NoSuchEntity.New("The user is not in the group.")
			}
		}
		return err
	})
}

// isUser reports whether a unique id is that of a user.
func isUser(id string) bool { return strings.HasPrefix(id, "AIDA") }

// Members returns the members of a group or instance profile, ordered by name.
func (s *Store) Members(ctx context.Context, container string) ([]Entity, error) {
	all, err := s.entities(ctx, `SELECT `+entityColumnsOf+
		` FROM entity_members m JOIN entities e ON e.id = m.member WHERE m.container = $1`, container)
	byName(all)
	return all, err
}

// Containers returns the groups or instance profiles that a user or role is a member of, ordered by name.
func (s *Store) Containers(ctx context.Context, member string) ([]Entity, error) {
	all, err := s.entities(ctx, `SELECT `+entityColumnsOf+
		` FROM entity_members m JOIN entities e ON e.id = m.container WHERE m.member = $1`, member)
	byName(all)
	return all, err
}

// byName sorts by kind and name: the joins return their rows in the order of ids.
func byName(all []Entity) {
	slices.SortFunc(all, func(a, b Entity) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Name, b.Name)
	})
}
