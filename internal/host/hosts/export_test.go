package hosts

// UpdateWith is Update with another function to rename files.
func UpdateWith(path, block string, rename func(from, to string) error) (changed bool, err error) {
	return update(path, block, rename)
}
