package identity

// AfterHash makes a service call f after each password that was hashed or verified, before the place is given back. It must be called
// before the service is used.
func AfterHash(s *Service, f func()) { s.setting.after, s.signingIn.after = f, f }
