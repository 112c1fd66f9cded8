package console

// operationRows are the pages of the server's work, and those of the registry that are of no repository.
var operationRows = []row{
	{method: "GET", path: "welcome", serve: (*request).welcomePage},
	{method: "POST", path: "welcome", serve: (*request).onWelcome},
	{method: "GET", path: "{account}/{region}/usage", serve: (*request).usagePage},
	{method: "GET", path: "{account}/{region}/jobs", serve: (*request).jobsPage},
	{method: "GET", path: "{account}/{region}/jobs/{id}", serve: (*request).jobPage},
	{method: "POST", path: "{account}/{region}/jobs/{id}", serve: (*request).onJob},
}

func registryLinks(linker, string) []link { return nil }

func operationLinks(at linker, base string) []link {
	return []link{at("usage", "Usage", base+"usage"), at("jobs", "Jobs", base+"jobs"), at("welcome", "Get started", Path+"/welcome")}
}
