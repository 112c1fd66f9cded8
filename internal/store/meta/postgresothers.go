package meta

import "context"

// OtherProcesses returns the number of connections of other ecrin processes to the database, which is 0 with SQLite: there the lock of
// the data directory excludes them. A process that connects later is not seen, see Reseal.
func (s *Store) OtherProcesses(ctx context.Context) (n int, err error) {
	if s.epochs == nil {
		return 0, nil
	}
	err = s.read.row(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
		AND application_name LIKE 'ecrin%' AND application_name <> current_setting('application_name')`, nil, &n)
	return n, err
}
