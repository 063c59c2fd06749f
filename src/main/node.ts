/**
 * A node's process: `node src/main/node.ts --config node.yaml`. Starts the roles of its file in the
 * order that README.md gives, says `ready` to its parent, and stops in reverse on SIGTERM.
 */
import cluster from 'node:cluster';
import { flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadNodeConfig } from '#authority/joining.ts';
import { Reporter } from '#authority/reporter.ts';
import { messageOf } from '#base/errors.ts';
import type { NodeConfig, Role } from '#config/node-config.ts';
import { collectStartGarbage } from '#env/node/garbage.ts';
import { joinRequests } from '#env/node/https-client.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import type { State } from '#state/state.ts';
import { JobRunner } from '#worker/runner.ts';
import { createAdminApp } from './admin-app.ts';
import { type AuthorityRole, startAuthority } from './authority.ts';
import { type BucketJobs, startBucketJobs } from './bucket-jobs.ts';
import { type Foundation, layFoundation, sharedKeyOf } from './foundation.ts';
import { serveHttp } from './http-server.ts';
import { type IdentityRole, serveIdentity, startIdentity } from './identity.ts';
import { createLinkAdmin } from './link-admin.ts';
import { NodeCertificate } from './node-certificate.ts';
import { openNodeState } from './node-state.ts';
import { createPlacementAdmin } from './placement-admin.ts';
import { createPolicyAdmin } from './policy-admin.ts';
import { type ProxyRole, startProxy } from './proxy.ts';
import { processReport, sendReport } from './report.ts';
import { processStatus } from './status.ts';
import { type StorageRole, startStorage } from './storage.ts';
import { createStorageAdmin } from './storage-admin.ts';
import { exposeStorage } from './storage-metrics.ts';

const REQUEST_GRACE_MS = 5000;
const WORKER_MAIN = fileURLToPath(new URL('./proxy-worker.ts', import.meta.url));

/** What was started, stopped in reverse. */
class Running {
  readonly #stops: (() => Promise<void>)[] = [];

  add(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops.reverse())
      await stop().catch((error) => console.error(messageOf(error)));
  }
}

async function main(configFile: string): Promise<void> {
  const running = new Running();
  stopOnSignal(running);
  const { disk } = createNodeEnv({ logLevel: 'warn' });
  const config = await loadNodeConfig(configFile, { disk, ...joinRequests });
  const has = (role: Role): boolean => config.roles.includes(role);
  const bootEnv = createNodeEnv({
    logLevel: config.logLevel,
    facts: { node: config.name, site: config.site },
  });
  const certificate = NodeCertificate.open(config);
  const state = openState(running, bootEnv, config);
  const authority = has('authority')
    ? await serveAuthority(running, bootEnv, config, state!, certificate)
    : undefined;

  const foundation = await layFoundation(config, 0, certificate);
  const { wire, env } = foundation;
  running.add(async () => foundation.cluster.close());
  const storage = has('storage') ? await startStorage(foundation) : undefined;
  if (storage !== undefined) running.add(() => storage.close());
  await wire.listen(
    { host: config.listen.host, port: config.listen.wire },
    certificate === undefined ? {} : { tls: certificate.current },
  );
  running.add(() => wire.close(REQUEST_GRACE_MS));
  authority?.conduct(foundation);

  const identity =
    has('identity') || has('proxy') ? await startIdentity(foundation, state!) : undefined;
  if (identity !== undefined) running.add(() => identity.close());
  if (has('identity')) {
    for (const listener of await serveIdentity(foundation, identity!))
      running.add(() => listener.close(REQUEST_GRACE_MS));
  }
  const proxy = has('proxy')
    ? await serveProxy(running, foundation, configFile, state!, identity!)
    : undefined;
  const bucketJobs = storage && startBucketJobs(foundation, storage);
  if (bucketJobs !== undefined) running.add(() => bucketJobs.stop());
  await serveAdmin(running, foundation, { storage, bucketJobs, proxy });
  keepAuthorityInformed(running, foundation, storage, certificate);
  env.log.info('node.ready', { roles: config.roles, pid: process.pid });
  process.send?.({ kind: 'ready' });
  // Written only at exit otherwise, which a killed process never reaches: the next start would be slow.
  flushCompileCache();
  collectStartGarbage();
}

/** A storage node asks nobody what is agreed: its bundle says it. */
function openState(running: Running, env: NodeEnv, config: NodeConfig): State | undefined {
  if (config.roles.every((role) => role === 'storage')) return undefined;
  const state = openNodeState(env, config);
  running.add(() => state.close());
  return state;
}

async function serveAuthority(
  running: Running,
  env: NodeEnv,
  config: NodeConfig,
  state: State,
  certificate: NodeCertificate | undefined,
): Promise<AuthorityRole> {
  const sharedKey = sharedKeyOf(config, env);
  const tls = certificate?.current;
  const role = await startAuthority({ env, config, state, tls, sharedKey });
  certificate?.renewed(() => role.renew(certificate.current));
  running.add(() => role.close(REQUEST_GRACE_MS));
  return role;
}

/** Reports, and a certificate that is renewed in time. */
function keepAuthorityInformed(
  running: Running,
  foundation: Foundation,
  storage: StorageRole | undefined,
  certificate: NodeCertificate | undefined,
): void {
  const { env, cluster, ask } = foundation;
  const reporter = new Reporter({
    env,
    cluster,
    authorities: () => cluster.authorities(),
    report: () => processReport(foundation, storage, certificate?.validUntilMs),
    send: (authority, report) => sendReport(ask, authority, report),
  });
  running.add(async () => reporter.stop());
  if (certificate === undefined) return;
  const keeper = new JobRunner(env, certificate.keeper(env, ask, true));
  running.add(() => keeper.stop());
}

/** In this process, or as workers that share the port. */
async function serveProxy(
  running: Running,
  foundation: Foundation,
  configFile: string,
  state: State,
  identity: IdentityRole,
): Promise<ProxyRole | undefined> {
  const { config } = foundation;
  if (config.proxyWorkers > 0) {
    await startWorkers(running, foundation, configFile);
    return undefined;
  }
  const proxy = await startProxy(foundation, state, identity);
  running.add(() => proxy.close(REQUEST_GRACE_MS));
  return proxy;
}

async function startWorkers(
  running: Running,
  { config, env }: Foundation,
  configFile: string,
): Promise<void> {
  cluster.setupPrimary({ exec: WORKER_MAIN });
  const numbers = new Map<number, number>();
  const fork = (number: number): Promise<void> => {
    const worker = cluster.fork({ ANELLO_WORKER: String(number), ANELLO_CONFIG: configFile });
    numbers.set(worker.id, number);
    return new Promise((resolve) => worker.once('message', () => resolve()));
  };
  let stopping = false;
  cluster.on('exit', (worker, code, signal) => {
    if (stopping) return;
    env.log.warn('proxy-worker.ended', { number: numbers.get(worker.id), code, signal });
    setTimeout(() => void fork(numbers.get(worker.id)!), 100);
  });
  running.add(async () => {
    stopping = true;
    await new Promise<void>((resolve) => cluster.disconnect(resolve));
  });
  await Promise.all(Array.from({ length: config.proxyWorkers }, (_, n) => fork(n + 1)));
}

async function serveAdmin(
  running: Running,
  foundation: Foundation,
  {
    storage,
    bucketJobs,
    proxy,
  }: {
    readonly storage: StorageRole | undefined;
    readonly bucketJobs: BucketJobs | undefined;
    readonly proxy: ProxyRole | undefined;
  },
): Promise<void> {
  const { config, registry } = foundation;
  const app = createAdminApp({
    registry,
    healthy: () => true,
    status: () => processStatus(foundation, storage, proxy, bucketJobs),
    trace: (txn) => proxy?.trace(txn),
  });
  app.route('/', createPlacementAdmin(foundation));
  app.route('/', createLinkAdmin(foundation));
  if (storage !== undefined) {
    app.route('/', createStorageAdmin(storage));
    if (bucketJobs !== undefined) app.route('/', createPolicyAdmin(bucketJobs.policies));
    exposeStorage(registry, storage);
  }
  const listener = await serveHttp(
    { host: config.listen.adminHost ?? config.listen.host, port: config.listen.admin },
    { app },
  );
  running.add(() => listener.close(REQUEST_GRACE_MS));
}

function stopOnSignal(running: Running): void {
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    running.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // The supervisor is gone: an orphan must not keep ports and devices.
  process.on('disconnect', stop);
}

const { values } = parseArgs({ options: { config: { type: 'string' } } });
main(values.config ?? 'node.yaml').catch((error) => {
  console.error(`anello node: ${messageOf(error)}`);
  process.exit(1);
});
