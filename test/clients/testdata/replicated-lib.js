// Calls what the public client of vendors exports, and prints what it returns as one object of JSON.
//
// Environment: NODE_PATH has the package; ENDPOINT, TOKEN, APP (slug), FILES (folder of a release), CHART (packed chart).
const lib = require("replicated-lib");
console.log = console.info = console.debug = console.error; // the progress of the library

async function refused(call) {
  try {
    await call();
  } catch (err) {
    return String(err.message || err.reason || err);
  }
  return "";
}

async function main() {
  const api = new lib.VendorPortalApi();
  api.endpoint = process.env.ENDPOINT;
  api.apiToken = process.env.TOKEN;
  const app = process.env.APP;
  const out = {};

  out.app = await lib.getApplicationDetails(api, app);
  out.noApp = await refused(() => lib.getApplicationDetails(api, "no-such-app"));

  out.channel = await lib.createChannel(api, app, "Nightly Builds");
  out.again = await refused(() => lib.createChannel(api, app, "Nightly Builds"));
  out.bySlug = await lib.getChannelDetails(api, app, { slug: out.channel.slug });
  out.byName = await lib.getChannelDetails(api, app, { name: "Nightly Builds" });

  out.release = await lib.createRelease(api, app, process.env.FILES);
  out.chart = await lib.createReleaseFromChart(api, app, process.env.CHART);
  await lib.promoteRelease(api, app, out.channel.id, out.release.sequence, "1.0.0");
  await lib.promoteRelease(api, app, out.channel.id, out.chart.sequence, "1.1.0");
  out.noRelease = await refused(() => lib.promoteRelease(api, app, out.channel.id, 99, "9.9.9"));
  out.promoted = await lib.getChannelDetails(api, app, { slug: out.channel.slug });
  await lib.reportCompatibilityResult(api, app, out.release.sequence, {
    distribution: "kind", version: "1.35.0", successAt: new Date("2026-11-29T06:00:00Z"), successNotes: "all ready",
  });

  out.customer = await lib.createCustomer(api, app, "Big", "it@big.example", "trial", out.channel.slug, 30,
    [{ name: "seats", value: "10" }], true);
  out.forever = await lib.createCustomer(api, app, "Forever", "it@forever.example", "paid", out.channel.slug, 0);
  out.noType = await refused(() => lib.createCustomer(api, app, "Odd", "it@odd.example", "unheard-of", out.channel.slug, 0));
  out.clusters = await lib.getUsedKubernetesDistributions(api, app);

  out.used = await refused(() => lib.archiveChannel(api, app, out.channel.slug));
  await lib.archiveCustomer(api, out.forever.customerId);
  const spare = await lib.createChannel(api, app, "Spare");
  await lib.archiveChannel(api, app, spare.slug);
  out.archived = await refused(() => lib.getChannelDetails(api, app, { slug: spare.slug }));

  // Clusters for tests, which this server does not make.
  out.noCluster = await refused(() => lib.createCluster(api, "c", "kind", "1.35.0", "1h"));
  out.noVersions = await refused(() => lib.getClusterVersions(api));
  out.noKubeconfig = await refused(() => lib.getKubeconfig(api, "x"));
  out.noRemove = await refused(() => lib.removeCluster(api, "x"));
  out.noUpgrade = await refused(() => lib.upgradeCluster(api, "x", "1.35.0"));
  out.noPort = await refused(() => lib.exposeClusterPort(api, "x", 80, ["http"], false));
  out.noAddon = await refused(() => lib.createAddonPostgres(api, "x", "16"));
  out.noStore = await refused(() => lib.createAddonObjectStore(api, "x", "b"));

  api.apiToken = out.customer.licenseId;
  out.byLicence = await refused(() => lib.getApplicationDetails(api, app));
  process.stdout.write(JSON.stringify(out) + "\n");
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
