package console

// operationRows are the pages of the server's work, and those of the registry that are of no repository.
var operationRows = []row{
	{method: "GET", path: "welcome", serve: (*request).welcomePage},
	{method: "POST", path: "welcome", serve: (*request).onWelcome},
	{method: "GET", path: "{account}/{region}/usage", serve: (*request).usagePage},
	{method: "GET", path: "{account}/{region}/jobs", serve: (*request).jobsPage},
	{method: "GET", path: "{account}/{region}/jobs/{id}", serve: (*request).jobPage},
	{method: "POST", path: "{account}/{region}/jobs/{id}", serve: (*request).onJob},
	{method: "GET", path: "{account}/{region}/events", serve: (*request).eventsPage},
	{method: "POST", path: "{account}/{region}/events", serve: (*request).onEvents},
	{method: "GET", path: "{account}/{region}/webhooks/{name}", serve: (*request).webhookPage},
	{method: "POST", path: "{account}/{region}/webhooks/{name}", serve: (*request).onWebhook},
	{method: "GET", path: "{account}/{region}/audit", serve: (*request).auditPage},
	{method: "GET", path: "{account}/{region}/pull-through", serve: (*request).pullThroughPage},
	{method: "POST", path: "{account}/{region}/pull-through", serve: (*request).onPullThrough},
	{method: "GET", path: "{account}/{region}/replication", serve: (*request).replicationPage},
	{method: "POST", path: "{account}/{region}/replication", serve: (*request).onReplication},
	{method: "GET", path: "{account}/{region}/templates", serve: (*request).templatesPage},
	{method: "POST", path: "{account}/{region}/templates", serve: (*request).onTemplates},
}

func registryLinks(at linker, base string) []link {
	return []link{at("pull-through", "Pull-through", base+"pull-through"), at("replication", "Replication", base+"replication"),
		at("templates", "Templates", base+"templates"), at("scanning", "Scanning", base+"scanning"),
		at("registry-settings", "Registry settings", base+"registry-settings")}
}

func operationLinks(at linker, base string) []link {
	return []link{at("usage", "Usage", base+"usage"), at("jobs", "Jobs", base+"jobs"), at("events", "Events", base+"events"),
		at("audit", "Audit", base+"audit"), at("welcome", "Get started", Path+"/welcome")}
}
